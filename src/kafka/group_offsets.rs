//! What a consumer group has committed, asked by a member or by somebody who never joins it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as ClientError;

use super::connection::LogContext;
use super::error::{consumer_error, failed, failed_with, is_passing};
use super::list::{committed_of, partition_list};
use super::{Committed, Connection, KafkaError, TopicPartition};

/// Most errors taken from the client's queue at a time.
const ERRORS: usize = 100;

/// A group seen from outside: the client carries its name and does nothing else in it, so nobody is disturbed.
/// The principal needs the right to describe the group.
pub struct GroupOffsets {
    consumer: BaseConsumer<LogContext>,
    context: LogContext,
}

impl GroupOffsets {
    /// Does not wait for a broker.
    pub fn open(connection: &Connection, group: &str) -> Result<GroupOffsets, KafkaError> {
        let context = LogContext::default();
        let fixed = [
            ("group.id", group),
            ("client.id", "plimsoll-lag"),
            // A commit that hangs in a transaction does not count yet, and is not waited for either.
            ("isolation.level", "read_uncommitted"),
        ];
        let consumer = connection.consumer(Duration::ZERO, &fixed, context.clone())?;
        Ok(GroupOffsets { consumer, context })
    }

    /// In the order of `partitions`; `None`: nothing committed, also by a group that does not exist.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, Option<Committed>)>, KafkaError> {
        // What went wrong before is over.
        self.refusal();
        let answer = committed_offsets(&self.consumer, partitions, timeout);
        // A group that may not be described has no coordinator for us: only the client's own error says why.
        answer.map_err(|error| self.refusal().unwrap_or(error))
    }

    /// Serves the client; the first of its errors that does not pass by itself.
    fn refusal(&self) -> Option<KafkaError> {
        let mut refusal = None;
        for _ in 0..ERRORS {
            match self.consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(_)) => {} // nothing is assigned, so nothing comes
                Some(Err(error)) => {
                    let reason = self.context.last_error().unwrap_or_else(|| error.to_string());
                    refusal = refusal.or(consumer_error(&error, reason));
                }
            }
        }
        refusal
    }
}

/// Asks until the coordinator has a stable answer, up to `timeout`. In the order of `partitions`.
pub(super) fn committed_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<(TopicPartition, Option<Committed>)>, KafkaError> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let retry = match consumer.committed_offsets(partition_list(partitions), left) {
            Ok(list) => match committed_of(partitions, &list) {
                Err(code) if is_passing(code) => code,
                Err(code) => return Err(failed_with("reading committed offsets", code)),
                Ok(committed) => return Ok(committed),
            },
            Err(ClientError::MetadataFetch(code)) if is_passing(code) => code,
            Err(error) => return Err(failed("reading committed offsets")(error)),
        };
        if Instant::now() >= deadline {
            let action = format!("reading committed offsets ({retry})");
            return Err(KafkaError::TimedOut { action, waited: timeout });
        }
        // The coordinator moves or loads, or a transaction is about to end: nothing to wait for but time.
        std::thread::sleep(Duration::from_millis(10).min(left));
    }
}
