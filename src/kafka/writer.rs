//! Records and offsets in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::error::{KafkaError as ClientError, RDKafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::aside::Aside;
use super::connection::RECORD_MAX_BYTES;
use super::deliveries::{Deliveries, Failure};
use super::error::{failed_with, grant, is_denied};
use super::list::commit_list;
use super::{CommitError, Committed, Connection, GroupMetadata, KafkaError, TopicPartition};

/// One record to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterRecord<'a> {
    pub topic: &'a str,
    /// `None`: murmur2 of the key, as Java producers do; without a key any partition.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None`: a tombstone.
    pub payload: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds since 1970; `None`: now.
    pub timestamp_ms: Option<i64>,
}

/// A transactional producer. One transaction at a time: `begin`, `send`..., `commit` or `abort`.
pub struct TransactionalWriter {
    connection: Connection,
    transactional_id: String,
    /// `None` only while it is being replaced, or after that failed.
    producer: Option<Arc<BaseProducer<Deliveries>>>,
    deliveries: Deliveries,
    open: bool,
    /// Sends offsets.
    aside: Aside,
}

/// Steps in which the end of deliveries is awaited. Looking every millisecond was a fourth of what ingest's thread woke for at
/// 7,000 messages a second. The safe crate's own `flush` looks only every 100 ms, and its producer with a thread of its own spends the last
/// millisecond of each of them looking again and again.
const DRAIN_STEP: Duration = Duration::from_millis(3);
const SAID_AT_ONCE: usize = 16;
/// One attempt of a call that talks to the coordinator.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A call that has not come back by then, which its own limit should have ended, never will.
const HUNG_AFTER: Duration = Duration::from_secs(8);
/// After so long without an answer the outcome of a call is reported as unknown.
const OUTCOME_LIMIT: Duration = Duration::from_secs(30);

impl TransactionalWriter {
    /// Creates the producer and initialises transactions, which fences any older producer with the same id and ends
    /// what it left open. Waits up to `kafka.connect_timeout` for the coordinator.
    pub fn open(connection: &Connection, transactional_id: &str) -> Result<TransactionalWriter, KafkaError> {
        let mut writer = TransactionalWriter {
            connection: connection.clone(),
            transactional_id: transactional_id.to_owned(),
            producer: None,
            deliveries: Deliveries::default(),
            open: false,
            aside: Aside::new("offsets"),
        };
        writer.recreate()?;
        Ok(writer)
    }

    /// A new producer with the same id, after [`CommitError::Fenced`] or [`CommitError::Unavailable`]. Whatever was
    /// in doubt is committed or aborted when it returns: read the committed offsets then.
    pub fn recreate(&mut self) -> Result<(), KafkaError> {
        self.open = false;
        self.producer = None; // the old one first, or it would hold its messages beside the new one
        self.deliveries = Deliveries::default();
        let fixed = [
            ("transactional.id", self.transactional_id.as_str()),
            ("client.id", self.transactional_id.as_str()),
            ("enable.idempotence", "true"),
            ("partitioner", "murmur2_random"),
        ];
        let record_max_bytes = RECORD_MAX_BYTES.to_string();
        let defaults = [
            // What a crash leaves open blocks every reader until the broker gives up on it.
            ("transaction.timeout.ms", "3000"),
            // A transaction begins while the markers of the last one are still being written; the broker says so
            // and the client comes back after this. The default of 100 ms would be the whole latency.
            ("retry.backoff.ms", "5"),
            // Batches form anyway while the coordinator registers a transaction's partitions; measured from 0 to 5 ms
            // the time to commit is the same within the noise.
            ("linger.ms", "2"),
            ("compression.type", "lz4"),
            ("message.max.bytes", record_max_bytes.as_str()),
            ("queue.buffering.max.kbytes", "65536"),
        ];
        let producer: BaseProducer<Deliveries> =
            self.connection.client(&defaults, &fixed, self.deliveries.clone())?;
        self.initialise(&producer)?;
        self.producer = Some(Arc::new(producer));
        Ok(())
    }

