//! Rules of every kind: what they mean, and what is said about wrong ones.

use plimsoll::config::{Diagnostics, parse_rules};
use plimsoll::core::alert::{AlertRule, Composite, Lag, LagUnit, Part, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::source::Quantile;

use super::{document, source_text};

const FIELDS: &str = "      took: {type: decimal, scale: 3, unit: ms, min: 0, max: 60000, optional: true}
      bytes: {type: integer, unit: B}";
const TOOK: usize = 3;

/// The source `orders`, another one called `returns`, and the rules, each written in one line.
pub fn parse(rules: &[&str]) -> Result<Vec<AlertRule>, Diagnostics> {
    let orders = source_text(FIELDS, "      []");
    let returns = source_text("", "      []").replace("orders", "returns");
    let lines: Vec<String> = rules.iter().map(|rule| format!("    - {{{rule}}}\n")).collect();
    let head = "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {name: shop}\nspec:\n  rules:\n";
    let documents = [
        document("orders.yaml", &orders),
        document("returns.yaml", &returns),
        document("shop.yaml", &format!("{head}{}", lines.concat())),
    ];
    parse_rules(&documents).map(|rules| rules.alerts)
}

fn one(rule: &str) -> AlertRule {
    parse(&[rule]).unwrap_or_else(|wrong| panic!("{rule}\n{wrong}")).remove(0)
}

fn atom(atom: Atom) -> Condition {
    Condition::Atom(atom)
}

pub const QUANTILE: &str =
    "name: a, kind: QUANTILE, source: orders, of: took, quantile: 0.95, window: 5m, warning: {above: 200ms}";
pub const FRESHNESS: &str =
    "name: a, kind: FRESHNESS, source: orders, quantile: 0.99, window: 5m, warning: {above: 1s}";
pub const COUNT: &str = "name: a, kind: COUNT, source: orders, where: price > 1, window: 5m, low: {above: 3}";
pub const RATE: &str =
    "name: a, kind: RATE, sources: [orders, returns], window: 1m, warning: {below: 7000/s}";
pub const ABSENCE: &str = "name: a, kind: ABSENCE, source: orders, critical: {above: 45s}";
pub const LAG: &str = "name: a, kind: LAG, source: orders, consumer_group: billing, warning: {above: 30s}";
pub const BUDGET: &str = "name: a, kind: BUDGET, slo: orders, objective: fast, warning: {below: 25%}";
pub const RATIO: &str =
    "name: b, kind: RATIO, source: orders, bad: price > 1, window: 5m, min_bad: 3, warning: {above: 1%}";
pub const COMPOSITE: &str = "name: z, kind: COMPOSITE, window: 45s, warning: {below: 95%}, \
     parts: [{rule: b, weight: 2.5, full: 0.1%, zero: 5%}, {rule: shop/a, full: 200ms, zero: 2s}]";

#[test]
fn a_quantile_is_decided_by_the_events_beyond_each_threshold() {
    let levels = QUANTILE.replace(
        "warning: {above: 200ms}",
        "critical: {above: 1.5s}, high: {below: 5.0005ms, min_coverage: 40%}, low: {above: 0.0005ms, min_events: 7, min_bad: 2}",
    );
    let rule = one(&levels);
    let quantile = Quantile { millionths: 950_000 };
    assert_eq!(rule.kind, RuleKind::Quantile { of: TOOK, quantile });
    let feed = &rule.feeds[0];
    assert_eq!((&feed.filter, &feed.bad), (&atom(Atom::Has(TOOK)), &Condition::never()));
    let over = |op, constant| Some(atom(Atom::Number { slot: TOOK, op, constant }));
    let seen: Vec<_> = rule
        .levels
        .iter()
        .map(|level| (level.side, level.threshold_billionths, level.over.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            (Side::Above, 1_500_000_000_000, over(Comparison::Greater, 1_500_000)),
            // Between two values of the scale: `>=` of the upper one is `>` of the lower one.
            (Side::Below, 5_000_500_000, over(Comparison::Greater, 5_000)),
            (Side::Above, 500_000, over(Comparison::Greater, 0)),
        ]
    );
    let least = |at: usize| {
        let level = &rule.levels[at];
        (level.min_events, level.min_bad, level.min_coverage_billionths)
    };
    assert_eq!([least(0), least(1), least(2)], [(0, 0, 0), (0, 0, 400_000_000), (7, 2, 0)]);
    let exact = one(&QUANTILE.replace("above: 200ms", "below: 200ms"));
    assert_eq!(exact.levels[0].over, over(Comparison::GreaterOrEqual, 200_000));
    assert_eq!(exact.levels[0].threshold_text, "200ms");
    let with_where = one(&QUANTILE.replace("of:", "where: has(shop), of:"));
    let both = Condition::And(vec![atom(Atom::Has(1)), atom(Atom::Has(TOOK))]);
    assert_eq!(with_where.feeds[0].filter, both);
    let required = one(&QUANTILE.replace("of: took", "of: bytes").replace("200ms", "2KB"));
    assert_eq!(required.feeds[0].filter, Condition::True);
    assert_eq!(required.levels[0].threshold_billionths, 2_048_000_000_000);
}

#[test]
fn freshness_is_the_age_in_microseconds() {
    let rule = one(&FRESHNESS.replace("{above: 1s}", "{above: 1500ms}, low: {below: 7s}"));
    assert_eq!(rule.kind, RuleKind::Freshness { quantile: Quantile { millionths: 990_000 } });
    let over: Vec<_> = rule.levels.iter().map(|l| (l.threshold_billionths, l.over.clone())).collect();
    let age = |op, constant| Some(atom(Atom::Age { op, constant }));
    assert_eq!(
        over,
        [
            (1_500_000_000, age(Comparison::Greater, 1_500_000)),
            (7_000_000_000, age(Comparison::GreaterOrEqual, 7_000_000)),
        ]
    );
}

#[test]
fn counts_and_rates_know_whether_little_is_what_is_looked_for() {
    const WHOLE: i64 = 1_000_000_000;
    let count = one(&COUNT.replace("low: {above: 3}", "high: {below: 3}, low: {above: 3}"));
    assert_eq!(count.kind, RuleKind::Count);
    assert_eq!(count.feeds[0].bad, Condition::never());
    let seen = |rule: &AlertRule| -> Vec<_> {
        let of = |l: &plimsoll::core::alert::Level| (l.threshold_billionths, l.min_coverage_billionths);
        rule.levels.iter().map(of).collect()
    };
    assert_eq!(seen(&count), [(3_000_000_000, WHOLE), (3_000_000_000, 0)]);
    let rate =
        one(&RATE.replace("warning: {below: 7000/s}", "high: {above: 0.5/s}, warning: {below: 7000/s}"));
    assert_eq!(rate.kind, RuleKind::Rate);
    let sources: Vec<&str> = rate.feeds.iter().map(|feed| feed.source.as_str()).collect();
    assert_eq!(sources, ["orders", "returns"]);
    assert_eq!(seen(&rate), [(500_000_000, 0), (7_000_000_000_000, WHOLE)]);
    let anyway = one(&RATE.replace("window: 1m", "window: 1m, min_coverage: 50%"));
    assert_eq!(seen(&anyway), [(7_000_000_000_000, 500_000_000)]);
}

#[test]
fn absence_and_lag_have_no_window_of_their_own() {
    let absence =
        one(&ABSENCE.replace("critical: {above: 45s}", "critical: {above: 45s}, low: {above: 2m, for: 5s}"));
    assert_eq!(absence.kind, RuleKind::Absence);
    let seen: Vec<_> = absence.levels.iter().map(|l| (l.threshold_billionths, l.window_s, l.for_s)).collect();
    assert_eq!(seen, [(45_000_000_000, 45, 0), (120_000_000_000, 120, 5)]);
    assert!(absence.levels.iter().all(|level| level.min_coverage_billionths == 1_000_000_000));
    let lag = |rule: &str| {
        let rule = one(rule);
        assert!(rule.feeds.is_empty());
        let RuleKind::Lag { source, lag } = rule.kind else { panic!("{:?}", rule.kind) };
        assert_eq!(source, "orders");
        (lag, rule.levels[0].threshold_billionths)
    };
    let billing = Some("billing".to_owned());
    assert_eq!(lag(LAG), (Lag { consumer_group: billing, unit: LagUnit::Seconds }, 30_000_000_000));
    let own = LAG.replace("consumer_group: billing, ", "").replace("30s", "50000 messages");
    let messages = Lag { consumer_group: None, unit: LagUnit::Messages };
    assert_eq!(lag(&own), (messages, 50_000_000_000_000));
}

#[test]
fn a_composite_takes_its_parts_from_any_document() {
    let alerts = parse(&[COMPOSITE, QUANTILE, RATIO]).unwrap_or_else(|wrong| panic!("{wrong}"));
    let rule = alerts.iter().find(|rule| rule.name == "z").unwrap();
    let part = |rule: &str, weight_millionths, full_billionths, zero_billionths| Part {
        rule: rule.into(),
        weight_millionths,
        full_billionths,
        zero_billionths,
    };
    let parts = vec![
        part("shop/b", 2_500_000, 1_000_000, 50_000_000),
        part("shop/a", 1_000_000, 200_000_000_000, 2_000_000_000_000),
    ];
    let min_weight_billionths = 500_000_000;
    assert_eq!(rule.kind, RuleKind::Composite(Composite { parts, min_weight_billionths }));
    assert!(rule.feeds.is_empty() && rule.group_limit == 1);
    let level = &rule.levels[0];
    assert_eq!((level.side, level.threshold_billionths, level.window_s), (Side::Below, 950_000_000, 45));
}

#[test]
fn what_a_rule_does_not_say_has_a_default() {
    let rule = one(ABSENCE);
    assert_eq!((rule.hold_s, rule.no_data_after_s, rule.correct_within_s), (300, 900, 900));
    let rule = one(&format!("{ABSENCE}, hold: 0s, no_data_after: 1h, correct_within: 0s"));
    assert_eq!((rule.hold_s, rule.no_data_after_s, rule.correct_within_s), (0, 3_600, 0));
    let ratio = one(RATIO);
    assert_eq!((ratio.levels[0].min_bad, ratio.levels[0].min_coverage_billionths), (3, 0));
    let below = one(&RATIO.replace("above: 1%", "below: 1%"));
    assert_eq!(below.levels[0].min_bad, 0, "few bad events are what is looked for");
}
