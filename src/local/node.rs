//! A Kafka server process with its files in a directory.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::LocalError;
use crate::kafka::Connection;
use crate::kafka::child::BoundChild;

const START_LIMIT: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(500);

/// How thoroughly a server's code is compiled while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jit {
    /// Once and fast: half the work for one that lives for a minute or two.
    Quick,
    /// As Java does it by itself, for one under load.
    Full,
}

/// Broker and controller in one. Killed when dropped; the files stay.
#[derive(Debug)]
pub(super) struct Node {
    process: Option<BoundChild>,
    libs: PathBuf,
    address: String,
    directory: PathBuf,
    heap_mb: u32,
    jit: Jit,
}

impl Node {
    /// Writes and formats its files in an existing `directory`; nothing runs yet. `address`: host and port to reach it.
    pub fn format(
        libs: &Path,
        directory: &Path,
        address: String,
        heap_mb: u32,
        jit: Jit,
        properties: &str,
    ) -> Result<Node, LocalError> {
        let (libs, home) = (libs.to_owned(), directory.to_owned());
        let node = Node { process: None, libs, address, directory: home, heap_mb, jit };
        write(&node.properties_path(), properties)?;
        write(&directory.join("log4j2.properties"), LOG4J)?;
        // Any 16 bytes in URL-safe base64: nothing else ever joins this cluster.
        const CLUSTER_ID: &str = "cGxpbXNvbGwtbG9jYWwtMQ";
        let properties = node.properties_path().display().to_string();
        let arguments = ["format", "--cluster-id", CLUSTER_ID, "--config", &properties];
        node.tool("kafka.tools.StorageTool", &arguments)?;
        Ok(node)
    }

    /// Runs a class of Kafka's to its end.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String, LocalError> {
        let output = self
            .java(Jit::Quick, &["-XX:+UseSerialGC"], class)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(missing("java", "default-jre-headless"))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Err(LocalError::Failed { what: "one of Kafka's tools", detail: format!("{class}\n{text}") })
    }

    /// Starts the stopped server; [`Node::wait_until_ready`] says when it answers.
    pub fn start(&mut self) -> Result<(), LocalError> {
        let log_path = self.log_path();
        let log = File::create(&log_path).map_err(LocalError::io("creating", &log_path))?;
        // As Kafka's own start script has it: the serial one stops it for a quarter of a second now and then.
        let collector = ["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"];
        let mut command = self.java(self.jit, &collector, "kafka.Kafka");
        command.arg(self.properties_path());
        command.stdin(Stdio::null()).stdout(clone_of(&log, &log_path)?).stderr(log);
        self.process = Some(BoundChild::spawn(command).map_err(missing("java", "default-jre-headless"))?);
        Ok(())
    }

    /// SIGKILL, and waits for it to be gone.
    pub fn stop(&mut self) -> Result<(), LocalError> {
        if let Some(mut process) = self.process.take() {
            process.kill().map_err(failed("stopping Kafka"))?;
        }
        Ok(())
    }

    /// SIGSTOP: connections stay, nobody answers.
    pub fn pause(&mut self) -> Result<(), LocalError> {
        self.running()?.pause().map_err(failed("pausing Kafka"))
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.running()?.resume().map_err(failed("resuming Kafka"))
    }

    pub fn wait_until_ready(&mut self) -> Result<(), LocalError> {
        wait_until_all_ready(std::slice::from_mut(self))
    }

    /// Whether it answers; the error says why it ended instead.
    fn is_ready(&mut self) -> Result<bool, LocalError> {
        if let Some(status) = self.running()?.exited().map_err(failed("watching Kafka"))? {
            let detail = format!("{status}\n{}", tail(&self.log_path()));
            return Err(LocalError::Failed { what: "Kafka ended while starting", detail });
        }
        Ok(Connection::to_brokers(&self.address).check(LOOK).is_ok())
    }

    fn running(&mut self) -> Result<&mut BoundChild, LocalError> {
        self.process
            .as_mut()
            .ok_or_else(|| LocalError::Failed { what: "Kafka", detail: "it is stopped".to_owned() })
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("broker.log")
    }

    fn properties_path(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    fn java(&self, jit: Jit, collector: &[&str], class: &str) -> Command {
        let mut command = Command::new("java");
        if jit == Jit::Quick {
            command.arg("-XX:TieredStopAtLevel=1");
        }
        let log4j = self.directory.join("log4j2.properties");
        command
            .args(collector)
            .args(["-Xms128m", "-Djava.awt.headless=true"])
            .arg(format!("-Xmx{}m", self.heap_mb))
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .arg("-cp")
            .arg(self.libs.join("*"))
            .arg(class);
        command
    }
}

/// One that ends while others start ends the wait: without it they may never have a quorum.
pub(super) fn wait_until_all_ready(nodes: &mut [Node]) -> Result<(), LocalError> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let mut waiting = None;
        for node in nodes.iter_mut() {
            if !node.is_ready()? {
                waiting = Some(tail(&node.log_path()));
            }
        }
        match waiting {
            None => return Ok(()),
            Some(_) if Instant::now() < deadline => {}
            Some(detail) => return Err(LocalError::Failed { what: "Kafka did not become ready", detail }),
        }
    }
}

/// Its ports, and those of all controllers.
pub(super) struct Place<'a> {
    pub id: usize,
    pub port: u16,
    /// In the order of ids, which count from 1.
    pub controller_ports: &'a [u16],
}

/// Retention is off: it goes by the records' own timestamps, and tests write old ones. Inner topics lie on every
/// server, and a write needs one less than there are, if that is more than half.
pub(super) fn server_properties(directory: &Path, place: &Place<'_>) -> String {
    let Place { id, port, controller_ports } = place;
    let servers = controller_ports.len();
    let in_sync = (servers / 2 + 1).min(servers);
    let voters: Vec<String> =
        (1..).zip(*controller_ports).map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
    format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         min.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={servers}\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={servers}\n\
         transaction.state.log.min.isr={in_sync}\n\
         transaction.state.log.num.partitions=4\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n\
         log.retention.ms=-1\n\
         num.network.threads=2\n\
         num.io.threads=4\n",
        voters.join(","),
        controller_ports[id - 1],
        directory.join("logs").display()
    )
}

const LOG4J: &str = "status=error\n\
     appender.out.type=Console\n\
     appender.out.name=out\n\
     appender.out.layout.type=PatternLayout\n\
     appender.out.layout.pattern=%d{ISO8601} %p %m (%c)%n\n\
     rootLogger.level=warn\n\
     rootLogger.appenderRef.out.ref=out\n";

pub(super) fn write(path: &Path, text: &str) -> Result<(), LocalError> {
    fs::write(path, text).map_err(LocalError::io("writing", path))
}

pub(super) fn clone_of(file: &File, path: &Path) -> Result<File, LocalError> {
    file.try_clone().map_err(LocalError::io("opening", path))
}

pub(super) fn failed(what: &'static str) -> impl FnOnce(io::Error) -> LocalError {
    move |error| LocalError::Failed { what, detail: error.to_string() }
}

pub(super) fn missing(program: &'static str, package: &'static str) -> impl FnOnce(io::Error) -> LocalError {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => LocalError::Missing { program: program.to_owned(), package },
        _ => LocalError::Failed { what: "starting", detail: format!("{program}: {error}") },
    }
}

/// The last 4 KB of a log, for an error message.
pub(super) fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}
