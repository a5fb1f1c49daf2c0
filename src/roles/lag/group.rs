//! A consumer group whose lag rules ask for.

use std::time::{Duration, Instant};

use super::watch::{Place, Watch};
use super::{ASK, Bounds, World, opened};
use crate::http::Metrics;
use crate::kafka::{Committed, Connection, GroupOffsets, KafkaError, TopicPartition};
use crate::roles::backoff::Backoff;

/// A group the broker did not answer for is left alone so long, at first and at most: it must not hold up the others.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(10);
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A consumer group and what is watched of it.
pub struct Group {
    pub name: String,
    offsets: Option<GroupOffsets>,
    pub watches: Vec<Watch>,
    /// Why the broker's last answer was none, and until when it is not asked again.
    failed: Option<(Instant, String)>,
    rest: Backoff,
    warned: Option<Instant>,
}

impl Group {
    /// `before` is the same group under the rules before.
    pub fn new(name: String, watch: Watch, before: Option<Group>) -> Group {
        let (offsets, warned) = before.map_or((None, None), |before| (before.offsets, before.warned));
        let rest = Backoff::new(REST, LONGEST_REST);
        Group { name, watches: vec![watch], offsets, failed: None, rest, warned }
    }

    /// Why its lag is not known.
    pub fn why(&self) -> Option<&str> {
        self.failed.as_ref().map(|(_, why)| why.as_str())
    }

    /// Whether it is not to be asked yet, after it gave no answer.
    pub fn rests(&self) -> bool {
        self.failed.as_ref().is_some_and(|(until, _)| Instant::now() < *until)
    }

    pub fn sample(&mut self, world: &mut World, bounds: &Bounds) {
        if self.rests() {
            return;
        }
        let asked = self.places(&world.connection, bounds).and_then(|places| {
            for watch in &mut self.watches {
                let of_topic = |place: &&Place| *place.partition.topic == *watch.topic;
                let places: Vec<&Place> = places.iter().filter(of_topic).collect();
                let samples = watch.samples(world, &places)?;
                watch.show(&self.name, world, places.len(), samples);
            }
            Ok(())
        });
        match asked {
            Ok(()) => {
                self.failed = None;
                self.rest.reset();
            }
            Err(error) => self.fail(&error, &world.metrics),
        }
    }

    /// Where the group stands in the partitions of its watches.
    fn places(&mut self, connection: &Connection, bounds: &Bounds) -> Result<Vec<Place>, KafkaError> {
        let is_watched = |topic: &str| self.watches.iter().any(|watch| watch.topic == topic);
        let partitions: Vec<TopicPartition> =
            bounds.keys().filter(|partition| is_watched(&partition.topic)).cloned().collect();
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let offsets = opened(&mut self.offsets, || GroupOffsets::open(connection, &self.name))?;
        let committed = offsets.committed(&partitions, ASK)?;
        let place = |(partition, committed): (TopicPartition, Option<Committed>)| {
            let &(first, end) = bounds.get(&partition)?;
            // What is deleted can no longer be read by anybody.
            let from = committed.map_or(first, |committed| committed.next.max(first));
            Some(Place { partition, from, end })
        };
        Ok(committed.into_iter().filter_map(place).collect())
    }

    pub fn fail(&mut self, error: &KafkaError, metrics: &Metrics) {
        metrics.group_lag_failures(&self.name).inc();
        self.forget(metrics);
        if let KafkaError::Fatal { .. } = error {
            self.offsets = None;
        }
        // Once is a busy broker; twice in a row is worth a word.
        if self.failed.is_some() && self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(group = self.name, %error, "the lag of a consumer group is not known");
        }
        self.failed = Some((Instant::now() + self.rest.pause(), error.to_string()));
    }

    /// Takes its gauges off the page.
    pub fn forget(&self, metrics: &Metrics) {
        self.watches.iter().for_each(|watch| metrics.forget_group_lag(&self.name, &watch.source));
    }
}
