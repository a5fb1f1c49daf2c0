//! What one rule says of one second: for each level whether it is crossed, by whole numbers alone.

use super::budget::Budget;
use super::lag::Samples;
use super::latch::Verdict;
use super::pane::{Panes, Sum, pane_width_s};
use super::reading::{
    BILLION, Reading, burn_billionths, compare, narrow, rate, ratio, share_billionths, unknown, verdict,
};
use super::score::score_billionths;
use super::slices::{SLICE, Slices};
use super::sliding::Sliding;
use crate::core::alert::{AlertRule, Composite, Lag, LagUnit, Level, Part, RuleKind, Side};
use crate::core::objective::Indicator;
use crate::core::plan::WatchedFeed;
use crate::core::source::Quantile;
use crate::core::time::floor_to;

/// A burn rate that has crossed is over once its short window burns below this share of the factor, in tenths.
const CLEAR_TENTHS: i128 = 9;

/// More than a score has parts.
const PARTS_MAX: u64 = 1 << 10;

/// Stands for the length of a window that begins where a calendar says.
const CALENDAR: i64 = -1;

/// What of a window's events is counted as bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Bad,
    /// Beyond the threshold of the level with this index.
    Over(usize),
}

/// A rule and all that its judgement reads.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub rule: &'a AlertRule,
    pub input: Input<'a>,
    pub since: Covered,
    /// How late its events may come.
    pub lateness_s: i64,
    /// Decimal digits of the field a QUANTILE looks at.
    pub scale: u8,
    /// What a time-sliced objective counts.
    pub slices: Option<&'a Slices>,
    /// Sums of windows remembered from the second before.
    pub sliding: Option<&'a Sliding>,
    /// Whose windows they are: 0 for the rule itself, another number for each part of a score.
    pub part: u64,
    /// Up to here counts change only by late events.
    pub settled_s: i64,
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
    /// COMPOSITE.
    Parts(&'a [Scored<'a>]),
    /// The score an objective is about.
    Score(&'a Judged<'a>),
}

/// A part of a score and how it is judged.
#[derive(Clone, Copy)]
pub struct Scored<'a> {
    pub part: &'a Part,
    pub judged: Judged<'a>,
}

/// What a rule counts in one source.
#[derive(Clone, Copy)]
pub struct Counted<'a> {
    pub feed: &'a WatchedFeed,
    pub panes: &'a Panes,
}

/// `[start_s, end_s)`, and the part of the level's window it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub start_s: i64,
    pub end_s: i64,
    pub width_s: i64,
    pub coverage_billionths: i64,
    /// The length asked for, by which windows are told apart; 0 for one that is asked for once.
    pub window_s: i64,
}

impl Bounds {
    /// Exactly `[start_s, end_s)`, by seconds: a stretch that does not slide and so is summed anew.
    pub fn once(start_s: i64, end_s: i64) -> Bounds {
        Bounds { start_s, end_s, width_s: 1, coverage_billionths: 0, window_s: 0 }
    }
}

impl<'a> Judged<'a> {
    pub fn read(&self, level_at: usize, at_s: i64) -> Reading {
        let Some(level) = self.rule.levels.get(level_at) else { return unknown(None) };
        let bounds = self.bounds(level.window_s, at_s);
        match &self.rule.kind {
            // Its window is the objective's period, which a level knows nothing of.
            RuleKind::Budget => self.budget_reading(level, at_s),
            _ if bounds.coverage_billionths < level.min_coverage_billionths => unknown(None),
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
            RuleKind::Composite(composite) => match self.score(composite, level.window_s, at_s) {
                Some(score) => compare(level, level.min_events, score),
                None => unknown(None),
            },
        }
    }

    fn budget_reading(&self, level: &Level, at_s: i64) -> Reading {
        let Some(budget) = self.budget(at_s) else { return unknown(None) };
        let value = Some(budget.remaining_billionths());
        let few = budget.sum.total == 0 || budget.sum.total < self.counted(level.min_events);
        if few || budget.bounds.coverage_billionths < level.min_coverage_billionths {
            return unknown(value);
        }
        let below = budget.is_below(level.threshold_billionths);
        let crossed = match level.side {
            Side::Above => !below,
            Side::Below => below && budget.sum.bad >= self.counted(level.min_bad),
        };
        Reading { verdict: verdict(crossed), value_billionths: value }
    }

    /// None for a rule without an objective.
    pub fn budget(&self, at_s: i64) -> Option<Budget> {
        Some(Budget::of(self, self.rule.objective.as_ref()?, at_s))
    }

