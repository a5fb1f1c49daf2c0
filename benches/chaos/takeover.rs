//! How long a replica or a broker is missed: until nothing waits any more, and until breaches open again.
//!
//! A request that alone is a breach is due every 100 ms, in every partition and shard by turns. Breaches open again
//! when the last one is told that waited for more than a second.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plimsoll::core::time::rfc3339;
use plimsoll::kafka::{Connection, Follower, PlainProducer, TopicPartition};
use plimsoll::local::cluster::LocalCluster;
use plimsoll::roles::wall_clock_us;

use super::cluster::{self, INPUT_PARTITIONS, SERVERS};
use super::fleet::Fleet;
use super::lag::Lag;
use super::load::Load;
use super::quantiles;
use super::support::Deployment;

const TRIP_EVERY: Duration = Duration::from_millis(100);
/// Each has a group of its own until its episode is long over.
const GROUPS: u32 = 900;
const UNDER_WAY: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(20);
/// Every partition and shard had its turn in this time.
const CALM: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(120);
const SETTINGS: &str = "intervals: {provisional: 60s, heartbeat: 1s}\n";
const RULES: &str = "
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: platform}
spec:
  defaults: {source: request-log, hold: 2s}
  rules:
    - {name: trip, kind: COUNT, where: \"method == 'TRIP'\", window: 1s, group_by: [service], group_limit: 2000,
       critical: {above: 0}}
";

/// Requests that are breaches, and when each was due.
#[derive(Default)]
struct Trips {
    pending: BTreeMap<String, Instant>,
    last_told: Option<Instant>,
    /// When the last one was told that waited for long.
    late_until: Option<Instant>,
    longest_gap: Duration,
}

struct Watch {
    trips: Arc<Mutex<Trips>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    fn start(connection: &Connection) -> Watch {
        let (trips, stop) = (Arc::new(Mutex::new(Trips::default())), Arc::new(AtomicBool::new(false)));
        let threads = vec![
            send(connection, Arc::clone(&trips), Arc::clone(&stop)),
            subscribe(connection, Arc::clone(&trips), Arc::clone(&stop)),
        ];
        Watch { trips, stop, threads }
    }

    fn is_open(&self) -> bool {
        let trips = self.trips.lock().unwrap();
        trips.pending.values().all(|due| due.elapsed() < UNDER_WAY)
    }

    /// What was told before does not count; the gap that lasts now does.
    fn begin(&self) {
        let mut trips = self.trips.lock().unwrap();
        (trips.longest_gap, trips.last_told) = (Duration::ZERO, Some(Instant::now()));
        trips.late_until = None;
    }

    /// How long after `since` breaches came late.
    fn late(&self, since: Instant) -> Duration {
        self.trips.lock().unwrap().late_until.map_or(Duration::ZERO, |until| until.duration_since(since))
    }

    fn longest_gap(&self) -> Duration {
        self.trips.lock().unwrap().longest_gap
    }

    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn send(connection: &Connection, trips: Arc<Mutex<Trips>>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let producer = PlainProducer::open(connection, "trips").unwrap();
    thread::spawn(move || {
        let began = Instant::now();
        for at in 1u32.. {
            let due = began + TRIP_EVERY * at;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Acquire) {
                return;
            }
            let (group, now_us) = (format!("trip-{}", at % GROUPS), wall_clock_us());
            let request = format!(
                r#"{{"ts":"{}","service":"{group}","route":"/","method":"TRIP","status":200,"duration_ms":1}}"#,
                rfc3339(now_us)
            );
            trips.lock().unwrap().pending.insert(group, due);
            let partition = (at % INPUT_PARTITIONS) as i32;
            producer.send("request-log", partition, None, request.as_bytes(), now_us / 1_000).unwrap();
        }
    })
}

fn subscribe(connection: &Connection, trips: Arc<Mutex<Trips>>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let follow = |p| Follower::open(connection, TopicPartition::new("slo-breaches", p), 0).unwrap();
    let mut followers: Vec<Follower> = (0..3).map(follow).collect();
    thread::spawn(move || {
        while !stop.load(Ordering::Acquire) {
            for follower in &mut followers {
                // A broker that is away: the next look tells.
                let _ = follower.poll_new(|record| {
                    let breach: serde_json::Value =
                        serde_json::from_slice(record.payload.unwrap_or_default()).unwrap();
                    let Some(group) = breach["labels"]["service"].as_str() else { return };
                    let mut trips = trips.lock().unwrap();
                    if breach["transition"] != "OPENED" {
                        return;
                    }
                    if let Some(due) = trips.pending.remove(group) {
                        if due.elapsed() > UNDER_WAY {
                            trips.late_until = Some(Instant::now());
                        }
                        let gap = trips.last_told.map_or(Duration::ZERO, |last| last.elapsed());
                        trips.longest_gap = trips.longest_gap.max(gap);
                        trips.last_told = Some(Instant::now());
                    }
                });
            }
            thread::sleep(Duration::from_millis(2));
        }
    })
}

