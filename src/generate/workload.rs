//! The iterator: arrival by arrival, one record each.

use xxhash_rust::xxh3::xxh3_64;

use super::arrivals::Arrivals;
use super::bad::Bad;
use super::dice::{Dice, Weighted};
use super::moment::Moment;
use super::options::{Incident, OptionsError, PerTopic, Topic, WorkloadOptions};
use super::predictions::Predictions;
use super::prices::Prices;
use super::requests::Requests;

/// The sources' `out_of_order`: an event older than its partition's newest by more is late.
const OUT_OF_ORDER_US: i64 = 2_000_000;

/// One record for a topic, in the order of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    pub topic: &'static str,
    pub partition: u32,
    /// When it reaches its topic, in microseconds since 1970: never before its event time, never going back.
    pub arrival_us: i64,
    /// The user of a request; prices and predictions have none.
    pub key: Option<Vec<u8>>,
    /// Event time, or arrival when the record was delayed or is bad; in milliseconds since 1970.
    pub timestamp_ms: i64,
    pub payload: Vec<u8>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Good,
    /// Counted, but older than the newest event before it on its partition by more than 2 s.
    Late,
    Bad(Bad),
}

/// A seeded workload; see [`WorkloadOptions`]. Holds one price per series and one time per partition.
///
/// A keyed record goes to the partition of its key's XXH3 hash, one without a key round robin.
pub struct Workload {
    options: WorkloadOptions,
    dice: Dice,
    arrivals: Arrivals,
    topics: Weighted,
    prices: Prices,
    predictions: Predictions,
    requests: Requests,
    /// Largest event time of each partition.
    newest_us: PerTopic<Vec<Option<i64>>>,
    round_robin: PerTopic<u32>,
    buffer: Vec<u8>,
}

impl Workload {
    /// Fails when the options describe no workload.
    pub fn new(options: WorkloadOptions) -> Result<Workload, OptionsError> {
        options.check()?;
        let partitions = |topic| vec![None; *options.partitions.get(topic) as usize];
        Ok(Workload {
            dice: Dice::new(options.seed),
            arrivals: Arrivals::new(&options),
            topics: Weighted::new(Topic::ALL.map(|topic| *options.shares.get(topic))),
            prices: Prices::new(),
            predictions: Predictions::new(),
            requests: Requests::new(options.users),
            newest_us: PerTopic {
                prices: partitions(Topic::Prices),
                predictions: partitions(Topic::Predictions),
                requests: partitions(Topic::Requests),
            },
            round_robin: PerTopic { prices: 0, predictions: 0, requests: 0 },
            buffer: Vec::new(),
            options,
        })
    }

    /// Draws the record of one arrival; None when its feed is silent.
    fn draw(&mut self, arrival_us: i64) -> Option<Generated> {
        let topic = Topic::ALL[self.topics.pick(&mut self.dice)];
        let moment = Moment::draw(&mut self.dice, &self.options, arrival_us);
        let spoilt = self.dice.chance(self.options.bad_share);
        let bad = spoilt.then(|| self.dice.pick(&Bad::ALL));
        let key = self.write(topic, &moment, bad);
        if self.silent(topic, arrival_us) || self.silent(topic, moment.event_us) {
            return None;
        }
        let partition = self.partition(topic, key.as_deref());
        let kind = match bad {
            Some(bad) => Kind::Bad(bad),
            None => self.judge(topic, partition, moment.event_us),
        };
        let on_time = bad.is_none() && !moment.delayed;
        let stamp_us = if on_time { moment.event_us } else { arrival_us };
        Some(Generated {
            topic: topic.name(),
            partition,
            arrival_us,
            key,
            timestamp_ms: stamp_us.div_euclid(1_000),
            payload: self.buffer.as_slice().to_vec(),
            kind,
        })
    }

    /// Writes the payload into the buffer and gives the record's key.
    fn write(&mut self, topic: Topic, moment: &Moment, bad: Option<Bad>) -> Option<Vec<u8>> {
        let Workload { dice, buffer, options, .. } = self;
        let fault = bad.and_then(|bad| bad.fault(dice, topic));
        buffer.clear();
        let key = match topic {
            Topic::Prices => {
                self.prices.write(buffer, dice, moment, fault);
                None
            }
            Topic::Predictions => {
                self.predictions.write(buffer, dice, moment, fault, &options.incidents);
                None
            }
            Topic::Requests => self.requests.write(buffer, dice, moment, fault, &options.incidents),
        };
        if bad == Some(Bad::Truncated) {
            // No proper beginning of an object is JSON; at least its brace stays.
            let kept = 1 + dice.below(buffer.len() as u64 - 1) as usize;
            buffer.truncate(kept);
        }
        key
    }

    fn silent(&self, topic: Topic, at_us: i64) -> bool {
        self.options.incidents.iter().any(|incident| match incident {
            Incident::SilentFeed { from_us, to_us, topic: silent } => {
                *silent == topic && (*from_us..*to_us).contains(&at_us)
            }
            Incident::ErrorSpike { .. } | Incident::SlowModel { .. } => false,
        })
    }

    fn partition(&mut self, topic: Topic, key: Option<&[u8]>) -> u32 {
        let partitions = *self.options.partitions.get(topic);
        if let Some(key) = key {
            // The remainder is below `partitions`, so it fits.
            return (xxh3_64(key) % u64::from(partitions)) as u32;
        }
        let next = self.round_robin.get_mut(topic);
        let partition = *next;
        *next = (partition + 1) % partitions;
        partition
    }

    /// Late by the rule of the sources, which looks at the partition alone.
    fn judge(&mut self, topic: Topic, partition: u32, event_us: i64) -> Kind {
        let newest = &mut self.newest_us.get_mut(topic)[partition as usize];
        let late = newest.is_some_and(|newest| event_us < newest - OUT_OF_ORDER_US);
        *newest = Some(newest.map_or(event_us, |newest| newest.max(event_us)));
        if late { Kind::Late } else { Kind::Good }
    }
}

impl Iterator for Workload {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        loop {
            let arrival_us = self.arrivals.next()?;
            if let Some(record) = self.draw(arrival_us) {
                return Some(record);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.arrivals.left()).ok())
    }
}
