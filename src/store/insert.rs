//! Records into tables, many at once, past the few that Postgres refuses.

use std::collections::HashMap;

use postgres::{Statement, Transaction};

use super::batch::{InvalidRecord, StoredRecord};
use super::error::{StoreError, describe, refuses_data};

/// Bounds of one statement: what a bad record makes Postgres do again, and its memory.
const CHUNK_RECORDS: usize = 2_000;
const CHUNK_BYTES: usize = 4 << 20;

/// A record whose value is JSON, as far as can be seen from here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub record: &'a StoredRecord,
    pub json: &'a str,
}

/// Prepared statements by their text; they live as long as the connection.
#[derive(Default)]
pub(super) struct Statements(HashMap<String, Statement>);

impl Statements {
    pub fn prepared(
        &mut self,
        transaction: &mut Transaction<'_>,
        text: &str,
    ) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.0.get(text) {
            return Ok(statement.clone());
        }
        let statement = transaction.prepare(text)?;
        self.0.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// Runs `statements`, each with the JSON array of values as `$1`, over all candidates; returns how many rows the
/// first of them changed. A record that is refused for itself lands in `invalid` and the others are stored.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    statements: &[Statement],
    candidates: &[Candidate<'_>],
    invalid: &mut Vec<InvalidRecord>,
) -> Result<u64, StoreError> {
    let mut changed = 0;
    let mut rest = candidates;
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(chunk_length(rest));
        changed += insert_or_split(transaction, statements, chunk, invalid)?;
        rest = more;
    }
    Ok(changed)
}

fn chunk_length(candidates: &[Candidate<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |candidate: &&Candidate<'_>| {
        bytes += candidate.json.len();
        bytes <= CHUNK_BYTES
    };
    candidates.iter().take(CHUNK_RECORDS).take_while(fits).count().max(1)
}

/// Halves what is refused until the culprits stand alone.
fn insert_or_split(
    transaction: &mut Transaction<'_>,
    statements: &[Statement],
    candidates: &[Candidate<'_>],
    invalid: &mut Vec<InvalidRecord>,
) -> Result<u64, StoreError> {
    let mut savepoint = transaction.transaction()?;
    let error = match run(&mut savepoint, statements, candidates) {
        Ok(changed) => {
            savepoint.commit()?;
            return Ok(changed);
        }
        Err(error) if refuses_data(&error) => error,
        Err(error) => return Err(error.into()),
    };
    savepoint.rollback()?;
    if let [candidate] = candidates {
        invalid.push(candidate.record.invalid(describe(&error)));
        return Ok(0);
    }
    let (first, second) = candidates.split_at(candidates.len() / 2);
    let changed = insert_or_split(transaction, statements, first, invalid)?;
    Ok(changed + insert_or_split(transaction, statements, second, invalid)?)
}

fn run(
    transaction: &mut Transaction<'_>,
    statements: &[Statement],
    candidates: &[Candidate<'_>],
) -> Result<u64, postgres::Error> {
    let array = json_array(candidates);
    let mut changed = Vec::with_capacity(statements.len());
    for statement in statements {
        changed.push(transaction.execute(statement, &[&array])?);
    }
    Ok(changed.first().copied().unwrap_or(0))
}

fn json_array(candidates: &[Candidate<'_>]) -> String {
    let bytes: usize = candidates.iter().map(|candidate| candidate.json.len() + 1).sum();
    let mut array = String::with_capacity(bytes + 1);
    for candidate in candidates {
        array.push(if array.is_empty() { '[' } else { ',' });
        array.push_str(candidate.json);
    }
    array.push(']');
    array
}
