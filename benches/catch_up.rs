//! `cargo bench --bench catch_up`: what a record costs Plimsoll, over what it costs a consumer that only reads it.
//!
//! `PLIMSOLL_BENCH_RECORDS` (5,000,000) records lie in three topics x 12 partitions of a real broker. A consumer that drains
//! one queue in batches and looks at nothing reads them twice, a replica with all roles and one worker each makes rows and
//! breaches of them in transactions, and the consumer reads them twice again. Where there are two cores, whoever reads has
//! one and the broker, the database and this process have the other.
//!
//! CPU is user and system time of the whole process, the client library's threads and the start included; the replica's
//! counts until everything is written and stored.

mod measure;
#[path = "../tests/oracle/mod.rs"]
mod oracle;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use measure::{cpu_s, number, peak_kib, pin, raw, total};
use oracle::rfc3339;
use support::{Deployment, INPUTS, Replica, Settings};

const PARTITIONS: u32 = 12;
/// Friday, 2025-10-31T00:00:00Z: a replay, which the wall clock does not cut off.
const START_US: i64 = 1_761_868_800_000_000;
const READS: usize = 2;
/// Seconds without work after which all is written and stored, and what of a core counts as none.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_CORE: f64 = 0.1;
/// Parts of the replica's run whose cost is told apart.
const PARTS: usize = 5;

fn main() {
    if raw::is_consumer(&INPUTS) {
        return;
    }
    let records = number("PLIMSOLL_BENCH_RECORDS", 5_000_000);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    pin(std::process::id(), 0, cores);
    let settings = Settings { internal_partitions: 12, workers: 1, more: "" };
    let deployment = Deployment::start_for_load(PARTITIONS, &settings);
    let mut generate = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    generate.args(["generate", "--start", &rfc3339(START_US), "--span", &format!("{}s", records / 7_000)]);
    generate.args(["--events", &records.to_string(), "--config"]).arg(deployment.folder());
    assert!(generate.stdout(Stdio::null()).status().unwrap().success());

    let brokers = deployment.connection.brokers();
    let mut raw_s: Vec<f64> = (0..READS).map(|_| raw::run(brokers, cores).cpu_s).collect();
    let caught_up = catch_up(&deployment, records as f64, cores);
    raw_s.extend((0..READS).map(|_| raw::run(brokers, cores).cpu_s));
    let records = records as f64;
    let mut raw_ns: Vec<f64> = raw_s.iter().map(|cpu_s| cpu_s / records * 1e9).collect();
    raw_ns.sort_by(f64::total_cmp);
    let raw = f64::midpoint(raw_ns[READS - 1], raw_ns[READS]);
    let CaughtUp { cpu_s, took_s, mut parts_ns, peak_kib, bytes, series } = caught_up;
    parts_ns.sort_by(f64::total_cmp);
    let ns = cpu_s / records * 1e9;
    println!("| figure | value |\n|---|---|");
    println!("| records | {records:.0} of {:.0} bytes, {series:.0} rows an hour |", bytes / records);
    println!(
        "| CPU a record, consumer alone | {raw:.0} ns ({:.0} to {:.0}) |",
        raw_ns[0],
        raw_ns[2 * READS - 1]
    );
    println!(
        "| CPU a record, Plimsoll | {ns:.0} ns ({:.0} to {:.0}, by fifths) |",
        parts_ns[0],
        parts_ns[PARTS - 1]
    );
    println!("| of that, what the consumer alone would take | {:.2} |", raw / ns);
    println!("| read in | {took_s:.1} s, {:.0} records a second |", records / took_s);
    println!("| peak memory | {} MiB |", peak_kib / 1024);
}

struct CaughtUp {
    cpu_s: f64,
    /// From the first record read to the last.
    took_s: f64,
    /// CPU a record by parts of the run.
    parts_ns: Vec<f64>,
    peak_kib: u64,
    bytes: f64,
    series: f64,
}

fn catch_up(deployment: &Deployment, records: f64, cores: usize) -> CaughtUp {
    let mut replica = deployment.replica("one", &[]);
    pin(replica.pid(), 1, cores);
    replica.wait_for_log("ingest partitions assigned", Duration::from_secs(60));
    let (began, mut parts) = (Instant::now(), vec![(0.0, cpu_s(replica.pid()))]);
    while parts.len() <= PARTS {
        replica.assert_running();
        let (_, metrics) = replica.get("/metrics");
        let read = total(&metrics, "plimsoll_source_messages_read_total");
        if read >= records * parts.len() as f64 / PARTS as f64 {
            parts.push((read, cpu_s(replica.pid())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let took_s = began.elapsed().as_secs_f64();
    wait_until_quiet(&mut replica);
    let (_, metrics) = replica.get("/metrics");
    let caught_up = CaughtUp {
        cpu_s: cpu_s(replica.pid()),
        took_s,
        parts_ns: parts.windows(2).map(|p| (p[1].1 - p[0].1) / (p[1].0 - p[0].0) * 1e9).collect(),
        peak_kib: peak_kib(replica.pid()),
        bytes: total(&metrics, "plimsoll_source_read_bytes_total"),
        series: total(&metrics, "plimsoll_series"),
    };
    assert!(replica.terminate(Duration::from_secs(30)).success(), "{}", replica.log());
    caught_up
}

fn wait_until_quiet(replica: &mut Replica) {
    loop {
        let before_s = cpu_s(replica.pid());
        std::thread::sleep(QUIET);
        replica.assert_running();
        if cpu_s(replica.pid()) - before_s < QUIET_CORE * QUIET.as_secs_f64() {
            return;
        }
    }
}
