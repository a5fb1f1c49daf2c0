//! The way of a message into a flush, in memory: what ships, a generated workload, one worker.

// Each target that includes this uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll::config::{Overrides, Surroundings, embedded};
use plimsoll::core::aggregate::Position;
use plimsoll::core::event::Event;
use plimsoll::core::fold::{Assigned, Flush, Fold, PartitionId};
use plimsoll::core::plan::Plan;
use plimsoll::decode::Decoder;
use plimsoll::generate::{Generated, PerTopic, Volume, Workload, WorkloadOptions};

/// Shards that deltas are spread over.
pub const SHARDS: u32 = 12;
/// Of each topic.
const PARTITIONS: u32 = 12;

/// Records without bad ones, 7,000 for each second of event time.
pub fn records(seconds: u64) -> Vec<Generated> {
    let options = WorkloadOptions {
        volume: Volume::Events(7_000 * seconds),
        span_us: seconds as i64 * 1_000_000,
        partitions: PerTopic { prices: PARTITIONS, predictions: PARTITIONS, requests: PARTITIONS },
        bad_share: 0.0,
        ..WorkloadOptions::default()
    };
    Workload::new(options).unwrap().collect()
}

/// Folds records again and again, each time at later offsets.
pub struct Hot {
    pub plan: Arc<Plan>,
    decoders: Vec<Decoder>,
    pub fold: Fold,
    event: Event,
    next: BTreeMap<PartitionId, i64>,
}

impl Hot {
    pub fn new() -> Hot {
        let surroundings = Surroundings { host_name: "test".into(), cores: 1 };
        let rules = embedded(&BTreeMap::new(), &surroundings, &Overrides::default()).unwrap().rules;
        let plan = Arc::new(Plan::compile(0, Arc::new(rules)).unwrap());
        let decoders = plan.rules.sources.iter().map(Decoder::new).collect();
        let fold = Fold::new(Arc::clone(&plan), SHARDS);
        Hot { plan, decoders, fold, event: Event::default(), next: BTreeMap::new() }
    }

    /// Where each record belongs.
    pub fn places(&mut self, records: &[Generated]) -> Vec<PartitionId> {
        let source = |topic: &str| self.plan.rules.sources.iter().position(|source| source.topic == topic);
        let place = |record: &Generated| (source(record.topic).unwrap() as u16, record.partition as i32);
        let places: Vec<PartitionId> = records.iter().map(place).collect();
        for &id in &places {
            let assigned = Assigned { partitions: PARTITIONS, topic: 0, next: 0, max_event_us: None };
            if self.next.insert(id, 0).is_none() {
                self.fold.assign(id, assigned, 0);
            }
        }
        places
    }

    pub fn take(&mut self, records: &[Generated], places: &[PartitionId]) {
        for (record, &id) in records.iter().zip(places) {
            let Hot { decoders, fold, event, next, .. } = self;
            decoders[usize::from(id.0)].decode(Some(&record.payload), event).unwrap();
            let offset = next.get_mut(&id).unwrap();
            let position =
                Position { partition: id.1, offset: *offset, timestamp_us: record.timestamp_ms * 1_000 };
            *offset += 1;
            fold.event(id, position, record.arrival_us, event).unwrap();
        }
    }

    /// Reads records and does nothing with them.
    pub fn decode(&mut self, records: &[Generated], places: &[PartitionId]) {
        for (record, id) in records.iter().zip(places) {
            self.decoders[usize::from(id.0)].decode(Some(&record.payload), &mut self.event).unwrap();
        }
    }

    pub fn flush(&mut self) -> Flush {
        self.fold.flush(true)
    }
}
