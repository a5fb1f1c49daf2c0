//! What a rule said and an objective counted, hour by hour: for tables, and told again when late events change it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::judge::{Bounds, Judged};
use super::latch::{Latch, Verdict};
use super::pane::Sum;
use super::reading::Reading;
use super::slices::SLICE;
use crate::core::output::ValueStats;
use crate::core::time::floor_to;

const HOUR_S: i64 = 3_600;
/// Panes an hour of an objective is added up from.
pub const WIDTH_S: i64 = 600;

/// One hour of one rule, as far as it has been judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleHourStats {
    pub values: Option<ValueStats>,
    pub known_seconds: u64,
    /// Seconds each level was crossed, gravest first.
    pub level_seconds: Vec<u64>,
    /// The last value, for kinds that are not read every second.
    held_billionths: Option<i64>,
}

impl RuleHourStats {
    /// Adds one second: `reading` is of the gravest level.
    pub fn add(&mut self, reading: Reading, latches: &[Latch]) {
        self.level_seconds.resize(latches.len(), 0);
        if let Some(level) = latches.iter().position(|latch| latch.crossed) {
            self.level_seconds[level] += 1;
        }
        if reading.verdict == Verdict::Unknown {
            return;
        }
        self.known_seconds += 1;
        self.held_billionths = reading.value_billionths.or(self.held_billionths);
        if let Some(value) = self.held_billionths {
            let stats = self.values.get_or_insert(ValueStats {
                min_billionths: value,
                max_billionths: value,
                sum_billionths: 0,
            });
            stats.min_billionths = stats.min_billionths.min(value);
            stats.max_billionths = stats.max_billionths.max(value);
            stats.sum_billionths += i128::from(value);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.known_seconds == 0 && self.level_seconds.iter().all(|seconds| *seconds == 0)
    }
}

/// What an objective counted in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SloHourCounts {
    pub events: Sum,
    /// In billionths of a slice.
    pub slices: Sum,
}

impl SloHourCounts {
    /// The hour that begins at `hour_s`.
    pub fn of(judged: &Judged<'_>, hour_s: i64) -> SloHourCounts {
        let bounds = Bounds { width_s: WIDTH_S, ..Bounds::once(hour_s, hour_s + HOUR_S) };
        let slices = if judged.slices.is_some() { judged.sum(bounds) } else { Sum::default() };
        SloHourCounts { events: judged.events(bounds), slices }
    }

    /// Whole seconds of slices that counted.
    pub fn slice_seconds(&self, slice_s: i64) -> u64 {
        self.slices.total / SLICE * slice_s.unsigned_abs()
    }
}

/// Hours that are over and were told, as long as they may still change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours<T>(BTreeMap<i64, (T, u32)>);

impl<T> Default for Hours<T> {
    fn default() -> Hours<T> {
        Hours(BTreeMap::new())
    }
}

impl<T: Clone + PartialEq> Hours<T> {
    /// The revision to tell `now` as; None when it is no news.
    pub fn news(&mut self, hour_s: i64, now: &T) -> Option<u32> {
        let revision = match self.0.get(&hour_s) {
            Some((before, _)) if before == now => return None,
            Some((_, revision)) => revision + 1,
            None => 0,
        };
        self.0.insert(hour_s, (now.clone(), revision));
        Some(revision)
    }

    /// Whether the hour was told and may still change.
    pub fn holds(&self, hour_s: i64) -> bool {
        self.0.contains_key(&hour_s)
    }

    /// Drops hours that ended before `before_s`.
    pub fn forget(&mut self, before_s: i64) {
        while let Some(entry) = self.0.first_entry().filter(|entry| entry.key() + HOUR_S <= before_s) {
            entry.remove();
        }
    }
}

/// Start of the hour that holds the second which ends at `at_s`.
pub fn hour_of(at_s: i64) -> i64 {
    floor_to(at_s - 1, HOUR_S)
}

/// Starts of the whole hours that ended in `(after_s, until_s]`.
pub fn ended_between(after_s: i64, until_s: i64) -> impl Iterator<Item = i64> {
    let first = floor_to(after_s, HOUR_S);
    (0..).map(move |n| first + n * HOUR_S).take_while(move |hour_s| hour_s + HOUR_S <= until_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_adds_up_what_is_known_and_holds_the_last_value() {
        let reading = |verdict, value_billionths| Reading { verdict, value_billionths };
        let (off, mut on) = (Latch::default(), Latch::default());
        on.crossed = true;
        let mut hour = RuleHourStats::default();
        hour.add(reading(Verdict::Crossed, Some(7)), &[on, on]);
        hour.add(reading(Verdict::NotCrossed, None), &[off, on]);
        hour.add(reading(Verdict::Unknown, Some(100)), &[off, off]);
        let values = ValueStats { min_billionths: 7, max_billionths: 7, sum_billionths: 14 };
        assert_eq!((hour.values, hour.known_seconds), (Some(values), 2));
        assert_eq!(hour.level_seconds, [1, 1], "the gravest that is crossed alone");
    }

    #[test]
    fn slices_of_an_hour_are_told_in_seconds() {
        let slices = Sum { bad: SLICE / 2, total: 3 * SLICE };
        assert_eq!(SloHourCounts { slices, ..SloHourCounts::default() }.slice_seconds(300), 900);
    }

    #[test]
    fn an_hour_is_told_once_and_again_when_it_changes() {
        let mut told = Hours::default();
        assert_eq!(
            [told.news(0, &1), told.news(0, &1), told.news(0, &2), told.news(3_600, &2)],
            [Some(0), None, Some(1), Some(0)]
        );
        told.forget(7_199);
        assert_eq!([told.holds(0), told.holds(3_600)], [false, true]);
    }

    #[test]
    fn a_second_belongs_to_the_hour_it_lies_in() {
        assert_eq!([hour_of(3_600), hour_of(3_601)], [0, 3_600]);
        assert_eq!(ended_between(3_000, 7_200).collect::<Vec<_>>(), [0, 3_600]);
        assert_eq!(ended_between(3_600, 7_199).count(), 0);
    }
}
