//! What ingest and the lag thread tell each other: ingest which records it has read, the thread how far the watched
//! groups are behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::trail::{Oldest, Span, Trail};
use crate::core::partial::LagSample;
use crate::core::time::SECOND_US;
use crate::kafka::TopicPartition;

/// Samples older than this are not told: unknown is better than stale.
const FRESH_US: i64 = 5 * SECOND_US;

/// Clones show the same board.
#[derive(Clone, Debug, Default)]
pub struct LagBoard(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// Of the partitions that this process reads.
    trails: BTreeMap<TopicPartition, Weak<Mutex<Trail>>>,
    /// By the id of the projection, which outlives a change of rules.
    samples: BTreeMap<u64, Sampled>,
}

/// How far a group was behind at one moment, on the partitions this process reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Wall clock, in microseconds since 1970.
    pub at_us: i64,
    /// By partition; one whose lag is not known is missing.
    pub samples: Vec<LagSample>,
}

/// The trail of a partition, written by the worker that reads it. The partition is watched as long as the worker
/// keeps this.
#[derive(Debug)]
pub struct HeldTrail(Arc<Mutex<Trail>>);

impl LagBoard {
    /// Begins the trail of a partition that is read from `from` on.
    pub fn hold(&self, partition: TopicPartition, from: i64) -> HeldTrail {
        let trail = Arc::new(Mutex::new(Trail::new(from)));
        lock(&self.0).trails.insert(partition, Arc::downgrade(&trail));
        HeldTrail(trail)
    }

    /// Partitions of a topic that this process reads, ascending.
    pub fn held(&self, topic: &str) -> Vec<TopicPartition> {
        let mut shown = lock(&self.0);
        shown.trails.retain(|_, trail| trail.strong_count() > 0);
        shown.trails.keys().filter(|partition| &*partition.topic == topic).cloned().collect()
    }

    /// The oldest record of `from..end`, as far as this process has read it.
    pub fn oldest(&self, partition: &TopicPartition, from: i64, end: i64) -> Oldest {
        let trail = lock(&self.0).trails.get(partition).and_then(Weak::upgrade);
        trail.map_or(Oldest::Unseen, |trail| lock(&trail).oldest(from, end))
    }

    pub fn show(&self, projection: u64, sampled: Sampled) {
        lock(&self.0).samples.insert(projection, sampled);
    }

    /// The newest samples of a projection, unless they are too old.
    pub fn newest(&self, projection: u64, now_us: i64) -> Option<Sampled> {
        let shown = lock(&self.0);
        shown.samples.get(&projection).filter(|sampled| now_us - sampled.at_us <= FRESH_US).cloned()
    }

    /// Drops the samples of all other projections.
    pub fn keep(&self, projections: &[u64]) {
        lock(&self.0).samples.retain(|id, _| projections.contains(id));
    }
}

impl HeldTrail {
    pub fn read(&self, span: Span) {
        lock(&self.0).read(span);
    }

    /// Reading stands at `position`, behind markers and aborted records.
    pub fn passed(&self, position: i64) {
        lock(&self.0).passed(position);
    }

    /// Whether reading on at `next` leaves no hole.
    pub fn joins(&self, next: i64) -> bool {
        lock(&self.0).joins(next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("requests", number)
    }

    #[test]
    fn a_partition_is_watched_while_its_worker_keeps_the_trail() {
        let board = LagBoard::default();
        let (zero, one) = (board.hold(partition(0), 10), board.hold(partition(1), 20));
        let _other = board.hold(TopicPartition::new("prices", 0), 0);
        assert_eq!(board.held("requests"), [partition(0), partition(1)]);
        one.read(Span { first: 20, last: 24, timestamp_ms: 7_000 });
        assert_eq!(board.oldest(&partition(1), 22, 25), Oldest::At { timestamp_ms: 7_000 });
        drop(zero);
        assert_eq!(board.held("requests"), [partition(1)]);
        assert_eq!(board.oldest(&partition(0), 10, 11), Oldest::Unseen);
        // Another worker took it over before this one let go.
        let taken = board.hold(partition(1), 25);
        drop(one);
        assert_eq!(board.held("requests"), [partition(1)]);
        assert_eq!(board.oldest(&partition(1), 22, 25), Oldest::Unseen, "the trail begins anew");
        taken.passed(27);
        assert_eq!(board.oldest(&partition(1), 25, 27), Oldest::Nothing);
    }

    #[test]
    fn what_is_old_is_not_told() {
        let board = LagBoard::default();
        let samples = vec![LagSample { partition: 3, messages: 9, behind_us: 1 }];
        let sampled = Sampled { at_us: 100 * SECOND_US, samples };
        board.show(8, sampled.clone());
        assert_eq!(board.newest(8, 105 * SECOND_US), Some(sampled));
        assert_eq!(board.newest(8, 105 * SECOND_US + 1), None);
        board.keep(&[9]);
        assert_eq!(board.newest(8, 100 * SECOND_US), None);
    }
}
