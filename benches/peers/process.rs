//! A peer in a process of its own, which prints how far it is and is told by files when a pass is to end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use plimsoll::kafka::child::BoundChild;
use plimsoll::kafka::{Admin, TopicSpec};

use super::Bench;
use super::answer::Rows;
use super::measure::cpu_s;
use super::run::Peer;
use super::support::Deployment;

const ASK: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);
const OUTPUT_PARTITIONS: u32 = 3;

/// What the process is started for. Each of its passes puts its number behind both names.
pub struct Run<'a> {
    pub brokers: &'a str,
    pub name: &'a str,
    pub output: &'a str,
    /// Its own, and empty.
    pub folder: &'a Path,
}

pub struct ProcessPeer<'a> {
    deployment: &'a Deployment,
    child: BoundChild,
    system: &'static str,
    output: String,
    pass: usize,
    folder: tempfile::TempDir,
}

impl<'a> ProcessPeer<'a> {
    pub fn start(
        bench: &'a Bench,
        system: &'static str,
        round: usize,
        passes: usize,
        command: impl FnOnce(&Run) -> Command,
    ) -> ProcessPeer<'a> {
        let deployment = &bench.deployment;
        let (name, output) = (format!("peer-{system}-{round}"), format!("peer-{system}-rows-{round}"));
        let folder = tempfile::tempdir().unwrap();
        let brokers = deployment.connection.brokers();
        let mut command = command(&Run { brokers, name: &name, output: &output, folder: folder.path() });
        let file = File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stderr(file.try_clone().unwrap()).stdout(file);
        create_outputs(deployment, &output, passes);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = BoundChild::spawn(command);
        let child = child.unwrap_or_else(|error| panic!("{}", missing(&program, "util-linux", &error)));
        ProcessPeer { deployment, child, system, output, pass: 1, folder }
    }

    /// Ends the pass; gives the CPU time that the process had used when the next one began.
    pub fn next_pass(&mut self) -> f64 {
        File::create(self.folder.path().join(format!("done-{}", self.pass))).unwrap();
        self.pass += 1;
        while self.lines_of_pass().is_none() {
            self.assert_running();
            std::thread::sleep(LOOK);
        }
        cpu_s(self.pid())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What it has printed since the pass began; a last line without its end is still being written.
    fn lines_of_pass(&self) -> Option<String> {
        let log = self.log();
        let (whole, _) = log.rsplit_once('\n')?;
        let (_, lines) = whole.split_once(&format!("pass {}", self.pass))?;
        Some(lines.to_owned())
    }
}

/// One topic for each pass.
fn create_outputs(deployment: &Deployment, output: &str, passes: usize) {
    let spec = |pass| TopicSpec {
        name: format!("{output}-{pass}"),
        partitions: OUTPUT_PARTITIONS,
        replication_factor: 1,
        config: BTreeMap::new(),
    };
    let specs: Vec<TopicSpec> = (1..=passes).map(spec).collect();
    Admin::open(&deployment.connection).unwrap().create(&specs, ASK).unwrap();
}

/// Pinned before it begins, so that all its threads are.
pub fn on_second_core(program: impl AsRef<std::ffi::OsStr>, cores: usize) -> Command {
    if cores == 1 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "1"]).arg(program);
    command
}

/// Why a program did not start, and the package that has it.
pub fn missing(program: &str, package: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("`{program}` is not installed: apt-get install {package}"),
        _ => format!("{program}: {error}"),
    }
}

impl Peer for ProcessPeer<'_> {
    fn name(&self) -> &str {
        self.system
    }

    fn pid(&self) -> u32 {
        self.child.pid()
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.exited().unwrap() {
            panic!("{} ended with {status}\n{}", self.system, self.log());
        }
    }

    fn progress(&mut self) -> f64 {
        let lines = self.lines_of_pass().unwrap_or_default();
        let last = lines.lines().rfind(|line| line.starts_with("read ")).unwrap_or("read 0 folded 0");
        let numbers = last.split(' ').filter_map(|word| word.parse::<f64>().ok());
        numbers.sum::<f64>() / 2.0
    }

    fn rows(&self) -> Rows {
        Rows::of_peer(self.deployment, &format!("{}-{}", self.output, self.pass))
    }
}
