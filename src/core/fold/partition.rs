//! What a worker knows of the partitions it folds: how far, how late, and what happened since the last clock.

use crate::core::partial::{Clock, Gap};
use crate::core::time::second_of;

/// A source partition: index of the source in the rules, and the partition's number.
pub type PartitionId = (u16, i32);

/// What a worker knows of a partition when it is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Partitions of the topic, and the hash of the topic's id.
    pub partitions: u32,
    pub topic: u64,
    /// Next offset to fold.
    pub next: i64,
    /// Largest event time folded so far, from the committed offset's metadata.
    pub max_event_us: Option<i64>,
}

pub(super) struct Partition {
    pub assigned: Assigned,
    pub from: i64,
    pub next: i64,
    pub max_event_us: Option<i64>,
    /// Smallest since the last clock.
    pub min_event_us: Option<i64>,
    pub records: u64,
    pub dead_letters: u64,
    pub late: u64,
    pub shard_events: Vec<u64>,
    /// Wall time of the newest record, or of the assignment.
    pub active_us: i64,
    pub idle: bool,
    pub lag: u64,
    pub gap: Option<Gap>,
    pub changed: bool,
}

impl Partition {
    fn new(assigned: Assigned, shards: usize, now_us: i64) -> Partition {
        Partition {
            assigned,
            from: assigned.next,
            next: assigned.next,
            max_event_us: assigned.max_event_us,
            min_event_us: None,
            records: 0,
            dead_letters: 0,
            late: 0,
            shard_events: vec![0; shards],
            active_us: now_us,
            idle: false,
            lag: 0,
            gap: None,
            changed: true,
        }
    }

    pub fn read(&mut self, offset: i64, now_us: i64) {
        self.next = offset + 1;
        self.records += 1;
        self.active_us = now_us;
        self.idle = false;
        self.changed = true;
    }

    pub fn clock(&self, id: PartitionId, shard: usize) -> Clock {
        Clock {
            source: id.0,
            partition: id.1,
            partitions: self.assigned.partitions,
            topic: self.assigned.topic,
            from: self.from,
            to: self.next,
            records: self.records,
            dead_letters: self.dead_letters,
            late: self.late,
            shard_events: self.shard_events[shard],
            max_event_us: self.max_event_us,
            min_event_us: self.min_event_us,
            idle: self.idle,
            lag: self.lag,
            gap: self.gap,
        }
    }

    pub fn start_over(&mut self) {
        self.from = self.next;
        (self.records, self.dead_letters, self.late) = (0, 0, 0);
        self.shard_events.fill(0);
        self.min_event_us = None;
        self.gap = None;
        self.changed = false;
    }
}

/// Partitions in the order of their ids. Records come in runs of one partition, so the last one asked for is looked at
/// first.
#[derive(Default)]
pub(super) struct Partitions {
    all: Vec<(PartitionId, Partition)>,
    last: usize,
}

impl Partitions {
    pub fn assign(&mut self, id: PartitionId, assigned: Assigned, shards: usize, now_us: i64) {
        let partition = Partition::new(assigned, shards, now_us);
        match self.all.binary_search_by_key(&id, |(known, _)| *known) {
            Ok(at) => self.all[at].1 = partition,
            Err(at) => self.all.insert(at, (id, partition)),
        }
    }

    pub fn clear(&mut self) {
        self.all.clear();
    }

    pub fn get(&self, id: PartitionId) -> Option<&Partition> {
        self.place(id).map(|at| &self.all[at].1)
    }

    pub fn get_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        self.last = self.place(id)?;
        Some(&mut self.all[self.last].1)
    }

    /// Counts an event of a partition that a shard gets.
    pub fn count(&mut self, id: PartitionId, shard: u32) {
        if let Some(events) =
            self.get_mut(id).and_then(|partition| partition.shard_events.get_mut(shard as usize))
        {
            *events += 1;
        }
    }

    /// The second that all partitions have reached which are not idle: where their front is. None: one of them has had no
    /// event, or there is none.
    pub fn front_second(&self) -> Option<i64> {
        let awake = self.all.iter().map(|(_, partition)| partition).filter(|partition| !partition.idle);
        awake.map(|partition| partition.max_event_us.map(second_of)).min().flatten()
    }

    pub fn ids(&self) -> impl Iterator<Item = PartitionId> {
        self.all.iter().map(|(id, _)| *id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (PartitionId, &mut Partition)> {
        self.all.iter_mut().map(|(id, partition)| (*id, partition))
    }

    fn place(&self, id: PartitionId) -> Option<usize> {
        match self.all.get(self.last) {
            Some((last, _)) if *last == id => Some(self.last),
            _ => self.all.binary_search_by_key(&id, |(known, _)| *known).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_where_all_have_been_that_are_awake() {
        let mut partitions = Partitions::default();
        assert_eq!(partitions.front_second(), None);
        for (number, newest_s) in [(0, Some(6)), (1, Some(5)), (2, None)] {
            let max_event_us = newest_s.map(|second| second * 1_000_000 + 999_999);
            let assigned = Assigned { partitions: 3, topic: 0, next: 0, max_event_us };
            partitions.assign((0, number), assigned, 1, 0);
        }
        assert_eq!(partitions.front_second(), None, "nobody knows where the third is");
        partitions.get_mut((0, 2)).unwrap().idle = true;
        assert_eq!(partitions.front_second(), Some(5));
        partitions.get_mut((0, 1)).unwrap().idle = true;
        assert_eq!(partitions.front_second(), Some(6));
    }
}
