//! YAML -> cases. Every mistake is said at once, with its line.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, Expected, LagSeries, Series};
use super::{alone, named, names, with_parts};
use crate::config::Document;
use crate::config::diagnostic::{Diagnostics, Place, Problem, suggestion};
use crate::config::quantity::{duration_s, duration_us};
use crate::config::reader::{Mapping, count, list, owned_text, scalar, text, texts};
use crate::config::yaml::{self, Node, Value};
use crate::core::alert::{AlertRule, RuleKind};
use crate::core::event::{self, Event};
use crate::core::expr::Atom;
use crate::core::output::Transition;
use crate::core::rules::Rules;
use crate::core::source::{FieldKind, Slot, Source};
use crate::core::time::{HOUR_US, MINUTE_US, SECOND_US, floor_to, second_of};
use crate::decode::field::{Found, store};
use crate::decode::number::Number;
use crate::decode::timestamp::{epoch_power, rfc3339_us};

const DAY_US: i64 = 24 * HOUR_US;
/// Where `10:00:00` and `+5m` count from when a case names no `start`: 2025-01-01T00:00:00Z.
const START_US: i64 = 1_735_689_600 * SECOND_US;
/// Longest case; a long one wants a `step`.
const MAX_SPAN_US: i64 = 60 * DAY_US;
const MAX_EVENTS: u64 = 50_000_000;
const MAX_PARTITIONS: u32 = 64;
const CASE_KEYS: [&str; 12] = [
    "name",
    "rule",
    "levels",
    "start",
    "until",
    "step",
    "partitions",
    "source",
    "fields",
    "events",
    "lag",
    "expect",
];

/// The cases of a file, about rules of `rules`.
///
/// # Errors
/// Every mistake in the file.
pub fn cases(document: &Document, rules: &Rules) -> Result<Vec<Case>, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let roots = yaml::documents(&document.path, &document.text, &mut diagnostics);
    if roots.is_empty() && diagnostics.list.is_empty() {
        let help = "write `tests:` and a list of cases; `plimsoll slo test --help` shows one";
        diagnostics.push(&Place::whole_file(&document.path), Problem::new("the file holds no tests", help));
    }
    let mut cases = Vec::new();
    for root in &roots {
        let Some(file) = Mapping::open(root, &["tests"], &mut diagnostics) else { continue };
        let nodes = file.required("tests", &mut diagnostics, list).unwrap_or_default();
        cases.extend(nodes.iter().filter_map(|node| case(node, rules, &mut diagnostics)));
    }
    diagnostics.finish(Some(cases))
}

/// What the lines of a case share.
struct Frame<'n> {
    rules: Rules,
    tested: Vec<AlertRule>,
    start_us: i64,
    partitions: u32,
    source: Option<&'n Node>,
    fields: Option<&'n Node>,
}

