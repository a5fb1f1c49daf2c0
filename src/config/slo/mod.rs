//! `SLO` documents of OpenSLO v1 -> a rule on the burn rate of each objective.

mod alerts;
mod annotations;
mod indicator;
mod objective;
pub mod tiers;
mod window;

use std::collections::{BTreeMap, BTreeSet};

pub use indicator::{Slis, sli};
pub use objective::Placed;
pub use window::nominal_s;

use annotations::{About, annotated};
use indicator::Sli;
use objective::{Budgeting, Shared, name, objective};

use super::alert::Sources;
use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::manifest::{Manifest, check_foreign};
use super::name::document_name;
use super::reader::{Mapping, list, text};
use super::service::description;
use super::yaml::{Node, Value};
use crate::core::alert::Severities;

/// What an SLO may name.
pub struct Known<'s> {
    pub sources: &'s Sources<'s>,
    pub slis: &'s Slis<'s>,
    pub services: &'s BTreeSet<&'s str>,
    pub severities: &'s Severities,
}

/// The objectives that are right; the others are noted.
pub fn slo<'n>(
    manifest: &'n Manifest<'n>,
    known: &Known<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<Placed<'n>> {
    let keys = [
        "description",
        "service",
        "indicator",
        "indicatorRef",
        "budgetingMethod",
        "timeWindow",
        "objectives",
        "alertPolicies",
    ];
    let Some(spec) = Mapping::open(manifest.spec, &keys, diagnostics) else { return Vec::new() };
    spec.optional("description", diagnostics, description);
    let service = spec.required("service", diagnostics, |node| service(node, known));
    spec.optional("alertPolicies", diagnostics, no_policies);
    let sli = slo_sli(&spec, known, diagnostics);
    let source =
        sli.as_ref().and_then(Sli::source).and_then(|name| known.sources.get(name).copied().flatten());
    let budgeting = spec.required("budgetingMethod", diagnostics, budgeting);
    let period = spec.required_node("timeWindow", diagnostics);
    let period = period.and_then(|node| window::period(node, diagnostics));
    let annotated = annotated(manifest, &About { sli: sli.as_ref(), source, budgeting }, diagnostics);
    let shared = Shared {
        slo: &manifest.name,
        service,
        labels: &manifest.labels,
        budgeting,
        period,
        sli,
        annotated,
        severities: known.severities,
    };
    objectives(&spec, &shared, diagnostics)
}

fn objectives<'n>(spec: &Mapping<'n>, shared: &Shared<'_>, diagnostics: &mut Diagnostics) -> Vec<Placed<'n>> {
    let items = spec.required("objectives", diagnostics, |node| match list(node)? {
        [] => Err(Problem::new("the list is empty", "declare at least one objective")),
        items => Ok(items),
    });
    let (mut read, mut lines) = (Vec::new(), BTreeMap::new());
    for node in items.unwrap_or_default() {
        let Some(keys) = Mapping::of_any_keys(node, diagnostics) else { continue };
        let name = keys.required("displayName", diagnostics, name);
        if let Some(name) = &name
            && let Some(first) = lines.insert(name.clone(), node.place.line)
        {
            let message = format!("the objective `{name}` is declared twice, first on line {first}");
            diagnostics
                .push(&node.place, Problem::new(message, "the name is the objective's identity; rename one"));
        }
        read.extend(
            objective(node, name, shared, diagnostics).map(|rule| Placed { rule, place: &node.place }),
        );
    }
    read
}

fn service(node: &Node, known: &Known<'_>) -> Result<String, Problem> {
    let name = text(node)?;
    match known.services.contains(name) {
        true => Ok(name.to_owned()),
        false => {
            let help = match known.services.is_empty() {
                true => "declare it: `kind: Service` of `openslo/v1`".to_owned(),
                false => suggestion(name, known.services.iter().copied()),
            };
            Err(Problem::new(format!("no Service is called `{name}`"), help))
        }
    }
}

fn no_policies(node: &Node) -> Result<(), Problem> {
    match list(node)? {
        [] => Ok(()),
        _ => Err(Problem::new(
            "alert policies are not supported: their one condition cannot hold a long and a short window",
            "remove them, and write the annotation `plimsoll.dev/alerts: standard`",
        )),
    }
}

fn budgeting(node: &Node) -> Result<Budgeting, Problem> {
    let word = text(node)?;
    Budgeting::ALL.into_iter().find(|budgeting| budgeting.word() == word).ok_or_else(|| {
        let help = suggestion(word, Budgeting::ALL.map(Budgeting::word));
        Problem::new(format!("`{word}` is not a way to budget"), help)
    })
}

/// The indicator inside the SLO, or the `SLI` document it names.
fn slo_sli(spec: &Mapping<'_>, known: &Known<'_>, diagnostics: &mut Diagnostics) -> Option<Sli> {
    match (spec.node("indicator"), spec.has("indicatorRef")) {
        (Some(node), false) => inline_sli(node, known, diagnostics),
        (None, true) => {
            let found = spec.optional("indicatorRef", diagnostics, |node| {
                let name = text(node)?;
                known.slis.get(name).ok_or_else(|| {
                    let help = suggestion(name, known.slis.keys().copied());
                    Problem::new(format!("no SLI is called `{name}`"), help)
                })
            });
            found.cloned().flatten()
        }
        // Said where they stand.
        (None, false) if has_own_indicators(spec) => None,
        (Some(_), true) | (None, false) => {
            let help = "write the indicator here, or name an SLI document";
            let problem = Problem::new("an SLO takes one of `indicator` and `indicatorRef`", help);
            diagnostics.push(spec.place, problem);
            None
        }
    }
}

/// Whether objectives bring indicators of their own, as composed SLOs do.
fn has_own_indicators(spec: &Mapping<'_>) -> bool {
    let items = spec.node("objectives").and_then(|node| list(node).ok()).unwrap_or_default();
    items.iter().any(|item| match &item.value {
        Value::Mapping(entries) => entries.iter().any(|e| e.key == "indicator" || e.key == "indicatorRef"),
        Value::Null | Value::Scalar { .. } | Value::List(_) => false,
    })
}

fn inline_sli(node: &Node, known: &Known<'_>, diagnostics: &mut Diagnostics) -> Option<Sli> {
    let keys = Mapping::open(node, &["metadata", "spec"], diagnostics)?;
    if let Some(node) = keys.required_node("metadata", diagnostics)
        && let Some(metadata) =
            Mapping::open(node, &["name", "displayName", "labels", "annotations"], diagnostics)
    {
        metadata.required("name", diagnostics, document_name);
        if let Some(node) = metadata.node("annotations") {
            check_foreign(node, "indicator", diagnostics);
        }
    }
    sli(keys.required_node("spec", diagnostics)?, known.sources, diagnostics)
}
