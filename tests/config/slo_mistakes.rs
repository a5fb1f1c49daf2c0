//! What is said of wrong `SLO`, `SLI` and `Service` documents.

use super::slos::{FIELD, LAG, RATE, RATIO, SERVICE, SLICED, parse, ratio, slo};
use super::{messages, source_text};

/// Each change of `right` is said in these words, all of them on lines of `cheap.yaml`.
fn assert_wrong(right: &str, table: &[(&str, &str, &str)]) {
    parse(right).unwrap_or_else(|wrong| panic!("{wrong}"));
    for (from, to, expected) in table {
        assert!(right.contains(from), "{from}");
        let wrong = parse(&right.replacen(from, to, 1)).expect_err(expected);
        assert_eq!(messages(&wrong), expected.split(" | ").collect::<Vec<_>>(), "{to}");
        assert!(
            wrong.list.iter().all(|d| d.file == "cheap.yaml" && d.line > 0 && !d.help.is_empty()),
            "{wrong}"
        );
    }
}

#[test]
fn ratios_are_checked() {
    let table = [
        ("service: shop", "service: ship", "`service`: no Service is called `ship`"),
        ("  service: shop\n", "", "`service` is missing"),
        (
            "counter: false",
            "counter: true",
            "`counter`: events are counted one by one; there is no growing counter to take differences of",
        ),
        ("good:", "best:", "`best` is not a key here | a ratio takes one of `good` and `bad`"),
        ("counter: false", "bad: {}", "a ratio takes one of `good` and `bad`"),
        (
            "counter: false",
            "rawType: success",
            "`rawType`: a ratio that was computed elsewhere cannot be counted exactly",
        ),
        ("counter: false", "raw: {}", "`raw`: a ratio that was computed elsewhere cannot be counted exactly"),
        (
            "metricSourceRef: orders",
            "metricSourceRef: order",
            "`metricSourceRef`: no DataSource is called `order`",
        ),
        ("metricSourceRef: orders, ", "", "`metricSourceRef` is missing"),
        (
            "metricSourceRef: orders",
            "metricSourceRef: orders, type: Prometheus",
            "`type`: `Prometheus` is not supported",
        ),
        ("where: price < 10", "query: up", "`query` is not a key here | `where` is missing"),
        (
            "where: price < 10",
            "where: prise < 10",
            "`where`: `prise` is not a field of this source\n    prise < 10\n    ^^^^^",
        ),
        ("where: \"true\"", "where: true", "`where`: a text is wanted, found true"),
        ("{metadata: {name: cheap}, ", "{", "`metadata` is missing"),
        (
            "  indicator:",
            "  indicatorRef: dear\n  indicator:",
            "an SLO takes one of `indicator` and `indicatorRef`",
        ),
        ("target: 0.99", "target: 1", "`target`: a target of everything leaves no error budget"),
        ("target: 0.99", "target: 0", "`target`: a target of nothing is never missed"),
        ("target: 0.99", "target: 99.9", "`target`: this is not a share"),
        (
            "target: 0.99",
            "targetPercent: 100",
            "`targetPercent`: a target of everything leaves no error budget",
        ),
        (
            "target: 0.99",
            "target: 0.99, targetPercent: 99",
            "an objective takes one of `target` and `targetPercent`",
        ),
        ("target: 0.99", "op: lt, target: 0.99", "`op`: a ratio is compared with nothing"),
        (
            "target: 0.99",
            "target: 0.99, timeSliceWindow: 1m",
            "`timeSliceWindow`: has no meaning with Occurrences",
        ),
        (
            "target: 0.99",
            "target: 0.99, compositeWeight: 2",
            "`compositeWeight`: SLOs composed of several indicators are not supported",
        ),
        ("displayName: cheap, ", "", "`displayName` is missing"),
        ("displayName: cheap", "displayName: a/b", "`displayName`: `a/b` cannot be a name"),
        (
            "target: 0.99}",
            "target: 0.99}, {displayName: cheap, target: 0.9}",
            "the objective `cheap` is declared twice, first on line 9",
        ),
        ("Occurrences", "Occurences", "`budgetingMethod`: `Occurences` is not a way to budget"),
        (
            "  objectives",
            "  alertPolicies: [{alertPolicyRef: a}]\n  objectives",
            "`alertPolicies`: alert policies are not supported: their one condition cannot hold a long and a short window",
        ),
        (
            "kind: SLO",
            "kind: AlertPolicy",
            "`kind`: AlertPolicy is not supported: its one condition cannot hold a long and a short window",
        ),
        (
            "kind: SLO",
            "kind: AlertNotificationTarget",
            "`kind`: AlertNotificationTarget is not supported: Plimsoll notifies nobody itself",
        ),
        ("openslo/v1", "openslo/v2alpha", "`apiVersion`: `openslo/v2alpha` has no SLO"),
    ];
    assert_wrong(&ratio(), &table);
}

