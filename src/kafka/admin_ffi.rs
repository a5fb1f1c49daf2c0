//! Administrative calls the safe crate lacks: ListOffsets, DescribeTopics, and lists with raw metadata.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use rdkafka::error::{IsError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as sys;
use rdkafka_sys::types::{
    RDKafka, RDKafkaAdminOp, RDKafkaAdminOptions, RDKafkaEvent, RDKafkaQueue, RDKafkaRespErr,
    RDKafkaTopicPartitionList,
};

/// One entry of a list, as librdkafka holds it.
pub(super) struct Element {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The committer's own bytes; the safe accessor panics when they are not UTF-8.
    pub(super) metadata: Vec<u8>,
    pub(super) error: RDKafkaRespErr,
}

/// Copies a list out.
pub(super) fn elements(list: &TopicPartitionList) -> Vec<Element> {
    // SAFETY: the list is alive and borrowed during the call.
    unsafe { copy_elements(list.ptr()) }
}

/// # Safety
/// `list` points at a live list that nobody changes meanwhile.
unsafe fn copy_elements(list: *const RDKafkaTopicPartitionList) -> Vec<Element> {
    // SAFETY: alive by the contract; `elems` is null or points at `cnt` initialised entries.
    let entries = unsafe {
        match ((*list).elems, usize::try_from((*list).cnt)) {
            (elems, Ok(count)) if !elems.is_null() => slice::from_raw_parts(elems, count),
            _ => return Vec::new(),
        }
    };
    // SAFETY: each entry's strings are alive as long as the list.
    entries.iter().map(|entry| unsafe { copy_element(entry) }).collect()
}

/// # Safety
/// `entry` belongs to a live list.
unsafe fn copy_element(entry: &sys::rd_kafka_topic_partition_t) -> Element {
    let metadata = match entry.metadata.is_null() {
        true => Vec::new(),
        // SAFETY: not null, and `metadata_size` bytes long.
        false => unsafe { slice::from_raw_parts(entry.metadata.cast::<u8>(), entry.metadata_size).to_vec() },
    };
    Element {
        // SAFETY: the topic's name is a NUL-terminated string owned by the entry.
        topic: unsafe { text(entry.topic) },
        partition: entry.partition,
        offset: entry.offset,
        metadata,
        error: entry.err,
    }
}

/// # Safety
/// `string` is null or a NUL-terminated string.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: by the contract.
    unsafe { CStr::from_ptr(string).to_string_lossy().into_owned() }
}

/// A client that is alive for as long as this value is.
#[derive(Clone, Copy)]
pub(super) struct Handle<'a> {
    client: *mut RDKafka,
    _owner: std::marker::PhantomData<&'a ()>,
}

impl<'a> Handle<'a> {
    pub(super) fn of<C: rdkafka::ClientContext>(client: &'a rdkafka::client::Client<C>) -> Handle<'a> {
        Handle { client: client.native_ptr(), _owner: std::marker::PhantomData }
    }
}

/// An error code and the broker's or client's own words.
pub(super) type AdminFailure = (Code, String);

/// Offsets of each partition of `list`, whose offset fields hold what is asked: -1 the end, -2 the beginning, else the
/// first record of a timestamp (ms since 1970) or after it, answered by -1 where there is none.
pub(super) fn list_offsets(
    handle: Handle<'_>,
    list: &TopicPartitionList,
    read_committed: bool,
    timeout: Duration,
) -> Result<Vec<Element>, AdminFailure> {
    use sys::rd_kafka_IsolationLevel_t as Level;
    let level = match read_committed {
        true => Level::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        false => Level::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
    };
    let request = Request::new(handle, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout)?;
    // SAFETY: options, list and queue are alive during the calls; librdkafka copies the list.
    unsafe {
        destroy(sys::rd_kafka_AdminOptions_set_isolation_level(request.options.as_ptr(), level));
        sys::rd_kafka_ListOffsets(
            handle.client,
            list.ptr(),
            request.options.as_ptr(),
            request.queue.as_ptr(),
        );
    }
    let answer = request.wait(timeout)?;
    let mut count = 0;
    // SAFETY: the event is alive until `answer` is dropped, is the answer to ListOffsets (its error was checked), and
    // owns `count` entries, each of which owns its partition.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(answer.0.as_ptr());
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
        Ok((0..count)
            .map(|i| copy_element(&*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i))))
            .collect())
    }
}

