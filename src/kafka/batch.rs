//! The one room where fetched records are touched through raw pointers.
//!
//! Every assigned partition is forwarded to one queue of our own, which is drained in batches: half the CPU of
//! polling record by record. The consumer itself is polled beside it for rebalances, errors and logs.

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use rdkafka_sys::types::{RDKafkaHeaders, RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr, RDKafkaTopic};

use super::KafkaError;
use super::record::{HeadersIn, Record};

/// The most records one batch asks for; bounds the pointer buffer.
const BATCH_LIMIT: usize = 100_000;

/// A message of a batch, for whoever asks for its headers.
#[derive(Clone, Copy)]
pub(super) struct ClientMessage<'a> {
    message: NonNull<RDKafkaMessage>,
    _message: PhantomData<&'a RDKafkaMessage>,
}

impl<'a> ClientMessage<'a> {
    pub(super) fn headers(self) -> ClientHeaders<'a> {
        let mut list: *mut RDKafkaHeaders = ptr::null_mut();
        // SAFETY: `message` is alive for 'a (see `Fetched::from_message`) and used by this thread alone. The call parses
        // the headers into memory that the message owns and frees. On an error `list` stays null.
        unsafe { sys::rd_kafka_message_headers(self.message.as_ptr(), &mut list) };
        ClientHeaders { list, index: 0, _message: PhantomData }
    }
}

/// Iterator over `(name, value)`.
pub(super) struct ClientHeaders<'a> {
    list: *const RDKafkaHeaders,
    index: usize,
    _message: PhantomData<&'a RDKafkaMessage>,
}

impl<'a> Iterator for ClientHeaders<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0usize);
        // SAFETY: `list` is not null and lives as long as its message, for 'a; the out-pointers are our locals.
        let result =
            unsafe { sys::rd_kafka_header_get_all(self.list, self.index, &mut name, &mut value, &mut size) };
        if result != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None; // past the last one
        }
        self.index += 1;
        // SAFETY: on success `name` is a NUL-terminated string owned by the list.
        let name = unsafe { CStr::from_ptr(name) };
        // SAFETY: on success `value` is null or points at `size` bytes owned by the list.
        let value = unsafe { bytes(value, size) };
        // Kafka says names are UTF-8; one that is not is still shown, without a name.
        Some((name.to_str().unwrap_or_default(), value))
    }
}

/// One entry of a batch.
pub(super) enum Fetched<'a> {
    Record(Record<'a>),
    /// A partition reports an error; `offset` is the one it concerns, if any.
    Error {
        topic: &'a str,
        partition: i32,
        offset: i64,
        code: RDKafkaErrorCode,
        reason: String,
    },
}

impl<'a> Fetched<'a> {
    /// # Safety
    /// `message` came out of `rd_kafka_consume_batch_queue`, is not destroyed before 'a ends, and is used by no other
    /// thread. `topic` is the name of its topic.
    unsafe fn from_message(message: NonNull<RDKafkaMessage>, topic: &'a str) -> Fetched<'a> {
        // SAFETY: alive for 'a by the contract, and never written to by us.
        let raw: &'a RDKafkaMessage = unsafe { message.as_ref() };
        // SAFETY: key and payload are null or point at as many bytes inside the message, alive for 'a.
        let (key, payload) = unsafe { (bytes(raw.key, raw.key_len), bytes(raw.payload, raw.len)) };
        if raw.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let reason = payload.map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned());
            let code = raw.err.into();
            return Fetched::Error { topic, partition: raw.partition, offset: raw.offset, code, reason };
        }
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: reads the message, alive by the contract, and writes our local.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(message.as_ptr(), &mut kind) };
        let message = HeadersIn::Message(ClientMessage { message, _message: PhantomData });
        let record = Record::new(topic, raw.partition, raw.offset, key, payload);
        Fetched::Record(record.with(message, (timestamp >= 0).then_some(timestamp)))
    }
}

/// # Safety
/// `data` is null, or points at `size` bytes that stay unchanged for 'a.
unsafe fn bytes<'a>(data: *const c_void, size: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: not null, and valid for `size` bytes by the contract.
    Some(unsafe { slice::from_raw_parts(data.cast::<u8>(), size) })
}

/// A consumer and the queue its partitions are forwarded to; several may share a consumer, each with partitions of
/// its own.
pub(super) struct QueuedConsumer<C: ConsumerContext + 'static> {
    // Before the consumer: a queue must be destroyed before the client it belongs to.
    queue: AppQueue,
    consumer: Arc<BaseConsumer<C>>,
    buffer: Vec<*mut RDKafkaMessage>,
}

// SAFETY: librdkafka's handles may be used from any thread. `buffer` is empty of live messages between calls, and
// `&mut self` keeps two threads from draining one queue at the same time, which librdkafka forbids.
unsafe impl<C: ConsumerContext + 'static> Send for QueuedConsumer<C> {}

struct AppQueue(NonNull<RDKafkaQueue>);

