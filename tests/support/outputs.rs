//! Made-up outputs of a shard, whole to the last field.

use plimsoll::core::alert::Severities;
use plimsoll::core::output::*;
use plimsoll::core::rules::Rules;
use plimsoll::wire::output::{OutputRecord, OutputTopics, TopicNames};
use serde_json::Value;

/// 2025-10-31T02:00:00Z.
pub const HOUR_S: i64 = 1_761_876_000;
pub const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn topics() -> OutputTopics {
    let rules = Rules {
        sources: vec![],
        alerts: vec![],
        severities: Severities { levels: vec![] },
        services: vec![],
        maintenance: vec![],
    };
    let names = TopicNames {
        breaches: "slo-breaches",
        breach_state: "slo-breach-state",
        slo_hourly: "slo-hourly",
        rule_hourly: "rule-hourly",
        slo_status: "slo-status",
        dead_letters: "plimsoll-dead-letters",
    };
    OutputTopics::new(&rules, &names, "test", str::to_owned)
}

/// The first record of an output; breaches alone make a second, the same for another topic.
pub fn record(output: Output) -> OutputRecord {
    topics().encode(&output, HOUR_S * 1_000_000).remove(0)
}

pub fn value(output: Output) -> Value {
    serde_json::from_slice(&record(output).value).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn budget() -> BudgetLeft {
    BudgetLeft {
        period_s: 2_592_000,
        remaining_billionths: -250_000_000,
        exhausts_at_s: Some(HOUR_S + 86_400),
    }
}

/// A transition of a burn-rate rule's episode that opened at `opened_s` and whose trouble began a minute before.
pub fn breach(opened_s: i64, revision: u32, transition: Transition) -> Breach {
    let is_over = matches!(transition, Transition::Resolved | Transition::Retracted);
    Breach {
        alert_key: KEY.into(),
        document: "checkout-fast".into(),
        rule: "fast".into(),
        kind: "BURN_RATE",
        service: Some("checkout".into()),
        transition,
        revision,
        update_reason: None,
        resolve_reason: is_over.then_some(ResolveReason::Recovered),
        level: "high".into(),
        priority: "P1".into(),
        previous_level: None,
        op: "at_least",
        threshold: "14.4".into(),
        unit: "1".into(),
        labels: labels(&[("route", "/pay"), ("team", "web")]),
        group: labels(&[("route", "/pay")]),
        windows: vec![window("fast", 3_600, Some(20_000_000_000)), window("fast short", 300, None)],
        slo: Some(SloFacts {
            slo: "checkout-fast".into(),
            objective: "fast".into(),
            target_billionths: 999_000_000,
        }),
        budget: Some(budget()),
        evidence: evidence(),
        suppressed_by: vec!["release".into(), "tuesday".into()],
        onset_s: opened_s - 60,
        opened_s,
        recovered_s: is_over.then_some(opened_s + 240),
        resolved_s: is_over.then_some(opened_s + 600),
        evaluated_s: if is_over { opened_s + 600 } else { opened_s },
        worst_value_billionths: 20_500_000_000,
        bad_total: 20 + u64::from(revision),
        stale: false,
        is_latest: true,
        completeness: Completeness {
            watermark_us: Some(HOUR_S * 1_000_000),
            lag_events: 3,
            late_events: 1,
            is_final: false,
        },
        summary: "checkout burns 20 times too fast".into(),
        runbook: Some("https://runbooks.example/checkout".into()),
        spec_hash: "0123456789abcdef".into(),
        version: 77,
    }
}

fn window(name: &str, length_s: i64, burn_rate_billionths: Option<i64>) -> BreachWindow {
    BreachWindow {
        name: name.into(),
        start_s: HOUR_S - length_s,
        end_s: HOUR_S,
        good: 980,
        bad: 20,
        total: 1_000,
        coverage_billionths: 1_000_000_000,
        value_billionths: burn_rate_billionths,
        value_error_billionths: burn_rate_billionths.map(|_| 1_000_000),
        burn_rate_billionths,
    }
}

fn evidence() -> Evidence {
    let exemplar = |offset: i64, trace_id: Option<&str>| ShownExemplar {
        topic: "request-log".into(),
        partition: 2,
        offset,
        trace_id: trace_id.map(str::to_owned),
        value_billionths: trace_id.map(|_| 1_250_000_000),
    };
    Evidence {
        offset_ranges: vec![OffsetRange { topic: "request-log".into(), partition: 2, from: 100, to: 1_200 }],
        exemplars: vec![exemplar(101, Some("4bf92f3577b34da6a3ce929d0e0e4736")), exemplar(250, None)],
    }
}

fn stamp(version: i64) -> Stamp {
    Stamp {
        revision: 0,
        version,
        is_final: false,
        complete: true,
        watermark_us: Some((HOUR_S + 60) * 1_000_000),
    }
}

/// Of 1,000 events `bad` are; no slices.
pub fn slo_hour(route: &str, hour_s: i64, version: i64, bad: u64) -> SloHour {
    SloHour {
        slo: "checkout-fast".into(),
        objective: "fast".into(),
        service: Some("checkout".into()),
        group: labels(&[("region", "eu"), ("route", route)]),
        hour_us: hour_s * 1_000_000,
        target_billionths: 999_000_000,
        good: 1_000 - bad,
        bad,
        total: 1_000,
        slice_good_billionths: 0,
        slice_bad_billionths: 0,
        slice_s: 0,
        stamp: stamp(version),
    }
}

pub fn rule_hour(hour_s: i64, version: i64) -> RuleHour {
    RuleHour {
        document: "platform".into(),
        rule: "error-rate".into(),
        kind: "RATIO",
        unit: "ratio".into(),
        service: None,
        group: vec![],
        hour_us: hour_s * 1_000_000,
        values: Some(ValueStats {
            min_billionths: -1,
            max_billionths: 50_000_000,
            // Beyond 64 bits.
            sum_billionths: 123_456_789_012_345_678_901_234_567,
        }),
        known_seconds: 3_500,
        level_seconds: vec![("critical".into(), 0), ("warning".into(), 61)],
        stamp: stamp(version),
    }
}

pub fn status(at_s: i64, version: i64) -> Status {
    Status {
        document: "checkout-fast".into(),
        rule: "fast".into(),
        kind: "BURN_RATE",
        unit: "1".into(),
        service: Some("checkout".into()),
        group: labels(&[("route", "/pay")]),
        at_s,
        level: Some("fast".into()),
        value_billionths: Some(14_500_000_000),
        good: 99_000,
        bad: 1_000,
        total: 100_000,
        coverage_billionths: 250_000_000,
        budget: Some(budget()),
        version,
    }
}
