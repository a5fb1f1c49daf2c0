//! Events counted by the value of a field.

use serde::{Deserialize, Serialize};

use crate::core::key::OTHER;
use crate::core::output::ColumnValue;

/// Values beyond the limit are counted under `_OTHER`; which those are depends on arrival. Ascending by value: there are
/// few, and most groups have one or two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Box<str>, u64)>")]
pub struct CountBy(Vec<(Box<str>, u64)>);

impl CountBy {
    pub fn add(&mut self, value: &str, count: u64, limit: u32) {
        match self.place(value) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => {
                let others = usize::from(self.place(OTHER).is_ok());
                if value == OTHER || self.0.len() - others < limit as usize {
                    self.0.insert(at, (value.into(), count));
                } else {
                    self.add(OTHER, count, limit);
                }
            }
        }
    }

    pub fn merge(&mut self, other: &CountBy, limit: u32) {
        other.0.iter().for_each(|(value, count)| self.add(value, *count, limit));
    }

    pub fn value(&self) -> ColumnValue {
        ColumnValue::Counts(self.0.iter().map(|(value, count)| (value.to_string(), *count)).collect())
    }

    fn place(&self, value: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(value))
    }
}

impl From<Vec<(Box<str>, u64)>> for CountBy {
    fn from(counts: Vec<(Box<str>, u64)>) -> CountBy {
        if counts.is_sorted_by(|a, b| a.0 < b.0) {
            return CountBy(counts);
        }
        let mut sorted = CountBy::default();
        counts.iter().for_each(|(value, count)| sorted.add(value, *count, u32::MAX));
        sorted
    }
}
