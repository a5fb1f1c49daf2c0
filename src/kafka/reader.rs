//! A member of a consumer group that starts exactly where it is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::batch::Fetched;
use super::connection::FetchLimits;
use super::error::{consumer_error, failed, partition_error};
use super::feed::Feed;
use super::fetch::DirectFetch;
use super::group_offsets::committed_offsets;
use super::list::partition_list;
use super::member::Member;
use super::membership::{GroupContext, Rebalance};
use super::reader_options::{Assignor, ReaderOptions};
use super::record::Record;
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
    feed: Feed,
    context: GroupContext,
    group: String,
    topics: Vec<String>,
    assignor: Assignor,
    slots: Vec<Slot>,
    lost: VecDeque<ReaderEvent>,
    errors: VecDeque<KafkaError>,
    /// A rebalance was handed out and waits for `assign` or `unassign`.
    unanswered: Option<Unanswered>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unanswered {
    Assign,
    Unassign,
}

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
        let consumer = connection.consumer(options.gather, &fixed, context.clone())?;
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(failed("subscribing"))?;
        let feed = match (options.fetches_directly, options.assignor) {
            (true, Assignor::EagerRange) if connection.lets_fetch_directly() => {
                let limits = FetchLimits::gathering(options.gather);
                Feed::Direct(consumer, Box::new(DirectFetch::new(&options.client_id, limits)?))
            }
            _ => Feed::queued(consumer)?,
        };
        Ok(GroupReader {
            feed,
            context,
            group: options.group,
            topics: options.topics,
            assignor: options.assignor,
            slots: Vec::new(),
            lost: VecDeque::new(),
            errors: VecDeque::new(),
            unanswered: None,
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
            match self.feed.consumer().poll(Duration::ZERO) {
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
        self.feed.assign(self.assignor, starts)?;
        self.unanswered = None;
        let retained = match self.assignor {
            Assignor::EagerRange => {
                self.slots.clear();
                0
            }
            Assignor::CooperativeSticky => self.slots.len(),
        };
        self.slots.extend(starts.iter().map(|(partition, start)| Slot::new(partition.clone(), *start)));
        self.feed.wake(&self.slots[..retained]);
        Ok(())
    }

    /// Answers [`ReaderEvent::Revoked`]. Eager: everything goes; cooperative: these partitions. No record of them
    /// is handed out afterwards.
    pub fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.expect(Unanswered::Unassign)?;
        match self.assignor {
            Assignor::EagerRange => self.slots.clear(),
            Assignor::CooperativeSticky => self.slots.retain(|slot| !partitions.contains(&slot.partition)),
        }
        self.feed.unassign(self.assignor, partitions)?;
        self.unanswered = None;
        let slots = &self.slots;
        self.lost.retain(|event| match event {
            ReaderEvent::OffsetLost { partition, .. } => {
                slots.iter().any(|slot| slot.partition == *partition)
            }
            ReaderEvent::Assigned(_) | ReaderEvent::Revoked { .. } => true,
        });
        self.feed.wake(&self.slots);
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
        self.feed.forward_again(&self.slots)?;
        let GroupReader { feed, slots, lost, errors, .. } = self;
        let (mut count, mut at, mut handed_out) = (0, None, None);
        feed.read(timeout, max, |fetched| match fetched {
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
        })?;
        Ok(count)
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
        let found = committed_offsets(self.feed.consumer(), partitions, timeout);
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
        let positions = self.feed.positions(&self.slots)?;
        let position =
            |(slot, client): (&Slot, Option<i64>)| (slot.partition.clone(), client.max(slot.floor()));
        Ok(self.slots.iter().zip(positions).map(position).collect())
    }

    /// Discards what was fetched and continues exactly at these offsets: after a failed transaction, or after
    /// [`ReaderEvent::OffsetLost`]. Partitions this member no longer has are skipped.
    pub fn reposition(&mut self, starts: &[(TopicPartition, Start)]) -> Result<(), KafkaError> {
        let mut moved = Vec::with_capacity(starts.len());
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
            moved.push((partition.clone(), *start));
        }
        if moved.is_empty() || (!restart && self.feed.seek(&moved)?) {
            return Ok(());
        }
        self.serve();
        if self.unanswered == Some(Unanswered::Assign) {
            return Ok(()); // the answer to come gives every partition its start
        }
        self.feed.restart(self.assignor, &moved, &self.slots)
    }

    /// Stops fetching; records already fetched may still come.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.feed.set_paused(partitions, true)
    }

    /// Undoes [`pause`](Self::pause).
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.feed.set_paused(partitions, false)
    }

    /// What a transaction needs to know of this member to be fenced with it. Take it anew for each commit.
    pub fn group_metadata(&self) -> Result<GroupMetadata, KafkaError> {
        let metadata = self.feed.consumer().group_metadata().ok_or_else(|| KafkaError::Failed {
            action: "reading the group's metadata".to_owned(),
            reason: "the client gave none".to_owned(),
        })?;
        Ok(GroupMetadata { group: self.group.clone(), metadata: Arc::new(metadata) })
    }

    /// The members of this one's group, each with what it has been given; None while the group is not settled.
    pub fn members(&self, timeout: Duration) -> Result<Option<Vec<Member>>, KafkaError> {
        let group = self.group.as_str();
        let list = self.feed.consumer().fetch_group_list(Some(group), timeout);
        let list = list.map_err(failed(&format!("describing group `{group}`")))?;
        let found = list.groups().iter().find(|found| found.name() == group && found.state() == "Stable");
        Ok(found.and_then(|found| found.members().iter().map(Member::of).collect()))
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
            let consumer = self.feed.consumer();
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
