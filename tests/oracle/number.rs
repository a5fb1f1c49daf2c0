//! The one number of a rule over any window: what a score is made of. Numbers are in billionths of their unit.
//!
//! - A part is read over the window of the score. A COUNT keeps its own window, a BUDGET its period, and a lag and a
//!   silence have none.
//! - A part without data is left out: a share, quantile or burn rate of no events; a rate over a window that began before
//!   the first event; a lag of which one partition was not heard of for 30 s.
//! - A part scores 1 at `full`, 0 at `zero`, linear between. Its score and the mean are whole billionths, rounded down.

use std::collections::BTreeSet;

use super::rules::{BILLION, Kind, Rule, Sum, remaining, window_start};
use super::sketch::Histogram;

/// What a rule is judged from.
pub enum Heard {
    /// Events of its sources and group, sorted by second.
    Events(Vec<Happened>),
    /// Samples of a lag, sorted by second.
    Samples(Vec<Sample>),
    Parts(Vec<Part>),
}

#[derive(Clone, Copy, Debug)]
pub struct Happened {
    pub second: i64,
    pub counts: bool,
    /// Counts, and is bad.
    pub bad: bool,
    /// What a quantile is over.
    pub value_billionths: i128,
}

/// How far a consumer group was behind on one partition in the course of a second.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub second: i64,
    pub partition: i32,
    pub messages: i64,
    pub behind_us: i64,
}

pub struct Part {
    pub rule: Rule,
    pub heard: Heard,
    pub weight: i128,
    pub full_billionths: i128,
    pub zero_billionths: i128,
}

/// A partition not heard of for longer makes a lag unknown.
const SILENT_AFTER_S: i64 = 30;

impl Heard {
    pub fn first_s(&self) -> Option<i64> {
        match self {
            Heard::Events(events) => events.iter().map(|event| event.second).min(),
            Heard::Samples(samples) => samples.iter().map(|sample| sample.second).min(),
            Heard::Parts(parts) => parts.iter().filter_map(|part| part.heard.first_s()).min(),
        }
    }

    /// The events of `[start_s, end_s)`, whether they count or not.
    pub fn counted(&self, start_s: i64, end_s: i64) -> &[Happened] {
        let Heard::Events(events) = self else { return &[] };
        let from = events.partition_point(|event| event.second < start_s);
        let to = events.partition_point(|event| event.second < end_s);
        &events[from..to.max(from)]
    }

    pub fn sum(&self, start_s: i64, end_s: i64) -> Sum {
        let events = self.counted(start_s, end_s);
        let count = |is: fn(&&Happened) -> bool| events.iter().filter(is).count() as i128 * BILLION;
        Sum { bad: count(|event| event.bad), total: count(|event| event.counts) }
    }

    /// Seconds since the last event that counts; since the first of all, when none has.
    fn silent_s(&self, whole_s: i64, end_s: i64) -> Option<i64> {
        let before = self.counted(i64::MIN, end_s);
        let last_s = before.iter().rev().find(|event| event.counts).map(|event| event.second + 1);
        Some((end_s - last_s.or(self.first_s().map(|first_s| first_s.max(whole_s)))?).max(0))
    }

    /// All messages, or the time of the partition furthest behind, by what was last heard of each.
    pub fn lag_billionths(&self, in_messages: bool, end_s: i64) -> Option<i128> {
        let Heard::Samples(samples) = self else { return None };
        let before = &samples[..samples.partition_point(|sample| sample.second < end_s)];
        let partitions: BTreeSet<i32> = before.iter().map(|sample| sample.partition).collect();
        let last = |at: &i32| before.iter().rfind(|sample| sample.partition == *at).expect("heard of");
        let newest: Vec<&Sample> = partitions.iter().map(last).collect();
        if newest.is_empty() || newest.iter().any(|sample| end_s - sample.second > SILENT_AFTER_S) {
            return None;
        }
        Some(match in_messages {
            true => newest.iter().map(|sample| i128::from(sample.messages) * BILLION).sum(),
            false => newest.iter().map(|sample| i128::from(sample.behind_us) * 1_000).max()?,
        })
    }
}

/// None without data.
pub fn number(rule: &Rule, heard: &Heard, window_s: i64, end_s: i64) -> Option<i128> {
    assert!(rule.slices.is_none(), "a score is made of events, not of slices");
    let start_s = window_start(window_s, end_s);
    let sum = || heard.sum(start_s, end_s);
    let some = || Some(sum()).filter(|sum| sum.total > 0);
    match &rule.kind {
        Kind::Ratio => some().map(|sum| sum.bad * BILLION / sum.total),
        Kind::Quantile { millionths, step_billionths } => {
            let counted = heard.counted(start_s, end_s).iter().filter(|event| event.counts);
            let values = Histogram::of(counted.map(|event| event.value_billionths / step_billionths));
            values.quantile(*millionths as u64).map(|value| value * step_billionths)
        }
        Kind::Count => Some(heard.sum(window_start(rule.levels[0].window_s, end_s), end_s).total),
        Kind::Rate => {
            let is_whole = end_s - start_s.max(rule.whole_s) >= window_s;
            is_whole.then(|| sum().total / i128::from(end_s - start_s))
        }
        Kind::Absence => heard.silent_s(rule.whole_s, end_s).map(|silent_s| i128::from(silent_s) * BILLION),
        Kind::BurnRate { allowed_billionths } => {
            some().map(|sum| sum.bad * BILLION * BILLION / (allowed_billionths * sum.total))
        }
        Kind::Budget { allowed_billionths, period } => {
            Some(remaining(heard.sum(period.begins_s(end_s), end_s), *allowed_billionths))
        }
        Kind::Lag { in_messages } => heard.lag_billionths(*in_messages, end_s),
        Kind::Score { min_weight_billionths } => {
            let Heard::Parts(parts) = heard else { return None };
            score(parts, *min_weight_billionths, window_s, end_s)
        }
    }
}

/// None when the parts with data weigh too little.
fn score(parts: &[Part], min_weight_billionths: i128, window_s: i64, end_s: i64) -> Option<i128> {
    let whole: i128 = parts.iter().map(|part| part.weight).sum();
    let read =
        |part: &Part| Some((part.weight, number(&part.rule, &part.heard, window_s, end_s)?, part.line()));
    let known: Vec<(i128, i128, (i128, i128))> = parts.iter().filter_map(read).collect();
    let weight: i128 = known.iter().map(|(weight, ..)| weight).sum();
    if weight == 0 || weight * BILLION < min_weight_billionths * whole {
        return None;
    }
    let on_line = |value: i128, (full, zero): (i128, i128)| match (value, full > zero) {
        (value, true) if value >= full => BILLION,
        (value, true) if value <= zero => 0,
        (value, false) if value <= full => BILLION,
        (value, false) if value >= zero => 0,
        (value, _) => (value - zero).abs() * BILLION / (full - zero).abs(),
    };
    let sum: i128 = known.iter().map(|(weight, value, line)| weight * on_line(*value, *line)).sum();
    Some(sum / weight)
}

impl Part {
    fn line(&self) -> (i128, i128) {
        (self.full_billionths, self.zero_billionths)
    }
}
