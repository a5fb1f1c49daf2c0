//! Which records of a source tell all about a range of hours.
//!
//! It begins with the first record whose Kafka timestamp is at most `max_ahead` before the range: what comes before it
//! happened before the range, so it is in none of its hours, nor can it make an event of the range late. It ends where
//! ingest has come to, or earlier, where the newest event is so far past the range that all others would be too late.

use std::ops::Range;
use std::time::Duration;

use crate::core::source::Source;
use crate::core::time::{HOUR_US, MILLI_US, floor_to};
use crate::kafka::{Admin, Connection, EndOf, GroupOffsets, KafkaError, Stretch, TopicPartition};

/// A stretch of one source partition.
#[derive(Clone, Debug)]
pub struct Input {
    pub partition: TopicPartition,
    pub offsets: Range<i64>,
    /// Records before the first that is read all happened earlier.
    pub unread_us: i64,
}

/// What the topic of a source still holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub inputs: Vec<Input>,
    /// Hours before it are not whole: records were deleted. The smallest number when all are.
    pub from_us: i64,
    /// Records that ingest has not committed yet, about.
    pub waiting: u64,
    pub has_topic: bool,
}

pub struct Broker<'a> {
    pub connection: &'a Connection,
    pub admin: Admin,
    pub ask: Duration,
}

impl Broker<'_> {
    /// `group` is that of ingest: what it has committed has its dead letters and will have its rows.
    pub fn held(&self, source: &Source, group: &str, from_us: i64) -> Result<Held, KafkaError> {
        let infos = self.admin.describe(&[&source.topic], self.ask)?;
        let count = infos.iter().filter(|info| info.exists).map(|info| info.partitions).next().unwrap_or(0);
        let partitions: Vec<TopicPartition> =
            (0..count as i32).map(|number| TopicPartition::new(source.topic.as_str(), number)).collect();
        let mut held = Held { from_us: i64::MIN, has_topic: count > 0, ..Held::default() };
        let ends = self.admin.offsets(&partitions, EndOf::LatestCommitted, self.ask)?;
        let firsts = self.admin.offsets(&partitions, EndOf::Earliest, self.ask)?;
        let committed = GroupOffsets::open(self.connection, group)?.committed(&partitions, self.ask)?;
        // A group that was away for long is forgotten whole; one partition alone is new, and nothing of it was read.
        let is_forgotten = committed.iter().all(|(_, committed)| committed.is_none());
        let mut rest = Vec::new();
        let max_ahead_us = source.event_time.max_ahead_us;
        let begin_us = from_us - max_ahead_us;
        let begins = self.admin.offsets_at(&partitions, begin_us.div_euclid(MILLI_US), self.ask)?;
        for ((((partition, end), (_, first)), (_, committed)), (_, begin)) in
            ends.into_iter().zip(firsts).zip(committed).zip(begins)
        {
            let to = match committed {
                Some(committed) => committed.next.min(end),
                None if is_forgotten => end,
                None => first,
            };
            rest.push((partition.clone(), to..end));
            let begin = begin.unwrap_or(to).clamp(first.min(to), to);
            let mut unread_us = if begin == 0 { i64::MIN } else { from_us };
            // What was deleted is older than what is there. Of an empty partition all was, and it says nothing.
            if begin == first
                && first > 0
                && let Some(oldest_us) = self.oldest_us(&partition, first..to)?
            {
                unread_us = oldest_us + max_ahead_us;
                held.from_us = held.from_us.max(floor_to(unread_us + HOUR_US - 1, HOUR_US));
            }
            held.inputs.push(Input { partition, offsets: begin..to, unread_us });
        }
        held.waiting = self.waiting(&rest)?;
        Ok(held)
    }

    /// Records that ingest has still to read, about: a transaction's marker takes an offset too.
    fn waiting(&self, rest: &[(TopicPartition, Range<i64>)]) -> Result<u64, KafkaError> {
        let mut waiting = 0;
        for (stretch, (_, offsets)) in Stretch::open_all(self.connection, rest)?.iter_mut().zip(rest) {
            if stretch.peek(self.ask)?.is_some() {
                waiting += u64::try_from(offsets.end - offsets.start).unwrap_or(0);
            }
        }
        Ok(waiting)
    }

    fn oldest_us(&self, partition: &TopicPartition, offsets: Range<i64>) -> Result<Option<i64>, KafkaError> {
        let mut stretches = Stretch::open_all(self.connection, &[(partition.clone(), offsets)])?;
        let Some(stretch) = stretches.first_mut() else { return Ok(None) };
        let oldest_ms = stretch.peek(self.ask)?.and_then(|record| record.timestamp_ms);
        Ok(oldest_ms.map(|ms| ms.saturating_mul(MILLI_US)))
    }
}
