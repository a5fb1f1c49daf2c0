//! Rules: what judging costs a record and holds, the more keys, rules and seconds there are to judge.

use std::collections::BTreeMap;

use plimsoll::core::alert::{AlertRule, Feed, Level, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::objective::{Indicator, Method, Objective, Period};
use plimsoll::core::rules::Rules;
use plimsoll::core::source::{Quantile, Source};

use crate::chart::{self, Line, Panel};
use crate::path::{Path, Spent, bare_rules, resident_bytes};
use crate::series::{PER_HOUR, SERIES};
use crate::table::{Figures, Table, grouped, kib, mib, run, verdict};
use crate::traffic::{START_US, Spread, Traffic};

const SECOND_US: i64 = 1_000_000;
const START_S: i64 = START_US / SECOND_US;
const PER_SECOND: u64 = PER_HOUR / 3_600;
/// Bytes a minute of a window may take for each series.
const PANE_TARGET: f64 = 4.0 * 1024.0;
/// Seconds whose cost is taken.
const TIMED_S: u64 = 60;
/// Name, long and short window, factor in tenths, severity.
const TIERS: [(&str, i64, i64, i64, usize); 5] = [
    ("flash", 300, 30, 864, 0),
    ("fast", 3_600, 300, 144, 0),
    ("medium", 21_600, 1_800, 60, 1),
    ("slow", 86_400, 7_200, 30, 2),
    ("drift", 259_200, 21_600, 10, 3),
];
/// How far back late events are judged again, and the snapshot before that: so long one-second panes are kept.
const CORRECTED_S: i64 = 960;

const RULES: [(f64, &str); 4] = [(3.0, "3"), (30.0, "30"), (100.0, "100"), (500.0, "500")];
/// Each rule has a series for each of so many routes.
const RULE_GROUPS: u64 = 5;
const WINDOWS: [(f64, &str); 6] = [
    (60.0, "1 min"),
    (300.0, "5 min"),
    (3_600.0, "1 h"),
    (21_600.0, "6 h"),
    (86_400.0, "1 d"),
    (259_200.0, "3 d"),
];
const WINDOW_GROUPS: u64 = 10;
const KINDS: [&str; 2] = ["RATIO", "QUANTILE"];

fn slow(source: &Source, above_us: i64) -> Condition {
    let slot = source.slot("duration").unwrap();
    Condition::Atom(Atom::Number { slot, op: Comparison::Greater, constant: above_us })
}

fn level(name: &str, severity: usize, threshold_billionths: i64, window_s: i64) -> Level {
    Level {
        name: name.into(),
        severity,
        side: Side::Above,
        threshold_billionths,
        threshold_text: format!("{threshold_billionths}e-9"),
        window_s,
        short_window_s: None,
        for_s: 0,
        min_events: 100,
        min_bad: 0,
        min_coverage_billionths: 0,
        over: None,
    }
}

/// A rule by route that is never crossed.
fn rule(source: &Source, kind: RuleKind, groups: u64, levels: Vec<Level>) -> AlertRule {
    AlertRule {
        document: "bench".into(),
        name: "by-route".into(),
        service: None,
        kind,
        feeds: vec![Feed {
            source: source.name.clone(),
            group_by: vec![source.slot("route").unwrap()],
            filter: Condition::True,
            bad: Condition::never(),
        }],
        group_limit: groups as u32,
        hold_s: 300,
        no_data_after_s: 900,
        correct_within_s: 900,
        levels,
        labels: BTreeMap::new(),
        runbook: None,
        summary: None,
        objective: None,
    }
}

/// Rules of one RATIO or QUANTILE over one window.
fn windowed(kind: &str, groups: u64, window_s: i64) -> Rules {
    let mut rules = bare_rules();
    let source = &rules.sources[0];
    let rule = if kind == KINDS[0] {
        let mut rule =
            rule(source, RuleKind::Ratio, groups, vec![level("warning", 2, 500_000_000, window_s)]);
        rule.feeds[0].bad = slow(source, 200_000);
        rule
    } else {
        let of = source.slot("duration").unwrap();
        let quantile = Quantile { millionths: 950_000 };
        let over = Some(slow(source, 1_000_000));
        let level = Level { over, ..level("warning", 2, 1_000_000_000_000, window_s) };
        rule(source, RuleKind::Quantile { of, quantile }, groups, vec![level])
    };
    rules.alerts.push(rule);
    rules
}

/// So many objectives of 30 days, each with a condition of its own.
fn objectives(count: u64) -> Rules {
    let mut rules = bare_rules();
    let source = &rules.sources[0];
    let tier = |&(name, window_s, short_s, tenths, severity): &(&str, i64, i64, i64, usize)| Level {
        short_window_s: Some(short_s),
        min_events: 0,
        min_bad: 10,
        ..level(name, severity, tenths * 100_000_000, window_s)
    };
    let objective = |n: u64| {
        let mut rule = rule(source, RuleKind::BurnRate, RULE_GROUPS, TIERS.iter().map(tier).collect());
        let slo = format!("slo-{n:04}");
        rule.document.clone_from(&slo);
        // 1 request in 12,000 takes longer than 800 ms: the budget lasts.
        rule.feeds[0].bad = slow(source, 800_000 + n as i64);
        rule.objective = Some(Objective {
            slo,
            name: rule.name.clone(),
            target_billionths: 999_000_000,
            period: Period::Rolling { length_s: 30 * 86_400 },
            method: Method::Occurrences,
            indicator: Indicator::Events,
        });
        rule
    };
    rules.alerts = (0..count).map(objective).collect();
    rules
}

pub fn report_panes() {
    println!("\n## Series of one rule");
    let mut table = Table::new(&[
        "series",
        "rule",
        "records a series and minute",
        "a minute pane",
        "beside the panes",
        "judging a record",
        "4 KiB a minute pane",
    ]);
    let (mut bytes, mut costs) = (Vec::new(), Vec::new());
    for kind in KINDS {
        let (mut panes, mut beside, mut cost) = (Vec::new(), Vec::new(), Vec::new());
        for (series, name) in SERIES {
            let figures = run(&format!("judged-series {series} {kind}"));
            let pane = figures.get("pane_bytes") / series;
            let rest = figures.get("beside_bytes") / series;
            table.row(&[
                name.into(),
                kind.into(),
                grouped(PER_SECOND as f64 * 60.0 / series),
                kib(pane),
                kib(rest),
                format!("{} ns", grouped(figures.get("shard_ns"))),
                verdict(pane, PANE_TARGET).into(),
            ]);
            panes.push((series, pane));
            beside.push((series, rest));
            cost.push((series, figures.get("shard_ns")));
        }
        bytes.push(Line { name: format!("{kind}, a minute pane"), points: panes });
        bytes.push(Line { name: format!("{kind}, beside the panes"), points: beside });
        costs.push(Line { name: format!("{kind}, shard"), points: cost });
    }
    table.print("A window of a minute by route, all keys in one shard, 7,000 records a second, uniform.");
    let panels =
        [Panel { unit: "bytes a series", lines: bytes }, Panel { unit: "ns a record, shard", lines: costs }];
    let path = chart::write("panes", "Series of one rule", &SERIES, "series", &panels);
    println!("{}", path.display());
}

/// Two minutes: in the second the window slides and nothing is forgotten yet, so what it adds is a minute's panes.
pub fn series(series: u64, kind: &str) -> Figures {
    let mut traffic = Traffic::new(series, Spread::Uniform, PER_HOUR);
    let mut path = Path::new(windowed(kind, series, 60));
    path.counts_memory = true;
    let mut bytes = Vec::new();
    for _ in 0..2 {
        path.spent = Spent::default();
        for _ in 0..60 {
            for _ in 0..PER_SECOND {
                let request = traffic.next();
                path.take_decoded(&traffic, &request);
            }
            path.flush();
        }
        bytes.push(path.shard_bytes as f64);
    }
    let mut figures = Figures::default();
    let pane_bytes = bytes[1] - bytes[0];
    figures.set("pane_bytes", pane_bytes);
    figures.set("beside_bytes", bytes[1] - 2.0 * pane_bytes);
    figures.set("shard_ns", path.spent.shard.as_secs_f64() * 1e9 / (60 * PER_SECOND) as f64);
    figures
}

pub fn report_rules() {
    println!("\n## Rules on one source");
    let mut table = Table::new(&[
        "rules",
        "series",
        "projections",
        "ingest a record",
        "shard a record",
        "partials a record",
        "memory",
        "resident",
        "memory a series",
    ]);
    let mut lines = [("ingest", Vec::new()), ("shard", Vec::new())];
    let mut memory = Vec::new();
    for (rules, name) in RULES {
        let figures = run(&format!("rules {rules}"));
        let series = rules * RULE_GROUPS as f64;
        let held = figures.get("held");
        table.row(&[
            name.into(),
            grouped(series),
            grouped(figures.get("projections")),
            format!("{} ns", grouped(figures.get("ingest_ns"))),
            format!("{} ns", grouped(figures.get("shard_ns"))),
            format!("{:.2} B", figures.get("partial_bytes")),
            mib(held),
            mib(figures.get("resident")),
            kib(held / series),
        ]);
        lines[0].1.push((rules, figures.get("ingest_ns")));
        lines[1].1.push((rules, figures.get("shard_ns")));
        memory.push((rules, held / 1024.0));
    }
    table.print("Objectives with five burn-rate tiers, five routes each; 7,000 records a second.");
    let lines = lines.map(|(name, points)| Line { name: name.into(), points });
    let memory = Line { name: "memory".into(), points: memory };
    let panels = [
        Panel { unit: "ns a record", lines: lines.into() },
        Panel { unit: "KiB of the shard", lines: vec![memory] },
    ];
    let path = chart::write("rules", "Rules on one source", &RULES, "rules", &panels);
    println!("{}", path.display());
}

pub fn rules(count: u64) -> Figures {
    steady(objectives(count), RULE_GROUPS, 0)
}

pub fn report_windows() {
    println!("\n## Length of a window");
    let mut table = Table::new(&["window", "rule", "ingest a record", "shard a record", "memory a series"]);
    let (mut costs, mut memory) = (Vec::new(), Vec::new());
    for kind in KINDS {
        let (mut cost, mut bytes) = (Vec::new(), Vec::new());
        for (window_s, name) in WINDOWS {
            let figures = run(&format!("window {window_s} {kind}"));
            let held = figures.get("held") / WINDOW_GROUPS as f64;
            table.row(&[
                name.into(),
                kind.into(),
                format!("{:.0} ns", figures.get("ingest_ns")),
                format!("{:.0} ns", figures.get("shard_ns")),
                kib(held),
            ]);
            cost.push((window_s, figures.get("shard_ns")));
            bytes.push((window_s, held / 1024.0));
        }
        costs.push(Line { name: kind.into(), points: cost });
        memory.push(Line { name: kind.into(), points: bytes });
    }
    table.print("One rule by route, ten routes, 7,000 records a second, the window full.");
    let panels =
        [Panel { unit: "ns a record, shard", lines: costs }, Panel { unit: "KiB a series", lines: memory }];
    let path = chart::write("windows", "Length of a window", &WINDOWS, "window", &panels);
    println!("{}", path.display());
}

pub fn window(window_s: i64, kind: &str) -> Figures {
    steady(windowed(kind, WINDOW_GROUPS, window_s), WINDOW_GROUPS, window_s)
}

/// Fills a window and the time that is judged again, and then takes what a record costs.
///
/// What lies further back than that time is in coarse panes alone. A twentieth of the load touches nearly all their bins too,
/// and cells are counts, whatever they come to.
fn steady(rules: Rules, groups: u64, window_s: i64) -> Figures {
    let mut traffic = Traffic::new(groups, Spread::Uniform, PER_HOUR);
    let before_bytes = resident_bytes().0;
    let mut path = Path::new(rules);
    path.counts_memory = true;
    let (thin, full): (Vec<_>, Vec<_>) = (0..30)
        .map(|_| {
            let thin = path.folded_second(&mut traffic, PER_SECOND / 20);
            (thin, path.folded_second(&mut traffic, PER_SECOND))
        })
        .unzip();
    path.shard_bytes = 0;
    // A tenth more than the window: its panes are kept a little longer.
    let full_from_s = START_S - 2 * CORRECTED_S;
    path.repeat(&thin, full_from_s - window_s * 11 / 10, full_from_s, 60);
    path.repeat(&full, full_from_s, START_S, 1);
    let mut figures = Figures::default();
    figures.set("held", path.shard_bytes as f64);
    figures.set("resident", resident_bytes().0.saturating_sub(before_bytes) as f64);
    figures.set("projections", path.projections() as f64);
    path.counts_memory = false;
    path.spent = Spent::default();
    let mut traffic = Traffic::new(groups, Spread::Uniform, PER_HOUR);
    for _ in 0..TIMED_S {
        let records: Vec<_> = (0..PER_SECOND).map(|_| traffic.next()).collect();
        let records: Vec<_> = records.iter().map(|request| (request.at_us, traffic.json(request))).collect();
        path.take(&records);
        path.flush();
    }
    figures.set("ingest_ns", path.spent.ingest_ns());
    figures.set("shard_ns", path.spent.shard_ns());
    figures.set("partial_bytes", path.spent.partial_bytes as f64 / path.spent.records as f64);
    figures
}
