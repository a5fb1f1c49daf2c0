//! A part of a partition's past, read record by record.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::compacted::Follower;
use super::{Connection, KafkaError, Start, TopicPartition};

const WAIT: Duration = Duration::from_millis(100);
/// Each stretch has a queue of its own, and there may be dozens.
const QUEUE: (&str, &str) = ("queued.max.messages.kbytes", "2048");

/// A record taken out of the client's buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StretchRecord {
    pub offset: i64,
    /// Milliseconds since 1970; `None` when the record carries no timestamp.
    pub timestamp_ms: Option<i64>,
    /// `None`: a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// Offsets `from..to` of one partition, committed records only, without a group. It reads ahead no further than
/// librdkafka's queue and one batch.
pub struct Stretch {
    partition: TopicPartition,
    /// None: everything was read.
    follower: Option<Follower>,
    to: i64,
    waiting: VecDeque<StretchRecord>,
}

impl Stretch {
    /// Does not wait for the broker. `from` must still be there.
    pub fn open(
        connection: &Connection,
        partition: TopicPartition,
        from: i64,
        to: i64,
    ) -> Result<Stretch, KafkaError> {
        let start = || Follower::start(connection, partition.clone(), Start::At(from), &[QUEUE]);
        // Of an empty stretch nothing would ever arrive to show a position.
        let follower = if from < to { Some(start()?) } else { None };
        Ok(Stretch { partition, follower, to, waiting: VecDeque::new() })
    }

    /// The next record; None at the end. Waits for it, but not longer than `stall` without progress.
    pub fn next_record(&mut self, stall: Duration) -> Result<Option<StretchRecord>, KafkaError> {
        let mut progress = (None, Instant::now());
        while self.waiting.is_empty() {
            let Some(follower) = &mut self.follower else { return Ok(None) };
            let (to, waiting) = (self.to, &mut self.waiting);
            follower.poll(WAIT, |record| {
                if record.offset < to {
                    waiting.push_back(StretchRecord {
                        offset: record.offset,
                        timestamp_ms: record.timestamp_ms,
                        payload: record.payload.map(<[u8]>::to_vec),
                    });
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
        Ok(self.waiting.pop_front())
    }
}
