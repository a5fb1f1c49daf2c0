//! A source: one topic, how its records become events, and the hourly tables made of them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::expr::Condition;

/// Index of a field in its source, and of its value in an event.
pub type Slot = usize;

/// Largest scaled value a histogram takes, exclusive.
pub const HISTOGRAM_LIMIT: i64 = 1 << 42;

/// A declared topic. Field order is slot order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub topic: String,
    /// A missing topic then means no data, not an error.
    pub optional: bool,
    pub format: Format,
    pub event_time: EventTime,
    pub fields: Vec<Field>,
    pub rollups: Vec<Rollup>,
}

/// How a record's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    Json,
}

/// Where event time stands and how much disorder it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    pub slot: Slot,
    pub out_of_order_us: i64,
    pub lateness_us: i64,
    pub idle_after_us: i64,
    pub max_ahead_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    /// Where the value stands in the record, outermost object first.
    pub path: Vec<String>,
    pub kind: FieldKind,
    pub optional: bool,
    /// Written unit of the numbers: `ms`, `B`, or empty.
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FieldKind {
    Timestamp(TimestampForm),
    String {
        /// In bytes of UTF-8; longer is invalid.
        max_length: Option<u32>,
        upper: bool,
        /// Code -> name shown; a code that is not in it stays as it is.
        map: BTreeMap<String, String>,
    },
    /// Whole numbers; scale 0.
    Integer(Bounds),
    /// Decimals times 10^scale.
    Decimal {
        scale: u8,
        bounds: Bounds,
    },
    Boolean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimestampForm {
    Rfc3339,
    EpochSeconds,
    EpochMillis,
    EpochMicros,
    EpochNanos,
}

/// Both ends inclusive and scaled. Config folds `min_exclusive` and the range of a histogram into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: i64,
    pub max: i64,
}

impl Bounds {
    pub const NONE: Bounds = Bounds { min: i64::MIN, max: i64::MAX };
}

impl Field {
    /// Digits behind the decimal point of this field's integers.
    pub fn scale(&self) -> u8 {
        match self.kind {
            FieldKind::Decimal { scale, .. } => scale,
            FieldKind::Timestamp(_) => 6,
            FieldKind::String { .. } | FieldKind::Integer(_) | FieldKind::Boolean => 0,
        }
    }
}

/// One hourly table: a row for each key and hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollup {
    /// Postgres table, ending in `_hourly`.
    pub table: String,
    /// Fields that make the key, in declared order; may be empty.
    pub by: Vec<Slot>,
    /// Keys per shard and hour; more fold into `_OTHER`.
    pub limit: u32,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub aggregate: Aggregate,
}

/// What a column computes. Each kind folds, merges, encodes and becomes columns in `core::aggregate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aggregate {
    Count(Condition),
    Sum(Slot),
    SumProduct(Slot, Slot),
    Min(Slot),
    Max(Slot),
    Histogram {
        slot: Slot,
        quantiles: Vec<Quantile>,
    },
    /// Histogram of Kafka timestamp minus event time, in milliseconds at scale 3.
    Freshness {
        quantiles: Vec<Quantile>,
    },
    Ohlc(Slot),
    CountBy {
        slot: Slot,
        limit: u32,
    },
    Distinct(Slot),
    /// Largest count, or distinct values, of any slot of `every_us` inside the hour.
    Peak {
        every_us: i64,
        distinct: Option<Slot>,
    },
}

/// A quantile in millionths: 999_000 is p99.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quantile {
    pub millionths: u32,
}

impl Quantile {
    /// Column suffix: `p50`, `p95`, `p999`; at least two digits.
    pub fn suffix(self) -> String {
        let digits = format!("{:06}", self.millionths);
        let kept = digits.trim_end_matches('0').len().max(2);
        format!("p{}", &digits[..kept])
    }

    /// 1-based rank of this quantile among `count` values: ceil(q x n), at least 1.
    pub fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(self.millionths)).div_ceil(1_000_000);
        u64::try_from(rank).unwrap_or(count).max(1)
    }
}

impl Source {
    pub fn slot(&self, field: &str) -> Option<Slot> {
        self.fields.iter().position(|f| f.name == field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_names_and_ranks() {
        let names = [(500_000, "p50"), (50_000, "p05"), (950_000, "p95"), (999_000, "p999")];
        for (millionths, name) in names {
            assert_eq!(Quantile { millionths }.suffix(), name);
        }
        let p95 = Quantile { millionths: 950_000 };
        assert_eq!((p95.rank(1), p95.rank(100), p95.rank(101)), (1, 95, 96));
    }
}