fn case(node: &Node, rules: &Rules, diagnostics: &mut Diagnostics) -> Option<Case> {
    let mistakes_before = diagnostics.list.len();
    let keys = Mapping::open(node, &CASE_KEYS, diagnostics)?;
    let name = keys.required("name", diagnostics, owned_text);
    let tested = keys.required("rule", diagnostics, |node| {
        let name = text(node)?;
        match named(rules, name) {
            found if found.is_empty() => {
                let known = names(rules);
                let help = suggestion(name, known.iter().map(String::as_str));
                Err(Problem::new(format!("no rule or SLO is called `{name}`"), help))
            }
            found => Ok(found.into_iter().cloned().collect::<Vec<_>>()),
        }
    });
    let mut start_us = START_US;
    keys.set("start", &mut start_us, diagnostics, |node| {
        let help = "write it in full, as in `2025-10-31T10:00:00Z`";
        rfc3339_us(text(node)?).ok_or_else(|| Problem::new("this is no time", help))
    });
    let (mut partitions, mut step_s) = (1, 1);
    keys.set("partitions", &mut partitions, diagnostics, count(1..=MAX_PARTITIONS));
    keys.set("step", &mut step_s, diagnostics, duration_s(1..=3_600));
    let until_us = keys.optional("until", diagnostics, |node| moment(node, start_us));
    let mut tested = tested?;
    if let Some(nodes) = keys.optional("levels", diagnostics, list) {
        only_levels(nodes, &mut tested, diagnostics);
    }
    let frame = Frame {
        rules: alone(rules, &tested),
        tested,
        start_us,
        partitions,
        source: keys.node("source"),
        fields: keys.node("fields"),
    };
    let items =
        |key: &str, diagnostics: &mut Diagnostics| keys.optional(key, diagnostics, list).unwrap_or_default();
    let series: Vec<Series> =
        items("events", diagnostics).iter().filter_map(|line| series(line, &frame, diagnostics)).collect();
    let lags: Vec<LagSeries> =
        items("lag", diagnostics).iter().filter_map(|line| lag(line, &frame, diagnostics)).collect();
    let nodes = keys.required("expect", diagnostics, list).unwrap_or_default();
    let mut expected: Vec<Expected> =
        nodes.iter().filter_map(|line| expectation(line, &frame, diagnostics)).collect();
    expected.sort_by_key(|expected| expected.at_s);
    check_sources(keys.place, &frame, &series, diagnostics);
    if diagnostics.list.len() > mistakes_before {
        return None;
    }
    let ends = series.iter().map(|series| series.arrival_us(series.events.saturating_sub(1)));
    let ends = ends.chain(lags.iter().map(|lag| lag.to_s * SECOND_US));
    let ends = ends.chain(expected.iter().map(|e| e.at_s.max(e.said_s.unwrap_or(e.at_s)) * SECOND_US));
    let until_us = until_us.or(ends.max()).unwrap_or(start_us);
    check_size(keys.place, &series, &lags, until_us, diagnostics)?;
    Some(Case {
        name: name?,
        file: node.place.file.to_string(),
        line: node.place.line,
        tested: frame.tested.iter().map(AlertRule::full_name).collect(),
        rules: frame.rules,
        partitions,
        step_s,
        until_us,
        series,
        lags,
        expected,
    })
}

/// Leaves the levels named in `nodes` alone, so that one tier can be seen without those that are faster.
fn only_levels(nodes: &[Node], tested: &mut [AlertRule], diagnostics: &mut Diagnostics) {
    let known = || tested.iter().flat_map(|rule| &rule.levels).map(|level| level.name.clone());
    let named = nodes.iter().map(|node| {
        let level = text(node).and_then(|word| one_of(word, "level of the rule", known()));
        diagnostics.accept(&node.place, level)
    });
    let named: Vec<Option<String>> = named.collect();
    for rule in tested {
        rule.levels.retain(|level| named.iter().flatten().any(|name| *name == level.name));
    }
}

/// A rule over several sources is judged by the slowest, and one without events has no time at all.
fn check_sources(place: &Place, frame: &Frame<'_>, series: &[Series], diagnostics: &mut Diagnostics) {
    let sources = &frame.rules.sources;
    let has_events = |name: &str| {
        series.iter().any(|one| sources.get(usize::from(one.source)).is_some_and(|s| s.name == name))
    };
    let joint = frame.tested.iter().filter(|rule| rule.feeds.len() > 1);
    let names: BTreeSet<&str> = joint.flat_map(|rule| &rule.feeds).map(|feed| feed.source.as_str()).collect();
    for name in names.into_iter().filter(|name| !has_events(name)) {
        let message = format!("`{name}` has no events, so the rule would never be judged");
        let help = format!("add `{{at: ..., count: 1, source: {name}}}`");
        diagnostics.push(place, Problem::new(message, help));
    }
}

fn check_size(
    place: &Place,
    series: &[Series],
    lags: &[LagSeries],
    until_us: i64,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let starts =
        series.iter().map(|series| series.from_us).chain(lags.iter().map(|lag| lag.from_s * SECOND_US));
    let Some(first_us) = starts.min() else {
        let help =
            "add `events:` (or `lag:`): silence from the start moves no clock, so nothing is ever judged";
        diagnostics.push(place, Problem::new("the case has no events", help));
        return None;
    };
    if until_us - first_us > MAX_SPAN_US {
        let help = "a case spans at most 60 days; `+90m` counts from `start`, and `10:00:00` is on its day";
        diagnostics.push(place, Problem::new("the case is too long", help));
        return None;
    }
    if series.iter().map(|series| series.events).fold(0, u64::saturating_add) > MAX_EVENTS {
        let message = format!("the case has more than {MAX_EVENTS} events");
        diagnostics.push(place, Problem::new(message, "lower the rates: shares stay the same"));
        return None;
    }
    Some(())
}

