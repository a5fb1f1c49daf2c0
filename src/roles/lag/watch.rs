//! What is watched of a group on one source, and where the group stands there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::board::Sampled;
use super::look::Looks;
use super::trail::Oldest;
use super::{World, opened};
use crate::core::partial::LagSample;
use crate::core::source::Source;
use crate::core::time::{MILLI_US, SECOND_US};
use crate::kafka::{KafkaError, Probe, TopicPartition};
use crate::roles::wall_clock_us;

const LOOK: Duration = Duration::from_millis(500);

/// A source on which a group is watched: a lag projection.
pub struct Watch {
    projection: u64,
    pub source: String,
    pub topic: String,
    looks: Looks,
}

/// Where a group stands in a partition, and where that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: TopicPartition,
    pub from: i64,
    pub end: i64,
}

impl Watch {
    pub fn new(projection: u64, source: &Source) -> Watch {
        let (name, topic) = (source.name.clone(), source.topic.clone());
        Watch { projection, source: name, topic, looks: Looks::default() }
    }

    /// From what ingest has read; for what it has not, by a look at the broker now and then.
    pub fn samples(&mut self, world: &mut World, places: &[&Place]) -> Result<Vec<LagSample>, KafkaError> {
        let oldest = |place: &Place| world.board.oldest(&place.partition, place.from, place.end);
        let seen: Vec<(&Place, Oldest)> = places.iter().map(|place| (*place, oldest(place))).collect();
        let unseen = seen.iter().filter(|(_, oldest)| *oldest == Oldest::Unseen).map(|(place, _)| *place);
        let now = Instant::now();
        let due: Vec<&Place> = unseen.filter(|place| self.looks.is_due(place, now)).collect();
        if !due.is_empty() {
            self.look(world, &due, now)?;
        }
        let now_us = wall_clock_us();
        let sample = |(place, oldest): (&Place, Oldest)| match oldest {
            Oldest::At { timestamp_ms } => Some(place.behind(age_us(now_us, timestamp_ms))),
            Oldest::Nothing => Some(place.nothing()),
            Oldest::Unseen => self.looks.sample(place, now_us),
        };
        Ok(seen.into_iter().filter_map(sample).collect())
    }

    fn look(&mut self, world: &mut World, due: &[&Place], now: Instant) -> Result<(), KafkaError> {
        let World { connection, probe, .. } = world;
        let from: Vec<(i32, i64)> = due.iter().map(|place| (place.partition.partition, place.from)).collect();
        let found = opened(probe, || Probe::open(connection))?.next_records(&self.topic, &from, LOOK);
        for place in due {
            let of_place = |found: &BTreeMap<_, _>| found.get(&place.partition.partition).copied();
            self.looks.take(place, now, found.as_ref().ok().and_then(of_place));
        }
        if found.is_err() {
            // Its next look must not meet this error again.
            *probe = None;
        }
        found.map(|_| ())
    }

    /// On the board, and on the page when it is known of all `partitions`.
    pub fn show(&self, group: &str, world: &World, partitions: usize, samples: Vec<LagSample>) {
        let World { board, metrics, .. } = world;
        if samples.is_empty() || samples.len() < partitions {
            metrics.forget_group_lag(group, &self.source);
        } else {
            let messages = samples.iter().map(|sample| sample.messages).sum::<u64>();
            let behind_us = samples.iter().map(|sample| sample.behind_us).max().unwrap_or(0);
            let gauges = metrics.group_lag(group, &self.source);
            gauges.messages.set(i64::try_from(messages).unwrap_or(i64::MAX));
            gauges.seconds.set(behind_us as f64 / SECOND_US as f64);
        }
        board.show(self.projection, Sampled { at_us: wall_clock_us(), samples });
    }
}

impl Place {
    /// The oldest record not committed is of this age. A clock ahead of ours makes none younger than now.
    pub fn behind(&self, behind_us: i64) -> LagSample {
        let messages = u64::try_from(self.end - self.from).unwrap_or(0);
        LagSample { partition: self.partition.partition, messages, behind_us: behind_us.max(0) }
    }

    /// The group has all there is.
    pub fn nothing(&self) -> LagSample {
        LagSample { partition: self.partition.partition, messages: 0, behind_us: 0 }
    }
}

/// Age of a record by its Kafka timestamp.
pub fn age_us(now_us: i64, timestamp_ms: i64) -> i64 {
    now_us.saturating_sub(timestamp_ms.saturating_mul(MILLI_US))
}
