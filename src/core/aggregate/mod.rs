//! What columns are made of: each kind merges partial results and becomes column values.
//!
//! Folding (`core::fold`) and merging commute: however the events of one hour are split, and in whatever order the
//! parts arrive, the values are the same to the byte (below the limit of `count_by`).

mod count_by;
mod ohlc;
mod peak;

use serde::{Deserialize, Serialize};

use super::output::ColumnValue;
use super::sketch::histogram::Histogram;
use super::sketch::hll::Hll;
use super::source::{Aggregate, Quantile, Rollup, Slot, Source};
use super::table::FRESHNESS_SCALE;
use super::time::{HOUR_US, floor_to};
pub use count_by::CountBy;
pub use ohlc::Ohlc;
pub use peak::{PeakCount, PeakDistinct};

/// Where and when a record stood in its topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
    /// Kafka's record timestamp.
    pub timestamp_us: i64,
}

/// The partial result of one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    Count(u64),
    Sum(i128),
    Min(Option<i64>),
    Max(Option<i64>),
    Histogram(Histogram),
    Ohlc(Option<Ohlc>),
    CountBy(CountBy),
    Distinct(Hll),
    PeakCount(PeakCount),
    PeakDistinct(PeakDistinct),
}

impl Measure {
    pub fn empty(aggregate: &Aggregate) -> Measure {
        match aggregate {
            Aggregate::Count(_) => Measure::Count(0),
            Aggregate::Sum(_) | Aggregate::SumProduct(..) => Measure::Sum(0),
            Aggregate::Min(_) => Measure::Min(None),
            Aggregate::Max(_) => Measure::Max(None),
            Aggregate::Histogram { .. } | Aggregate::Freshness { .. } => {
                Measure::Histogram(Histogram::default())
            }
            Aggregate::Ohlc(_) => Measure::Ohlc(None),
            Aggregate::CountBy { .. } => Measure::CountBy(CountBy::default()),
            Aggregate::Distinct(_) => Measure::Distinct(Hll::default()),
            Aggregate::Peak { distinct: None, .. } => Measure::PeakCount(PeakCount::default()),
            Aggregate::Peak { distinct: Some(_), .. } => Measure::PeakDistinct(PeakDistinct::default()),
        }
    }

    /// Adds a partial result of the same column.
    pub fn merge(&mut self, other: &Measure, aggregate: &Aggregate) {
        match (self, other) {
            (Measure::Count(a), Measure::Count(b)) => *a += b,
            (Measure::Sum(a), Measure::Sum(b)) => *a += b,
            (Measure::Min(a), Measure::Min(b)) => lower(a, *b),
            (Measure::Max(a), Measure::Max(b)) => raise(a, *b),
            (Measure::Histogram(a), Measure::Histogram(b)) => a.merge(b),
            (Measure::Ohlc(a), Measure::Ohlc(Some(b))) => Ohlc::add(a, b),
            (Measure::Ohlc(_), Measure::Ohlc(None)) => {}
            (Measure::CountBy(a), Measure::CountBy(b)) => {
                let limit = if let Aggregate::CountBy { limit, .. } = aggregate { *limit } else { u32::MAX };
                a.merge(b, limit);
            }
            (Measure::Distinct(a), Measure::Distinct(b)) => a.merge(b),
            (Measure::PeakCount(a), Measure::PeakCount(b)) => a.merge(b),
            (Measure::PeakDistinct(a), Measure::PeakDistinct(b)) => a.merge(b),
            (measure, _) => mismatch(measure, aggregate),
        }
    }

