//! What the right answer is, computed slowly and plainly from the raw records.
//!
//! Shares no code with the library: it knows the three shipped sources by heart, keeps every value of every row, and
//! turns them into columns at the end. Rules it judges from every event of every window anew. It holds below the limits: it panics on a topic it does not know, and on
//! more keys or counted values than a rollup keeps, since which of them fold into `_OTHER` is not its business.
//!
//! Where the text of the contract leaves a choice, this is what is taken as right:
//! - Fields are checked in declared order, and the first fault is the reason. An empty required string and one longer
//!   than `max_length` are OUT_OF_RANGE, a fraction in an integer and a timestamp that is no string WRONG_TYPE.
//! - Freshness of 2^42 us (50 days) or more does not fit its histogram: OUT_OF_RANGE, decided with the fields.
//! - A peak of distinct users in an hour without any is 0, at no time (null).
//! - The wall clock plays no part: too far ahead is judged by the Kafka timestamp alone.
//!
//! Use it from a test as `mod oracle;`.

// Each test that includes this uses a part of it.
#![allow(dead_code, unused_imports)]

mod calendar;
mod compare;
mod decimal;
mod decode;
mod episodes;
mod log;
mod number;
mod ratio;
mod rules;
mod sketch;
mod slices;
mod tables;

pub use calendar::{Calendar, Clocks, Period, Unit, wall_of, wall_s};
pub use compare::{compare, without};
pub use decimal::{Rounded, scaled};
pub use decode::{Event, Prediction, Price, Request, decode};
pub use episodes::{End, Episode, Judged};
pub use log::{Accepted, DeadLetter, Verdict, judge};
pub use number::{Happened, Heard, Part, Sample};
pub use ratio::{RatioLevel, RatioRule, ratio_episodes};
pub use rules::{Kind, Level, Rule, judge_group};
pub use sketch::{Histogram, bin_of, distinct, hash};
pub use slices::{Counts, Empty, Good, Slices};

use serde_json::Value;

/// A record as Kafka holds it.
#[derive(Clone, Debug)]
pub struct RawRecord {
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub payload: Vec<u8>,
}

/// One row of an hourly table; `values` holds the key columns, `bucket_start`, `event_count`, `late_count` and the
/// measure columns by name, in the form of output records.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub table: String,
    pub key: Vec<String>,
    pub hour_us: i64,
    pub values: Value,
}

#[derive(Clone, Debug)]
pub struct Expected {
    /// Sorted by table, key and hour.
    pub rows: Vec<Row>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Expected {
    pub fn table<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.table == table)
    }
}

/// The rows and dead letters of all records. Their order counts only within a topic and partition, where it goes by
/// offset.
pub fn expect(records: &[RawRecord]) -> Expected {
    let verdicts = judge(records);
    let mut accepted = Vec::new();
    let mut dead_letters = Vec::new();
    for verdict in verdicts {
        match verdict {
            Verdict::Accepted(event) => accepted.push(event),
            Verdict::Dead(letter) => dead_letters.push(letter),
        }
    }
    Expected { rows: tables::rows(&accepted), dead_letters }
}

/// An output record of an hourly topic as a row: the key is a JSON array that ends with the hour.
pub fn row_of_record(table: &str, key: &[u8], value: &[u8]) -> Result<Row, String> {
    let mut key: Vec<String> = serde_json::from_slice(key)
        .map_err(|error| format!("{table}: the key is no array of texts: {error}"))?;
    let hour = key.pop().ok_or_else(|| format!("{table}: the key is empty"))?;
    let hour_us = decode::rfc3339_us(&hour).ok_or_else(|| format!("{table}: {hour:?} is no hour"))?;
    let values = serde_json::from_slice(value).map_err(|error| format!("{table} {key:?}: {error}"))?;
    Ok(Row { table: table.to_owned(), key, hour_us, values })
}

/// RFC 3339 in UTC with six digits.
pub fn rfc3339(at_us: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(at_us).expect("a time the oracle decoded");
    format!("{at:.6}")
}
