//! The hours of one hourly table in one shard: rows in the making, finished in order, revised while late events may come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::core::aggregate::{Measure, column_values, fits};
use crate::core::key::Key;
use crate::core::output::Row;
use crate::core::partial::HourDelta;
use crate::core::source::{Rollup, Source};
use crate::core::time::HOUR_US;

/// A final row is revised at most this often, in seconds of log time.
const REVISION_EVERY_S: i64 = 60;

#[derive(Debug)]
pub struct Table {
    pub name: Arc<str>,
    /// Hash of what the columns compute; with another one, older state has no meaning.
    pub signature: u64,
    hours: BTreeMap<i64, Hour>,
    /// (log second, hour, key) at which a changed row is to be written.
    due: BTreeSet<(i64, i64, Key)>,
}

#[derive(Debug, Default)]
struct Hour {
    rows: BTreeMap<Key, Entry>,
    progress: HourProgress,
}

/// How far the work on one hour has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourProgress {
    /// Keys that the hour before did not have.
    newcomers: u32,
    /// Every row that was there when the watermark passed has been written as final.
    finished: bool,
    /// Last key that was.
    cursor: Option<Key>,
}

/// One row in the making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    sums: HourDelta,
    revision: u32,
    written_final: bool,
    changed: bool,
    written_log_s: i64,
    due_s: Option<i64>,
    /// Changed since the last checkpoint; not part of it.
    #[serde(skip)]
    dirty: bool,
}

/// What a table must know of the moment to decide what to write.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub watermark_us: Option<i64>,
    pub log_s: i64,
    /// Offset of the record being applied.
    pub version: i64,
    pub shard: u32,
    pub provisional_every_s: i64,
}

/// The rollup a table is made by, and its source.
#[derive(Clone, Copy)]
pub struct Made<'a> {
    pub source: &'a Source,
    pub rollup: &'a Rollup,
    pub limit: u32,
    /// Whether no declared gap touches an hour.
    pub complete: &'a dyn Fn(i64) -> bool,
}

/// What became of a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    Row {
        other: bool,
    },
    /// The hour is gone: it was finished and the lateness is over.
    HourGone,
    /// Its measures are not of this table.
    Misfit,
}

