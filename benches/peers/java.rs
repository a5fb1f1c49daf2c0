//! The job on a JVM: how it is built and started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::{Run, missing, on_second_core};

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

    /// Pinned from the start: a JVM counts its cores once, and starts as many compilers and collectors.
    pub fn command(&self, module: &str, cores: usize, run: &Run) -> Command {
        let mut command = on_second_core("java", cores);
        command.args(JVM).args(OPEN.iter().map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
        command.arg("-cp").arg(self.class_path(module)).arg(format!("dev.plimsoll.peers.{module}.Main"));
        command.args([run.brokers, run.name, run.output]).arg(run.folder);
        command
    }

    fn class_path(&self, module: &str) -> String {
        let module = |file: &str| self.directory.join(module).join(file).display().to_string();
        format!("{}:{}", module("classes"), module("libs/*"))
    }
}
