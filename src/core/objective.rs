//! Objectives of SLOs: what is promised, over which period, and how good and bad are told apart.

use serde::{Deserialize, Serialize};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::alert::Lag;
use super::expr::Comparison;
use super::time::second_of;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// One objective of one SLO. Its rule's `document` and `name` are the SLO's and the objective's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    pub slo: String,
    pub name: String,
    /// Share that must be good, in billionths: above 0, below 10^9.
    pub target_billionths: i64,
    pub period: Period,
    pub method: Method,
    pub indicator: Indicator,
}

/// The time the error budget is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    Rolling {
        length_s: i64,
    },
    /// `count` calendar units of a zone's wall time; one of the periods begins at `start_us`.
    Calendar {
        start_us: i64,
        unit: CalendarUnit,
        count: i32,
        zone: Zone,
    },
}

/// A time zone as far as periods need it. Carried whole, so that what it means does not hang on a machine's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    pub name: String,
    /// (first second, wall time less UTC in seconds from then on), ascending; the first holds for all time before too.
    pub offsets: Vec<(i64, i32)>,
}

impl Zone {
    pub fn utc() -> Zone {
        Zone { name: "UTC".into(), offsets: vec![(0, 0)] }
    }

    fn offset_s(&self, at_s: i64) -> i64 {
        let after = self.offsets.partition_point(|(from_s, _)| *from_s <= at_s);
        self.offsets.get(after.saturating_sub(1)).map_or(0, |(_, offset_s)| i64::from(*offset_s))
    }

    fn wall_s(&self, at_s: i64) -> i64 {
        at_s + self.offset_s(at_s)
    }

    /// The moment the wall shows `wall_s`; of two the first, of none the one an hour on.
    fn moment_s(&self, wall_s: i64) -> i64 {
        // Offsets are less than a day, so one of those around it is the one.
        let before = wall_s - self.offset_s(wall_s - DAY_S);
        if self.wall_s(before) == wall_s { before } else { wall_s - self.offset_s(before) }
    }

    /// Whether every offset is a multiple of `seconds`.
    pub fn is_whole(&self, seconds: i64) -> bool {
        self.offsets.iter().all(|(_, offset_s)| i64::from(*offset_s) % seconds == 0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CalendarUnit {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// What is counted against the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// Every event.
    Occurrences,
    /// Every slice: good when its good share reaches `target_billionths`.
    Timeslices { slice_s: i64, target_billionths: i64, empty: EmptySlice },
    /// The mean of the slices' shares.
    RatioTimeslices { slice_s: i64, empty: EmptySlice },
}

/// What a slice without data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmptySlice {
    Good,
    Bad,
    Skipped,
}

/// What is good or bad. All but `Events` are for slices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Indicator {
    /// The events of the rule's one feed.
    Events,
    /// Events a second over the slice, all feeds together: the slice is good when the comparison holds.
    Rate { op: Comparison, per_second_billionths: i64 },
    /// Each second is good when the comparison holds; seconds without a sample count for nothing.
    Lag { source: String, lag: Lag, op: Comparison, value_billionths: i64 },
    /// Each second is good when the score of the rule `document/rule` compares so.
    Composite { rule: String, op: Comparison, value_billionths: i64 },
}

impl Period {
    /// First second of the period that the second before `end_s` lies in.
    pub fn start_s(&self, end_s: i64) -> i64 {
        match *self {
            Period::Rolling { length_s } => end_s - length_s,
            Period::Calendar { start_us, unit, count, ref zone } => {
                let (start_s, last_s) = (zone.wall_s(second_of(start_us)), end_s - 1);
                let wall_s = |n: i64| unit.later_s(start_s, n * i64::from(count.max(1)));
                let begins_s = |n: i64| wall_s(n).map(|wall_s| zone.moment_s(wall_s));
                let guess = unit.between(start_s, zone.wall_s(last_s)).div_euclid(i64::from(count.max(1)));
                // The day of the month, and a change of the clocks, may make the guess one too late.
                let at_or_before = |n: i64| begins_s(n).filter(|&begins_s| begins_s <= last_s);
                let begins_s = at_or_before(guess + 1).or_else(|| at_or_before(guess));
                begins_s.or_else(|| at_or_before(guess - 1)).unwrap_or(second_of(start_us))
            }
        }
    }

    /// The longest it can be.
    pub fn length_s(&self) -> i64 {
        match *self {
            Period::Rolling { length_s } => length_s,
            Period::Calendar { unit, count, .. } => {
                let month_s = || (unit.months() * 366 * DAY_S + 11 * DAY_S) / 12;
                // Clocks that are put back make one of them longer.
                unit.seconds().unwrap_or_else(month_s) * i64::from(count.max(1)) + HOUR_S
            }
        }
    }
}

impl CalendarUnit {
    /// None: as long as the months are.
    fn seconds(self) -> Option<i64> {
        match self {
            CalendarUnit::Hour => Some(3_600),
            CalendarUnit::Day => Some(DAY_S),
            CalendarUnit::Week => Some(7 * DAY_S),
            CalendarUnit::Month | CalendarUnit::Quarter | CalendarUnit::Year => None,
        }
    }

