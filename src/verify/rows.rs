//! The rows of the hourly tables as they should be.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json, json};

use crate::core::source::{Rollup, Source};
use crate::core::time::{HOUR_US, floor_to, rfc3339};

use super::figure::{Figure, Happened};

/// All columns of one key and hour.
#[derive(Clone, Debug)]
pub struct Row {
    pub events: u64,
    pub late: u64,
    figures: Vec<Figure>,
}

/// The keys of one hour.
#[derive(Debug, Default)]
pub struct Hour {
    pub rows: HashMap<Vec<String>, Row>,
    /// Of all keys beyond those that a table may have, so that a flood of keys takes no memory here either.
    pub rest: Option<Row>,
}

/// One table.
#[derive(Debug)]
pub struct Rows {
    pub hours: BTreeMap<i64, Hour>,
    /// Keys of an hour that are told apart.
    most_keys: usize,
}

impl Row {
    fn empty(rollup: &Rollup) -> Row {
        let figures = rollup.columns.iter().map(|column| Figure::empty(&column.aggregate)).collect();
        Row { events: 0, late: 0, figures }
    }

    fn add(&mut self, rollup: &Rollup, happened: &Happened<'_>, late: bool) {
        self.events += 1;
        self.late += u64::from(late);
        for (figure, column) in self.figures.iter_mut().zip(&rollup.columns) {
            figure.add(&column.aggregate, happened);
        }
    }

    pub fn merge(&mut self, other: Row) {
        self.events += other.events;
        self.late += other.late;
        self.figures.iter_mut().zip(other.figures).for_each(|(figure, other)| figure.merge(other));
    }

    /// The row as an output record has it, without the columns of passage.
    pub fn columns(
        &self,
        source: &Source,
        rollup: &Rollup,
        key: &[String],
        hour_us: i64,
    ) -> Map<String, Json> {
        let mut columns = Map::new();
        for (slot, value) in rollup.by.iter().zip(key) {
            columns.insert(source.fields[*slot].name.clone(), json!(value));
        }
        columns.insert("bucket_start".to_owned(), rfc3339(hour_us).into());
        columns.insert("event_count".to_owned(), self.events.into());
        columns.insert("late_count".to_owned(), self.late.into());
        for (figure, column) in self.figures.iter().zip(&rollup.columns) {
            figure.write(source, column, &mut columns);
        }
        columns
    }
}

impl Hour {
    /// The row of a key, or that of all keys for which there is no room.
    fn row(&mut self, key: Vec<String>, most_keys: usize, empty: impl FnOnce() -> Row) -> &mut Row {
        if self.rows.len() >= most_keys && !self.rows.contains_key(&key) {
            return self.rest.get_or_insert_with(empty);
        }
        self.rows.entry(key).or_insert_with(empty)
    }
}

impl Rows {
    /// `shards` each keep as many keys as the rollup's limit says.
    pub fn new(rollup: &Rollup, shards: u32) -> Rows {
        let most_keys = (rollup.limit as usize).saturating_mul(shards as usize).max(1);
        Rows { hours: BTreeMap::new(), most_keys }
    }

    pub fn add(&mut self, rollup: &Rollup, happened: &Happened<'_>, late: bool) {
        let text = |slot: &usize| happened.event[*slot].text().unwrap_or_default().into_owned();
        let key = rollup.by.iter().map(text).collect();
        let hour = self.hours.entry(floor_to(happened.at_us, HOUR_US)).or_default();
        hour.row(key, self.most_keys, || Row::empty(rollup)).add(rollup, happened, late);
    }

    pub fn merge(&mut self, rollup: &Rollup, other: Rows) {
        for (hour_us, Hour { rows, rest }) in other.hours {
            let hour = self.hours.entry(hour_us).or_default();
            for (key, row) in rows {
                hour.row(key, self.most_keys, || Row::empty(rollup)).merge(row);
            }
            if let Some(rest) = rest {
                hour.rest.get_or_insert_with(|| Row::empty(rollup)).merge(rest);
            }
        }
    }
}
