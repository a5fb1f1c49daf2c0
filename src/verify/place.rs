//! The rows of one table as one place has them, beside those that should be there.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value as Json};

use crate::core::source::{Aggregate, Rollup, Source};
use crate::core::time::{HOUR_US, rfc3339};

use super::difference::{Difference, Differences};
use super::figure::{OTHER, additive};
use super::letters::Letters;
use super::rows::{Hour, Row, Rows};

/// Differing columns kept of one row, and rows of which any are kept.
const MOST_COLUMNS: usize = 5;
const MOST_ROWS: usize = 1_000;

/// A table that was recomputed.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    pub source: &'a Source,
    pub rollup: &'a Rollup,
    pub rows: &'a Rows,
    pub letters: &'a Letters,
    pub hours: &'a Range<i64>,
}

/// What one place says of a table. Rows are judged as they come; no row is kept.
pub struct Place<'a> {
    table: Table<'a>,
    name: String,
    /// Columns whose sum over all keys of an hour does not depend on which of them have a row.
    additive: Vec<String>,
    found: BTreeMap<i64, BTreeMap<RowKey, Found>>,
    kept: usize,
}

/// The key columns, and the shard of a row for keys beyond the limit, else -1.
pub type RowKey = (Vec<String>, i64);

/// The newest that was said of one row.
struct Found {
    is_final: bool,
    complete: bool,
    events: i128,
    /// Parallel to `additive`.
    sums: Vec<Option<i128>>,
    differing: u64,
    /// The first of them.
    differences: Vec<Difference>,
}

/// What the comparison of one table in one place came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub place: String,
    /// Rows that are as they should be.
    pub equal: u64,
    pub different: u64,
    /// Not final yet, or not there yet.
    pub provisional: u64,
    /// Of hours that lost input and say so.
    pub incomplete: u64,
    /// Rows without events that came when their hour was gone; these are in the dead letters.
    pub with_gone: u64,
    /// Hours with more keys than the limit, compared by their totals.
    pub by_totals: u64,
    /// Events in the rows that are equal.
    pub events: u64,
}

impl<'a> Place<'a> {
    pub fn new(table: Table<'a>, name: String) -> Place<'a> {
        let mut all = vec!["event_count".to_owned(), "late_count".to_owned()];
        all.extend(table.rollup.columns.iter().flat_map(additive));
        Place { table, name, additive: all, found: BTreeMap::new(), kept: 0 }
    }

    /// Takes what the place says of a row; a later word replaces an earlier one.
    pub fn take(&mut self, hour_us: i64, key: RowKey, value: &Map<String, Json>) {
        if !self.table.hours.contains(&hour_us) {
            return;
        }
        let flag = |name: &str| value.get(name) == Some(&Json::Bool(true));
        let mut found = Found {
            is_final: flag("is_final"),
            complete: flag("complete"),
            events: value.get("event_count").and_then(units).unwrap_or(0),
            sums: self.additive.iter().map(|name| value.get(name).and_then(units)).collect(),
            differing: 0,
            differences: Vec::new(),
        };
        if found.is_final && found.complete {
            self.compare(hour_us, &key, value, &mut found);
        }
        let before = self.found.entry(hour_us).or_default().insert(key, found);
        self.kept -= before.map_or(0, |before| usize::from(!before.differences.is_empty()));
    }

    /// Forgets a row.
    pub fn drop(&mut self, hour_us: i64, key: &RowKey) {
        let before = self.found.get_mut(&hour_us).and_then(|hour| hour.remove(key));
        self.kept -= before.map_or(0, |before| usize::from(!before.differences.is_empty()));
    }

    fn expected(&self, hour_us: i64, key: &RowKey) -> Option<&'a Row> {
        self.table.rows.hours.get(&hour_us).filter(|_| key.1 < 0)?.rows.get(&key.0)
    }

