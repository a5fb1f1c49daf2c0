//! Single records, looked up where they lie.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;

use super::connection::LogContext;
use super::error::{consumer_error, failed};
use super::list::{partition_list, start_list};
use super::{Connection, KafkaError, Start, TopicPartition};

/// What lies at an offset or, where offsets have holes, next after it. Committed records only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRecord {
    /// Milliseconds since 1970; `None` when the record carries no timestamp.
    At { timestamp_ms: Option<i64> },
    /// Nothing from there to the end the partition has now.
    End,
}

/// Reads one record of a partition now and then. It belongs to no group.
pub struct Probe {
    consumer: BaseConsumer<LogContext>,
    context: LogContext,
}

impl Probe {
    /// Does not wait for a broker.
    pub fn open(connection: &Connection) -> Result<Probe, KafkaError> {
        let context = LogContext::default();
        let fixed = [
            // librdkafka wants a group's name even to assign by hand. Nothing joins it and nothing is committed.
            ("group.id", "plimsoll-probe"),
            ("client.id", "plimsoll-probe"),
            ("enable.partition.eof", "true"),
            // One record is wanted of each partition, so little is fetched. A larger batch comes whole all the same.
            ("fetch.message.max.bytes", "16384"),
            ("queued.min.messages", "1"),
        ];
        let consumer = connection.consumer(Duration::ZERO, &fixed, context.clone())?;
        Ok(Probe { consumer, context })
    }

    /// The record at or after the offset of each of these partitions of `topic`. What is not found within `timeout`
    /// is left out.
    pub fn next_records(
        &self,
        topic: &str,
        from: &[(i32, i64)],
        timeout: Duration,
    ) -> Result<BTreeMap<i32, NextRecord>, KafkaError> {
        let starts: Vec<(TopicPartition, Start)> =
            from.iter().map(|&(p, offset)| (TopicPartition::new(topic, p), Start::At(offset))).collect();
        let starts = start_list(&starts)?;
        self.consumer.assign(&starts).map_err(failed("assigning"))?;
        // What was found by an earlier look was paused then.
        let found = self.consumer.resume(&starts).map_err(failed("resuming"));
        let found = found.and_then(|()| self.read(topic, from, timeout));
        self.consumer.unassign().map_err(failed("unassigning"))?;
        found
    }

    fn read(
        &self,
        topic: &str,
        from: &[(i32, i64)],
        timeout: Duration,
    ) -> Result<BTreeMap<i32, NextRecord>, KafkaError> {
        let deadline = Instant::now() + timeout;
        let mut found = BTreeMap::new();
        while found.len() < from.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let (partition, next) = match self.consumer.poll(left) {
                None => continue,
                Some(Ok(record)) => {
                    (record.partition(), NextRecord::At { timestamp_ms: record.timestamp().to_millis() })
                }
                Some(Err(ClientError::PartitionEOF(partition))) => (partition, NextRecord::End),
                // The offset was deleted since: the next look begins at what is left.
                Some(Err(ClientError::MessageConsumption(Code::AutoOffsetReset))) => continue,
                Some(Err(error)) => {
                    let reason = self.context.last_error().unwrap_or_else(|| error.to_string());
                    match consumer_error(&error, reason) {
                        Some(error) => return Err(error),
                        None => continue,
                    }
                }
            };
            if from.iter().any(|&(wanted, _)| wanted == partition) && !found.contains_key(&partition) {
                found.insert(partition, next);
                let done = partition_list(&[TopicPartition::new(topic, partition)]);
                self.consumer.pause(&done).map_err(failed("pausing"))?;
            }
        }
        Ok(found)
    }
}
