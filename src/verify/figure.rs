//! What one column of one row holds: added to event by event, and written as the columns that others read.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use crate::core::source::{Aggregate, Column, Quantile, Source};
use crate::core::time::{HOUR_US, rfc3339};

use super::condition::holds;
use super::distinct::Distinct;
use super::event::Value;
use super::histogram::Histogram;
use super::number::written;

/// Counted under it is what lies beyond a limit.
pub const OTHER: &str = "_OTHER";
/// Digits of freshness, which is counted in microseconds and shown in milliseconds.
const FRESHNESS_SCALE: u8 = 3;
/// Values of a `count_by` that are told apart here, however many there are.
const MOST_VALUES: usize = 10_000;

/// An accepted record.
pub struct Happened<'a> {
    pub event: &'a [Value<'a>],
    pub at_us: i64,
    pub partition: i32,
    pub offset: i64,
    /// Kafka timestamp less event time, 0 when negative.
    pub age_us: i64,
}

#[derive(Clone, Debug)]
pub enum Figure {
    Count(u64),
    Sum(i128),
    Smallest(Option<i64>),
    Largest(Option<i64>),
    Histogram(Histogram),
    Prices(Option<Prices>),
    CountBy(BTreeMap<String, u64>),
    Distinct(Distinct),
    /// By the start of the slot.
    PeakCount(BTreeMap<i64, u64>),
    PeakDistinct(BTreeMap<i64, Distinct>),
}

/// Event time, partition and offset: what decides between equals.
type Place = (i64, i32, i64);

/// Each with where it stood.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    open: (Place, i64),
    high: (Place, i64),
    low: (Place, i64),
    close: (Place, i64),
}

impl Prices {
    fn of(place: Place, value: i64) -> Prices {
        let one = (place, value);
        Prices { open: one, high: one, low: one, close: one }
    }

    fn merge(&mut self, other: Prices) {
        let is_earlier = other.open.0 < self.open.0;
        self.open = if is_earlier { other.open } else { self.open };
        let is_later = other.close.0 > self.close.0;
        self.close = if is_later { other.close } else { self.close };
        // Of equals the earliest.
        let is_higher =
            other.high.1 > self.high.1 || other.high.1 == self.high.1 && other.high.0 < self.high.0;
        self.high = if is_higher { other.high } else { self.high };
        let is_lower = other.low.1 < self.low.1 || other.low.1 == self.low.1 && other.low.0 < self.low.0;
        self.low = if is_lower { other.low } else { self.low };
    }
}

impl Figure {
    pub fn empty(aggregate: &Aggregate) -> Figure {
        match aggregate {
            Aggregate::Count(_) => Figure::Count(0),
            Aggregate::Sum(_) | Aggregate::SumProduct(..) => Figure::Sum(0),
            Aggregate::Min(_) => Figure::Smallest(None),
            Aggregate::Max(_) => Figure::Largest(None),
            Aggregate::Histogram { .. } | Aggregate::Freshness { .. } => {
                Figure::Histogram(Histogram::default())
            }
            Aggregate::Ohlc(_) => Figure::Prices(None),
            Aggregate::CountBy { .. } => Figure::CountBy(BTreeMap::new()),
            Aggregate::Distinct(_) => Figure::Distinct(Distinct::default()),
            Aggregate::Peak { distinct: None, .. } => Figure::PeakCount(BTreeMap::new()),
            Aggregate::Peak { distinct: Some(_), .. } => Figure::PeakDistinct(BTreeMap::new()),
        }
    }

