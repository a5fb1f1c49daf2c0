//! `SLO`, `SLI` and `Service` documents.

use plimsoll::config::{Diagnostics, Document, parse_rules};
use plimsoll::core::alert::{AlertRule, LagUnit};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::objective::{CalendarUnit, EmptySlice, Indicator, Method, Objective, Period};
use plimsoll::core::rules::Rules;

use super::{document, source_text};

pub const SERVICE: &str = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: shop}\nspec: {}\n";
pub const RATIO: &str = "{ratioMetric: {counter: false, good: {metricSource: {metricSourceRef: orders, spec: {where: price < 10}}}, total: {metricSource: {metricSourceRef: orders, spec: {where: \"true\"}}}}}";
pub const FIELD: &str =
    "{thresholdMetric: {metricSource: {metricSourceRef: orders, spec: {of: price, where: shop == 'a'}}}}";
pub const LAG: &str = "{thresholdMetric: {metricSource: {metricSourceRef: orders, spec: {kind: LAG}}}}";
pub const RATE: &str =
    "{thresholdMetric: {metricSource: {type: Plimsoll, spec: {kind: RATE, sources: [orders]}}}}";
pub const SLICED: &str = "target: 0.99, timeSliceTarget: 1, timeSliceWindow: 1m";

/// An SLO of `indicator` whose lines stand where the tables below expect them.
pub fn slo(indicator: &str, method: &str, objective: &str) -> String {
    format!(
        "apiVersion: openslo/v1
kind: SLO
metadata: {{name: cheap, labels: {{team: a}}, annotations: {{plimsoll.dev/alerts: none}}}}
spec:
  service: shop
  indicator: {{metadata: {{name: cheap}}, spec: {indicator}}}
  budgetingMethod: {method}
  timeWindow: [{{duration: 30d, isRolling: true}}]
  objectives: [{{displayName: cheap, {objective}}}]
"
    )
}

pub fn ratio() -> String {
    slo(RATIO, "Occurrences", "target: 0.99")
}

/// The ratio with this annotation alone.
pub fn annotations_of(annotation: &str) -> String {
    ratio().replace("plimsoll.dev/alerts: none", &format!("plimsoll.dev/{annotation}"))
}

fn documents(slo: &str) -> Vec<Document> {
    vec![
        document(
            "orders.yaml",
            &source_text("      tip: {type: decimal, scale: 2, optional: true}", "      []"),
        ),
        document("services.yaml", SERVICE),
        document("cheap.yaml", slo),
    ]
}

pub fn parse(slo: &str) -> Result<Rules, Diagnostics> {
    parse_rules(&documents(slo))
}

fn only(slo: &str) -> (AlertRule, Objective) {
    let rules = parse(slo).unwrap_or_else(|wrong| panic!("{wrong}\n{slo}"));
    let rule = rules.alerts[0].clone();
    let objective = rule.objective.clone().unwrap();
    (rule, objective)
}

#[test]
fn good_of_total_and_bad_of_total_are_opposites() {
    let (rule, objective) = only(&ratio());
    let below_10 = Condition::Atom(Atom::Number { slot: 2, op: Comparison::Less, constant: 1_000 });
    assert_eq!(rule.full_name(), "cheap/cheap");
    assert_eq!((rule.service.as_deref(), rule.labels["team"].as_str()), (Some("shop"), "a"));
    assert_eq!(rule.feeds[0].filter, Condition::True);
    assert_eq!(rule.feeds[0].bad, Condition::Not(Box::new(below_10.clone())));
    assert_eq!((objective.target_billionths, objective.method), (990_000_000, Method::Occurrences));
    assert_eq!(objective.period, Period::Rolling { length_s: 30 * 86_400 });
    let (rule, _) = only(&ratio().replace("good:", "bad:"));
    assert_eq!(rule.feeds[0].bad, below_10);
    let (_, objective) = only(&ratio().replace("target: 0.99", "targetPercent: 99.95"));
    assert_eq!(objective.target_billionths, 999_500_000);
}

#[test]
fn a_field_is_compared_at_its_scale() {
    for (op, value, atom) in [
        ("lt", "0.5", (Comparison::Less, 50)),
        ("lte", "10", (Comparison::LessOrEqual, 1_000)),
        ("gt", "0.125", (Comparison::Greater, 12)),
        ("gte", "0.125", (Comparison::Greater, 12)),
    ] {
        let text = slo(FIELD, "Occurrences", &format!("op: {op}, value: {value}, target: 0.9"));
        let (rule, _) = only(&text);
        let good = Condition::Atom(Atom::Number { slot: 2, op: atom.0, constant: atom.1 });
        assert_eq!(rule.feeds[0].bad, Condition::Not(Box::new(good)), "{op} {value}");
        let of_a = Condition::Atom(Atom::TextIn { slot: 1, constants: vec!["a".into()] });
        assert_eq!(rule.feeds[0].filter, of_a);
        // An event without the field is neither good nor bad.
        let (rule, _) = only(&text.replace("of: price, where: shop == 'a'", "of: tip"));
        assert_eq!(rule.feeds[0].filter, Condition::Atom(Atom::Has(3)));
    }
}

