//! The levels of a rule: thresholds, and how long a crossing must last.

use super::diagnostic::{Diagnostics, Problem};
use super::quantity::{duration_s, share_billionths};
use super::reader::{Mapping, count, scalar};
use super::yaml::Node;
use crate::core::alert::{Level, Severities, Side};

/// The longest window of any SLO document; its panes are a thirtieth of it.
const MAX_WINDOW_S: i64 = 30 * 24 * 60 * 60;
const MAX_FOR_S: i64 = 24 * 60 * 60;
/// All of the events, in billionths.
const WHOLE: i64 = 1_000_000_000;

/// What a level overrides of its rule, and a rule of its document.
#[derive(Clone, Copy)]
pub struct Judging {
    pub window_s: Option<i64>,
    pub for_s: i64,
    pub min_events: u64,
}

impl Judging {
    pub fn read(&mut self, keys: &Mapping<'_>, diagnostics: &mut Diagnostics) {
        let window = keys.optional("window", diagnostics, duration_s(1..=MAX_WINDOW_S));
        self.window_s = window.or(self.window_s);
        keys.set("for", &mut self.for_s, diagnostics, duration_s(0..=MAX_FOR_S));
        keys.set("min_events", &mut self.min_events, diagnostics, count(0..=u64::from(u32::MAX)));
    }
}

/// Gravest first. None, and noted, when there is none or one is wrong.
pub fn levels(
    rule: &Mapping<'_>,
    judging: Judging,
    severities: &Severities,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Level>> {
    let mut read = Vec::new();
    for (severity, word) in severities.levels.iter().enumerate() {
        if let Some(node) = rule.node(&word.name) {
            read.push(level(node, (severity, &word.name), judging, rule, diagnostics));
        }
    }
    if read.is_empty() {
        let words: Vec<&str> = severities.levels.iter().map(|level| level.name.as_str()).collect();
        let help = format!(
            "add one of {}, as in `{}: {{above: 5%}}`",
            words.join(", "),
            words.last().unwrap_or(&"")
        );
        diagnostics.push(rule.place, Problem::new("the rule has no level", help));
        return None;
    }
    read.into_iter().collect()
}

fn level(
    node: &Node,
    (severity, word): (usize, &str),
    mut judging: Judging,
    rule: &Mapping<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Level> {
    let keys = Mapping::open(node, &["above", "below", "window", "for", "min_events"], diagnostics)?;
    judging.read(&keys, diagnostics);
    // A window that is there but wrong has been noted already.
    if judging.window_s.is_none() && !keys.has("window") && !rule.has("window") {
        let help = "add `window: 5m` to the level, the rule or `defaults`";
        diagnostics.push(keys.place, Problem::new("`window` is missing", help));
    }
    let side = match (keys.has("above"), keys.has("below")) {
        (true, false) => Side::Above,
        (false, true) => Side::Below,
        _ => {
            let help = "write the share that is too much, `above: 5%`, or too little, `below: 95%`";
            diagnostics.push(keys.place, Problem::new("a level takes one of `above` and `below`", help));
            return None;
        }
    };
    let (key, impossible) = match side {
        Side::Above => ("above", WHOLE),
        Side::Below => ("below", 0),
    };
    let threshold = keys.required(key, diagnostics, |node| match share_billionths(node)? {
        share if share == impossible => {
            let message = format!("no share is ever {key} {}", scalar(node)?);
            Err(Problem::new(message, "choose a share that can be crossed"))
        }
        share => Ok((share, scalar(node)?.to_owned())),
    });
    let (threshold_billionths, threshold_text) = threshold?;
    let Judging { window_s, for_s, min_events } = judging;
    Some(Level {
        name: word.to_owned(),
        severity,
        side,
        threshold_billionths,
        threshold_text,
        window_s: window_s?,
        short_window_s: None,
        for_s,
        min_events,
        min_bad: 0,
        min_coverage_billionths: 0,
        over: None,
    })
}
