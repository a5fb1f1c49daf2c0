//! A part of a partition's past, read record by record.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::compacted::Follower;
use super::{Connection, KafkaError, Start, TopicPartition};

const WAIT: Duration = Duration::from_millis(100);
/// Each stretch has a queue of its own, and there may be dozens.
const QUEUE: (&str, &str) = ("queued.max.messages.kbytes", "2048");
/// Records taken out of the queue at a time.
const BATCH: usize = 2_000;

/// A record in the stretch's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StretchRecord<'a> {
    pub offset: i64,
    /// Milliseconds since 1970; `None` when the record carries no timestamp.
    pub timestamp_ms: Option<i64>,
    /// `None`: a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// Offsets up to `to` of one partition, committed records only, without a group. It reads ahead no further than
/// librdkafka's queue and one batch.
pub struct Stretch {
    partition: TopicPartition,
    /// None: everything was read.
    follower: Option<Follower>,
    to: i64,
    batch: Batch,
}

/// Records copied out of the client's buffers into memory that is used again and again.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    records: Vec<(i64, Option<i64>, Option<Range<usize>>)>,
    /// The next to be read.
    at: usize,
}

impl Stretch {
    /// Opens stretches of several partitions on one client: `(partition, from, to)`, in the same order. Does not wait
    /// for the broker. `from` must still be there.
    pub fn open_all(
        connection: &Connection,
        wanted: &[(TopicPartition, Range<i64>)],
    ) -> Result<Vec<Stretch>, KafkaError> {
        // Of an empty stretch nothing would ever arrive to show a position.
        let starts = wanted.iter().filter(|(_, offsets)| !offsets.is_empty());
        let starts: Vec<_> = starts.map(|(partition, at)| (partition.clone(), Start::At(at.start))).collect();
        let mut followers = match starts.is_empty() {
            true => Vec::new().into_iter(),
            false => Follower::start_all(connection, &starts, &[QUEUE])?.into_iter(),
        };
        let open = |(partition, offsets): &(TopicPartition, Range<i64>)| Stretch {
            partition: partition.clone(),
            follower: if offsets.is_empty() { None } else { followers.next() },
            to: offsets.end,
            batch: Batch::default(),
        };
        Ok(wanted.iter().map(open).collect())
    }

    /// The next record, which stays the next until [`pass`](Self::pass); None at the end. Waits for it, but not longer
    /// than `stall` without progress.
    pub fn peek(&mut self, stall: Duration) -> Result<Option<StretchRecord<'_>>, KafkaError> {
        if self.batch.is_empty() {
            self.fetch(stall)?;
        }
        Ok(self.batch.peek())
    }

    /// Goes on to the record after the next.
    pub fn pass(&mut self) {
        self.batch.at += 1;
    }

    fn fetch(&mut self, stall: Duration) -> Result<(), KafkaError> {
        let mut progress = (None, Instant::now());
        self.batch.clear();
        while self.batch.is_empty() {
            let Some(follower) = &mut self.follower else { return Ok(()) };
            let (to, batch) = (self.to, &mut self.batch);
            follower.poll_some(WAIT, BATCH, |record| {
                if record.offset < to {
                    batch.push(record.offset, record.timestamp_ms, record.payload);
                }
            })?;
            // Not the last record: markers and aborted records take offsets too.
            let position = follower.position()?;
            if position.is_some_and(|position| position >= to) {
                self.follower = None;
            } else if position > progress.0 {
                progress = (position, Instant::now());
            } else if progress.1.elapsed() > stall {
                let action = format!("reading {} up to offset {to} (now at {position:?})", self.partition);
                return Err(KafkaError::TimedOut { action, waited: stall });
            }
        }
        Ok(())
    }
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.at = 0;
    }

    fn is_empty(&self) -> bool {
        self.at >= self.records.len()
    }

    fn push(&mut self, offset: i64, timestamp_ms: Option<i64>, payload: Option<&[u8]>) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(payload.unwrap_or_default());
        self.records.push((offset, timestamp_ms, payload.map(|_| from..self.bytes.len())));
    }

    fn peek(&self) -> Option<StretchRecord<'_>> {
        let (offset, timestamp_ms, bytes) = self.records.get(self.at)?;
        let payload = bytes.clone().and_then(|bytes| self.bytes.get(bytes));
        Some(StretchRecord { offset: *offset, timestamp_ms: *timestamp_ms, payload })
    }
}
