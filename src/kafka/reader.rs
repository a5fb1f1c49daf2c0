//! A member of a consumer group that starts exactly where it is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::{Fetched, QueuedConsumer, Record};
use super::error::{consumer_error, failed, partition_error};
use super::group_offsets::committed_offsets;
use super::list::{add_start, partition_list, start_list};
use super::membership::{GroupContext, Rebalance};
use super::reader_options::{Assignor, ReaderOptions};
use super::slot::{self, Slot};
use super::{Connection, KafkaError, Standing, Start, TopicPartition};

/// What the group wants of this member, or what a partition reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderEvent {
    /// Answer with [`GroupReader::assign`], once, with a start for each of these partitions (also when the list is
    /// empty). Until then nothing is fetched. Under static membership nothing may have been revoked before.
    Assigned(Vec<TopicPartition>),
    /// Commit what is pending, then answer with [`GroupReader::unassign`], once, with these partitions.
    /// `lost`: another member may own them already, so do not commit, discard.
    Revoked { partitions: Vec<TopicPartition>, lost: bool },
    /// The broker no longer has `wanted` (retention, `DeleteRecords`) or has never had it (recreated topic). The
    /// partition stands still until it is repositioned.
    OffsetLost { partition: TopicPartition, wanted: i64 },
}

/// What a transaction must know of a member of a group.
pub struct GroupMetadata {
    pub(super) group: String,
    pub(super) metadata: Arc<ConsumerGroupMetadata>,
}

/// One group consumer on one thread.
///
/// Loop: [`next_event`](Self::next_event) until it gives `None`, [`read`](Self::read), repeat; both at least every
/// few minutes (`max.poll.interval.ms`), or the group takes the partitions away.
pub struct GroupReader {
    consumer: QueuedConsumer<GroupContext>,
    context: GroupContext,
    group: String,
    topics: Vec<String>,
    assignor: Assignor,
    slots: Vec<Slot>,
    lost: VecDeque<ReaderEvent>,
    errors: VecDeque<KafkaError>,
    /// A rebalance was handed out and waits for `assign` or `unassign`.
    unanswered: Option<Unanswered>,
    /// Partitions restarted by `reposition` are forwarded again until then.
    forward_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unanswered {
    Assign,
    Unassign,
}

/// Waiting for librdkafka's own thread only, never for a broker.
const LOCAL_LIMIT: Duration = Duration::from_secs(10);
/// librdkafka stops a restarted partition on its own thread and drops the forwarding when it gets there.
const FORWARD_AGAIN: Duration = Duration::from_secs(2);

impl GroupReader {
    /// Creates the consumer and subscribes. Does not wait for a broker.
    pub fn open(connection: &Connection, options: ReaderOptions) -> Result<GroupReader, KafkaError> {
        let context = GroupContext::default();
        let session_ms = options.session_timeout.as_millis().to_string();
        // A member is thought dead after three missed heartbeats or more.
        let heartbeat_ms = (options.session_timeout.as_millis() / 4).clamp(1, 3_000).to_string();
        let assignor = match options.assignor {
            Assignor::EagerRange => "range",
            Assignor::CooperativeSticky => "cooperative-sticky",
        };
        let mut fixed = vec![
            ("group.id", options.group.as_str()),
            ("client.id", options.client_id.as_str()),
            ("group.protocol", "classic"),
            ("partition.assignment.strategy", assignor),
            ("session.timeout.ms", session_ms.as_str()),
            ("heartbeat.interval.ms", heartbeat_ms.as_str()),
        ];
        if let Some(instance) = &options.instance {
            fixed.push(("group.instance.id", instance));
        }
        let consumer = QueuedConsumer::new(connection.consumer(options.gather, &fixed, context.clone())?)?;
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        consumer.consumer().subscribe(&topics).map_err(failed("subscribing"))?;
        Ok(GroupReader {
            consumer,
            context,
            group: options.group,
            topics: options.topics,
            assignor: options.assignor,
            slots: Vec::new(),
            lost: VecDeque::new(),
            errors: VecDeque::new(),
            unanswered: None,
            forward_until: None,
        })
    }

