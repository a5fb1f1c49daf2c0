//! The levels of a rule: thresholds, and how long a crossing must last.

use super::constant::{Number, compare};
use super::diagnostic::{Diagnostics, Problem};
use super::kind::{LEVEL_KEYS, NativeKind, open};
use super::quantity::{duration_s, share_billionths};
use super::reader::{Mapping, count, scalar};
use super::threshold::{Unit, scaled};
use super::yaml::Node;
use crate::core::alert::{Level, Severities, Side};
use crate::core::expr::{Atom, Comparison, Condition};
use crate::core::source::Slot;

/// The longest window of any SLO document; its panes are a thirtieth of it.
const MAX_WINDOW_S: i64 = 30 * 24 * 60 * 60;
const MAX_FOR_S: i64 = 24 * 60 * 60;
/// All of a window, in billionths.
const WHOLE: i64 = 1_000_000_000;
/// A lag is that of the second it is looked at.
const LAG_WINDOW_S: i64 = 1;
const MICRO_BILLIONTHS: i64 = 1_000;

/// What a level overrides of its rule, and a rule of its document.
#[derive(Clone, Copy, Default)]
pub struct Judging {
    pub window_s: Option<i64>,
    pub for_s: i64,
    pub min_events: u64,
    pub min_bad: u64,
    pub min_coverage_billionths: Option<i64>,
}

impl Judging {
    pub fn read(&mut self, keys: &Mapping<'_>, diagnostics: &mut Diagnostics) {
        let window = keys.optional("window", diagnostics, duration_s(1..=MAX_WINDOW_S));
        self.window_s = window.or(self.window_s);
        keys.set("for", &mut self.for_s, diagnostics, duration_s(0..=MAX_FOR_S));
        keys.set("min_events", &mut self.min_events, diagnostics, count(0..=u64::from(u32::MAX)));
        keys.set("min_bad", &mut self.min_bad, diagnostics, count(0..=u64::from(u32::MAX)));
        let coverage = keys.optional("min_coverage", diagnostics, share_billionths);
        self.min_coverage_billionths = coverage.or(self.min_coverage_billionths);
    }

    /// Without what has no meaning for the kind: a document's defaults are for all of its rules.
    pub fn of_kind(self, kind: NativeKind) -> Judging {
        Judging {
            window_s: self.window_s.filter(|_| kind.takes("window")),
            min_events: if kind.takes("min_events") { self.min_events } else { 0 },
            min_bad: if kind.takes("min_bad") { self.min_bad } else { 0 },
            ..self
        }
    }
}

/// What the levels of a rule are compared with.
#[derive(Clone, Copy)]
pub struct Measured<'f> {
    pub kind: NativeKind,
    /// None: what it would be of is not known, so nothing is said about thresholds.
    pub unit: Option<Unit<'f>>,
    /// QUANTILE: the field it looks at.
    pub slot: Slot,
    /// BUDGET: the window of all levels.
    pub period_s: Option<i64>,
}