    /// Appends the values of this column's parts, in the order of `Rollup::table_columns`.
    fn push_values(
        &self,
        aggregate: &Aggregate,
        source: &Source,
        hour_us: i64,
        values: &mut Vec<ColumnValue>,
    ) {
        let scale = |slot: Slot| source.fields[slot].scale();
        match (self, aggregate) {
            (Measure::Count(count), Aggregate::Count(_)) => values.push(ColumnValue::Integer(*count)),
            (Measure::Sum(sum), Aggregate::Sum(slot)) => values.push(decimal(*sum, scale(*slot))),
            (Measure::Sum(sum), Aggregate::SumProduct(a, b)) => {
                values.push(decimal(*sum, scale(*a) + scale(*b)));
            }
            (Measure::Min(value), Aggregate::Min(slot)) | (Measure::Max(value), Aggregate::Max(slot)) => {
                values.push(optional(*value, scale(*slot)));
            }
            (Measure::Histogram(histogram), Aggregate::Histogram { slot, quantiles }) => {
                push_histogram(histogram, quantiles, scale(*slot), values);
            }
            (Measure::Histogram(histogram), Aggregate::Freshness { quantiles }) => {
                push_histogram(histogram, quantiles, FRESHNESS_SCALE, values);
            }
            (Measure::Ohlc(ohlc), Aggregate::Ohlc(slot)) => Ohlc::push_values(ohlc, scale(*slot), values),
            (Measure::CountBy(counts), Aggregate::CountBy { .. }) => values.push(counts.value()),
            (Measure::Distinct(hll), Aggregate::Distinct(_)) => {
                values.push(ColumnValue::Integer(hll.cardinality()));
                values.push(ColumnValue::Bytes(hll.encode()));
            }
            (Measure::PeakCount(peak), Aggregate::Peak { every_us, .. }) => {
                peak::push_values(peak.peak(), hour_us, *every_us, values);
            }
            (Measure::PeakDistinct(peak), Aggregate::Peak { every_us, .. }) => {
                peak::push_values(peak.peak(), hour_us, *every_us, values);
            }
            (measure, aggregate) => mismatch(measure, aggregate),
        }
    }
}

/// The values of a row's measure columns, parallel to `Rollup::table_columns`.
pub fn column_values(
    measures: &[Measure],
    rollup: &Rollup,
    source: &Source,
    hour_us: i64,
) -> Vec<ColumnValue> {
    let mut values = Vec::new();
    for (measure, column) in measures.iter().zip(&rollup.columns) {
        measure.push_values(&column.aggregate, source, hour_us, &mut values);
    }
    values
}

/// Age of an event when Kafka took it; below zero counts as zero.
pub fn age_us(timestamp_us: i64, event_us: i64) -> i64 {
    timestamp_us.saturating_sub(event_us).max(0)
}

/// Number of the slot of `every_us` inside its hour. An hour has at most 3,600 of them, so it fits.
pub fn slot_of(at_us: i64, every_us: i64) -> u16 {
    ((at_us - floor_to(at_us, HOUR_US)) / every_us) as u16
}

pub fn lower(min: &mut Option<i64>, value: Option<i64>) {
    *min = match (*min, value) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}

pub fn raise(max: &mut Option<i64>, value: Option<i64>) {
    *max = (*max).max(value);
}

fn decimal(units: i128, scale: u8) -> ColumnValue {
    ColumnValue::Decimal { units, scale }
}

fn optional(units: Option<i64>, scale: u8) -> ColumnValue {
    units.map_or(ColumnValue::Null, |units| decimal(units.into(), scale))
}

fn push_histogram(histogram: &Histogram, quantiles: &[Quantile], scale: u8, values: &mut Vec<ColumnValue>) {
    values.push(ColumnValue::Integer(histogram.count()));
    values.push(optional(histogram.min(), scale));
    values.push(optional(histogram.max(), scale));
    values.push(decimal(histogram.sum(), scale));
    values.extend(quantiles.iter().map(|&quantile| optional(histogram.quantile(quantile), scale)));
    let (bins, counts) = histogram.coarse_bins();
    values.push(ColumnValue::Bins(bins));
    values.push(ColumnValue::BinCounts(counts));
    values.push(ColumnValue::Bytes(histogram.encode_v2()));
}

/// A measure is only ever made by `Measure::empty` of its own aggregate, and wire checks what it reads.
fn mismatch(measure: &Measure, aggregate: &Aggregate) {
    debug_assert!(false, "{measure:?} is not a result of {aggregate:?}");
}

/// Whether every measure has the kind its column asks for: what the wire checks before a shard may merge.
pub fn fits(measures: &[Measure], rollup: &Rollup) -> bool {
    measures.len() == rollup.columns.len()
        && measures.iter().zip(&rollup.columns).all(|(measure, column)| {
            std::mem::discriminant(measure) == std::mem::discriminant(&Measure::empty(&column.aggregate))
        })
}