    pub fn add(&mut self, aggregate: &Aggregate, happened: &Happened<'_>) {
        let Happened { event, at_us, partition, offset, age_us } = *happened;
        match (self, aggregate) {
            (Figure::Count(count), Aggregate::Count(condition)) => {
                *count += u64::from(holds(condition, event, age_us));
            }
            (Figure::Sum(sum), Aggregate::Sum(slot)) => {
                *sum += i128::from(event[*slot].number().unwrap_or(0));
            }
            (Figure::Sum(sum), Aggregate::SumProduct(a, b)) => {
                if let (Some(a), Some(b)) = (event[*a].number(), event[*b].number()) {
                    *sum += i128::from(a) * i128::from(b);
                }
            }
            (Figure::Smallest(least), Aggregate::Min(slot)) => {
                *least = [*least, event[*slot].number()].into_iter().flatten().min();
            }
            (Figure::Largest(most), Aggregate::Max(slot)) => *most = (*most).max(event[*slot].number()),
            (Figure::Histogram(histogram), Aggregate::Histogram { slot, .. }) => {
                if let Some(number) = event[*slot].number() {
                    histogram.add(number);
                }
            }
            (Figure::Histogram(histogram), Aggregate::Freshness { .. }) => histogram.add(age_us),
            (Figure::Prices(prices), Aggregate::Ohlc(slot)) => {
                if let Some(value) = event[*slot].number() {
                    let one = Prices::of((at_us, partition, offset), value);
                    prices.get_or_insert(one).merge(one);
                }
            }
            (Figure::CountBy(counts), Aggregate::CountBy { slot, .. }) => {
                count(counts, &event[*slot].text().unwrap_or_default(), 1);
            }
            (Figure::Distinct(distinct), Aggregate::Distinct(slot)) => {
                if let Some(text) = event[*slot].text() {
                    distinct.add(&text);
                }
            }
            (Figure::PeakCount(slots), Aggregate::Peak { every_us, .. }) => {
                *slots.entry(slot_us(at_us, *every_us)).or_default() += 1;
            }
            (Figure::PeakDistinct(slots), Aggregate::Peak { every_us, distinct: Some(slot) }) => {
                if let Some(text) = event[*slot].text() {
                    slots.entry(slot_us(at_us, *every_us)).or_default().add(&text);
                }
            }
            // A figure is made by `empty` of its own aggregate.
            (figure, aggregate) => debug_assert!(false, "{figure:?} is none of {aggregate:?}"),
        }
    }

    pub fn merge(&mut self, other: Figure) {
        match (self, other) {
            (Figure::Count(a), Figure::Count(b)) => *a += b,
            (Figure::Sum(a), Figure::Sum(b)) => *a += b,
            (Figure::Smallest(a), Figure::Smallest(b)) => *a = [*a, b].into_iter().flatten().min(),
            (Figure::Largest(a), Figure::Largest(b)) => *a = (*a).max(b),
            (Figure::Histogram(a), Figure::Histogram(b)) => a.merge(b),
            (Figure::Prices(a), Figure::Prices(Some(b))) => a.get_or_insert(b).merge(b),
            (Figure::Prices(_), Figure::Prices(None)) => {}
            (Figure::CountBy(a), Figure::CountBy(b)) => {
                b.into_iter().for_each(|(value, events)| count(a, &value, events));
            }
            (Figure::Distinct(a), Figure::Distinct(b)) => a.merge(b),
            (Figure::PeakCount(a), Figure::PeakCount(b)) => {
                b.into_iter().for_each(|(slot, events)| *a.entry(slot).or_default() += events);
            }
            (Figure::PeakDistinct(a), Figure::PeakDistinct(b)) => {
                b.into_iter().for_each(|(slot, distinct)| a.entry(slot).or_default().merge(distinct));
            }
            (figure, other) => debug_assert!(false, "{figure:?} and {other:?} are of two columns"),
        }
    }

