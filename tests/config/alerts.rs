//! `AlertRules` documents.

use plimsoll::config::{Diagnostics, parse_rules};
use plimsoll::core::alert::RuleKind;
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::rules::Rules;

use super::{document, source_text};

fn parse_rule(rule: &str) -> Result<Rules, Diagnostics> {
    let alerts = format!(
        "apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {{name: shop}}
spec:
  rules:
    - {{{rule}}}
"
    );
    parse_rules(&[document("orders.yaml", &source_text("", "      []")), document("shop.yaml", &alerts)])
}

#[test]
fn alert_rules_are_checked() {
    let right = "name: a, kind: RATIO, source: orders, bad: price > 1, window: 5m, warning: {above: 1%}";
    let rules = parse_rule(right).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(
        rules.severities.levels[rules.alerts[0].levels[0].severity].name, "warning",
        "words by default"
    );
    let dear = Atom::Number { slot: 2, op: Comparison::Greater, constant: 100 };
    let good = parse_rule(&right.replace("bad:", "good:")).unwrap();
    assert_eq!(good.alerts[0].kind, RuleKind::Ratio);
    let feed = &good.alerts[0].feeds[0];
    assert_eq!(feed.filter, Condition::True);
    assert_eq!(feed.bad, Condition::Not(Box::new(Condition::Atom(dear))));
    let table = [
        ("kind: RATIO", "kind: FOO", "`kind`: `FOO` is not a kind of rule"),
        ("source: orders", "source: order", "no DataSource is called `order`"),
        ("source: orders, ", "", "`source` is missing"),
        ("bad: price > 1, ", "", "a RATIO takes one of `bad` and `good`"),
        ("bad: price > 1", "bad: price > 1, good: price > 1", "a RATIO takes one of `bad` and `good`"),
        (
            "bad: price > 1",
            "bad: prize > 1",
            "`bad`: `prize` is not a field of this source\n    prize > 1\n    ^^^^^",
        ),
        (
            "bad: price > 1",
            "bad: price > 1, where: shop",
            "`where`: the string `shop` is no condition by itself\n    shop\n    ^^^^",
        ),
        ("window: 5m, ", "", "`window` is missing"),
        ("window: 5m", "window: 1500ms", "`window`: `1500ms` is not a whole number of seconds"),
        ("window: 5m", "window: 500ms", "`window`: `500ms` is out of range"),
        ("window: 5m", "window: 5m, for: 5", "`for`: the duration `5` has no unit"),
        ("window: 5m", "window: 5m, hold: 1.5s", "`hold`: `1.5s` is not a duration"),
        ("window: 5m", "window: 5m, group_by: [shop]", "`group_by` wants a `group_limit`"),
        ("window: 5m", "window: 5m, group_limit: 5", "`group_limit` without `group_by` has no meaning"),
        ("window: 5m", "window: 5m, group_by: [price], group_limit: 5", "`group_by`: `price` is a decimal"),
        (
            "window: 5m",
            "window: 5m, group_by: [shop], group_limit: 5, labels: {shop: a}",
            "the label `shop` is also a field of `group_by`",
        ),
        (", warning: {above: 1%}", "", "the rule has no level"),
        ("warning:", "warn:", "`warn` is not a key here"),
        ("above: 1%", "above: 1%, below: 2%", "a level takes one of `above` and `below`"),
        ("above: 1%", "window: 1m", "a level takes one of `above` and `below`"),
        ("above: 1%", "above: 0.01", "`above`: `0.01` has no percent sign"),
        ("above: 1%", "above: 100%", "`above`: no share is ever above 100%"),
        ("above: 1%", "below: 0%", "`below`: no share is ever below 0%"),
        ("window: 5m", "window: 5m, summary: \"{values}\"", "`summary`: `{values}` is not a placeholder"),
        ("window: 5m", "window: 5m, runbook: somewhere", "`runbook`: `somewhere` is not a link"),
    ];
    for (from, to, expected) in table {
        assert!(right.contains(from));
        let wrong = parse_rule(&right.replace(from, to)).expect_err(expected);
        // A word that is no level leaves the rule without one.
        let first = wrong.list.iter().find(|d| d.message == expected);
        assert!(first.is_some(), "wanted: {expected}\nsaid: {wrong}");
        assert_eq!(wrong.list.len(), if to == "warn:" { 2 } else { 1 }, "{wrong}");
        assert_eq!((wrong.list[0].file.as_str(), wrong.list[0].line), ("shop.yaml", 6));
    }
}

#[test]
fn levels_override_their_rule_and_rules_their_document() {
    let alerts = "apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: shop, labels: {team: a, tier: one}}
spec:
  defaults: {source: orders, window: 1h, for: 1m, hold: 2m, min_events: 7, labels: {team: b}}
  rules:
    - {name: a, kind: RATIO, bad: price > 1, low: {above: 1%}, critical: {below: 2%, window: 10s, for: 0s, min_events: 1}}
    - {name: b, kind: RATIO, bad: price > 1, window: 2h, hold: 1m, labels: {team: c}, low: {above: 1%}}
";
    let source = document("orders.yaml", &source_text("", "      []"));
    let rules =
        parse_rules(&[source, document("shop.yaml", alerts)]).unwrap_or_else(|wrong| panic!("{wrong}"));
    let levels = |rule: usize| -> Vec<_> {
        rules.alerts[rule].levels.iter().map(|l| (l.severity, l.window_s, l.for_s, l.min_events)).collect()
    };
    assert_eq!(levels(0), [(0, 10, 0, 1), (3, 3_600, 60, 7)]);
    assert_eq!(levels(1), [(3, 7_200, 60, 7)]);
    assert_eq!((rules.alerts[0].hold_s, rules.alerts[1].hold_s), (120, 60));
    assert_eq!(
        (rules.alerts[0].labels["team"].as_str(), rules.alerts[1].labels["team"].as_str()),
        ("b", "c")
    );
    assert_eq!(rules.alerts[1].labels["tier"], "one");
}
