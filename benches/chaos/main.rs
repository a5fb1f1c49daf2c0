//! `cargo bench --bench chaos`: three brokers, Postgres behind a proxy and five replicas under load, one fault after the
//! other, and at the end every row, dead letter and breach against the oracle, and `plimsoll verify`.
//!
//! The faults follow from `PLIMSOLL_CHAOS_SEED` (1) and are printed first. `PLIMSOLL_CHAOS_ROUNDS` (1) deployments, one
//! after the other, each with its own seed, suffer `PLIMSOLL_CHAOS_KILLS` (5) single kills and every other fault
//! `PLIMSOLL_CHAOS_EACH` (1) times, at `PLIMSOLL_CHAOS_RATE` (2,000) messages a second. `PLIMSOLL_CHAOS_ONLY` leaves the
//! faults whose name contains it; `takeover` measures instead how long replicas and brokers are missed, over
//! `PLIMSOLL_CHAOS_TRIES` (5).

#[path = "../../tests/oracle/mod.rs"]
mod oracle;
#[path = "../../tests/support/mod.rs"]
mod support;

mod audit;
mod cluster;
mod disk;
mod fault;
mod fleet;
mod lag;
mod load;
mod proxy;
mod story;
mod takeover;
mod trial;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use plimsoll::roles::wall_clock_us;

use audit::{Findings, audit};
use fault::plan;
use trial::{Recovery, Trial};

const HOUR_US: i64 = 3_600_000_000;
/// Event time begins so long before the end of an hour.
const BEFORE_HOUR_US: i64 = 90_000_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

struct Options {
    seed: u64,
    rounds: u64,
    kills: u64,
    each: u64,
    rate: u64,
    only: Option<String>,
}

fn main() -> ExitCode {
    let options = Options {
        seed: number("PLIMSOLL_CHAOS_SEED", 1),
        rounds: number("PLIMSOLL_CHAOS_ROUNDS", 1),
        kills: number("PLIMSOLL_CHAOS_KILLS", 5),
        each: number("PLIMSOLL_CHAOS_EACH", 1),
        rate: number("PLIMSOLL_CHAOS_RATE", 2_000),
        only: std::env::var("PLIMSOLL_CHAOS_ONLY").ok(),
    };
    if options.only.as_deref() == Some("takeover") {
        takeover::run(options.seed, options.rate, number("PLIMSOLL_CHAOS_TRIES", 5));
        return ExitCode::SUCCESS;
    }
    let mut recoveries = BTreeMap::new();
    let mut sound = true;
    for seed in options.seed..options.seed + options.rounds {
        let findings = round(&options, seed, &mut recoveries);
        sound &= findings.wrong.is_empty();
    }
    show(&recoveries);
    let load_average = fs::read_to_string("/proc/loadavg").unwrap();
    println!("load average of the machine: {}", load_average.split(' ').next().unwrap());
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// By fault.
type Recoveries = BTreeMap<&'static str, Vec<Recovery>>;

fn round(options: &Options, seed: u64, recoveries: &mut Recoveries) -> Findings {
    let planned = plan(seed, options.kills, options.each, options.only.as_deref());
    println!("seed {seed}: {} faults at {} messages/s", planned.len(), options.rate);
    for (at, planned) in planned.iter().enumerate() {
        println!("  {at:3} {planned}");
    }
    let began = Instant::now();
    let now_us = wall_clock_us();
    // An hour ends while faults happen, and the one after it is over before the end.
    let start_us = now_us - now_us.rem_euclid(HOUR_US) - BEFORE_HOUR_US;
    let behind_us = if now_us - start_us < HOUR_US - 300_000_000 {
        now_us - start_us + HOUR_US
    } else {
        now_us - start_us
    };
    let mut trial = Trial::start(seed, options.rate, behind_us);
    for (at, planned) in planned.iter().enumerate() {
        match trial.suffer(planned) {
            None => {
                println!("{:7.1} s  {at:3} {}: not here", began.elapsed().as_secs_f64(), planned.fault.name())
            }
            Some(recovery) => {
                let Recovery { judged, stored } = recovery;
                println!(
                    "{:7.1} s  {at:3} {}: judged {:.1} s, stored {:.1} s",
                    began.elapsed().as_secs_f64(),
                    planned.fault.name(),
                    judged.as_secs_f64(),
                    stored.as_secs_f64()
                );
                recoveries.entry(planned.fault.name()).or_default().push(recovery);
            }
        }
    }
    trial.load.stop();
    let findings = audit(&mut trial);
    println!(
        "seed {seed}: {:.0} s, {} records, {} rows, {} of them verified, {} dead letters, {} gaps, {} breach records, \
         {} episodes of the rule that stays; {} replicas ended by themselves, {} generators; {} violations",
        began.elapsed().as_secs_f64(),
        findings.records,
        findings.rows,
        findings.verified,
        findings.dead_letters,
        findings.gaps,
        findings.breaches,
        findings.episodes,
        trial.fleet.ended.len(),
        trial.load.restarts,
        findings.wrong.len()
    );
    trial.fleet.ended.iter().for_each(|ended| println!("  ended by itself: {ended}"));
    if !findings.wrong.is_empty() {
        findings.wrong.iter().for_each(|wrong| println!("VIOLATION {wrong}"));
        println!(
            "again: PLIMSOLL_CHAOS_SEED={seed} PLIMSOLL_CHAOS_KILLS={} PLIMSOLL_CHAOS_EACH={} \
             PLIMSOLL_CHAOS_RATE={} cargo bench --bench chaos",
            options.kills, options.each, options.rate
        );
        println!("{}", trial.fleet.keep());
    }
    findings
}

fn show(recoveries: &Recoveries) {
    println!("| fault | times | judged again: p50, max | stored again: p50, max |\n|---|---|---|---|");
    for (name, recoveries) in recoveries {
        let judged = quantiles(recoveries.iter().map(|recovery| recovery.judged));
        let stored = quantiles(recoveries.iter().map(|recovery| recovery.stored));
        println!("| {name} | {} | {judged} | {stored} |", recoveries.len());
    }
}

fn quantiles(times: impl Iterator<Item = Duration>) -> String {
    let mut sorted: Vec<Duration> = times.collect();
    sorted.sort();
    let at = |index: usize| sorted.get(index).map_or(0.0, Duration::as_secs_f64);
    format!("{:.1} s, {:.1} s", at(sorted.len().div_ceil(2).max(1) - 1), at(sorted.len().max(1) - 1))
}
