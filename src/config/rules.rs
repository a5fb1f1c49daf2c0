//! All manifests together -> the rules, with the checks that span documents.

use std::collections::{BTreeMap, BTreeSet};

use super::alert::{Sources, alert_rules};
use super::diagnostic::{Diagnostics, Place, Problem, suggestion};
use super::kind::RULE_KEYS;
use super::maintenance::maintenance;
use super::manifest::{self, Kind, Manifest};
use super::reference::Objectives;
use super::service::service;
use super::settings::TopicSettings;
use super::settings_file::own_topics;
use super::severity::{default_severities, severities};
use super::slo::{Known, Placed, Slis, sli, slo};
use super::source::{Declared, source};
use super::yaml::Node;
use crate::core::alert::{AlertRule, RuleKind, Severities};
use crate::core::objective::Indicator;
use crate::core::rules::{Rules, Service};

/// The rules made of `nodes`, one a document. None, and noted, when something is wrong.
pub fn rules(nodes: &[Node], topics: Option<&TopicSettings>, diagnostics: &mut Diagnostics) -> Option<Rules> {
    let mistakes_before = diagnostics.list.len();
    let manifests: Vec<Manifest<'_>> =
        nodes.iter().filter_map(|node| manifest::manifest(node, diagnostics)).collect();
    check_names(&manifests, diagnostics);
    let of = |kind: Kind| manifests.iter().filter(move |manifest| manifest.kind == kind);
    let declared: Vec<_> = of(Kind::DataSource).map(|d| (d.name.as_str(), source(d, diagnostics))).collect();
    check_tables_and_topics(
        declared.iter().filter_map(|(_, declared)| declared.as_ref()),
        topics,
        diagnostics,
    );
    let mut words = of(Kind::Severities);
    let severities = match words.next() {
        Some(manifest) => severities(manifest, &RULE_KEYS.map(|(key, _)| key), diagnostics),
        None => default_severities(),
    };
    if let Some(second) = words.next() {
        let problem = Problem::new("a second Severities document", "keep one: its words hold for every rule");
        diagnostics.push(second.place, problem);
    }
    let by_name: Sources<'_> =
        declared.iter().map(|(name, declared)| (*name, declared.as_ref().map(|d| &d.source))).collect();
    let mut services: Vec<_> = of(Kind::Service).map(|d| service(d, diagnostics)).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let placed = objectives(&manifests, &by_name, &services, &severities, diagnostics);
    let mistakes_before_alerts = diagnostics.list.len();
    let is_read = |slo: &str| placed.iter().any(|placed| placed.rule.document == slo);
    let unreadable = of(Kind::Slo).filter(|d| !is_read(&d.name)).map(|d| d.name.clone()).collect();
    let objectives =
        Objectives { rules: placed.iter().map(|placed| placed.rule.clone()).collect(), unreadable };
    let mut alerts = alert_rules(of(Kind::AlertRules), &by_name, &severities, objectives, diagnostics);
    let alerts_are_whole = diagnostics.list.len() == mistakes_before_alerts;
    check_scores(&placed, &alerts, alerts_are_whole, diagnostics);
    // A rule that could not be read may be about any service.
    let of_rules = alerts.iter().filter_map(|rule| rule.service.as_deref());
    let known: Option<BTreeSet<&str>> = (diagnostics.list.len() == mistakes_before)
        .then(|| of_rules.chain(services.iter().map(|service| service.name.as_str())).collect());
    let mut maintenance: Vec<_> =
        of(Kind::Maintenance).filter_map(|d| maintenance(d, known.as_ref(), diagnostics)).collect();
    if diagnostics.list.len() > mistakes_before {
        return None;
    }
    let mut sources: Vec<_> = declared.into_iter().filter_map(|(_, d)| d.map(|d| d.source)).collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    alerts.sort_by(|a, b| (&a.document, &a.name).cmp(&(&b.document, &b.name)));
    maintenance.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Rules { sources, alerts, severities, services, maintenance })
}