    fn score(&self, composite: &Composite, window_s: i64, at_s: i64) -> Option<i64> {
        match self.input {
            Input::Parts(parts) => {
                let value = |(at, scored): (u64, &'a Scored<'a>)| {
                    (scored.part, self.inside(at, &scored.judged).value_billionths(window_s, at_s))
                };
                score_billionths(composite, (0..).zip(parts).map(value))
            }
            Input::Feeds(_) | Input::Lag(_) | Input::Score(_) => None,
        }
    }

    /// What is judged inside of this remembers its sums in the same place.
    fn inside(&self, at: u64, judged: &Judged<'a>) -> Judged<'a> {
        let part = self.part * PARTS_MAX + at + 1;
        Judged { sliding: self.sliding, settled_s: self.settled_s, part, ..*judged }
    }

    /// The rule's number over another window, for a score; None without data. A COUNT keeps its own window, for its
    /// number grows with it.
    pub fn value_billionths(&self, window_s: i64, at_s: i64) -> Option<i64> {
        let own_s = self.rule.levels.first().map_or(window_s, |level| level.window_s);
        let bounds =
            self.bounds(if matches!(self.rule.kind, RuleKind::Count) { own_s } else { window_s }, at_s);
        match &self.rule.kind {
            RuleKind::Ratio => Some(self.sum(bounds)).filter(|sum| sum.total > 0).map(share_billionths),
            RuleKind::Quantile { quantile, .. } | RuleKind::Freshness { quantile } => {
                self.quantile_billionths(*quantile, bounds)
            }
            RuleKind::Count => Some(narrow(i128::from(self.sum(bounds).total) * BILLION)),
            // Seconds in which nothing was read yet are not without events.
            RuleKind::Rate if i128::from(bounds.coverage_billionths) < BILLION => None,
            RuleKind::Rate => {
                let span_s = i128::from((bounds.end_s - bounds.start_s).max(1));
                Some(narrow(i128::from(self.sum(bounds).total) * BILLION / span_s))
            }
            RuleKind::Absence => Some(narrow(i128::from(self.silent_s(bounds)) * BILLION)),
            RuleKind::Lag { lag, .. } => self.lag_billionths(lag, at_s),
            RuleKind::BurnRate => {
                let allowed = self.rule.objective.as_ref()?.allowed_billionths();
                burn_billionths(self.sum(bounds), allowed.into())
            }
            RuleKind::Budget => Some(self.budget(at_s)?.remaining_billionths()),
            RuleKind::Composite(composite) => self.score(composite, window_s, at_s),
        }
    }

    /// `min_events` and the like, in the unit of [`Self::sum`]: slices are counted in billionths.
    fn counted(&self, events: u64) -> u64 {
        if self.slices.is_some() { events.saturating_mul(SLICE) } else { events }
    }

    /// The second after the last that can be judged before the watermark: what only grows needs not wait for it, and
    /// what may shrink again must.
    pub fn early_until_s(&self, watermark_s: i64, front_s: i64) -> i64 {
        match &self.rule.kind {
            RuleKind::Count if self.rule.only_grows() => {
                self.newest_second().map_or(front_s, |newest| front_s.max(newest + 1))
            }
            // A slice counts once it is over.
            RuleKind::BurnRate if self.slices.is_some() => watermark_s,
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
        let start_s = floor_to(end_s - window_s, width_s).max(up(self.since.counts_s, width_s));
        let coverage_billionths = self.coverage_billionths(start_s, end_s, window_s);
        Bounds { start_s, end_s, width_s, coverage_billionths, window_s }
    }

    /// The same for a window that begins where a calendar says.
    pub fn bounds_from(&self, from_s: i64, end_s: i64, width_s: i64) -> Bounds {
        let start_s = from_s.max(up(self.since.counts_s, width_s));
        let coverage_billionths = self.coverage_billionths(start_s, end_s, end_s - from_s);
        Bounds { start_s, end_s, width_s, coverage_billionths, window_s: CALENDAR }
    }

    fn coverage_billionths(&self, start_s: i64, end_s: i64, window_s: i64) -> i64 {
        let covered_s = (end_s - start_s.max(self.since.whole_s)).clamp(0, window_s.max(0));
        covered_s * 1_000_000_000 / window_s.max(1)
    }

    /// What the window holds; for a time-sliced objective slices, in billionths of one.
    pub fn sum(&self, bounds: Bounds) -> Sum {
        if let Some(slices) = self.slices {
            return slices.sum(bounds.width_s, bounds.start_s, bounds.end_s);
        }
        self.sum_of(Which::Bad, bounds)
    }

    /// Bad events of the second that ends at `at_s`; for kinds without bad ones, those that the level at hand is about.
    pub fn bad_of_second(&self, level_at: usize, at_s: i64) -> u64 {
        self.bad_between(level_at, at_s - 1, at_s)
    }

    pub fn bad_between(&self, level_at: usize, start_s: i64, end_s: i64) -> u64 {
        let bounds = Bounds::once(start_s, end_s);
        match self.rule.kind {
            RuleKind::Ratio | RuleKind::BurnRate | RuleKind::Budget => self.events(bounds).bad,
            RuleKind::Quantile { .. } | RuleKind::Freshness { .. } => self.over(level_at, bounds).bad,
            RuleKind::Count => self.sum(bounds).total,
            RuleKind::Rate | RuleKind::Absence | RuleKind::Lag { .. } | RuleKind::Composite(_) => 0,
        }
    }

    /// Good and bad events, whatever the objective counts.
    pub fn events(&self, bounds: Bounds) -> Sum {
        self.sum_of(Which::Bad, bounds)
    }

    /// Total, and as bad what is beyond the threshold of a level of a QUANTILE.
    pub fn over(&self, level_at: usize, bounds: Bounds) -> Sum {
        self.sum_of(Which::Over(level_at), bounds)
    }

    fn sum_of(&self, which: Which, bounds: Bounds) -> Sum {
        let sum = |width_s, start_s, end_s| {
            let mut all = Sum::default();
            for Counted { feed, panes } in self.feeds() {
                let bad = match which {
                    Which::Bad => &feed.tallies.bad,
                    Which::Over(level) => feed.tallies.over.get(level).unwrap_or(&feed.tallies.bad),
                };
                let sum = panes.sum(width_s, start_s, end_s, &feed.tallies.total, bad);
                all.total += sum.total;
                all.bad += sum.bad;
            }
            all
        };
        match self.sliding {
            Some(sliding) if bounds.window_s != 0 => {
                sliding.sum((self.part, which), bounds, self.settled_s, sum)
            }
            _ => sum(bounds.width_s, bounds.start_s, bounds.end_s),
        }
    }

    fn feeds(&self) -> &'a [Counted<'a>] {
        match self.input {
            Input::Feeds(feeds) => feeds,
            Input::Lag(_) | Input::Parts(_) | Input::Score(_) => &[],
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

    /// From the histogram: 3 significant digits. A rule about values counts in one source only.
    pub fn quantile_billionths(&self, quantile: Quantile, bounds: Bounds) -> Option<i64> {
        let Counted { feed, panes } = self.feeds().first()?;
        let value = panes.quantile(quantile, bounds.width_s, bounds.start_s, bounds.end_s, feed.measured?)?;
        Some(self.billionths(value))
    }

    /// What a value of the field that the rule looks at is in its unit.
    pub fn billionths(&self, value: i64) -> i64 {
        narrow(i128::from(value) * 10i128.pow(u32::from(9u8.saturating_sub(self.scale))))
    }

    fn absence(&self, level: &Level, bounds: Bounds) -> Reading {
        let silent_s = self.silent_s(bounds);
        let value = narrow(i128::from(silent_s) * BILLION);
        Reading { verdict: verdict(silent_s >= level.window_s), value_billionths: Some(value) }
    }

    /// Whole seconds without an event that counts, up to the end of the window.
    fn silent_s(&self, bounds: Bounds) -> i64 {
        let last =
            |counted: &Counted<'_>| counted.panes.last_second(bounds.end_s, &counted.feed.tallies.total);
        let last_s = self.feeds().iter().filter_map(last).max();
        // Where nothing has counted yet, silence began with the group itself.
        let began_s = || self.first_second().unwrap_or(bounds.start_s).max(self.since.whole_s);
        let from_s = last_s.map_or_else(began_s, |second| second + 1);
        (bounds.end_s - from_s).max(0)
    }

    fn lag(&self, level: &Level, lag: &Lag, at_s: i64) -> Reading {
        match self.lag_billionths(lag, at_s) {
            Some(value) => compare(level, level.min_events, value),
            None => unknown(None),
        }
    }

    fn lag_billionths(&self, lag: &Lag, at_s: i64) -> Option<i64> {
        let Input::Lag(samples) = self.input else { return None };
        let behind = samples.at(at_s)?;
        Some(match lag.unit {
            LagUnit::Seconds => narrow(i128::from(behind.behind_us) * 1_000),
            LagUnit::Messages => narrow(i128::from(behind.messages) * BILLION),
        })
    }

    /// Bad share over allowed share, long and short window alike, against the factor.
    fn burn(&self, level: &Level, bounds: Bounds) -> Reading {
        let long = self.sum(bounds);
        let short = level.short_window_s.map_or(long, |short_s| self.sum(self.bounds(short_s, bounds.end_s)));
        let allowed = self.rule.objective.as_ref().map_or(0, |o| i128::from(o.allowed_billionths()));
        let value = burn_billionths(long, allowed);
        if long.total == 0 || short.total == 0 || long.total < self.counted(level.min_events) {
            return unknown(value);
        }
        let reaches = |sum: Sum, tenths: i128| {
            let factor = i128::from(level.threshold_billionths);
            i128::from(sum.bad) * BILLION * BILLION * 10 >= tenths * factor * allowed * i128::from(sum.total)
        };
        let crossed = reaches(long, 10) && reaches(short, 10) && long.bad >= self.counted(level.min_bad);
        let verdict = match crossed {
            true => Verdict::Crossed,
            false if reaches(short, CLEAR_TENTHS) => Verdict::Lingering,
            false => Verdict::NotCrossed,
        };
        Reading { verdict, value_billionths: value }
    }

    /// The reading with a value to show: those of histograms are read every ten seconds.
    pub fn shown(&self, reading: Reading, at_s: i64) -> Reading {
        let is_read = !matches!(self.rule.kind, RuleKind::Quantile { .. } | RuleKind::Freshness { .. });
        if is_read || reading.value_billionths.is_some() || at_s % 10 != 0 {
            return reading;
        }
        let window_s = self.rule.levels.first().map_or(0, |level| level.window_s);
        Reading { value_billionths: self.value_billionths(window_s, at_s), ..reading }
    }

    /// Good and bad of one slice of a time-sliced objective.
    pub fn slice(&self, indicator: &Indicator, start_s: i64, end_s: i64) -> Sum {
        let bounds = Bounds::once(start_s, end_s);
        match indicator {
            Indicator::Events => self.events(bounds),
            Indicator::Rate { op, per_second_billionths } => {
                let found = i128::from(self.events(bounds).total) * BILLION;
                let holds =
                    op.holds(&found, &(i128::from(*per_second_billionths) * i128::from(end_s - start_s)));
                Sum { bad: u64::from(!holds), total: 1 }
            }
            Indicator::Lag { lag, op, value_billionths, .. } => self.seconds(start_s, end_s, |at_s| {
                Some(op.holds(&self.lag_billionths(lag, at_s)?, value_billionths))
            }),
            Indicator::Composite { op, value_billionths, .. } => self.seconds(start_s, end_s, |at_s| {
                let Input::Score(score) = self.input else { return None };
                let window_s = score.rule.levels.first()?.window_s;
                Some(op.holds(&self.inside(0, score).value_billionths(window_s, at_s)?, value_billionths))
            }),
        }
    }

    /// Counts seconds; those without an answer count for nothing.
    fn seconds(&self, start_s: i64, end_s: i64, is_good: impl Fn(i64) -> Option<bool>) -> Sum {
        let mut sum = Sum::default();
        for good in (start_s + 1..=end_s).filter_map(is_good) {
            sum.total += 1;
            sum.bad += u64::from(!good);
        }
        sum
    }

    fn newest_second(&self) -> Option<i64> {
        self.feeds().iter().filter_map(|counted| counted.panes.newest_second()).max()
    }

    pub fn first_second(&self) -> Option<i64> {
        match self.input {
            Input::Feeds(feeds) => feeds.iter().filter_map(|counted| counted.panes.first_second()).min(),
            Input::Lag(samples) => samples.first_second(),
            Input::Parts(parts) => parts.iter().filter_map(|scored| scored.judged.first_second()).min(),
            Input::Score(score) => score.first_second(),
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
            // Slices without an event may be bad.
            RuleKind::BurnRate => self.slices.is_none(),
            RuleKind::Ratio | RuleKind::Quantile { .. } | RuleKind::Freshness { .. } => true,
            RuleKind::Count | RuleKind::Rate => is_above,
            RuleKind::Absence | RuleKind::Lag { .. } | RuleKind::Budget | RuleKind::Composite(_) => false,
        }
    }
}

fn up(second: i64, width_s: i64) -> i64 {
    second.saturating_add(width_s - 1).div_euclid(width_s).saturating_mul(width_s)
}