impl Drop for AppQueue {
    fn drop(&mut self) {
        // SAFETY: the queue was made by `rd_kafka_queue_new`, is destroyed once, and its client still lives because
        // `QueuedConsumer` drops it after this field.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

impl<C: ConsumerContext + 'static> QueuedConsumer<C> {
    pub(super) fn new(consumer: impl Into<Arc<BaseConsumer<C>>>) -> Result<QueuedConsumer<C>, KafkaError> {
        let consumer = consumer.into();
        // SAFETY: the client is alive; the new queue is owned by `AppQueue` alone.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            return Err(KafkaError::Configuration { reason: "no queue for the consumer".to_owned() });
        };
        Ok(QueuedConsumer { queue: AppQueue(queue), consumer, buffer: Vec::new() })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Sends the partition's records to our queue. Doing it again is harmless and loses nothing: what already lies in
    /// the partition's own queue moves along.
    pub(super) fn forward(&self, topic: &str, partition: i32) -> Result<(), KafkaError> {
        let failed = |reason: &str| KafkaError::Failed {
            action: format!("reading {topic}[{partition}]"),
            reason: reason.to_owned(),
        };
        let name = CString::new(topic).map_err(|_| failed("a topic name cannot hold a NUL"))?;
        // SAFETY: client and name are alive during the call; the result is null or a handle of ours.
        let handle = unsafe {
            sys::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), name.as_ptr(), partition)
        };
        let Some(handle) = NonNull::new(handle) else {
            return Err(failed("the client has no queue for it"));
        };
        // SAFETY: both queues are alive and belong to the same client. Forwarding takes its own reference of our
        // queue, and destroying the handle gives back only the reference this function was given.
        unsafe {
            sys::rd_kafka_queue_forward(handle.as_ptr(), self.queue.0.as_ptr());
            sys::rd_kafka_queue_destroy(handle.as_ptr());
        }
        Ok(())
    }

    /// Waits up to `timeout` for the first entry, then hands out what is there already, `max` at most.
    pub(super) fn read(&mut self, timeout: Duration, max: usize, mut each: impl FnMut(Fetched<'_>)) -> usize {
        let max = max.clamp(1, BATCH_LIMIT);
        if self.buffer.len() < max {
            self.buffer.resize(max, ptr::null_mut());
        }
        // librdkafka waits for a *full* batch. Asking for one record first makes the wait end with the first record.
        let mut count = self.fill(0, 1, timeout);
        if count == 1 {
            count += self.fill(1, max, Duration::ZERO);
        }
        let batch = Batch(&self.buffer[..count]);
        // Records come in runs of one partition; its topic's handle stays alive while the batch holds its messages.
        let mut topic: (*mut RDKafkaTopic, &str) = (ptr::null_mut(), "");
        let mut partition = None;
        for &message in batch.0 {
            let Some(message) = NonNull::new(message) else { continue };
            // SAFETY: librdkafka filled these entries with messages that we own; `batch` destroys them after the loop,
            // also if `each` panics, and nobody else has them. The name lives as long as the topic handle, which
            // every message of that topic keeps.
            unsafe {
                let handle = message.as_ref().rkt;
                if handle != topic.0 {
                    topic = (handle, topic_name(handle));
                    partition = None;
                }
                let mut fetched = Fetched::from_message(message, topic.1);
                partition = match &mut fetched {
                    Fetched::Record(record) => {
                        record.goes_on = partition == Some(record.partition);
                        Some(record.partition)
                    }
                    Fetched::Error { .. } => None,
                };
                each(fetched);
            }
        }
        count
    }

    /// Fills `buffer[from..to]` and returns how many entries it got.
    fn fill(&mut self, from: usize, to: usize, timeout: Duration) -> usize {
        let room = &mut self.buffer[from..to];
        if room.is_empty() {
            return 0;
        }
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive; librdkafka writes at most `room.len()` pointers into `room`; `&mut self` keeps
        // other threads from draining the queue meanwhile.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(
                self.queue.0.as_ptr(),
                timeout_ms,
                room.as_mut_ptr(),
                room.len(),
            )
        };
        // -1 only for arguments that cannot occur here; then there is nothing to own.
        usize::try_from(count).unwrap_or(0).min(to - from)
    }
}

/// # Safety
/// `handle` is null or a live topic handle, alive for 'a.
unsafe fn topic_name<'a>(handle: *const RDKafkaTopic) -> &'a str {
    if handle.is_null() {
        return "";
    }
    // SAFETY: alive by the contract; the name is a NUL-terminated string owned by the handle.
    let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(handle)) };
    name.to_str().unwrap_or_default() // brokers allow only ASCII in names
}

/// Owns the messages of one batch.
struct Batch<'a>(&'a [*mut RDKafkaMessage]);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for &message in self.0 {
            if !message.is_null() {
                // SAFETY: the batch owns each of its messages and destroys it once; borrows of them have ended.
                unsafe { sys::rd_kafka_message_destroy(message) };
            }
        }
    }
}