#[test]
fn windows_are_checked() {
    let table = [
        (
            "duration: 30d, isRolling: true}",
            "duration: 30d, isRolling: true}, {duration: 7d, isRolling: true}",
            "`timeWindow` has 2 windows",
        ),
        ("  timeWindow: [{duration: 30d, isRolling: true}]\n", "", "`timeWindow` is missing"),
        ("30d", "1M", "`duration`: `1M` has no fixed length"),
        ("30d", "30s", "`duration`: `30s` is not a duration of OpenSLO"),
        ("30d", "30", "`duration`: `30` is not a duration of OpenSLO"),
        ("30d", "0d", "`duration`: `0d` is not a duration of OpenSLO"),
        ("30d", "400d", "`duration`: the period is out of range"),
        ("30d", "5m", "`duration`: the period is out of range"),
        (", isRolling: true", "", "the window neither rolls nor has a calendar"),
        ("isRolling: true", "isRolling: true, calendar: {}", "a rolling window has no calendar"),
        ("isRolling: true", "calendar: {startTime: 2026-01-01 00:00:00}", "`timeZone` is missing"),
        (
            "isRolling: true",
            "calendar: {startTime: 2026-01-01, timeZone: UTC}",
            "`startTime`: `2026-01-01` is not a time",
        ),
        (
            "isRolling: true",
            "calendar: {startTime: 2026-01-01 00:00:30, timeZone: UTC}",
            "`startTime`: `2026-01-01 00:00:30` is within a minute",
        ),
        (
            "isRolling: true",
            "calendar: {startTime: 2026-01-01 00:00:00, timeZone: Mars/Olympus}",
            "`timeZone`: `Mars/Olympus` is not a known time zone",
        ),
        (
            "30d, isRolling: true",
            "1m, calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}",
            "`duration`: `1m` is minutes, and no calendar has such a period",
        ),
    ];
    assert_wrong(&ratio(), &table);
}

#[test]
fn annotations_are_checked() {
    let with = |annotation: &str| format!("plimsoll.dev/{annotation}");
    let table = [
        ("min-bed: \"1\"", "`plimsoll.dev/min-bed` is not an annotation"),
        ("min-bad: 1", "`plimsoll.dev/min-bad`: a text is wanted, found 1"),
        ("min-bad: \"1.5\"", "`plimsoll.dev/min-bad`: `1.5` is not a whole number from 0 to 4294967295"),
        ("empty-slice: bad", "`plimsoll.dev/empty-slice`: has no meaning with Occurrences"),
        (
            "empty-slice: maybe",
            "`plimsoll.dev/empty-slice`: `maybe` is not what a slice can be | `plimsoll.dev/empty-slice`: has no meaning with Occurrences",
        ),
        ("group-by: shop", "`plimsoll.dev/group-by` wants a `plimsoll.dev/group-limit`"),
        ("group-limit: \"5\"", "`plimsoll.dev/group-limit` without `plimsoll.dev/group-by` has no meaning"),
        ("group-by: price, plimsoll.dev/group-limit: \"5\"", "`plimsoll.dev/group-by`: `price` is a decimal"),
        ("hold: 5", "`plimsoll.dev/hold`: the duration `5` has no unit"),
        ("runbook: wiki", "`plimsoll.dev/runbook`: `wiki` is not a link"),
        ("summary: \"{shop}\"", "`plimsoll.dev/summary`: `{shop}` is not a placeholder"),
        (
            "severity: \"fast high\", plimsoll.dev/alerts: none",
            "`plimsoll.dev/severity`: only the tiers of `standard` are given words",
        ),
        ("severity: fast", "`plimsoll.dev/severity`: `fast` is not a tier and its word"),
        ("severity: quick high", "`plimsoll.dev/severity`: `quick` is not a tier of `standard`"),
        ("severity: \"slow low, slow low\"", "`plimsoll.dev/severity`: `slow` is named twice"),
        ("alerts: some", "`plimsoll.dev/alerts`: `some` is not a tier"),
        ("alerts: a 14 1h/5m high", "`plimsoll.dev/alerts`: `14` says not how fast"),
        ("alerts: a 0x 1h/5m high", "`plimsoll.dev/alerts`: `0x` says not how fast"),
        ("alerts: a 14x 5m/1h high", "`plimsoll.dev/alerts`: `5m/1h` is not a pair of windows"),
        ("alerts: a 14x 1h high", "`plimsoll.dev/alerts`: `1h` is not a pair of windows"),
        ("alerts: \"a 14x 1h/5m high, a 1x 1h/5m low\"", "`plimsoll.dev/alerts`: two tiers are called `a`"),
        (
            "alerts: a 14x 1h/5m page",
            "`plimsoll.dev/alerts`: the tier `a` is `page`, which is no word of Severities",
        ),
        (
            "alerts: a 101x 1h/5m high",
            "`plimsoll.dev/alerts`: objective `cheap` cannot use the tier a (101 over 1h/5m): no burn rate of this objective exceeds 100",
        ),
    ];
    for (annotation, expected) in table {
        assert_wrong(&ratio(), &[("plimsoll.dev/alerts: none", &with(annotation), expected)]);
    }
    let sli = "kind: SLI\nmetadata: {name: a, annotations: {plimsoll.dev/alerts: none}}\nspec: {}\n";
    let wrong = parse(&format!("{}---\napiVersion: openslo/v1\n{sli}", ratio())).unwrap_err();
    let expected = [
        "`plimsoll.dev/alerts` has no meaning on the SLI",
        "an indicator takes one of `ratioMetric` and `thresholdMetric`",
    ];
    assert_eq!(messages(&wrong), expected);
}

