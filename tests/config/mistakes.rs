//! What is said about wrong rules of every kind.

use super::kinds::{ABSENCE, BUDGET, COMPOSITE, COUNT, FRESHNESS, LAG, QUANTILE, RATE, RATIO, parse};
use super::messages;

/// (rule, what is replaced, by what, all that is said).
type Wrong = (&'static str, &'static str, &'static str, &'static str);

fn check(table: &[Wrong]) {
    let mut differences = String::new();
    for (right, from, to, expected) in table {
        assert!(right.contains(from), "{from} in {right}");
        let rule = right.replace(from, to);
        let said = match parse(&[&rule, QUANTILE, RATIO][..if *right == COMPOSITE { 3 } else { 1 }]) {
            Ok(_) => "nothing".to_owned(),
            Err(wrong) => {
                assert!(wrong.list.iter().all(|d| d.file == "shop.yaml" && d.line >= 6), "{wrong}");
                messages(&wrong).join(" | ")
            }
        };
        if said != *expected {
            differences += &format!("{rule}\n  wanted: {expected}\n  said:   {said}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn wrong_kinds_are_explained() {
    check(&[
        (COUNT, "kind: COUNT", "kind: COUNTS", "`kind`: `COUNTS` is not a kind of rule"),
        (COUNT, "kind: COUNT", "kind: count", "`kind`: `count` is not a kind of rule"),
        (COUNT, "kind: COUNT", "kind: BURN_RATE", "`kind`: BURN_RATE is no rule by itself"),
        (COUNT, "kind: COUNT, ", "", "`kind` is missing"),
        (COUNT, "where:", "wher:", "`wher` is not a key here"),
        (COUNT, "window: 5m", "window: 5m, no_data_after: 0s", "`no_data_after`: `0s` is out of range"),
        (COUNT, "window: 5m", "window: 5m, correct_within: 2d", "`correct_within`: `2d` is out of range"),
    ]);
}

#[test]
fn wrong_quantiles_are_explained() {
    check(&[
        (QUANTILE, "of: took, ", "", "`of` is missing"),
        (QUANTILE, "of: took", "of: shop", "`of`: `shop` is a string"),
        (QUANTILE, "of: took", "of: tok", "`of`: `tok` is not a field of this source"),
        (QUANTILE, "quantile: 0.95, ", "", "`quantile` is missing"),
        (QUANTILE, "0.95", "1", "`quantile`: this is not a quantile"),
        (QUANTILE, "0.95", "95%", "`quantile`: `95%` is not a number"),
        (QUANTILE, "200ms", "200", "`above`: `200` has no unit, and `took` is in ms"),
        (QUANTILE, "200ms", "5%", "`above`: `%` is no unit of `took`, which is in ms"),
        (QUANTILE, "200ms", "fast", "`above`: `fast` is not a number"),
        (QUANTILE, "200ms", "60s", "`above`: `took` is never above 60s"),
        (QUANTILE, "above: 200ms", "below: 0ms", "`below`: `took` is never below 0ms"),
        (QUANTILE, "200ms", "1ns", "nothing"),
        (QUANTILE, "200ms", "0.0000000001ms", "`above`: `0.0000000001ms` is out of range"),
        (QUANTILE, "of: took", "bad: price > 1, of: took", "`bad` has no meaning for QUANTILE"),
        (QUANTILE, "source: orders", "sources: [orders, returns]", "`sources` has no meaning for QUANTILE"),
        (QUANTILE, "{above: 200ms}", "{below: 200ms, min_bad: 3}", "`min_bad` beside `below` has no meaning"),
        (FRESHNESS, "quantile: 0.99, ", "", "`quantile` is missing"),
        (FRESHNESS, "quantile: 0.99", "of: took, quantile: 0.99", "`of` has no meaning for FRESHNESS"),
        (FRESHNESS, "1s", "1", "`above`: the duration `1` has no unit"),
        (FRESHNESS, "1s", "5%", "`above`: `5%` is not a duration"),
        (FRESHNESS, "above: 1s", "below: 0s", "`below`: no time is ever below 0s"),
        (FRESHNESS, "window: 5m, ", "", "`window` is missing"),
    ]);
}

#[test]
fn wrong_counts_and_rates_are_explained() {
    check(&[
        (COUNT, "above: 3", "above: 3.5", "`above`: `3.5` is not a whole number from 0 to 9000000000"),
        (COUNT, "above: 3", "above: 5%", "`above`: `5%` is not a whole number from 0 to 9000000000"),
        (COUNT, "above: 3", "above: -1", "`above`: `-1` is not a whole number from 0 to 9000000000"),
        (COUNT, "above: 3", "below: 0", "`below`: no number is ever below 0"),
        (COUNT, "window: 5m", "window: 5m, min_events: 5", "`min_events` has no meaning for COUNT"),
        (COUNT, "{above: 3}", "{above: 3, min_bad: 5}", "`min_bad` has no meaning for COUNT"),
        (COUNT, "window: 5m", "window: 5m, quantile: 0.5", "`quantile` has no meaning for COUNT"),
        (COUNT, "window: 5m, ", "", "`window` is missing"),
        (RATE, "7000/s", "7000", "`below`: `7000` is not a rate"),
        (RATE, "7000/s", "7000/m", "`below`: `7000/m` is not a rate"),
        (RATE, "7000/s", "-1/s", "`below`: `-1/s` is out of range"),
        (RATE, "7000/s", "0/s", "`below`: no rate is ever below 0/s"),
        (RATE, "[orders, returns]", "[orders]", "`sources`: the list is too short or too long"),
        (RATE, "[orders, returns]", "[orders, orders]", "`sources`: `orders` is named twice"),
        (RATE, "[orders, returns]", "[orders, order]", "no DataSource is called `order`"),
        (
            RATE,
            "sources: [orders, returns]",
            "sources: [orders, returns], source: orders",
            "a rule takes one of `source` and `sources`",
        ),
        (RATE, "sources: [orders, returns], ", "", "`source` is missing"),
        (
            RATE,
            "window: 1m",
            "window: 1m, where: took > 1",
            "`where`: in returns: `took` is not a field of this source\n    took > 1\n    ^^^^",
        ),
        (
            RATE,
            "window: 1m",
            "window: 1m, group_by: [shop], group_limit: 5",
            "a rule over several sources has no groups",
        ),
        (RATE, "window: 1m", "window: 1m, min_coverage: 0.5", "`min_coverage`: `0.5` has no percent sign"),
    ]);
}

#[test]
fn wrong_absences_and_lags_are_explained() {
    check(&[
        (ABSENCE, "45s", "45", "`above`: the duration `45` has no unit"),
        (ABSENCE, "45s", "0s", "`above`: `0s` is out of range"),
        (ABSENCE, "45s", "1500ms", "`above`: `1500ms` is not a whole number of seconds"),
        (ABSENCE, "45s", "31d", "`above`: `31d` is out of range"),
        (ABSENCE, "above: 45s", "below: 45s", "`below` has no meaning for ABSENCE"),
        (ABSENCE, "{above: 45s}", "{above: 45s, below: 50s}", "`below` has no meaning for ABSENCE"),
        (ABSENCE, "{above: 45s}", "{for: 5s}", "the level has no threshold"),
        (ABSENCE, "{above: 45s}", "{above: 45s, window: 5m}", "`window` has no meaning for ABSENCE"),
        (
            ABSENCE,
            "source: orders",
            "source: orders, window: 5m, min_coverage: 5%",
            "`min_coverage` has no meaning for ABSENCE | `window` has no meaning for ABSENCE",
        ),
        (ABSENCE, ", critical: {above: 45s}", "", "the rule has no level"),
        (LAG, "30s", "30", "`above`: the duration `30` has no unit"),
        (
            LAG,
            "{above: 30s}",
            "{above: 30s}, high: {above: 500 messages}",
            "`above`: `30s` is not a number of messages",
        ),
        (LAG, "30s", "5.5 messages", "`above`: `5.5 messages` is not a number of messages"),
        (LAG, "above: 30s", "below: 30s", "`below` has no meaning for LAG"),
        (LAG, "source: orders, ", "", "`source` is missing"),
        (LAG, "source: orders", "source: order", "no DataSource is called `order`"),
        (LAG, "billing", "''", "`consumer_group`: this cannot be the name of a consumer group"),
        (
            LAG,
            "source: orders",
            "source: orders, where: price > 1, group_by: [shop], group_limit: 5",
            "`group_by` has no meaning for LAG | `group_limit` has no meaning for LAG | `where` has no meaning for LAG",
        ),
    ]);
}

#[test]
fn wrong_budgets_are_explained() {
    check(&[
        (BUDGET, "25%", "25%", "`slo`: no SLO is called `orders`"),
        (BUDGET, "slo: orders, ", "", "`slo` is missing"),
        (
            BUDGET,
            "below: 25%",
            "above: 25%",
            "`above` has no meaning for BUDGET | `slo`: no SLO is called `orders`",
        ),
        (
            BUDGET,
            "below: 25%",
            "below: 25",
            "`below`: `25` has no percent sign | `slo`: no SLO is called `orders`",
        ),
        (
            BUDGET,
            "below: 25%",
            "below: 101%",
            "`below`: `101%` is out of range | `slo`: no SLO is called `orders`",
        ),
        (
            BUDGET,
            "objective: fast",
            "objective: fast, source: orders",
            "`slo`: no SLO is called `orders` | `source` has no meaning for BUDGET",
        ),
    ]);
}

#[test]
fn wrong_composites_are_explained() {
    check(&[
        (COMPOSITE, "rule: b,", "rule: c,", "`rule`: no rule is called `c`"),
        (COMPOSITE, "rule: b,", "rule: shops/b,", "`rule`: no rule is called `shops/b`"),
        (COMPOSITE, "rule: b,", "rule: z,", "`rule`: `z` is a COMPOSITE itself"),
        (
            COMPOSITE,
            "rule: b,",
            "rule: a,",
            "`full`: `%` is no unit of `took`, which is in ms | `zero`: `%` is no unit of `took`, which is in ms",
        ),
        (COMPOSITE, "zero: 5%", "zero: 0.1%", "`full` and `zero` are the same"),
        (COMPOSITE, "zero: 5%", "zero: 5s", "`zero`: `5s` has no percent sign"),
        (COMPOSITE, ", zero: 5%", "", "`zero` is missing"),
        (COMPOSITE, "zero: 2s", "zero: 5%", "`zero`: `%` is no unit of `took`, which is in ms"),
        (COMPOSITE, "weight: 2.5", "weight: 0", "`weight`: this is not a weight"),
        (COMPOSITE, "weight: 2.5", "weight: -1", "`weight`: this is not a weight"),
        (COMPOSITE, "weight: 2.5", "wait: 1", "`wait` is not a key here"),
        (COMPOSITE, "window: 45s", "window: 45s, min_weight: 0.5", "`min_weight`: `0.5` has no percent sign"),
        (COMPOSITE, "window: 45s, ", "", "`window` is missing"),
        (
            COMPOSITE,
            "window: 45s",
            "window: 45s, source: orders, group_by: [shop], group_limit: 4, min_events: 4",
            "`group_by` has no meaning for COMPOSITE | `group_limit` has no meaning for COMPOSITE | \
             `min_events` has no meaning for COMPOSITE | `source` has no meaning for COMPOSITE",
        ),
        (
            COMPOSITE,
            ", {rule: shop/a, full: 200ms, zero: 2s}",
            "",
            "`parts`: the list is too short or too long",
        ),
        (COMPOSITE, "{below: 95%}", "{below: 0%}", "`below`: no share is ever below 0%"),
        (COMPOSITE, "{below: 95%}", "{below: 95}", "`below`: `95` has no percent sign"),
    ]);
}

#[test]
fn a_key_of_another_kind_is_said_to_be_one() {
    let help = |rule: &str| parse(&[rule]).unwrap_err().list.remove(0).help;
    let of_ratios = COUNT.replace("where:", "bad: price > 2, where:");
    assert_eq!(help(&of_ratios), "remove it; it is for RATIO");
    let of_windows = ABSENCE.replace("above:", "window: 5m, above:");
    assert_eq!(help(&of_windows), "remove it; it is for RATIO, QUANTILE, FRESHNESS, COUNT, RATE, COMPOSITE");
    let elsewhere = COMPOSITE.replace("rule: b", "rule: shops/b");
    let said = parse(&[&elsewhere, QUANTILE, RATIO]).unwrap_err();
    assert_eq!(said.list[0].help, "did you mean `shop/b`?");
}

#[test]
fn a_part_is_one_number() {
    let grouped = RATIO.replace("window: 5m", "window: 5m, group_by: [shop], group_limit: 5");
    let said = parse(&[COMPOSITE, QUANTILE, &grouped]).unwrap_err().to_string();
    assert_eq!(
        said,
        "shop.yaml:6: `rule`: `b` has groups\n  help: write a rule without `group_by`: a part is one number"
    );
    let other = COMPOSITE.replace("name: z", "name: y").replace("rule: b", "rule: z");
    let said = parse(&[COMPOSITE, &other, QUANTILE, RATIO]).unwrap_err().to_string();
    assert_eq!(
        said,
        "shop.yaml:7: `rule`: `z` is a COMPOSITE itself\n  help: name the parts of that rule here, each with its weight"
    );
    // What is wrong with a part is said once, there.
    let wrong = RATIO.replace("price > 1", "prize > 1");
    let said = parse(&[COMPOSITE, QUANTILE, &wrong]).unwrap_err();
    assert_eq!(said.list.len(), 1, "{said}");
    let wrong = RATIO.replace("kind: RATIO", "kind: RATO");
    let said = parse(&[COMPOSITE, QUANTILE, &wrong]).unwrap_err();
    assert_eq!(said.list.len(), 1, "{said}");
}
