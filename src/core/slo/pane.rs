//! Counts of one group in panes of several widths, and the sums of sliding windows over them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::core::alert::AlertRule;
use crate::core::fold::add_cell;
use crate::core::plan::Watched;
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
    /// Fine enough and kept long enough to judge every one of `rules` again as far back as it may be corrected.
    pub fn of<'a>(rules: impl Iterator<Item = &'a AlertRule>) -> Resolution {
        let mut keep_s = BTreeMap::from([(1, 0)]);
        for rule in rules {
            // Judging again begins at a snapshot, which may stand before the last second to be corrected.
            let back_s = rule.correct_within_s + SNAPSHOT_EVERY_S;
            for level in &rule.levels {
                let width = pane_width_s(level.window_s);
                let coarse = keep_s.entry(width).or_insert(0);
                *coarse = (*coarse).max(level.window_s + width + back_s);
                let fine = keep_s.entry(1).or_insert(0);
                *fine = (*fine).max(width + back_s);
            }
        }
        Resolution { tiers: keep_s.into_iter().collect() }
    }

    /// Seconds behind the watermark after which a count can no longer matter.
    pub fn horizon_s(&self) -> i64 {
        self.tiers.iter().map(|&(_, keep_s)| keep_s).max().unwrap_or(0)
    }
}

/// Cells by pane, for each width. Every event stands once in every width, so late ones need no special case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panes {
    /// Width in seconds -> start of the pane -> cells.
    tiers: BTreeMap<i64, BTreeMap<i64, Vec<(u16, u64)>>>,
}

/// What a window holds for one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub bad: u64,
    pub total: u64,
}

impl Panes {
    pub fn add(&mut self, resolution: &Resolution, second: i64, cells: &[(u16, u64)]) {
        for &(width, _) in &resolution.tiers {
            let pane = self.tiers.entry(width).or_default().entry(floor_to(second, width)).or_default();
            cells.iter().for_each(|&(cell, count)| add_cell(pane, cell, count));
        }
    }

    /// Sum over `[start, end)`. `start` must be a boundary of `width`.
    pub fn sum(&self, width: i64, start: i64, end: i64, watched: &Watched) -> Sum {
        let fine_from = floor_to(end, width).max(start);
        let mut sum = Sum::default();
        self.add_range(width, start, fine_from, watched, &mut sum);
        self.add_range(1, fine_from, end, watched, &mut sum);
        sum
    }

    fn add_range(&self, width: i64, start: i64, end: i64, watched: &Watched, sum: &mut Sum) {
        let Some(tier) = self.tiers.get(&width).filter(|_| start < end) else { return };
        for &(cell, count) in tier.range(start..end).flat_map(|(_, cells)| cells) {
            let cell = usize::from(cell);
            sum.total += if watched.total.get(cell) == Some(&true) { count } else { 0 };
            sum.bad += if watched.bad.get(cell) == Some(&true) { count } else { 0 };
        }
    }

    /// Earliest second with an event that is still kept to the second.
    pub fn first_second(&self) -> Option<i64> {
        self.tiers.get(&1).and_then(|tier| tier.keys().next().copied())
    }

    /// Earliest second with an event at or after `from_s`.
    pub fn next_second(&self, from_s: i64) -> Option<i64> {
        self.tiers.get(&1).and_then(|tier| tier.range(from_s..).next().map(|(&second, _)| second))
    }

    /// Whether any pane of any width that begins in `[from_s, to_s)` has events.
    pub fn any_between(&self, from_s: i64, to_s: i64) -> bool {
        self.tiers.values().any(|tier| tier.range(from_s..to_s).next().is_some())
    }

    /// Drops what is behind `watermark_s` by more than its width is kept, and widths no longer asked for.
    pub fn forget(&mut self, resolution: &Resolution, watermark_s: i64) {
        self.tiers.retain(|width, _| resolution.tiers.iter().any(|(kept, _)| kept == width));
        for &(width, keep_s) in &resolution.tiers {
            if let Some(tier) = self.tiers.get_mut(&width) {
                while let Some(entry) = tier.first_entry().filter(|e| e.key() + width <= watermark_s - keep_s)
                {
                    entry.remove();
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.tiers.values().all(BTreeMap::is_empty)
    }

    /// Rewrites every cell, when a change of rules gives the bits another meaning.
    pub fn move_cells(&mut self, moved: impl Fn(u16) -> u16) {
        for cells in self.tiers.values_mut().flat_map(BTreeMap::values_mut) {
            let old = std::mem::take(cells);
            old.into_iter().for_each(|(cell, count)| add_cell(cells, moved(cell), count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        Watched { projection: 0, total: vec![true, true], bad: vec![false, true], spec_hash: String::new() }
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
            panes.add(&resolution, second, &[(0, 1), (1, 10)]);
        }
        let sum = |start, end| panes.sum(10, start, end, &watched());
        assert_eq!(sum(100, 121), Sum { bad: 40, total: 44 });
        assert_eq!(sum(100, 119), Sum { bad: 30, total: 33 });
        assert_eq!(sum(120, 121), Sum::default());
        assert_eq!(sum(120, 122), Sum { bad: 10, total: 11 });
    }

    #[test]
    fn what_is_past_its_keep_is_dropped() {
        let resolution = Resolution { tiers: vec![(1, 5), (10, 20)] };
        let mut panes = Panes::default();
        panes.add(&resolution, 100, &[(1, 1)]);
        panes.forget(&resolution, 106);
        assert_eq!(panes.sum(1, 100, 101, &watched()).bad, 0);
        assert_eq!(panes.sum(10, 100, 110, &watched()).bad, 1);
        panes.forget(&resolution, 130);
        assert!(panes.is_empty());
    }
}
