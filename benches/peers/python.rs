//! The job on Python: how its packages are installed and how it is started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::{Run, missing, on_second_core};

/// With `ensurepip`, which Debian keeps in a package of its own.
const PACKAGE: &str = "python3-venv";
/// As often as the peers that commit by transaction.
const SNAPSHOT_S: &str = "1";

/// An environment of its own for the job's packages, in the versions that `bytewax/requirements.txt` pins.
pub struct Environment {
    directory: PathBuf,
    job: PathBuf,
}

impl Environment {
    /// Makes it below cargo's target directory; the first time on a machine downloads about 35 MB.
    pub fn build() -> Result<Environment, String> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers/bytewax");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/bytewax");
        let environment = Environment { directory, job: sources.join("job.py") };
        eprintln!("installing Bytewax with pip ...");
        if !environment.python().exists() {
            let mut python = Command::new("python3");
            succeed(python.args(["-m", "venv"]).arg(&environment.directory))?;
        }
        let mut pip = Command::new(environment.python());
        pip.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
        ]);
        succeed(pip.arg("--requirement").arg(sources.join("requirements.txt")))?;
        Ok(environment)
    }

    /// With recovery, as Bytewax documents it; its partitions have to be there before.
    pub fn command(&self, cores: usize, run: &Run) -> Command {
        let recovery = run.folder.join("recovery");
        std::fs::create_dir(&recovery).unwrap();
        let mut init = Command::new(self.python());
        assert!(init.args(["-m", "bytewax.recovery"]).arg(&recovery).arg("1").status().unwrap().success());
        let mut command = on_second_core(self.python(), cores);
        // No compiled files beside the sources.
        command.args(["-B", "-m", "bytewax.run"]);
        command.arg(format!("{}:job('{}', '{}-1')", self.job.display(), run.brokers, run.output));
        command.arg("--recovery-directory").arg(recovery);
        command.args(["--snapshot-interval", SNAPSHOT_S, "--backup-interval", "0"]);
        command
    }

    fn python(&self) -> PathBuf {
        self.directory.join("bin/python")
    }
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = command.stdin(Stdio::null()).output().map_err(|error| missing(&program, PACKAGE, &error))?;
    if ran.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    Err(format!("{program}: {}; needed are {PACKAGE} and Python 3.11 or 3.12\n{out}{err}", ran.status))
}
