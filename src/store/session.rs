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
        for (table, rows) in &sorted.hourly {
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
    hourly: BTreeMap<&'a str, HourlyRows<'a>>,
    breaches: Vec<Candidate<'a>>,
    letters: Vec<Letter<'a>>,
    written: Written,
}

struct HourlyRows<'a> {
    table: &'a HourlyTable,
    months: BTreeSet<Month>,
    candidates: Vec<Candidate<'a>>,
}

impl<'a> Sorted<'a> {
    fn new(batch: &'a Batch, routes: &'a Routes) -> Sorted<'a> {
        let written = Written::default();
        let mut sorted =
            Sorted { hourly: BTreeMap::new(), breaches: Vec::new(), letters: Vec::new(), written };
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
            Route::Hourly(table) => {
                let month = candidate.month()?;
                let rows = self.hourly.entry(&table.name).or_insert_with(|| HourlyRows {
                    table,
                    months: BTreeSet::new(),
                    candidates: Vec::new(),
                });
                rows.months.extend(month);
                rows.candidates.push(candidate);
            }
            Route::Breaches => {
                candidate.parse::<Object>()?;
                self.breaches.push(candidate);
            }
            Route::DeadLetters => {}
        }
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
        for rows in self.hourly.values() {
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
