//! Objectives of SLOs: what is promised, over which period, and how good and bad are told apart.

use serde::{Deserialize, Serialize};

use super::alert::Lag;
use super::expr::Comparison;

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
    /// `count` calendar units, the first of which begins at `start_us`; wall time of `time_zone`.
    Calendar {
        start_us: i64,
        unit: CalendarUnit,
        count: i32,
        time_zone: String,
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
