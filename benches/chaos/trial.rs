//! One deployment under load, and one fault after the other.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use plimsoll::kafka::{Admin, EndOf, TopicPartition};
use plimsoll::local::cluster::LocalCluster;

use super::cluster::{self, SERVERS};
use super::disk::Disk;
use super::fault::{Fault, Planned};
use super::fleet::Fleet;
use super::lag::Lag;
use super::load::Load;
use super::oracle::RawRecord;
use super::proxy::Proxy;
use super::support::Deployment;

/// Beyond the session timeout of 10 s, and beyond the 9 s after which a controller gives up a broker.
const SILENCE: Duration = Duration::from_secs(14);
const OUTAGE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(120);
const ASK: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(50);
/// Records that truncation takes at least.
const LOST: i64 = 200;
const FLEET: [(&str, &str); 5] = [
    ("all-1", "all"),
    ("all-2", "all"),
    ("ingest-1", "ingest"),
    ("evaluate-1", "evaluate"),
    ("store-1", "store"),
];
/// Rows and checkpoints often, so that faults meet them. A pause of the load is no idleness.
const SETTINGS: &str = "intervals: {provisional: 2s, checkpoint: 3s, heartbeat: 1s}\n";

/// Dropped in this order: replicas first, and the disk before the directory it lies in.
pub struct Trial {
    pub fleet: Fleet,
    pub load: Load,
    pub lag: Lag,
    proxy: Proxy,
    disk: Option<Disk>,
    pub deployment: Deployment<LocalCluster>,
    rules: u32,
    /// Input records that the brokers have no more, but that were read before.
    pub archive: Vec<RawRecord>,
    /// Where each truncated partition begins now.
    pub begins: BTreeMap<TopicPartition, i64>,
    /// Ranges of offsets that nobody can have read.
    pub lost: Vec<(TopicPartition, i64, i64)>,
    input_partitions: usize,
}

/// How long after a fault was over nothing waited any more: for judging, and for Postgres.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    pub judged: Duration,
    pub stored: Duration,
}

