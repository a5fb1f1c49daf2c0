//! The two ways in which a group's reader gets at its records.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::{Fetched, QueuedConsumer};
use super::error::failed;
use super::fetch::DirectFetch;
use super::list::{add_start, partition_list, start_list};
use super::membership::GroupContext;
use super::reader_options::Assignor;
use super::slot::Slot;
use super::{KafkaError, Start, TopicPartition};

/// Either way a partition begins where it is told, and what was fetched before that is dropped.
pub(super) enum Feed {
    Queued(QueuedFeed),
    /// librdkafka keeps the group and is given nothing to fetch. Eager groups only.
    Direct(BaseConsumer<GroupContext>, Box<DirectFetch>),
}

/// librdkafka fetches, into a queue of ours.
pub(super) struct QueuedFeed {
    consumer: QueuedConsumer<GroupContext>,
    /// Partitions that were started anew are forwarded again until then.
    forward_until: Option<Instant>,
}

/// Waiting for librdkafka's own thread only, never for a broker.
const LOCAL_LIMIT: Duration = Duration::from_secs(10);
/// librdkafka stops a restarted partition on its own thread and drops the forwarding when it gets there.
const FORWARD_AGAIN: Duration = Duration::from_secs(2);

impl Feed {
    pub fn queued(consumer: BaseConsumer<GroupContext>) -> Result<Feed, KafkaError> {
        Ok(Feed::Queued(QueuedFeed { consumer: QueuedConsumer::new(consumer)?, forward_until: None }))
    }

    pub fn consumer(&self) -> &BaseConsumer<GroupContext> {
        match self {
            Feed::Queued(feed) => feed.consumer.consumer(),
            Feed::Direct(consumer, _) => consumer,
        }
    }

    /// Answers a rebalance with what is assigned. Eager: this is all; cooperative: it is added.
    pub fn assign(
        &mut self,
        assignor: Assignor,
        starts: &[(TopicPartition, Start)],
    ) -> Result<(), KafkaError> {
        match self {
            Feed::Queued(feed) => feed.assign(assignor, starts),
            Feed::Direct(consumer, fetch) => {
                fetch.assign(starts);
                consumer.assign(&TopicPartitionList::new()).map_err(failed("assigning"))
            }
        }
    }

    /// Answers a rebalance with what is given up. Eager: that is all.
    pub fn unassign(&mut self, assignor: Assignor, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        if let Feed::Direct(_, fetch) = self {
            fetch.assign(&[]);
        }
        let unassigned = match assignor {
            Assignor::EagerRange => self.consumer().unassign(),
            Assignor::CooperativeSticky => self.consumer().incremental_unassign(&partition_list(partitions)),
        };
        unassigned.map_err(failed("unassigning"))
    }

    /// `retained` were paused during a cooperative rebalance, and resuming does not wake the thread that fetches: they
    /// would stand still for a second. Seeking to where they are does wake it.
    pub fn wake(&self, retained: &[Slot]) {
        let Feed::Queued(feed) = self else { return };
        let mut list = TopicPartitionList::with_capacity(retained.len());
        for slot in retained {
            if let (Some(next), false) = (slot.next, slot.lost) {
                // The only error is a negative offset, which `next` cannot be.
                let _ = list.add_partition_offset(
                    &slot.partition.topic,
                    slot.partition.partition,
                    Offset::Offset(next),
                );
            }
        }
        if list.count() > 0 {
            // No waiting and no error: at worst the second passes.
            let _ = feed.consumer.consumer().seek_partitions(list, Duration::ZERO);
        }
    }

    /// Goes on at `starts`. False: they have to be [restarted](Self::restart).
    pub fn seek(&mut self, starts: &[(TopicPartition, Start)]) -> Result<bool, KafkaError> {
        match self {
            // A seek raises the partition's version in this very call, and the batch queue drops every record of an
            // older version: nothing fetched before can come out after. Unassigning and assigning would do the same,
            // but in the middle of a rebalance librdkafka would take it for the answer to that.
            Feed::Queued(feed) => {
                let list = start_list(starts)?;
                let sought = feed.consumer.consumer().seek_partitions(list, LOCAL_LIMIT);
                let sought = sought.map_err(failed("repositioning"))?;
                Ok(sought.elements().iter().all(|element| element.error().is_ok()))
            }
            Feed::Direct(_, fetch) => {
                fetch.reposition(starts);
                Ok(true)
            }
        }
    }

