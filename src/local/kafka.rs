//! A real Apache Kafka broker on this machine.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::LocalError;
use super::cache::{self, ScratchDirectory};
use crate::kafka::Connection;
use crate::kafka::child::BoundChild;

const VERSION: &str = "4.1.0";
const FETCH_LIMIT: Duration = Duration::from_secs(900);
const START_LIMIT: Duration = Duration::from_secs(90);
/// Another process can take a port between our choosing it and the broker's binding it.
const START_ATTEMPTS: u32 = 3;

/// One broker (KRaft, one node) on free ports of 127.0.0.1 with its data in a temporary directory. It is killed and
/// its data removed on drop; after a crash the kernel kills it and the next start removes the data.
#[derive(Debug)]
pub struct LocalKafka {
    // Declared before the directory: the process must be gone before its data are.
    process: Option<BoundChild>,
    libs: PathBuf,
    brokers: String,
    directory: ScratchDirectory,
}

impl LocalKafka {
    /// Starts the broker and waits until it answers. The first start on a machine downloads about 55 MB.
    pub fn start() -> Result<LocalKafka, LocalError> {
        let libs = libraries()?;
        let mut attempt = 1;
        loop {
            match LocalKafka::start_once(&libs) {
                Err(LocalError::Failed { detail, .. })
                    if attempt < START_ATTEMPTS && detail.contains("Address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn start_once(libs: &Path) -> Result<LocalKafka, LocalError> {
        let directory = ScratchDirectory::create("kafka")?;
        let port = cache::free_port()?;
        let properties = server_properties(directory.path(), port, cache::free_port()?);
        write(&directory.path().join("server.properties"), &properties)?;
        write(&directory.path().join("log4j2.properties"), LOG4J)?;
        let mut broker = LocalKafka {
            process: None,
            libs: libs.to_owned(),
            brokers: format!("127.0.0.1:{port}"),
            directory,
        };
        broker.format()?;
        broker.restart()?;
        Ok(broker)
    }

    /// `host:port`, the same over restarts.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Kills the broker (SIGKILL, as a crash would) and waits for it to be gone. Its data stay.
    pub fn stop(&mut self) -> Result<(), LocalError> {
        if let Some(mut process) = self.process.take() {
            process.kill().map_err(failed("stopping Kafka"))?;
        }
        Ok(())
    }

    /// Stops if running, starts again on the same port and data, waits until it answers.
    pub fn restart(&mut self) -> Result<(), LocalError> {
        self.stop()?;
        let log_path = self.log_path();
        let log = File::create(&log_path).map_err(LocalError::io("creating", &log_path))?;
        let mut command = self.java("kafka.Kafka");
        command.arg(self.directory.path().join("server.properties"));
        command.stdin(Stdio::null()).stdout(clone_of(&log, &log_path)?).stderr(log);
        self.process = Some(BoundChild::spawn(command).map_err(missing("java", "default-jre-headless"))?);
        self.wait_until_ready()
    }

    /// SIGSTOP: connections stay, nobody answers.
    pub fn pause(&mut self) -> Result<(), LocalError> {
        self.running()?.pause().map_err(failed("pausing Kafka"))
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.running()?.resume().map_err(failed("resuming Kafka"))
    }

    fn running(&mut self) -> Result<&mut BoundChild, LocalError> {
        self.process
            .as_mut()
            .ok_or_else(|| LocalError::Failed { what: "Kafka", detail: "it is stopped".to_owned() })
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("broker.log")
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        let log4j = self.directory.path().join("log4j2.properties");
        command
            .args(["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"])
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .arg("-cp")
            .arg(self.libs.join("*"))
            .arg(class);
        command
    }

    fn format(&self) -> Result<(), LocalError> {
        // Any 16 bytes in URL-safe base64: nothing ever joins this cluster.
        const CLUSTER_ID: &str = "cGxpbXNvbGwtbG9jYWwtMQ";
        let output = self
            .java("kafka.tools.StorageTool")
            .args(["format", "--cluster-id", CLUSTER_ID, "--config"])
            .arg(self.directory.path().join("server.properties"))
            .stdin(Stdio::null())
            .output()
            .map_err(missing("java", "default-jre-headless"))?;
        if output.status.success() {
            return Ok(());
        }
        let mut detail = String::from_utf8_lossy(&output.stdout).into_owned();
        detail.push_str(&String::from_utf8_lossy(&output.stderr));
        Err(LocalError::Failed { what: "formatting Kafka's storage", detail })
    }

    fn wait_until_ready(&mut self) -> Result<(), LocalError> {
        let connection = Connection::to_brokers(&self.brokers);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.running()?.exited().map_err(failed("watching Kafka"))? {
                let detail = format!("{status}\n{}", tail(&self.log_path()));
                return Err(LocalError::Failed { what: "Kafka ended while starting", detail });
            }
            match connection.check(Duration::from_millis(500)) {
                Ok(()) => return Ok(()),
                Err(_) if Instant::now() < deadline => {}
                Err(error) => {
                    let detail = format!("{error}\n{}", tail(&self.log_path()));
                    return Err(LocalError::Failed { what: "Kafka did not become ready", detail });
                }
            }
        }
    }
}

/// Retention is off: it goes by the records' own timestamps, and tests write old ones.
fn server_properties(directory: &Path, port: u16, controller_port: u16) -> String {
    let logs = directory.join("logs");
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n\
         log.retention.ms=-1\n\
         num.network.threads=2\n\
         num.io.threads=4\n",
        logs.display()
    )
}

const LOG4J: &str = "status=error\n\
     appender.out.type=Console\n\
     appender.out.name=out\n\
     appender.out.layout.type=PatternLayout\n\
     appender.out.layout.pattern=%d{ISO8601} %p %m (%c)%n\n\
     rootLogger.level=warn\n\
     rootLogger.appenderRef.out.ref=out\n";

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
fn libraries() -> Result<PathBuf, LocalError> {
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

fn write(path: &Path, text: &str) -> Result<(), LocalError> {
    fs::write(path, text).map_err(LocalError::io("writing", path))
}

fn clone_of(file: &File, path: &Path) -> Result<File, LocalError> {
    file.try_clone().map_err(LocalError::io("opening", path))
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> LocalError {
    move |error| LocalError::Failed { what, detail: error.to_string() }
}

fn missing(program: &'static str, package: &'static str) -> impl FnOnce(io::Error) -> LocalError {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => LocalError::Missing { program: program.to_owned(), package },
        _ => LocalError::Failed { what: "starting", detail: format!("{program}: {error}") },
    }
}

/// The last 4 KB of a log, for an error message.
fn tail(path: &Path) -> String {
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
