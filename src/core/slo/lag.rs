//! How far a consumer group is behind, as sampled over log time.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::core::partial::LagSample;

/// A partition not heard of for longer makes the lag unknown.
pub const SILENT_AFTER_S: i64 = 30;

/// The group's whole lag at each second with a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// The newest sample of each partition, and its second.
    newest: BTreeMap<i32, (i64, LagSample)>,
    /// Second -> over all partitions then known.
    seconds: BTreeMap<i64, Behind>,
}

/// A group's lag over all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    pub messages: u64,
    /// Of the partition furthest behind.
    pub behind_us: i64,
    /// Second of the sample of the partition not heard of for longest.
    heard_s: i64,
}

impl Samples {
    pub fn take(&mut self, second: i64, samples: &[LagSample]) {
        for sample in samples {
            self.newest.insert(sample.partition, (second, *sample));
        }
        // Workers sample their own partitions: what one says late changes the seconds since.
        let at_s = self.newest_second().unwrap_or(second).max(second);
        let all = || self.newest.values();
        let messages = all().map(|(_, sample)| sample.messages).sum();
        let behind_us = all().map(|(_, sample)| sample.behind_us).max().unwrap_or(0);
        let heard_s = all().map(|(heard_s, _)| *heard_s).min().unwrap_or(at_s);
        self.seconds.insert(at_s, Behind { messages, behind_us, heard_s });
    }

    /// The last lag known at the end of the second before `at_s`.
    pub fn at(&self, at_s: i64) -> Option<Behind> {
        let (_, behind) = self.seconds.range(..at_s).next_back()?;
        (at_s - behind.heard_s <= SILENT_AFTER_S).then_some(*behind)
    }

    pub fn first_second(&self) -> Option<i64> {
        self.seconds.keys().next().copied()
    }

    pub fn newest_second(&self) -> Option<i64> {
        self.newest.values().map(|(second, _)| *second).max()
    }

    /// Drops what lies before `before_s`.
    pub fn forget(&mut self, before_s: i64) {
        self.seconds = self.seconds.split_off(&before_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_late_of_one_partition_changes_the_newest_second() {
        let sample = |partition, messages| LagSample { partition, messages, behind_us: 1 };
        let mut samples = Samples::default();
        samples.take(10, &[sample(0, 7)]);
        samples.take(8, &[sample(1, 5)]);
        assert_eq!(samples.at(11).map(|behind| behind.messages), Some(12));
        assert_eq!((samples.at(10), samples.newest_second()), (None, Some(10)));
        // The sample of second 8 holds up to 38.
        assert_eq!((samples.at(38).is_some(), samples.at(39).is_some()), (true, false));
    }
}
