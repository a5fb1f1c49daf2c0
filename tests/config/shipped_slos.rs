//! The objectives in `config/slos`: requests.yaml, streaming.yaml, services.yaml.

use plimsoll::core::alert::{AlertRule, Lag, LagUnit, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::objective::{EmptySlice, Indicator, Method, Objective, Period};
use plimsoll::core::rules::Rules;

use super::shipped;

const DAY_S: i64 = 86_400;

fn objective(rules: &Rules, full_name: &str) -> (AlertRule, Objective) {
    let rule = rules.rule(full_name).unwrap_or_else(|| panic!("no {full_name}")).clone();
    let objective = rule.objective.clone().unwrap();
    assert_eq!((rule.kind.clone(), &rule.document), (RuleKind::BurnRate, &objective.slo));
    assert_eq!(rule.name, objective.name);
    (rule, objective)
}

fn slot(rules: &Rules, source: &str, field: &str) -> usize {
    rules.source(source).unwrap().slot(field).unwrap()
}

#[test]
fn shipped_objectives_load() {
    let rules = shipped().rules;
    let objectives = rules.alerts.iter().filter(|rule| rule.objective.is_some());
    let shown: Vec<_> = objectives
        .map(|rule| {
            let objective = rule.objective.as_ref().unwrap();
            let Period::Rolling { length_s } = objective.period else { panic!("{objective:?}") };
            (rule.full_name(), rule.service.clone().unwrap(), objective.target_billionths, length_s / DAY_S)
        })
        .collect();
    let expected = [
        ("consumer-lag/lag", "streaming", 990_000_000, 7),
        ("ml-inference/p95", "ml", 950_000_000, 7),
        ("requests-4xx/4xx", "platform", 950_000_000, 7),
        ("requests-5xx/5xx", "platform", 999_000_000, 30),
        ("requests-failed/failed", "platform", 999_000_000, 30),
        ("requests-latency/p50", "platform", 500_000_000, 7),
        ("requests-latency/p95", "platform", 950_000_000, 7),
        ("requests-latency/p95-ops", "platform", 950_000_000, 7),
        ("requests-latency/p99", "platform", 990_000_000, 7),
        ("throughput/rate", "streaming", 990_000_000, 7),
        ("uptime/uptime", "platform", 999_000_000, 30),
        ("workflow-success/success", "streaming", 990_000_000, 7),
    ];
    let expected = expected.map(|(name, service, target, days)| (name.into(), service.into(), target, days));
    assert_eq!(shown, expected);
    assert!(rules.alerts.is_sorted_by_key(|rule| (rule.document.clone(), rule.name.clone())));
    let services: Vec<_> =
        rules.services.iter().map(|s| (s.name.as_str(), s.labels["team"].as_str())).collect();
    assert_eq!(services, [("ml", "ml"), ("platform", "platform"), ("streaming", "platform")]);
    assert_eq!(rules.services[0].description.as_deref(), Some("Prediction consumers."));
}

#[test]
fn failed_requests_burn_in_five_tiers() {
    let rules = shipped().rules;
    let status = slot(&rules, "request-log", "status");
    let at_least_500 = Atom::Number { slot: status, op: Comparison::GreaterOrEqual, constant: 500 };
    let listed = Atom::NumberIn { slot: status, constants: vec![0, 408, 499] };
    let bad = Condition::Or(vec![Condition::Atom(at_least_500.clone()), Condition::Atom(listed)]);
    let (rule, objective) = objective(&rules, "requests-failed/failed");
    assert_eq!((objective.method, objective.indicator), (Method::Occurrences, Indicator::Events));
    assert_eq!(rule.feeds.len(), 1);
    assert_eq!((&rule.feeds[0].filter, &rule.feeds[0].bad), (&Condition::True, &bad));
    let tiers: Vec<_> = rule
        .levels
        .iter()
        .map(|l| {
            let severity = rules.severities.levels[l.severity].name.as_str();
            let windows = (l.window_s, l.short_window_s.unwrap());
            (l.name.as_str(), severity, l.threshold_text.as_str(), l.threshold_billionths, windows)
        })
        .collect();
    let expected = [
        ("flash", "critical", "86.4", 86_400_000_000, (300, 30)),
        ("fast", "critical", "14.4", 14_400_000_000, (3_600, 300)),
        ("medium", "high", "6", 6_000_000_000, (21_600, 1_800)),
        ("slow", "warning", "3", 3_000_000_000, (DAY_S, 7_200)),
        ("drift", "low", "1", 1_000_000_000, (3 * DAY_S, 21_600)),
    ];
    assert_eq!(tiers, expected);
    let coverage: Vec<_> = rule.levels.iter().map(|l| l.min_coverage_billionths).collect();
    assert_eq!(coverage, [0, 0, 0, 500_000_000, 500_000_000]);
    assert!(rule.levels.iter().all(|l| l.side == Side::Above && l.for_s == 0 && l.min_bad == 10));
    assert_eq!((rule.hold_s, rule.no_data_after_s, rule.correct_within_s), (300, 900, 900));
    let by_service = rules.rule("requests-5xx/5xx").unwrap();
    let service = slot(&rules, "request-log", "service");
    assert_eq!((&by_service.feeds[0].group_by[..], by_service.group_limit), (&[service][..], 500));
    assert_eq!(by_service.feeds[0].bad, Condition::Atom(at_least_500));
}

#[test]
fn a_quantile_is_a_count() {
    let rules = shipped().rules;
    let duration = slot(&rules, "request-log", "duration");
    for (name, value_ms) in [("p50", 100), ("p95", 200), ("p95-ops", 100), ("p99", 500)] {
        let (rule, objective) = objective(&rules, &format!("requests-latency/{name}"));
        assert_eq!(objective.indicator, Indicator::Events);
        let below = Atom::Number { slot: duration, op: Comparison::Less, constant: value_ms * 1_000 };
        assert_eq!(rule.feeds[0].filter, Condition::True);
        assert_eq!(rule.feeds[0].bad, Condition::Not(Box::new(Condition::Atom(below))), "{name}");
        assert!(rule.levels.is_empty(), "alerts: none");
    }
    let (models, _) = objective(&rules, "ml-inference/p95");
    assert_eq!((models.feeds[0].group_by.len(), models.group_limit), (1, 100));
    let (workflows, _) = objective(&rules, "workflow-success/success");
    assert!(matches!(workflows.feeds[0].filter, Condition::Atom(Atom::TextIn { .. })));
    assert!(matches!(workflows.feeds[0].bad, Condition::Not(_)), "what did not succeed is bad");
}

#[test]
fn what_is_no_event_is_counted_in_minutes() {
    let loaded = shipped();
    let rules = &loaded.rules;
    let minutes = |target_billionths, empty| Method::Timeslices { slice_s: 60, target_billionths, empty };
    let (uptime, promised) = objective(rules, "uptime/uptime");
    assert_eq!(promised.method, minutes(950_000_000, EmptySlice::Bad));
    assert_eq!(uptime.feeds, rules.rule("requests-failed/failed").unwrap().feeds, "one SLI for both");
    let tiers: Vec<_> = uptime.levels.iter().map(|level| level.name.as_str()).collect();
    assert_eq!(tiers, ["fast", "medium", "slow", "drift"]);
    let notes: Vec<_> = loaded.notes.iter().map(|note| note.message.as_str()).collect();
    let flash = "left out: flash (86.4 over 5m/30s): its windows are not made of whole slices of 1m";
    assert_eq!(notes, [flash]);

    let (lag, promised) = objective(rules, "consumer-lag/lag");
    assert!(lag.feeds.is_empty());
    assert_eq!(promised.method, minutes(1_000_000_000, EmptySlice::Bad));
    let group = Lag { consumer_group: Some("prediction-consumer".into()), unit: LagUnit::Seconds };
    let below_5_s = Indicator::Lag {
        source: "commodity-prices".into(),
        lag: group,
        op: Comparison::Less,
        value_billionths: 5_000_000_000,
    };
    assert_eq!(promised.indicator, below_5_s);

    let (rate, promised) = objective(rules, "throughput/rate");
    let sources: Vec<_> = rate.feeds.iter().map(|feed| feed.source.as_str()).collect();
    assert_eq!(sources, ["commodity-prices", "ml-predictions", "request-log"]);
    assert!(rate.feeds.iter().all(|f| f.filter == Condition::True && f.bad == Condition::never()));
    let at_least_7000 =
        Indicator::Rate { op: Comparison::GreaterOrEqual, per_second_billionths: 7_000_000_000_000 };
    assert_eq!(promised.indicator, at_least_7000);
}