/// `10:00:00` on the day of `start`, `+5m` from `start`, or RFC 3339.
fn moment(node: &Node, start_us: i64) -> Result<i64, Problem> {
    let text = text(node)?;
    let help = "write `10:00:00`, `+5m` from `start`, or `2025-10-31T10:00:00Z`";
    let wrong = || Problem::new(format!("`{text}` is no time"), help);
    if let Some(offset) = text.strip_prefix('+') {
        let offset_us = crate::config::written_duration_us(offset).map_err(|_| wrong())?;
        return start_us.checked_add(offset_us).ok_or_else(wrong);
    }
    if let Some(at_us) = rfc3339_us(text) {
        return Ok(at_us);
    }
    let seconds = if text.matches(':').count() == 1 { ":00" } else { "" };
    let of_day_us = rfc3339_us(&format!("1970-01-01T{text}{seconds}Z")).ok_or_else(wrong)?;
    Ok(floor_to(start_us, DAY_US) + of_day_us)
}

fn moment_s(node: &Node, start_us: i64) -> Result<i64, Problem> {
    let at_us = moment(node, start_us)?;
    match at_us % SECOND_US {
        0 => Ok(second_of(at_us)),
        _ => Err(Problem::new("this is no whole second", "rules are judged at the end of each second")),
    }
}

fn series(node: &Node, frame: &Frame<'_>, diagnostics: &mut Diagnostics) -> Option<Series> {
    let known = ["at", "for", "rate", "count", "fields", "source", "partition", "delayed"];
    let keys = Mapping::open(node, &known, diagnostics)?;
    let from_us = keys.required("at", diagnostics, |node| moment(node, frame.start_us));
    let for_us = keys.optional("for", diagnostics, duration_us(0..=MAX_SPAN_US));
    let rate = keys.optional("rate", diagnostics, rate);
    let number = keys.optional("count", diagnostics, count(1..=MAX_EVENTS));
    let (events, count, span_us) = match (keys.has("rate"), keys.has("count")) {
        (true, false) if !keys.has("for") => {
            let help = "add `for: 5m`, or write `count: 1` for a single event";
            diagnostics.push(keys.place, Problem::new("a `rate` wants a `for`", help));
            return None;
        }
        (true, false) => {
            let (count, span_us) = rate?;
            let all = i128::from(for_us?) * i128::from(count);
            let events = (all + i128::from(span_us) - 1) / i128::from(span_us);
            (u64::try_from(events).unwrap_or(u64::MAX), count, span_us)
        }
        (false, true) => (number?, number?, for_us.unwrap_or(0)),
        _ => {
            let help = "write `rate: 100/s` and `for: 5m`, or `count: 3`";
            diagnostics.push(keys.place, Problem::new("a line takes one of `rate` and `count`", help));
            return None;
        }
    };
    let mut delayed_us = 0;
    keys.set("delayed", &mut delayed_us, diagnostics, duration_us(0..=DAY_US));
    let mut partition = 0;
    keys.set("partition", &mut partition, diagnostics, count_below(frame.partitions));
    let source_at = source(&keys, frame, diagnostics)?;
    let event = fields(&keys, frame, source_at, diagnostics)?;
    let source = u16::try_from(source_at).ok()?;
    let partition = i32::try_from(partition).ok()?;
    Some(Series { source, partition, from_us: from_us?, events, count, span_us, delayed_us, event })
}

fn count_below(partitions: u32) -> impl Fn(&Node) -> Result<u32, Problem> {
    move |node| {
        let partition = count(0..=MAX_PARTITIONS)(node)?;
        match partition < partitions {
            true => Ok(partition),
            false => {
                let help = "raise `partitions:` of the case; the first partition is 0";
                Err(Problem::new(format!("the sources have no partition {partition}"), help))
            }
        }
    }
}

/// `100/s`, `30/m`, `5/h`: events and the microseconds they spread over.
fn rate(node: &Node) -> Result<(u64, i64), Problem> {
    let text = text(node)?;
    let help = "write a whole number and a unit of time, as in `100/s`, `30/m` or `5/h`";
    let wrong = || Problem::new(format!("`{text}` is no rate"), help);
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let span_us = match unit {
        "s" => SECOND_US,
        "m" => MINUTE_US,
        "h" => HOUR_US,
        "d" => DAY_US,
        _ => return Err(wrong()),
    };
    let count =
        number.parse::<u64>().ok().filter(|count| (1..=MAX_EVENTS).contains(count)).ok_or_else(wrong)?;
    Ok((count, span_us))
}

