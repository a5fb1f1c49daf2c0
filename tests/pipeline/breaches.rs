//! RATIO episodes are what the oracle judges with all the data at hand, however late the data came.

use std::collections::BTreeMap;

use plimsoll::core::shard::Shard;

use super::evaluation::{Evaluator, OPTIONS, evaluate};
use super::oracle::{Episode, RatioLevel, RatioRule, Request, ratio_episodes};
use super::simulation::{Arrival, Chance, Ingest, Setup};
use super::story::{Story, stories};
use super::workload::{MINUTE_US, SECOND_US, START_US, Sent, raw, requests, with_alerts, without_tables};

pub const ALERTS: &str = r#"
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: test}
spec:
  defaults: {source: request-log}
  rules:
    - name: overall
      kind: RATIO
      bad: "status >= 500 || status in [0, 408, 499]"
      window: 5m
      for: 20s
      hold: 1m
      min_events: 100
      warning:  {above: 20%}
      critical: {above: 50%, window: 45s, for: 0s}
    - name: by-service
      kind: RATIO
      bad: "status >= 500 || status in [0, 408, 499]"
      window: 1m
      hold: 0s
      min_events: 10
      group_by: [service]
      group_limit: 50
      high: {above: 30%, for: 5s}
    - name: sensitive
      kind: RATIO
      bad: "status >= 500 || status in [0, 408, 499]"
      window: 10s
      for: 3s
      hold: 15s
      group_by: [service, region]
      group_limit: 50
      critical: {above: 90%}
      high:     {above: 40%, window: 30s, min_events: 5, for: 10s}
      warning:  {above: 5%, window: 30m, min_events: 300, for: 30s}
"#;

/// The same rules as the oracle reads them.
pub fn oracle_rules() -> BTreeMap<&'static str, RatioRule> {
    let level = |name, percent: u128, window_s, pane_s, for_s, min_events| {
        let above_billionths = percent * 10_000_000;
        RatioLevel { name, above_billionths, window_s, pane_s, for_s, min_events }
    };
    let rule = |group_by: &[&'static str], hold_s, levels| {
        let group_by = group_by.to_vec();
        RatioRule { group_by, bad: Request::failed, levels, hold_s, no_data_after_s: 900 }
    };
    let overall = vec![level("critical", 50, 45, 1, 0, 100), level("warning", 20, 300, 10, 20, 100)];
    let sensitive = vec![
        level("critical", 90, 10, 1, 3, 0),
        level("high", 40, 30, 1, 10, 5),
        level("warning", 5, 1_800, 60, 30, 300),
    ];
    BTreeMap::from([
        ("test/overall", rule(&[], 60, overall)),
        ("test/by-service", rule(&["service"], 0, vec![level("high", 30, 60, 1, 5, 10)])),
        ("test/sensitive", rule(&["service", "region"], 15, sensitive)),
    ])
}

/// Requests of a few services that come and go, fail now and then, and are late now and then.
fn traffic(chance: &mut Chance, span_s: i64, partitions: u32, late_max_us: i64) -> Vec<Sent> {
    let mut sent = Vec::new();
    for service in ["auth", "prices", "web"] {
        let mut from_s = chance.below(300) as i64;
        while from_s < span_s {
            let long_s = if chance.percent(5) { 1_200 } else { 180 };
            let to_s = (from_s + 5 + chance.below(long_s) as i64).min(span_s);
            let per_ten_s = chance.pick(&[0, 0, 1, 5, 10, 10, 20, 60]);
            let bad_percent = chance.pick(&[0, 0, 0, 2, 8, 30, 60, 100]);
            for second in from_s..to_s {
                for _ in 0..(per_ten_s + chance.below(10)) / 10 {
                    let event_us = START_US + second * SECOND_US + chance.below(1_000_000) as i64;
                    let delay_us = match chance.below(100) {
                        0..1 => chance.below(late_max_us as u64) as i64,
                        1..25 => chance.below(1_500_000) as i64,
                        _ => 0,
                    };
                    let status = if chance.percent(bad_percent) { 503 } else { 200 };
                    let partition = chance.below(partitions.into()) as u32;
                    let (at_us, service) = (event_us + delay_us, service.to_owned());
                    sent.push(Sent { at_us, event_us, partition, service, status });
                }
            }
            from_s = to_s;
        }
    }
    sent
}

/// The second up to which everything was judged for good.
pub fn judged_until_s(logs: &[Vec<Vec<u8>>]) -> i64 {
    let mut evaluator = Evaluator::new(Shard::new(0, OPTIONS));
    for (offset, record) in (0..).zip(&logs[0]) {
        evaluator.apply(offset, record);
    }
    let requests = evaluator.shard.sources().find(|(name, _)| *name == "request-log");
    let watermark_us = requests.and_then(|(_, clock)| clock.watermark_us());
    watermark_us.expect("a watermark") / SECOND_US
}

fn ingested(setup: Setup, arrivals: &[Arrival], end_us: i64) -> Ingest {
    let mut ingest = Ingest::new(setup, without_tables(with_alerts(ALERTS)), arrivals, START_US);
    ingest.run(end_us, 6 * SECOND_US);
    if ingest.chance.percent(50) {
        // Something may still be open.
        ingest.catch_up();
    } else {
        ingest.settle(end_us + 2 * MINUTE_US);
    }
    ingest
}

/// Later than breaches are corrected: what is said may differ from the oracle, but stays in order.
#[test]
fn events_too_late_to_correct_a_breach_repeat_no_identity() {
    for seed in [21, 218] {
        let setup = Setup { seed, workers: 2, shards: 1, partitions: 2, mishaps: true };
        let span_s = 3_000;
        let arrivals = requests(traffic(&mut Chance::new(seed), span_s, 2, 60 * MINUTE_US));
        let ingest = ingested(setup, &arrivals, START_US + (span_s + 1) * SECOND_US);
        let told = stories(&evaluate(&ingest.logs));
        let retracted: usize = told.values().filter_map(|story| story.transitions.get("RETRACTED")).sum();
        assert!(told.len() > 1 && retracted < 100, "seed {seed}: {retracted} taken back");
    }
}

#[test]
fn episodes_are_the_oracles() {
    let mut transitions: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = 0;
    for seed in 1..=4 {
        let (workers, shards, partitions) = [(1, 1, 1), (2, 3, 3), (3, 2, 4)][seed as usize % 3];
        let setup = Setup { seed, workers, shards, partitions, mishaps: true };
        let span_s = 1_500;
        let arrivals = requests(traffic(&mut Chance::new(seed), span_s, partitions, 10 * MINUTE_US));
        let ingest = ingested(setup, &arrivals, START_US + (span_s + 1) * SECOND_US);
        let until_s = judged_until_s(&ingest.logs);
        let told = stories(&evaluate(&ingest.logs));
        for (name, rule) in oracle_rules() {
            let expected: Vec<Episode> = ratio_episodes(&raw(&arrivals), &rule, until_s);
            let said = told.get(name).map(Story::episodes).unwrap_or_default();
            assert_eq!(said, expected, "seed {seed}, {name}, judged until {until_s}");
            found += expected.len();
        }
        for (transition, count) in told.values().flat_map(|story| &story.transitions) {
            *transitions.entry(transition.clone()).or_default() += count;
        }
    }
    assert!(found > 30, "only {found} episodes");
    assert!(transitions.values().all(|count| *count > 2) && transitions.len() == 4, "{transitions:?}");
}
