//! Indicators: `SLI` documents and those inside an SLO. What is measured, before any objective says how good is good.

use std::collections::BTreeMap;

use crate::config::alert::Sources;
use crate::config::condition::condition;
use crate::config::diagnostic::{Diagnostics, Problem, suggestion};
use crate::config::field::{Use, slot};
use crate::config::reader::{Mapping, boolean, list, owned_text, text};
use crate::config::service::description;
use crate::config::yaml::Node;
use crate::core::alert::{Feed, Lag, LagUnit};
use crate::core::expr::{Atom, Condition};
use crate::core::source::{Slot, Source};

/// By name. None: declared, but with mistakes of its own.
pub type Slis<'n> = BTreeMap<&'n str, Option<Sli>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sli {
    /// Good and bad events by conditions.
    Ratio {
        source: String,
        filter: Condition,
        bad: Condition,
    },
    /// Events whose field compares with an objective's value.
    Field {
        source: String,
        filter: Condition,
        slot: Slot,
        scale: u8,
    },
    Rate {
        feeds: Vec<Feed>,
    },
    Lag {
        source: String,
        lag: Lag,
    },
    /// The score of the rule `document/rule`.
    Composite {
        rule: String,
    },
}

impl Sli {
    /// The source whose events are told apart; None for what is measured in slices.
    pub fn source(&self) -> Option<&str> {
        match self {
            Sli::Ratio { source, .. } | Sli::Field { source, .. } => Some(source),
            Sli::Rate { .. } | Sli::Lag { .. } | Sli::Composite { .. } => None,
        }
    }
}

/// The spec of an indicator. None, and noted, when something is wrong.
pub fn sli(spec: &Node, sources: &Sources<'_>, diagnostics: &mut Diagnostics) -> Option<Sli> {
    let keys = Mapping::open(spec, &["description", "ratioMetric", "thresholdMetric"], diagnostics)?;
    keys.optional("description", diagnostics, description);
    match (keys.node("ratioMetric"), keys.node("thresholdMetric")) {
        (Some(node), None) => ratio(node, sources, diagnostics),
        (None, Some(node)) => threshold(node, sources, diagnostics),
        (Some(_), Some(_)) | (None, None) => {
            let help = "write a ratio of events, or a metric that objectives compare with a value";
            let message = "an indicator takes one of `ratioMetric` and `thresholdMetric`";
            diagnostics.push(keys.place, Problem::new(message, help));
            None
        }
    }
}

fn ratio(node: &Node, sources: &Sources<'_>, diagnostics: &mut Diagnostics) -> Option<Sli> {
    let keys = Mapping::open(node, &["counter", "good", "bad", "total", "raw", "rawType"], diagnostics)?;
    keys.optional("counter", diagnostics, |node| match boolean(node)? {
        false => Ok(()),
        true => {
            let message = "events are counted one by one; there is no growing counter to take differences of";
            Err(Problem::new(message, "write `counter: false`"))
        }
    });
    for key in ["raw", "rawType"] {
        keys.optional(key, diagnostics, |_| -> Result<(), Problem> {
            let help = "write `good` or `bad`, and `total`, as conditions on events";
            Err(Problem::new("a ratio that was computed elsewhere cannot be counted exactly", help))
        });
    }
    if keys.has("raw") || keys.has("rawType") {
        return None;
    }
    let numerator = match (keys.has("good"), keys.has("bad")) {
        (true, false) => "good",
        (false, true) => "bad",
        _ => {
            let help = "say which events are good, or which are bad, but not both";
            diagnostics.push(keys.place, Problem::new("a ratio takes one of `good` and `bad`", help));
            return None;
        }
    };
    let part = counted(keys.node(numerator)?, sources, diagnostics);
    let total = counted(keys.required_node("total", diagnostics)?, sources, diagnostics);
    let ((part_source, part), (source, filter)) = (part?, total?);
    if part_source != source {
        let message =
            format!("`{numerator}` is of `{part_source}` and `total` of `{source}`: not parts of one whole");
        diagnostics.push(keys.place, Problem::new(message, "name one `metricSourceRef` in both"));
        return None;
    }
    let bad = if numerator == "bad" { part } else { Condition::Not(Box::new(part)) };
    Some(Sli::Ratio { source, filter, bad })
}

