//! One rule of an `AlertRules` document, of any kind.

use super::aggregate::quantile;
use super::alert::{Shared, Surrounding};
use super::budget::{longest_s, objective};
use super::composite::composite;
use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::feed::{Feeds, feeds, sources};
use super::field::{Use, slot};
use super::kind::{NativeKind, RULE_KEYS, open};
use super::level::{Measured, levels};
use super::quantity::duration_s;
use super::reader::{Mapping, text, texts};
use super::threshold::{Unit, is_in_messages};
use super::yaml::Node;
use crate::core::alert::{AlertRule, Feed, Lag, LagUnit, RuleKind};
use crate::core::source::{Slot, Source};

const MAX_HOLD_S: i64 = 7 * 24 * 60 * 60;
const MAX_NO_DATA_AFTER_S: i64 = 7 * 24 * 60 * 60;
/// Partials, from which counts are mended, are kept for a day.
const MAX_CORRECT_WITHIN_S: i64 = 24 * 60 * 60;
const MAX_SUMMARY_BYTES: usize = 500;
/// Longest name of a consumer group.
const MAX_GROUP_BYTES: usize = 249;

/// How long states last: what a rule overrides of its document.
#[derive(Clone, Copy)]
pub struct Spans {
    pub hold_s: i64,
    pub no_data_after_s: i64,
    pub correct_within_s: i64,
}

impl Spans {
    pub const DEFAULT: Spans = Spans { hold_s: 5 * 60, no_data_after_s: 15 * 60, correct_within_s: 15 * 60 };

    pub fn read(&mut self, keys: &Mapping<'_>, diagnostics: &mut Diagnostics) {
        let (no_data, correct) = (1..=MAX_NO_DATA_AFTER_S, 0..=MAX_CORRECT_WITHIN_S);
        keys.set("hold", &mut self.hold_s, diagnostics, duration_s(0..=MAX_HOLD_S));
        keys.set("no_data_after", &mut self.no_data_after_s, diagnostics, duration_s(no_data));
        keys.set("correct_within", &mut self.correct_within_s, diagnostics, duration_s(correct));
    }
}

/// A rule whose name and kind are known, and all that its reading needs.
#[derive(Clone, Copy)]
struct Written<'s> {
    keys: Mapping<'s>,
    kind: NativeKind,
    shared: &'s Shared<'s>,
    around: Surrounding<'s>,
}

