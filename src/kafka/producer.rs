//! Records without transactions, for what only feeds topics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::connection::{RECORD_MAX_BYTES, log_line};
use super::{Connection, KafkaError};

/// How long a full queue is waited for. Records that cannot be delivered leave it after `message.timeout.ms`.
const QUEUE_LIMIT: Duration = Duration::from_secs(30);
const QUEUE_STEP: Duration = Duration::from_micros(500);

/// An idempotent producer: each record arrives once and in order, or counts as failed.
pub struct PlainProducer {
    producer: ThreadedProducer<Failures>,
    failures: Failures,
    brokers: String,
}

impl PlainProducer {
    /// Does not wait for a broker; [`Connection::check`] does.
    pub fn open(connection: &Connection, client_id: &str) -> Result<PlainProducer, KafkaError> {
        let record_max_bytes = RECORD_MAX_BYTES.to_string();
        let defaults = [
            ("linger.ms", "5"),
            ("compression.type", "lz4"),
            ("message.max.bytes", record_max_bytes.as_str()),
            ("message.timeout.ms", "30000"),
            ("queue.buffering.max.kbytes", "65536"),
        ];
        let fixed = [("client.id", client_id), ("enable.idempotence", "true"), ("acks", "all")];
        let failures = Failures::default();
        let producer = connection.client(&defaults, &fixed, failures.clone())?;
        Ok(PlainProducer { producer, failures, brokers: connection.brokers().to_owned() })
    }

    /// Queues one record; waits while the queue is full, 30 s at most.
    pub fn send(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        payload: &[u8],
        timestamp_ms: i64,
    ) -> Result<(), KafkaError> {
        let mut record =
            BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(payload).timestamp(timestamp_ms);
        record.key = key;
        let mut deadline = None;
        loop {
            let (error, returned) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(self.refused(topic, &error));
            }
            if Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + QUEUE_LIMIT) {
                return Err(self.unreachable(QUEUE_LIMIT, "the queue of records to send stayed full"));
            }
            record = returned;
            thread::sleep(QUEUE_STEP);
        }
    }

    /// Waits until every record is delivered or has failed; see [`PlainProducer::failed`].
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.producer.flush(timeout).map_err(|error| self.unreachable(timeout, &error.to_string()))
    }

    /// Records that were not delivered so far.
    pub fn failed(&self) -> u64 {
        self.failures.count.load(Ordering::Relaxed)
    }

    /// Why the first of them was not.
    pub fn first_failure(&self) -> Option<String> {
        self.failures.first().clone()
    }

    fn refused(&self, topic: &str, error: &ClientError) -> KafkaError {
        let action = format!("sending to {topic}");
        match self.producer.client().fatal_error() {
            Some((_, reason)) => KafkaError::Fatal { action, reason },
            None => KafkaError::Failed { action, reason: error.to_string() },
        }
    }

    fn unreachable(&self, waited: Duration, reason: &str) -> KafkaError {
        let last = self.failures.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = last.map_or(reason.to_owned(), |last| format!("{reason} ({last})"));
        KafkaError::Unreachable { brokers: self.brokers.clone(), waited, reason }
    }
}

/// Counts what was not delivered, and remembers the first reason and the client's last error.
#[derive(Clone, Default)]
struct Failures {
    count: Arc<AtomicU64>,
    first: Arc<Mutex<Option<String>>>,
    last_error: Arc<Mutex<Option<String>>>,
}

impl Failures {
    fn first(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Failures {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "producer error");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.first()
                .get_or_insert_with(|| format!("{}[{}]: {error}", message.topic(), message.partition()));
        }
    }
}
