//! The job on a JVM: how it is built, started and watched.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
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
const JDK: &str = "openjdk-17-jdk-headless";
/// One core has no use for a collector with threads of its own, and a heap that does not grow is not resized.
const JVM: &[&str] =
    &["-Xms2g", "-Xmx2g", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];
/// What Flink's own scripts open to it on Java 17.
const OPEN: &[&str] = &[
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
    "java.base/sun.nio.ch",
];

/// What Maven has built.
pub struct Jars {
    directory: PathBuf,
}

impl Jars {
    /// Builds them below cargo's target directory; the first time on a machine downloads about 170 MB.
    pub fn build() -> Result<Jars, String> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/pom.xml");
        eprintln!("building the peers with Maven ...");
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--quiet", "-Dstyle.color=never", "--file"]).arg(sources);
        maven.arg(format!("-Dbuilt={}", directory.display())).arg("package").stdin(Stdio::null());
        let built = maven.output().map_err(|error| missing("mvn", "maven", &error))?;
        if !built.status.success() {
            let (out, err) = (String::from_utf8_lossy(&built.stdout), String::from_utf8_lossy(&built.stderr));
            return Err(format!("mvn: {}\n{out}{err}", built.status));
        }
        let java = Command::new("java").arg("-version").output();
        java.map_err(|error| missing("java", JDK, &error))?;
        Ok(Jars { directory })
    }

    fn class_path(&self, module: &str) -> String {
        let module = |file: &str| self.directory.join(module).join(file).display().to_string();
        format!("{}:{}", module("classes"), module("libs/*"))
    }
}

fn missing(program: &str, package: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("`{program}` is not installed: apt-get install {package}"),
        _ => format!("{program}: {error}"),
    }
}

pub struct JavaPeer<'a> {
    deployment: &'a Deployment,
    child: BoundChild,
    module: &'static str,
    output: String,
    pass: usize,
    folder: tempfile::TempDir,
}

impl<'a> JavaPeer<'a> {
    pub fn start(bench: &'a Bench, module: &'static str, round: usize) -> JavaPeer<'a> {
        let Bench { deployment, jars, cores, passes, .. } = bench;
        let (name, output) = (format!("peer-{module}-{round}"), format!("peer-{module}-rows-{round}"));
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let file = File::create(&log).unwrap();
        let mut command = java_on_second_core(*cores);
        command.args(JVM).args(OPEN.iter().map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
        command.arg("-cp").arg(jars.class_path(module)).arg(format!("dev.plimsoll.peers.{module}.Main"));
        command.args([deployment.connection.brokers(), &name, &output]).arg(folder.path());
        command.stdin(Stdio::null()).stderr(file.try_clone().unwrap()).stdout(file);
        create_outputs(deployment, &output, *passes);
        let program = command.get_program().to_string_lossy().into_owned();
        let package = if program == "taskset" { "util-linux" } else { JDK };
        let child = BoundChild::spawn(command);
        let child = child.unwrap_or_else(|error| panic!("{}", missing(&program, package, &error)));
        JavaPeer { deployment, child, module, output, pass: 1, folder }
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

/// Pinned from the start: a JVM counts its cores once, and starts as many compilers and collectors.
fn java_on_second_core(cores: usize) -> Command {
    if cores == 1 {
        return Command::new("java");
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "1", "java"]);
    command
}

impl Peer for JavaPeer<'_> {
    fn name(&self) -> &str {
        self.module
    }

    fn pid(&self) -> u32 {
        self.child.pid()
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.exited().unwrap() {
            panic!("{} ended with {status}\n{}", self.module, self.log());
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
