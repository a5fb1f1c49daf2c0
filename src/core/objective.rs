//! Objectives of SLOs: what is promised, over which period, and how good and bad are told apart.

use serde::{Deserialize, Serialize};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::alert::Lag;
use super::expr::Comparison;
use super::time::second_of;

const DAY_S: i64 = 86_400;

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
    /// `count` calendar units in UTC; one of the periods begins at `start_us`.
    Calendar {
        start_us: i64,
        unit: CalendarUnit,
        count: i32,
    },
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
            Period::Calendar { start_us, unit, count } => {
                let (start_s, last_s) = (second_of(start_us), end_s - 1);
                match unit.seconds() {
                    Some(unit_s) => {
                        let length_s = unit_s * i64::from(count.max(1));
                        start_s + (last_s - start_s).div_euclid(length_s) * length_s
                    }
                    None => month_period_start_s(start_s, unit.months() * i64::from(count.max(1)), last_s),
                }
            }
        }
    }

    /// The longest it can be.
    pub fn length_s(&self) -> i64 {
        match *self {
            Period::Rolling { length_s } => length_s,
            Period::Calendar { unit, count, .. } => {
                let month_s = || (unit.months() * 366 * DAY_S + 11 * DAY_S) / 12;
                unit.seconds().unwrap_or_else(month_s) * i64::from(count.max(1))
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

    fn months(self) -> i64 {
        match self {
            CalendarUnit::Hour | CalendarUnit::Day | CalendarUnit::Week => 0,
            CalendarUnit::Month => 1,
            CalendarUnit::Quarter => 3,
            CalendarUnit::Year => 12,
        }
    }
}

/// The last of the moments `start` + k x `months` that is not after `last_s`. A day the month lacks becomes its last.
fn month_period_start_s(start_s: i64, months: i64, last_s: i64) -> i64 {
    let civil = |second| Timestamp::from_second(second).map(|at| TimeZone::UTC.to_datetime(at));
    let (Ok(start), Ok(last)) = (civil(start_s), civil(last_s)) else { return start_s };
    let index = |at: DateTime| i64::from(at.year()) * 12 + i64::from(at.month());
    let nth = |n: i64| {
        let at = start.checked_add((n * months).months()).ok()?;
        Some(TimeZone::UTC.to_timestamp(at).ok()?.as_second())
    };
    let guess = (index(last) - index(start)).div_euclid(months.max(1));
    let at_or_before = |n: i64| nth(n).filter(|&at_s| at_s <= last_s);
    at_or_before(guess).or_else(|| at_or_before(guess - 1)).unwrap_or(start_s)
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
            let period = Period::Calendar { start_us, unit, count };
            assert_eq!(period.start_s(second(end)), second(start), "{unit:?} up to {end}");
            assert!(second(end) - second(start) <= period.length_s());
        }
        assert_eq!(Period::Rolling { length_s: 60 }.start_s(100), 40);
    }
}