    /// Serves the consumer and returns the oldest event. Never blocks. While a rebalance waits for its answer no
    /// further one is returned.
    /// Errors: an unknown topic, missing rights, a fenced instance. Lost connections are logged and retried by the
    /// client itself.
    pub fn next_event(&mut self) -> Result<Option<ReaderEvent>, KafkaError> {
        self.serve();
        if let Some(error) = self.errors.pop_front() {
            return Err(error);
        }
        if let Some(event) = self.lost.pop_front() {
            return Ok(Some(event));
        }
        if self.unanswered.is_some() {
            return Ok(None);
        }
        let (event, unanswered) = match self.context.pop() {
            None => return Ok(None),
            Some(Rebalance::Assigned(partitions)) => (ReaderEvent::Assigned(partitions), Unanswered::Assign),
            Some(Rebalance::Revoked { partitions, lost }) => {
                (ReaderEvent::Revoked { partitions, lost }, Unanswered::Unassign)
            }
        };
        self.unanswered = Some(unanswered);
        Ok(Some(event))
    }

    /// `poll` returns `None` after each callback too, so it is called until no callback ran.
    fn serve(&mut self) {
        loop {
            let before = self.context.served();
            match self.consumer.consumer().poll(Duration::ZERO) {
                Some(Ok(record)) => {
                    // Every partition is forwarded before it starts, so none can come this way.
                    drop(record);
                    self.errors.push_back(KafkaError::Fatal {
                        action: "reading".to_owned(),
                        reason: "a record came past the batch queue".to_owned(),
                    });
                    return;
                }
                Some(Err(error)) => {
                    let reason = self.reason(&error);
                    self.errors.extend(consumer_error(&error, reason));
                }
                None if self.context.served() == before => return,
                None => {}
            }
        }
    }

    /// librdkafka does not say which group it means, nor which topic.
    fn reason(&self, error: &ClientError) -> String {
        match error.rdkafka_error_code() {
            Some(Code::GroupAuthorizationFailed) => format!("joining group `{}`", self.group),
            Some(Code::TopicAuthorizationFailed) => format!("reading one of {}", self.topics.join(", ")),
            _ => self.context.last_error().unwrap_or_else(|| error.to_string()),
        }
    }

    /// Answers [`ReaderEvent::Assigned`]. Eager: this is the whole assignment; cooperative: it is added.
    pub fn assign(&mut self, starts: &[(TopicPartition, Start)]) -> Result<(), KafkaError> {
        self.expect(Unanswered::Assign)?;
        let list = start_list(starts)?;
        // Before they start: a record that slipped into the consumer's own queue would never be read.
        for (partition, _) in starts {
            self.consumer.forward(&partition.topic, partition.partition)?;
        }
        let consumer = self.consumer.consumer();
        match self.assignor {
            Assignor::EagerRange => consumer.assign(&list).map_err(failed("assigning"))?,
            Assignor::CooperativeSticky => consumer.incremental_assign(&list).map_err(failed("assigning"))?,
        }
        self.unanswered = None;
        let retained = match self.assignor {
            Assignor::EagerRange => {
                self.slots.clear();
                0
            }
            Assignor::CooperativeSticky => self.slots.len(),
        };
        self.slots.extend(starts.iter().map(|(partition, start)| Slot::new(partition.clone(), *start)));
        self.wake(retained);
        Ok(())
    }

    /// Answers [`ReaderEvent::Revoked`]. Eager: everything goes; cooperative: these partitions. No record of them
    /// is handed out afterwards.
    pub fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.expect(Unanswered::Unassign)?;
        let consumer = self.consumer.consumer();
        match self.assignor {
            Assignor::EagerRange => {
                self.slots.clear();
                consumer.unassign().map_err(failed("unassigning"))?;
            }
            Assignor::CooperativeSticky => {
                self.slots.retain(|slot| !partitions.contains(&slot.partition));
                let list = partition_list(partitions);
                consumer.incremental_unassign(&list).map_err(failed("unassigning"))?;
            }
        }
        self.unanswered = None;
        let slots = &self.slots;
        self.lost.retain(|event| match event {
            ReaderEvent::OffsetLost { partition, .. } => {
                slots.iter().any(|slot| slot.partition == *partition)
            }
            ReaderEvent::Assigned(_) | ReaderEvent::Revoked { .. } => true,
        });
        self.wake(self.slots.len());
        Ok(())
    }

