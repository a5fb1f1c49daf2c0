//! Open, high, low and close of a value in event time.

use serde::{Deserialize, Serialize};

use super::Position;
use crate::core::output::ColumnValue;

/// Ties of event time break by partition, then offset; the high and the low are the earliest of their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ohlc {
    open: Point,
    high: Point,
    low: Point,
    close: Point,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    at_us: i64,
    partition: i32,
    offset: i64,
    value: i64,
}

impl Point {
    fn moment(&self) -> (i64, i32, i64) {
        (self.at_us, self.partition, self.offset)
    }
}

impl Ohlc {
    pub fn of(value: i64, at_us: i64, position: Position) -> Ohlc {
        let point = Point { at_us, partition: position.partition, offset: position.offset, value };
        Ohlc { open: point, high: point, low: point, close: point }
    }

    /// Adds to one that may be of no events yet.
    pub fn add(ohlc: &mut Option<Ohlc>, more: &Ohlc) {
        match ohlc {
            Some(ohlc) => ohlc.merge(more),
            None => *ohlc = Some(*more),
        }
    }

    fn merge(&mut self, other: &Ohlc) {
        let earliest = |p: &Point| (p.value, p.moment());
        if other.open.moment() < self.open.moment() {
            self.open = other.open;
        }
        if other.close.moment() > self.close.moment() {
            self.close = other.close;
        }
        if (-i128::from(other.high.value), other.high.moment())
            < (-i128::from(self.high.value), self.high.moment())
        {
            self.high = other.high;
        }
        if earliest(&other.low) < earliest(&self.low) {
            self.low = other.low;
        }
    }

    pub fn push_values(ohlc: &Option<Ohlc>, scale: u8, values: &mut Vec<ColumnValue>) {
        let Some(ohlc) = ohlc else {
            values.extend(std::iter::repeat_n(ColumnValue::Null, 8));
            return;
        };
        let points = [ohlc.open, ohlc.high, ohlc.low, ohlc.close];
        values.extend(points.map(|p| ColumnValue::Decimal { units: p.value.into(), scale }));
        values.extend(points.map(|p| ColumnValue::TimestampUs(p.at_us)));
    }
}