    fn initialise(&self, producer: &BaseProducer<Deliveries>) -> Result<(), KafkaError> {
        let limit = self.connection.connect_timeout();
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match producer.init_transactions(left.clamp(DRAIN_STEP, ATTEMPT)) {
                Ok(()) => return Ok(()),
                Err(ClientError::Transaction(error)) => error,
                Err(error) => {
                    let reason = error.to_string();
                    return Err(KafkaError::Failed {
                        action: "initialising transactions".to_owned(),
                        reason,
                    });
                }
            };
            if !error.is_retriable() {
                let action = format!("initialising transactions of `{}`", self.transactional_id);
                let code = fatal_code(producer, &error);
                return Err(match error.is_fatal() && is_fence(code) {
                    true => KafkaError::Fatal { action, reason: error.string() },
                    false => failed_with(&action, code),
                });
            }
            serve(producer);
            if Instant::now() >= deadline {
                return Err(KafkaError::Unreachable {
                    brokers: self.connection.brokers().to_owned(),
                    waited: limit,
                    reason: self.deliveries.last_error().unwrap_or_else(|| error.string()),
                });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn begin(&mut self) -> Result<(), CommitError> {
        let producer = self.producer()?;
        match producer.begin_transaction() {
            Ok(()) => {
                self.open = true;
                Ok(())
            }
            Err(error) => Err(self.not_committed(error)),
        }
    }

    /// Queues one record of the open transaction; waits while the queue is full. A record larger than its topic takes
    /// is [`CommitError::Fatal`], here or when the transaction ends: no retry will send it.
    pub fn send(&mut self, record: WriterRecord<'_>) -> Result<(), CommitError> {
        let producer = self.producer()?;
        let mut base = BaseRecord::<[u8], [u8], ()>::to(record.topic);
        base.partition = record.partition;
        base.key = record.key;
        base.payload = record.payload;
        base.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (key, value) in record.headers {
                headers = headers.insert(Header { key, value: Some(*value) });
            }
            base.headers = Some(headers);
        }
        let deadline = Instant::now() + OUTCOME_LIMIT;
        loop {
            let (error, returned) = match producer.send(base) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(self.refused(&record, error));
            }
            if Instant::now() >= deadline {
                let reason = "the queue of records to send stayed full".to_owned();
                return Err(CommitError::Unavailable { in_doubt: false, reason });
            }
            base = returned;
            if !serve(producer) {
                thread::sleep(DRAIN_STEP);
            }
        }
    }

