//! Objectives that count slices of time instead of events.
//!
//! Slices begin at multiples of their length. The first is the first that is whole from a group's first event on, and
//! from the first of all its sources.

use super::number::{Heard, number};
use super::rules::{BILLION, Sum};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices {
    pub slice_s: i64,
    pub counts: Counts,
    pub empty: Empty,
    pub good: Good,
}

/// What a slice is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Good when its good share reaches the target, else bad.
    Whole { target_billionths: i128 },
    /// Bad by its bad share, rounded up to a billionth.
    Share,
}

/// What a slice without data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    Good,
    Bad,
    Skipped,
}

/// What is good within a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    /// Events that are not bad.
    Events,
    /// All of the slice, when it has as many events a second.
    Rate { at_least_billionths: i128 },
    /// Each second in which the lag was no more than this.
    Lag { in_messages: bool, at_most_billionths: i128 },
    /// Each second in which the score was no less than this. It is the one part.
    Score { at_least_billionths: i128 },
}

#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub start_s: i64,
    pub end_s: i64,
    pub sum: Sum,
}

impl Slices {
    /// Every slice that ends by `until_s`.
    pub fn all(&self, heard: &Heard, whole_s: i64, until_s: i64) -> Vec<Slice> {
        let from_s = whole_s.max(heard.first_s().unwrap_or(until_s));
        let slice = |start_s| {
            let end_s = start_s + self.slice_s;
            Slice { start_s, end_s, sum: self.worth(self.content(heard, start_s, end_s)) }
        };
        let starts = (from_s..until_s).filter(|start_s| start_s % self.slice_s == 0);
        starts.map(slice).filter(|slice| slice.end_s <= until_s).collect()
    }

    fn content(&self, heard: &Heard, start_s: i64, end_s: i64) -> Sum {
        let each = |is_good: &dyn Fn(i64) -> Option<bool>| {
            let seconds: Vec<bool> = (start_s + 1..=end_s).filter_map(is_good).collect();
            let bad = seconds.iter().filter(|is_good| !**is_good).count();
            Sum { bad: bad as i128 * BILLION, total: seconds.len() as i128 * BILLION }
        };
        match self.good {
            Good::Events => heard.sum(start_s, end_s),
            Good::Rate { at_least_billionths } => {
                let is_good =
                    heard.sum(start_s, end_s).total >= at_least_billionths * i128::from(end_s - start_s);
                Sum { bad: if is_good { 0 } else { BILLION }, total: BILLION }
            }
            Good::Lag { in_messages, at_most_billionths } => {
                each(&|end_s| Some(heard.lag_billionths(in_messages, end_s)? <= at_most_billionths))
            }
            Good::Score { at_least_billionths } => {
                let Heard::Parts(parts) = heard else { panic!("a score has parts") };
                let [score] = &parts[..] else { panic!("there is one score") };
                let window_s = score.rule.levels[0].window_s;
                each(&|end_s| {
                    Some(number(&score.rule, &score.heard, window_s, end_s)? >= at_least_billionths)
                })
            }
        }
    }

    fn worth(&self, content: Sum) -> Sum {
        let all = |bad| Sum { bad, total: BILLION };
        match (content.total, self.empty, self.counts) {
            (0, Empty::Good, _) => all(0),
            (0, Empty::Bad, _) => all(BILLION),
            (0, Empty::Skipped, _) => Sum::default(),
            (total, _, Counts::Whole { target_billionths }) => {
                let is_good = (total - content.bad) * BILLION >= target_billionths * total;
                all(if is_good { 0 } else { BILLION })
            }
            (total, _, Counts::Share) => all((content.bad * BILLION + total - 1) / total),
        }
    }
}