    /// Writes the columns that it becomes, in the form of output records.
    pub fn write(&self, source: &Source, column: &Column, into: &mut Map<String, Json>) {
        let name = &column.name;
        let mut set = |suffix: &str, value: Json| drop(into.insert(format!("{name}{suffix}"), value));
        let scale = |slot: usize| source.fields[slot].scale();
        match (self, &column.aggregate) {
            (Figure::Count(count), _) => set("", json!(count)),
            (Figure::Sum(sum), Aggregate::SumProduct(a, b)) => {
                set("", written(*sum, scale(*a) + scale(*b)).into());
            }
            (Figure::Sum(sum), Aggregate::Sum(slot)) => set("", written(*sum, scale(*slot)).into()),
            (Figure::Smallest(value), Aggregate::Min(slot))
            | (Figure::Largest(value), Aggregate::Max(slot)) => set("", decimal(*value, scale(*slot))),
            (Figure::Histogram(histogram), Aggregate::Histogram { slot, quantiles }) => {
                write_histogram(histogram, quantiles, scale(*slot), set);
            }
            (Figure::Histogram(histogram), Aggregate::Freshness { quantiles }) => {
                write_histogram(histogram, quantiles, FRESHNESS_SCALE, set);
            }
            (Figure::Prices(prices), Aggregate::Ohlc(slot)) => {
                let all = prices.map(|p| [p.open, p.high, p.low, p.close]);
                for (at, word) in ["open", "high", "low", "close"].into_iter().enumerate() {
                    let one = all.map(|all| all[at]);
                    set(&format!("_{word}"), decimal(one.map(|(_, value)| value), scale(*slot)));
                    set(&format!("_{word}_at"), json!(one.map(|((at_us, ..), _)| rfc3339(at_us))));
                }
            }
            (Figure::CountBy(counts), _) => set("", json!(counts)),
            (Figure::Distinct(distinct), _) => {
                set("", json!(distinct.count()));
                set("_hll", STANDARD.encode(distinct.stored()).into());
            }
            (Figure::PeakCount(slots), _) => {
                write_peak(slots.iter().map(|(slot, events)| (*slot, *events)), set);
            }
            (Figure::PeakDistinct(slots), _) => {
                write_peak(slots.iter().map(|(slot, distinct)| (*slot, distinct.count())), set);
            }
            (figure, aggregate) => debug_assert!(false, "{figure:?} is none of {aggregate:?}"),
        }
    }
}

/// Columns that are numbers and add up over the keys of an hour.
pub fn additive(column: &Column) -> Vec<String> {
    let name = &column.name;
    match &column.aggregate {
        Aggregate::Count(_) | Aggregate::Sum(_) | Aggregate::SumProduct(..) => vec![name.clone()],
        Aggregate::Histogram { .. } | Aggregate::Freshness { .. } => {
            vec![format!("{name}_count"), format!("{name}_sum")]
        }
        Aggregate::Min(_)
        | Aggregate::Max(_)
        | Aggregate::Ohlc(_)
        | Aggregate::CountBy { .. }
        | Aggregate::Distinct(_)
        | Aggregate::Peak { .. } => Vec::new(),
    }
}

fn count(counts: &mut BTreeMap<String, u64>, value: &str, events: u64) {
    if let Some(known) = counts.get_mut(value) {
        *known += events;
        return;
    }
    let value = if counts.len() < MOST_VALUES { value } else { OTHER };
    *counts.entry(value.to_owned()).or_default() += events;
}

/// Slots begin with the hour.
fn slot_us(at_us: i64, every_us: i64) -> i64 {
    at_us - at_us.rem_euclid(HOUR_US) % every_us
}

fn decimal(units: Option<i64>, scale: u8) -> Json {
    units.map_or(Json::Null, |units| written(units.into(), scale).into())
}

fn write_histogram(
    histogram: &Histogram,
    quantiles: &[Quantile],
    scale: u8,
    mut set: impl FnMut(&str, Json),
) {
    set("_count", json!(histogram.count()));
    set("_min", decimal(histogram.min, scale));
    set("_max", decimal(histogram.max, scale));
    set("_sum", written(histogram.sum, scale).into());
    for quantile in quantiles {
        set(&format!("_{}", quantile.suffix()), decimal(histogram.quantile(*quantile), scale));
    }
    let (bins, counts) = histogram.bins();
    set("_bins", json!(bins));
    set("_counts", json!(counts));
    set("_hdr", STANDARD.encode(histogram.hdr()).into());
}

/// Slots come in order: the earliest of the largest.
fn write_peak(slots: impl Iterator<Item = (i64, u64)>, mut set: impl FnMut(&str, Json)) {
    let peak = slots.reduce(|best, next| if next.1 > best.1 { next } else { best });
    set("_max", json!(peak.map_or(0, |(_, figure)| figure)));
    set("_max_at", json!(peak.map(|(slot_us, _)| rfc3339(slot_us))));
}
