//! Sums of windows that slide: what comes in is added, what goes out is taken off.

use std::cell::RefCell;

use super::judge::{Bounds, Which};
use super::pane::Sum;

/// A window that moved further than this is added up anew.
const STEP_MAX_S: i64 = 120;

/// The last sum of each window of one rule and group. A memory only: it is never part of the state.
#[derive(Clone, Debug, Default)]
pub struct Sliding(RefCell<Vec<Remembered>>);

#[derive(Clone, Copy, Debug)]
struct Remembered {
    /// Of which part of the rule, and what of it.
    of: (u64, Which),
    window_s: i64,
    start_s: i64,
    end_s: i64,
    sum: Sum,
}

impl Sliding {
    /// The sum over `bounds`; `add(width, start, end)` counts anew. Sums that end after `settled_s` may still grow and
    /// are not remembered.
    pub fn sum(
        &self,
        of: (u64, Which),
        bounds: Bounds,
        settled_s: i64,
        add: impl Fn(i64, i64, i64) -> Sum,
    ) -> Sum {
        let Bounds { start_s, end_s, width_s, window_s, .. } = bounds;
        let mut remembered = self.0.borrow_mut();
        let at = remembered.iter().position(|known| known.of == of && known.window_s == window_s);
        let follows = |known: &Remembered| {
            known.start_s <= start_s
                && start_s <= known.end_s
                && (0..=STEP_MAX_S).contains(&(end_s - known.end_s))
        };
        let sum = match at.map(|at| remembered[at]).filter(follows) {
            Some(known) => {
                let (gone, come) = (add(width_s, known.start_s, start_s), add(1, known.end_s, end_s));
                Sum {
                    bad: known.sum.bad + come.bad - gone.bad,
                    total: known.sum.total + come.total - gone.total,
                }
            }
            None => add(width_s, start_s, end_s),
        };
        if end_s <= settled_s && start_s <= end_s {
            let now = Remembered { of, window_s, start_s, end_s, sum };
            match at {
                Some(at) => remembered[at] = now,
                None => remembered.push(now),
            }
        }
        sum
    }

    /// Forgets what counts that changed at `second` are part of.
    pub fn forget_from(&mut self, second: i64) {
        self.0.get_mut().retain(|known| known.end_s <= second);
    }

    pub fn clear(&mut self) {
        self.0.get_mut().clear();
    }
}

/// What is remembered tells nothing that the counts do not.
impl PartialEq for Sliding {
    fn eq(&self, _: &Sliding) -> bool {
        true
    }
}

impl Eq for Sliding {}
