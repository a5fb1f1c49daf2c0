//! The busiest slot of an hour: all slots are kept and merged before the maximum is taken.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::core::output::ColumnValue;
use crate::core::sketch::hll::Hll;

/// Events in each slot of the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakCount(BTreeMap<u16, u64>);

/// Distinct values in each slot of the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakDistinct(BTreeMap<u16, Hll>);

impl From<BTreeMap<u16, u64>> for PeakCount {
    fn from(counts: BTreeMap<u16, u64>) -> PeakCount {
        PeakCount(counts)
    }
}

impl From<BTreeMap<u16, Hll>> for PeakDistinct {
    fn from(sets: BTreeMap<u16, Hll>) -> PeakDistinct {
        PeakDistinct(sets)
    }
}

impl PeakCount {
    pub fn merge(&mut self, other: &PeakCount) {
        other.0.iter().for_each(|(&slot, &count)| *self.0.entry(slot).or_default() += count);
    }

    pub fn peak(&self) -> Option<(u16, u64)> {
        earliest_largest(self.0.iter().map(|(&slot, &count)| (slot, count)))
    }
}

impl PeakDistinct {
    pub fn merge(&mut self, other: &PeakDistinct) {
        other.0.iter().for_each(|(&slot, hll)| self.0.entry(slot).or_default().merge(hll));
    }

    pub fn peak(&self) -> Option<(u16, u64)> {
        earliest_largest(self.0.iter().map(|(&slot, hll)| (slot, hll.cardinality())))
    }
}

/// Slots come in ascending order, so only a larger figure takes the place of an earlier one.
fn earliest_largest(slots: impl Iterator<Item = (u16, u64)>) -> Option<(u16, u64)> {
    slots.fold(None, |best, slot| match best {
        Some((_, largest)) if largest >= slot.1 => best,
        _ => Some(slot),
    })
}

pub fn push_values(peak: Option<(u16, u64)>, hour_us: i64, every_us: i64, values: &mut Vec<ColumnValue>) {
    match peak {
        Some((slot, figure)) => {
            values.push(ColumnValue::Integer(figure));
            values.push(ColumnValue::TimestampUs(hour_us + i64::from(slot) * every_us));
        }
        None => values.extend([ColumnValue::Integer(0), ColumnValue::Null]),
    }
}
