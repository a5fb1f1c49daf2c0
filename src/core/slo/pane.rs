//! Counts of one group in panes of several widths, and the sums of sliding windows over them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::budget::period_width_s;
use super::hours::WIDTH_S;
use super::seconds::{Second, Seconds};
use super::sliding_values::SlidingValues;
use crate::core::alert::AlertRule;
use crate::core::partial::CellsDelta;
use crate::core::plan::{Cells, move_cell};
use crate::core::rules::Rules;
use crate::core::sketch::histogram::{Histogram, Recorded};
use crate::core::source::Quantile;
use crate::core::tally::{CellSet, add_cell};
use crate::core::time::floor_to;

/// Widths in seconds; each divides the next.
const WIDTHS_S: [i64; 7] = [1, 10, 60, 600, 3_600, 21_600, 86_400];

/// Seconds between two snapshots that late events can rewind a watch to.
pub const SNAPSHOT_EVERY_S: i64 = 60;

/// Width of the panes a window slides in: at most a thirtieth of its length, a second at the finest.
pub fn pane_width_s(window_s: i64) -> i64 {
    WIDTHS_S.into_iter().rev().find(|width| width * 30 <= window_s).unwrap_or(1)
}

/// The widths a projection keeps, and how long each is needed, in seconds behind the watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    tiers: Vec<(i64, i64)>,
}

impl Resolution {
    /// Fine enough and kept long enough to judge every one of the rules that read it again as far back as any may be
    /// corrected: a score reads windows of its parts, and may be corrected for longer than they.
    pub fn of<'a>(rules: &Rules, read: impl Iterator<Item = &'a AlertRule>) -> Resolution {
        let read: Vec<&AlertRule> = read.collect();
        // Judging again begins at a snapshot, which may stand before the last second to be corrected.
        let back_s = read.iter().map(|rule| rule.correct_within_s).max().unwrap_or(0) + SNAPSHOT_EVERY_S;
        let mut keep_s = BTreeMap::from([(1, 0)]);
        for rule in read {
            for (width, length_s) in spans(rule, rules.lateness_s(rule)) {
                keep(&mut keep_s, width, length_s + width + back_s);
                // The end of the window is made of ever finer panes.
                for pair in WIDTHS_S.windows(2).filter(|pair| pair[1] <= width) {
                    keep(&mut keep_s, pair[0], pair[1] + back_s);
                }
            }
        }
        Resolution { tiers: keep_s.into_iter().collect() }
    }

    /// Of the widths above a second.
    fn coarse(&self) -> &[(i64, i64)] {
        &self.tiers[self.tiers.partition_point(|(width, _)| *width <= 1)..]
    }

    /// How long single seconds are kept, in seconds.
    fn seconds_kept_s(&self) -> i64 {
        self.tiers.iter().find(|(width, _)| *width == 1).map_or(0, |(_, keep_s)| *keep_s)
    }

    /// (width, how long it is kept) in seconds, finest first.
    pub fn tiers(&self) -> &[(i64, i64)] {
        &self.tiers
    }

    /// Seconds behind the watermark after which a count can no longer matter.
    pub fn horizon_s(&self) -> i64 {
        self.tiers.iter().map(|&(_, keep_s)| keep_s).max().unwrap_or(0)
    }
}

/// The stretches of time a rule looks at, each with the width of its panes.
fn spans(rule: &AlertRule, lateness_s: i64) -> Vec<(i64, i64)> {
    let mut spans = Vec::new();
    for level in &rule.levels {
        spans.push((pane_width_s(level.window_s), level.window_s));
        spans.extend(level.short_window_s.map(|short_s| (pane_width_s(short_s), short_s)));
    }
    if let Some(objective) = &rule.objective {
        spans.push((period_width_s(&objective.period), objective.period.length_s()));
        spans.extend(objective.method.slice_s().map(|slice_s| (1, slice_s)));
        // Hours are corrected for as long as hourly tables are.
        spans.push((WIDTH_S, lateness_s + 3_600));
    }
    spans
}

fn keep(keep_s: &mut BTreeMap<i64, i64>, width: i64, at_least_s: i64) {
    let kept = keep_s.entry(width).or_insert(0);
    *kept = (*kept).max(at_least_s);
}