#[test]
fn slices_are_read() {
    let sliced = "target: 0.9, timeSliceTarget: 0.95, timeSliceWindow: 5";
    let (_, objective) = only(&slo(RATIO, "Timeslices", sliced));
    let empty = EmptySlice::Skipped;
    let five_minutes = Method::Timeslices { slice_s: 300, target_billionths: 950_000_000, empty };
    assert_eq!(objective.method, five_minutes);
    let text = slo(RATIO, "RatioTimeslices", "target: 0.9, timeSliceWindow: 1h");
    let good = text.replace("alerts: none", "alerts: none, plimsoll.dev/empty-slice: good");
    let (_, objective) = only(&good);
    assert_eq!(objective.method, Method::RatioTimeslices { slice_s: 3_600, empty: EmptySlice::Good });
    let lag = LAG.replace("kind: LAG", "kind: LAG, unit: messages");
    let (rule, objective) = only(&slo(&lag, "Timeslices", &format!("op: lte, value: 1.5, {SLICED}")));
    let Indicator::Lag { lag, op, value_billionths, .. } = objective.indicator else { panic!() };
    assert_eq!((lag.unit, lag.consumer_group), (LagUnit::Messages, None));
    assert_eq!((op, value_billionths), (Comparison::LessOrEqual, 1_500_000_000));
    assert!(rule.feeds.is_empty());
}

#[test]
fn calendar_windows_begin_at_wall_time() {
    let calendar = |duration: &str, zone: &str| {
        let window = format!(
            "{{duration: {duration}, calendar: {{startTime: 2026-07-01 00:00:00, timeZone: {zone}}}}}"
        );
        only(&ratio().replace("{duration: 30d, isRolling: true}", &window)).1.period
    };
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let table = [
        ("1M", "UTC", "2026-07-01T00:00:00Z", CalendarUnit::Month, 1),
        ("1Q", "America/New_York", "2026-07-01T04:00:00Z", CalendarUnit::Quarter, 1),
        ("2w", "Europe/Berlin", "2026-06-30T22:00:00Z", CalendarUnit::Week, 2),
        ("1Y", "UTC", "2026-07-01T00:00:00Z", CalendarUnit::Year, 1),
        ("12h", "UTC", "2026-07-01T00:00:00Z", CalendarUnit::Hour, 12),
        ("7d", "UTC", "2026-07-01T00:00:00Z", CalendarUnit::Day, 7),
    ];
    for (duration, zone, start, unit, count) in table {
        let Period::Calendar { start_us, unit: found, count: counted, zone: in_zone } =
            calendar(duration, zone)
        else {
            panic!("{duration} in {zone}")
        };
        assert_eq!((start_us, found, counted, &*in_zone.name), (at(start), unit, count, zone));
    }
    let in_new_york = calendar("1M", "America/New_York");
    let second = |text: &str| at(text) / 1_000_000;
    assert_eq!(in_new_york.start_s(second("2026-12-15T00:00:00Z")), second("2026-12-01T05:00:00Z"));
    assert_eq!(in_new_york.start_s(second("2049-07-15T00:00:00Z")), second("2049-07-01T04:00:00Z"));
}

#[test]
fn annotations_are_read() {
    let annotations = "plimsoll.dev/alerts: \"page 14.4x 1h/5m high, ticket 10% 3d/6h low, first 20x 2m/10s critical\", \
         plimsoll.dev/group-by: shop, plimsoll.dev/group-limit: \"7\", plimsoll.dev/min-bad: \"5\", \
         plimsoll.dev/min-events: \"100\", plimsoll.dev/hold: 1m, plimsoll.dev/no-data-after: 5m, \
         plimsoll.dev/correct-within: 1h, plimsoll.dev/runbook: \"https://example.org\", \
         plimsoll.dev/summary: \"{shop} burns {value}\", example.org/of-others: 1";
    let (rule, _) = only(&ratio().replace("plimsoll.dev/alerts: none", annotations));
    assert_eq!((&rule.feeds[0].group_by[..], rule.group_limit), (&[1][..], 7));
    assert_eq!((rule.hold_s, rule.no_data_after_s, rule.correct_within_s), (60, 300, 3_600));
    assert_eq!(rule.runbook.as_deref(), Some("https://example.org"));
    assert_eq!(rule.summary.as_deref(), Some("{shop} burns {value}"));
    let levels: Vec<_> = rule
        .levels
        .iter()
        .map(|l| (l.name.as_str(), l.severity, l.threshold_text.as_str(), l.window_s, l.short_window_s))
        .collect();
    let gravest_first = [
        ("first", 0, "20", 120, Some(10)),
        ("page", 1, "14.4", 3_600, Some(300)),
        ("ticket", 3, "1", 259_200, Some(21_600)),
    ];
    assert_eq!(levels, gravest_first);
    assert!(rule.levels.iter().all(|l| l.min_bad == 5 && l.min_events == 100));
    let words = annotations_of("severity: \"fast high, drift warning\"");
    let severities = |slo: &str| -> Vec<usize> { only(slo).0.levels.iter().map(|l| l.severity).collect() };
    assert_eq!(
        severities(&words),
        [0, 1, 1, 2, 2],
        "flash critical, fast and medium high, slow and drift warning"
    );
    let (standard, _) = only(&ratio().replace(", annotations: {plimsoll.dev/alerts: none}", ""));
    let names: Vec<_> = standard.levels.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["flash", "fast", "medium", "slow", "drift"], "without a word, standard");
}
