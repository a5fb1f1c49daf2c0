//! `AlertRules` documents -> alert rules.

use std::collections::BTreeMap;

use super::condition::condition;
use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::field::{Use, slot};
use super::level::{Judging, levels};
use super::manifest::Manifest;
use super::name::document_name;
use super::quantity::duration_s;
use super::reader::{Mapping, count, list, owned_text, text, texts};
use super::yaml::Node;
use crate::core::alert::{AlertRule, Feed, RuleKind, Severities};
use crate::core::expr::Condition;
use crate::core::source::{Slot, Source};

/// What a rule may say, besides the levels.
pub const RULE_KEYS: [&str; 15] = [
    "name",
    "kind",
    "source",
    "where",
    "bad",
    "good",
    "window",
    "for",
    "hold",
    "min_events",
    "group_by",
    "group_limit",
    "labels",
    "runbook",
    "summary",
];
const SUPPORTED_KINDS: &str = "RATIO";
const DEFAULT_HOLD_S: i64 = 5 * 60;
const MAX_HOLD_S: i64 = 7 * 24 * 60 * 60;
/// How far back late events correct breaches, and how long an unknown value keeps an episode open.
const CORRECT_WITHIN_S: i64 = 15 * 60;
const NO_DATA_AFTER_S: i64 = 15 * 60;
const MAX_GROUPS: u32 = 100_000;
const MAX_GROUP_COLUMNS: usize = 16;
const MAX_SUMMARY_BYTES: usize = 500;

/// Sources by name. None: declared, but with mistakes of its own, so nothing is said about its fields.
pub type Sources<'s> = BTreeMap<&'s str, Option<&'s Source>>;

/// What the rules of a document share.
struct Shared<'s> {
    document: &'s str,
    service: Option<String>,
    labels: BTreeMap<String, String>,
    source: Option<&'s Node>,
    hold_s: i64,
    runbook: Option<String>,
    judging: Judging,
    sources: &'s Sources<'s>,
    severities: &'s Severities,
}

/// The rules that are right; the others are noted.
pub fn alert_rules(
    manifest: &Manifest<'_>,
    sources: &Sources<'_>,
    severities: &Severities,
    diagnostics: &mut Diagnostics,
) -> Vec<AlertRule> {
    let known = ["service", "description", "defaults", "rules"];
    let Some(spec) = Mapping::open(manifest.spec, &known, diagnostics) else { return Vec::new() };
    spec.optional("description", diagnostics, text);
    let mut shared = Shared {
        document: &manifest.name,
        service: spec.optional("service", diagnostics, owned_text),
        labels: manifest.labels.clone(),
        source: None,
        hold_s: DEFAULT_HOLD_S,
        runbook: None,
        judging: Judging { window_s: None, for_s: 0, min_events: 0 },
        sources,
        severities,
    };
    if let Some(node) = spec.node("defaults") {
        defaults(node, &mut shared, diagnostics);
    }
    let rules = spec.required("rules", diagnostics, |node| match list(node)? {
        [] => Err(Problem::new("the list is empty", "declare at least one rule, or remove the document")),
        rules => Ok(rules),
    });
    let mut read: Vec<AlertRule> = Vec::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for node in rules.unwrap_or_default() {
        let Some(keys) = Mapping::of_any_keys(node, diagnostics) else { continue };
        let name = keys.required("name", diagnostics, document_name);
        if let Some(name) = &name
            && let Some(first) = lines.insert(name.clone(), node.place.line)
        {
            let message = format!("the rule `{name}` is declared twice, first on line {first}");
            diagnostics
                .push(&node.place, Problem::new(message, "the name is the rule's identity; rename one"));
        }
        read.extend(rule(node, name, &shared, diagnostics));
    }
    read
}

