//! Slices of time, each good, bad or in between: what time-sliced objectives count instead of events.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::pane::Sum;
use crate::core::objective::{EmptySlice, Method};
use crate::core::time::floor_to;

/// One whole slice, in the unit sums of slices are counted in.
pub const SLICE: u64 = 1_000_000_000;

/// Widths that slices are added up in, where they fit.
const COARSE_S: [i64; 2] = [3_600, 86_400];

/// The slices of one objective and one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slices {
    /// Width -> start -> what the slices in it sum up to. The first width is the slice itself.
    tiers: BTreeMap<i64, BTreeMap<i64, Sum>>,
    /// From the first of these on every slice has been judged up to the second.
    judged_s: Option<(i64, i64)>,
}

impl Slices {
    /// Judges the slices that have ended by `watermark_s`, and again those from `changed_from_s` on. `content` tells
    /// what `[start, end)` holds; nothing before `from_s` is judged.
    pub fn advance(
        &mut self,
        method: Method,
        from_s: i64,
        watermark_s: i64,
        changed_from_s: Option<i64>,
        content: impl Fn(i64, i64) -> Sum,
    ) {
        let Some(slice_s) = method.slice_s() else { return };
        let begin_s = floor_to(from_s + slice_s - 1, slice_s);
        let (first_s, judged_s) = self.judged_s.unwrap_or((begin_s, begin_s));
        let again_s = changed_from_s.map_or(judged_s, |changed_s| floor_to(changed_s, slice_s).min(judged_s));
        // Late events may be earlier than the first so far.
        let first_s = first_s.min(begin_s.max(again_s));
        let mut start_s = again_s.max(first_s);
        while start_s + slice_s <= watermark_s {
            let sum = judge(method, content(start_s, start_s + slice_s));
            self.set(slice_s, start_s, sum);
            start_s += slice_s;
        }
        let judged_s = start_s.max(judged_s);
        // Until one is over, an earlier event may still come in time.
        self.judged_s = (judged_s > first_s).then_some((first_s, judged_s));
    }

    /// Good and bad shares of the slices within `[start, end)`, in billionths of a slice.
    pub fn sum(&self, width_s: i64, start_s: i64, end_s: i64) -> Sum {
        let mut sum = Sum::default();
        let mut from_s = start_s;
        // The narrowest is the slice itself and always fits.
        for (at, (&width, tier)) in self.tiers.iter().enumerate().rev() {
            if at > 0 && width > width_s {
                continue;
            }
            let to_s = if at == 0 { end_s - width + 1 } else { floor_to(end_s, width) };
            if from_s < to_s {
                for part in tier.range(from_s..to_s).map(|(_, part)| part) {
                    sum.bad += part.bad;
                    sum.total += part.total;
                }
            }
            from_s = from_s.max(to_s);
        }
        sum
    }

    /// Drops what no window of up to `longest_s` needs any more.
    pub fn forget(&mut self, longest_s: i64, correct_within_s: i64, watermark_s: i64) {
        let widths: Vec<i64> = self.tiers.keys().copied().collect();
        for (at, tier) in self.tiers.values_mut().enumerate() {
            // Windows of thirty panes of the next width and more use that one.
            let keep_s =
                widths.get(at + 1).map_or(longest_s + widths[at], |next| (next * 31).min(longest_s + next));
            let oldest_s = watermark_s - keep_s - correct_within_s - widths[at];
            *tier = tier.split_off(&oldest_s);
        }
    }

    fn set(&mut self, slice_s: i64, start_s: i64, sum: Sum) {
        let before = self.tiers.entry(slice_s).or_default().insert(start_s, sum).unwrap_or_default();
        for width in COARSE_S.into_iter().filter(|width| *width > slice_s && width % slice_s == 0) {
            let whole = self.tiers.entry(width).or_default().entry(floor_to(start_s, width)).or_default();
            // What was added for this slice before is part of the whole.
            whole.bad = whole.bad + sum.bad - before.bad;
            whole.total = whole.total + sum.total - before.total;
        }
    }
}

