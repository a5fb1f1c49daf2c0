//! `cargo bench --bench restore`: how long shards take to come back from a checkpoint of `PLIMSOLL_BENCH_MEGABYTES` (100)
//! after a `kill -9`, on the real broker.
//!
//! The state is a latency rule over 2,000 routes that were busy for 20 minutes: histograms of each second and group.

mod measure;
#[path = "../tests/oracle/mod.rs"]
mod oracle;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use measure::{number, peak_kib};
use oracle::rfc3339;
use plimsoll::generate::{Generated, Kind};
use plimsoll::roles::wall_clock_us;
use support::{Deployment, Replica, Settings};

const PARTITIONS: u32 = 4;
const ROUTES: i64 = 2_000;
const EVENTS: i64 = 2_000_000;
const SPAN_US: i64 = 1_200_000_000;
/// Events written at a time.
const CHUNK: i64 = 100_000;
const LIMIT: Duration = Duration::from_secs(600);
const RULES: &str = "
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: bench}
spec:
  defaults: {source: request-log}
  rules:
    - name: slow
      kind: QUANTILE
      of: duration
      quantile: 0.95
      window: 5m
      min_events: 100
      group_by: [route]
      group_limit: 2000
      warning: {above: 5s}
";

fn request(n: i64, start_us: i64) -> Generated {
    let at_us = start_us + n * (SPAN_US / EVENTS);
    // A stride without a common divisor: every route in every second or so, and no two latencies in a row alike.
    let (route, duration_ms) = (n * 7_919 % ROUTES, 5 + n * 104_729 % 900);
    let payload = format!(
        r#"{{"ts":"{}","service":"web","route":"/r/{route}","method":"GET","status":200,"duration_ms":{duration_ms}}}"#,
        rfc3339(at_us)
    );
    Generated {
        topic: "request-log",
        partition: (n % i64::from(PARTITIONS)) as u32,
        key: None,
        arrival_us: at_us,
        timestamp_ms: at_us / 1_000,
        payload: payload.into_bytes(),
        kind: Kind::Good,
    }
}

fn checkpoint_bytes(replica: &mut Replica) -> f64 {
    let (_, page) = replica.get("/metrics");
    let line = page.lines().find(|line| line.starts_with("plimsoll_checkpoint_bytes_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The figure `name` of a log line.
fn figure(line: &str, name: &str) -> u64 {
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap().parse().unwrap()
}

fn main() {
    let bytes = number("PLIMSOLL_BENCH_MEGABYTES", 100) as f64 * 1e6;
    let more = "intervals: {provisional: 60m, checkpoint: 10s, commit: 10ms}\n";
    let deployment =
        Deployment::start_for_load(PARTITIONS, &Settings { internal_partitions: 4, workers: 1, more });
    deployment.write_only_rules(RULES);
    let start_us = wall_clock_us() - SPAN_US;
    for first in (0..EVENTS).step_by(CHUNK as usize) {
        deployment.produce((first..first + CHUNK).map(|n| request(n, start_us)));
    }
    let mut replica = deployment.replica("one", &["--role", "evaluate"]);
    let mut ingest = deployment.replica("ingest", &["--role", "ingest"]);
    let deadline = Instant::now() + LIMIT;
    while checkpoint_bytes(&mut replica) < bytes {
        replica.assert_running();
        ingest.assert_running();
        assert!(Instant::now() < deadline, "{:.0} bytes in {LIMIT:?}", checkpoint_bytes(&mut replica));
        std::thread::sleep(Duration::from_millis(200));
    }
    replica.kill9();
    let before = replica.log().len();
    let began = Instant::now();
    replica = deployment.replica("one", &["--role", "evaluate"]);
    let restored = loop {
        let log = replica.log();
        let lines: Vec<String> =
            log[before..].lines().filter(|line| line.contains("shard restored")).map(str::to_owned).collect();
        if lines.len() == 4 {
            break lines;
        }
        replica.assert_running();
        assert!(began.elapsed() < LIMIT, "{log}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let since_start_s = began.elapsed().as_secs_f64();
    let read: u64 = restored.iter().map(|line| figure(line, "bytes")).sum();
    let millis = restored.iter().map(|line| figure(line, "millis")).max().unwrap();
    let replay: u64 = restored.iter().map(|line| figure(line, "replay")).sum();
    println!(
        "| changelog read | shards | restored in | from the start of the process | records to replay | peak memory |"
    );
    println!("|---|---|---|---|---|---|");
    println!(
        "| {} MB | 4 | {:.1} s | {since_start_s:.1} s | {replay} | {} MiB |",
        read / 1_000_000,
        millis as f64 / 1e3,
        peak_kib(replica.pid()) / 1024
    );
}