    fn expect(&self, answer: Unanswered) -> Result<(), KafkaError> {
        if self.unanswered == Some(answer) {
            return Ok(());
        }
        Err(KafkaError::Failed {
            action: "answering a rebalance".to_owned(),
            reason: format!("{answer:?} does not answer {:?}", self.unanswered),
        })
    }

    /// The first `retained` slots were paused during a cooperative rebalance, and resuming does not wake the thread
    /// that fetches: they would stand still for a second. Seeking to where they are does wake it.
    fn wake(&self, retained: usize) {
        let mut list = TopicPartitionList::with_capacity(retained);
        for slot in self.slots.iter().take(retained) {
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
            let _ = self.consumer.consumer().seek_partitions(list, Duration::ZERO);
        }
    }

    /// Waits up to `timeout` for a record, then hands out what has been fetched, `max` records at most, in order
    /// within each partition. Returns how many. Offsets of a partition only grow from the start it was given.
    /// Errors concern single partitions and come with the call after the one that met them.
    pub fn read(
        &mut self,
        timeout: Duration,
        max: usize,
        mut each: impl FnMut(Record<'_>),
    ) -> Result<usize, KafkaError> {
        if let Some(error) = self.errors.pop_front() {
            return Err(error);
        }
        self.forward_again()?;
        let GroupReader { consumer, slots, lost, errors, .. } = self;
        let (mut count, mut at, mut handed_out) = (0, None, None);
        consumer.read(timeout, max, |fetched| match fetched {
            Fetched::Record(mut record) => {
                if !record.goes_on {
                    at = slot::find(slots, record.topic, record.partition);
                }
                // librdkafka drops what it fetched before a seek or an unassign; this is the second lock.
                if let Some(index) = at.filter(|&index| slots[index].accept(record.offset)) {
                    record.goes_on = handed_out == at;
                    handed_out = Some(index);
                    count += 1;
                    each(record);
                }
            }
            Fetched::Error { topic, partition, offset, code, reason } => {
                let Some(index) = slot::find(slots, topic, partition) else { return };
                let slot = &mut slots[index];
                let partition = slot.partition.clone();
                if code == Code::AutoOffsetReset {
                    slot.lost = true;
                    let wanted = slot.floor().unwrap_or(offset);
                    lost.push_back(ReaderEvent::OffsetLost { partition, wanted });
                } else {
                    errors.extend(partition_error(partition, code, reason));
                }
            }
        });
        Ok(count)
    }

    fn forward_again(&mut self) -> Result<(), KafkaError> {
        let Some(until) = self.forward_until else { return Ok(()) };
        for slot in &self.slots {
            self.consumer.forward(&slot.partition.topic, slot.partition.partition)?;
        }
        if Instant::now() > until {
            self.forward_until = None;
        }
        Ok(())
    }

    /// The group's committed offsets, stable ones only: waits (up to `timeout`) while a transaction that commits
    /// them is open. `None`: nothing committed. In the order of `partitions`.
    ///
    /// Right after [`ReaderEvent::Assigned`] that is all the group has: its coordinator had to write the assignment
    /// down. Later it may be less, unless it is [proved](super::TransactionalWriter::prove_coordinator) first.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Standing>, KafkaError> {
        let found = committed_offsets(self.consumer.consumer(), partitions, timeout);
        found.map_err(|error| match error {
            KafkaError::Denied { what, mend } => {
                KafkaError::Denied { what: format!("{what} of group `{}`", self.group), mend }
            }
            error => error,
        })
    }

    /// For each assigned partition the next offset this reader would hand out, transaction markers already passed.
    /// `None`: started at the beginning and nothing has arrived. Compare with [`super::Admin::offsets`] to know
    /// whether a partition is caught up.
    pub fn position(&self) -> Result<Vec<(TopicPartition, Option<i64>)>, KafkaError> {
        let list = self.consumer.consumer().position().map_err(failed("reading positions"))?;
        Ok(self
            .slots
            .iter()
            .map(|slot| {
                let seen = list.find_partition(&slot.partition.topic, slot.partition.partition);
                let client = match seen.map(|element| element.offset()) {
                    // After a lost offset the client's own position is one too far.
                    Some(Offset::Offset(offset)) if !slot.lost => Some(offset),
                    _ => None,
                };
                (slot.partition.clone(), client.max(slot.floor()))
            })
            .collect())
    }

