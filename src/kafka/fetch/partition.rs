//! Where the fetching of one partition stands.

use std::time::Instant;

use super::REST;
use crate::kafka::{Start, TopicPartition};

#[derive(Debug)]
pub(super) struct Partition {
    pub name: TopicPartition,
    /// Where the next fetch begins. None: at the oldest record, wherever that is.
    pub next: Option<i64>,
    /// Unlike that of every other start, of whichever partition: what was asked for before it is dropped when it comes.
    pub run: u64,
    pub leader: Option<i32>,
    pub is_paused: bool,
    /// Its offset is gone.
    pub is_lost: bool,
    /// When it last brought something, counted in answers: who has waited longest is served first.
    pub served: u64,
    rests_until: Option<Instant>,
}

/// What was asked of a broker.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Place of the partition among those that are fetched.
    pub at: usize,
    pub run: u64,
    pub from: i64,
    pub name: TopicPartition,
}

impl Partition {
    pub fn new(name: TopicPartition, start: Start, run: u64) -> Partition {
        let next = match start {
            Start::Beginning => None,
            Start::At(offset) => Some(offset),
        };
        let (leader, rests_until) = (None, None);
        Partition { name, next, run, leader, is_paused: false, is_lost: false, served: 0, rests_until }
    }

    /// Starts anew, of the same leader.
    pub fn restart(&mut self, start: Start, run: u64) {
        let fresh = Partition::new(self.name.clone(), start, run);
        *self = Partition { leader: self.leader, is_paused: self.is_paused, served: self.served, ..fresh };
    }

    /// Its leader is to be found out anew, in a moment.
    pub fn rest(&mut self, now: Instant) {
        self.leader = None;
        self.rests_until = Some(now + REST);
    }

    pub fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// Whether something about it must be found out before it can be fetched.
    pub fn is_unclear(&self, now: Instant) -> bool {
        (self.leader.is_none() || self.next.is_none()) && !self.is_lost && !self.is_resting(now)
    }

    /// Where to fetch it from this broker now.
    pub fn due(&self, leader: i32, now: Instant) -> Option<i64> {
        let is_due = self.leader == Some(leader) && !self.is_paused && !self.is_lost && !self.is_resting(now);
        self.next.filter(|_| is_due)
    }
}