/// Those of all SLOs that are right; the others are noted.
fn objectives<'m>(
    manifests: &'m [Manifest<'m>],
    sources: &'m Sources<'m>,
    services: &[Service],
    severities: &'m Severities,
    diagnostics: &mut Diagnostics,
) -> Vec<Placed<'m>> {
    let of = |kind: Kind| manifests.iter().filter(move |manifest| manifest.kind == kind);
    let slis: Slis<'_> =
        of(Kind::Sli).map(|d| (d.name.as_str(), sli(d.spec, sources, diagnostics))).collect();
    let services = services.iter().map(|service| service.name.as_str()).collect();
    let known = Known { sources, slis: &slis, services: &services, severities };
    of(Kind::Slo).flat_map(|d| slo(d, &known, diagnostics)).collect()
}

/// An objective may be about the score of a COMPOSITE alone. `alerts_are_whole`: no rule is missing for mistakes of its
/// own.
fn check_scores(
    objectives: &[Placed<'_>],
    alerts: &[AlertRule],
    alerts_are_whole: bool,
    diagnostics: &mut Diagnostics,
) {
    for Placed { rule, place } in objectives {
        let find = |full_name: &str| alerts.iter().find(|other| other.full_name() == full_name);
        let Some(Indicator::Composite { rule: scored, .. }) = rule.objective.as_ref().map(|o| &o.indicator)
        else {
            continue;
        };
        let problem = match find(scored).map(|scored| &scored.kind) {
            Some(RuleKind::Composite(_)) => continue,
            None if !alerts_are_whole => continue,
            Some(kind) => {
                let message = format!("`{scored}` is a {}: only a COMPOSITE has a score", kind.name());
                Problem::new(message, "name a COMPOSITE")
            }
            None => {
                let names: Vec<String> = alerts.iter().map(AlertRule::full_name).collect();
                let help = suggestion(scored, names.iter().map(String::as_str));
                Problem::new(format!("no rule is called `{scored}`"), help)
            }
        };
        diagnostics.push(place, problem);
    }
}

fn check_names(manifests: &[Manifest<'_>], diagnostics: &mut Diagnostics) {
    let mut first_places = BTreeMap::new();
    for manifest in manifests {
        if let Some(first) = first_places.insert((manifest.kind, &manifest.name), manifest.place) {
            let message = format!("a second {} called `{}`", manifest.kind.name(), manifest.name);
            diagnostics.push(manifest.place, Problem::new(message, other_place(first)));
        }
    }
}

fn check_tables_and_topics<'d>(
    declared: impl Iterator<Item = &'d Declared<'d>>,
    topics: Option<&TopicSettings>,
    diagnostics: &mut Diagnostics,
) {
    let own: Vec<String> =
        topics.map_or(Vec::new(), |topics| own_topics(topics).map(|name| topics.full_name(name)).to_vec());
    let (mut tables, mut inputs) = (BTreeMap::new(), BTreeMap::new());
    let mut outputs = Vec::new();
    for Declared { source, topic_place, table_places } in declared {
        // A topic that could not be read is empty, and noted already.
        if !source.topic.is_empty()
            && let Some(first) = inputs.insert(source.topic.clone(), *topic_place)
        {
            let message = format!("a second source of the topic `{}`", source.topic);
            diagnostics.push(topic_place, Problem::new(message, other_place(first)));
        }
        for (rollup, place) in source.rollups.iter().zip(table_places) {
            if let Some(first) = tables.insert(&rollup.table, *place) {
                let message = format!("a second table called `{}`", rollup.table);
                diagnostics.push(place, Problem::new(message, other_place(first)));
            }
            outputs.extend(topics.map(|topics| topics.full_name(&rollup.topic())));
        }
    }
    for (topic, place) in inputs {
        if own.contains(&topic) || outputs.contains(&topic) {
            let message = format!("Plimsoll itself writes the topic `{topic}`");
            let help = "read another topic, or rename Plimsoll's own under `topics`";
            diagnostics.push(place, Problem::new(message, help));
        }
    }
}

fn other_place(first: &Place) -> String {
    format!("the first is at {}:{}; rename or remove one", first.file, first.line)
}