/// Gravest first. None, and noted, when there is none or one is wrong.
pub fn levels(
    rule: &Mapping<'_>,
    measured: Measured<'_>,
    judging: Judging,
    severities: &Severities,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Level>> {
    let mut read = Vec::new();
    for (severity, word) in severities.levels.iter().enumerate() {
        if let Some(node) = rule.node(&word.name) {
            read.push(level(node, (severity, &word.name), measured, judging, rule, diagnostics));
        }
    }
    if read.is_empty() {
        let words: Vec<&str> = severities.levels.iter().map(|level| level.name.as_str()).collect();
        let (last, example) = (words.last().unwrap_or(&""), measured.kind.example());
        let help = format!("add one of {}, as in `{last}: {{{example}}}`", words.join(", "));
        diagnostics.push(rule.place, Problem::new("the rule has no level", help));
        return None;
    }
    read.into_iter().collect()
}

fn level(
    node: &Node,
    (severity, word): (usize, &str),
    measured: Measured<'_>,
    mut judging: Judging,
    rule: &Mapping<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Level> {
    let Measured { kind, unit, .. } = measured;
    let keys = open(node, kind, &LEVEL_KEYS, &[], diagnostics)?;
    judging.read(&keys, diagnostics);
    let side = side(&keys, kind, diagnostics);
    if matches!(side, Some(Side::Below)) && keys.has("min_bad") {
        let problem = Problem::new("`min_bad` beside `below` has no meaning", "remove it; it is for `above`");
        diagnostics.push(keys.place, problem);
    }
    let threshold = side.and_then(|side| {
        keys.required(side.name(), diagnostics, |node| {
            let billionths = unit.map(|unit| unit.threshold(node, side)).transpose()?;
            Ok((billionths, scalar(node)?.to_owned()))
        })
    });
    let threshold_s = threshold.as_ref().and_then(|(billionths, _)| *billionths);
    let window_s = match kind {
        NativeKind::Absence => silence_s(&keys, threshold_s, diagnostics),
        NativeKind::Lag => Some(LAG_WINDOW_S),
        NativeKind::Budget => measured.period_s,
        _ => window_s(&keys, judging, rule, diagnostics),
    };
    let (side, (threshold_billionths, threshold_text)) = (side?, threshold?);
    let threshold_billionths = threshold_billionths?;
    Some(Level {
        name: word.to_owned(),
        severity,
        side,
        threshold_billionths,
        threshold_text,
        window_s: window_s?,
        short_window_s: None,
        for_s: judging.for_s,
        min_events: judging.min_events,
        min_bad: if side == Side::Above { judging.min_bad } else { 0 },
        min_coverage_billionths: judging.min_coverage_billionths.unwrap_or(default_coverage(kind, side)),
        over: over(measured, side, threshold_billionths),
    })
}

/// None, and noted, unless the level has one of the two.
fn side(keys: &Mapping<'_>, kind: NativeKind, diagnostics: &mut Diagnostics) -> Option<Side> {
    let takes =
        |side: Side| LEVEL_KEYS.iter().any(|(name, kinds)| *name == side.name() && kinds.contains(&kind));
    let example = kind.example();
    let problem = match (keys.has("above"), keys.has("below")) {
        (true, false) => return Some(Side::Above).filter(|side| takes(*side)),
        (false, true) => return Some(Side::Below).filter(|side| takes(*side)),
        (true, true) if takes(Side::Above) != takes(Side::Below) => return None,
        (false, false) if takes(Side::Above) != takes(Side::Below) => {
            Problem::new("the level has no threshold", format!("write it as in `{example}`"))
        }
        _ => {
            let help = format!(
                "write what is too much with `above:`, or what is too little with `below:`, as in `{example}`"
            );
            Problem::new("a level takes one of `above` and `below`", help)
        }
    };
    diagnostics.push(keys.place, problem);
    None
}

fn window_s(
    keys: &Mapping<'_>,
    judging: Judging,
    rule: &Mapping<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<i64> {
    // A window that is there but wrong has been noted already.
    if judging.window_s.is_none() && !keys.has("window") && !rule.has("window") {
        let help = "add `window: 5m` to the level, the rule or `defaults`";
        diagnostics.push(keys.place, Problem::new("`window` is missing", help));
    }
    judging.window_s
}

/// The threshold of an ABSENCE is its window, and windows are whole seconds.
fn silence_s(keys: &Mapping<'_>, threshold: Option<i64>, diagnostics: &mut Diagnostics) -> Option<i64> {
    threshold?;
    keys.optional("above", diagnostics, duration_s(1..=MAX_WINDOW_S))
}

/// Where few events are what is looked for, a window that was not read whole would look like a crossing.
fn default_coverage(kind: NativeKind, side: Side) -> i64 {
    match (kind, side) {
        (NativeKind::Absence, _) | (NativeKind::Rate | NativeKind::Count, Side::Below) => WHOLE,
        _ => 0,
    }
}

/// Which events are beyond the threshold, for the kinds that look for it at a rank.
fn over(measured: Measured<'_>, side: Side, threshold_billionths: i64) -> Option<Condition> {
    let op = match side {
        Side::Above => Comparison::Greater,
        Side::Below => Comparison::GreaterOrEqual,
    };
    match (measured.kind, measured.unit?) {
        (NativeKind::Quantile, Unit::Field(field)) => {
            let constant = Number::from(scaled(threshold_billionths, field.scale()));
            Some(compare(measured.slot, op, constant))
        }
        (NativeKind::Freshness, _) => {
            let constant = threshold_billionths / MICRO_BILLIONTHS;
            Some(Condition::Atom(Atom::Age { op, constant }))
        }
        _ => None,
    }
}
