//! What goes in and out of one `Store::write`.

/// Records of one poll and the offsets they move. All of it is stored, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One for each partition that has records here; no partition twice.
    pub moves: Vec<OffsetMove>,
    pub records: Vec<StoredRecord>,
}

/// Moves a partition's next offset from `expected` to `next`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetMove {
    pub topic: String,
    pub partition: i32,
    /// What `Store::claim` or the last write left; None: never stored before.
    pub expected: Option<i64>,
    /// The offset to read next, one past the last record of the batch.
    pub next: i64,
}

/// A Kafka record as the store takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    /// None is a tombstone; it deletes nothing.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl StoredRecord {
    /// The last header of that name, as Kafka's clients read it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    pub(super) fn invalid(&self, reason: impl Into<String>) -> InvalidRecord {
        InvalidRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            reason: reason.into(),
        }
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows of hourly tables and statuses inserted or brought up to date.
    pub rows: u64,
    /// Records of such rows older than what is stored, or overtaken within the batch.
    pub stale: u64,
    /// Breach transitions that were new.
    pub transitions: u64,
    pub dead_letters: u64,
    pub tombstones: u64,
    /// Records of topics that no route leads anywhere, such as those of a rollup that was removed.
    pub unrouted: u64,
    /// Records that cannot be stored; the rest of the batch is. Their offsets are passed over.
    pub invalid: Vec<InvalidRecord>,
    /// The batch had been stored before: its commit went through although its answer was lost.
    pub already_stored: bool,
}

/// A record that Postgres can never take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record at offset {offset} of partition {partition} of {topic} cannot be stored: {reason}")]
pub struct InvalidRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
}