impl Trial {
    pub fn start(seed: u64, rate: u64, behind_us: i64) -> Trial {
        let mut deployment = cluster::deploy(SETTINGS);
        let proxy = Proxy::start(deployment.postgres.port());
        deployment.database_url = deployment
            .postgres
            .url()
            .replace(&deployment.postgres.port().to_string(), &proxy.port().to_string());
        let disk = Disk::mount(&deployment);
        deployment.write_only_rules(&rules(0));
        for source in ["commodity-prices", "ml-predictions", "request-log"] {
            let path = deployment.folder().join(format!("sources/{source}.yaml"));
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("idle_after: 5s"), "{source}");
            // A load that stands still for a moment must not hand the watermark to the wall clock.
            fs::write(path, text.replace("idle_after: 5s", "idle_after: 40s")).unwrap();
        }
        cluster::wait_in_sync(deployment.connection.brokers());
        apply_rules(&deployment);
        let fleet = Fleet::start(&deployment, &FLEET);
        let load = Load::start(&deployment, rate, seed, behind_us);
        let lag = Lag::watch(&deployment);
        let mut trial = Trial {
            fleet,
            load,
            lag,
            proxy,
            disk,
            rules: 0,
            archive: Vec::new(),
            begins: BTreeMap::new(),
            lost: Vec::new(),
            input_partitions: cluster::INPUT_PARTITIONS as usize,
            deployment,
        };
        trial.recover(Instant::now());
        trial
    }

    /// Brings the fault about, and waits until it is overcome. `None`: it cannot be brought about here.
    pub fn suffer(&mut self, planned: &Planned) -> Option<Recovery> {
        self.pass(Duration::from_millis(planned.after_ms));
        let over = self.apply(planned.fault)?;
        Some(self.recover(over))
    }

    fn recover(&mut self, since: Instant) -> Recovery {
        self.lag.begin();
        let (mut judged, mut stored) = (None, None);
        loop {
            self.tend();
            // It looks at the ends, by which both are judged.
            let is_judged = self.lag.is_judged();
            judged = judged.or(is_judged.then(|| since.elapsed()));
            stored = stored.or(self.lag.is_stored().then(|| since.elapsed()));
            if let (Some(judged), Some(stored)) = (judged, stored) {
                return Recovery { judged, stored };
            }
            assert!(
                since.elapsed() < LIMIT,
                "still behind after {LIMIT:?}: judged {judged:?}, stored {stored:?}, {}\n{}",
                self.lag.why,
                self.fleet.keep()
            );
            std::thread::sleep(STEP);
        }
    }

    fn tend(&mut self) {
        self.fleet.tend(&self.deployment);
        self.load.tend(&self.deployment);
    }

    fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.tend();
            std::thread::sleep(STEP.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// When the fault was over; what is killed is over at once, for it comes back by itself.
    fn apply(&mut self, fault: Fault) -> Option<Instant> {
        let began = Instant::now();
        let victim = |n: u64, of: usize| n as usize % of;
        match fault {
            Fault::Kill(n) => self.kill(victim(n, self.fleet.size())),
            Fault::DoubleKill(n) => {
                self.kill(victim(n, self.fleet.size()));
                self.pass(Duration::from_millis(n % 2_000));
                self.kill(victim(n, self.fleet.size()));
            }
            Fault::KillEveryone => {
                (0..self.fleet.size()).for_each(|at| self.fleet.kill(at));
                self.fleet.start_all(&self.deployment);
            }
            Fault::Terminate(n) => {
                let at = victim(n, self.fleet.size());
                self.fleet.terminate(at);
                self.fleet.start_one(&self.deployment, at);
            }
            Fault::Zombie(n) => {
                let at = victim(n, self.fleet.size());
                self.fleet.pause(at);
                self.pass(SILENCE);
                self.fleet.resume(at);
                return Some(Instant::now());
            }
            Fault::BrokerRestart(n) => {
                let at = victim(n, SERVERS);
                self.deployment.kafka.stop(at).unwrap();
                self.pass(Duration::from_secs(2));
                self.deployment.kafka.restart(at).unwrap();
                cluster::wait_in_sync(self.deployment.connection.brokers());
            }
            Fault::BrokerPause(n) => {
                let at = victim(n, SERVERS);
                self.deployment.kafka.pause(at).unwrap();
                self.pass(SILENCE);
                self.deployment.kafka.resume(at).unwrap();
                let over = Instant::now();
                cluster::wait_in_sync(self.deployment.connection.brokers());
                return Some(over);
            }
            Fault::PostgresKill => {
                self.deployment.postgres.kill9().unwrap();
                self.pass(OUTAGE);
                self.deployment.postgres.start_again().unwrap();
                return Some(Instant::now());
            }
            Fault::PostgresCut => {
                for _ in 0..5 {
                    self.proxy.cut();
                    self.pass(Duration::from_millis(700));
                }
                return Some(Instant::now());
            }
            Fault::PostgresStall => {
                self.proxy.stall(true);
                self.pass(OUTAGE);
                self.proxy.stall(false);
                return Some(Instant::now());
            }
            Fault::PostgresSlow => {
                self.proxy.slow(Duration::from_millis(50));
                self.pass(OUTAGE);
                self.proxy.slow(Duration::ZERO);
                return Some(Instant::now());
            }
            Fault::DiskFull => {
                self.disk.as_ref()?.fill();
                self.pass(OUTAGE);
                self.disk.as_ref()?.free();
                return Some(Instant::now());
            }
            Fault::Truncation(n) => return Some(self.truncate(n)),
            Fault::MorePartitions => {
                self.input_partitions += 1;
                let brokers = self.deployment.connection.brokers();
                cluster::set_partitions(brokers, "request-log", self.input_partitions);
                self.load.restart(&self.deployment);
                self.lag.look_again();
                self.wait_for_records(self.input_partitions - 1);
            }
            Fault::RollingUpgrade => self.upgrade(),
        }
        Some(began)
    }

    /// Until something lies in a new partition of the requests, so that it must be read.
    fn wait_for_records(&mut self, partition: usize) {
        let admin = Admin::open(&self.deployment.connection).unwrap();
        let one = [TopicPartition::new("request-log", partition as i32)];
        let deadline = Instant::now() + LIMIT;
        while admin.offsets(&one, EndOf::LatestCommitted, ASK).map_or(0, |ends| ends[0].1) == 0 {
            assert!(Instant::now() < deadline, "nothing comes to {}", one[0]);
            self.pass(STEP);
        }
        self.lag.look_again();
    }

    fn kill(&mut self, at: usize) {
        self.fleet.kill(at);
        self.fleet.start_one(&self.deployment, at);
    }

    /// Deletes records that nobody has read while those who read the inputs are away.
    fn truncate(&mut self, n: u64) -> Instant {
        let ingesting = self.fleet.ingesting();
        ingesting.iter().for_each(|at| self.fleet.terminate(*at));
        let partition = TopicPartition::new("request-log", (n % u64::from(cluster::INPUT_PARTITIONS)) as i32);
        let next = self.lag.ingested(&partition);
        let admin = Admin::open(&self.deployment.connection).unwrap();
        let one = std::slice::from_ref(&partition);
        let end = || admin.offsets(one, EndOf::LatestCommitted, ASK).unwrap()[0].1;
        let deadline = Instant::now() + LIMIT;
        while end() < next + LOST {
            assert!(Instant::now() < deadline, "nothing comes to {partition}");
            self.load.tend(&self.deployment);
            std::thread::sleep(STEP);
        }
        let to = next + LOST / 2 + (n % LOST as u64) as i64 / 2;
        let begins = self.begins.get(&partition).copied().unwrap_or(0);
        self.archive.extend(cluster::read_input(&self.deployment.connection, &partition, begins, next));
        admin.delete_records(&[(partition.clone(), to)], ASK).unwrap();
        self.begins.insert(partition.clone(), to);
        self.lost.push((partition, next, to));
        let over = Instant::now();
        ingesting.iter().for_each(|at| self.fleet.start_one(&self.deployment, *at));
        over
    }

    fn upgrade(&mut self) {
        self.rules += 1;
        fs::write(self.deployment.folder().join("alerts/platform.yaml"), rules(self.rules)).unwrap();
        apply_rules(&self.deployment);
        for at in 0..self.fleet.size() {
            self.fleet.terminate(at);
            self.fleet.start_one(&self.deployment, at);
            self.recover(Instant::now());
        }
    }
}

/// A broker may not know a topic yet that another one has just created.
fn apply_rules(deployment: &Deployment<LocalCluster>) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let applied = deployment.command(&["rules", "apply"]);
        if applied.status.success() {
            return;
        }
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&applied.stderr));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// One rule stays over all versions; of the others each version has two, and drops the older one of those before.
fn rules(version: u32) -> String {
    let passing = |n: u32| {
        format!(
            "    - {{name: passing-{n}, kind: RATIO, bad: \"status >= 500\", window: {}s, min_events: 20,\n       \
             group_by: [region], group_limit: 100, warning: {{above: 4%}}}}\n",
            10 + n % 5
        )
    };
    format!(
        "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {{name: platform}}\nspec:\n  \
         defaults: {{source: request-log, hold: 5s, no_data_after: 20s}}\n  rules:\n    \
         - {{name: errors, kind: RATIO, bad: \"status >= 500\", window: 10s, min_events: 20, group_by: [service],\n       \
         group_limit: 100, critical: {{above: 40%}}, warning: {{above: 20%}}}}\n{}{}",
        passing(version),
        passing(version + 1)
    )
}
