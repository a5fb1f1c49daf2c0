//! Events counted by the value of a field.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::core::key::OTHER;
use crate::core::output::ColumnValue;

/// Values beyond the limit are counted under `_OTHER`; which those are depends on arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountBy(BTreeMap<String, u64>);

impl CountBy {
    pub fn add(&mut self, value: &str, count: u64, limit: u32) {
        if let Some(known) = self.0.get_mut(value) {
            *known += count;
        } else if self.0.len() - usize::from(self.0.contains_key(OTHER)) < limit as usize {
            self.0.insert(value.to_owned(), count);
        } else {
            *self.0.entry(OTHER.to_owned()).or_default() += count;
        }
    }

    pub fn merge(&mut self, other: &CountBy, limit: u32) {
        other.0.iter().for_each(|(value, &count)| self.add(value, count, limit));
    }

    pub fn value(&self) -> ColumnValue {
        ColumnValue::Counts(self.0.iter().map(|(value, &count)| (value.clone(), count)).collect())
    }
}
