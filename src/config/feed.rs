//! What a rule counts: its sources, which of their events, and in which groups.

use super::alert::Sources;
use super::condition::condition;
use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::field::{Use, slot};
use super::kind::NativeKind;
use super::reader::{Mapping, count, list, text};
use super::yaml::Node;
use crate::core::alert::Feed;
use crate::core::expr::{Atom, Condition};
use crate::core::source::{Slot, Source};

const MAX_GROUPS: u32 = 100_000;
const MAX_GROUP_COLUMNS: usize = 16;
const MAX_SOURCES: usize = 16;

/// The feeds of a rule, one for each source, and how many groups it keeps.
pub struct Feeds {
    pub feeds: Vec<Feed>,
    pub group_limit: u32,
}

/// The sources a rule names, or its document for it. Empty, and noted, when none can be found; one that is None is
/// declared with mistakes of its own.
pub fn sources<'s>(
    keys: &Mapping<'_>,
    kind: NativeKind,
    default: Option<&Node>,
    known: &Sources<'s>,
    diagnostics: &mut Diagnostics,
) -> Vec<Option<&'s Source>> {
    let find = |node: &Node| {
        let name = text(node)?;
        known.get(name).copied().ok_or_else(|| {
            let help = suggestion(name, known.keys().copied());
            Problem::new(format!("no DataSource is called `{name}`"), help)
        })
    };
    let several = keys.node("sources").filter(|_| kind.takes("sources"));
    if let (Some(_), Some(one)) = (several, keys.node("source")) {
        let help = "keep one: `source` for a single one, `sources` for those that are counted together";
        diagnostics.push(&one.place, Problem::new("a rule takes one of `source` and `sources`", help));
    }
    if several.is_some() {
        let nodes = keys.required("sources", diagnostics, distinct_names).unwrap_or_default();
        return nodes.iter().filter_map(|node| diagnostics.accept(&node.place, find(node))).collect();
    }
    let Some(node) = keys.node("source").or(default) else {
        if keys.has("sources") {
            // Noted: the kind takes one.
            return Vec::new();
        }
        let help = "name a DataSource here or under `defaults`";
        diagnostics.push(keys.place, Problem::new("`source` is missing", help));
        return Vec::new();
    };
    diagnostics.accept(&node.place, find(node)).into_iter().collect()
}

fn distinct_names(node: &Node) -> Result<&[Node], Problem> {
    let nodes = list(node)?;
    if !(2..=MAX_SOURCES).contains(&nodes.len()) {
        let help = format!("name 2 to {MAX_SOURCES} sources, or one as `source:`");
        return Err(Problem::new("the list is too short or too long", help));
    }
    for (at, node) in nodes.iter().enumerate() {
        let name = text(node)?;
        if nodes[..at].iter().any(|earlier| text(earlier) == Ok(name)) {
            return Err(Problem::new(format!("`{name}` is named twice"), "name each source once"));
        }
    }
    Ok(nodes)
}

/// The feeds of a rule that counts in `sources`. `of`: the field whose values it looks at.
pub fn feeds(
    keys: &Mapping<'_>,
    kind: NativeKind,
    sources: &[Option<&Source>],
    of: Option<Slot>,
    diagnostics: &mut Diagnostics,
) -> Option<Feeds> {
    let bad = match kind {
        NativeKind::Ratio => bad_key(keys, diagnostics),
        _ => None,
    };
    let group = group(keys, sources, diagnostics);
    let mut feeds = Vec::new();
    for source in sources.iter().flatten().copied() {
        let mut read = |key: &str| keys.optional(key, diagnostics, |node| over(node, source, sources.len()));
        let filter = if keys.has("where") { read("where") } else { Some(Condition::True) };
        let bad = match (kind, bad) {
            (NativeKind::Ratio, Some("good")) => read("good").map(|good| Condition::Not(Box::new(good))),
            (NativeKind::Ratio, key) => key.and_then(&mut read),
            _ => Some(Condition::never()),
        };
        feeds.push((source, filter, bad));
    }
    let (group_by, group_limit) = group?;
    let feeds = feeds.into_iter().map(|(source, filter, bad)| {
        let filter = with_value(filter?, source, of);
        Some(Feed { source: source.name.clone(), group_by: group_by.clone(), filter, bad: bad? })
    });
    let feeds = feeds.collect::<Option<Vec<_>>>()?;
    (!feeds.is_empty()).then_some(Feeds { feeds, group_limit })
}

/// The key that tells bad events from good ones.
fn bad_key(keys: &Mapping<'_>, diagnostics: &mut Diagnostics) -> Option<&'static str> {
    match (keys.has("bad"), keys.has("good")) {
        (true, false) => Some("bad"),
        (false, true) => Some("good"),
        _ => {
            let help = "write which events are bad, or which are good, but not both";
            diagnostics.push(keys.place, Problem::new("a RATIO takes one of `bad` and `good`", help));
            None
        }
    }
}

/// A condition over the fields of `source`, one of `count`.
fn over(node: &Node, source: &Source, count: usize) -> Result<Condition, Problem> {
    condition(text(node)?, &source.fields).map_err(|problem| match count {
        1 => problem,
        _ => Problem { message: format!("in {}: {}", source.name, problem.message), ..problem },
    })
}

/// An event without a value has no place among the values.
fn with_value(filter: Condition, source: &Source, of: Option<Slot>) -> Condition {
    let Some(slot) = of.filter(|&slot| source.fields[slot].optional) else { return filter };
    let has = Condition::Atom(Atom::Has(slot));
    match filter {
        Condition::True => has,
        filter => Condition::And(vec![filter, has]),
    }
}

/// The fields and the limit of the groups.
fn group(
    keys: &Mapping<'_>,
    sources: &[Option<&Source>],
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
    let source = match sources {
        [source] => (*source)?,
        [] => return None,
        _ => {
            let help = "remove `group_by`, or write a rule for each source";
            let problem = Problem::new("a rule over several sources has no groups", help);
            diagnostics.push(keys.place, problem);
            return None;
        }
    };
    let slots = keys.optional("group_by", diagnostics, |node| slots(list(node)?, source));
    Some((slots?, limit?))
}

fn slots(items: &[Node], source: &Source) -> Result<Vec<Slot>, Problem> {
    if items.is_empty() || items.len() > MAX_GROUP_COLUMNS {
        let help = format!("name 1 to {MAX_GROUP_COLUMNS} fields, or leave the key out");
        return Err(Problem::new("the list is empty or too long", help));
    }
    let mut slots: Vec<Slot> = Vec::new();
    for item in items {
        let slot = slot(text(item)?, &source.fields, Use::Label)?;
        if slots.contains(&slot) {
            let message = format!("`{}` is named twice", source.fields[slot].name);
            return Err(Problem::new(message, "name each field once"));
        }
        slots.push(slot);
    }
    Ok(slots)
}
