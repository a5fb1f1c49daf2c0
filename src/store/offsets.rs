//! Kafka offsets inside the database, moved together with the rows they stand for.

use postgres::{Client, Transaction};

use super::batch::OffsetMove;
use super::error::StoreError;
use super::sql::ident;

/// The next offset of one partition; None when nothing of it has been stored.
pub(super) fn next(
    client: &mut Client,
    schema: &str,
    topic: &str,
    partition: i32,
) -> Result<Option<i64>, StoreError> {
    let query =
        format!("SELECT next_offset FROM {}.kafka_offset WHERE topic = $1 AND partition = $2", ident(schema));
    Ok(client.query_opt(&query, &[&topic, &partition])?.map(|row| row.get(0)))
}

/// What the guard found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    Moved,
    /// Every partition stands at the batch's end already.
    AlreadyThere,
}

/// Moves all offsets of a batch, or fails with `Fenced` when a partition does not stand where the writer believes.
/// The rows are locked until the transaction ends, so a stale owner and a new one take turns.
pub(super) fn guard(
    transaction: &mut Transaction<'_>,
    schema: &str,
    moves: &[OffsetMove],
) -> Result<Guard, StoreError> {
    if moves.is_empty() {
        return Ok(Guard::Moved);
    }
    let found = lock(transaction, schema, moves)?;
    if moves.iter().zip(&found).all(|(wanted, found)| *found == Some(wanted.next)) {
        return Ok(Guard::AlreadyThere);
    }
    for (wanted, found) in moves.iter().zip(&found) {
        if *found != wanted.expected || wanted.expected.is_some_and(|expected| expected > wanted.next) {
            return Err(fenced(wanted, *found));
        }
    }
    set(transaction, schema, moves)?;
    Ok(Guard::Moved)
}

/// The stored offsets, parallel to `moves`.
fn lock(
    transaction: &mut Transaction<'_>,
    schema: &str,
    moves: &[OffsetMove],
) -> Result<Vec<Option<i64>>, StoreError> {
    let (topics, partitions) = names(moves);
    let query = format!(
        "SELECT topic, partition, next_offset FROM {}.kafka_offset \
         WHERE (topic, partition) IN (SELECT * FROM unnest($1::text[], $2::int[])) \
         ORDER BY topic, partition FOR UPDATE",
        ident(schema)
    );
    let rows = transaction.query(&query, &[&topics, &partitions])?;
    let stored: std::collections::HashMap<(String, i32), i64> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    Ok(moves.iter().map(|m| stored.get(&(m.topic.clone(), m.partition)).copied()).collect())
}

fn set(transaction: &mut Transaction<'_>, schema: &str, moves: &[OffsetMove]) -> Result<(), StoreError> {
    let (old, new): (Vec<&OffsetMove>, Vec<&OffsetMove>) = moves.iter().partition(|m| m.expected.is_some());
    let arrays = "unnest($1::text[], $2::int[], $3::bigint[]) AS m(topic, partition, next)";
    let schema = ident(schema);
    let update = format!(
        "UPDATE {schema}.kafka_offset o SET next_offset = m.next, updated_at = now() FROM {arrays} \
         WHERE o.topic = m.topic AND o.partition = m.partition"
    );
    // In order, so that two first writers wait for each other instead of deadlocking.
    let insert = format!(
        "INSERT INTO {schema}.kafka_offset (topic, partition, next_offset) SELECT * FROM {arrays} \
         ORDER BY topic, partition ON CONFLICT DO NOTHING"
    );
    for (statement, moves) in [(update, old), (insert, new)] {
        let Some(first) = moves.first() else { continue };
        let (topics, partitions) = names(moves.iter().copied());
        let next: Vec<i64> = moves.iter().map(|m| m.next).collect();
        let changed = transaction.execute(&statement, &[&topics, &partitions, &next])?;
        if changed != moves.len() as u64 {
            // Another writer has inserted one of them since the rows were locked.
            return Err(fenced(first, None));
        }
    }
    Ok(())
}

fn names<'a>(moves: impl IntoIterator<Item = &'a OffsetMove>) -> (Vec<&'a str>, Vec<i32>) {
    moves.into_iter().map(|m| (m.topic.as_str(), m.partition)).unzip()
}

fn fenced(wanted: &OffsetMove, found: Option<i64>) -> StoreError {
    StoreError::Fenced {
        topic: wanted.topic.clone(),
        partition: wanted.partition,
        expected: wanted.expected,
        found,
    }
}