/// One part of a ratio: a source and the events of it that count.
fn counted(node: &Node, sources: &Sources<'_>, diagnostics: &mut Diagnostics) -> Option<(String, Condition)> {
    let metric = metric(node, diagnostics)?;
    let source = source(&metric, sources, diagnostics);
    let spec = Mapping::open(metric.required_node("spec", diagnostics)?, &["where"], diagnostics)?;
    if !spec.has("where") {
        let help = "add `where: \"status < 500\"`, or `where: \"true\"` for every event";
        diagnostics.push(spec.place, Problem::new("`where` is missing", help));
        return None;
    }
    let source = source??;
    let filter = spec.optional("where", diagnostics, |node| condition(text(node)?, &source.fields));
    Some((source.name.clone(), filter?))
}

fn threshold(node: &Node, sources: &Sources<'_>, diagnostics: &mut Diagnostics) -> Option<Sli> {
    let metric = metric(node, diagnostics)?;
    let spec = metric.required_node("spec", diagnostics)?;
    let kind = Mapping::of_any_keys(spec, diagnostics)?.optional("kind", diagnostics, |node| {
        let word = text(node)?;
        let known = ["RATE", "LAG", "COMPOSITE"];
        known
            .into_iter()
            .find(|kind| *kind == word)
            .ok_or_else(|| Problem::new(format!("`{word}` is not a kind of metric"), suggestion(word, known)))
    });
    match kind {
        Some("RATE") => rate(&metric, spec, sources, diagnostics),
        Some("LAG") => lag(&metric, spec, sources, diagnostics),
        Some(_) => composite(&metric, spec, diagnostics),
        None => field(&metric, spec, sources, diagnostics),
    }
}

