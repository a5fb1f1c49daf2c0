//! What OpenSLO has no field for: annotations `plimsoll.dev/...` of an SLO, all of them texts.
//!
//! | annotation | value | without it |
//! |---|---|---|
//! | `alerts` | `standard`, `none` or tiers (see `alerts.rs`) | `standard` |
//! | `severity` | other words for tiers of `standard`: `flash high, fast high` | those of the preset |
//! | `group-by` | fields, joined by commas: an objective for each value | no groups |
//! | `group-limit` | groups a shard keeps; more fold into `_OTHER` | needed with `group-by` |
//! | `min-bad` | bad events in the long window, for a tier to cross | `"0"` |
//! | `min-events` | events in the long window, for a tier to be known | `"0"` |
//! | `hold` | how long a tier is uncrossed before the breach resolves | `5m` |
//! | `no-data-after` | how long without data before it ends for want of data | `15m` |
//! | `correct-within` | how far back late events correct breaches | `15m` |
//! | `empty-slice` | what a slice without data is: `good`, `bad` or `skipped` | `skipped` |
//! | `runbook` | a link | none |
//! | `summary` | a text with `{value}`, `{window}`, `{level}`, `{rule}` and the groups | none |

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::config::diagnostic::{Diagnostics, Place, Problem, suggestion};
use crate::config::field::{Use, slot};
use crate::config::manifest::{ANNOTATION_PREFIX, Manifest};
use crate::config::quantity::duration_s;
use crate::config::reader::{Mapping, text};
use crate::config::rule::{runbook, summary};
use crate::config::yaml::Node;
use crate::core::objective::EmptySlice;
use crate::core::source::{Slot, Source};

use super::alerts::{Alerts, alerts, severity_words};
use super::indicator::Sli;
use super::objective::Budgeting;

const KNOWN: [&str; 12] = [
    "alerts",
    "severity",
    "group-by",
    "group-limit",
    "min-bad",
    "min-events",
    "hold",
    "no-data-after",
    "correct-within",
    "empty-slice",
    "runbook",
    "summary",
];
const DEFAULT_HOLD_S: i64 = 5 * 60;
const DEFAULT_CORRECT_WITHIN_S: i64 = 15 * 60;
const DEFAULT_NO_DATA_AFTER_S: i64 = 15 * 60;
const MAX_HOLD_S: i64 = 7 * 24 * 60 * 60;
/// Later events are dead letters of any source.
const MAX_CORRECT_WITHIN_S: i64 = 24 * 60 * 60;
const MAX_GROUPS: u64 = 100_000;
const MAX_GROUP_COLUMNS: usize = 16;

/// What holds for all objectives of an SLO.
pub struct Annotated<'n> {
    /// None: wrong, and noted.
    pub alerts: Option<Alerts>,
    /// Where `alerts` stands, else the name of the SLO.
    pub alerts_place: &'n Place,
    pub group_by: Vec<Slot>,
    pub group_limit: u32,
    pub min_bad: u64,
    pub min_events: u64,
    pub hold_s: i64,
    pub no_data_after_s: i64,
    pub correct_within_s: i64,
    pub empty: Option<EmptySlice>,
    pub runbook: Option<String>,
    pub summary: Option<String>,
}

/// What the annotations are about. None: wrong, and noted.
pub struct About<'s> {
    pub sli: Option<&'s Sli>,
    /// Of the indicator's events, when it has some.
    pub source: Option<&'s Source>,
    pub budgeting: Option<Budgeting>,
}

/// Reads all annotations of ours.
pub fn annotated<'n>(
    manifest: &Manifest<'n>,
    about: &About<'_>,
    diagnostics: &mut Diagnostics,
) -> Annotated<'n> {
    let source = about.source;
    let keys = match manifest.annotations.and_then(|node| Mapping::of_any_keys(node, diagnostics)) {
        Some(keys) => keys,
        None => Mapping { place: manifest.place, entries: &[] },
    };
    check_known(&keys, diagnostics);
    check_fit(&keys, about, diagnostics);
    let alerts_place = keys.node(&key("alerts")).map_or(manifest.place, |node| &node.place);
    let (group_by, group_limit) = group(&keys, source, diagnostics).unwrap_or((Vec::new(), 1));
    let mut annotated = Annotated {
        alerts: read_alerts(&keys, diagnostics),
        alerts_place,
        group_by,
        group_limit,
        min_bad: 0,
        min_events: 0,
        hold_s: DEFAULT_HOLD_S,
        no_data_after_s: DEFAULT_NO_DATA_AFTER_S,
        correct_within_s: DEFAULT_CORRECT_WITHIN_S,
        empty: keys.optional(&key("empty-slice"), diagnostics, empty_slice),
        runbook: keys.optional(&key("runbook"), diagnostics, runbook),
        summary: None,
    };
    let events = 0..=u64::from(u32::MAX);
    keys.set(&key("min-bad"), &mut annotated.min_bad, diagnostics, whole(events.clone()));
    keys.set(&key("min-events"), &mut annotated.min_events, diagnostics, whole(events));
    keys.set(&key("hold"), &mut annotated.hold_s, diagnostics, duration_s(0..=MAX_HOLD_S));
    let no_data_after = duration_s(60..=MAX_HOLD_S);
    keys.set(&key("no-data-after"), &mut annotated.no_data_after_s, diagnostics, no_data_after);
    let correct_within = duration_s(0..=MAX_CORRECT_WITHIN_S);
    keys.set(&key("correct-within"), &mut annotated.correct_within_s, diagnostics, correct_within);
    let groups = group_names(&annotated.group_by, source);
    if let Some(name) = groups.iter().find(|name| manifest.labels.contains_key(**name)) {
        let message = format!("the label `{name}` is also a field of `{}`", key("group-by"));
        diagnostics.push(manifest.place, Problem::new(message, "give the label another name"));
    }
    annotated.summary = keys.optional(&key("summary"), diagnostics, |node| summary(text(node)?, &groups));
    annotated
}

