//! A model of Postgres as the store uses it: rows give way to newer versions, transitions count once, and offsets move
//! in the same transaction, if they stand where the writer believes.

use std::collections::BTreeMap;

use plimsoll::wire::output::OutputRecord;
use serde_json::Value;

pub struct Database {
    offsets: BTreeMap<i32, i64>,
    /// By topic and key.
    pub rows: BTreeMap<(String, Vec<u8>), Value>,
    /// By alert key, opening and revision.
    pub transitions: BTreeMap<(String, String, u64), Value>,
    guarded: bool,
}

/// What one partition gives to a batch.
#[derive(Clone, Debug)]
pub struct Part {
    pub partition: i32,
    pub expected: Option<i64>,
    pub next: i64,
    pub records: Vec<OutputRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Stored,
    AlreadyThere,
    Fenced,
}

impl Database {
    /// Without its guard it takes whatever a store writes.
    pub fn new(guarded: bool) -> Database {
        Database { offsets: BTreeMap::new(), rows: BTreeMap::new(), transitions: BTreeMap::new(), guarded }
    }

    pub fn next(&self, partition: i32) -> Option<i64> {
        self.offsets.get(&partition).copied()
    }

    /// Stores all of a batch or nothing.
    ///
    /// # Errors
    /// What no database should ever see.
    pub fn write(&mut self, batch: &[Part]) -> Result<Written, String> {
        if batch.iter().all(|part| self.next(part.partition) == Some(part.next)) {
            return Ok(Written::AlreadyThere);
        }
        if self.guarded && batch.iter().any(|part| self.next(part.partition) != part.expected) {
            return Ok(Written::Fenced);
        }
        for part in batch {
            if self.offsets.insert(part.partition, part.next).is_some_and(|before| before > part.next) {
                return Err(format!(
                    "P5: stored offsets of partition {} went back to {}",
                    part.partition, part.next
                ));
            }
            part.records.iter().try_for_each(|record| self.store(record))?;
        }
        Ok(Written::Stored)
    }

    fn store(&mut self, record: &OutputRecord) -> Result<(), String> {
        let value: Value = serde_json::from_slice(&record.value).expect("outputs are JSON");
        if &*record.topic == "breaches" {
            let text = |field: &str| value[field].as_str().expect("text").to_owned();
            let revision = value["revision"].as_u64().expect("a revision");
            self.transitions.entry((text("alert_key"), text("opened_at"), revision)).or_insert(value);
            return Ok(());
        }
        let row = self.rows.entry((record.topic.to_string(), record.key.clone()));
        let row = row.or_insert_with(|| Value::Null);
        let version = |row: &Value| row["version"].as_i64();
        if row.is_null() || version(row) < version(&value) {
            if row["is_final"] == true && value["is_final"] == false {
                return Err(format!("P5: what was final is not any more: {row} then {value}"));
            }
            *row = value;
        }
        Ok(())
    }
}
