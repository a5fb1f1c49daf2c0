//! Kafka at the level Plimsoll's guarantees need: group consumers that start exactly where the caller says, read
//! in batches and never go back in silence; transactions that commit records and offsets together; and the few
//! administrative questions around them.
//!
//! Every type here blocks and belongs to one OS thread; nothing may be called from an async task.
//! `unsafe` lives in `batch` (reading), `admin_ffi` (administrative calls), `mock` (one setting), `child`
//! (processes) and `fetch/low_water` (one option of a socket), nowhere else.

mod admin;
mod admin_ffi;
mod aside;
mod batch;
pub mod child;
mod compacted;
mod connection;
mod deliveries;
mod error;
mod feed;
mod fetch;
mod group_offsets;
mod list;
mod member;
mod membership;
mod mock;
mod probe;
mod producer;
mod reader;
mod reader_options;
mod record;
mod slot;
mod stretch;
mod writer;

use std::fmt;
use std::sync::Arc;

pub use admin::{Admin, EndOf, TopicInfo, TopicSpec};
pub use compacted::{Follower, read_to_end, read_whole};
pub use connection::{Connection, RECORD_MAX_BYTES};
pub use error::{CommitError, KafkaError};
pub use group_offsets::GroupOffsets;
pub use member::Member;
pub use mock::MockCluster;
pub use probe::{NextRecord, Probe};
pub use producer::PlainProducer;
pub use reader::{GroupMetadata, GroupReader, ReaderEvent};
pub use reader_options::{Assignor, ReaderOptions};
pub use record::{Headers, Record};
pub use stretch::{Stretch, StretchRecord};
pub use writer::{TransactionalWriter, WriterRecord};

/// One partition of one topic; clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Where reading of a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest record the broker still has.
    Beginning,
    /// The record with this offset, or the next one after it (offsets have holes).
    At(i64),
}

/// What a consumer group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Offset of the next record to read: the last one read plus one.
    pub next: i64,
    /// The committer's own text; the broker keeps at most 4096 bytes of it.
    pub metadata: String,
}

/// Where a group stands in a partition; None: it has committed nothing there.
pub type Standing = (TopicPartition, Option<Committed>);