    /// Starts partitions anew that cannot be sought; `slots` are all that are assigned.
    pub fn restart(
        &mut self,
        assignor: Assignor,
        starts: &[(TopicPartition, Start)],
        slots: &[Slot],
    ) -> Result<(), KafkaError> {
        let feed = match self {
            Feed::Queued(feed) => feed,
            Feed::Direct(_, fetch) => {
                fetch.reposition(starts);
                return Ok(());
            }
        };
        let consumer = feed.consumer.consumer();
        match assignor {
            Assignor::EagerRange => {
                // Eager groups know whole assignments only: the others go on where they are.
                let mut whole = TopicPartitionList::with_capacity(slots.len());
                for slot in slots {
                    add_start(&mut whole, &slot.partition, slot.resume())?;
                }
                consumer.assign(&whole).map_err(failed("repositioning"))?;
            }
            Assignor::CooperativeSticky => {
                let list = start_list(starts)?;
                consumer.incremental_unassign(&list).map_err(failed("repositioning"))?;
                consumer.incremental_assign(&list).map_err(failed("repositioning"))?;
            }
        }
        feed.forward_until = Some(Instant::now() + FORWARD_AGAIN);
        feed.forward_again(slots)
    }

    /// Before each read; `slots` are all partitions that are assigned.
    pub fn forward_again(&mut self, slots: &[Slot]) -> Result<(), KafkaError> {
        match self {
            Feed::Queued(feed) => feed.forward_again(slots),
            Feed::Direct(..) => Ok(()),
        }
    }

    /// Waits up to `timeout` for the first entry, then hands out what is there already, `max` records at most.
    pub fn read(
        &mut self,
        timeout: Duration,
        max: usize,
        each: impl FnMut(Fetched<'_>),
    ) -> Result<(), KafkaError> {
        match self {
            Feed::Queued(feed) => {
                feed.consumer.read(timeout, max, each);
                Ok(())
            }
            Feed::Direct(consumer, fetch) => fetch.read(consumer, timeout, max, each),
        }
    }

    /// For each slot the next offset that would come, as far as that is known without what was handed out.
    pub fn positions(&self, slots: &[Slot]) -> Result<Vec<Option<i64>>, KafkaError> {
        let list = match self {
            Feed::Queued(feed) => feed.consumer.consumer().position().map_err(failed("reading positions"))?,
            Feed::Direct(_, fetch) => {
                return Ok(slots.iter().map(|slot| fetch.position(&slot.partition)).collect());
            }
        };
        let position = |slot: &Slot| {
            let seen = list.find_partition(&slot.partition.topic, slot.partition.partition);
            match seen.map(|element| element.offset()) {
                // After a lost offset the client's own position is one too far.
                Some(Offset::Offset(offset)) if !slot.lost => Some(offset),
                _ => None,
            }
        };
        Ok(slots.iter().map(position).collect())
    }

    pub fn set_paused(&mut self, partitions: &[TopicPartition], is_paused: bool) -> Result<(), KafkaError> {
        let feed = match self {
            Feed::Queued(feed) => feed,
            Feed::Direct(_, fetch) => {
                fetch.set_paused(partitions, is_paused);
                return Ok(());
            }
        };
        let (consumer, list) = (feed.consumer.consumer(), partition_list(partitions));
        match is_paused {
            true => consumer.pause(&list).map_err(failed("pausing")),
            false => consumer.resume(&list).map_err(failed("resuming")),
        }
    }
}

impl QueuedFeed {
    fn assign(&mut self, assignor: Assignor, starts: &[(TopicPartition, Start)]) -> Result<(), KafkaError> {
        let list = start_list(starts)?;
        // Before they start: a record that slipped into the consumer's own queue would never be read.
        for (partition, _) in starts {
            self.consumer.forward(&partition.topic, partition.partition)?;
        }
        let consumer = self.consumer.consumer();
        match assignor {
            Assignor::EagerRange => consumer.assign(&list),
            Assignor::CooperativeSticky => consumer.incremental_assign(&list),
        }
        .map_err(failed("assigning"))
    }

    fn forward_again(&mut self, slots: &[Slot]) -> Result<(), KafkaError> {
        let Some(until) = self.forward_until else { return Ok(()) };
        for slot in slots {
            self.consumer.forward(&slot.partition.topic, slot.partition.partition)?;
        }
        if Instant::now() > until {
            self.forward_until = None;
        }
        Ok(())
    }
}
