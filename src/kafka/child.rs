//! Child processes that die with their parent, however it ends.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;

/// A running program that the kernel kills (SIGKILL) when this process ends, even by SIGKILL.
///
/// That death signal follows the *thread* that starts the child, so each child gets a thread which does nothing but
/// outlive it: a caller may start one from a short-lived thread, as tests do.
#[derive(Debug)]
pub struct BoundChild {
    child: Child,
    /// Dropped with the child; ends the thread that holds it.
    _keeper: mpsc::Sender<()>,
}

impl BoundChild {
    /// Starts `command`. Errors are those of [`Command::spawn`].
    pub fn spawn(mut command: Command) -> io::Result<BoundChild> {
        dies_with_thread(&mut command);
        let (started, outcome) = mpsc::channel();
        let (keeper, released) = mpsc::channel::<()>();
        thread::Builder::new().name("child keeper".to_owned()).spawn(move || {
            if started.send(command.spawn()).is_ok() {
                // Nothing is ever sent: this ends when the other side is dropped.
                let _ = released.recv();
            }
        })?;
        let child =
            outcome.recv().map_err(|_| io::Error::other("the thread that starts the child died"))??;
        Ok(BoundChild { child, _keeper: keeper })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, or `None` while it runs.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it (SIGKILL) and waits for it to be gone.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// SIGTERM: it may put its things in order.
    pub fn terminate(&mut self) -> io::Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// SIGSTOP: its connections stay open and nobody answers.
    pub fn pause(&mut self) -> io::Result<()> {
        self.signal(libc::SIGSTOP)
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> io::Result<()> {
        self.signal(libc::SIGCONT)
    }

    fn signal(&mut self, signal: libc::c_int) -> io::Result<()> {
        if let Some(status) = self.exited()? {
            let how = status.signal().map_or(format!("{status}"), |by| format!("killed by signal {by}"));
            return Err(io::Error::other(format!("the child is gone: {how}")));
        }
        let pid = libc::pid_t::try_from(self.child.id()).map_err(io::Error::other)?;
        // SAFETY: `kill` takes two integers and touches no memory of ours. The pid is our own child's, which was not
        // reaped a line above and which nobody else can reap, so it cannot have been given to another process.
        if unsafe { libc::kill(pid, signal) } == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for BoundChild {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.kill();
    }
}

fn dies_with_thread(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed. It makes two
    // plain system calls with values captured by copy: no allocation, no lock, no unwinding.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) == -1 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before that call took effect: then nobody would send the signal.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::PathBuf;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;

    /// Set for the process that is to hold a child.
    const HOLDER: &str = "PLIMSOLL_TEST_HOLDER";

    #[test]
    fn outlives_the_thread_that_started_it_and_dies_when_dropped() {
        let mut child = thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("60");
            BoundChild::spawn(command).unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(child.exited().unwrap(), None);
        child.pause().unwrap();
        child.resume().unwrap();
        assert_eq!(child.kill().unwrap().signal(), Some(libc::SIGKILL));
        assert!(child.pause().unwrap_err().to_string().contains("gone"));
    }

    /// Not a test: the process the next one kills.
    #[test]
    fn holds_a_child_until_killed() {
        if std::env::var_os(HOLDER).is_none() {
            return;
        }
        let mut command = Command::new("sleep");
        command.arg("600");
        let child = BoundChild::spawn(command).unwrap();
        println!("child {}", child.child.id());
        thread::sleep(Duration::from_secs(600));
    }

    #[test]
    fn a_killed_parent_takes_its_child_along() {
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kafka::child::tests::holds_a_child_until_killed", "--nocapture"])
            .env(HOLDER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map(Result::unwrap);
        let pid: u32 = lines
            .find_map(|line| line.split_once("child ").map(|(_, pid)| pid.trim().to_owned()))
            .expect("the holder tells its child's pid")
            .parse()
            .unwrap();
        let stat = PathBuf::from(format!("/proc/{pid}/stat"));
        assert!(stat.exists());
        parent.kill().unwrap();
        parent.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // Gone, or a zombie that its new parent has yet to reap.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "the child lives on");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn reports_a_missing_program() {
        let error = BoundChild::spawn(Command::new("plimsoll-no-such-program")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
