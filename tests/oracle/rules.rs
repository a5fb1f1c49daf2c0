//! What a rule of any kind says, second by second, recounted from the raw events of each window.
//!
//! A window ends at the second judged. It begins at the last boundary of panes that is at least its length before,
//! where panes are as wide as the largest of 1 s, 10 s, 1 min, 10 min, 1 h, 6 h and 1 day that is at most a thirtieth of
//! the length. A group is judged from the second after its first event on, whether that event counts or not.
//!
//! Not here: LAG, BUDGET, COMPOSITE, and objectives over slices.

use super::episodes::{Judged, Patience, Says, Second, episodes};

pub struct Rule {
    pub kind: Kind,
    /// Gravest first.
    pub levels: Vec<Level>,
    pub hold_s: i64,
    /// An open episode that is unknown this long ends.
    pub no_data_after_s: i64,
    /// The second of the first event of all; of the source that began last, when there are several.
    pub whole_s: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ratio,
    /// The value at rank ceil(q x n); of a field or of an age.
    Quantile {
        millionths: usize,
    },
    Count,
    Rate,
    Absence,
    BurnRate {
        allowed_billionths: i128,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub name: String,
    /// Strictly above the threshold is a crossing; else strictly below it. A burn rate crosses when it reaches it.
    pub above: bool,
    pub threshold_billionths: i128,
    pub window_s: i64,
    pub short_window_s: Option<i64>,
    pub for_s: i64,
    pub min_events: usize,
    pub min_bad: usize,
    pub min_coverage_billionths: i128,
}

/// An event of the rule's sources and group.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    pub second: i64,
    pub counts: bool,
    pub bad: bool,
    /// What a quantile is over.
    pub value_billionths: i128,
}

const BILLION: i128 = 1_000_000_000;

/// The episodes of one group, judged up to `until_s`. `events` are sorted by second.
pub fn judge_group(
    rule: &Rule,
    group: &[(String, String)],
    events: &[Happened],
    until_s: i64,
) -> Vec<Judged> {
    let first_s = events.first().expect("a group has an event").second;
    let seconds: Vec<Second> =
        (first_s + 1..=until_s).map(|end_s| judge_second(rule, events, end_s)).collect();
    let patience = Patience {
        levels: rule.levels.iter().map(|level| (level.name.clone(), level.for_s)).collect(),
        hold_s: rule.hold_s,
        no_data_after_s: rule.no_data_after_s,
        more_is_worse: rule.levels[0].above,
    };
    episodes(group, &seconds, &patience)
}

fn judge_second(rule: &Rule, events: &[Happened], end_s: i64) -> Second {
    let read: Vec<(Says, Option<i128>)> =
        rule.levels.iter().map(|level| read(rule, level, events, end_s)).collect();
    let known = || read.iter().filter(|(says, _)| *says != Says::Unknown).filter_map(|(_, value)| *value);
    let last = counted(events, end_s - 1, end_s);
    Second {
        end_s,
        value_billionths: if rule.levels[0].above { known().max() } else { known().min() },
        says: read.iter().map(|(says, _)| *says).collect(),
        bad: match rule.kind {
            Kind::Ratio | Kind::BurnRate { .. } => last.iter().filter(|event| event.bad).count() as u64,
            Kind::Quantile { .. } => beyond(&rule.levels[0], &last) as u64,
            Kind::Count => last.len() as u64,
            Kind::Rate | Kind::Absence => 0,
        },
    }
}