/// The source a line is about: its own, the case's, or the only one the rules read.
fn source(keys: &Mapping<'_>, frame: &Frame<'_>, diagnostics: &mut Diagnostics) -> Option<usize> {
    let sources = &frame.rules.sources;
    let names = || sources.iter().map(|source| source.name.as_str());
    let Some(node) = keys.node("source").or(frame.source) else {
        if sources.len() == 1 {
            return Some(0);
        }
        let help = format!("add `source:`, one of {}", names().collect::<Vec<_>>().join(", "));
        diagnostics.push(keys.place, Problem::new("the rule reads several sources", help));
        return None;
    };
    let found = text(node).and_then(|name| {
        let at = sources.iter().position(|source| source.name == name);
        let help = suggestion(name, names());
        at.ok_or_else(|| Problem::new(format!("the rule does not read a source called `{name}`"), help))
    });
    diagnostics.accept(&node.place, found)
}

/// An event with the fields of the line over those of the case. Fields nobody reads may be left out.
fn fields(
    keys: &Mapping<'_>,
    frame: &Frame<'_>,
    source_at: usize,
    diagnostics: &mut Diagnostics,
) -> Option<Event> {
    let mistakes_before = diagnostics.list.len();
    let source = &frame.rules.sources[source_at];
    let mut event = Event::default();
    event.clear(source.fields.len());
    for node in [frame.fields, keys.node("fields")].into_iter().flatten() {
        let Some(mapping) = Mapping::of_any_keys(node, diagnostics) else { continue };
        for entry in mapping.entries {
            let stored = set_field(source, &entry.key, &entry.value, &mut event);
            diagnostics.accept(&entry.place, stored.map_err(|problem| problem.of_key(&entry.key)));
        }
    }
    if diagnostics.list.len() > mistakes_before {
        return None;
    }
    let read = frame.tested.iter().flat_map(|rule| slots_read(&frame.rules, rule, &source.name));
    for slot in read.collect::<BTreeSet<_>>() {
        let field = &source.fields[slot];
        let absent = matches!(event.value(slot), event::Value::Absent);
        if absent && !field.optional && slot != source.event_time.slot {
            let message = format!("the rule reads `{}`, and every record has it", field.name);
            let help = format!("write `fields: {{{}: ...}}` here or in the case", field.name);
            diagnostics.push(keys.place, Problem::new(message, help));
        }
    }
    (diagnostics.list.len() == mistakes_before).then_some(event)
}

fn set_field(source: &Source, name: &str, node: &Node, event: &mut Event) -> Result<(), Problem> {
    let slot = source.slot(name).ok_or_else(|| {
        let help = suggestion(name, source.fields.iter().map(|field| field.name.as_str()));
        Problem::new(format!("not a field of {}", source.name), help)
    })?;
    if slot == source.event_time.slot {
        return Err(Problem::new("this is the event time", "`at` gives it; leave the field out"));
    }
    if matches!(node.value, Value::Null) {
        event.set_absent(slot);
        return Ok(());
    }
    let (field, text) = (&source.fields[slot], scalar(node)?);
    let is_number = || serde_json::from_str::<serde_json::Number>(text).is_ok();
    let found = match &field.kind {
        FieldKind::Integer(_) | FieldKind::Decimal { .. } if is_number() => Found::Number(Number::of(text)),
        FieldKind::Timestamp(form) if epoch_power(*form).is_some() && is_number() => {
            Found::Number(Number::of(text))
        }
        FieldKind::Boolean if text == "true" || text == "false" => Found::Boolean(text == "true"),
        FieldKind::Integer(_)
        | FieldKind::Decimal { .. }
        | FieldKind::Timestamp(_)
        | FieldKind::Boolean
        | FieldKind::String { .. } => Found::Text(text),
    };
    store(field, slot, found, event)
        .map_err(|invalid| Problem::new(invalid.detail, "write the value as producers send it"))
}

