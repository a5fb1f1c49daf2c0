//! `Maintenance` documents.

use plimsoll::config::{Diagnostics, parse_rules};
use plimsoll::core::rules::Maintenance;
use std::collections::BTreeMap;

use super::{document, messages, source_text};

fn parse(name: &str, spec: &str) -> Result<Vec<Maintenance>, Diagnostics> {
    let head =
        |name: &str| format!("apiVersion: plimsoll.dev/v1\nkind: Maintenance\nmetadata: {{name: {name}}}\n");
    let other = head("a") + "spec: {from: 2026-01-01T00:00:00Z, to: 2026-01-02T00:00:00Z}\n";
    let text = head(name) + &format!("spec: {{{spec}}}\n");
    let rules = |service: &str| {
        let rule = "{name: a, kind: ABSENCE, source: orders, low: {above: 45s}}";
        let head = format!("apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {{name: {service}}}\n");
        head + &format!("spec: {{service: {service}, rules: [{rule}]}}\n")
    };
    let documents = [
        document("move.yaml", &text),
        document("other.yaml", &other),
        document("orders.yaml", &source_text("", "      []")),
        document("web.yaml", &rules("web")),
        document("ml.yaml", &rules("ml")),
    ];
    parse_rules(&documents).map(|rules| rules.maintenance)
}

const RIGHT: &str =
    "from: 2026-03-01T23:00:00+01:00, to: 2026-03-01T22:30:00Z, services: [web, ml], labels: {region: eu}";

#[test]
fn maintenance_is_a_stretch_of_time_for_some_services() {
    let read = parse("move", RIGHT).unwrap_or_else(|wrong| panic!("{wrong}"));
    let from_s = 1_772_402_400;
    let expected = Maintenance {
        name: "move".into(),
        from_s,
        to_s: from_s + 1_800,
        services: vec!["web".into(), "ml".into()],
        labels: BTreeMap::from([("region".into(), "eu".into())]),
    };
    assert_eq!(read[1], expected);
    assert_eq!((read[0].name.as_str(), read[0].services.len(), read[0].labels.len()), ("a", 0, 0));
}

#[test]
fn wrong_maintenance_is_explained() {
    let table = [
        ("to: 2026-03-01T22:30:00Z", "to: 2026-03-01T22:00:00Z", "`to` is the same as `from`"),
        ("to: 2026-03-01T22:30:00Z", "to: 2026-03-01T21:00:00Z", "`to` is before `from`"),
        ("to: 2026-03-01T22:30:00Z, ", "", "`to` is missing"),
        (":30:00Z", ":30:00", "`to`: `2026-03-01T22:30:00` is not a time of RFC 3339"),
        (":30:00Z", ":30:00.5Z", "`to`: `2026-03-01T22:30:00.5Z` is not a whole second"),
        ("to: 2026-03-01T22:30:00Z", "to: 5", "`to`: a text is wanted, found 5"),
        ("services: [web, ml]", "services: []", "`services`: the list is empty"),
        ("services: [web, ml]", "services: [web, web]", "`services`: `web` is named twice"),
        ("services: [web, ml]", "services: [web, mll]", "`services`: no rule is about a service `mll`"),
        ("services: [web, ml]", "service: web", "`service` is not a key here"),
        ("labels: {region: eu}", "labels: {region: 5}", "`region`: a text is wanted, found 5"),
    ];
    for (from, to, expected) in table {
        assert!(RIGHT.contains(from));
        let wrong = parse("move", &RIGHT.replace(from, to)).expect_err(expected);
        assert_eq!(messages(&wrong), [expected]);
    }
    let wrong = parse("a", RIGHT).unwrap_err();
    assert_eq!(messages(&wrong), ["a second Maintenance called `a`"]);
}