    /// Commits the records sent since `begin` and these offsets together. Returns once the outcome is known, or with
    /// [`CommitError::Unavailable`] after 30 s. Give at least one offset, also when nothing changed: only offsets
    /// let the broker check that this member still belongs to the group.
    pub fn commit(
        &mut self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> Result<(), CommitError> {
        let deadline = Instant::now() + OUTCOME_LIMIT;
        // Offsets first: their round trip overlaps with the records' own.
        self.add_offsets(offsets, group, deadline)?;
        self.finish(deadline)
    }

    /// Makes the group's coordinator write something down, and commits nothing. When it returns, the coordinator is one,
    /// and it knows everything the one before it has acknowledged: one that was replaced without having heard of it goes
    /// on answering from memory, and one that has just taken over answers for a moment as of the high watermark it had as
    /// a follower. Neither can write. `mark` is a partition that exists and that the group does not read.
    /// [`CommitError::Aborted`]: the group goes on without this member; the reader's events tell how.
    pub fn prove_coordinator(
        &mut self,
        mark: &TopicPartition,
        group: &GroupMetadata,
    ) -> Result<(), CommitError> {
        self.begin()?;
        let mark = (mark.clone(), Committed { next: 0, metadata: String::new() });
        self.add_offsets(&[mark], group, Instant::now() + OUTCOME_LIMIT)?;
        self.abort()
    }

    fn add_offsets(
        &mut self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
        deadline: Instant,
    ) -> Result<(), CommitError> {
        let list = commit_list(offsets).map_err(|error| self.not_committed(error))?;
        loop {
            match self.send_offsets(&list, group)? {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && Instant::now() < deadline => {}
                Err(error) => return Err(self.offsets_refused(error, offsets, group)),
            }
        }
    }

    /// One attempt, on a thread of its own: librdkafka may wait for ever for a group's coordinator that is gone, whatever
    /// the limit it was given (confluentinc/librdkafka #5456, #5511). Such a thread keeps the old client until it is woken;
    /// the transaction is lost, as it was never ended, and a new client fences what is left of it.
    fn send_offsets(
        &mut self,
        list: &TopicPartitionList,
        group: &GroupMetadata,
    ) -> Result<Result<(), ClientError>, CommitError> {
        let producer = Arc::clone(self.producer()?);
        let (list, metadata) = (list.clone(), Arc::clone(&group.metadata));
        let sent = self.aside.within(HUNG_AFTER, move || {
            // The client goes with the closure, before the answer: the writer's own is the last one.
            producer.send_offsets_to_transaction(&list, &metadata, ATTEMPT)
        });
        sent.ok_or_else(|| {
            if let Some(producer) = self.producer.take() {
                // Its memory is wanted for the next one.
                producer.purge(PurgeConfig::default().queue().inflight());
            }
            let reason = format!("sending offsets did not come back within {HUNG_AFTER:?}");
            CommitError::Unavailable { in_doubt: false, reason }
        })
    }

    /// librdkafka does not say of which group the offsets were, nor always of which topics.
    fn offsets_refused(
        &mut self,
        error: ClientError,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> CommitError {
        let code = error.rdkafka_error_code();
        match self.not_committed(error) {
            CommitError::Denied { mend, .. } if code == Some(Code::GroupAuthorizationFailed) => {
                CommitError::Denied { what: format!("committing offsets of group `{}`", group.group), mend }
            }
            CommitError::Denied { what, mend }
                if code == Some(Code::TopicAuthorizationFailed) && !what.contains('[') =>
            {
                let topics: BTreeSet<&str> = offsets.iter().map(|(partition, _)| &*partition.topic).collect();
                let topics = Vec::from_iter(topics).join(", ");
                CommitError::Denied { what: format!("committing offsets of {topics}: {what}"), mend }
            }
            other => other,
        }
    }

    /// Commits the records sent since `begin`, for writers that read nothing.
    pub fn commit_records(&mut self) -> Result<(), CommitError> {
        self.finish(Instant::now() + OUTCOME_LIMIT)
    }

    fn finish(&mut self, deadline: Instant) -> Result<(), CommitError> {
        self.drain(deadline)?;
        if let Some(failure) = self.deliveries.failure() {
            return Err(self.abort_because(failure));
        }
        loop {
            match self.producer()?.commit_transaction(ATTEMPT) {
                Ok(()) => {
                    self.open = false;
                    return Ok(());
                }
                // A timeout says nothing about the outcome; asking again does.
                Err(error) if is_retriable(&error) && Instant::now() < deadline => {}
                Err(error) if is_retriable(&error) => {
                    return Err(CommitError::Unavailable { in_doubt: true, reason: error.to_string() });
                }
                Err(error) => return Err(self.not_committed(error)),
            }
        }
    }

    /// Drops the open transaction. Does nothing when none is open.
    pub fn abort(&mut self) -> Result<(), CommitError> {
        if !self.open {
            return Ok(());
        }
        let deadline = Instant::now() + OUTCOME_LIMIT;
        // Aborting with records in flight leaves their sequence numbers unclear, and a later commit fails on it.
        self.drain(deadline)?;
        loop {
            match self.producer()?.abort_transaction(ATTEMPT) {
                Ok(()) => break,
                Err(error) if is_retriable(&error) && Instant::now() < deadline => {}
                Err(error) => return Err(self.settled(error)),
            }
        }
        self.open = false;
        self.deliveries.forget();
        Ok(())
    }

    pub fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    fn producer(&self) -> Result<&Arc<BaseProducer<Deliveries>>, CommitError> {
        self.producer.as_ref().ok_or_else(|| CommitError::Unavailable {
            in_doubt: false,
            reason: "the producer could not be recreated".to_owned(),
        })
    }

    /// Waits until every record is delivered or has failed; `transaction.timeout.ms` bounds each of them.
    fn drain(&self, deadline: Instant) -> Result<(), CommitError> {
        let producer = self.producer()?;
        loop {
            if serve(producer) {
                continue;
            }
            if producer.in_flight_count() == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let reason = format!("{} records got no answer", producer.in_flight_count());
                return Err(CommitError::Unavailable { in_doubt: false, reason });
            }
            thread::sleep(DRAIN_STEP);
        }
    }

    fn abort_because(&mut self, Failure { reason, code }: Failure) -> CommitError {
        match (self.abort(), code) {
            (Err(worse), _) => worse,
            (Ok(()), Some(Code::MessageSizeTooLarge)) => CommitError::Fatal { reason },
            (Ok(()), Some(code)) if is_denied(code) => {
                CommitError::Denied { what: reason, mend: grant(code) }
            }
            (Ok(()), _) => CommitError::Aborted { reason },
        }
    }

    /// A missing right ends the transaction, and whatever comes of aborting it does not matter any more.
    fn denied(&mut self, code: Code, reason: String) -> CommitError {
        let deliveries = self.deliveries.clone();
        // Before it is forgotten; after it has had the time to arrive.
        let drained = self.drain(Instant::now() + OUTCOME_LIMIT);
        let what = deliveries.refusal().unwrap_or(reason);
        if drained.is_ok() {
            let _ = self.abort();
        }
        CommitError::Denied { what, mend: grant(code) }
    }

    /// What a failure before the commit's own request means; aborts where that is what it takes.
    fn not_committed(&mut self, error: ClientError) -> CommitError {
        match &error {
            ClientError::Transaction(inner) if inner.txn_requires_abort() && is_denied(inner.code()) => {
                self.denied(inner.code(), inner.string())
            }
            ClientError::Transaction(inner) if inner.txn_requires_abort() => self.failed(inner.string()),
            _ => self.settled(error),
        }
    }

    /// The transaction has failed, for an earlier record or in the background, of which `reason` may say nothing.
    fn failed(&mut self, reason: String) -> CommitError {
        if let Some(what) = self.deliveries.refusal() {
            return self.denied(Code::TopicAuthorizationFailed, what);
        }
        let failure = self.deliveries.failure().unwrap_or_else(|| Failure::passing(reason));
        self.abort_because(failure)
    }

    /// The closed mapping of librdkafka's flags, but for "requires abort":
    /// fatal by a fence -> `Fenced`, for a missing right -> `Denied`, any other -> `Fatal`; retriable -> `Unavailable`;
    /// no flag -> `Fatal`, for then librdkafka says that the call itself was wrong.
    fn settled(&self, error: ClientError) -> CommitError {
        let reason = error.to_string();
        match &error {
            ClientError::Transaction(inner) if inner.is_fatal() => {
                let code = match &self.producer {
                    Some(producer) => fatal_code(producer, inner),
                    None => inner.code(),
                };
                self.fatal(code, reason)
            }
            ClientError::Transaction(inner) if inner.is_retriable() => {
                CommitError::Unavailable { in_doubt: false, reason }
            }
            // The records were not delivered in time.
            ClientError::Flush(_) => CommitError::Unavailable { in_doubt: false, reason },
            _ => CommitError::Fatal { reason },
        }
    }

    /// A record that was refused at once.
    fn refused(&mut self, record: &WriterRecord<'_>, error: ClientError) -> CommitError {
        let fatal = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        if let Some((code, reason)) = fatal {
            return self.fatal(code, reason);
        }
        let bytes = record.payload.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
        let reason = format!("a record of {bytes} bytes for `{}`: {error}", record.topic);
        match error.rdkafka_error_code() {
            Some(Code::State) if self.open => self.failed(reason),
            _ => CommitError::Fatal { reason },
        }
    }

    /// What the end of a producer means.
    fn fatal(&self, code: Code, reason: String) -> CommitError {
        match code {
            code if is_fence(code) => CommitError::Fenced { reason },
            code if is_denied(code) => {
                let what = format!("writing under the transactional id `{}`", self.transactional_id);
                CommitError::Denied { what, mend: grant(code) }
            }
            _ => CommitError::Fatal { reason },
        }
    }
}

/// Hands out what the client has to say, of deliveries, errors and its log; true when any was of deliveries. The client
/// says one thing at a time.
fn serve(producer: &BaseProducer<Deliveries>) -> bool {
    let before = producer.in_flight_count();
    for _ in 0..SAID_AT_ONCE {
        producer.poll(Duration::ZERO);
    }
    producer.in_flight_count() < before
}

/// The code behind librdkafka's general "fatal".
fn fatal_code(producer: &BaseProducer<Deliveries>, error: &RDKafkaError) -> Code {
    match error.code() {
        Code::Fatal => producer.client().fatal_error().map_or(Code::Fatal, |(code, _)| code),
        code => code,
    }
}

fn is_retriable(error: &ClientError) -> bool {
    matches!(error, ClientError::Transaction(inner) if inner.is_retriable())
}

/// Codes that mean a newer epoch of the same transactional id: another producer, or the broker's own timeout.
fn is_fence(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::InvalidTransactionalState
            | Code::InvalidProducerIdMapping
            | Code::UnknownProducerId
            | Code::OutOfOrderSequenceNumber
    )
}
