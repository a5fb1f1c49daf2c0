//! `cargo bench --bench steady`: one replica under a live load, for `PLIMSOLL_BENCH_SECONDS` (300) at
//! `PLIMSOLL_BENCH_RATE` (7,000) messages a second, on the real broker and database, everything on this machine.
//!
//! Prints lag, CPU, memory, and how long a read_committed subscriber waits for a breach, from the time that the event
//! which crosses the line was due; for a RATIO also from the end of the second it opened at. The load is open loop:
//! every record is due at its own time. Events come out of order, so which of them it was that crossed a RATIO's line is
//! found out afterwards, from the topic.

mod measure;
#[path = "../tests/oracle/mod.rs"]
mod oracle;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use measure::{cpu_s, number, peak_kib, total, worst};
use plimsoll::core::time::rfc3339;
use plimsoll::kafka::child::BoundChild;
use plimsoll::kafka::{Connection, Follower, PlainProducer, TopicPartition};
use support::{Deployment, Settings};

const SERVICES: [&str; 6] = ["prices-api", "predictions-api", "auth", "web", "trades-api", "alerts-api"];
/// Every so many seconds each service fails for half as long.
const SPIKE_EVERY_S: u64 = 20;
/// The broker compiles its own code meanwhile.
const WARM_UP_S: u64 = 60;
const PARTITIONS: u32 = 12;
/// How often one event crosses the COUNT's line. It is never a divisor of a second, so that every part of one is hit.
const TRIP_EVERY: Duration = Duration::from_millis(530);
/// Each trip has a service of its own until the episode of the one before it is long over.
const TRIP_SERVICES: u64 = 40;
/// The RATIO of the rules below.
const WINDOW_S: i64 = 5;
const MIN_EVENTS: u64 = 20;
const ABOVE_PERCENT: u64 = 20;
const RULES: &str = "
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: bench}
spec:
  defaults: {source: request-log, hold: 2s}
  rules:
    - name: fast
      kind: RATIO
      bad: \"status >= 500\"
      window: 5s
      min_events: 20
      group_by: [service]
      group_limit: 100
      critical: {above: 20%}
    - name: at-once
      kind: COUNT
      where: \"method == 'TRIP'\"
      window: 1s
      group_by: [service]
      group_limit: 100
      critical: {above: 0}
";

/// What a subscriber was told of, and when the trips were due by service.
#[derive(Default)]
struct Latencies {
    ratios: Vec<Opened>,
    /// Seconds it waited for each COUNT.
    count_s: Vec<f64>,
    due_s: BTreeMap<String, f64>,
}

/// A RATIO that has opened, and when the subscriber had it.
struct Opened {
    service: String,
    opened_s: i64,
    value: String,
    read_s: f64,
}

/// A request as its topic holds it.
struct Request {
    due_ms: i64,
    event_us: i64,
    failed: bool,
}

impl Opened {
    fn after_second_s(&self) -> f64 {
        self.read_s - self.opened_s as f64
    }

    /// From when the event was due that carried the share of the window over its line, as the events came; the last one,
    /// if several did. The window has one more second only from when that begins: none before can have been the one.
    fn after_event_s(&self, requests: &BTreeMap<String, Vec<Request>>) -> f64 {
        let window_us = (self.opened_s - WINDOW_S) * 1_000_000..self.opened_s * 1_000_000;
        let all = requests.get(&self.service).map_or(&[][..], Vec::as_slice);
        let came = |request: &&Request| request.due_ms as f64 / 1e3 <= self.read_s;
        let (mut total, mut bad, mut was_above) = (0, 0, false);
        let mut due_ms = (self.opened_s - 1) * 1_000;
        for request in all.iter().filter(|request| window_us.contains(&request.event_us)).filter(came) {
            total += 1;
            bad += u64::from(request.failed);
            let is_above = total >= MIN_EVENTS && bad * 100 > total * ABOVE_PERCENT;
            if is_above && !was_above {
                due_ms = due_ms.max(request.due_ms);
            }
            was_above = is_above;
        }
        self.read_s - due_ms as f64 / 1e3
    }
}

impl Latencies {
    /// Counts from now on; what is due goes on.
    fn start_over(&mut self) {
        self.ratios.clear();
        self.count_s.clear();
    }

