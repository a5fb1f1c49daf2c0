//! Rules that change while workers still fold by the ones before.

use plimsoll::core::expr::Condition;
use plimsoll::core::rules::Rules;
use plimsoll::core::source::{Aggregate, Column};
use std::collections::BTreeSet;

use super::breaches::{judged_until_s, oracle_rules};
use super::evaluation::{evaluate, tables};
use super::oracle::{compare, expect, ratio_episodes, without};
use super::simulation::{Ingest, Setup};
use super::story::stories;
use super::workload::{MINUTE_US, SECOND_US, START_US, Sent, raw, requests, with_alerts};

const DEFAULTS: &str = r#"
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: test}
spec:
  defaults: {source: request-log}
  rules:
    - name: by-service
      kind: RATIO
      bad: "status >= 500 || status in [0, 408, 499]"
      window: 1m
      hold: 0s
      min_events: 10
      group_by: [service]
      group_limit: 50
      high: {above: 30%, for: 5s}
"#;

/// The rule that stays, and `others`: name, condition and threshold of rules of the same grouping.
fn rules(others: &[(&str, &str, &str)]) -> Rules {
    let mut text = DEFAULTS.to_owned();
    for (name, bad, above) in others {
        text += &format!(
            "    - {{name: {name}, kind: RATIO, bad: \"{bad}\", window: 1m, group_by: [service], group_limit: 50, high: {{above: {above}}}}}\n"
        );
    }
    with_alerts(&text)
}

fn with_column(mut rules: Rules) -> Rules {
    let source = rules.sources.iter_mut().find(|source| source.name == "request-log").expect("it ships");
    let region = source.rollups.iter_mut().find(|rollup| rollup.table == "request_log_region_hourly");
    let column = Column { name: "again_count".into(), aggregate: Aggregate::Count(Condition::True) };
    region.expect("it ships").columns.insert(0, column);
    rules
}

/// Twenty minutes in which a third of one service's requests fail all the time, and all of another's in the middle.
fn traffic() -> Vec<Sent> {
    let each = |n: i64| {
        let at_us = START_US + 50 * MINUTE_US + n * SECOND_US / 4;
        let middle = (1_200..3_000).contains(&n);
        let (service, status) = match n % 6 {
            0 | 2 => ("web", 200),
            4 => ("web", 503),
            _ => ("auth", if middle { 500 } else { 404 }),
        };
        Sent { at_us, event_us: at_us, partition: n as u32 % 3, service: service.into(), status }
    };
    (0..4_800).map(each).collect()
}

#[test]
fn rules_change_while_workers_go_on() {
    let before = rules(&[
        ("gone", "status == 503", "10%"),
        ("raised", "status == 503", "10%"),
        ("recounted", "status == 503", "10%"),
    ]);
    let after = rules(&[
        ("added", "status == 404", "10%"),
        ("raised", "status == 503", "20%"),
        ("recounted", "status == 503 || status == 500", "10%"),
    ]);
    let arrivals = requests(traffic());
    for seed in 1..=3 {
        let setup = Setup { seed, workers: 2, shards: 2, partitions: 3, mishaps: true };
        let mut ingest = Ingest::new(setup, before.clone(), &arrivals, START_US + 50 * MINUTE_US);
        ingest.run(START_US + 60 * MINUTE_US, 8 * SECOND_US);
        let applied_s = ingest.now_us / SECOND_US;
        ingest.apply_rules(with_column(after.clone()));
        ingest.adopt(0);
        ingest.run(START_US + 64 * MINUTE_US, 8 * SECOND_US);
        ingest.adopt(1);
        ingest.run(START_US + 70 * MINUTE_US, 8 * SECOND_US);
        ingest.settle(START_US + 130 * MINUTE_US);

        let outputs = evaluate(&ingest.logs);
        let expected = expect(&raw(&arrivals)).rows;
        let rows = tables(&outputs, &after);
        assert!(rows.iter().any(|row| row.values["again_count"].as_u64().is_some_and(|count| count > 0)));
        compare(&expected, &without(&rows, &["again_count"]))
            .unwrap_or_else(|text| panic!("seed {seed}: {text}"));

        let told = stories(&outputs);
        let stayed =
            ratio_episodes(&raw(&arrivals), &oracle_rules()["test/by-service"], judged_until_s(&ingest.logs));
        assert!(stayed.len() > 1);
        assert_eq!(told["test/by-service"].episodes(), stayed, "seed {seed}");
        assert_eq!(told["test/gone"].reasons(), BTreeSet::from(["RULE_REMOVED".to_owned()]));
        // Another threshold goes on with the same counts and episodes, another count begins anew.
        let raised = told["test/raised"].reasons();
        assert!(!raised.is_empty() && !raised.contains("RULE_REMOVED"), "{raised:?}");
        let recounted = told["test/recounted"].reasons();
        assert!(recounted.len() > 1 && recounted.contains("RULE_REMOVED"), "{recounted:?}");
        let added = told["test/added"].episodes();
        assert!(!added.is_empty() && added.iter().all(|episode| episode.onset_s > applied_s), "{added:?}");
    }
}

#[test]
fn a_worker_may_begin_with_rules_that_others_have_left_behind() {
    let before = rules(&[]);
    let arrivals = requests(traffic());
    for seed in 1..=3 {
        let setup = Setup { seed, workers: 3, shards: 2, partitions: 3, mishaps: true };
        let mut ingest = Ingest::new(setup, before.clone(), &arrivals, START_US + 50 * MINUTE_US);
        ingest.apply_rules(with_column(before.clone()));
        ingest.adopt(1);
        ingest.run(START_US + 60 * MINUTE_US, 8 * SECOND_US);
        ingest.adopt(0);
        ingest.adopt(2);
        ingest.run(START_US + 70 * MINUTE_US, 8 * SECOND_US);
        ingest.settle(START_US + 130 * MINUTE_US);
        let rows = tables(&evaluate(&ingest.logs), &before);
        compare(&expect(&raw(&arrivals)).rows, &without(&rows, &["again_count"]))
            .unwrap_or_else(|text| panic!("{text}"));
    }
}
