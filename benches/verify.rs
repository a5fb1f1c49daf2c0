//! `cargo bench --bench verify`: `plimsoll verify` over `PLIMSOLL_BENCH_RECORDS` (2,000,000) raw records of all three
//! topics in `PLIMSOLL_BENCH_HOURS` (6) hours, after one replica has made rows of them, on the real broker and database.
//!
//! The hours are old, so that a replay of them is not cut off by the wall clock: the last of them is left out.

mod measure;
#[path = "../tests/oracle/mod.rs"]
mod oracle;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use measure::{children_s, number, peak_kib};
use oracle::rfc3339;
use serde_json::Value;
use support::{Deployment, Replica, Settings, TABLES};

const PARTITIONS: u32 = 12;
const HOUR_US: i64 = 3_600_000_000;
/// Friday, 2025-10-31T00:00:00Z.
const START_US: i64 = 1_761_868_800_000_000;
/// Rows are not read any more once nothing was written for so long: what late events change is told within a minute.
const QUIET: Duration = Duration::from_secs(75);

/// Events in all tables and dead letters: what grows as long as something is still on its way.
fn stored(client: &mut postgres::Client) -> i64 {
    let of = |table: &str| {
        let column = if table == "dead_letter_hourly" { "count" } else { "event_count" };
        format!("select coalesce(sum({column}), 0)::bigint as n from plimsoll.{table}")
    };
    let all: Vec<String> = TABLES.into_iter().chain(["dead_letter_hourly"]).map(of).collect();
    let query = format!("select sum(n)::bigint from ({}) x", all.join(" union all "));
    // Before the first migration there is no table.
    client.query_one(&query, &[]).map_or(0, |row| row.get(0))
}

fn wait_until_quiet(deployment: &Deployment, replica: &mut Replica) {
    let mut client = deployment.client();
    let mut before = (0, Instant::now());
    while before.0 == 0 || before.1.elapsed() < QUIET {
        replica.assert_running();
        let now = stored(&mut client);
        if now != before.0 {
            before = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn main() {
    let (records, hours) = (number("PLIMSOLL_BENCH_RECORDS", 2_000_000), number("PLIMSOLL_BENCH_HOURS", 6));
    let deployment =
        Deployment::start_for_load(PARTITIONS, &Settings { internal_partitions: 12, ..Settings::default() });
    let folder = deployment.folder();
    let folder = folder.to_str().unwrap();
    let binary = env!("CARGO_BIN_EXE_plimsoll");
    let (start, span, events) = (rfc3339(START_US), format!("{hours}h"), records.to_string());
    let mut generate = Command::new(binary);
    generate.args(["generate", "--config", folder, "--start", &start, "--span", &span, "--events", &events]);
    assert!(generate.stdout(Stdio::null()).status().unwrap().success());
    let mut replica = deployment.replica("one", &[]);
    wait_until_quiet(&deployment, &mut replica);
    assert!(replica.terminate(Duration::from_secs(30)).success(), "{}", replica.log());

    let mut verify = Command::new(binary);
    let end = rfc3339(START_US + (hours - 1) * HOUR_US);
    verify.args(["verify", "--format", "json", "--config", folder, "--from", &start, "--to", &end]);
    verify.env("DATABASE_URL", deployment.postgres.url()).stdin(Stdio::null()).stdout(Stdio::piped());
    let (began, cpu_s) = (Instant::now(), children_s());
    let mut child = verify.spawn().unwrap();
    let said = child.stdout.take().unwrap();
    let said = std::thread::spawn(move || serde_json::from_reader::<_, Value>(said).unwrap());
    let mut kib = 0;
    let status = loop {
        kib = kib.max(peak_kib(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let (took_s, cpu_s) = (began.elapsed().as_secs_f64(), children_s() - cpu_s);
    let report = said.join().unwrap();
    assert!(status.success(), "{report:#}");
    let sources = report["sources"].as_array().unwrap();
    let read: u64 = sources.iter().map(|source| source["records"].as_u64().unwrap()).sum();
    let letters = sources.iter().flat_map(|source| source["dead_letters"].as_object().unwrap().values());
    let letters: u64 = letters.map(|count| count.as_u64().unwrap()).sum();
    println!(
        "| records | rows compared | dead letters | breaches | time | rate | CPU a record | peak memory |\n\
         |---|---|---|---|---|---|---|---|\n\
         | {read} | {} | {letters} | {} | {took_s:.1} s | {:.0} a second | {:.2} us | {} MiB |",
        report["rows"],
        report["breaches"]["records"],
        read as f64 / took_s,
        cpu_s / read as f64 * 1e6,
        kib / 1024,
    );
}