    fn take(&mut self, breach: &serde_json::Value, read_s: f64) {
        if breach["rule"]["document"] != "bench" || breach["transition"] != "OPENED" {
            return;
        }
        if breach["rule"]["kind"] == "RATIO" {
            let opened: jiff::Timestamp = breach["opened_at"].as_str().unwrap().parse().unwrap();
            self.ratios.push(Opened {
                service: breach["labels"]["service"].as_str().unwrap().to_owned(),
                opened_s: opened.as_second(),
                value: breach["windows"][0]["value"].as_str().unwrap_or("none").to_owned(),
                read_s,
            });
        } else if let Some(due_s) = self.due_s.remove(breach["labels"]["service"].as_str().unwrap()) {
            self.count_s.push(read_s - due_s);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement against event times, which are wall clock times"
)]
fn wall_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn main() {
    let (seconds, rate) =
        (number("PLIMSOLL_BENCH_SECONDS", 300) as u64, number("PLIMSOLL_BENCH_RATE", 7_000) as u64);
    let settings = Settings { internal_partitions: 12, workers: 1, more: "" };
    let deployment = Deployment::start_for_load(PARTITIONS, &settings);
    fs::write(deployment.folder().join("alerts/bench.yaml"), RULES).unwrap();
    let mut replica = deployment.replica("one", &[]);
    replica.wait_for_log("ingest partitions assigned", Duration::from_secs(60));
    let latencies = Arc::new(Mutex::new(Latencies::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let subscriber = subscribe(&deployment.connection, Arc::clone(&latencies), Arc::clone(&stop));
    let mut load = generate(&deployment, seconds + WARM_UP_S, rate);
    let trips = trip(&deployment.connection, Arc::clone(&latencies), Arc::clone(&stop));
    std::thread::sleep(Duration::from_secs(WARM_UP_S));
    latencies.lock().unwrap().start_over();
    let (began, cpu_began) = (Instant::now(), cpu_s(replica.pid()));
    let mut lags = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(1));
        replica.assert_running();
        let (_, metrics) = replica.get("/metrics");
        lags.push((
            worst(&metrics, "plimsoll_source_lag_seconds"),
            total(&metrics, "plimsoll_source_lag_messages"),
        ));
    }
    let cpu = (cpu_s(replica.pid()) - cpu_began) / began.elapsed().as_secs_f64();
    let (_, metrics) = replica.get("/metrics");
    let peak_kib = peak_kib(replica.pid());
    stop.store(true, Ordering::Release);
    subscriber.join().unwrap();
    trips.join().unwrap();
    load.kill().unwrap();
    let latencies = latencies.lock().unwrap();
    let worst_lag = lags.iter().map(|lag| lag.0).fold(0.0, f64::max);
    let worst_messages = lags.iter().map(|lag| lag.1).fold(0.0, f64::max);
    let load_average = fs::read_to_string("/proc/loadavg").unwrap();
    println!("| figure | value |\n|---|---|");
    println!("| load | {rate} messages/s for {seconds} s, 3 topics x 12 partitions |");
    println!("| load average of the machine | {} |", load_average.split(' ').next().unwrap());
    println!("| messages read | {:.0} |", total(&metrics, "plimsoll_source_messages_read_total"));
    println!("| largest lag seen, by the second | {worst_lag:.3} s, {worst_messages:.0} messages |");
    println!("| CPU, all roles | {:.1} % of a core |", cpu * 100.0);
    println!("| peak memory | {} MiB |", peak_kib / 1024);
    println!("| transactions aborted | {:.0} |", total(&metrics, "plimsoll_transactions_aborted_total"));
    let requests = requests(&deployment);
    let mut ratios: Vec<(f64, &Opened)> =
        latencies.ratios.iter().map(|opened| (opened.after_event_s(&requests), opened)).collect();
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let after_event_s: Vec<f64> = ratios.iter().map(|(waited_s, _)| *waited_s).collect();
    let after_second_s: Vec<f64> = ratios.iter().map(|(_, opened)| opened.after_second_s()).collect();
    println!("| RATIO readable after the crossing event was due | {} |", quantiles(&after_event_s));
    println!("| RATIO readable after the second it opened at | {} |", quantiles(&after_second_s));
    if let Some((waited_s, opened)) = ratios.last() {
        let (second_s, value) = (opened.after_second_s(), &opened.value);
        println!("| the slowest RATIO | {waited_s:.3} s, {second_s:.3} s after its second, {value} of 0.2 |");
    }
    println!("| COUNT readable after the crossing event was due | {} |", quantiles(&latencies.count_s));
    assert!(replica.terminate(Duration::from_secs(5)).success());
}

/// Requests of each service, in the order in which they were due.
fn requests(deployment: &Deployment) -> BTreeMap<String, Vec<Request>> {
    let mut requests: BTreeMap<String, Vec<Request>> = BTreeMap::new();
    for partition in 0..PARTITIONS as i32 {
        let place = TopicPartition::new("request-log", partition);
        let mut follower = Follower::open(&deployment.connection, place, 0).unwrap();
        let mut last = Instant::now();
        // Nobody writes any more: what is silent has been read.
        while last.elapsed() < Duration::from_secs(2) {
            let read = follower.poll_new(|record| {
                // What is no request counts nowhere.
                let Ok(request) =
                    serde_json::from_slice::<serde_json::Value>(record.payload.unwrap_or_default())
                else {
                    return;
                };
                let (Some(service), Some(status)) = (request["service"].as_str(), request["status"].as_i64())
                else {
                    return;
                };
                let Some(Ok(event)) = request["ts"].as_str().map(str::parse::<jiff::Timestamp>) else {
                    return;
                };
                let of_service = requests.entry(service.to_owned()).or_default();
                of_service.push(Request {
                    due_ms: record.timestamp_ms.unwrap_or(0),
                    event_us: event.as_microsecond(),
                    failed: status >= 500,
                });
                last = Instant::now();
            });
            if read.unwrap() == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    requests.values_mut().for_each(|of_service| of_service.sort_by_key(|request| request.due_ms));
    requests
}

fn quantiles(seconds: &[f64]) -> String {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |q: f64| sorted.get(((sorted.len() as f64 * q).ceil() as usize).max(1) - 1);
    let ms = |q: f64| at(q).map_or("none".to_owned(), |seconds| format!("{:.0} ms", seconds * 1e3));
    format!("p50 {}, p99 {}, max {} of {}", ms(0.5), ms(0.99), ms(1.0), sorted.len())
}

/// Sends one request at a time that crosses the COUNT's line, each due at its event time whatever became of the others.
fn trip(connection: &Connection, latencies: Arc<Mutex<Latencies>>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let producer = PlainProducer::open(connection, "bench-trips").unwrap();
    std::thread::spawn(move || {
        let (began, began_s) = (Instant::now(), wall_s());
        for at in 1u32.. {
            let due = TRIP_EVERY * at;
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            if stop.load(Ordering::Acquire) {
                return;
            }
            let due_s = began_s + due.as_secs_f64();
            let service = format!("trip-{}", u64::from(at) % TRIP_SERVICES);
            let request = format!(
                r#"{{"ts":"{}","service":"{service}","route":"/","method":"TRIP","status":200,"duration_ms":1}}"#,
                rfc3339((due_s * 1e6) as i64)
            );
            latencies.lock().unwrap().due_s.insert(service, due_s);
            let partition = (at % PARTITIONS) as i32;
            producer.send("request-log", partition, None, request.as_bytes(), (due_s * 1e3) as i64).unwrap();
        }
    })
}

fn generate(deployment: &Deployment, seconds: u64, rate: u64) -> BoundChild {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["generate", "--rate", &rate.to_string(), "--span", &format!("{seconds}s")]);
    command.arg("--config").arg(deployment.folder()).args(["--instance", "load"]);
    for (at, service) in SERVICES.iter().enumerate() {
        let mut from = WARM_UP_S + 3 * at as u64;
        while from + SPIKE_EVERY_S / 2 < seconds {
            let spike = format!("error-spike:{from}s..{}s:0.6:{service}", from + SPIKE_EVERY_S / 2);
            command.args(["--incident", &spike]);
            from += SPIKE_EVERY_S;
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    BoundChild::spawn(command).unwrap()
}

/// Notes how long every OPENED of the bench's rules took to be readable.
fn subscribe(
    connection: &Connection,
    latencies: Arc<Mutex<Latencies>>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let partition = |p| Follower::open(connection, TopicPartition::new("slo-breaches", p), 0).unwrap();
    let mut followers: Vec<Follower> = (0..3).map(partition).collect();
    std::thread::spawn(move || {
        while !stop.load(Ordering::Acquire) {
            for follower in &mut followers {
                follower
                    .poll_new(|record| {
                        let read_s = wall_s();
                        let breach = serde_json::from_slice(record.payload.unwrap()).unwrap();
                        latencies.lock().unwrap().take(&breach, read_s);
                    })
                    .unwrap();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}