fn field(
    metric: &Mapping<'_>,
    spec: &Node,
    sources: &Sources<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Sli> {
    // A `kind` that is there but wrong has been noted.
    let keys = Mapping::open(spec, &["kind", "of", "where"], diagnostics)?;
    let source = source(metric, sources, diagnostics);
    if !keys.has("of") && !keys.has("kind") {
        let help = "name a field, `of: duration`, or write `kind: RATE`, LAG or COMPOSITE";
        diagnostics.push(keys.place, Problem::new("`of` is missing", help));
    }
    let source = source??;
    let slot = keys.optional("of", diagnostics, |node| slot(text(node)?, &source.fields, Use::Number));
    let filter = filter(&keys, source, diagnostics)?;
    let slot = slot?;
    // An event without the value is neither good nor bad.
    let filter = match (source.fields[slot].optional, filter) {
        (false, filter) => filter,
        (true, Condition::True) => Condition::Atom(Atom::Has(slot)),
        (true, filter) => Condition::And(vec![filter, Condition::Atom(Atom::Has(slot))]),
    };
    Some(Sli::Field { source: source.name.clone(), filter, slot, scale: source.fields[slot].scale() })
}

fn rate(
    metric: &Mapping<'_>,
    spec: &Node,
    sources: &Sources<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Sli> {
    let keys = Mapping::open(spec, &["kind", "sources", "where"], diagnostics)?;
    let counted: Vec<Option<&Source>> = match (metric.has("metricSourceRef"), keys.node("sources")) {
        (true, None) => vec![source(metric, sources, diagnostics)?],
        (false, Some(node)) => {
            let names = list(node).map_err(|problem| problem.of_key("sources"));
            let names = diagnostics.accept(&node.place, names)?;
            let found = names.iter().map(|item| {
                let found = find(item, sources).map_err(|problem| problem.of_key("sources"));
                diagnostics.accept(&item.place, found)
            });
            found.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?
        }
        (true, Some(_)) | (false, None) => {
            let help = "name one source, or write `sources: [a, b]` to count several together";
            let message = "a RATE takes one of `metricSourceRef` and `spec.sources`";
            diagnostics.push(keys.place, Problem::new(message, help));
            return None;
        }
    };
    let mut feeds: Vec<Feed> = Vec::new();
    for source in counted {
        let source = source?;
        if feeds.iter().any(|feed| feed.source == source.name) {
            let message = format!("`sources` names `{}` twice", source.name);
            diagnostics.push(keys.place, Problem::new(message, "name each source once"));
        }
        let filter = filter(&keys, source, diagnostics)?;
        feeds.push(Feed {
            source: source.name.clone(),
            group_by: Vec::new(),
            filter,
            bad: Condition::never(),
        });
    }
    if feeds.is_empty() {
        let problem = Problem::new("`sources` is empty", "name at least one DataSource");
        diagnostics.push(keys.place, problem);
        return None;
    }
    Some(Sli::Rate { feeds })
}

fn lag(
    metric: &Mapping<'_>,
    spec: &Node,
    sources: &Sources<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Sli> {
    let keys = Mapping::open(spec, &["kind", "consumer_group", "unit"], diagnostics)?;
    let source = source(metric, sources, diagnostics);
    let consumer_group = match keys.has("consumer_group") {
        true => Some(keys.optional("consumer_group", diagnostics, owned_text)?),
        false => None,
    };
    let unit = match keys.has("unit") {
        true => keys.optional("unit", diagnostics, |node| match text(node)? {
            "s" => Ok(LagUnit::Seconds),
            "messages" => Ok(LagUnit::Messages),
            other => Err(Problem::new(format!("`{other}` is not a unit of lag"), "write `s` or `messages`")),
        })?,
        false => LagUnit::Seconds,
    };
    let source = source??.name.clone();
    Some(Sli::Lag { source, lag: Lag { consumer_group, unit } })
}

fn composite(metric: &Mapping<'_>, spec: &Node, diagnostics: &mut Diagnostics) -> Option<Sli> {
    let keys = Mapping::open(spec, &["kind", "rule"], diagnostics)?;
    metric.optional("metricSourceRef", diagnostics, |_| -> Result<(), Problem> {
        Err(Problem::new("a COMPOSITE is made of a rule, not of a source", "remove the line"))
    });
    let rule = keys.required("rule", diagnostics, |node| match text(node)? {
        rule if rule.split('/').count() == 2 => Ok(rule.to_owned()),
        other => Err(Problem::new(
            format!("`{other}` does not name a rule"),
            "write the document and the rule, as in `platform/health`",
        )),
    });
    Some(Sli::Composite { rule: rule? })
}

/// `where` over a source; everything when there is none.
fn filter(keys: &Mapping<'_>, source: &Source, diagnostics: &mut Diagnostics) -> Option<Condition> {
    match keys.has("where") {
        true => keys.optional("where", diagnostics, |node| condition(text(node)?, &source.fields)),
        false => Some(Condition::True),
    }
}

/// What stands under `metricSource`. None, and noted, when it is of another system: nothing in it would be ours.
fn metric<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<Mapping<'n>> {
    let outer = Mapping::open(node, &["metricSource"], diagnostics)?;
    let inner = outer.required_node("metricSource", diagnostics)?;
    let keys = Mapping::open(inner, &["metricSourceRef", "type", "spec"], diagnostics)?;
    if keys.has("type") {
        keys.optional("type", diagnostics, |node| match text(node)? {
            "KafkaStream" | "Plimsoll" => Ok(()),
            other => {
                let help = "Plimsoll counts the events of a DataSource: name it with `metricSourceRef`, and say in \
                            `spec` which count, as in `where: \"status < 500\"`";
                Err(Problem::new(format!("`{other}` is not supported"), help))
            }
        })?;
    }
    Some(keys)
}

/// The source of a metric. Some(None): it is declared, with mistakes of its own.
fn source<'s>(
    metric: &Mapping<'_>,
    sources: &Sources<'s>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<&'s Source>> {
    metric.required("metricSourceRef", diagnostics, |node| find(node, sources))
}

fn find<'s>(node: &Node, sources: &Sources<'s>) -> Result<Option<&'s Source>, Problem> {
    let name = text(node)?;
    sources.get(name).copied().ok_or_else(|| {
        let help = suggestion(name, sources.keys().copied());
        Problem::new(format!("no DataSource is called `{name}`"), help)
    })
}