#[test]
fn thresholds_and_slices_are_checked() {
    let field = slo(FIELD, "Occurrences", "op: lt, value: 5, target: 0.9");
    let table = [
        ("op: lt, ", "", "`op` is missing"),
        ("op: lt", "op: less", "`op`: `less` is not a comparison"),
        (", value: 5", "", "`value` is missing"),
        ("value: 5", "value: five", "`value`: `five` is not a number"),
        ("of: price", "of: shop", "`of`: `shop` is a string"),
        ("of: price", "kind: COUNT", "`kind`: `COUNT` is not a kind of metric"),
        ("of: price, ", "", "`of` is missing"),
    ];
    assert_wrong(&field, &table);
    let sliced = slo(RATIO, "Timeslices", SLICED);
    let table = [
        (", timeSliceTarget: 1", "", "`timeSliceTarget` is missing"),
        ("timeSliceTarget: 1", "timeSliceTarget: 0", "`timeSliceTarget`: every slice reaches 0"),
        (", timeSliceWindow: 1m", "", "`timeSliceWindow` is missing"),
        ("timeSliceWindow: 1m", "timeSliceWindow: 7m", "`timeSliceWindow`: slices of `7m` do not fill a day"),
        (
            "timeSliceWindow: 1m",
            "timeSliceWindow: 30s",
            "`timeSliceWindow`: `30s` is not a duration of OpenSLO",
        ),
        ("duration: 30d", "duration: 36h", ""),
        ("Timeslices", "RatioTimeslices", "`timeSliceTarget`: has no meaning with RatioTimeslices"),
        (
            "plimsoll.dev/alerts: none",
            "plimsoll.dev/alerts: a 14x 5m/30s high",
            "`plimsoll.dev/alerts`: objective `cheap` cannot use the tier a (14 over 5m/30s): its windows are not made of whole slices of 1m",
        ),
    ];
    let (right, wrong): (Vec<_>, Vec<_>) = table.into_iter().partition(|(_, _, said)| said.is_empty());
    assert_wrong(&sliced, &wrong);
    for (from, to, _) in right {
        parse(&sliced.replacen(from, to, 1)).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    let day_slices = sliced.replace("1m", "1d");
    assert_wrong(
        &day_slices,
        &[("30d", "36h", "`timeSliceWindow`: the period is not made of whole slices of 1d")],
    );
}

#[test]
fn rates_lags_and_scores_are_checked() {
    let objective = format!("op: lt, value: 5, {SLICED}");
    let lag = slo(LAG, "Timeslices", &objective);
    let table = [
        (
            "budgetingMethod: Timeslices",
            "budgetingMethod: Occurrences",
            "`timeSliceTarget`: has no meaning with Occurrences | `timeSliceWindow`: has no meaning with Occurrences | a LAG has no events to count",
        ),
        ("kind: LAG", "kind: LAG, unit: hours", "`unit`: `hours` is not a unit of lag"),
        ("value: 5", "value: 1e12", "`value` is out of range"),
        (
            "plimsoll.dev/alerts: none",
            "plimsoll.dev/group-by: shop, plimsoll.dev/group-limit: \"5\"",
            "`plimsoll.dev/group-by`: only the events of one source have groups",
        ),
    ];
    assert_wrong(&lag, &table);
    let rate = slo(RATE, "Timeslices", &objective);
    let table = [
        ("[orders]", "[order]", "`sources`: no DataSource is called `order`"),
        ("[orders]", "[orders, orders]", "`sources` names `orders` twice"),
        ("[orders]", "[]", "`sources` is empty"),
        (", sources: [orders]", "", "a RATE takes one of `metricSourceRef` and `spec.sources`"),
        (
            "timeSliceTarget: 1",
            "timeSliceTarget: 0.5",
            "a RATE is one number a slice, so none is good in part",
        ),
    ];
    assert_wrong(&rate, &table);
    let score = |rule: &str| {
        let indicator =
            format!("{{thresholdMetric: {{metricSource: {{spec: {{kind: COMPOSITE, rule: {rule}}}}}}}}}");
        messages(&parse(&slo(&indicator, "Timeslices", &objective)).unwrap_err()).join(" | ")
    };
    assert_eq!(score("health"), "`rule`: `health` does not name a rule");
    assert_eq!(score("platform/health"), "no rule is called `platform/health`");
}

#[test]
fn names_are_checked_across_documents() {
    let rule = "apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: cheap}
spec: {rules: [{name: cheap, kind: RATIO, source: orders, bad: price > 1, window: 5m, low: {above: 1%}}]}
";
    let wrong = parse(&format!("{}---\n{rule}", ratio())).unwrap_err();
    assert_eq!(messages(&wrong), ["`cheap/cheap` is also an objective of the SLO `cheap`"]);
    assert_eq!((wrong.list[0].file.as_str(), wrong.list[0].line), ("cheap.yaml", 14));
    let twice = parse(&format!("{}---\n{}---\n{SERVICE}", ratio(), ratio())).unwrap_err();
    assert_eq!(messages(&twice)[0], "a second SLO called `cheap`");
    assert!(messages(&twice).contains(&"a second Service called `shop`"), "{twice}");
    let by_name = ratio()
        .replace(&format!("indicator: {{metadata: {{name: cheap}}, spec: {RATIO}}}"), "indicatorRef: cheap");
    let sli = format!("apiVersion: openslo/v1\nkind: SLI\nmetadata: {{name: cheap}}\nspec: {RATIO}\n");
    assert_eq!(messages(&parse(&by_name).unwrap_err()), ["`indicatorRef`: no SLI is called `cheap`"]);
    let referred = parse(&format!("{by_name}---\n{sli}")).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(referred.alerts, parse(&ratio()).unwrap().alerts);
    let twice = parse(&format!("{by_name}---\n{sli}---\n{sli}")).unwrap_err();
    assert_eq!(messages(&twice), ["a second SLI called `cheap`"]);
    let words = "apiVersion: plimsoll.dev/v1
kind: Severities
metadata: {name: own}
spec: {levels: [{name: page, priority: P0, detect_within: 1m, respond_within: 5m, resolve_within: 30m}]}
";
    let standard = ratio().replace("alerts: none", "alerts: standard");
    let wrong = parse(&format!("{standard}---\n{words}")).unwrap_err();
    assert_eq!(
        messages(&wrong)[0],
        "`plimsoll.dev/alerts`: the tier `drift` is `low`, which is no word of Severities"
    );
    let two_sources = ratio().replacen("metricSourceRef: orders", "metricSourceRef: prices", 1);
    let prices = source_text("", "      []").replace("orders", "prices");
    let wrong = parse(&format!("{two_sources}---\n{prices}")).unwrap_err();
    assert_eq!(messages(&wrong), ["`good` is of `prices` and `total` of `orders`: not parts of one whole"]);
}
