//! Rows as they are written down: a topic of records, a table's rows as JSON.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::core::time::{HOUR_US, MILLI_US};
use crate::kafka::{Admin, Connection, EndOf, KafkaError, Record, TopicPartition, read_to_end};

use super::difference::{Difference, Differences};
use super::place::{Place, RowKey, Table};

/// A row is written after its hour began, and clocks differ by less.
const BEFORE_US: i64 = 24 * HOUR_US;

/// Reads what an hourly topic says of hours from `from_us` on.
pub fn read(
    connection: &Connection,
    admin: &Admin,
    topic: &str,
    ask: Duration,
    place: &mut Place<'_>,
    from_us: i64,
    differences: &mut Differences,
) -> Result<(), KafkaError> {
    let firsts = beginnings(admin, topic, ask)?;
    let partitions: Vec<TopicPartition> = firsts.iter().map(|(partition, _)| partition.clone()).collect();
    let begins = admin.offsets_at(&partitions, (from_us - BEFORE_US).div_euclid(MILLI_US), ask)?;
    let both = firsts.into_iter().zip(begins);
    let starts = both.filter_map(|((partition, first), (_, begin))| Some((partition, begin?.max(first))));
    let starts: Vec<(TopicPartition, i64)> = starts.collect();
    read_to_end(connection, admin, &starts, ask, |record| {
        if let Err((expected, found)) = take_record(place, &record) {
            differences.push(Difference {
                place: format!("{topic}[{}], offset {}", record.partition, record.offset),
                row: String::new(),
                column: "record".to_owned(),
                expected: expected.to_owned(),
                found,
            });
        }
    })
}

/// The first offset of each partition.
pub fn beginnings(
    admin: &Admin,
    topic: &str,
    ask: Duration,
) -> Result<Vec<(TopicPartition, i64)>, KafkaError> {
    let count = admin.describe(&[topic], ask)?.first().map_or(0, |info| info.partitions);
    let partitions: Vec<TopicPartition> =
        (0..count as i32).map(|number| TopicPartition::new(topic, number)).collect();
    admin.offsets(&partitions, EndOf::Earliest, ask)
}

/// What was expected, and what was found.
type Wrong = (&'static str, String);

fn take_record(place: &mut Place<'_>, record: &Record<'_>) -> Result<(), Wrong> {
    let key = record.key.unwrap_or_default();
    let (hour_us, row) = parse_key(key)
        .ok_or_else(|| ("a key of columns and an hour", String::from_utf8_lossy(key).into_owned()))?;
    let Some(payload) = record.payload else {
        place.drop(hour_us, &row);
        return Ok(());
    };
    let value: Map<String, Json> =
        serde_json::from_slice(payload).map_err(|error| ("a row as JSON", error.to_string()))?;
    place.take(hour_us, row, &value);
    Ok(())
}

/// `[key column ..., hour]`, and the shard of a row for keys beyond the limit.
fn parse_key(key: &[u8]) -> Option<(i64, RowKey)> {
    let mut parts: Vec<Json> = serde_json::from_slice(key).ok()?;
    let shard = match parts.last() {
        Some(Json::Number(shard)) => {
            let shard = shard.as_i64()?;
            parts.pop();
            shard
        }
        _ => -1,
    };
    let hour: jiff::Timestamp = parts.pop()?.as_str()?.parse().ok()?;
    let columns = parts.iter().map(|part| Some(part.as_str()?.to_owned())).collect::<Option<Vec<_>>>()?;
    Some((hour.as_microsecond(), (columns, shard)))
}

/// A row of Postgres as JSON.
pub fn take_row(place: &mut Place<'_>, table: Table<'_>, hour_us: i64, row: &str) -> Result<(), Difference> {
    let wrong = |found: String| Difference {
        place: table.rollup.table.clone(),
        row: String::new(),
        column: "row".to_owned(),
        expected: "a row with its key".to_owned(),
        found,
    };
    let value: Map<String, Json> = serde_json::from_str(row).map_err(|error| wrong(error.to_string()))?;
    let text = |slot: &usize| Some(value.get(&table.source.fields[*slot].name)?.as_str()?.to_owned());
    let columns = table.rollup.by.iter().map(text).collect::<Option<Vec<_>>>();
    let shard = value.get("shard").and_then(Json::as_i64);
    let (Some(columns), Some(shard)) = (columns, shard) else { return Err(wrong(row.to_owned())) };
    place.take(hour_us, (columns, shard), &value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_with_their_hour_and_maybe_a_shard() {
        let hour_us = 1_761_876_000_000_000;
        let of = |key: &str| parse_key(key.as_bytes());
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(of(r#"["2025-10-31T02:00:00.000000Z"]"#), Some((hour_us, (columns(&[]), -1))));
        let other = of(r#"["_OTHER","2025-10-31T02:00:00.000000Z",3]"#);
        assert_eq!(other, Some((hour_us, (columns(&["_OTHER"]), 3))));
        assert_eq!((of("[]"), of("{}"), of(r#"["a",1]"#)), (None, None, None));
    }
}
