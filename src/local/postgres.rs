//! A throwaway Postgres of one's own: the system's binaries, a temporary directory, a free port.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use tempfile::TempDir;

const USER: &str = "plimsoll";
const DATABASE: &str = "plimsoll";
const DIRECTORY_PREFIX: &str = "plimsoll-postgres-";
/// File in the directory that names the process it belongs to.
const OWNER_FILE: &str = "owner";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Another process may take the free port before Postgres does.
const PORT_ATTEMPTS: usize = 5;
/// Longest path of a unix socket that Linux takes, without its final zero.
const SOCKET_PATH_BYTES: usize = 107;

#[derive(Debug, thiserror::Error)]
pub enum LocalPostgresError {
    #[error(
        "no `{program}` in /usr/lib/postgresql/*/bin or PATH: install the Debian package `postgresql` \
         (apt-get install postgresql), or give --database-url of a server that runs"
    )]
    NotInstalled { program: &'static str },
    #[error("Postgres refuses to run as root and neither user `postgres` nor `nobody` is in /etc/passwd")]
    NoUser,
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{program}` failed: {output}")]
    Failed { program: &'static str, output: String },
    #[error("Postgres did not accept connections within {seconds} s: {last}")]
    NotReady { seconds: u64, last: String },
}

/// A running server. Dropping it stops the server and removes its data.
#[derive(Debug)]
pub struct LocalPostgres {
    binaries: Binaries,
    /// The user the server runs as; None: the one this process runs as.
    user: Option<SystemUser>,
    port: u16,
    child: Option<Child>,
    /// Last, so that the server is gone before its files are.
    directory: TempDir,
}

impl LocalPostgres {
    /// Starts an empty server with a database `plimsoll`; takes about a second.
    pub fn start() -> Result<LocalPostgres, LocalPostgresError> {
        sweep(&std::env::temp_dir());
        let binaries = Binaries::find()?;
        let directory = tempfile::Builder::new()
            .prefix(&format!("{DIRECTORY_PREFIX}{}-", std::process::id()))
            .tempdir()
            .map_err(io_error("cannot make a temporary directory"))?;
        write_owner(directory.path())?;
        let user = SystemUser::instead_of_root(directory.path())?;
        let mut server = LocalPostgres { binaries, user, port: 0, child: None, directory };
        server.initialize()?;
        server.start_on_a_free_port()?;
        server.create_database()?;
        Ok(server)
    }

    /// Where the database is, as `Store::connect` and every Postgres client take it.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// The command with which a person looks into it.
    pub fn psql_line(&self) -> String {
        format!("psql -h 127.0.0.1 -p {} -U {USER} {DATABASE}", self.port)
    }

    /// Where the data and the log are until it is dropped.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills every process of the server, as a crash of the machine would: no shutdown, no checkpoint.
    pub fn kill9(&mut self) -> Result<(), LocalPostgresError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let backends = children_of(child.id());
        child.kill().map_err(io_error("cannot kill Postgres"))?;
        child.wait().map_err(io_error("cannot wait for Postgres"))?;
        // A backend that is not killed answers its client for a moment yet.
        for pid in backends {
            let mut kill = command(&self.binaries.pg_ctl, self.user.as_ref());
            kill.args(["kill", "KILL", &pid.to_string()]);
            if let Err(error) = run_to_end("pg_ctl", kill) {
                tracing::debug!(%error, pid, "backend was gone already");
            }
        }
        Ok(())
    }

    /// Starts the stopped or killed server again, on the same port and data.
    pub fn start_again(&mut self) -> Result<(), LocalPostgresError> {
        if self.child.is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.run() {
                // Backends outlive a killed postmaster for a moment and hold its shared memory.
                Err(LocalPostgresError::Failed { .. }) if Instant::now() < deadline => thread::sleep(POLL),
                other => return other,
            }
        }
    }

    /// Stops the server in good order; its data stay until it is dropped.
    pub fn stop(&mut self) -> Result<(), LocalPostgresError> {
        self.shut_down("fast")
    }

    fn shut_down(&mut self, mode: &str) -> Result<(), LocalPostgresError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let stopped = pg_ctl_stop(&self.binaries, self.user.as_ref(), &self.data(), mode);
        if stopped.is_err() {
            child.kill().map_err(io_error("cannot kill Postgres"))?;
        }
        child.wait().map_err(io_error("cannot wait for Postgres"))?;
        stopped
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn initialize(&self) -> Result<(), LocalPostgresError> {
        let mut initdb = command(&self.binaries.initdb, self.user.as_ref());
        initdb.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username", USER]);
        initdb.arg("--pgdata").arg(self.data());
        run_to_end("initdb", initdb)
    }

    fn start_on_a_free_port(&mut self) -> Result<(), LocalPostgresError> {
        let mut attempts = 1;
        loop {
            self.port = free_port()?;
            match self.run() {
                Err(LocalPostgresError::Failed { .. }) if attempts < PORT_ATTEMPTS => attempts += 1,
                other => return other,
            }
        }
    }

    fn run(&mut self) -> Result<(), LocalPostgresError> {
        let log = fs::File::create(self.log()).map_err(io_error("cannot write the log of Postgres"))?;
        let socket = self.directory.path().join(format!(".s.PGSQL.{}", self.port));
        let sockets = match socket.as_os_str().len() <= SOCKET_PATH_BYTES {
            true => self.directory.path().display().to_string(),
            false => String::new(),
        };
        let mut postgres = command(&self.binaries.postgres, self.user.as_ref());
        postgres.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        // What a crash of the machine would lose does not matter here; a crash of Postgres loses nothing.
        for setting in ["fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1", "timezone=UTC"] {
            postgres.arg("-c").arg(setting);
        }
        postgres.arg("-c").arg(format!("unix_socket_directories={sockets}"));
        // A group of its own: Ctrl-C in a terminal reaches Plimsoll, which then stops Postgres itself.
        postgres.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = postgres.spawn().map_err(io_error("cannot start postgres"))?;
        self.child = Some(child);
        self.await_ready()
    }

    fn await_ready(&mut self) -> Result<(), LocalPostgresError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let last = match self.connect("postgres") {
                Ok(_) => return Ok(()),
                Err(error) => error.to_string(),
            };
            if let Some(child) = &mut self.child
                && child.try_wait().map_err(io_error("cannot wait for Postgres"))?.is_some()
            {
                self.child = None;
                return Err(LocalPostgresError::Failed { program: "postgres", output: tail(&self.log()) });
            }
            if Instant::now() >= deadline {
                return Err(LocalPostgresError::NotReady { seconds: START_TIMEOUT.as_secs(), last });
            }
            thread::sleep(POLL);
        }
    }

    fn connect(&self, database: &str) -> Result<Client, postgres::Error> {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(USER).dbname(database);
        config.connect_timeout(Duration::from_secs(5)).connect(NoTls)
    }

    fn create_database(&self) -> Result<(), LocalPostgresError> {
        let create = |mut client: Client| client.batch_execute(&format!("CREATE DATABASE {DATABASE}"));
        self.connect("postgres").and_then(create).map_err(|error| LocalPostgresError::Failed {
            program: "postgres",
            output: format!("cannot create the database: {error}"),
        })
    }
}

impl Drop for LocalPostgres {
    fn drop(&mut self) {
        // Nothing of the data is needed any more; what cannot be stopped now is swept by the next start.
        if let Err(error) = self.shut_down("immediate") {
            tracing::warn!(%error, directory = %self.directory.path().display(), "local postgres did not stop");
        }
    }
}

#[derive(Clone, Debug)]
struct Binaries {
    initdb: PathBuf,
    postgres: PathBuf,
    pg_ctl: PathBuf,
}

impl Binaries {
    fn find() -> Result<Binaries, LocalPostgresError> {
        let directories = binary_directories();
        let find = |program: &'static str| {
            let mut candidates = directories.iter().map(|d| d.join(program));
            candidates.find(|path| path.is_file()).ok_or(LocalPostgresError::NotInstalled { program })
        };
        Ok(Binaries { initdb: find("initdb")?, postgres: find("postgres")?, pg_ctl: find("pg_ctl")? })
    }
}

/// Newest Debian release first, then PATH.
fn binary_directories() -> Vec<PathBuf> {
    let mut releases: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let release = entry.file_name().to_str()?.parse().ok()?;
            Some((release, entry.path().join("bin")))
        })
        .collect();
    releases.sort_by_key(|(release, _)| std::cmp::Reverse(*release));
    let path = std::env::var_os("PATH").unwrap_or_default();
    releases.into_iter().map(|(_, bin)| bin).chain(std::env::split_paths(&path)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SystemUser {
    uid: u32,
    gid: u32,
}

impl SystemUser {
    /// As root, gives `directory` to the user that Postgres is to run as; else None.
    fn instead_of_root(directory: &Path) -> Result<Option<SystemUser>, LocalPostgresError> {
        let metadata = fs::metadata(directory).map_err(io_error("cannot look at the temporary directory"))?;
        // We have just made it, so it belongs to the user we are.
        if metadata.uid() != 0 {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(io_error("cannot read /etc/passwd"))?;
        let user = ["postgres", "nobody"]
            .iter()
            .find_map(|name| SystemUser::in_passwd(&passwd, name))
            .ok_or(LocalPostgresError::NoUser)?;
        chown(directory, Some(user.uid), Some(user.gid))
            .map_err(io_error("cannot give the directory to Postgres"))?;
        Ok(Some(user))
    }

    fn in_passwd(passwd: &str, name: &str) -> Option<SystemUser> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some(SystemUser { uid: ids.next()?.parse().ok()?, gid: ids.next()?.parse().ok()? })
    }
}

/// `pid start-time`: a pid alone may belong to another process by the time it is read.
fn write_owner(directory: &Path) -> Result<(), LocalPostgresError> {
    let pid = std::process::id();
    let owner = format!("{pid} {}", process_start(pid).unwrap_or_default());
    fs::write(directory.join(OWNER_FILE), owner).map_err(io_error("cannot write the owner file"))
}

/// Clock ticks from boot to the start of a process; None when there is none of that id.
fn process_start(pid: u32) -> Option<String> {
    process_field(pid, 22)
}

fn children_of(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| process_field(*pid, 4).as_ref() == Some(&parent)).collect()
}

/// A field of `/proc/<pid>/stat`, counted from 1 as in proc(5); at least the third.
fn process_field(pid: u32, field: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second, the name, stands in parentheses and may itself hold blanks and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(field - 3).map(str::to_owned)
}

fn has_owner(directory: &Path) -> bool {
    // Without the file the directory is just being made: leave it alone.
    let Ok(owner) = fs::read_to_string(directory.join(OWNER_FILE)) else { return true };
    let mut words = owner.split_whitespace();
    let Some(pid) = words.next().and_then(|pid| pid.parse().ok()) else { return true };
    process_start(pid).is_some_and(|started| words.next() == Some(&started))
}

/// Removes what crashed owners left behind: first their server, then its files.
fn sweep(parent: &Path) {
    let Ok(binaries) = Binaries::find() else { return };
    let Ok(me) = fs::metadata("/proc/self").map(|m| m.uid()) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(DIRECTORY_PREFIX));
        let directory = entry.path();
        if !ours || has_owner(&directory) {
            continue;
        }
        let Ok(metadata) = fs::metadata(&directory) else { continue };
        let user = match metadata.uid() {
            uid if uid == me => None,
            uid if me == 0 => Some(SystemUser { uid, gid: metadata.gid() }),
            _ => continue,
        };
        let data = directory.join("data");
        if data.join("postmaster.pid").exists()
            && let Err(error) = pg_ctl_stop(&binaries, user.as_ref(), &data, "immediate")
        {
            tracing::debug!(%error, directory = %directory.display(), "no server in an abandoned directory");
        }
        if let Err(error) = fs::remove_dir_all(&directory) {
            tracing::warn!(%error, directory = %directory.display(), "abandoned local postgres not removed");
        }
    }
}

fn pg_ctl_stop(
    binaries: &Binaries,
    user: Option<&SystemUser>,
    data: &Path,
    mode: &str,
) -> Result<(), LocalPostgresError> {
    let mut stop = command(&binaries.pg_ctl, user);
    stop.arg("stop").arg("--wait").arg("--mode").arg(mode).arg("--pgdata").arg(data);
    run_to_end("pg_ctl", stop)
}

fn command(program: &Path, user: Option<&SystemUser>) -> Command {
    let mut command = Command::new(program);
    // The current directory may be closed to the other user; `/` is not.
    command.current_dir("/").env_remove("PGDATA").env_remove("PGOPTIONS").env_remove("PGPORT");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn run_to_end(program: &'static str, mut command: Command) -> Result<(), LocalPostgresError> {
    let output = command.stdin(Stdio::null()).output().map_err(io_error(&format!("cannot run {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(LocalPostgresError::Failed { program, output: String::from_utf8_lossy(&said).trim().to_owned() })
}

fn free_port() -> Result<u16, LocalPostgresError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io_error("no free port"))?;
    Ok(listener.local_addr().map_err(io_error("no free port"))?.port())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> LocalPostgresError {
    let what = what.to_owned();
    move |source| LocalPostgresError::Io { what, source }
}
