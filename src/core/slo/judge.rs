//! What one rule says of one second: for each level whether it is crossed, by whole numbers alone.

use super::lag::Samples;
use super::latch::Verdict;
use super::pane::{Panes, Sum, pane_width_s};
use crate::core::alert::{AlertRule, Lag, LagUnit, Level, RuleKind, Side};
use crate::core::plan::{CellSet, WatchedFeed};
use crate::core::source::Quantile;

pub const BILLION: i128 = 1_000_000_000;
/// A burn rate that has crossed is over once its short window burns below this share of the factor, in tenths.
const CLEAR_TENTHS: i128 = 9;

/// A rule and all that its judgement reads.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub rule: &'a AlertRule,
    pub input: Input<'a>,
    pub since: Covered,
    /// Decimal digits of the field a QUANTILE looks at.
    pub scale: u8,
}

/// From when on the counts speak for a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Nothing before this second counts: the rule is younger.
    pub counts_s: i64,
    /// Before this second nothing was read, so a window that reaches further back is not whole.
    pub whole_s: i64,
}

#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// One for each source the rule counts in.
    Feeds(&'a [Counted<'a>]),
    Lag(&'a Samples),
}

/// What a rule counts in one source.
#[derive(Clone, Copy)]
pub struct Counted<'a> {
    pub feed: &'a WatchedFeed,
    pub panes: &'a Panes,
}

/// The answer of one level for one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub verdict: Verdict,
    /// The number compared, in billionths of the kind's unit. A value read from a histogram costs more than the
    /// verdict, so it is there only when the level is crossed.
    pub value_billionths: Option<i64>,
}

/// `[start_s, end_s)`, and the part of the level's window it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub start_s: i64,
    pub end_s: i64,
    pub width_s: i64,
    pub coverage_billionths: i64,
}

impl<'a> Judged<'a> {
    pub fn read(&self, level_at: usize, at_s: i64) -> Reading {
        let Some(level) = self.rule.levels.get(level_at) else { return unknown(None) };
        let bounds = self.bounds(level.window_s, at_s);
        if bounds.coverage_billionths < level.min_coverage_billionths {
            return unknown(None);
        }
        match &self.rule.kind {
            RuleKind::Ratio => ratio(level, self.sum(bounds)),
            RuleKind::Quantile { quantile, .. } | RuleKind::Freshness { quantile } => {
                self.quantile(level_at, level, *quantile, bounds)
            }
            RuleKind::Count => {
                let total = self.sum(bounds).total;
                compare(level, total, narrow(i128::from(total) * BILLION))
            }
            RuleKind::Rate => rate(level, self.sum(bounds).total, bounds.end_s - bounds.start_s),
            RuleKind::Absence => self.absence(level, bounds),
            RuleKind::Lag { lag, .. } => self.lag(level, lag, at_s),
            RuleKind::BurnRate => self.burn(level, bounds),
            RuleKind::Budget | RuleKind::Composite(_) => unknown(None),
        }
    }

    /// The second after the last that can be judged before the watermark: what only grows needs not wait for it, and
    /// what may shrink again must.
    pub fn early_until_s(&self, watermark_s: i64, front_s: i64) -> i64 {
        let is_above = self.rule.levels.iter().all(|level| level.side == Side::Above);
        match &self.rule.kind {
            RuleKind::Count if is_above => {
                self.newest_second().map_or(front_s, |newest| front_s.max(newest + 1))
            }
            RuleKind::Ratio | RuleKind::Quantile { .. } | RuleKind::Freshness { .. } | RuleKind::BurnRate => {
                front_s
            }
            RuleKind::Count
            | RuleKind::Rate
            | RuleKind::Absence
            | RuleKind::Lag { .. }
            | RuleKind::Budget
            | RuleKind::Composite(_) => watermark_s,
        }
    }

    /// A window begins at a pane and ends at any second; nothing before the rule began counts.
    pub fn bounds(&self, window_s: i64, end_s: i64) -> Bounds {
        let width_s = pane_width_s(window_s);
        let up = |second: i64| second.saturating_add(width_s - 1).div_euclid(width_s).saturating_mul(width_s);
        let start_s = ((end_s - window_s).div_euclid(width_s) * width_s).max(up(self.since.counts_s));
        let covered_s = (end_s - start_s.max(self.since.whole_s)).clamp(0, window_s);
        let coverage_billionths = covered_s * 1_000_000_000 / window_s.max(1);
        Bounds { start_s, end_s, width_s, coverage_billionths }
    }

    pub fn sum(&self, bounds: Bounds) -> Sum {
        self.sum_of(bounds, |feed| &feed.tallies.bad)
    }

    /// Bad events of the second that ends at `at_s`; for kinds without bad ones, those that the level at hand is about.
    pub fn bad_of_second(&self, level_at: usize, at_s: i64) -> u64 {
        self.bad_between(level_at, at_s - 1, at_s)
    }

