//! The trails of one worker, written as it reads.

use std::collections::BTreeMap;

use super::board::{HeldTrail, LagBoard};
use super::trail::Stretches;
use crate::core::fold::PartitionId;
use crate::core::plan::{Body, Plan};
use crate::kafka::TopicPartition;

/// Kept for the sources whose lag some rule asks for; costs the others one look at a flag.
pub struct Trails {
    board: LagBoard,
    /// By source.
    watched: Vec<bool>,
    held: BTreeMap<PartitionId, HeldTrail>,
    stretches: Stretches,
}

impl Trails {
    pub fn new(board: LagBoard, plan: &Plan) -> Trails {
        let is_watched =
            |source| plan.projections.iter().any(|p| p.source == source && matches!(p.body, Body::Lag(_)));
        let watched = (0..plan.rules.sources.len()).map(is_watched).collect();
        Trails { board, watched, held: BTreeMap::new(), stretches: Stretches::default() }
    }

    /// Reading goes on at `next`; so does the trail there is, if that leaves no hole.
    pub fn hold(&mut self, id: PartitionId, partition: &TopicPartition, next: i64) {
        let goes_on = self.held.get(&id).is_some_and(|trail| trail.joins(next));
        if self.watched[usize::from(id.0)] && !goes_on {
            self.held.insert(id, self.board.hold(partition.clone(), next));
        }
    }

    /// Drops the trails of partitions that are not here any more.
    pub fn keep(&mut self, is_here: impl Fn(PartitionId) -> bool) {
        self.held.retain(|id, _| is_here(*id));
    }

    /// Called for every record.
    pub fn note(&mut self, id: PartitionId, offset: i64, timestamp_ms: i64) {
        if self.watched[usize::from(id.0)] {
            self.stretches.note(id, offset, timestamp_ms);
        }
    }

    /// Writes down what was noted.
    pub fn write(&mut self) {
        for (id, span) in self.stretches.drain() {
            if let Some(trail) = self.held.get(&id) {
                trail.read(span);
            }
        }
    }

    /// Reading stands at `position`, behind markers and aborted records.
    pub fn passed(&self, id: PartitionId, position: i64) {
        if let Some(trail) = self.held.get(&id) {
            trail.passed(position);
        }
    }

    /// The partitions belong to others now.
    pub fn release(&mut self) {
        self.held.clear();
    }
}
