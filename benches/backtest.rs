//! `cargo bench --bench backtest`: `plimsoll slo backtest` of all rules that ship over `PLIMSOLL_BENCH_SECONDS` (600) of
//! records at `PLIMSOLL_BENCH_RATE` (7,000) a second, once from a file and once from a real broker on this machine.
//! `PLIMSOLL_BENCH_FROM=file` or `kafka` leaves out the other.
//!
//! Nothing is read before --from, so that what is timed is the stretch itself.

mod measure;
#[path = "../tests/oracle/mod.rs"]
mod oracle;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use measure::{children_s, number, peak_kib};
use plimsoll::roles::wall_clock_us;
use serde_json::Value;
use support::{Deployment, Settings};

const PARTITIONS: u32 = 12;

fn plimsoll(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).arg("--config").arg(folder).stdin(Stdio::null());
    command
}

fn generate(folder: &Path, arguments: &[&str]) {
    let mut command = plimsoll(folder, &[&["generate"], arguments].concat());
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

/// Runs a backtest and prints a line of the table.
fn backtest(name: &str, folder: &Path, arguments: &[&str]) {
    let arguments = [&["slo", "backtest", "--format", "json", "--warm-up", "0s"], arguments].concat();
    let (began, cpu_s) = (Instant::now(), children_s());
    let mut child = plimsoll(folder, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let said = child.stdout.take().unwrap();
    let said = std::thread::spawn(move || serde_json::from_reader::<_, Value>(said).unwrap());
    let mut kib = 0;
    let status = loop {
        kib = kib.max(peak_kib(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(status.success());
    let (took_s, cpu_s) = (began.elapsed().as_secs_f64(), children_s() - cpu_s);
    let report = said.join().unwrap();
    let version = &report["versions"][0];
    let records = version["records"].as_u64().unwrap() as f64;
    println!(
        "| {name} | {records:.0} | {took_s:.1} s | {:.0} a second | {:.2} us | {} MiB | {} |",
        records / took_s,
        cpu_s / records * 1e6,
        kib / 1024,
        version["transitions"].as_array().unwrap().len(),
    );
}

fn main() {
    let (seconds, rate) = (number("PLIMSOLL_BENCH_SECONDS", 600), number("PLIMSOLL_BENCH_RATE", 7_000));
    let only = std::env::var("PLIMSOLL_BENCH_FROM").unwrap_or_default();
    let start = Timestamp::from_second(wall_clock_us() / 1_000_000 - seconds - 60).unwrap();
    let end = Timestamp::from_second(start.as_second() + seconds).unwrap();
    let (start, end) = (start.to_string(), end.to_string());
    let incidents =
        [(2, "error-spike", "20%"), (5, "error-spike", "60%:auth"), (7, "slow-model", "random-forest-oil:8")];
    let incident = |(tenth, kind, how): (i64, &str, &str)| {
        format!("{kind}:{}s..{}s:{how}", tenth * seconds / 10, (tenth + 1) * seconds / 10)
    };
    let incidents = incidents.map(incident);
    let (span, rate) = (format!("{seconds}s"), rate.to_string());
    let mut workload = vec!["--start", &start, "--span", &span, "--rate", &rate];
    workload.extend(incidents.iter().flat_map(|incident| ["--incident", incident]));

    println!(
        "| from | records | time | rate | CPU a record | peak memory | transitions |\n|---|---|---|---|---|---|---|"
    );
    if only != "kafka" {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.jsonl");
        let file = file.to_str().unwrap();
        let partitions = PARTITIONS.to_string();
        generate(&folder, &[&workload[..], &["--partitions", &partitions, "--output", file]].concat());
        backtest("a file", &folder, &["--input", file]);
    }
    if only != "file" {
        let deployment = Deployment::start_for_load(PARTITIONS, &Settings::default());
        generate(&deployment.folder(), &workload);
        backtest("Kafka, 3 topics x 12 partitions", &deployment.folder(), &["--from", &start, "--to", &end]);
    }
}