    pub fn bad_between(&self, level_at: usize, start_s: i64, end_s: i64) -> u64 {
        let bounds = Bounds { start_s, end_s, width_s: 1, coverage_billionths: 0 };
        match self.rule.kind {
            RuleKind::Ratio | RuleKind::BurnRate | RuleKind::Budget => self.sum(bounds).bad,
            RuleKind::Quantile { .. } | RuleKind::Freshness { .. } => self.over(level_at, bounds).bad,
            RuleKind::Count => self.sum(bounds).total,
            RuleKind::Rate | RuleKind::Absence | RuleKind::Lag { .. } | RuleKind::Composite(_) => 0,
        }
    }

    /// Total, and as bad what is beyond the threshold of a level of a QUANTILE.
    pub fn over(&self, level_at: usize, bounds: Bounds) -> Sum {
        self.sum_of(bounds, |feed| feed.tallies.over.get(level_at).unwrap_or(&feed.tallies.bad))
    }

    fn sum_of(&self, bounds: Bounds, bad: impl Fn(&'a WatchedFeed) -> &'a CellSet) -> Sum {
        let mut all = Sum::default();
        for Counted { feed, panes } in self.feeds() {
            let Bounds { start_s, end_s, width_s, .. } = bounds;
            let sum = panes.sum(width_s, start_s, end_s, &feed.tallies.total, bad(feed));
            all.total += sum.total;
            all.bad += sum.bad;
        }
        all
    }

    fn feeds(&self) -> &'a [Counted<'a>] {
        match self.input {
            Input::Feeds(feeds) => feeds,
            Input::Lag(_) => &[],
        }
    }

    /// The value at rank ceil(q x n) is above the threshold when fewer than that many are at or below it, and below
    /// the threshold when that many are below it: exact, whatever the histogram's resolution.
    fn quantile(&self, level_at: usize, level: &Level, quantile: Quantile, bounds: Bounds) -> Reading {
        let Sum { bad: over, total } = self.over(level_at, bounds);
        if total == 0 || total < level.min_events {
            return unknown(None);
        }
        let within_rank = total - over >= quantile.rank(total);
        let crossed = match level.side {
            Side::Above => !within_rank && over >= level.min_bad,
            Side::Below => within_rank,
        };
        let value = if crossed { self.quantile_billionths(quantile, bounds) } else { None };
        Reading { verdict: verdict(crossed), value_billionths: value }
    }

    /// From the histogram: 3 significant digits.
    pub fn quantile_billionths(&self, quantile: Quantile, bounds: Bounds) -> Option<i64> {
        let mut values = crate::core::sketch::histogram::Histogram::default();
        for Counted { feed, panes } in self.feeds() {
            if let Some(measured) = feed.measured {
                values.merge(&panes.values(bounds.width_s, bounds.start_s, bounds.end_s, measured));
            }
        }
        let per_unit = 10i128.pow(u32::from(9u8.saturating_sub(self.scale)));
        values.quantile(quantile).map(|value| narrow(i128::from(value) * per_unit))
    }

    fn absence(&self, level: &Level, bounds: Bounds) -> Reading {
        let last =
            |counted: &Counted<'_>| counted.panes.last_second(bounds.end_s, &counted.feed.tallies.total);
        let last_s = self.feeds().iter().filter_map(last).max();
        // Where nothing has counted yet, silence began with the group itself.
        let began_s = || self.first_second().unwrap_or(bounds.start_s).max(self.since.whole_s);
        let silent_s = bounds.end_s - last_s.map_or_else(began_s, |second| second + 1);
        let crossed = silent_s >= level.window_s;
        let value = narrow(i128::from(silent_s.max(0)) * BILLION);
        Reading { verdict: verdict(crossed), value_billionths: Some(value) }
    }

    fn lag(&self, level: &Level, lag: &Lag, at_s: i64) -> Reading {
        let Input::Lag(samples) = self.input else { return unknown(None) };
        let Some(sample) = samples.at(at_s) else { return unknown(None) };
        let value = match lag.unit {
            LagUnit::Seconds => narrow(i128::from(sample.behind_us) * 1_000),
            LagUnit::Messages => narrow(i128::from(sample.messages) * BILLION),
        };
        compare(level, level.min_events, value)
    }

    /// Bad share over allowed share, long and short window alike, against the factor.
    fn burn(&self, level: &Level, bounds: Bounds) -> Reading {
        let long = self.sum(bounds);
        let short = level.short_window_s.map_or(long, |short_s| self.sum(self.bounds(short_s, bounds.end_s)));
        let allowed = self.rule.objective.as_ref().map_or(0, |o| i128::from(o.allowed_billionths()));
        let value = burn_billionths(long, allowed);
        if long.total == 0 || short.total == 0 || long.total < level.min_events {
            return unknown(value);
        }
        let reaches = |sum: Sum, tenths: i128| {
            let factor = i128::from(level.threshold_billionths);
            i128::from(sum.bad) * BILLION * BILLION * 10 >= tenths * factor * allowed * i128::from(sum.total)
        };
        let crossed = reaches(long, 10) && reaches(short, 10) && long.bad >= level.min_bad;
        let verdict = match crossed {
            true => Verdict::Crossed,
            false if reaches(short, CLEAR_TENTHS) => Verdict::Lingering,
            false => Verdict::NotCrossed,
        };
        Reading { verdict, value_billionths: value }
    }

