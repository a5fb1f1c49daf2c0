//! What a reader knows of one partition it was assigned.

use super::{Start, TopicPartition};

/// One assigned partition: where it started and what has been handed out.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) partition: TopicPartition,
    pub(super) start: Start,
    /// The offset after the last record handed out; `None` before the first.
    pub(super) next: Option<i64>,
    /// Its offset is gone and nothing is fetched until it is repositioned.
    pub(super) lost: bool,
}

impl Slot {
    pub(super) fn new(partition: TopicPartition, start: Start) -> Slot {
        Slot { partition, start, next: None, lost: false }
    }

    /// The smallest offset that may come next; `None` when it started at the beginning and nothing came.
    pub(super) fn floor(&self) -> Option<i64> {
        self.next.or(match self.start {
            Start::Beginning => None,
            Start::At(offset) => Some(offset),
        })
    }

    /// Where reading goes on.
    pub(super) fn resume(&self) -> Start {
        self.next.map_or(self.start, Start::At)
    }

    /// Takes the record with this offset, unless it lies before what is due.
    pub(super) fn accept(&mut self, offset: i64) -> bool {
        if self.floor().is_some_and(|floor| offset < floor) {
            return false;
        }
        self.next = Some(offset + 1);
        true
    }
}

/// The index of a partition's slot.
pub(super) fn find(slots: &[Slot], topic: &str, partition: i32) -> Option<usize> {
    let is_it = |slot: &Slot| slot.partition.partition == partition && &*slot.partition.topic == topic;
    slots.iter().position(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_only_grow_from_the_start() {
        let mut slot = Slot::new(TopicPartition::new("t", 3), Start::At(10));
        assert_eq!(
            [9, 10, 10, 14, 11, 15].map(|offset| slot.accept(offset)),
            [false, true, false, true, false, true]
        );
        assert_eq!((slot.floor(), slot.resume()), (Some(16), Start::At(16)));
    }

    #[test]
    fn finds_by_topic_and_partition() {
        let slots = [("a", 0), ("b", 0), ("a", 1)]
            .map(|(t, p)| Slot::new(TopicPartition::new(t, p), Start::Beginning));
        assert_eq!(find(&slots, "b", 0), Some(1));
        assert_eq!(find(&slots, "a", 1), Some(2));
        assert_eq!(find(&slots, "b", 1), None);
    }
}
