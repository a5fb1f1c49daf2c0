//! `AlertRules` documents -> alert rules.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostics, Problem};
use super::kind::{NativeKind, native_kind};
use super::level::Judging;
use super::manifest::Manifest;
use super::name::document_name;
use super::reader::{Mapping, list, owned_text, text, texts};
use super::reference::{Known, Objectives};
use super::rule::{Spans, rule, runbook};
use super::yaml::Node;
use crate::core::alert::{AlertRule, Severities};
use crate::core::source::Source;

/// Sources by name. None: declared, but with mistakes of its own, so nothing is said about its fields.
pub type Sources<'s> = BTreeMap<&'s str, Option<&'s Source>>;

/// What the rules of a document share.
pub struct Shared<'s> {
    pub document: &'s str,
    pub service: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub source: Option<&'s Node>,
    pub runbook: Option<String>,
    pub spans: Spans,
    pub judging: Judging,
}

/// What rules are read against.
#[derive(Clone, Copy)]
pub struct Surrounding<'s> {
    pub sources: &'s Sources<'s>,
    pub severities: &'s Severities,
    pub known: &'s Known,
}

/// A document whose rules are not read yet.
struct Opened<'n> {
    shared: Shared<'n>,
    rules: Vec<Named<'n>>,
}

/// A rule as others see it: its name and kind. None, and noted, where these are wrong.
struct Named<'n> {
    node: &'n Node,
    name: Option<String>,
    kind: Option<NativeKind>,
}

/// The rules that are right, and the objectives; what is wrong is noted.
pub fn alert_rules<'n>(
    manifests: impl Iterator<Item = &'n Manifest<'n>>,
    sources: &Sources<'_>,
    severities: &Severities,
    objectives: Objectives,
    diagnostics: &mut Diagnostics,
) -> Vec<AlertRule> {
    let documents: Vec<Opened<'n>> = manifests.filter_map(|manifest| open(manifest, diagnostics)).collect();
    let mut known = Known::new(objectives);
    for Opened { shared, rules } in &documents {
        for Named { node, name, kind } in rules {
            let Some(name) = name else { continue };
            diagnostics.accept(&node.place, known.declare(shared.document, name, *kind));
        }
    }
    // A BUDGET names an objective, and a COMPOSITE any rule but its like, so what they name is read before.
    let turn = |kind: NativeKind| match kind {
        NativeKind::Composite => 2,
        NativeKind::Budget => 1,
        _ => 0,
    };
    for now in 0..=2 {
        let mut read = Vec::new();
        for Opened { shared, rules } in &documents {
            for Named { node, name, kind } in rules {
                let Some(kind) = kind.filter(|kind| turn(*kind) == now) else { continue };
                let around = Surrounding { sources, severities, known: &known };
                read.extend(rule(node, name.as_deref(), kind, shared, around, diagnostics));
            }
        }
        read.into_iter().for_each(|rule| known.add(rule));
    }
    known.into_rules()
}

fn open<'n>(manifest: &'n Manifest<'n>, diagnostics: &mut Diagnostics) -> Option<Opened<'n>> {
    let known = ["service", "description", "defaults", "rules"];
    let spec = Mapping::open(manifest.spec, &known, diagnostics)?;
    spec.optional("description", diagnostics, text);
    let mut shared = Shared {
        document: &manifest.name,
        service: spec.optional("service", diagnostics, owned_text),
        labels: manifest.labels.clone(),
        source: None,
        runbook: None,
        spans: Spans::DEFAULT,
        judging: Judging::default(),
    };
    if let Some(node) = spec.node("defaults") {
        defaults(node, &mut shared, diagnostics);
    }
    let nodes = spec.required("rules", diagnostics, |node| match list(node)? {
        [] => Err(Problem::new("the list is empty", "declare at least one rule, or remove the document")),
        rules => Ok(rules),
    });
    let mut rules = Vec::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for node in nodes.unwrap_or_default() {
        let Some(keys) = Mapping::of_any_keys(node, diagnostics) else { continue };
        let name = keys.required("name", diagnostics, document_name);
        if let Some(name) = &name
            && let Some(first) = lines.insert(name.clone(), node.place.line)
        {
            let message = format!("the rule `{name}` is declared twice, first on line {first}");
            diagnostics
                .push(&node.place, Problem::new(message, "the name is the rule's identity; rename one"));
        }
        // The kind says which keys have a meaning, so without one nothing else is said of the rule.
        let kind = keys.required("kind", diagnostics, native_kind);
        rules.push(Named { node, name, kind });
    }
    Some(Opened { shared, rules })
}

fn defaults<'s>(node: &'s Node, shared: &mut Shared<'s>, diagnostics: &mut Diagnostics) {
    let known = [
        "source",
        "window",
        "for",
        "hold",
        "no_data_after",
        "correct_within",
        "min_events",
        "min_bad",
        "labels",
        "runbook",
    ];
    let Some(keys) = Mapping::open(node, &known, diagnostics) else { return };
    shared.source = keys.node("source");
    shared.judging.read(&keys, diagnostics);
    shared.spans.read(&keys, diagnostics);
    if let Some(node) = keys.node("labels") {
        shared.labels.extend(texts(node, diagnostics));
    }
    shared.runbook = keys.optional("runbook", diagnostics, runbook);
}
