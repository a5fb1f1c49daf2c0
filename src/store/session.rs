//! One connection with what is known on it, and the transaction that stores a batch.

use std::collections::{BTreeMap, BTreeSet};

use postgres::{Client, IsolationLevel, Transaction};
use serde::Deserialize;

use super::batch::{Batch, InvalidRecord, StoredRecord, Written};
use super::breaches;
use super::dead_letters::{self, Letter};
use super::error::StoreError;
use super::hourly_table::HourlyTable;
use super::insert::{Candidate, Statements, insert};
use super::months::{Month, Months};
use super::offsets::{self, Guard};
use super::routes::{Route, Routes};
use super::versioned_table::VersionedTable;

pub(super) struct Session {
    pub client: Client,
    statements: Statements,
    months: Months,
}

impl Session {
    pub fn new(client: Client) -> Session {
        Session { client, statements: Statements::default(), months: Months::default() }
    }

    pub fn write(&mut self, schema: &str, batch: &Batch, routes: &Routes) -> Result<Written, StoreError> {
        let sorted = Sorted::new(batch, routes);
        for (table, rows) in &sorted.rows {
            self.months.ensure(&mut self.client, schema, table, &rows.months)?;
        }
        // A stale owner must see what the new one committed while it waited for the offsets' rows.
        let isolation = IsolationLevel::ReadCommitted;
        let mut transaction = self.client.build_transaction().isolation_level(isolation).start()?;
        if offsets::guard(&mut transaction, schema, &batch.moves)? == Guard::AlreadyThere {
            return Ok(Written { already_stored: true, ..Written::default() });
        }
        let written = sorted.store(&mut transaction, &mut self.statements, schema, routes)?;
        transaction.commit()?;
        Ok(written)
    }
}

/// A batch by destination. Tables are in order of their names, as every writer visits them.
struct Sorted<'a> {
    rows: BTreeMap<&'a str, Rows<'a>>,
    breaches: Vec<Candidate<'a>>,
    letters: Vec<Letter<'a>>,
    written: Written,
}

struct Rows<'a> {
    table: Table<'a>,
    /// Of the records; none for a table without partitions.
    months: BTreeSet<Month>,
    candidates: Vec<Candidate<'a>>,
}

/// A table whose rows give way to newer versions.
#[derive(Clone, Copy)]
enum Table<'a> {
    Hourly(&'a HourlyTable),
    Versioned(&'static VersionedTable),
}

impl<'a> Table<'a> {
    fn name(self) -> &'a str {
        match self {
            Table::Hourly(table) => &table.name,
            Table::Versioned(table) => table.name,
        }
    }

    fn is_monthly(self) -> bool {
        match self {
            Table::Hourly(_) => true,
            Table::Versioned(table) => table.is_monthly,
        }
    }

    fn upsert(self, schema: &str) -> String {
        match self {
            Table::Hourly(table) => table.upsert(schema),
            Table::Versioned(table) => table.upsert(schema),
        }
    }
}

impl<'a> Sorted<'a> {
    fn new(batch: &'a Batch, routes: &'a Routes) -> Sorted<'a> {
        let written = Written::default();
        let mut sorted = Sorted { rows: BTreeMap::new(), breaches: Vec::new(), letters: Vec::new(), written };
        for record in &batch.records {
            if let Err(invalid) = sorted.add(record, routes) {
                sorted.written.invalid.push(invalid);
            }
        }
        sorted
    }

    fn add(&mut self, record: &'a StoredRecord, routes: &'a Routes) -> Result<(), InvalidRecord> {
        let route = match routes.of(&record.topic) {
            None => {
                self.written.unrouted += 1;
                return Ok(());
            }
            Some(Route::DeadLetters) => {
                // Also without a value: a letter that stands for several records has no bytes of its own.
                self.letters.push(Letter::new(record)?);
                return Ok(());
            }
            Some(route) => route,
        };
        let Some(value) = &record.value else {
            self.written.tombstones += 1;
            return Ok(());
        };
        let json = std::str::from_utf8(value).map_err(|e| record.invalid(format!("not UTF-8: {e}")))?;
        let candidate = Candidate { record, json };
        match route {
            Route::Hourly(table) => self.add_row(Table::Hourly(table), candidate)?,
            Route::Versioned(table) => self.add_row(Table::Versioned(table), candidate)?,
            Route::Breaches => {
                candidate.parse::<Object>()?;
                self.breaches.push(candidate);
            }
            Route::DeadLetters => {}
        }
        Ok(())
    }

    fn add_row(&mut self, table: Table<'a>, candidate: Candidate<'a>) -> Result<(), InvalidRecord> {
        let month = match table.is_monthly() {
            true => candidate.month()?,
            false => candidate.parse::<Object>().map(|Object {}| None)?,
        };
        let rows = self.rows.entry(table.name()).or_insert_with(|| Rows {
            table,
            months: BTreeSet::new(),
            candidates: Vec::new(),
        });
        rows.months.extend(month);
        rows.candidates.push(candidate);
        Ok(())
    }

    fn store(
        self,
        transaction: &mut Transaction<'_>,
        statements: &mut Statements,
        schema: &str,
        routes: &Routes,
    ) -> Result<Written, StoreError> {
        let mut written = self.written;
        for rows in self.rows.values() {
            let upsert = statements.prepared(transaction, &rows.table.upsert(schema))?;
            let refused = written.invalid.len();
            let changed = insert(transaction, &[upsert], &rows.candidates, &mut written.invalid)?;
            let refused = (written.invalid.len() - refused) as u64;
            written.rows += changed;
            written.stale += (rows.candidates.len() as u64).saturating_sub(changed + refused);
        }
        if !self.breaches.is_empty() {
            let events = statements.prepared(transaction, &breaches::insert_events(schema))?;
            let episodes = statements.prepared(transaction, &breaches::upsert_episodes(schema))?;
            written.transitions =
                insert(transaction, &[events, episodes], &self.breaches, &mut written.invalid)?;
        }
        dead_letters::store(transaction, schema, &self.letters, routes.dead_letter_samples)?;
        written.dead_letters = self.letters.len() as u64;
        Ok(written)
    }
}

/// Any JSON object; only its being one matters.
#[derive(Deserialize)]
struct Object {}

/// All that must be known of a row before Postgres reads it.
#[derive(Deserialize)]
struct Head {
    bucket_start: String,
}

impl<'a> Candidate<'a> {
    fn parse<T: Deserialize<'a>>(&self) -> Result<T, InvalidRecord> {
        serde_json::from_str(self.json).map_err(|error| self.record.invalid(error.to_string()))
    }

    fn month(&self) -> Result<Option<Month>, InvalidRecord> {
        let text = self.parse::<Head>()?.bucket_start;
        let at =
            text.parse().map_err(|error| self.record.invalid(format!("bucket_start {text}: {error}")))?;
        Ok(Month::of(at))
    }
}
