//! The files of `config/` mean what they say.

use plimsoll::config::{Overrides, default_settings, embedded};
use plimsoll::core::alert::{AlertRule, Lag, LagUnit, Level, Part, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::rules::Rules;
use plimsoll::core::source::{Aggregate, Bounds, FieldKind, HISTOGRAM_LIMIT, TimestampForm};
use std::collections::BTreeMap;

use super::{shipped, surroundings};

const BILLION: i64 = 1_000_000_000;

#[test]
fn shipped_files_load() {
    let loaded = shipped();
    let names: Vec<_> = loaded.rules.sources.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["commodity-prices", "ml-predictions", "platform-events", "request-log"]);
    let is_alert = |rule: &&AlertRule| rule.objective.is_none();
    let alerts: Vec<_> =
        loaded.rules.alerts.iter().filter(is_alert).map(|a| (a.document.as_str(), a.name.as_str())).collect();
    assert_eq!(
        alerts,
        [
            ("platform", "error-rate"),
            ("platform", "error-rate-by-service"),
            ("platform", "health"),
            ("platform", "pod-crashes"),
            ("platform", "requests-stopped"),
            ("platform", "response-time"),
            ("platform", "slowest-request"),
            ("streaming", "kafka-lag"),
            ("streaming", "ml-inference"),
            ("streaming", "ml-inference-by-model"),
            ("streaming", "predictions-stopped"),
            ("streaming", "prices-late"),
            ("streaming", "prices-stopped"),
            ("streaming", "throughput"),
        ]
    );
    assert_eq!(loaded.rules.severities.levels.len(), 4);
    let mut files: Vec<&str> =
        loaded.documents.iter().map(|d| d.path.rsplit('/').next().unwrap_or_default()).collect();
    files.sort_unstable();
    let shipped = [
        "commodity-prices.yaml",
        "ml-predictions.yaml",
        "platform-events.yaml",
        "platform.yaml",
        "request-log.yaml",
        "requests.yaml",
        "services.yaml",
        "severities.yaml",
        "streaming.yaml",
        "streaming.yaml",
    ];
    assert_eq!(files, shipped, "the settings file is not among them");
}

#[test]
fn shipped_settings_are_the_defaults() {
    assert_eq!(shipped().settings, default_settings(&surroundings()));
}

#[test]
fn compiled_in_is_what_ships() {
    let loaded = embedded(&BTreeMap::new(), &surroundings(), &Overrides::default()).unwrap();
    assert_eq!(loaded.rules, shipped().rules);
    assert_eq!(loaded.settings, shipped().settings);
}

#[test]
fn rules_survive_json() {
    let rules = shipped().rules;
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<Rules>(&json).unwrap(), rules);
}

#[test]
fn shipped_request_log_is_as_declared() {
    let rules = shipped().rules;
    let source = rules.source("request-log").unwrap();
    let field = |name: &str| &source.fields[source.slot(name).unwrap()];
    let duration = field("duration");
    assert_eq!(duration.path, ["duration_ms"]);
    assert_eq!(duration.unit, "ms");
    // A histogram takes it, so its range is folded into the bounds.
    let bounds = Bounds { min: 0, max: HISTOGRAM_LIMIT - 1 };
    assert_eq!(duration.kind, FieldKind::Decimal { scale: 3, bounds });
    assert_eq!(field("status").kind, FieldKind::Integer(Bounds { min: 0, max: 599 }));
    assert_eq!(field("bytes").kind, FieldKind::Integer(Bounds::NONE));
    assert_eq!(field("ts").kind, FieldKind::Timestamp(TimestampForm::Rfc3339));
    let total = source.rollups.iter().find(|r| r.table == "request_log_total_hourly").unwrap();
    assert_eq!((total.by.len(), total.limit), (0, 1));
    let users = total.columns.iter().find(|c| c.name == "active_users").unwrap();
    let every_us = 300_000_000;
    assert_eq!(users.aggregate, Aggregate::Peak { every_us, distinct: source.slot("user_id") });
    let prices = rules.source("commodity-prices").unwrap();
    let price = &prices.fields[prices.slot("price").unwrap()].kind;
    // `min: 0, min_exclusive: true` at scale 6.
    assert_eq!(*price, FieldKind::Decimal { scale: 6, bounds: Bounds { min: 1, max: i64::MAX } });
}