    fn compare(&mut self, hour_us: i64, key: &RowKey, value: &Map<String, Json>, found: &mut Found) {
        let Table { source, rollup, .. } = self.table;
        let Some(row) = self.expected(hour_us, key) else { return };
        for (column, expected) in row.columns(source, rollup, &key.0, hour_us) {
            let is_equal = value.get(&column).is_some_and(|found| agree(rollup, &column, &expected, found));
            if is_equal {
                continue;
            }
            found.differing += 1;
            if found.differences.len() < MOST_COLUMNS && self.kept < MOST_ROWS {
                let text = |value: &Json| value.to_string();
                found.differences.push(Difference {
                    place: self.name.clone(),
                    row: row_name(&key.0, hour_us),
                    expected: text(&expected),
                    found: value.get(&column).map_or("no such column".to_owned(), text),
                    column,
                });
            }
        }
        self.kept += usize::from(!found.differences.is_empty());
    }

    /// The newest hour that has a final row.
    pub fn finished_us(&self) -> Option<i64> {
        let has_final = |rows: &BTreeMap<RowKey, Found>| rows.values().any(|found| found.is_final);
        self.found.iter().rev().find(|(_, rows)| has_final(rows)).map(|(hour_us, _)| *hour_us)
    }

    /// Compares hour by hour. Up to `finished_us` every row has to be there.
    pub fn conclude(mut self, finished_us: Option<i64>, differences: &mut Differences) -> Outcome {
        let mut outcome = Outcome { place: self.name.clone(), ..Outcome::default() };
        let nothing = Hour::default();
        for hour_us in self.table.hours.clone().step_by(HOUR_US as usize) {
            let found = self.found.remove(&hour_us).unwrap_or_default();
            let expected = self.table.rows.hours.get(&hour_us).unwrap_or(&nothing);
            let is_over = Some(hour_us) <= finished_us;
            let mut of_hour = OfHour { place: &self, hour_us, expected, is_over, outcome: &mut outcome };
            if expected.rest.is_some() || found.keys().any(|(_, shard)| *shard >= 0) {
                of_hour.totals(&found, differences);
                of_hour.outcome.by_totals += 1;
            } else {
                of_hour.rows(found, differences);
            }
        }
        outcome
    }
}

/// One hour being compared.
struct OfHour<'p, 'a> {
    place: &'p Place<'a>,
    hour_us: i64,
    expected: &'p Hour,
    is_over: bool,
    outcome: &'p mut Outcome,
}

impl OfHour<'_, '_> {
    fn rows(&mut self, mut found: BTreeMap<RowKey, Found>, differences: &mut Differences) {
        let mut keys: Vec<(&Vec<String>, &Row)> = self.expected.rows.iter().collect();
        keys.sort_by_key(|(key, _)| *key);
        for (key, row) in keys {
            let gone = self.gone(key);
            match found.remove(&(key.clone(), -1)) {
                None if gone == row.events => self.outcome.with_gone += 1,
                None if !self.is_over => self.outcome.provisional += 1,
                None => self.differ(key, "row", &events(row.events - gone), "no such row", differences),
                Some(found) if !found.is_final => self.outcome.provisional += 1,
                Some(found) if !found.complete => self.outcome.incomplete += 1,
                Some(found) if gone > 0 => {
                    self.outcome.with_gone += 1;
                    let expected = row.events - gone;
                    if found.events != i128::from(expected) {
                        let found = found.events.to_string();
                        self.differ(key, "event_count", &expected.to_string(), &found, differences);
                    }
                }
                Some(found) => self.row(row, found, differences),
            }
        }
        for ((key, _), found) in found {
            match (found.is_final, found.complete) {
                (false, _) => self.outcome.provisional += 1,
                (true, false) => self.outcome.incomplete += 1,
                (true, true) => {
                    let found = format!("a row of {} events", found.events);
                    self.differ(&key, "row", "no such row", &found, differences);
                }
            }
        }
    }

    fn row(&mut self, row: &Row, found: Found, differences: &mut Differences) {
        match found.differing {
            0 => {
                self.outcome.equal += 1;
                self.outcome.events += row.events;
            }
            all => {
                self.outcome.different += 1;
                let kept = found.differences.len() as u64;
                found.differences.into_iter().for_each(|difference| differences.push(difference));
                differences.count += all.saturating_sub(kept);
            }
        }
    }

