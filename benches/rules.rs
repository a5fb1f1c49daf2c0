//! `cargo bench --bench rules`: what judging costs. `PLIMSOLL_BENCH_SLOS` (500) objectives of 30 days with all five
//! burn-rate tiers, each in `PLIMSOLL_BENCH_GROUPS` (20) groups, under `PLIMSOLL_BENCH_RATE` (7,000) events a second for
//! `PLIMSOLL_BENCH_SECONDS` (1,200) of event time: one fold and one shard in memory, no broker.
//!
//! Every objective tests a condition of its own, so none shares its counts with another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll::config::{Overrides, Surroundings, embedded};
use plimsoll::core::aggregate::Position;
use plimsoll::core::alert::{AlertRule, Feed, Level, RuleKind, Side};
use plimsoll::core::event::Event;
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::fold::{Assigned, Fold};
use plimsoll::core::objective::{Indicator, Method, Objective, Period};
use plimsoll::core::output::Output;
use plimsoll::core::partial::{LogRecord, Partial};
use plimsoll::core::plan::Plan;
use plimsoll::core::rules::Rules;
use plimsoll::core::shard::{Shard, ShardOptions};
use plimsoll::core::source::Source;

const START_US: i64 = 1_761_876_000_000_000;
const SECOND_US: i64 = 1_000_000;
/// Name, long and short window, factor in tenths, severity.
const TIERS: [(&str, i64, i64, i64, usize); 5] = [
    ("flash", 300, 30, 864, 0),
    ("fast", 3_600, 300, 144, 0),
    ("medium", 21_600, 1_800, 60, 1),
    ("slow", 86_400, 7_200, 30, 2),
    ("drift", 259_200, 21_600, 10, 3),
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn objective(n: u64, source: &Source, groups: u64) -> AlertRule {
    let slow = Atom::Number {
        slot: source.slot("duration").unwrap(),
        op: Comparison::Greater,
        constant: 500_000 + n as i64,
    };
    let level = |&(name, window_s, short_s, tenths, severity): &(&str, i64, i64, i64, usize)| Level {
        name: name.into(),
        severity,
        side: Side::Above,
        threshold_billionths: tenths * 100_000_000,
        threshold_text: format!("{}.{}", tenths / 10, tenths % 10),
        window_s,
        short_window_s: Some(short_s),
        for_s: 0,
        min_events: 0,
        min_bad: 10,
        min_coverage_billionths: 0,
        over: None,
    };
    AlertRule {
        document: format!("slo-{n:04}"),
        name: "fast".into(),
        service: None,
        kind: RuleKind::BurnRate,
        feeds: vec![Feed {
            source: source.name.clone(),
            group_by: vec![source.slot("route").unwrap()],
            filter: Condition::True,
            bad: Condition::Atom(slow),
        }],
        group_limit: groups as u32,
        hold_s: 300,
        no_data_after_s: 900,
        correct_within_s: 900,
        levels: TIERS.iter().map(level).collect(),
        labels: BTreeMap::new(),
        runbook: None,
        summary: None,
        objective: Some(Objective {
            slo: format!("slo-{n:04}"),
            name: "fast".into(),
            target_billionths: 999_000_000,
            period: Period::Rolling { length_s: 30 * 86_400 },
            method: Method::Occurrences,
            indicator: Indicator::Events,
        }),
    }
}

fn rules(slos: u64, groups: u64) -> Rules {
    let surroundings = Surroundings { host_name: "bench".into(), cores: 1 };
    let mut rules = embedded(&BTreeMap::new(), &surroundings, &Overrides::default()).unwrap().rules;
    rules.sources.retain(|source| source.name == "request-log");
    rules.sources[0].rollups.clear();
    rules.alerts = (0..slos).map(|n| objective(n, &rules.sources[0], groups)).collect();
    rules
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn main() {
    let (slos, groups) = (number("PLIMSOLL_BENCH_SLOS", 500), number("PLIMSOLL_BENCH_GROUPS", 20));
    let (rate, seconds) = (number("PLIMSOLL_BENCH_RATE", 7_000), number("PLIMSOLL_BENCH_SECONDS", 1_200));
    let before_bytes = resident_bytes();
    let plan = Arc::new(Plan::compile(0, Arc::new(rules(slos, groups))).unwrap());
    let source = &plan.rules.sources[0];
    let slot = |name: &str| source.slot(name).unwrap();
    let (ts, route, status, duration) = (slot("ts"), slot("route"), slot("status"), slot("duration"));
    let slots = source.fields.len();
    let mut fold = Fold::new(Arc::clone(&plan), 1);
    let assigned = Assigned { partitions: 1, topic: 0, next: 0, max_event_us: None };
    fold.assign((0, 0), assigned, START_US);
    let options = ShardOptions { provisional_every_s: 300, heartbeat_every_s: 10, rows_per_record: 256 };
    let mut shard = Shard::new(0, options);
    let (mut outputs, mut event) = (Vec::new(), Event::default());
    let spec = LogRecord::Spec { version: 0, rules: Arc::clone(&plan.rules) };
    shard.apply(0, spec, &mut outputs).unwrap();
    let (mut folding, mut judging, mut breaches, mut offset) = (Duration::ZERO, Duration::ZERO, 0u64, 0);
    // The first quarter fills the windows and is not counted.
    let counted_from = seconds / 4;
    for second in 0..seconds {
        let began = Instant::now();
        for n in 0..rate {
            let at_us = START_US + (second * 1_000_000 + n * 1_000_000 / rate) as i64;
            // A fixed stride through all combinations; 1 event in 97 is slow.
            let draw = (second * rate + n) * 7_919;
            event.clear(slots);
            event.set_number(ts, at_us);
            event.set_text(route, &format!("/route/{}", draw % groups));
            event.set_number(status, 200);
            event.set_number(duration, if draw % 97 == 0 { 500_000 + (draw % 499) as i64 } else { 20_000 });
            let position = Position { partition: 0, offset, timestamp_us: at_us };
            fold.event((0, 0), position, at_us, &mut event).unwrap();
            offset += 1;
        }
        let flush = fold.flush(true);
        folding += if second < counted_from { Duration::ZERO } else { began.elapsed() };
        let log_time_us = START_US + (second as i64 + 1) * SECOND_US;
        let partial = Partial {
            rules: 0,
            worker: 0,
            log_time_us,
            deltas: flush.deltas.into_iter().flatten().collect(),
            clocks: flush.clocks.into_iter().flatten().collect(),
        };
        let began = Instant::now();
        shard.apply(second as i64 + 1, LogRecord::Partial(partial), &mut outputs).unwrap();
        judging += if second < counted_from { Duration::ZERO } else { began.elapsed() };
        breaches += outputs.iter().filter(|output| matches!(output, Output::Breach(_))).count() as u64;
        outputs.clear();
    }
    let counted = (seconds - counted_from) as f64;
    let bytes = resident_bytes().saturating_sub(before_bytes);
    let series = slos * groups;
    println!(
        "{slos} objectives x {groups} groups = {series} series, {rate} events/s, {seconds} s of event time"
    );
    println!("projections      {}", plan.projections.len());
    println!("fold             {:.1} % of a core", folding.as_secs_f64() / counted * 100.0);
    println!("judge            {:.1} % of a core", judging.as_secs_f64() / counted * 100.0);
    println!("per series       {:.2} us a second", judging.as_secs_f64() / counted / series as f64 * 1e6);
    println!("memory           {} MiB, {} B a series", bytes >> 20, bytes / series.max(1));
    println!("breach records   {breaches}");
}