/// Counts by pane, for each width. Every event stands once in every width, so late ones need no special case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panes {
    seconds: Seconds,
    /// Coarser width in seconds -> start of the pane -> what it holds, shared with a checkpoint while that is written.
    tiers: BTreeMap<i64, BTreeMap<i64, Arc<Pane>>>,
    /// (cell, its last second), ascending, of the seconds no longer kept: from there on a silence is counted.
    last_seconds: Vec<(u16, i64)>,
    /// Earliest second with an event, kept or not.
    first_second: Option<i64>,
    #[serde(skip)]
    sliding: SlidingValues,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pane {
    /// (cell, events), ascending.
    cells: Vec<(u16, u64)>,
    /// Parallel to the projection's measured values.
    values: Vec<Histogram>,
}

/// Of what a window is made.
#[derive(Clone, Copy)]
enum Part<'p> {
    Pane(&'p Pane),
    Second(Second<'p>),
}

impl<'p> Part<'p> {
    fn each_cell(&self, mut each: impl FnMut(u16, u64)) {
        match self {
            Part::Pane(pane) => pane.cells.iter().for_each(|&(cell, count)| each(cell, count)),
            Part::Second(second) => second.each_cell(each),
        }
    }

    fn values(&self, measured: usize) -> Option<Recorded<'p>> {
        match self {
            Part::Pane(pane) => pane.values.get(measured).map(Histogram::recorded),
            Part::Second(second) => Some(second.values(measured)),
        }
    }
}

/// What a window holds for one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub bad: u64,
    pub total: u64,
}

impl Pane {
    fn add(&mut self, delta: &CellsDelta) {
        delta.cells.iter().for_each(|&(cell, count)| add_cell(&mut self.cells, cell, count));
        self.values.resize(self.values.len().max(delta.values.len()), Histogram::default());
        for (sum, values) in self.values.iter_mut().zip(&delta.values) {
            sum.merge(values);
        }
    }
}

impl Panes {
    pub fn add(&mut self, resolution: &Resolution, second: i64, delta: &CellsDelta) {
        if delta.cells.is_empty() {
            return;
        }
        self.first_second = Some(self.first_second.map_or(second, |earlier| earlier.min(second)));
        self.sliding.add(second, &delta.values);
        self.seconds.add(second, delta);
        for &(width, _) in resolution.coarse() {
            let tier = self.tiers.entry(width).or_default();
            match tier.entry(floor_to(second, width)) {
                Entry::Occupied(known) => Arc::make_mut(known.into_mut()).add(delta),
                // A copy is no longer than it has to be.
                Entry::Vacant(new) => {
                    new.insert(Arc::new(Pane { cells: delta.cells.clone(), values: delta.values.clone() }));
                }
            }
        }
    }

    /// Sum over `[start, end)`. `start` must be a boundary of `width`.
    pub fn sum(&self, width: i64, start: i64, end: i64, total: &CellSet, bad: &CellSet) -> Sum {
        let mut sum = Sum::default();
        self.each_part(width, start, end, |part| {
            part.each_cell(|cell, count| {
                sum.total += if total.has(cell) { count } else { 0 };
                sum.bad += if bad.has(cell) { count } else { 0 };
            });
        });
        sum
    }

    /// Of all values of one measured field over `[start, end)`, to 3 significant digits.
    pub fn quantile(
        &self,
        quantile: Quantile,
        width: i64,
        start: i64,
        end: i64,
        measured: usize,
    ) -> Option<i64> {
        self.sliding.quantile(quantile, measured, width, (start, end), |width, start, end, each| {
            self.each_part(width, start, end, |part| {
                part.values(measured).into_iter().for_each(&mut *each);
            });
        })
    }

    /// What makes up `[start, end)`: panes as coarse as `width` where they can be, ever finer towards the end.
    fn each_part<'p>(&'p self, width: i64, start: i64, end: i64, mut each: impl FnMut(Part<'p>)) {
        let mut from = start;
        for width in WIDTHS_S.into_iter().rev().filter(|finer| (2..=width).contains(finer)) {
            let to = floor_to(end, width);
            if from < to
                && let Some(tier) = self.tiers.get(&width)
            {
                tier.range(from..to).for_each(|(_, pane)| each(Part::Pane(pane)));
            }
            from = from.max(to);
        }
        self.seconds.range(from..end).for_each(|(_, second)| each(Part::Second(second)));
    }

