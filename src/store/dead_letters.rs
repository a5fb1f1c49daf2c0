//! Dead letters: counted by topic, reason and hour, and a bounded sample kept.

use std::collections::{BTreeMap, HashMap};

use postgres::Transaction;

use crate::core::time::{HOUR_US, MILLI_US, floor_to};
use crate::wire::dead_letter::ORIGINAL_BYTES;

use super::batch::{InvalidRecord, StoredRecord};
use super::error::StoreError;
use super::sql::ident;

/// Longest detail kept, in characters.
const DETAIL_CHARS: usize = 1_000;
/// Most bytes kept of a key or value; the topic has more.
const SAMPLE_BYTES: usize = 64 << 10;
/// The last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// A record of the dead-letter topic.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    record: &'a StoredRecord,
    group: Group,
    partition: Option<i32>,
    offset: Option<i64>,
    /// Of the original value; a letter has only the beginning of a large one.
    value_bytes: i64,
    detail: String,
}

/// What dead letters are counted by; ordered as their rows are locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Group {
    topic: String,
    reason: String,
    hour_us: i64,
}

impl<'a> Letter<'a> {
    pub fn new(record: &'a StoredRecord) -> Result<Letter<'a>, InvalidRecord> {
        let required = |name: &str| {
            let missing = || record.invalid(format!("a dead letter without the header `{name}`"));
            text_header(record, name).filter(|text| !text.is_empty()).ok_or_else(missing)
        };
        if !(0..=LAST_MS).contains(&record.timestamp_ms) {
            return Err(
                record.invalid(format!("its timestamp, {} ms, is not in 1970 to 9999", record.timestamp_ms))
            );
        }
        let group = Group {
            topic: required("topic")?,
            reason: required("reason")?,
            hour_us: floor_to(record.timestamp_ms * MILLI_US, HOUR_US),
        };
        // A letter that a shard wrote stands for several records and has neither.
        let partition = text_header(record, "partition").and_then(|text| text.parse().ok());
        let offset = text_header(record, "offset").and_then(|text| text.parse().ok());
        let detail = text_header(record, "detail").unwrap_or_default().chars().take(DETAIL_CHARS).collect();
        let told = text_header(record, ORIGINAL_BYTES).and_then(|text| text.parse().ok());
        let here = || i64::try_from(record.value.as_ref().map_or(0, Vec::len)).unwrap_or(i64::MAX);
        let value_bytes = told.unwrap_or_else(here);
        Ok(Letter { record, group, partition, offset, value_bytes, detail })
    }
}

/// Postgres has no text with a zero byte.
fn text_header(record: &StoredRecord, name: &str) -> Option<String> {
    record.header(name).map(|bytes| String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}"))
}

/// Counts all letters and keeps the first `samples` of each group.
pub(super) fn store(
    transaction: &mut Transaction<'_>,
    schema: &str,
    letters: &[Letter<'_>],
    samples: u32,
) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut added: BTreeMap<&Group, i64> = BTreeMap::new();
    for letter in letters {
        *added.entry(&letter.group).or_default() += 1;
    }
    let mut room = count(transaction, schema, &added, samples)?;
    let kept: Vec<&Letter<'_>> = letters
        .iter()
        .filter(|letter| match room.get_mut(&letter.group) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
        .collect();
    keep(transaction, schema, &kept)
}

/// Adds to the counts, in order so that two writers cannot deadlock; returns how many samples each group may still
/// take. The row's lock makes that exact among several writers.
fn count(
    transaction: &mut Transaction<'_>,
    schema: &str,
    added: &BTreeMap<&Group, i64>,
    samples: u32,
) -> Result<HashMap<Group, i64>, StoreError> {
    let statement = format!(
        "INSERT INTO {}.dead_letter_hourly AS t (topic, reason, bucket_start, count) \
         SELECT topic, reason, timestamptz 'epoch' + hour_us * interval '1 microsecond', n \
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY \
           AS x(topic, reason, hour_us, n, i) ORDER BY i \
         ON CONFLICT (topic, reason, bucket_start) DO UPDATE SET count = t.count + excluded.count, updated_at = now() \
         RETURNING topic, reason, (extract(epoch FROM bucket_start) * 1000000)::bigint, count",
        ident(schema)
    );
    let topics: Vec<&str> = added.keys().map(|group| group.topic.as_str()).collect();
    let reasons: Vec<&str> = added.keys().map(|group| group.reason.as_str()).collect();
    let hours: Vec<i64> = added.keys().map(|group| group.hour_us).collect();
    let counts: Vec<i64> = added.values().copied().collect();
    let rows = transaction.query(&statement, &[&topics, &reasons, &hours, &counts])?;
    let room = |row: &postgres::Row| {
        let group = Group { topic: row.get(0), reason: row.get(1), hour_us: row.get(2) };
        let before = row.get::<_, i64>(3) - added.get(&group).copied().unwrap_or(0);
        (group, i64::from(samples) - before)
    };
    Ok(rows.iter().map(room).collect())
}

fn keep(transaction: &mut Transaction<'_>, schema: &str, letters: &[&Letter<'_>]) -> Result<(), StoreError> {
    let Some(newest_ms) = letters.iter().map(|letter| letter.record.timestamp_ms).max() else {
        return Ok(());
    };
    let schema = ident(schema);
    let insert = format!(
        "INSERT INTO {schema}.dead_letter \
           (letter_partition, letter_offset, topic, partition, \"offset\", reason, detail, kafka_time, key, value, \
            value_bytes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, timestamptz 'epoch' + $8::bigint * interval '1 millisecond', \
           $9, $10, $11) \
         ON CONFLICT DO NOTHING"
    );
    let insert = transaction.prepare(&insert)?;
    for letter in letters {
        let record = letter.record;
        let value = record.value.as_deref().unwrap_or_default();
        transaction.execute(
            &insert,
            &[
                &record.partition,
                &record.offset,
                &letter.group.topic,
                &letter.partition,
                &letter.offset,
                &letter.group.reason,
                &letter.detail,
                &record.timestamp_ms,
                &cut(&record.key),
                &cut(value),
                &letter.value_bytes,
            ],
        )?;
    }
    // The topic keeps its records for 14 days; so do the samples.
    let expire = format!(
        "DELETE FROM {schema}.dead_letter \
         WHERE kafka_time < timestamptz 'epoch' + $1::bigint * interval '1 millisecond' - interval '14 days'"
    );
    transaction.execute(&expire, &[&newest_ms])?;
    Ok(())
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(SAMPLE_BYTES)]
}
