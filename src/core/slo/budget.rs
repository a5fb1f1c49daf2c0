//! The error budget of an objective: what its period allowed to be bad, less what was.

use super::judge::{Bounds, Judged};
use super::pane::{Sum, pane_width_s};
use super::reading::{BILLION, narrow};
use crate::core::objective::{Objective, Period};
use crate::core::output::BudgetLeft;
use crate::core::time::second_of;

/// An objective's period as it stands at one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub bounds: Bounds,
    pub sum: Sum,
    pub allowed_billionths: i128,
}

impl Budget {
    pub fn of(judged: &Judged<'_>, objective: &Objective, end_s: i64) -> Budget {
        let bounds = match &objective.period {
            Period::Rolling { length_s } => judged.bounds(*length_s, end_s),
            period @ Period::Calendar { .. } => {
                judged.bounds_from(period.start_s(end_s), end_s, period_width_s(period))
            }
        };
        Budget { bounds, sum: judged.sum(bounds), allowed_billionths: objective.allowed_billionths().into() }
    }

    /// Share of the budget that is left, in billionths; negative once it is overspent, whole before the first event.
    pub fn remaining_billionths(&self) -> i64 {
        let budget = self.allowed_billionths * i128::from(self.sum.total);
        if budget == 0 {
            return BILLION as i64;
        }
        let spent = i128::from(self.sum.bad) * BILLION * BILLION;
        narrow((BILLION * budget - spent).div_euclid(budget))
    }

    /// Exactly whether less than `share_billionths` is left.
    pub fn is_below(&self, share_billionths: i64) -> bool {
        let kept = (BILLION - i128::from(share_billionths)) * self.allowed_billionths;
        i128::from(self.sum.bad) * BILLION * BILLION > kept * i128::from(self.sum.total)
    }

    /// With the second at which it is gone, should events go on as in `recent`.
    pub fn left(&self, recent: Bounds, recent_sum: Sum) -> BudgetLeft {
        let Budget { bounds, sum, allowed_billionths: allowed } = *self;
        // Bad events beyond what as many events allow, in billionths of an event.
        let over = |sum: Sum| i128::from(sum.bad) * BILLION - allowed * i128::from(sum.total);
        let (left, grows) = (-over(sum), over(recent_sum));
        let span_s = i128::from(recent.end_s - recent.start_s);
        let exhausts_at_s = (left > 0 && grows > 0).then(|| {
            let after_s = (left * span_s / grows).min(i128::from(100 * 366 * 86_400i64));
            bounds.end_s + after_s as i64
        });
        BudgetLeft {
            period_s: bounds.end_s - bounds.start_s,
            remaining_billionths: self.remaining_billionths(),
            exhausts_at_s,
        }
    }
}

/// The panes a period is made of: days, unless it begins within one.
pub fn period_width_s(period: &Period) -> i64 {
    match period {
        Period::Rolling { length_s } => pane_width_s(*length_s),
        Period::Calendar { start_us, zone, .. } => {
            let is_whole = |width| second_of(*start_us) % width == 0 && zone.is_whole(width);
            let fits = |width: &i64| is_whole(*width) && period.length_s() >= 2 * width;
            [86_400, 3_600, 600].into_iter().find(fits).unwrap_or(60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bad: u64, total: u64) -> Budget {
        let bounds = Bounds::once(0, 1_000);
        Budget { bounds, sum: Sum { bad, total }, allowed_billionths: 10_000_000 }
    }

    #[test]
    fn the_budget_is_what_the_target_allows() {
        // 1 % of 10,000 may be bad.
        assert_eq!(budget(0, 10_000).remaining_billionths(), 1_000_000_000);
        assert_eq!(budget(25, 10_000).remaining_billionths(), 750_000_000);
        assert_eq!(budget(150, 10_000).remaining_billionths(), -500_000_000);
        assert_eq!(budget(0, 0).remaining_billionths(), 1_000_000_000);
        assert!(!budget(75, 10_000).is_below(250_000_000));
        assert!(budget(76, 10_000).is_below(250_000_000));
    }

    #[test]
    fn it_is_gone_when_errors_go_on_as_they_do() {
        let recent = Bounds::once(900, 1_000);
        // 50 of 100 are left; 11 bad of 100 in 100 s are 10 more than allowed.
        let left = budget(50, 10_000).left(recent, Sum { bad: 11, total: 100 });
        assert_eq!(left.exhausts_at_s, Some(1_500));
        assert_eq!(budget(50, 10_000).left(recent, Sum { bad: 1, total: 100 }).exhausts_at_s, None);
        assert_eq!(budget(200, 10_000).left(recent, Sum { bad: 50, total: 100 }).exhausts_at_s, None);
    }
}