    /// Which keys fold into `_OTHER` depends on which came first, over all partitions; their sums do not.
    fn totals(&mut self, found: &BTreeMap<RowKey, Found>, differences: &mut Differences) {
        if let Some(open) = found.values().find(|found| !found.is_final || !found.complete) {
            let rows = found.len() as u64;
            match open.is_final {
                true => self.outcome.incomplete += rows,
                false => self.outcome.provisional += rows,
            }
            return;
        }
        if found.is_empty() && !self.is_over {
            self.outcome.provisional += self.expected.rows.len() as u64;
            return;
        }
        let all: &[String] = &["all keys".to_owned()];
        let gone: u64 = self.expected.rows.keys().map(|key| self.gone(key)).sum();
        let before = differences.count;
        for (at, (column, expected)) in self.sums().into_iter().enumerate() {
            // Of what came too late only the events were counted.
            if gone > 0 && at > 0 {
                break;
            }
            let expected = expected - i128::from(gone);
            let sum: i128 = found.values().filter_map(|found| found.sums[at]).sum();
            if sum != expected {
                self.differ(all, &column, &digits(expected), &digits(sum), differences);
            }
        }
        for ((key, shard), found) in found.iter().filter(|((_, shard), _)| *shard < 0) {
            let row = self.place.expected(self.hour_us, &(key.clone(), *shard));
            let same = row.is_some_and(|row| i128::from(row.events) == found.events);
            let more = row.is_some_and(|row| i128::from(row.events) < found.events);
            let unknown = row.is_none() && self.expected.rest.is_none();
            if unknown {
                let found = format!("a row of {} events", found.events);
                self.differ(key, "row", "no such row", &found, differences);
            } else if (same || more) && found.differing > 0 {
                found.differences.iter().for_each(|difference| differences.push(difference.clone()));
                self.outcome.different += 1;
            } else if same {
                self.outcome.equal += 1;
            }
        }
        if differences.count == before {
            self.outcome.events +=
                found.values().map(|found| found.events.unsigned_abs() as u64).sum::<u64>();
        }
    }

    /// What the additive columns of all keys come to.
    fn sums(&self) -> Vec<(String, i128)> {
        let Table { source, rollup, .. } = self.place.table;
        let mut sums: Vec<(String, i128)> =
            self.place.additive.iter().map(|name| (name.clone(), 0)).collect();
        for row in self.expected.rows.values().chain(&self.expected.rest) {
            let columns = row.columns(source, rollup, &[], self.hour_us);
            for (name, sum) in &mut sums {
                *sum += columns.get(name).and_then(units).unwrap_or(0);
            }
        }
        sums
    }

    fn gone(&self, key: &[String]) -> u64 {
        self.place.table.letters.gone_from(&self.place.table.rollup.table, self.hour_us, key)
    }

    fn differ(
        &mut self,
        key: &[String],
        column: &str,
        expected: &str,
        found: &str,
        differences: &mut Differences,
    ) {
        self.outcome.different += 1;
        differences.push(Difference {
            place: self.place.name.clone(),
            row: row_name(key, self.hour_us),
            column: column.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    }
}

/// Which values of a `count_by` are told apart depends on which came first, once there are more than its limit.
fn agree(rollup: &Rollup, column: &str, expected: &Json, found: &Json) -> bool {
    if expected == found {
        return true;
    }
    let by_value = rollup.columns.iter().find(|one| one.name == column);
    let Some(Aggregate::CountBy { limit, .. }) = by_value.map(|one| &one.aggregate) else { return false };
    let (Json::Object(expected), Json::Object(found)) = (expected, found) else { return false };
    let sum = |counts: &Map<String, Json>| counts.values().filter_map(units).sum::<i128>();
    (expected.len() > *limit as usize || expected.contains_key(OTHER)) && sum(expected) == sum(found)
}

/// The digits of a count or a decimal; decimals of one column all have as many behind the point.
fn units(value: &Json) -> Option<i128> {
    match value {
        Json::Number(number) => number.as_i128(),
        Json::String(text) => text.replace('.', "").parse().ok(),
        _ => None,
    }
}

fn digits(units: i128) -> String {
    units.to_string()
}

fn events(count: u64) -> String {
    format!("a row of {count} events")
}

fn row_name(key: &[String], hour_us: i64) -> String {
    format!("[{}] {}", key.join(", "), rfc3339(hour_us).replace(".000000Z", "Z"))
}
