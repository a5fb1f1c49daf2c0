//! The throwaway server itself: as root, as a plain user, and after a crash of its owner.

use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::{env, fs};

use plimsoll::local::postgres::LocalPostgres;

/// Set for the processes that are children of tests here.
const CHILD: &str = "PLIMSOLL_TEST_CHILD";

#[test]
fn nothing_stays_behind() {
    let server = LocalPostgres::start().unwrap();
    let (directory, port) = (server.directory().to_owned(), server.port());
    assert!(server.url().contains(&port.to_string()) && server.psql_line().starts_with("psql "));
    drop(server);
    assert!(!directory.exists());
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
}

#[test]
fn a_crashed_owners_server_is_swept_by_the_next_start() {
    let said = said_line(&child("local::crash_with_a_server").output().unwrap());
    let (directory, port) = said.split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    let _next = LocalPostgres::start().unwrap();
    assert!(!fs::exists(directory).unwrap(), "{directory} is still there");
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
}

#[test]
fn a_plain_user_starts_one_too() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return; // Then every other test has shown it.
    }
    // Where the user can read it.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("test");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let nobody = 65_534;
    let mut command = Command::new(&program);
    command
        .args(arguments("local::start_and_say_where"))
        .env(CHILD, "1")
        .current_dir("/")
        .uid(nobody)
        .gid(nobody);
    let said = said_line(&command.output().unwrap());
    let (directory, owner) = said.split_once(' ').unwrap();
    assert_eq!(owner, nobody.to_string());
    assert!(!fs::exists(directory).unwrap());
}

#[test]
fn crash_with_a_server() {
    if env::var_os(CHILD).is_none() {
        return; // Only a_crashed_owners_server_is_swept_by_the_next_start runs it.
    }
    let server = LocalPostgres::start().unwrap();
    println!("\nsaid: {} {}", server.directory().display(), server.port());
    std::process::abort();
}

#[test]
fn start_and_say_where() {
    if env::var_os(CHILD).is_none() {
        return; // Only a_plain_user_starts_one_too runs it.
    }
    let server = LocalPostgres::start().unwrap();
    let owner = fs::metadata(server.directory()).unwrap().uid();
    println!("\nsaid: {} {owner}", server.directory().display());
}

fn child(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments(test)).env(CHILD, "1");
    command
}

fn arguments(test: &str) -> [&str; 3] {
    ["--exact", "--nocapture", test]
}

fn said_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().find_map(|line| line.strip_prefix("said: "));
    said.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}
