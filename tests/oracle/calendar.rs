//! Periods by the calendar and the clocks of a zone, every one of them looked at.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Period {
    Rolling { length_s: i64 },
    Calendar(Calendar),
}

/// One of the periods begins when the clocks show `starts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    pub starts: DateTime,
    pub unit: Unit,
    pub count: i64,
    pub clocks: Clocks,
    /// When each of them begins.
    all_s: Vec<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// (first second, wall time less UTC in seconds from then on), ascending; the first holds before too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks(pub Vec<(i64, i64)>);

/// Periods looked at before and after the first.
const PERIODS: i64 = 60;

impl Period {
    pub fn begins_s(&self, end_s: i64) -> i64 {
        match self {
            Period::Rolling { length_s } => super::rules::window_start(*length_s, end_s),
            Period::Calendar(calendar) => calendar.begins_s(end_s),
        }
    }
}

impl Calendar {
    pub fn new(starts: DateTime, unit: Unit, count: i64, clocks: Clocks) -> Calendar {
        let begins_s = |n: i64| clocks.moment_s(wall_s(starts + unit.times(n * count)));
        let all_s = (-PERIODS..=PERIODS).map(begins_s).collect();
        Calendar { starts, unit, count, clocks, all_s }
    }

    /// The last period that begins before `end_s`.
    pub fn begins_s(&self, end_s: i64) -> i64 {
        assert!(self.all_s.iter().any(|begins_s| *begins_s >= end_s), "a period after");
        let before = self.all_s.iter().filter(|begins_s| **begins_s < end_s);
        *before.max().expect("a period before")
    }
}

impl Unit {
    fn times(self, n: i64) -> Span {
        match self {
            Unit::Hour => n.hours(),
            Unit::Day => n.days(),
            Unit::Week => n.weeks(),
            Unit::Month => n.months(),
            Unit::Quarter => (3 * n).months(),
            Unit::Year => n.years(),
        }
    }
}

impl Clocks {
    pub fn offset_s(&self, at_s: i64) -> i64 {
        let since = self.0.iter().rev().find(|(from_s, _)| *from_s <= at_s);
        since.unwrap_or(&self.0[0]).1
    }

    /// When they show this: of two moments the first, and of none the one that the clocks before would have shown.
    pub fn moment_s(&self, wall_s: i64) -> i64 {
        let moments = self.0.iter().map(|(_, offset_s)| wall_s - offset_s);
        let shown = moments.filter(|moment_s| moment_s + self.offset_s(*moment_s) == wall_s).min();
        shown.unwrap_or_else(|| {
            let skips = |pair: &&[(i64, i64)]| {
                let [(_, before_s), (at_s, after_s)] = pair[..] else { return false };
                (at_s + before_s..at_s + after_s).contains(&wall_s)
            };
            let gap = self.0.windows(2).find(skips).expect("clocks that skip it");
            wall_s - gap[0].1
        })
    }
}

pub fn wall_s(at: DateTime) -> i64 {
    TimeZone::UTC.to_timestamp(at).expect("within the years that are").as_second()
}

pub fn wall_of(at_s: i64) -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp::from_second(at_s).expect("within the years that are"))
}
