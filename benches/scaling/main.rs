//! `cargo bench --bench scaling`: how cost and memory bend with size. Each case is a process of its own.
//!
//! Prints Markdown tables and writes an SVG picture of each to the target folder. `-- series` runs one part alone:
//! - `series`, `limits`, `panes`, `rules` and `windows`: one thread, one source partition, one shard, no broker: decode,
//!   fold, flush, encode; decode the partials, apply. `PLIMSOLL_BENCH_RECORDS` (25,200,000) are in a series' open hour.
//! - `partitions`, `workers` and `replicas`: whole deployments, each with a real Kafka and Postgres of its own, that drain
//!   a backlog of `PLIMSOLL_BENCH_BACKLOG` (4,000,000) records.
//!
//! Memory is what the shard asked of the allocator and did not give back (`allocation-counter`), and 16 bytes a block for
//! the allocator's own share; "resident" is how much the whole process grew, by the kernel.

mod chart;
mod drain;
mod fleet;
mod judging;
#[path = "../measure/mod.rs"]
mod measure;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;
mod path;
mod series;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod traffic;

use std::time::Instant;

use drain::{Cores, drain};
use measure::raw;
use support::INPUTS;
use table::{CASE, Figures};
use traffic::Spread;

const PARTS: [(&str, fn()); 8] = [
    ("series", series::report),
    ("limits", series::report_limits),
    ("panes", judging::report_panes),
    ("rules", judging::report_rules),
    ("windows", judging::report_windows),
    ("partitions", fleet::report_partitions),
    ("workers", fleet::report_workers),
    ("replicas", fleet::report_replicas),
];

fn main() {
    if raw::is_consumer(&INPUTS) {
        return;
    }
    if let Ok(case) = std::env::var(CASE) {
        return found(&case).print();
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let began = Instant::now();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| part == name);
    PARTS.iter().filter(|(name, _)| is_wanted(name)).for_each(|(_, report)| report());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    println!("\nload average of the machine {load}, {:.0} s in all", began.elapsed().as_secs_f64());
}

fn found(case: &str) -> Figures {
    let words: Vec<&str> = case.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    match words[0] {
        "series-cost" => series::cost(number(1), Spread::of(words[2]), words[3]),
        "series-hour" => series::hour(number(1), Spread::of(words[2])),
        "series-limit" => series::limit(number(1), number(2) as u32),
        "judged-series" => judging::series(number(1), words[2]),
        "rules" => judging::rules(number(1)),
        "window" => judging::window(number(1) as i64, words[2]),
        "drain" => drain(number(1) as u32, number(2) as u32, number(3) as u32, Cores::of(words[4])),
        other => panic!("no case {other}"),
    }
}