    /// Discards what was fetched and continues exactly at these offsets: after a failed transaction, or after
    /// [`ReaderEvent::OffsetLost`]. Partitions this member no longer has are skipped.
    pub fn reposition(&mut self, starts: &[(TopicPartition, Start)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(starts.len());
        let mut restart = false;
        for (partition, start) in starts {
            let Some(slot) = self.slots.iter_mut().find(|slot| slot.partition == *partition) else {
                continue;
            };
            if !slot.lost && slot.next.is_none() && slot.start == *start {
                continue; // nothing was handed out since it started there
            }
            // A partition whose offset was lost is not fetched any more, and seeking fails on it.
            restart |= slot.lost;
            *slot = Slot::new(partition.clone(), *start);
            add_start(&mut list, partition, *start)?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        // A seek raises the partition's version in this very call, and the batch queue drops every record of an older
        // version: nothing fetched before can come out after. Unassigning and assigning would do the same, but in
        // the middle of a rebalance librdkafka would take it for the answer to that.
        if !restart {
            let consumer = self.consumer.consumer();
            let list =
                consumer.seek_partitions(list.clone(), LOCAL_LIMIT).map_err(failed("repositioning"))?;
            restart = list.elements().iter().any(|element| element.error().is_err());
        }
        if restart { self.restart(&list) } else { Ok(()) }
    }

    /// Starts partitions anew that cannot be sought.
    fn restart(&mut self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        self.serve();
        if self.unanswered == Some(Unanswered::Assign) {
            return Ok(()); // the answer to come gives every partition its start
        }
        let consumer = self.consumer.consumer();
        match self.assignor {
            Assignor::EagerRange => {
                // Eager groups know whole assignments only: the others go on where they are.
                let mut whole = TopicPartitionList::with_capacity(self.slots.len());
                for slot in &self.slots {
                    add_start(&mut whole, &slot.partition, slot.resume())?;
                }
                consumer.assign(&whole).map_err(failed("repositioning"))?;
            }
            Assignor::CooperativeSticky => {
                consumer.incremental_unassign(list).map_err(failed("repositioning"))?;
                consumer.incremental_assign(list).map_err(failed("repositioning"))?;
            }
        }
        self.forward_until = Some(Instant::now() + FORWARD_AGAIN);
        self.forward_again()
    }

    /// Stops fetching; records already fetched may still come.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.consumer.consumer().pause(&partition_list(partitions)).map_err(failed("pausing"))
    }

    /// Undoes [`pause`](Self::pause).
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.consumer.consumer().resume(&partition_list(partitions)).map_err(failed("resuming"))
    }

    /// What a transaction needs to know of this member to be fenced with it. Take it anew for each commit.
    pub fn group_metadata(&self) -> Result<GroupMetadata, KafkaError> {
        let metadata = self.consumer.consumer().group_metadata().ok_or_else(|| KafkaError::Failed {
            action: "reading the group's metadata".to_owned(),
            reason: "the client gave none".to_owned(),
        })?;
        Ok(GroupMetadata { group: self.group.clone(), metadata: Arc::new(metadata) })
    }

    /// Partitions assigned now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.slots.iter().map(|slot| slot.partition.clone()).collect()
    }

    /// Leaves the group (a static member does not) and closes; about 0.1 s. Dropping does the same.
    pub fn close(self) {}
}

impl Drop for GroupReader {
    fn drop(&mut self) {
        // From here on the callbacks answer by themselves: closing waits for each rebalance to be answered.
        self.context.answer_alone();
        let mut open = self.unanswered.take();
        if open.is_none() {
            // What the group wants and nobody has looked at yet; there is never more than one.
            self.serve();
        }
        loop {
            let consumer = self.consumer.consumer();
            let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
            let none = TopicPartitionList::new();
            // An error means that there was nothing left to answer.
            let _ = match (open, cooperative) {
                (None, _) => Ok(()),
                (Some(Unanswered::Assign), true) => consumer.incremental_assign(&none),
                (Some(Unanswered::Unassign), true) => {
                    consumer.incremental_unassign(&partition_list(&self.assignment()))
                }
                (Some(_), false) => consumer.unassign(),
            };
            open = match self.context.pop() {
                None => break,
                Some(Rebalance::Assigned(_)) => Some(Unanswered::Assign),
                Some(Rebalance::Revoked { .. }) => Some(Unanswered::Unassign),
            };
        }
        self.context.closing();
    }
}
