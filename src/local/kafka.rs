//! A real Apache Kafka broker on this machine, and where its jars come from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::LocalError;
use super::cache::{self, ScratchDirectory};
use super::node::{Jit, Node, Place, clone_of, failed, missing, server_properties, tail, write};
use crate::kafka::child::BoundChild;

const VERSION: &str = "4.1.0";
const FETCH_LIMIT: Duration = Duration::from_secs(900);
/// Another process can take a port between our choosing it and the broker's binding it.
const START_ATTEMPTS: u32 = 3;
const HEAP_MB: u32 = 512;

/// One broker (KRaft, one node) on free ports of 127.0.0.1 with its data in a temporary directory. It is killed and
/// its data removed on drop; after a crash the kernel kills it and the next start removes the data.
#[derive(Debug)]
pub struct LocalKafka {
    // Declared before the directory: the process must be gone before its data are.
    node: Node,
    brokers: String,
    _directory: ScratchDirectory,
}

impl LocalKafka {
    /// Starts the broker, compiled [quickly](Jit::Quick), and waits until it answers. The first start on a machine downloads
    /// about 55 MB.
    pub fn start() -> Result<LocalKafka, LocalError> {
        LocalKafka::start_with(Jit::Quick, "")
    }

    /// With more lines of `server.properties`, which win over those it has anyway.
    pub fn start_with(jit: Jit, more: &str) -> Result<LocalKafka, LocalError> {
        let libs = libraries()?;
        again_on_taken_ports(|| LocalKafka::start_once(&libs, jit, more))
    }

    fn start_once(libs: &Path, jit: Jit, more: &str) -> Result<LocalKafka, LocalError> {
        let directory = ScratchDirectory::create("kafka")?;
        let place = Place { id: 1, port: cache::free_port()?, controller_ports: &[cache::free_port()?] };
        let brokers = format!("127.0.0.1:{}", place.port);
        let properties = server_properties(directory.path(), &place) + more;
        let mut node = Node::format(libs, directory.path(), brokers.clone(), HEAP_MB, jit, &properties)?;
        node.start()?;
        node.wait_until_ready()?;
        Ok(LocalKafka { node, brokers, _directory: directory })
    }

    /// `host:port`, the same over restarts.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Runs one of Kafka's own tools by the name of its class, against this broker; gives what it printed.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String, LocalError> {
        self.node.tool(class, &[&["--bootstrap-server", &self.brokers], arguments].concat())
    }

    /// Kills the broker (SIGKILL, as a crash would) and waits for it to be gone. Its data stay.
    pub fn stop(&mut self) -> Result<(), LocalError> {
        self.node.stop()
    }

    /// Stops if running, starts again on the same port and data, waits until it answers.
    pub fn restart(&mut self) -> Result<(), LocalError> {
        self.node.stop()?;
        self.node.start()?;
        self.node.wait_until_ready()
    }

    /// SIGSTOP: connections stay, nobody answers.
    pub fn pause(&mut self) -> Result<(), LocalError> {
        self.node.pause()
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.node.resume()
    }
}

pub(super) fn again_on_taken_ports<T>(start: impl Fn() -> Result<T, LocalError>) -> Result<T, LocalError> {
    let mut attempt = 1;
    loop {
        match start() {
            Err(LocalError::Failed { detail, .. })
                if attempt < START_ATTEMPTS && detail.contains("Address already in use") =>
            {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.plimsoll</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.1.0</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
  </dependencies>
</project>
"#;

/// The directory with Kafka's jars, fetched from Maven Central once per machine and version.
pub(super) fn libraries() -> Result<PathBuf, LocalError> {
    let cache = cache::directory()?;
    let home = cache.join(format!("kafka-{VERSION}"));
    let libs = home.join("libs");
    if libs.exists() {
        return Ok(libs);
    }
    let lock_path = cache.join(format!("kafka-{VERSION}.lock"));
    let lock = File::create(&lock_path).map_err(LocalError::io("creating", &lock_path))?;
    lock.lock().map_err(LocalError::io("locking", &lock_path))?;
    if libs.exists() {
        return Ok(libs); // fetched by whoever held the lock
    }
    let partial = cache.join(format!("kafka-{VERSION}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(LocalError::io("removing", &partial))?;
    }
    fs::create_dir_all(&partial).map_err(LocalError::io("creating", &partial))?;
    fetch(&partial)?;
    // The name appears only once everything is there.
    fs::rename(&partial, &home).map_err(LocalError::io("renaming", &partial))?;
    Ok(libs)
}

fn fetch(into: &Path) -> Result<(), LocalError> {
    eprintln!("fetching Apache Kafka {VERSION} from Maven Central, about 55 MB, once ...");
    write(&into.join("pom.xml"), POM)?;
    let log_path = into.join("mvn.log");
    let log = File::create(&log_path).map_err(LocalError::io("creating", &log_path))?;
    let mut command = Command::new("mvn");
    command
        .args(["--batch-mode", "--quiet", "-Dstyle.color=never", "-DincludeScope=runtime"])
        .arg("-DoutputDirectory=libs")
        .arg("dependency:copy-dependencies")
        .current_dir(into)
        .stdin(Stdio::null())
        .stdout(clone_of(&log, &log_path)?)
        .stderr(log);
    let mut maven = BoundChild::spawn(command).map_err(missing("mvn", "maven"))?;
    let started = Instant::now();
    let mut told = started;
    loop {
        if let Some(status) = maven.exited().map_err(failed("watching mvn"))? {
            if status.success() {
                eprintln!("fetched Apache Kafka {VERSION} in {} s", started.elapsed().as_secs());
                return Ok(());
            }
            let detail = format!("mvn: {status}\n{}", tail(&log_path));
            return Err(LocalError::Failed { what: "fetching Apache Kafka", detail });
        }
        if started.elapsed() > FETCH_LIMIT {
            let detail = format!("mvn still runs after {} s\n{}", FETCH_LIMIT.as_secs(), tail(&log_path));
            return Err(LocalError::Failed { what: "fetching Apache Kafka", detail });
        }
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            eprintln!("still fetching Apache Kafka {VERSION}: {} s", started.elapsed().as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
}