/// A topic as DescribeTopics sees it.
pub(super) struct Description {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) partitions: usize,
    pub(super) error: Code,
}

/// Describes topics by name.
pub(super) fn describe_topics(
    handle: Handle<'_>,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<Description>, AdminFailure> {
    let invalid = |_| (Code::InvalidTopic, "a topic name cannot hold a NUL".to_owned());
    let names: Vec<CString> =
        topics.iter().map(|name| CString::new(*name)).collect::<Result<_, _>>().map_err(invalid)?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let request = Request::new(handle, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout)?;
    // SAFETY: the names are alive during the calls and copied into the collection, which is ours to destroy and which
    // librdkafka copies in turn; options and queue are alive.
    unsafe {
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        sys::rd_kafka_DescribeTopics(
            handle.client,
            collection,
            request.options.as_ptr(),
            request.queue.as_ptr(),
        );
        sys::rd_kafka_TopicCollection_destroy(collection);
    }
    let answer = request.wait(timeout)?;
    let mut count = 0;
    // SAFETY: the event is alive until `answer` is dropped, is the answer to DescribeTopics (its error was checked),
    // and owns `count` descriptions.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(answer.0.as_ptr());
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        Ok((0..count).map(|i| copy_description(*descriptions.add(i))).collect())
    }
}

/// # Safety
/// `description` belongs to a live answer.
unsafe fn copy_description(description: *const sys::rd_kafka_TopicDescription_t) -> Description {
    let mut partitions = 0;
    // SAFETY: every pointer read here belongs to the description; a null error means none.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(description);
        sys::rd_kafka_TopicDescription_partitions(description, &mut partitions);
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        Description {
            name: text(sys::rd_kafka_TopicDescription_name(description)),
            id: if id.is_null() { String::new() } else { text(sys::rd_kafka_Uuid_base64str(id)) },
            partitions,
            error: sys::rd_kafka_error_code(error).into(),
        }
    }
}

/// # Safety
/// `error` is null or an error that is ours to destroy.
unsafe fn destroy(error: *mut sys::rd_kafka_error_t) {
    if !error.is_null() {
        // SAFETY: by the contract.
        unsafe { sys::rd_kafka_error_destroy(error) };
    }
}

/// The queue an answer comes to, and the options of the request.
struct Request {
    queue: NonNull<RDKafkaQueue>,
    options: NonNull<RDKafkaAdminOptions>,
}

impl Request {
    fn new(
        handle: Handle<'_>,
        operation: RDKafkaAdminOp,
        timeout: Duration,
    ) -> Result<Request, AdminFailure> {
        let none = || (Code::Fail, "the client gave no queue".to_owned());
        // SAFETY: the client is alive by `Handle`'s lifetime; both results are null or ours.
        let (queue, options) = unsafe {
            (
                NonNull::new(sys::rd_kafka_queue_new(handle.client)),
                NonNull::new(sys::rd_kafka_AdminOptions_new(handle.client, operation)),
            )
        };
        let request = match (queue, options) {
            (Some(queue), Some(options)) => Request { queue, options },
            // What was made leaks, in a process that is out of memory.
            _ => return Err(none()),
        };
        let mut message: [c_char; 256] = [0; 256];
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).clamp(1, 3_600_000);
        // SAFETY: options are alive; at most `message.len()` bytes are written.
        unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(
                request.options.as_ptr(),
                timeout_ms as c_int,
                message.as_mut_ptr(),
                message.len(),
            );
        }
        Ok(request)
    }

    /// Waits for the answer a little longer than librdkafka itself does.
    fn wait(&self, timeout: Duration) -> Result<Answer, AdminFailure> {
        let limit = timeout.saturating_add(Duration::from_millis(500));
        let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive and only this thread reads it; the event is ours.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), limit_ms) };
        let Some(event) = NonNull::new(event) else {
            return Err((Code::OperationTimedOut, "no answer".to_owned()));
        };
        let answer = Answer(event);
        // SAFETY: the event is alive; its error string belongs to it.
        let (error, reason) = unsafe {
            (
                sys::rd_kafka_event_error(event.as_ptr()),
                text(sys::rd_kafka_event_error_string(event.as_ptr())),
            )
        };
        if error.is_error() { Err((error.into(), reason)) } else { Ok(answer) }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: both are ours and destroyed once; the client outlives the request (`Handle`'s lifetime). An answer
        // still to come holds its own reference of the queue.
        unsafe {
            sys::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

struct Answer(NonNull<RDKafkaEvent>);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}
