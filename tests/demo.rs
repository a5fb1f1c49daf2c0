//! `plimsoll demo`, as a newcomer runs it: no Kafka, no database, and within half a minute all there is to see.

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll")).arg("demo").args(arguments).output().unwrap()
}

#[test]
fn a_breach_opens_and_resolves_and_every_source_has_rows() {
    let output = demo(&["--for", "45s", "--rate", "1200", "--speed", "100"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{complaints}\n{said}");
    assert_eq!(complaints, "", "{said}");
    let has = |words: &[&str]| said.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["breach OPENED", "platform/error-rate ", " of requests fail"]), "{said}");
    assert!(has(&["breach OPENED", "platform/error-rate-by-service prices-api"]), "{said}");
    assert!(has(&["breach RESOLVED", "platform/error-rate ", "back to normal at"]), "{said}");
    assert!(has(&["messages/s", "lag", "watermark"]), "{said}");
    // A busy row of each source's table, and the episode.
    assert!(has(&["commodity_prices_hourly, hour 20", "5 of 12 rows"]), "{said}");
    assert!(has(&["  Gold "]), "{said}");
    assert!(has(&["  random-forest-oil", " 2.3.1 "]), "{said}");
    assert!(has(&["  prices-api", "/api/v1/prices/latest", "GET"]), "{said}");
    assert!(has(&["  platform/error-rate team=platform", "resolved ", "bad events"]), "{said}");
}

#[test]
fn what_would_show_nothing_is_refused_before_anything_starts() {
    let output = demo(&["--for", "10s", "--rate", "5", "--speed", "2"]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("give at least --speed 420") && said.contains("give at least --rate 20"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_database_that_is_not_there_is_told_at_once() {
    let output = demo(&["--database-url", "postgres://nobody@127.0.0.1:1/none"]);
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("--database-url: "), "{said}");
}