/// What a level says, and the value it compares.
fn read(rule: &Rule, level: &Level, events: &[Happened], end_s: i64) -> (Says, Option<i128>) {
    let start_s = window_start(level.window_s, end_s);
    let covered_s = (end_s - start_s.max(rule.whole_s)).clamp(0, level.window_s);
    if i128::from(covered_s) * BILLION < level.min_coverage_billionths * i128::from(level.window_s) {
        return (Says::Unknown, None);
    }
    let window = counted(events, start_s, end_s);
    let (total, bad) = (window.len(), window.iter().filter(|event| event.bad).count());
    let (n, threshold) = (total as i128, level.threshold_billionths);
    let crosses = |value: i128| if level.above { value > threshold } else { value < threshold };
    match rule.kind {
        Kind::Ratio => {
            if total == 0 || total < level.min_events {
                return (Says::Unknown, None);
            }
            let (left, right) = (bad as i128 * BILLION, threshold * n);
            let crosses = if level.above { left > right && bad >= level.min_bad } else { left < right };
            (says(crosses), Some(left / n))
        }
        Kind::Quantile { millionths } => {
            if total == 0 || total < level.min_events {
                return (Says::Unknown, None);
            }
            let value = at_rank(&window, (total * millionths).div_ceil(1_000_000).max(1));
            let crosses = crosses(value) && (!level.above || beyond(level, &window) >= level.min_bad);
            (says(crosses), crosses.then_some(value))
        }
        Kind::Count => known_if(total >= level.min_events, crosses(n * BILLION), n * BILLION),
        Kind::Rate => {
            let span_s = i128::from(end_s - start_s);
            let (left, right) = (n * BILLION, threshold * span_s);
            let crosses = if level.above { left > right } else { left < right };
            known_if(total >= level.min_events, crosses, left / span_s)
        }
        Kind::Absence => {
            let before = &events[..events.partition_point(|event| event.second < end_s)];
            let last_s = before.iter().rev().find(|event| event.counts).map(|event| event.second + 1);
            let silent_s = end_s - last_s.unwrap_or(events[0].second.max(rule.whole_s));
            (says(silent_s >= level.window_s), Some(i128::from(silent_s) * BILLION))
        }
        Kind::BurnRate { allowed_billionths } => {
            let short_s = level.short_window_s.expect("a burn rate has two windows");
            let short = counted(events, window_start(short_s, end_s), end_s);
            let short_bad = short.iter().filter(|event| event.bad).count();
            if total == 0 || short.is_empty() || total < level.min_events {
                return (Says::Unknown, None);
            }
            // bad / total / allowed >= factor x tenths / 10
            let burns = |bad: usize, of: usize, tenths: i128| {
                bad as i128 * 10 * BILLION * BILLION >= tenths * threshold * allowed_billionths * of as i128
            };
            let value = bad as i128 * BILLION * BILLION / (allowed_billionths * n);
            let says = if burns(bad, total, 10) && burns(short_bad, short.len(), 10) && bad >= level.min_bad {
                Says::Crosses
            } else if burns(short_bad, short.len(), 9) {
                Says::Lingers
            } else {
                Says::Clear
            };
            (says, Some(value))
        }
    }
}

fn says(crosses: bool) -> Says {
    if crosses { Says::Crosses } else { Says::Clear }
}

fn known_if(known: bool, crosses: bool, value: i128) -> (Says, Option<i128>) {
    if known { (says(crosses), Some(value)) } else { (Says::Unknown, None) }
}

fn window_start(window_s: i64, end_s: i64) -> i64 {
    let fits = |pane_s: &i64| pane_s * 30 <= window_s;
    let pane_s = [1, 10, 60, 600, 3_600, 21_600, 86_400].into_iter().filter(fits).max().unwrap_or(1);
    (end_s - window_s).div_euclid(pane_s) * pane_s
}

/// The events of `[start_s, end_s)` that count.
fn counted(events: &[Happened], start_s: i64, end_s: i64) -> Vec<Happened> {
    let from = events.partition_point(|event| event.second < start_s);
    let to = events.partition_point(|event| event.second < end_s);
    events[from..to.max(from)].iter().filter(|event| event.counts).copied().collect()
}

fn beyond(level: &Level, events: &[Happened]) -> usize {
    let threshold = level.threshold_billionths;
    let is_beyond = |value: i128| if level.above { value > threshold } else { value >= threshold };
    events.iter().filter(|event| is_beyond(event.value_billionths)).count()
}

fn at_rank(events: &[Happened], rank: usize) -> i128 {
    let mut values: Vec<i128> = events.iter().map(|event| event.value_billionths).collect();
    *values.select_nth_unstable(rank - 1).1
}