impl Table {
    pub fn new(name: Arc<str>, signature: u64) -> Table {
        Table { name, signature, hours: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// Goes on with other columns: `moved` gives for each column of `rollup` its place among those before.
    pub fn adopt(&mut self, signature: u64, moved: &[Option<usize>], rollup: &Rollup) {
        self.signature = signature;
        for entry in self.hours.values_mut().flat_map(|hour| hour.rows.values_mut()) {
            entry.sums = entry.sums.moved(moved, rollup);
            entry.dirty = true;
        }
    }

    pub fn merge(
        &mut self,
        key: &Key,
        hour_us: i64,
        delta: &HourDelta,
        made: Made<'_>,
        moment: Moment,
    ) -> Merged {
        if !fits(&delta.measures, made.rollup) {
            return Merged::Misfit;
        }
        let lateness_us = made.source.event_time.lateness_us;
        if moment.watermark_us.is_some_and(|watermark_us| hour_us + HOUR_US + lateness_us <= watermark_us) {
            return Merged::HourGone;
        }
        let admitted = self.admit(key, hour_us, made);
        let other = admitted != *key;
        let hour = self.hours.entry(hour_us).or_default();
        let entry = hour.rows.entry(admitted.clone()).or_insert_with(|| Entry::empty(made.rollup));
        entry.sums.events += delta.events;
        entry.sums.late += delta.late;
        for ((measure, add), column) in
            entry.sums.measures.iter_mut().zip(&delta.measures).zip(&made.rollup.columns)
        {
            measure.merge(add, &column.aggregate);
        }
        entry.touch();
        if entry.due_s.is_none() {
            let due_s = entry.next_due_s(&admitted, hour_us, moment);
            entry.due_s = Some(due_s);
            self.due.insert((due_s, hour_us, admitted));
        }
        Merged::Row { other }
    }

    /// The key itself, or `_OTHER` beyond the limit. Keys of the hour before keep their place.
    fn admit(&mut self, key: &Key, hour_us: i64, made: Made<'_>) -> Key {
        if made.rollup.by.is_empty() {
            return key.clone();
        }
        let before = self.hours.get(&(hour_us - HOUR_US));
        let known_before = before.is_some_and(|hour| hour.rows.contains_key(key));
        let kept = before.map_or(0, |hour| hour.rows.len());
        let hour = self.hours.entry(hour_us).or_default();
        if hour.rows.contains_key(key) || known_before {
            return key.clone();
        }
        if kept + (hour.progress.newcomers as usize) < made.limit as usize {
            hour.progress.newcomers += 1;
            return key.clone();
        }
        Key::other(made.rollup.by.len())
    }

    /// Finishes hours the watermark has passed, oldest first, at most `budget` rows; then forgets those whose
    /// lateness is over. Gives back the budget that is left.
    pub fn finish(
        &mut self,
        made: Made<'_>,
        moment: Moment,
        mut budget: usize,
        rows: &mut Vec<Row>,
    ) -> usize {
        let Some(watermark_us) = moment.watermark_us else { return budget };
        let passed = |hour_us: &i64| hour_us + HOUR_US <= watermark_us;
        let pending = self.hours.iter().take_while(|(hour_us, _)| passed(hour_us));
        let pending: Vec<i64> =
            pending.filter(|(_, hour)| !hour.progress.finished).map(|(h, _)| *h).collect();
        for hour_us in pending {
            if budget == 0 {
                return 0;
            }
            budget -= self.finish_hour(hour_us, made, moment, budget, rows);
        }
        self.forget(made, moment, watermark_us, rows);
        budget
    }

    fn finish_hour(
        &mut self,
        hour_us: i64,
        made: Made<'_>,
        moment: Moment,
        budget: usize,
        rows: &mut Vec<Row>,
    ) -> usize {
        let Some(hour) = self.hours.get_mut(&hour_us) else { return 0 };
        let after = match hour.progress.cursor.take() {
            Some(cursor) => std::ops::Bound::Excluded(cursor),
            None => std::ops::Bound::Unbounded,
        };
        let mut written = 0;
        for (key, entry) in hour.rows.range_mut((after, std::ops::Bound::Unbounded)) {
            if written == budget {
                return written;
            }
            if entry.changed || !entry.written_final {
                if let Some(due_s) = entry.due_s.take() {
                    self.due.remove(&(due_s, hour_us, key.clone()));
                }
                rows.push(entry.write(&self.name, key, hour_us, made, moment));
                written += 1;
            }
            hour.progress.cursor = Some(key.clone());
        }
        hour.progress.finished = true;
        hour.progress.cursor = None;
        written
    }

    /// Drops finished hours whose lateness is over, writing the last revisions first.
    fn forget(&mut self, made: Made<'_>, moment: Moment, watermark_us: i64, rows: &mut Vec<Row>) {
        let lateness_us = made.source.event_time.lateness_us;
        while let Some(first) = self.hours.first_entry() {
            let hour_us = *first.key();
            if !first.get().progress.finished || hour_us + HOUR_US + lateness_us > watermark_us {
                break;
            }
            for (key, mut entry) in first.remove().rows {
                if let Some(due_s) = entry.due_s.take() {
                    self.due.remove(&(due_s, hour_us, key.clone()));
                    rows.push(entry.write(&self.name, &key, hour_us, made, moment));
                }
            }
        }
    }

    /// Writes rows whose time has come: provisional ones, and revisions of final ones. Gives back the budget left.
    pub fn write_due(
        &mut self,
        made: Made<'_>,
        moment: Moment,
        mut budget: usize,
        rows: &mut Vec<Row>,
    ) -> usize {
        while budget > 0 && self.due.first().is_some_and(|(due_s, ..)| *due_s <= moment.log_s) {
            let Some((_, hour_us, key)) = self.due.pop_first() else { break };
            let Some(entry) = self.hours.get_mut(&hour_us).and_then(|hour| hour.rows.get_mut(&key)) else {
                continue;
            };
            entry.due_s = None;
            rows.push(entry.write(&self.name, &key, hour_us, made, moment));
            budget -= 1;
        }
        budget
    }

    /// A declared gap came to light: rows already written as complete must be written again.
    pub fn touch_incomplete(&mut self, made: Made<'_>, moment: Moment) {
        for (&hour_us, hour) in self.hours.iter_mut().filter(|(hour_us, _)| !(made.complete)(**hour_us)) {
            for (key, entry) in &mut hour.rows {
                entry.touch();
                if entry.due_s.is_none() {
                    let due_s = entry.next_due_s(key, hour_us, moment);
                    entry.due_s = Some(due_s);
                    self.due.insert((due_s, hour_us, key.clone()));
                }
            }
        }
    }

    /// Rows kept, for the series gauge: those of the newest hour.
    pub fn series(&self) -> usize {
        self.hours.values().next_back().map_or(0, |hour| hour.rows.len())
    }

    pub fn progress(&self) -> impl Iterator<Item = (i64, &HourProgress)> {
        self.hours.iter().map(|(&hour_us, hour)| (hour_us, &hour.progress))
    }

    /// Rows changed since the last call, for a checkpoint; clears the mark.
    pub fn take_dirty(&mut self) -> impl Iterator<Item = (i64, &Key, &Entry)> {
        self.hours.iter_mut().flat_map(|(&hour_us, hour)| {
            hour.rows.iter_mut().filter_map(move |(key, entry)| {
                std::mem::take(&mut entry.dirty).then_some((hour_us, key, &*entry))
            })
        })
    }

    pub fn restore_progress(&mut self, hour_us: i64, progress: HourProgress) {
        self.hours.entry(hour_us).or_default().progress = progress;
    }

    /// Takes a row from a checkpoint; ignored when its hour is no longer there.
    pub fn restore_row(&mut self, hour_us: i64, key: Key, entry: Entry) {
        if let Some(hour) = self.hours.get_mut(&hour_us) {
            if let Some(due_s) = entry.due_s {
                self.due.insert((due_s, hour_us, key.clone()));
            }
            hour.rows.insert(key, entry);
        }
    }

    pub fn has_hour(&self, hour_us: i64) -> bool {
        self.hours.contains_key(&hour_us)
    }

    pub fn has_row(&self, hour_us: i64, key: &Key) -> bool {
        self.hours.get(&hour_us).is_some_and(|hour| hour.rows.contains_key(key))
    }
}

impl Entry {
    fn empty(rollup: &Rollup) -> Entry {
        let measures = rollup.columns.iter().map(|column| Measure::empty(&column.aggregate)).collect();
        Entry {
            sums: HourDelta { events: 0, late: 0, measures },
            revision: 0,
            written_final: false,
            changed: false,
            written_log_s: 0,
            due_s: None,
            dirty: false,
        }
    }

    fn touch(&mut self) {
        self.changed = true;
        self.dirty = true;
    }

    /// Provisional rows are spread over the interval by their key; revisions keep their distance.
    fn next_due_s(&self, key: &Key, hour_us: i64, moment: Moment) -> i64 {
        if moment.watermark_us.is_some_and(|watermark_us| hour_us + HOUR_US <= watermark_us) {
            return if self.written_final {
                moment.log_s.max(self.written_log_s + REVISION_EVERY_S)
            } else {
                moment.log_s
            };
        }
        let every_s = moment.provisional_every_s.max(1);
        let phase_s = (xxh3_64(key.packed()) % every_s as u64) as i64;
        let next_s = moment.log_s + 1;
        next_s + (phase_s - next_s).rem_euclid(every_s)
    }

    fn write(&mut self, table: &Arc<str>, key: &Key, hour_us: i64, made: Made<'_>, moment: Moment) -> Row {
        let is_final = moment.watermark_us.is_some_and(|watermark_us| hour_us + HOUR_US <= watermark_us);
        if self.written_final {
            self.revision += 1;
        }
        self.written_final |= is_final;
        self.changed = false;
        self.dirty = true;
        self.written_log_s = moment.log_s;
        let is_other = !made.rollup.by.is_empty() && *key == Key::other(made.rollup.by.len());
        Row {
            table: Arc::clone(table),
            key: key.clone(),
            // Partitions of a topic number far below 2^15.
            shard: if is_other { moment.shard as i16 } else { -1 },
            hour_us,
            event_count: self.sums.events,
            late_count: self.sums.late,
            revision: self.revision,
            version: moment.version,
            is_final: self.written_final,
            complete: (made.complete)(hour_us),
            watermark_us: moment.watermark_us,
            values: column_values(&self.sums.measures, made.rollup, made.source, hour_us),
        }
    }
}