/// What a slice counts as. Shares are rounded against the objective: a bad share up.
fn judge(method: Method, content: Sum) -> Sum {
    let (empty, bad) = match method {
        Method::Occurrences => return content,
        Method::Timeslices { target_billionths, empty, .. } => {
            let good = content.total - content.bad;
            let up = i128::from(good) * i128::from(SLICE)
                >= i128::from(target_billionths) * i128::from(content.total);
            (empty, if up { 0 } else { SLICE })
        }
        Method::RatioTimeslices { empty, .. } => {
            let bad = u128::from(content.bad) * u128::from(SLICE);
            // At most one slice.
            (empty, bad.div_ceil(u128::from(content.total.max(1))) as u64)
        }
    };
    match (content.total, empty) {
        (0, EmptySlice::Skipped) => Sum::default(),
        (0, EmptySlice::Good) => Sum { bad: 0, total: SLICE },
        (0, EmptySlice::Bad) => Sum { bad: SLICE, total: SLICE },
        _ => Sum { bad, total: SLICE },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Method =
        Method::Timeslices { slice_s: 60, target_billionths: 950_000_000, empty: EmptySlice::Bad };

    #[test]
    fn a_slice_is_up_when_its_good_share_reaches_the_target() {
        assert_eq!(judge(MINUTES, Sum { bad: 5, total: 100 }), Sum { bad: 0, total: SLICE });
        assert_eq!(judge(MINUTES, Sum { bad: 6, total: 100 }), Sum { bad: SLICE, total: SLICE });
        assert_eq!(judge(MINUTES, Sum::default()), Sum { bad: SLICE, total: SLICE });
        let shares = Method::RatioTimeslices { slice_s: 60, empty: EmptySlice::Skipped };
        assert_eq!(judge(shares, Sum { bad: 1, total: 3 }), Sum { bad: 333_333_334, total: SLICE });
        assert_eq!(judge(shares, Sum::default()), Sum::default());
    }

    #[test]
    fn slices_sum_over_any_window_and_take_corrections() {
        let mut slices = Slices::default();
        // Every seventh minute is down.
        let content = |start: i64, _| Sum { bad: u64::from(start / 60 % 7 == 0) * 10, total: 10 };
        slices.advance(MINUTES, 30, 200_000, None, content);
        let down = |from: i64, to: i64| {
            (from..to).step_by(60).filter(|s| s % 60 == 0 && s / 60 % 7 == 0 && s + 60 <= to).count() as u64
        };
        for (width, start, end) in
            [(10, 600, 900), (10, 600, 901), (3_600, 3_600, 190_000), (86_400, 86_400, 199_999)]
        {
            assert_eq!(slices.sum(width, start, end).bad, down(start, end) * SLICE, "{start}..{end}");
        }
        assert_eq!(
            slices.sum(10, 0, 120),
            Sum { bad: 0, total: SLICE },
            "the first whole slice begins at 60"
        );
        slices.advance(MINUTES, 30, 200_000, Some(180_000), |_, _| Sum { bad: 10, total: 10 });
        let expected = down(86_400, 180_000) + (199_980 - 180_000) / 60;
        assert_eq!(slices.sum(86_400, 86_400, 200_000).bad, expected * SLICE);
    }

    #[test]
    fn what_a_window_may_still_need_is_kept() {
        const DAY_S: i64 = 86_400;
        const CORRECT_S: i64 = 900;
        let down = |minute: i64| minute % 7 == 0;
        let content = |start: i64, _| Sum { bad: u64::from(down(start / 60)) * 10, total: 10 };
        let mut slices = Slices::default();
        // The last one to be judged again is a minute before midnight.
        let watermark_s = 40 * DAY_S - 60 + CORRECT_S;
        for at_s in (0..watermark_s).step_by(21_600).chain([watermark_s]) {
            slices.advance(MINUTES, 0, at_s, None, content);
            slices.forget(30 * DAY_S, CORRECT_S, at_s);
        }
        let end_s = watermark_s - CORRECT_S;
        for window_s in [600, 3_600, 107_940, 108_000, 7 * DAY_S, 30 * DAY_S - 60, 30 * DAY_S] {
            let width_s = crate::core::slo::pane::pane_width_s(window_s);
            let start_s = floor_to(end_s - window_s, width_s);
            let expected = (start_s / 60..end_s / 60).filter(|minute| down(*minute)).count() as u64;
            assert_eq!(slices.sum(width_s, start_s, end_s).bad, expected * SLICE, "{window_s} s");
        }
        assert!(slices.tiers[&60].len() < 2_000, "minutes are not kept for a month");
    }
}
