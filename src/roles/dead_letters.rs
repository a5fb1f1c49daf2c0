//! Records that are no events, held by an ingest worker until the flush that tells of them.

use super::ASK;
use crate::config::settings::TopicSettings;
use crate::core::event::{Invalid, Reason};
use crate::core::source::Source;
use crate::kafka::{
    Admin, CommitError, KafkaError, RECORD_MAX_BYTES, Record, TransactionalWriter, WriterRecord,
};
use crate::wire::dead_letter::{self, Kept};

/// Held before a flush, in bytes of keys and values.
const FULL_BYTES: usize = 4 << 20;
/// What a topic takes that says nothing else, in bytes of a whole batch.
const DEFAULT_MAX_BYTES: usize = 1_048_588;
/// Of these, what a letter's headers and the batch around it need at most.
const ENVELOPE_BYTES: usize = 4_096;

pub struct DeadLetters {
    topic: String,
    /// Most bytes of key and value in one letter.
    room_bytes: usize,
    held: Vec<DeadLetter>,
    held_bytes: usize,
}

struct DeadLetter {
    source: u16,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    kept: Kept,
    invalid: Invalid,
}

impl DeadLetters {
    /// Asks the topic how large a record it takes.
    pub fn open(admin: &Admin, topics: &TopicSettings) -> Result<DeadLetters, KafkaError> {
        let topic = topics.full_name(&topics.dead_letters);
        let config = admin.config(&[&topic], ASK)?;
        let max_bytes = config.first().and_then(|config| config.get("max.message.bytes")?.parse().ok());
        let room_bytes = room(max_bytes.unwrap_or(DEFAULT_MAX_BYTES));
        Ok(DeadLetters { topic, room_bytes, held: Vec::new(), held_bytes: 0 })
    }

    pub fn hold(&mut self, source: u16, record: &Record<'_>, invalid: Invalid) {
        let kept = Kept::of(record.key, record.payload, self.room_bytes);
        self.held_bytes += kept.bytes();
        let Record { partition, offset, timestamp_ms, .. } = *record;
        self.held.push(DeadLetter { source, partition, offset, timestamp_ms, kept, invalid });
    }

    /// Whether the next flush must not wait.
    pub fn is_full(&self) -> bool {
        self.held_bytes >= FULL_BYTES
    }

    /// Into the open transaction. They stay until they are forgotten.
    pub fn send(&self, writer: &mut TransactionalWriter, sources: &[Source]) -> Result<(), CommitError> {
        for letter in &self.held {
            let DeadLetter { partition, offset, timestamp_ms, kept, invalid, .. } = letter;
            let topic = &sources[usize::from(letter.source)].topic;
            let mut headers = dead_letter::headers(topic, *partition, *offset, *timestamp_ms, invalid);
            headers.extend(kept.headers());
            let headers: Vec<(&str, &[u8])> =
                headers.iter().map(|(name, text)| (*name, text.as_slice())).collect();
            writer.send(WriterRecord {
                topic: &self.topic,
                key: kept.key.as_deref(),
                payload: kept.value.as_deref(),
                headers: &headers,
                ..WriterRecord::default()
            })?;
        }
        Ok(())
    }

    /// Source and reason of each, for the counters.
    pub fn reasons(&self) -> impl Iterator<Item = (u16, Reason)> {
        self.held.iter().map(|letter| (letter.source, letter.invalid.reason))
    }

    pub fn forget(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }
}

/// For key and value, of what a record may have.
fn room(max_bytes: usize) -> usize {
    max_bytes.min(RECORD_MAX_BYTES).saturating_sub(ENVELOPE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_never_larger_than_the_topic_or_the_client_takes() {
        assert_eq!(room(DEFAULT_MAX_BYTES), 1_044_492);
        assert_eq!(room(100 << 20), RECORD_MAX_BYTES - ENVELOPE_BYTES);
        assert_eq!(room(1_000), 0);
    }
}