    /// Earliest second with an event, however long ago.
    pub fn first_second(&self) -> Option<i64> {
        self.first_second
    }

    /// Earliest second with an event at or after `from_s`.
    pub fn next_second(&self, from_s: i64) -> Option<i64> {
        self.seconds.range(from_s..i64::MAX).next().map(|(second, _)| second)
    }

    /// Latest second before `before_s` with an event that counts.
    pub fn last_second(&self, before_s: i64, total: &CellSet) -> Option<i64> {
        let counts = |second: &Second<'_>| {
            let mut any = false;
            second.each_cell(|cell, _| any |= total.has(cell));
            any
        };
        let mut kept = self.seconds.range(i64::MIN..before_s).rev();
        let kept = kept.find(|(_, second)| counts(second)).map(|(second, _)| second);
        let gone = self.last_seconds.iter().filter(|(cell, second)| total.has(*cell) && *second < before_s);
        kept.max(gone.map(|(_, second)| *second).max())
    }

    /// Newest second with an event.
    pub fn newest_second(&self) -> Option<i64> {
        self.seconds.newest()
    }

    /// Whether any pane of any width that begins in `[from_s, to_s)` has events.
    pub fn any_between(&self, from_s: i64, to_s: i64) -> bool {
        self.seconds.range(from_s..to_s).next().is_some()
            || self.tiers.values().any(|tier| tier.range(from_s..to_s).next().is_some())
    }

    /// Drops what is behind `watermark_s` by more than its width is kept, and widths no longer asked for.
    pub fn forget(&mut self, resolution: &Resolution, watermark_s: i64) {
        self.tiers.retain(|width, _| resolution.coarse().iter().any(|(kept, _)| kept == width));
        self.sliding.forget(|width| {
            let tier = resolution.tiers.iter().find(|(kept, _)| *kept == width);
            tier.map(|(_, keep_s)| watermark_s.saturating_sub(*keep_s))
        });
        let last_seconds = &mut self.last_seconds;
        self.seconds.forget(watermark_s - resolution.seconds_kept_s(), |second, held| {
            held.each_cell(|cell, _| see(last_seconds, cell, second));
        });
        for &(width, keep_s) in resolution.coarse() {
            if let Some(tier) = self.tiers.get_mut(&width) {
                while let Some(entry) = tier.first_entry().filter(|e| e.key() + width <= watermark_s - keep_s)
                {
                    entry.remove();
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty() && self.tiers.values().all(BTreeMap::is_empty)
    }

    /// Rewrites every pane, when a change of rules gives bits and values another place.
    pub fn adopt(&mut self, from: &Cells, to: &Cells) {
        self.sliding.clear();
        let place = |name: u64| from.measured.iter().position(|measured| measured.name == name);
        let measured: Vec<Option<usize>> = to.measured.iter().map(|measured| place(measured.name)).collect();
        self.seconds.adopt(|cell| move_cell(cell, &from.atoms, &to.atoms), &measured);
        for pane in self.tiers.values_mut().flat_map(BTreeMap::values_mut) {
            let Pane { cells, values } = std::mem::take(Arc::make_mut(pane));
            let pane_now = CellsDelta { cells, values, exemplars: Vec::new() };
            let CellsDelta { cells, values, .. } = pane_now.moved(from, to).into_owned();
            *pane = Arc::new(Pane { cells, values });
        }
        for (cell, second) in std::mem::take(&mut self.last_seconds) {
            see(&mut self.last_seconds, move_cell(cell, &from.atoms, &to.atoms), second);
        }
    }
}

fn see(last_seconds: &mut Vec<(u16, i64)>, cell: u16, second: i64) {
    match last_seconds.binary_search_by_key(&cell, |&(known, _)| known) {
        Ok(at) => last_seconds[at].1 = last_seconds[at].1.max(second),
        Err(at) => last_seconds.insert(at, (cell, second)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(cells: &[(u16, u64)]) -> CellsDelta {
        CellsDelta { cells: cells.to_vec(), ..CellsDelta::default() }
    }

    /// Cells 0 and 1 count, cell 1 is bad.
    fn sum(panes: &Panes, width: i64, start: i64, end: i64) -> Sum {
        let (total, bad) = (CellSet::of(1, |_| true), CellSet::of(1, |cell| cell == 1));
        panes.sum(width, start, end, &total, &bad)
    }

    #[test]
    fn widths_are_at_most_a_thirtieth() {
        for (window_s, width) in
            [(1, 1), (45, 1), (299, 1), (300, 10), (1_799, 10), (1_800, 60), (2_592_000, 86_400)]
        {
            assert_eq!(pane_width_s(window_s), width, "{window_s} s");
        }
    }

    #[test]
    fn a_window_begins_at_a_pane_and_ends_at_any_second() {
        let resolution = Resolution { tiers: vec![(1, 1_000), (10, 1_000)] };
        let mut panes = Panes::default();
        // Out of order on purpose.
        for second in [119, 100, 109, 110, 121, 99] {
            panes.add(&resolution, second, &one(&[(0, 1), (1, 10)]));
        }
        let sum = |start, end| sum(&panes, 10, start, end);
        assert_eq!(sum(100, 121), Sum { bad: 40, total: 44 });
        assert_eq!(sum(100, 119), Sum { bad: 30, total: 33 });
        assert_eq!(sum(120, 121), Sum::default());
        assert_eq!(sum(120, 122), Sum { bad: 10, total: 11 });
    }

    #[test]
    fn what_is_past_its_keep_is_dropped() {
        let resolution = Resolution { tiers: vec![(1, 5), (10, 20)] };
        let mut panes = Panes::default();
        panes.add(&resolution, 100, &one(&[(1, 1)]));
        panes.forget(&resolution, 106);
        assert_eq!(sum(&panes, 1, 100, 101).bad, 0);
        assert_eq!(sum(&panes, 10, 100, 110).bad, 1);
        panes.forget(&resolution, 130);
        assert!(panes.is_empty());
    }

    #[test]
    fn the_last_event_of_a_kind_is_known_after_its_second_is_gone() {
        let resolution = Resolution { tiers: vec![(1, 5)] };
        let mut panes = Panes::default();
        panes.add(&resolution, 100, &one(&[(1, 1)]));
        panes.add(&resolution, 107, &one(&[(0, 1)]));
        panes.forget(&resolution, 1_000);
        // Late, and gone at once.
        panes.add(&resolution, 90, &one(&[(1, 1)]));
        panes.forget(&resolution, 1_000);
        let last = |before_s, cell| panes.last_second(before_s, &CellSet::of(1, |of| of == cell));
        assert_eq!((last(1_000, 0), last(1_000, 1), last(107, 0)), (Some(107), Some(100), None));
    }

    #[test]
    fn values_that_slide_are_those_put_together_anew() {
        let resolution = Resolution { tiers: vec![(1, 100), (10, 400)] };
        let (mut panes, mut draw) = (Panes::default(), 1u64);
        let mut next = |below: u64| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (draw >> 33) % below
        };
        for second in 0..2_000 {
            // Mostly now, sometimes late; some seconds have nothing.
            for at in [second, second - next(90) as i64] {
                let mut values = Histogram::default();
                (0..next(3)).for_each(|_| values.record(next(5_000) as i64));
                panes.add(&resolution, at, &CellsDelta { values: vec![values], ..one(&[(0, 1)]) });
            }
            // Two windows, settled and early, and a jump back now and then.
            for (window_s, end) in
                [(300, second - 3), (330, second - 3), (300, second), (300, second - next(60) as i64)]
            {
                let start = floor_to(end - window_s, 10);
                let mut fresh = panes.clone();
                fresh.sliding.clear();
                for millionths in [1, 500_000, 950_000, 999_999] {
                    let of = |panes: &Panes| panes.quantile(Quantile { millionths }, 10, start, end, 0);
                    assert_eq!(of(&panes), of(&fresh), "{millionths} to {end}");
                }
            }
            panes.forget(&resolution, second - 3);
        }
    }

    #[test]
    fn a_long_window_ends_in_ever_finer_panes() {
        let resolution = Resolution { tiers: WIDTHS_S.map(|width| (width, i64::MAX / 4)).to_vec() };
        let mut panes = Panes::default();
        let seconds = (0..200_000).step_by(97);
        seconds.clone().for_each(|second| panes.add(&resolution, second, &one(&[(1, 1)])));
        for end in [86_400, 86_401, 100_799, 190_001, 199_999] {
            let expected = seconds.clone().filter(|second| (0..end).contains(second)).count() as u64;
            assert_eq!(sum(&panes, 86_400, 0, end).total, expected, "to {end}");
        }
    }
}
