//! `plimsoll generate` as a process of its own, with error spikes that open and resolve breaches all the time.
//!
//! Event time may lie in the past: it then runs beside the wall clock at a fixed distance, so that an hour ends in the
//! middle and every hour is over at the end.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll::core::time::rfc3339;
use plimsoll::kafka::child::BoundChild;
use plimsoll::local::cluster::LocalCluster;
use plimsoll::roles::wall_clock_us;

use super::support::Deployment;

const SERVICES: [&str; 6] = ["prices-api", "predictions-api", "auth", "web", "trades-api", "alerts-api"];
/// Every so many seconds each service fails for a third as long.
const SPIKE_EVERY_S: i64 = 48;
/// How far ahead a generator knows its incidents.
const AHEAD_S: i64 = 1_800;
const SECOND_US: i64 = 1_000_000;
const LEAVE: Duration = Duration::from_secs(90);

pub struct Load {
    child: Option<BoundChild>,
    rate: u64,
    seed: u64,
    /// How far event time is behind the wall clock.
    behind_us: i64,
    pub restarts: u64,
}

impl Load {
    pub fn start(deployment: &Deployment<LocalCluster>, rate: u64, seed: u64, behind_us: i64) -> Load {
        let mut load = Load { child: None, rate, seed, behind_us, restarts: 0 };
        load.begin(deployment);
        load
    }

    /// Event time now.
    pub fn now_us(&self) -> i64 {
        wall_clock_us() - self.behind_us
    }

    fn begin(&mut self, deployment: &Deployment<LocalCluster>) {
        let start_us = self.now_us();
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args([
            "generate",
            "--speed",
            "1",
            "--span",
            "2h",
            "--bad-share",
            "0.2%",
            "--late-share",
            "1%",
        ]);
        command.args(["--start", &rfc3339(start_us), "--rate", &self.rate.to_string()]);
        command.args(["--seed", &(self.seed * 1_000 + self.restarts).to_string()]);
        command.arg("--config").arg(deployment.folder()).args(["--instance", "load"]);
        for spike in spikes(start_us.div_euclid(SECOND_US)) {
            command.args(["--incident", &spike]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(BoundChild::spawn(command).unwrap());
    }

    /// A generator that could not deliver (a partition without a leader for long) ends; another one goes on.
    pub fn tend(&mut self, deployment: &Deployment<LocalCluster>) {
        if self.child.as_mut().is_some_and(|child| child.exited().unwrap().is_some()) {
            self.restarts += 1;
            self.begin(deployment);
        }
    }

    /// The next one finds out anew how many partitions there are.
    pub fn restart(&mut self, deployment: &Deployment<LocalCluster>) {
        self.stop();
        self.restarts += 1;
        self.begin(deployment);
    }

    /// Waits until all it made is delivered.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if child.exited().unwrap().is_some() {
            return;
        }
        child.terminate().unwrap();
        let deadline = Instant::now() + LEAVE;
        while child.exited().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the generator does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// By the clock of event time, so that they do not hang on when a generator was started.
fn spikes(start_s: i64) -> Vec<String> {
    let mut spikes = Vec::new();
    for (at, service) in (0..).zip(SERVICES) {
        let first_s = start_s.div_euclid(SPIKE_EVERY_S) * SPIKE_EVERY_S + 8 * at;
        for from_s in (first_s..start_s + AHEAD_S).step_by(SPIKE_EVERY_S as usize) {
            let (from_s, to_s) = ((from_s - start_s).max(0), from_s + SPIKE_EVERY_S / 3 - start_s);
            if from_s < to_s {
                spikes.push(format!("error-spike:{from_s}s..{to_s}s:0.6:{service}"));
            }
        }
    }
    spikes
}