fn defaults<'s>(node: &'s Node, shared: &mut Shared<'s>, diagnostics: &mut Diagnostics) {
    let known = ["source", "window", "for", "hold", "min_events", "labels", "runbook"];
    let Some(keys) = Mapping::open(node, &known, diagnostics) else { return };
    shared.source = keys.node("source");
    shared.judging.read(&keys, diagnostics);
    keys.set("hold", &mut shared.hold_s, diagnostics, duration_s(0..=MAX_HOLD_S));
    if let Some(node) = keys.node("labels") {
        shared.labels.extend(texts(node, diagnostics));
    }
    shared.runbook = keys.optional("runbook", diagnostics, runbook);
}

fn rule(
    node: &Node,
    name: Option<String>,
    shared: &Shared<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<AlertRule> {
    // The kind says which keys have a meaning, so nothing else is said of a rule of another kind.
    Mapping::of_any_keys(node, diagnostics)?.required("kind", diagnostics, kind)?;
    let words = shared.severities.levels.iter().map(|level| level.name.as_str());
    let known: Vec<&str> = RULE_KEYS.into_iter().chain(words).collect();
    let keys = Mapping::open(node, &known, diagnostics)?;
    let source = source(&keys, shared, diagnostics);
    let fields = source.flatten();
    let kind = ratio(&keys, fields, diagnostics);
    let group = group(&keys, fields, diagnostics);
    let mut labels = shared.labels.clone();
    if let Some(node) = keys.node("labels") {
        labels.extend(texts(node, diagnostics));
    }
    let mut hold_s = shared.hold_s;
    keys.set("hold", &mut hold_s, diagnostics, duration_s(0..=MAX_HOLD_S));
    let mut judging = shared.judging;
    judging.read(&keys, diagnostics);
    let levels = levels(&keys, judging, shared.severities, diagnostics);
    let runbook = keys.optional("runbook", diagnostics, runbook).or_else(|| shared.runbook.clone());
    let source = fields?;
    let (filter, bad) = kind?;
    let (group_by, group_limit) = group?;
    let group_names: Vec<&str> = group_by.iter().map(|&slot| source.fields[slot].name.as_str()).collect();
    if let Some(name) = group_names.iter().find(|name| labels.contains_key(**name)) {
        let message = format!("the label `{name}` is also a field of `group_by`");
        diagnostics.push(keys.place, Problem::new(message, "give the label another name"));
    }
    let summary = keys.optional("summary", diagnostics, |node| summary(text(node)?, &group_names));
    Some(AlertRule {
        document: shared.document.to_owned(),
        name: name?,
        service: shared.service.clone(),
        kind: RuleKind::Ratio,
        feeds: vec![Feed { source: source.name.clone(), group_by, filter, bad }],
        group_limit,
        hold_s,
        no_data_after_s: NO_DATA_AFTER_S,
        correct_within_s: CORRECT_WITHIN_S,
        levels: levels?,
        labels,
        runbook,
        summary,
        objective: None,
    })
}

fn kind(node: &Node) -> Result<(), Problem> {
    match text(node)? {
        "RATIO" => Ok(()),
        "QUANTILE" | "COUNT" | "RATE" | "ABSENCE" | "FRESHNESS" | "LAG" | "BUDGET" | "BURN_RATE"
        | "COMPOSITE" => {
            let message = format!("kind {} is not supported yet; supported: {SUPPORTED_KINDS}", text(node)?);
            Err(Problem::new(message, "remove the rule, or write it as a RATIO of bad events"))
        }
        other => {
            let message = format!("`{other}` is not a kind of rule");
            Err(Problem::new(message, format!("supported: {SUPPORTED_KINDS}")))
        }
    }
}

/// Some(None): the source is declared, with mistakes of its own.
fn source<'s>(
    keys: &Mapping<'_>,
    shared: &Shared<'s>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<&'s Source>> {
    let Some(node) = keys.node("source").or(shared.source) else {
        let help = "name a DataSource here or under `defaults`";
        diagnostics.push(keys.place, Problem::new("`source` is missing", help));
        return None;
    };
    let found = text(node).and_then(|name| {
        shared.sources.get(name).copied().ok_or_else(|| {
            let help = suggestion(name, shared.sources.keys().copied());
            Problem::new(format!("no DataSource is called `{name}`"), help)
        })
    });
    diagnostics.accept(&node.place, found)
}

fn ratio(
    keys: &Mapping<'_>,
    source: Option<&Source>,
    diagnostics: &mut Diagnostics,
) -> Option<(Condition, Condition)> {
    if keys.has("bad") == keys.has("good") {
        let help = "write which events are bad, or which are good, but not both";
        diagnostics.push(keys.place, Problem::new("a RATIO takes one of `bad` and `good`", help));
        return None;
    }
    let fields = &source?.fields;
    let mut read = |key: &str| keys.optional(key, diagnostics, |node| condition(text(node)?, fields));
    let filter = if keys.has("where") { read("where") } else { Some(Condition::True) };
    let bad = match keys.has("bad") {
        true => read("bad"),
        false => read("good").map(|good| Condition::Not(Box::new(good))),
    };
    Some((filter?, bad?))
}

/// The fields and the limit of the groups.
fn group(
    keys: &Mapping<'_>,
    source: Option<&Source>,
    diagnostics: &mut Diagnostics,
) -> Option<(Vec<Slot>, u32)> {
    match (keys.node("group_by"), keys.has("group_limit")) {
        (None, false) => return Some((Vec::new(), 1)),
        (None, true) => {
            let problem =
                Problem::new("`group_limit` without `group_by` has no meaning", "add `group_by: [..]`");
            diagnostics.push(keys.place, problem);
            return None;
        }
        (Some(node), false) => {
            let help = "add `group_limit: 500`: the groups a shard keeps; more fold into _OTHER";
            diagnostics.push(&node.place, Problem::new("`group_by` wants a `group_limit`", help));
        }
        (Some(_), true) => {}
    }
    let limit = keys.optional("group_limit", diagnostics, count(1..=MAX_GROUPS));
    let fields = &source?.fields;
    let slots = keys.optional("group_by", diagnostics, |node| {
        let items = list(node)?;
        if items.is_empty() || items.len() > MAX_GROUP_COLUMNS {
            let help = format!("name 1 to {MAX_GROUP_COLUMNS} fields, or leave the key out");
            return Err(Problem::new("the list is empty or too long", help));
        }
        let mut slots: Vec<Slot> = Vec::new();
        for item in items {
            let slot = slot(text(item)?, fields, Use::Label)?;
            if slots.contains(&slot) {
                let message = format!("`{}` is named twice", fields[slot].name);
                return Err(Problem::new(message, "name each field once"));
            }
            slots.push(slot);
        }
        Ok(slots)
    });
    Some((slots?, limit?))
}

pub fn runbook(node: &Node) -> Result<String, Problem> {
    match text(node)? {
        url if url.starts_with("https://") || url.starts_with("http://") => Ok(url.to_owned()),
        other => Err(Problem::new(format!("`{other}` is not a link"), "write it with https://")),
    }
}

/// A text whose placeholders all have a meaning.
pub fn summary(template: &str, group: &[&str]) -> Result<String, Problem> {
    const PLACEHOLDERS: [&str; 4] = ["value", "window", "level", "rule"];
    if template.len() > MAX_SUMMARY_BYTES {
        let message = format!("longer than {MAX_SUMMARY_BYTES} bytes");
        return Err(Problem::new(message, "say more in the runbook"));
    }
    let known: Vec<&str> = PLACEHOLDERS.iter().chain(group).copied().collect();
    for part in template.split('{').skip(1) {
        let Some((placeholder, _)) = part.split_once('}') else {
            return Err(Problem::new("a `{` has no `}`", "write placeholders like `{value}`"));
        };
        if !known.contains(&placeholder) {
            let message = format!("`{{{placeholder}}}` is not a placeholder");
            return Err(Problem::new(message, suggestion(placeholder, known)));
        }
    }
    Ok(template.to_owned())
}
