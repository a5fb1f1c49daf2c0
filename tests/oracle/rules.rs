//! What a rule of any kind says, second by second, recounted from the raw events of each window.
//!
//! A window ends at the second judged. It begins at the last boundary of panes that is at least its length before,
//! where panes are as wide as the largest of 1 s, 10 s, 1 min, 10 min, 1 h, 6 h and 1 day that is at most a thirtieth of
//! the length; or where a calendar says. A group is judged from the second after its first event (or sample) on,
//! whether that event counts or not.

use super::calendar::Period;
use super::episodes::{Judged, Patience, Says, Second, episodes};
use super::number::{Happened, Heard, number};
use super::slices::{Slice, Slices};

pub struct Rule {
    pub kind: Kind,
    /// Gravest first.
    pub levels: Vec<Level>,
    pub hold_s: i64,
    /// An open episode that is unknown this long ends.
    pub no_data_after_s: i64,
    /// The second of the first event of all; of the source that began last, when there are several.
    pub whole_s: i64,
    /// What an objective counts instead of events.
    pub slices: Option<Slices>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Ratio,
    /// The value at rank ceil(q x n); of a field or of an age, which is a multiple of the step.
    Quantile {
        millionths: usize,
        step_billionths: i128,
    },
    Count,
    Rate,
    Absence,
    BurnRate {
        allowed_billionths: i128,
    },
    Budget {
        allowed_billionths: i128,
        period: Period,
    },
    /// In messages, else in seconds.
    Lag {
        in_messages: bool,
    },
    Score {
        min_weight_billionths: i128,
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

/// Of events or of slices, in billionths of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub bad: i128,
    pub total: i128,
}

pub const BILLION: i128 = 1_000_000_000;

/// The episodes of one group, judged up to `until_s`.
pub fn judge_group(rule: &Rule, group: &[(String, String)], heard: &Heard, until_s: i64) -> Vec<Judged> {
    let Some(first_s) = heard.first_s() else { return Vec::new() };
    let slices = rule.slices.as_ref().map(|slices| slices.all(heard, rule.whole_s, until_s));
    let asked = Asked { rule, heard, slices: slices.as_deref() };
    let seconds: Vec<Second> = (first_s + 1..=until_s).map(|end_s| asked.second(end_s)).collect();
    let patience = Patience {
        levels: rule.levels.iter().map(|level| (level.name.clone(), level.for_s)).collect(),
        hold_s: rule.hold_s,
        no_data_after_s: rule.no_data_after_s,
        more_is_worse: rule.levels[0].above,
    };
    episodes(group, &seconds, &patience)
}

struct Asked<'a> {
    rule: &'a Rule,
    heard: &'a Heard,
    slices: Option<&'a [Slice]>,
}