    /// Wall time `n` units after another. A day the month lacks becomes its last.
    fn later_s(self, wall_s: i64, n: i64) -> Option<i64> {
        match self.seconds() {
            Some(unit_s) => Some(wall_s + n * unit_s),
            None => {
                let at = civil(wall_s)?.checked_add((n * self.months()).months()).ok()?;
                Some(TimeZone::UTC.to_timestamp(at).ok()?.as_second())
            }
        }
    }

    /// Units from one wall time to another, by their months alone where they have any.
    fn between(self, from_s: i64, to_s: i64) -> i64 {
        match self.seconds() {
            Some(unit_s) => (to_s - from_s).div_euclid(unit_s),
            None => {
                let month =
                    |wall_s| civil(wall_s).map_or(0, |at| i64::from(at.year()) * 12 + i64::from(at.month()));
                (month(to_s) - month(from_s)).div_euclid(self.months())
            }
        }
    }

    fn months(self) -> i64 {
        match self {
            CalendarUnit::Hour | CalendarUnit::Day | CalendarUnit::Week => 0,
            CalendarUnit::Month => 1,
            CalendarUnit::Quarter => 3,
            CalendarUnit::Year => 12,
        }
    }
}

/// The calendar's day and time of seconds since 1970.
fn civil(wall_s: i64) -> Option<DateTime> {
    Timestamp::from_second(wall_s).ok().map(|at| TimeZone::UTC.to_datetime(at))
}

impl Objective {
    /// The share that may be bad, in billionths.
    pub fn allowed_billionths(&self) -> i64 {
        1_000_000_000 - self.target_billionths
    }
}

impl Method {
    /// None for occurrences.
    pub fn slice_s(self) -> Option<i64> {
        match self {
            Method::Occurrences => None,
            Method::Timeslices { slice_s, .. } | Method::RatioTimeslices { slice_s, .. } => Some(slice_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn calendar_periods_begin_where_the_calendar_says() {
        let start_us = second("2026-01-31T00:00:00Z") * 1_000_000;
        let table = [
            (CalendarUnit::Month, 1, "2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z"),
            (CalendarUnit::Month, 1, "2026-02-28T00:00:00Z", "2026-01-31T00:00:00Z"),
            (CalendarUnit::Month, 1, "2025-12-31T00:00:01Z", "2025-12-31T00:00:00Z"),
            (CalendarUnit::Quarter, 1, "2026-06-01T00:00:00Z", "2026-04-30T00:00:00Z"),
            (CalendarUnit::Week, 2, "2026-02-14T00:00:01Z", "2026-02-14T00:00:00Z"),
            (CalendarUnit::Day, 1, "2026-02-14T00:00:00Z", "2026-02-13T00:00:00Z"),
            (CalendarUnit::Year, 1, "2028-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
        ];
        for (unit, count, end, start) in table {
            let period = Period::Calendar { start_us, unit, count, zone: Zone::utc() };
            assert_eq!(period.start_s(second(end)), second(start), "{unit:?} up to {end}");
            assert!(second(end) - second(start) <= period.length_s());
        }
        assert_eq!(Period::Rolling { length_s: 60 }.start_s(100), 40);
    }

    #[test]
    fn a_period_follows_the_clocks_of_its_zone() {
        // New York: five hours behind, four from 2026-03-08T07:00:00Z to 2026-11-01T06:00:00Z.
        let offsets = vec![
            (0, -18_000),
            (second("2026-03-08T07:00:00Z"), -14_400),
            (second("2026-11-01T06:00:00Z"), -18_000),
        ];
        let zone = Zone { name: "America/New_York".into(), offsets };
        let start_us = second("2026-01-01T05:00:00Z") * 1_000_000;
        let table = [
            (CalendarUnit::Month, "2026-03-20T00:00:00Z", "2026-03-01T05:00:00Z"),
            (CalendarUnit::Month, "2026-04-01T04:00:00Z", "2026-03-01T05:00:00Z"),
            (CalendarUnit::Month, "2026-04-01T04:00:01Z", "2026-04-01T04:00:00Z"),
            (CalendarUnit::Day, "2026-03-09T03:30:00Z", "2026-03-08T05:00:00Z"),
            (CalendarUnit::Day, "2026-03-09T04:30:00Z", "2026-03-09T04:00:00Z"),
            (CalendarUnit::Day, "2026-11-02T05:00:00Z", "2026-11-01T04:00:00Z"),
        ];
        for (unit, end, start) in table {
            let period = Period::Calendar { start_us, unit, count: 1, zone: zone.clone() };
            assert_eq!(period.start_s(second(end)), second(start), "{unit:?} up to {end}");
            assert!(second(end) - second(start) <= period.length_s(), "{unit:?} up to {end}");
        }
    }
}
