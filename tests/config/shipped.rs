//! The files of `config/` mean what they say.

use plimsoll::config::{Overrides, default_settings, embedded};
use plimsoll::core::alert::{AlertRule, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::rules::Rules;
use plimsoll::core::source::{Aggregate, Bounds, FieldKind, HISTOGRAM_LIMIT, TimestampForm};
use std::collections::BTreeMap;

use super::{shipped, surroundings};

#[test]
fn shipped_files_load() {
    let loaded = shipped();
    let names: Vec<_> = loaded.rules.sources.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["commodity-prices", "ml-predictions", "platform-events", "request-log"]);
    let is_alert = |rule: &&AlertRule| rule.objective.is_none();
    let alerts: Vec<_> = loaded.rules.alerts.iter().filter(is_alert).map(AlertRule::full_name).collect();
    assert_eq!(alerts, ["platform/error-rate", "platform/error-rate-by-service"]);
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