fn read_alerts(keys: &Mapping<'_>, diagnostics: &mut Diagnostics) -> Option<Alerts> {
    let read = match keys.has(&key("alerts")) {
        true => keys.optional(&key("alerts"), diagnostics, alerts),
        false => Some(Alerts::Standard(BTreeMap::new())),
    };
    if !keys.has(&key("severity")) {
        return read;
    }
    let words = keys.optional(&key("severity"), diagnostics, |node| match &read {
        Some(Alerts::Standard(_)) | None => severity_words(node),
        Some(Alerts::None | Alerts::Custom(_)) => {
            let help = "write the word behind each tier, or `plimsoll.dev/alerts: standard`";
            Err(Problem::new("only the tiers of `standard` are given words", help))
        }
    })?;
    read.map(|_| Alerts::Standard(words))
}

fn key(word: &str) -> String {
    format!("{ANNOTATION_PREFIX}{word}")
}

fn check_known(keys: &Mapping<'_>, diagnostics: &mut Diagnostics) {
    for entry in keys.entries {
        let Some(word) = entry.key.strip_prefix(ANNOTATION_PREFIX) else { continue };
        if !KNOWN.contains(&word) {
            let message = format!("`{}` is not an annotation", entry.key);
            diagnostics.push(&entry.place, Problem::new(message, suggestion(word, KNOWN)));
        }
    }
}

/// Annotations that say something about what the SLO has not.
fn check_fit(keys: &Mapping<'_>, about: &About<'_>, diagnostics: &mut Diagnostics) {
    let unfit = |key: &str, message: &str, diagnostics: &mut Diagnostics| {
        keys.optional(key, diagnostics, |_| -> Result<(), Problem> {
            Err(Problem::new(message, "remove it"))
        });
    };
    if about.budgeting == Some(Budgeting::Occurrences) {
        unfit(&key("empty-slice"), "has no meaning with Occurrences", diagnostics);
    }
    if about.sli.is_some_and(|sli| sli.source().is_none()) {
        unfit(&key("group-by"), "only the events of one source have groups", diagnostics);
    }
}

fn group_names<'s>(group_by: &[Slot], source: Option<&'s Source>) -> Vec<&'s str> {
    let fields = source.map_or(&[][..], |source| &source.fields);
    group_by.iter().filter_map(|&slot| fields.get(slot)).map(|field| field.name.as_str()).collect()
}

/// The fields and the limit of the groups. None when there are none, and also, noted, when something is wrong.
fn group(
    keys: &Mapping<'_>,
    source: Option<&Source>,
    diagnostics: &mut Diagnostics,
) -> Option<(Vec<Slot>, u32)> {
    let (by, limit) = (key("group-by"), key("group-limit"));
    match (keys.node(&by), keys.node(&limit)) {
        (None, None) | (Some(_), Some(_)) => {}
        (Some(node), None) => {
            let help = format!("add `{limit}: \"500\"`: the groups a shard keeps; more fold into _OTHER");
            diagnostics.push(&node.place, Problem::new(format!("`{by}` wants a `{limit}`"), help));
        }
        (None, Some(node)) => {
            let help = format!("add `{by}: field`");
            diagnostics
                .push(&node.place, Problem::new(format!("`{limit}` without `{by}` has no meaning"), help));
        }
    }
    let limit = keys.optional(&limit, diagnostics, whole(1..=MAX_GROUPS));
    let source = source?;
    let slots = keys.optional(&by, diagnostics, |node| slots(text(node)?, source))?;
    Some((slots, u32::try_from(limit?).ok()?))
}

fn slots(written: &str, source: &Source) -> Result<Vec<Slot>, Problem> {
    let mut slots: Vec<Slot> = Vec::new();
    for name in written.split(',').map(str::trim) {
        let slot = slot(name, &source.fields, Use::Label)?;
        if slots.contains(&slot) {
            return Err(Problem::new(format!("`{name}` is named twice"), "name each field once"));
        }
        slots.push(slot);
    }
    match slots.len() {
        1..=MAX_GROUP_COLUMNS => Ok(slots),
        fields => Err(Problem::new(format!("{fields} fields"), format!("name at most {MAX_GROUP_COLUMNS}"))),
    }
}

/// A whole number within `range`, in quotes: OpenSLO's annotations are texts.
fn whole(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Result<u64, Problem> {
    move |node| {
        let text = text(node)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|number| digits && range.contains(number));
        number.ok_or_else(|| {
            let message = format!("`{text}` is not a whole number from {} to {}", range.start(), range.end());
            Problem::new(message, "write it in digits and in quotes, as in `\"10\"`")
        })
    }
}

fn empty_slice(node: &Node) -> Result<EmptySlice, Problem> {
    match text(node)? {
        "good" => Ok(EmptySlice::Good),
        "bad" => Ok(EmptySlice::Bad),
        "skipped" => Ok(EmptySlice::Skipped),
        other => {
            let help = "write `good`, `bad` or `skipped`: what a slice without data is";
            Err(Problem::new(format!("`{other}` is not what a slice can be"), help))
        }
    }
}
