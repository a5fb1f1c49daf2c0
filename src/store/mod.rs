//! Postgres: the schema, and batches of records stored with their Kafka offsets in one transaction.
//!
//! All of it blocks; it belongs on an OS thread, never inside an async runtime.

mod batch;
mod breaches;
mod connection;
mod dead_letters;
mod error;
mod hourly_table;
mod insert;
mod migrate;
mod months;
mod offsets;
mod query;
mod routes;
mod session;
mod sql;
mod tables;
mod versioned_table;

pub use batch::{Batch, InvalidRecord, OffsetMove, StoredRecord, Written};
pub use error::StoreError;
pub use query::TextRow;
pub use routes::Routes;

use crate::core::rules::Rules;
use connection::Connector;
use session::Session;

/// One connection to one schema. A lost connection is made anew by the next call.
pub struct Store {
    connector: Connector,
    schema: String,
    session: Option<Session>,
}

impl Store {
    /// Connects to `url`, `postgres://user:password@host:5432/database?sslmode=...`. Nothing in the database is
    /// needed yet, nor changed.
    pub fn connect(url: &str, schema: &str) -> Result<Store, StoreError> {
        let connector = Connector::new(url)?;
        let session = Some(Session::new(connector.connect()?));
        Ok(Store { connector, schema: schema.to_owned(), session })
    }

    /// Brings the schema to what this release and `rules` need, and says what was done; nothing when all was there.
    /// Several replicas may do it at once. Tables and columns that left the rules stay.
    pub fn migrate(&mut self, rules: &Rules) -> Result<Vec<String>, StoreError> {
        self.in_session(|session, schema| migrate::migrate(&mut session.client, schema, rules))
    }

    /// The offset from which to read a partition; None when nothing of it has ever been stored.
    pub fn claim(&mut self, topic: &str, partition: i32) -> Result<Option<i64>, StoreError> {
        self.in_session(|session, schema| offsets::next(&mut session.client, schema, topic, partition))
    }

    /// Stores a batch and moves its offsets in one transaction: all of it or, on an error, nothing.
    ///
    /// After `Unavailable` the batch may have been stored all the same (the answer to the commit was lost). Sending
    /// it again as it is does no harm: `Written::already_stored` then says so. After `Fenced`, drop it.
    pub fn write(&mut self, batch: &Batch, routes: &Routes) -> Result<Written, StoreError> {
        self.in_session(|session, schema| session.write(schema, batch, routes))
    }

    /// The newest rows of an hourly table or view, as text.
    pub fn latest_rows(&mut self, table: &str, limit: u32) -> Result<Vec<TextRow>, StoreError> {
        self.in_session(|session, schema| query::latest_rows(&mut session.client, schema, table, limit))
    }

    /// The breach episodes opened last, as text.
    pub fn breaches(&mut self, limit: u32) -> Result<Vec<TextRow>, StoreError> {
        self.in_session(|session, schema| query::breaches(&mut session.client, schema, limit))
    }

    /// Events of each final hour of the week up to the newest in an hourly table, all keys together.
    pub fn hourly_events(&mut self, table: &str) -> Result<Vec<u64>, StoreError> {
        self.in_session(|session, schema| query::hourly_events(&mut session.client, schema, table))
    }

    /// The oldest and the newest hour of an hourly table, in microseconds since 1970; None while it has no row.
    pub fn hour_span(&mut self, table: &str) -> Result<Option<(i64, i64)>, StoreError> {
        self.in_session(|session, schema| query::hour_span(&mut session.client, schema, table))
    }

    /// Hands out the rows of the hour that begins at `hour_us`, one by one, as JSON in the form of output records.
    pub fn rows_of_hour(
        &mut self,
        table: &str,
        hour_us: i64,
        each: impl FnMut(&str),
    ) -> Result<(), StoreError> {
        self.in_session(|session, schema| {
            query::rows_of_hour(&mut session.client, schema, table, hour_us, each)
        })
    }

    fn in_session<T>(
        &mut self,
        act: impl FnOnce(&mut Session, &str) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::new(self.connector.connect()?)),
        };
        let result = act(session, &self.schema);
        // A server that said no may be shutting down or read-only by now: the next call finds out anew.
        if matches!(result, Err(StoreError::Unavailable { .. })) {
            self.session = None;
        }
        result
    }
}