/// None, and noted, when something is wrong with the rule, or when it is made of what is wrong elsewhere.
pub fn rule(
    node: &Node,
    name: Option<&str>,
    kind: NativeKind,
    shared: &Shared<'_>,
    around: Surrounding<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<AlertRule> {
    let words: Vec<&str> = around.severities.levels.iter().map(|level| level.name.as_str()).collect();
    let keys = open(node, kind, &RULE_KEYS, &words, diagnostics)?;
    let written = Written { keys, kind, shared, around };
    let found = match kind.takes("source") {
        true => sources(&keys, kind, shared.source, around.sources, diagnostics),
        false => Vec::new(),
    };
    let source = found.first().copied().flatten();
    let of = written.field(source, diagnostics);
    let budget = written.budget(diagnostics);
    let measured = Measured {
        kind,
        unit: written.unit(source, of),
        slot: of.unwrap_or_default(),
        period_s: budget
            .and_then(|rule| rule.objective.as_ref())
            .map(|objective| longest_s(&objective.period)),
    };
    let core_kind = written.core_kind(source, of, diagnostics);
    let feeds = match kind {
        NativeKind::Lag | NativeKind::Composite => Some(Feeds { feeds: Vec::new(), group_limit: 1 }),
        NativeKind::Budget => {
            budget.map(|rule| Feeds { feeds: rule.feeds.clone(), group_limit: rule.group_limit })
        }
        _ => feeds(&keys, kind, &found, of, diagnostics),
    };
    let mut judging = shared.judging.of_kind(kind);
    judging.read(&keys, diagnostics);
    let levels = levels(&keys, measured, judging, around.severities, diagnostics);
    let mut spans = shared.spans;
    spans.read(&keys, diagnostics);
    let runbook = keys.optional("runbook", diagnostics, runbook).or_else(|| shared.runbook.clone());
    let mut labels = shared.labels.clone();
    if let Some(node) = keys.node("labels") {
        labels.extend(texts(node, diagnostics));
    }
    let Feeds { feeds, group_limit } = feeds?;
    let groups = group_names(&feeds, around);
    if let Some(name) = groups.iter().find(|name| labels.contains_key(**name)) {
        let message = format!("the label `{name}` is also a field of `group_by`");
        diagnostics.push(keys.place, Problem::new(message, "give the label another name"));
    }
    let summary = keys.optional("summary", diagnostics, |node| summary(text(node)?, &groups));
    Some(AlertRule {
        document: shared.document.to_owned(),
        name: name?.to_owned(),
        service: shared.service.clone(),
        kind: core_kind?,
        feeds,
        group_limit,
        hold_s: spans.hold_s,
        no_data_after_s: spans.no_data_after_s,
        correct_within_s: spans.correct_within_s,
        levels: levels?,
        labels,
        runbook,
        summary,
        objective: budget.and_then(|rule| rule.objective.clone()),
    })
}

impl<'s> Written<'s> {
    /// QUANTILE: the field it looks at.
    fn field(&self, source: Option<&Source>, diagnostics: &mut Diagnostics) -> Option<Slot> {
        if self.kind != NativeKind::Quantile {
            return None;
        }
        self.keys.required_node("of", diagnostics)?;
        let fields = &source?.fields;
        self.keys.optional("of", diagnostics, |node| slot(text(node)?, fields, Use::Number))
    }

    /// BUDGET: the objective whose budget it is.
    fn budget(&self, diagnostics: &mut Diagnostics) -> Option<&'s AlertRule> {
        match self.kind {
            NativeKind::Budget => objective(&self.keys, self.around.known, diagnostics),
            _ => None,
        }
    }

    /// What thresholds are written in.
    fn unit(&self, source: Option<&'s Source>, of: Option<Slot>) -> Option<Unit<'s>> {
        Some(match self.kind {
            NativeKind::Ratio | NativeKind::Composite => Unit::Share,
            NativeKind::Budget => Unit::Budget,
            NativeKind::Quantile => Unit::Field(source?.fields.get(of?)?),
            NativeKind::Freshness | NativeKind::Absence => Unit::Seconds,
            NativeKind::Count => Unit::Events,
            NativeKind::Rate => Unit::EventsPerSecond,
            NativeKind::Lag => match self.lag_unit() {
                LagUnit::Seconds => Unit::Seconds,
                LagUnit::Messages => Unit::Messages,
            },
        })
    }

    /// Messages when any level says so; the others must then agree.
    fn lag_unit(&self) -> LagUnit {
        let levels = self.around.severities.levels.iter().filter_map(|level| self.keys.node(&level.name));
        let mut thresholds = levels.filter_map(|level| level.get("above"));
        if thresholds.any(is_in_messages) { LagUnit::Messages } else { LagUnit::Seconds }
    }

    fn core_kind(
        &self,
        source: Option<&Source>,
        of: Option<Slot>,
        diagnostics: &mut Diagnostics,
    ) -> Option<RuleKind> {
        let keys = &self.keys;
        Some(match self.kind {
            NativeKind::Ratio => RuleKind::Ratio,
            NativeKind::Quantile => {
                let quantile = keys.required("quantile", diagnostics, quantile);
                RuleKind::Quantile { of: of?, quantile: quantile? }
            }
            NativeKind::Freshness => {
                RuleKind::Freshness { quantile: keys.required("quantile", diagnostics, quantile)? }
            }
            NativeKind::Count => RuleKind::Count,
            NativeKind::Rate => RuleKind::Rate,
            NativeKind::Absence => RuleKind::Absence,
            NativeKind::Lag => {
                let consumer_group = match keys.has("consumer_group") {
                    true => Some(keys.optional("consumer_group", diagnostics, consumer_group)?),
                    false => None,
                };
                let lag = Lag { consumer_group, unit: self.lag_unit() };
                RuleKind::Lag { source: source?.name.clone(), lag }
            }
            NativeKind::Budget => RuleKind::Budget,
            NativeKind::Composite => {
                let Surrounding { known, sources, .. } = self.around;
                RuleKind::Composite(composite(keys, self.shared.document, known, sources, diagnostics)?)
            }
        })
    }
}

fn group_names<'s>(feeds: &[Feed], around: Surrounding<'s>) -> Vec<&'s str> {
    let [feed] = feeds else { return Vec::new() };
    let Some(source) = around.sources.get(feed.source.as_str()).copied().flatten() else { return Vec::new() };
    feed.group_by.iter().map(|&slot| source.fields[slot].name.as_str()).collect()
}

fn consumer_group(node: &Node) -> Result<String, Problem> {
    match text(node)? {
        group if (1..=MAX_GROUP_BYTES).contains(&group.len()) => Ok(group.to_owned()),
        _ => {
            let help = format!("1 to {MAX_GROUP_BYTES} bytes; leave the key out for Plimsoll's own group");
            Err(Problem::new("this cannot be the name of a consumer group", help))
        }
    }
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