#[test]
fn shipped_error_rate_is_as_declared() {
    let rules = shipped().rules;
    let source = rules.source("request-log").unwrap();
    let rule = rules.rule("platform/error-rate").unwrap();
    let status = source.slot("status").unwrap();
    let at_least_500 = Atom::Number { slot: status, op: Comparison::GreaterOrEqual, constant: 500 };
    let listed = Atom::NumberIn { slot: status, constants: vec![0, 408, 499] };
    let bad = Condition::Or(vec![Condition::Atom(at_least_500), Condition::Atom(listed)]);
    assert_eq!(rule.kind, RuleKind::Ratio);
    assert_eq!((&rule.feeds[0].filter, &rule.feeds[0].bad), (&Condition::True, &bad));
    let levels: Vec<_> =
        rule.levels.iter().map(|l| (l.severity, l.threshold_billionths, l.window_s)).collect();
    assert_eq!(levels, [(0, 50_000_000, 45), (2, 10_000_000, 300)], "gravest first");
    assert!(rule.levels.iter().all(|l| l.side == Side::Above && l.min_events == 100 && l.for_s == 0));
    assert_eq!((rule.hold_s, rule.no_data_after_s, rule.correct_within_s), (300, 900, 900));
    assert_eq!(rule.labels, BTreeMap::from([("team".into(), "platform".into())]));
    assert_eq!(rule.service.as_deref(), Some("platform"));
    let by_service = rules.rule("platform/error-rate-by-service").unwrap();
    assert_eq!(
        (by_service.feeds[0].group_by.clone(), by_service.group_limit),
        (vec![source.slot("service").unwrap()], 500)
    );
}

#[test]
fn shipped_rules_are_lowered() {
    let rules = shipped().rules;
    let read = |name: &str| {
        let rule = rules.rule(name).unwrap_or_else(|| panic!("{name}"));
        let sources: Vec<&str> = rule.feeds.iter().map(|feed| feed.source.as_str()).collect();
        let level = |l: &Level| {
            let side = l.side.name();
            let [whole, for_s] = [l.min_coverage_billionths == BILLION, l.for_s > 0];
            let notes = [(whole, " whole"), (for_s, " lasting")];
            let notes: String = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| *note).collect();
            format!("{} {side} {} in {} s{notes}", l.name, l.threshold_billionths, l.window_s)
        };
        let levels: Vec<String> = rule.levels.iter().map(level).collect();
        format!("{} of {}: {}", rule.kind.name(), sources.join(" + "), levels.join(", "))
    };
    let table = [
        ("platform/response-time", "QUANTILE of request-log: warning above 200000000000 in 300 s lasting"),
        ("platform/slowest-request", "COUNT of request-log: low above 0 in 1800 s"),
        ("platform/requests-stopped", "ABSENCE of request-log: critical above 45000000000 in 45 s whole"),
        ("platform/pod-crashes", "COUNT of platform-events: critical above 3000000000 in 300 s"),
        (
            "platform/health",
            "COMPOSITE of : critical below 900000000 in 45 s, warning below 950000000 in 45 s",
        ),
        ("streaming/kafka-lag", "LAG of : warning above 30000000000 in 1 s lasting"),
        ("streaming/ml-inference", "QUANTILE of ml-predictions: warning above 500000000000 in 300 s lasting"),
        (
            "streaming/ml-inference-by-model",
            "QUANTILE of ml-predictions: warning above 500000000000 in 300 s lasting",
        ),
        (
            "streaming/throughput",
            "RATE of commodity-prices + ml-predictions + request-log: warning below 7000000000000 in 60 s whole lasting",
        ),
        ("streaming/prices-stopped", "ABSENCE of commodity-prices: critical above 45000000000 in 45 s whole"),
        (
            "streaming/predictions-stopped",
            "ABSENCE of ml-predictions: critical above 45000000000 in 45 s whole",
        ),
        ("streaming/prices-late", "FRESHNESS of commodity-prices: warning above 1000000000 in 300 s lasting"),
    ];
    for (name, expected) in table {
        assert_eq!(read(name), expected, "{name}");
    }
    let native = rules.alerts.iter().filter(|rule| rule.objective.is_none()).count();
    assert_eq!(native, table.len() + 2, "and the two error rates");
    let unit = LagUnit::Seconds;
    let lag = Lag { consumer_group: Some("prediction-consumer".into()), unit };
    let source = "commodity-prices".into();
    assert_eq!(rules.rule("streaming/kafka-lag").unwrap().kind, RuleKind::Lag { source, lag });
}

#[test]
fn shipped_health_is_made_of_what_the_thresholds_promise() {
    let rules = shipped().rules;
    let RuleKind::Composite(score) = &rules.rule("platform/health").unwrap().kind else { panic!() };
    assert_eq!(score.min_weight_billionths, BILLION / 2);
    let part = |p: &Part| (p.rule.clone(), p.weight_millionths, p.full_billionths, p.zero_billionths);
    let parts: Vec<_> = score.parts.iter().map(part).collect();
    let ms = |ms: i64| ms * BILLION;
    let expected = [
        ("platform/error-rate", 4_000_000, BILLION / 1_000, BILLION / 20),
        ("platform/response-time", 2_000_000, ms(200), ms(2_000)),
        ("streaming/ml-inference", 1_000_000, ms(100), ms(1_000)),
        ("streaming/kafka-lag", 1_000_000, 5 * BILLION, 60 * BILLION),
        ("streaming/throughput", 1_000_000, 7_000 * BILLION, 0),
        ("platform/pod-crashes", 1_000_000, 0, 6 * BILLION),
    ];
    assert_eq!(parts, expected.map(|(rule, weight, full, zero)| (rule.to_owned(), weight, full, zero)));
}