impl Asked<'_> {
    fn second(&self, end_s: i64) -> Second {
        let levels = &self.rule.levels;
        let read: Vec<(Says, Option<i128>)> = levels.iter().map(|level| self.read(level, end_s)).collect();
        let known = || read.iter().filter(|(says, _)| *says != Says::Unknown).filter_map(|(_, value)| *value);
        let last = self.heard.counted(end_s - 1, end_s);
        Second {
            end_s,
            value_billionths: if levels[0].above { known().max() } else { known().min() },
            says: read.iter().map(|(says, _)| *says).collect(),
            bad: match self.rule.kind {
                Kind::Ratio | Kind::BurnRate { .. } | Kind::Budget { .. } => {
                    last.iter().filter(|event| event.bad).count() as u64
                }
                Kind::Quantile { .. } => beyond(&levels[0], last) as u64,
                Kind::Count => last.iter().filter(|event| event.counts).count() as u64,
                Kind::Rate | Kind::Absence | Kind::Lag { .. } | Kind::Score { .. } => 0,
            },
        }
    }

    /// What a level says, and the value it compares.
    fn read(&self, level: &Level, end_s: i64) -> (Says, Option<i128>) {
        let (rule, threshold) = (self.rule, level.threshold_billionths);
        let start_s = match &rule.kind {
            Kind::Budget { period: Period::Calendar(calendar), .. } => calendar.begins_s(end_s),
            _ => window_start(level.window_s, end_s),
        };
        let length_s = match &rule.kind {
            Kind::Budget { period: Period::Calendar(_), .. } => end_s - start_s,
            _ => level.window_s,
        };
        let covered_s = (end_s - start_s.max(rule.whole_s)).clamp(0, length_s);
        if i128::from(covered_s) * BILLION < level.min_coverage_billionths * i128::from(length_s) {
            return (Says::Unknown, None);
        }
        let sum = self.sum(start_s, end_s);
        let few = sum.total == 0 || sum.total < level.min_events as i128 * BILLION;
        let enough_bad = sum.bad >= level.min_bad as i128 * BILLION;
        let crosses = |value: i128| if level.above { value > threshold } else { value < threshold };
        let value = || number(rule, self.heard, level.window_s, end_s);
        match &rule.kind {
            Kind::Ratio => {
                let (left, right) = (sum.bad * BILLION, threshold * sum.total);
                let crosses = if level.above { left > right && enough_bad } else { left < right };
                known_if(!few, crosses, || left / sum.total)
            }
            Kind::Quantile { millionths, .. } => {
                if few {
                    return (Says::Unknown, None);
                }
                let window = self.heard.counted(start_s, end_s);
                let value = at_rank(window, *millionths);
                let crosses = crosses(value) && (!level.above || beyond(level, window) >= level.min_bad);
                (says(crosses), crosses.then_some(value))
            }
            Kind::Count => {
                let enough = sum.total >= level.min_events as i128 * BILLION;
                known_if(enough, crosses(sum.total), || sum.total)
            }
            Kind::Rate => {
                let span_s = i128::from(end_s - start_s);
                let (left, right) = (sum.total, threshold * span_s);
                let crosses = if level.above { left > right } else { left < right };
                known_if(sum.total >= level.min_events as i128 * BILLION, crosses, || left / span_s)
            }
            Kind::Absence => {
                let silent = value();
                (says(silent >= Some(i128::from(level.window_s) * BILLION)), silent)
            }
            Kind::BurnRate { allowed_billionths: allowed } => {
                let short_s = level.short_window_s.expect("a burn rate has two windows");
                let short = self.sum(window_start(short_s, end_s), end_s);
                if few || short.total == 0 {
                    return (Says::Unknown, None);
                }
                // bad / total / allowed >= factor x tenths / 10
                let burns = |sum: Sum, tenths: i128| {
                    sum.bad * 10 * BILLION * BILLION >= tenths * threshold * allowed * sum.total
                };
                let says = if burns(sum, 10) && burns(short, 10) && enough_bad {
                    Says::Crosses
                } else if burns(short, 9) {
                    Says::Lingers
                } else {
                    Says::Clear
                };
                (says, Some(sum.bad * BILLION * BILLION / (allowed * sum.total)))
            }
            Kind::Budget { allowed_billionths: allowed, .. } => {
                // 1 - bad / (allowed x total) < threshold
                let below = sum.bad * BILLION * BILLION > (BILLION - threshold) * allowed * sum.total;
                known_if(!few, below && enough_bad, || remaining(sum, *allowed))
            }
            Kind::Lag { .. } | Kind::Score { .. } => match value() {
                Some(value) => (says(crosses(value)), Some(value)),
                None => (Says::Unknown, None),
            },
        }
    }

    /// What lies wholly within `[start_s, end_s)`.
    fn sum(&self, start_s: i64, end_s: i64) -> Sum {
        let Some(slices) = self.slices else { return self.heard.sum(start_s, end_s) };
        let within = slices.iter().filter(|slice| start_s <= slice.start_s && slice.end_s <= end_s);
        within.fold(Sum::default(), |sum, slice| Sum {
            bad: sum.bad + slice.sum.bad,
            total: sum.total + slice.sum.total,
        })
    }
}

/// The share of an error budget that is left, rounded down; all of it before the first event.
pub fn remaining(sum: Sum, allowed_billionths: i128) -> i128 {
    match sum.total {
        0 => BILLION,
        total => {
            let budget = allowed_billionths * total;
            (BILLION * budget - sum.bad * BILLION * BILLION).div_euclid(budget)
        }
    }
}

fn says(crosses: bool) -> Says {
    if crosses { Says::Crosses } else { Says::Clear }
}

fn known_if(known: bool, crosses: bool, value: impl Fn() -> i128) -> (Says, Option<i128>) {
    if known { (says(crosses), Some(value())) } else { (Says::Unknown, None) }
}

pub fn window_start(window_s: i64, end_s: i64) -> i64 {
    let fits = |pane_s: &i64| pane_s * 30 <= window_s;
    let pane_s = [1, 10, 60, 600, 3_600, 21_600, 86_400].into_iter().filter(fits).max().unwrap_or(1);
    (end_s - window_s).div_euclid(pane_s) * pane_s
}

fn beyond(level: &Level, events: &[Happened]) -> usize {
    let threshold = level.threshold_billionths;
    let is_beyond = |value: i128| if level.above { value > threshold } else { value >= threshold };
    events.iter().filter(|event| event.counts && is_beyond(event.value_billionths)).count()
}

fn at_rank(events: &[Happened], millionths: usize) -> i128 {
    let counted = events.iter().filter(|event| event.counts);
    let mut values: Vec<i128> = counted.map(|event| event.value_billionths).collect();
    let rank = (values.len() * millionths).div_ceil(1_000_000).max(1);
    *values.select_nth_unstable(rank - 1).1
}