/// Slots of `source` that a rule or its parts look at.
fn slots_read(rules: &Rules, rule: &AlertRule, source: &str) -> BTreeSet<Slot> {
    let mut slots = BTreeSet::new();
    for rule in with_parts(rules, rule) {
        for feed in rule.feeds.iter().filter(|feed| feed.source == source) {
            slots.extend(&feed.group_by);
            let over = rule.levels.iter().filter_map(|level| level.over.as_ref());
            for condition in [&feed.filter, &feed.bad].into_iter().chain(over) {
                condition.each_atom(&mut |atom| slots.extend(slot_of(atom)));
            }
            if let RuleKind::Quantile { of, .. } = rule.kind {
                slots.insert(of);
            }
        }
    }
    slots
}

/// None: a test whether the field is there at all asks for no value.
fn slot_of(atom: &Atom) -> Option<Slot> {
    match atom {
        Atom::Has(_) | Atom::Age { .. } => None,
        Atom::IsTrue(slot)
        | Atom::Number { slot, .. }
        | Atom::NumberIn { slot, .. }
        | Atom::TextIn { slot, .. }
        | Atom::TextPrefix { slot, .. } => Some(*slot),
    }
}

fn lag(node: &Node, frame: &Frame<'_>, diagnostics: &mut Diagnostics) -> Option<LagSeries> {
    let keys = Mapping::open(node, &["at", "for", "behind", "messages", "source"], diagnostics)?;
    let from_s = keys.required("at", diagnostics, |node| moment_s(node, frame.start_us));
    let for_s = keys.required("for", diagnostics, duration_s(1..=MAX_SPAN_US / SECOND_US));
    let mut behind_us = 0;
    keys.set("behind", &mut behind_us, diagnostics, duration_us(0..=MAX_SPAN_US));
    let mut messages = 0;
    keys.set("messages", &mut messages, diagnostics, count(0..=u64::MAX));
    let source = frame.rules.sources[source(&keys, frame, diagnostics)?].name.clone();
    Some(LagSeries { source, from_s: from_s?, to_s: from_s? + for_s?, messages, behind_us })
}

fn expectation(node: &Node, frame: &Frame<'_>, diagnostics: &mut Diagnostics) -> Option<Expected> {
    let known = ["at", "transition", "rule", "level", "labels", "reason", "onset", "said"];
    let keys = Mapping::open(node, &known, diagnostics)?;
    let at_s = keys.required("at", diagnostics, |node| moment_s(node, frame.start_us));
    let transition = keys.required("transition", diagnostics, |node| {
        const ALL: [Transition; 4] =
            [Transition::Opened, Transition::Updated, Transition::Resolved, Transition::Retracted];
        let word = text(node)?;
        let found = ALL.into_iter().find(|transition| transition.name() == word);
        let help = suggestion(word, ALL.map(Transition::name));
        found.ok_or_else(|| Problem::new(format!("`{word}` is no transition"), help))
    });
    let rule = keys.optional("rule", diagnostics, |node| {
        one_of(text(node)?, "tested rule", frame.tested.iter().map(AlertRule::full_name))
    });
    let level = keys.optional("level", diagnostics, |node| {
        let levels = frame.tested.iter().flat_map(|rule| &rule.levels);
        let words = levels.flat_map(|level| {
            let severity = frame.rules.severities.levels.get(level.severity);
            [Some(level.name.clone()), severity.map(|s| s.name.clone())]
        });
        one_of(text(node)?, "level of the rule", words.flatten())
    });
    let reason = keys.optional("reason", diagnostics, |node| {
        const ALL: [&str; 4] = ["RECOVERED", "NO_DATA_TIMEOUT", "RULE_REMOVED", "LATE_DATA"];
        one_of(text(node)?, "reason", ALL.into_iter().map(str::to_owned))
    });
    let onset_s = keys.optional("onset", diagnostics, |node| moment_s(node, frame.start_us));
    let said_s = keys.optional("said", diagnostics, |node| moment_s(node, frame.start_us));
    let labels: BTreeMap<String, String> =
        keys.node("labels").map(|node| texts(node, diagnostics)).unwrap_or_default();
    let (at_s, transition, line) = (at_s?, transition?, node.place.line);
    Some(Expected { at_s, transition, line, rule, level, labels, reason, onset_s, said_s })
}

fn one_of(word: &str, what: &str, known: impl Iterator<Item = String>) -> Result<String, Problem> {
    let known: BTreeSet<String> = known.collect();
    match known.contains(word) {
        true => Ok(word.to_owned()),
        false => {
            let help = suggestion(word, known.iter().map(String::as_str));
            Err(Problem::new(format!("`{word}` is no {what}"), help))
        }
    }
}
