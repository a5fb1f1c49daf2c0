//! Sums of windows that slide: what comes in is added, what goes out is taken off.

use std::cell::RefCell;

use super::judge::{Bounds, Which};
use super::pane::Sum;

/// A window that moved further than this is added up anew.
const STEP_MAX_S: i64 = 120;

/// The last sum of each window of one rule and group. A memory only: it is never part of the state.
#[derive(Clone, Debug, Default)]
pub struct Sliding {
    windows: RefCell<Vec<Remembered>>,
    /// Of each thing counted what came last. Most windows of a rule end alike, and it comes into all of them.
    tails: RefCell<Vec<Tail>>,
}

/// Of which part of the rule, and what of it.
type Counted = (u64, Which);

#[derive(Clone, Copy, Debug)]
struct Remembered {
    of: Counted,
    window_s: i64,
    start_s: i64,
    end_s: i64,
    sum: Sum,
}

/// `[start_s, end_s)`, second by second.
#[derive(Clone, Copy, Debug)]
struct Tail {
    of: Counted,
    start_s: i64,
    end_s: i64,
    sum: Sum,
}

impl Sliding {
    /// The sum over `bounds`; `add(width, start, end)` counts anew. Sums that end after `settled_s` may still grow and
    /// are not remembered.
    pub fn sum(
        &self,
        of: Counted,
        bounds: Bounds,
        settled_s: i64,
        add: impl Fn(i64, i64, i64) -> Sum,
    ) -> Sum {
        let Bounds { start_s, end_s, width_s, window_s, .. } = bounds;
        let mut windows = self.windows.borrow_mut();
        let at = windows.iter().position(|known| known.of == of && known.window_s == window_s);
        let follows = |known: &Remembered| {
            known.start_s <= start_s
                && start_s <= known.end_s
                && (0..=STEP_MAX_S).contains(&(end_s - known.end_s))
        };
        let sum = match at.map(|at| windows[at]).filter(follows) {
            Some(known) => {
                let come = self.tail(of, known.end_s, end_s, |start_s, end_s| add(1, start_s, end_s));
                // Mostly the first pane is still the same.
                let is_same = known.start_s == start_s;
                let gone = if is_same { Sum::default() } else { add(width_s, known.start_s, start_s) };
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
                Some(at) => windows[at] = now,
                None => windows.push(now),
            }
        }
        sum
    }

    /// The sum over `[start_s, end_s)`, of which no second is counted twice while `start_s` stays.
    fn tail(&self, of: Counted, start_s: i64, end_s: i64, add: impl Fn(i64, i64) -> Sum) -> Sum {
        if start_s == end_s {
            return Sum::default();
        }
        let mut tails = self.tails.borrow_mut();
        let at = tails.iter().position(|tail| tail.of == of);
        let goes_on = |tail: &Tail| tail.start_s == start_s && tail.end_s <= end_s;
        let sum = match at.map(|at| tails[at]).filter(goes_on) {
            Some(tail) if tail.end_s == end_s => return tail.sum,
            Some(Tail { end_s: from_s, sum, .. }) => {
                let more = add(from_s, end_s);
                Sum { bad: sum.bad + more.bad, total: sum.total + more.total }
            }
            None => add(start_s, end_s),
        };
        let now = Tail { of, start_s, end_s, sum };
        match at {
            Some(at) => tails[at] = now,
            None => tails.push(now),
        }
        sum
    }

    /// Before anything is summed after counts have grown. Those from `changed_from_s` on changed though they were settled.
    pub fn begin(&mut self, changed_from_s: Option<i64>) {
        self.tails.get_mut().clear();
        if let Some(changed_s) = changed_from_s {
            self.windows.get_mut().retain(|known| known.end_s <= changed_s);
        }
    }

    pub fn clear(&mut self) {
        self.windows.get_mut().clear();
        self.tails.get_mut().clear();
    }
}

/// What is remembered tells nothing that the counts do not.
impl PartialEq for Sliding {
    fn eq(&self, _: &Sliding) -> bool {
        true
    }
}

impl Eq for Sliding {}

#[cfg(test)]
mod tests {
    use super::super::pane::pane_width_s;
    use super::*;
    use crate::core::time::floor_to;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const WINDOWS_S: [i64; 4] = [5, 30, 300, 700];

    /// Three for each event: of one thing a third of them is bad, of another two thirds.
    fn count(counts: &BTreeMap<i64, u64>, which: Which, start_s: i64, end_s: i64) -> Sum {
        let total: u64 = counts.range(start_s..end_s.max(start_s)).map(|(_, count)| count).sum();
        Sum { bad: if which == Which::Bad { total } else { total * 2 }, total: total * 3 }
    }

    /// Seconds from where it is settled, and how many; most lie near it.
    fn events() -> impl Strategy<Value = Vec<(i64, u64)>> {
        prop::collection::vec((prop_oneof![-3i64..6, 0i64..6, -900i64..6], 1u64..5), 0..6)
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_counts(
            steps in prop::collection::vec((prop_oneof![0i64..3, 0i64..20], 0i64..4, events()), 1..15),
        ) {
            let (mut counts, mut sliding) = (BTreeMap::new(), Sliding::default());
            let mut settled_s = 10_000;
            for (on_s, early_s, events) in steps {
                let mut changed_from_s = None;
                for (behind_s, events) in events {
                    let second = settled_s + behind_s;
                    *counts.entry(second).or_insert(0) += events;
                    if second < settled_s {
                        changed_from_s = Some(changed_from_s.map_or(second, |before: i64| before.min(second)));
                    }
                }
                sliding.begin(changed_from_s);
                let from_s = changed_from_s.unwrap_or(settled_s);
                settled_s += on_s;
                for end_s in from_s..=settled_s + early_s {
                    for (part, which) in [(0, Which::Bad), (0, Which::Over(1)), (7, Which::Bad)] {
                        for window_s in WINDOWS_S {
                            let width_s = pane_width_s(window_s);
                            let start_s = floor_to(end_s - window_s, width_s);
                            let bounds = Bounds { start_s, end_s, width_s, coverage_billionths: 0, window_s };
                            let add = |_, start_s, end_s| count(&counts, which, start_s, end_s);
                            let sum = sliding.sum((part, which), bounds, settled_s, add);
                            prop_assert_eq!(sum, count(&counts, which, start_s, end_s), "{:?} of {}", bounds, settled_s);
                        }
                    }
                }
            }
        }
    }
}
