//! What a message costs on its way into a flush, counted and not timed: nothing is allocated for one whose second, keys
//! and values the flush knows already, unless a text of it is spelled otherwise than it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll::config::{Overrides, Surroundings, embedded};
use plimsoll::core::aggregate::Position;
use plimsoll::core::event::Event;
use plimsoll::core::fold::{Assigned, Fold, PartitionId};
use plimsoll::core::plan::Plan;
use plimsoll::decode::Decoder;
use plimsoll::generate::{Generated, Volume, Workload, WorkloadOptions};

/// A group keeps ten events to show; the largest one, told again and again, is all of them by then.
const TIMES: u64 = 12;

/// Folds records again and again, each time at later offsets.
struct Hot {
    plan: Arc<Plan>,
    decoders: Vec<Decoder>,
    fold: Fold,
    event: Event,
    next: BTreeMap<PartitionId, i64>,
}

impl Hot {
    fn new() -> Hot {
        let surroundings = Surroundings { host_name: "test".into(), cores: 1 };
        let rules = embedded(&BTreeMap::new(), &surroundings, &Overrides::default()).unwrap().rules;
        let plan = Arc::new(Plan::compile(0, Arc::new(rules)).unwrap());
        let decoders = plan.rules.sources.iter().map(Decoder::new).collect();
        let fold = Fold::new(Arc::clone(&plan), 12);
        Hot { plan, decoders, fold, event: Event::default(), next: BTreeMap::new() }
    }

    /// Where each record belongs.
    fn places(&mut self, records: &[Generated]) -> Vec<PartitionId> {
        let source = |topic: &str| self.plan.rules.sources.iter().position(|source| source.topic == topic);
        let place = |record: &Generated| (source(record.topic).unwrap() as u16, record.partition as i32);
        let places: Vec<PartitionId> = records.iter().map(place).collect();
        for &id in &places {
            let assigned = Assigned { partitions: 12, topic: 0, next: 0, max_event_us: None };
            if self.next.insert(id, 0).is_none() {
                self.fold.assign(id, assigned, 0);
            }
        }
        places
    }

    fn take(&mut self, records: &[Generated], places: &[PartitionId]) {
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
}

/// Whether no text has escapes or another case than the one it is kept in: such a text is made anew.
fn is_plain(record: &Generated) -> bool {
    let event: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
    let method = event["method"].as_str().unwrap_or_default();
    !record.payload.contains(&b'\\') && !method.contains(|c: char| c.is_ascii_lowercase())
}

#[test]
fn a_message_allocates_nothing() {
    let options =
        WorkloadOptions { volume: Volume::Events(20_000), bad_share: 0.0, ..WorkloadOptions::default() };
    let all = Workload::new(options).unwrap();
    let (records, spelled): (Vec<Generated>, Vec<Generated>) = all.partition(is_plain);
    assert!(spelled.len() * 20 < records.len(), "{} are spelled otherwise", spelled.len());
    let mut hot = Hot::new();
    let places = hot.places(&records);
    let first = allocation_counter::measure(|| hot.take(&records, &places));
    assert_ne!(first.count_total, 0, "deltas begin with the first event of theirs");
    (2..TIMES).for_each(|_| hot.take(&records, &places));
    let again = allocation_counter::measure(|| hot.take(&records, &places));
    let (deltas, events) = hot.fold.pending();
    assert_eq!(events, TIMES * records.len() as u64);
    assert!(deltas > 100, "{deltas} deltas");
    assert_eq!(again.count_total, 0, "allocations for {} messages", records.len());
}
