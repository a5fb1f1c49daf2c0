//! Values of windows that slide: what comes in is merged, what goes out is taken off.

use std::cell::RefCell;

use crate::core::sketch::histogram::{Histogram, Recorded};
use crate::core::sketch::moving::Moving;
use crate::core::source::Quantile;

/// A window that moved further than this is put together anew.
const STEP_MAX_S: i64 = 60;
/// Windows of one group that are remembered.
const WINDOWS_MAX: usize = 8;

/// The values of the windows that were last asked for. A memory only: it is never part of the state.
#[derive(Debug, Default)]
pub struct SlidingValues(RefCell<Vec<Remembered>>);

#[derive(Debug)]
struct Remembered {
    measured: usize,
    width_s: i64,
    start_s: i64,
    end_s: i64,
    values: Moving,
}

impl SlidingValues {
    /// Of all values over `[start_s, end_s)`; `panes(width, start, end, each)` hands out those of the panes between.
    pub fn quantile(
        &self,
        quantile: Quantile,
        measured: usize,
        width_s: i64,
        (start_s, end_s): (i64, i64),
        panes: impl Fn(i64, i64, i64, &mut dyn FnMut(Recorded<'_>)),
    ) -> Option<i64> {
        let mut all = self.0.borrow_mut();
        let moved_s = |known: &Remembered| (known.start_s - start_s).abs().max((known.end_s - end_s).abs());
        let is_near = |known: &Remembered| {
            let is_same = known.measured == measured && known.width_s == width_s;
            is_same && moved_s(known) <= STEP_MAX_S && known.start_s < end_s && start_s < known.end_s
        };
        let near = (0..all.len()).filter(|at| is_near(&all[*at])).min_by_key(|at| moved_s(&all[*at]));
        let known = match near {
            Some(at) => {
                let mut known = all.remove(at);
                known.slide(start_s, end_s, &panes);
                known
            }
            None => {
                let mut values = Moving::default();
                panes(width_s, start_s, end_s, &mut |pane| values.add(pane.counts));
                Remembered { measured, width_s, start_s, end_s, values }
            }
        };
        let max = || {
            let mut max = None;
            panes(width_s, start_s, end_s, &mut |pane| max = max.max(pane.max));
            max
        };
        let value = known.values.quantile(quantile, max);
        all.push(known);
        if all.len() > WINDOWS_MAX {
            // The one that was asked for longest ago.
            all.remove(0);
        }
        value
    }

    /// Values of a second were added to the panes.
    pub fn add(&mut self, second: i64, values: &[Histogram]) {
        for known in
            self.0.get_mut().iter_mut().filter(|known| (known.start_s..known.end_s).contains(&second))
        {
            if let Some(values) = values.get(known.measured) {
                known.values.add(values.recorded().counts);
            }
        }
    }

    /// Panes that end at or before what `gone_s` gives for their width are dropped; None: all of that width.
    pub fn forget(&mut self, gone_s: impl Fn(i64) -> Option<i64>) {
        let fine_s = gone_s(1);
        self.0.get_mut().retain(|known| {
            let is_whole = gone_s(known.width_s).is_some_and(|gone_s| gone_s < known.start_s + known.width_s);
            is_whole && fine_s.is_some_and(|gone_s| gone_s < known.end_s)
        });
    }

    pub fn clear(&mut self) {
        self.0.get_mut().clear();
    }
}

impl Remembered {
    /// Coarse panes at the start, which is a boundary of theirs, and seconds at the end.
    fn slide(
        &mut self,
        start_s: i64,
        end_s: i64,
        panes: impl Fn(i64, i64, i64, &mut dyn FnMut(Recorded<'_>)),
    ) {
        let values = &mut self.values;
        panes(self.width_s, start_s, self.start_s, &mut |pane| values.add(pane.counts));
        panes(1, self.end_s, end_s, &mut |pane| values.add(pane.counts));
        panes(self.width_s, self.start_s, start_s, &mut |pane| values.take_off(pane.counts));
        panes(1, end_s, self.end_s, &mut |pane| values.take_off(pane.counts));
        (self.start_s, self.end_s) = (start_s, end_s);
    }
}

/// A copy begins without: copies are made to be written down.
impl Clone for SlidingValues {
    fn clone(&self) -> SlidingValues {
        SlidingValues::default()
    }
}

/// What is remembered tells nothing that the panes do not.
impl PartialEq for SlidingValues {
    fn eq(&self, _: &SlidingValues) -> bool {
        true
    }
}

impl Eq for SlidingValues {}