    fn newest_second(&self) -> Option<i64> {
        self.feeds().iter().filter_map(|counted| counted.panes.newest_second()).max()
    }

    pub fn first_second(&self) -> Option<i64> {
        match self.input {
            Input::Feeds(feeds) => feeds.iter().filter_map(|counted| counted.panes.first_second()).min(),
            Input::Lag(samples) => samples.first_second(),
        }
    }

    /// `at_s`, or a later second when nothing can happen before it: no window has an event. `quiet`: no state is
    /// pending.
    pub fn next_second(&self, quiet: bool, at_s: i64, last_s: i64) -> i64 {
        if !quiet || !self.needs_events() {
            return at_s;
        }
        let longest = |level: &Level| level.window_s + pane_width_s(level.window_s);
        let from_s = at_s - self.rule.levels.iter().map(longest).max().unwrap_or(0);
        if self.feeds().iter().any(|counted| counted.panes.any_between(from_s, at_s)) {
            return at_s;
        }
        let next = self.feeds().iter().filter_map(|counted| counted.panes.next_second(at_s)).min();
        next.map_or(last_s, |second| (second + 1).min(last_s))
    }

    /// Whether without an event nothing can be crossed.
    fn needs_events(&self) -> bool {
        let is_above = self.rule.levels.iter().all(|level| level.side == Side::Above);
        match self.rule.kind {
            RuleKind::Ratio
            | RuleKind::Quantile { .. }
            | RuleKind::Freshness { .. }
            | RuleKind::BurnRate
            | RuleKind::Budget => true,
            RuleKind::Count | RuleKind::Rate => is_above,
            RuleKind::Absence | RuleKind::Lag { .. } | RuleKind::Composite(_) => false,
        }
    }
}

fn unknown(value_billionths: Option<i64>) -> Reading {
    Reading { verdict: Verdict::Unknown, value_billionths }
}

fn verdict(crossed: bool) -> Verdict {
    if crossed { Verdict::Crossed } else { Verdict::NotCrossed }
}

fn compare(level: &Level, events: u64, value_billionths: i64) -> Reading {
    if events < level.min_events {
        return unknown(Some(value_billionths));
    }
    let crossed = match level.side {
        Side::Above => value_billionths > level.threshold_billionths,
        Side::Below => value_billionths < level.threshold_billionths,
    };
    Reading { verdict: verdict(crossed), value_billionths: Some(value_billionths) }
}

/// Whole numbers only: bad / total > threshold is bad x 10^9 > threshold x total.
fn ratio(level: &Level, sum: Sum) -> Reading {
    if sum.total == 0 || sum.total < level.min_events {
        return unknown(None);
    }
    let left = i128::from(sum.bad) * BILLION;
    let right = i128::from(level.threshold_billionths) * i128::from(sum.total);
    let crossed = match level.side {
        Side::Above => left > right && sum.bad >= level.min_bad,
        Side::Below => left < right,
    };
    Reading { verdict: verdict(crossed), value_billionths: Some(share_billionths(sum)) }
}

/// Events a second over the span that was counted.
fn rate(level: &Level, total: u64, span_s: i64) -> Reading {
    if span_s <= 0 {
        return unknown(None);
    }
    let left = i128::from(total) * BILLION;
    let right = i128::from(level.threshold_billionths) * i128::from(span_s);
    let value = Some(narrow(left / i128::from(span_s)));
    if total < level.min_events {
        return unknown(value);
    }
    let crossed = match level.side {
        Side::Above => left > right,
        Side::Below => left < right,
    };
    Reading { verdict: verdict(crossed), value_billionths: value }
}

/// The share of bad events, in billionths; 0 when there is none.
pub fn share_billionths(sum: Sum) -> i64 {
    narrow(i128::from(sum.bad) * BILLION / i128::from(sum.total.max(1)))
}

/// How many times faster than allowed the budget is spent, in billionths; None without events.
pub fn burn_billionths(sum: Sum, allowed_billionths: i128) -> Option<i64> {
    let all = allowed_billionths * i128::from(sum.total);
    (all > 0).then(|| narrow(i128::from(sum.bad) * BILLION * BILLION / all))
}

/// Values beyond 9 x 10^9 units are shown as that.
fn narrow(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// The worse of two values of one side.
pub fn worse(side: Side, known: Option<i64>, value: i64) -> i64 {
    match (side, known) {
        (_, None) => value,
        (Side::Above, Some(known)) => known.max(value),
        (Side::Below, Some(known)) => known.min(value),
    }
}
