//! The dead letters that were written, by where their records stood.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;

use crate::core::time::rfc3339;
use crate::kafka::{Admin, Connection, KafkaError, Record, read_to_end};

use super::difference::{Difference, Differences};
use super::moment::rfc3339_us;
use super::offsets::Offsets;
use super::topic::beginnings;

/// Letters of one source partition.
#[derive(Debug, Default)]
pub struct PartitionLetters {
    all: Offsets,
    by_reason: BTreeMap<String, Offsets>,
    /// Written before the time that their records carry: only the wall clock of ingest could judge those.
    by_wall_clock: Offsets,
}

/// What became of a record, by its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter<'a> {
    None,
    Of(&'a str),
}

#[derive(Debug, Default)]
pub struct Letters {
    partitions: BTreeMap<(String, i32), PartitionLetters>,
    /// Events that met an hour already gone, by table, hour and key.
    pub gone: BTreeMap<(String, i64, Vec<String>), u64>,
    pub count: u64,
}

/// What a shard says of events for which there was no row any more.
#[derive(Deserialize)]
struct HourGone {
    table: String,
    key: Vec<String>,
    bucket_start: String,
    event_count: u64,
}

impl PartitionLetters {
    pub fn of(&self, offset: i64) -> Letter<'_> {
        if !self.all.contains(offset) {
            return Letter::None;
        }
        let reason = self.by_reason.iter().find(|(_, offsets)| offsets.contains(offset));
        reason.map_or(Letter::None, |(reason, _)| Letter::Of(reason))
    }

    /// The wall clock of ingest may have found the event too far ahead though its own timestamp does not.
    pub fn is_by_wall_clock(&self, offset: i64) -> bool {
        self.by_wall_clock.contains(offset)
    }

    pub fn count(&self, range: Range<i64>) -> u64 {
        self.all.count(range)
    }
}

impl Letters {
    /// Reads the whole topic. Two letters of one record are a difference.
    pub fn read(
        connection: &Connection,
        admin: &Admin,
        topic: &str,
        ask: Duration,
        differences: &mut Differences,
    ) -> Result<Letters, KafkaError> {
        let mut letters = Letters::default();
        read_to_end(connection, admin, &beginnings(admin, topic, ask)?, ask, |record| {
            if let Err(wrong) = letters.add(&record) {
                differences.push(Difference {
                    place: format!("{topic}[{}], offset {}", record.partition, record.offset),
                    row: String::new(),
                    column: "letter".to_owned(),
                    expected: "one letter of one record".to_owned(),
                    found: wrong,
                });
            }
        })?;
        Ok(letters)
    }

    fn add(&mut self, record: &Record<'_>) -> Result<(), String> {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in record.headers() {
            headers.insert(name.to_owned(), String::from_utf8_lossy(value.unwrap_or_default()).into_owned());
        }
        let text = |name: &str| headers.get(name).ok_or_else(|| format!("no header `{name}`"));
        let number = |name: &str| {
            let text = text(name)?;
            text.parse::<i64>().map_err(|_| format!("the header `{name}` is {text}"))
        };
        let reason = text("reason")?;
        self.count += 1;
        if reason == "HOUR_GONE" {
            let gone: HourGone = serde_json::from_slice(record.payload.unwrap_or_default())
                .map_err(|error| format!("no events of an hour that is gone: {error}"))?;
            let hour_us = rfc3339_us(&gone.bucket_start)
                .ok_or_else(|| format!("bucket_start is {}", gone.bucket_start))?;
            let identity = (gone.table, hour_us, gone.key);
            *self.gone.entry(identity).or_default() += gone.event_count;
            return Ok(());
        }
        let topic = text("topic")?.clone();
        let (partition, offset) = (number("partition")?, number("offset")?);
        let number_of = i32::try_from(partition).map_err(|_| format!("partition {partition}"))?;
        let of_partition = self.partitions.entry((topic.clone(), number_of)).or_default();
        if !of_partition.all.insert(offset) {
            return Err(format!("a second letter of {topic}[{partition}], offset {offset}: {reason}"));
        }
        if reason == "TOO_FAR_AHEAD" && number("timestamp_ms").ok() > record.timestamp_ms {
            of_partition.by_wall_clock.insert(offset);
        }
        of_partition.by_reason.entry(reason.clone()).or_default().insert(offset);
        Ok(())
    }

    pub fn of(&self, topic: &str, partition: i32) -> Option<&PartitionLetters> {
        self.partitions.get(&(topic.to_owned(), partition))
    }

    /// Events of a row that have a letter instead.
    pub fn gone_from(&self, table: &str, hour_us: i64, key: &[String]) -> u64 {
        self.gone.get(&(table.to_owned(), hour_us, key.to_vec())).copied().unwrap_or(0)
    }
}

/// A record as differences name it.
pub fn record_name(topic: &str, partition: i32, offset: i64, timestamp_us: i64) -> String {
    format!("{topic}[{partition}], offset {offset}, of {}", rfc3339(timestamp_us))
}

impl fmt::Display for Letter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Letter::None => f.write_str("none"),
            Letter::Of(reason) => f.write_str(reason),
        }
    }
}