/// Tries of one kind.
#[derive(Default)]
struct Times {
    lag: Vec<Duration>,
    open: Vec<Duration>,
    gap: Vec<Duration>,
}

struct Takeover {
    fleet: Fleet,
    load: Load,
    lag: Lag,
    watch: Watch,
    deployment: Deployment<LocalCluster>,
}

impl Takeover {
    /// Until nothing waits and breaches open, both counted from now.
    fn recover(&mut self, since: Instant, times: &mut Times) {
        self.lag.begin();
        let (mut lag, mut open_from) = (None, since);
        while lag.is_none() || open_from.elapsed() < CALM {
            self.load.tend(&self.deployment);
            lag = lag.or(self.lag.is_judged().then(|| since.elapsed()));
            if !self.watch.is_open() {
                open_from = Instant::now();
            }
            assert!(since.elapsed() < LIMIT, "lag {lag:?}\n{}", self.fleet.keep());
            thread::sleep(STEP);
        }
        times.lag.extend(lag);
        times.open.push(self.watch.late(since));
        times.gap.push(self.watch.longest_gap());
    }

    fn calm(&mut self) {
        let mut since = Instant::now();
        let deadline = since + LIMIT;
        while since.elapsed() < CALM {
            self.fleet.tend(&self.deployment);
            if !self.watch.is_open() {
                since = Instant::now();
            }
            assert!(Instant::now() < deadline, "no calm\n{}", self.fleet.keep());
            thread::sleep(STEP);
        }
    }
}

/// Until nothing has waited for a while. Only then do all clocks show the rules, and what comes before that is not
/// counted by them.
fn come_up(lag: &mut Lag, fleet: &Fleet) {
    let began = Instant::now();
    let mut since = began;
    lag.begin();
    while since.elapsed() < CALM {
        thread::sleep(STEP);
        if !lag.is_judged() {
            since = Instant::now();
        }
        assert!(began.elapsed() < LIMIT, "{}\n{}", lag.why, fleet.keep());
    }
}

pub fn run(seed: u64, rate: u64, tries: u64) {
    let deployment = cluster::deploy(SETTINGS);
    deployment.write_only_rules(RULES);
    cluster::wait_in_sync(deployment.connection.brokers());
    let fleet = Fleet::start(&deployment, &[("one", "all"), ("two", "all"), ("three", "all")]);
    let load = Load::start(&deployment, rate, seed, 0);
    let mut lag = Lag::watch(&deployment);
    come_up(&mut lag, &fleet);
    let watch = Watch::start(&deployment.connection);
    let mut takeover = Takeover { fleet, load, lag, watch, deployment };
    takeover.recover(Instant::now(), &mut Times::default());
    let (mut in_place, mut lost, mut broker) = (Times::default(), Times::default(), Times::default());
    for n in 0..tries as usize {
        let at = n % takeover.fleet.size();
        takeover.calm();
        takeover.watch.begin();
        let since = Instant::now();
        takeover.fleet.kill(at);
        takeover.fleet.start_one(&takeover.deployment, at);
        takeover.recover(since, &mut in_place);
        takeover.calm();
        takeover.watch.begin();
        let since = Instant::now();
        takeover.fleet.kill(at);
        takeover.recover(since, &mut lost);
        takeover.fleet.start_one(&takeover.deployment, at);
        takeover.recover(Instant::now(), &mut Times::default());
        println!(
            "try {n}: in place lag {:.1?}, breaches {:.1?}; lost lag {:.1?}, breaches {:.1?}",
            in_place.lag[n], in_place.open[n], lost.lag[n], lost.open[n]
        );
    }
    for n in 0..tries.div_ceil(4) as usize {
        takeover.calm();
        takeover.watch.begin();
        let (since, at) = (Instant::now(), n % SERVERS);
        takeover.deployment.kafka.stop(at).unwrap();
        thread::sleep(Duration::from_secs(2));
        takeover.deployment.kafka.restart(at).unwrap();
        takeover.recover(since, &mut broker);
        cluster::wait_in_sync(takeover.deployment.connection.brokers());
        println!("broker {at}: longest gap {:.1?}", broker.gap[n]);
    }
    println!("| what | tries | lag zero: p50, max | breaches open: p50, max | longest gap: p50, max |");
    println!("|---|---|---|---|---|");
    for (name, times) in
        [("one of three, in place", in_place), ("one of three, lost", lost), ("broker restarted", broker)]
    {
        let Times { lag, open, gap } = times;
        let tries = lag.len();
        let [lag, open, gap] = [lag, open, gap].map(|times| quantiles(times.into_iter()));
        println!("| {name} | {tries} | {lag} | {open} | {gap} |");
    }
    let load_average = fs::read_to_string("/proc/loadavg").unwrap();
    println!("load average of the machine: {}", load_average.split(' ').next().unwrap());
    takeover.watch.end();
}
