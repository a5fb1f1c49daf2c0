//! Checkpoints: the whole state at one offset, written in small slices.
//!
//! A *cycle* is a cut of everything that changed since the cycle before, taken at one offset and handed out in slices
//! over the following transactions; its last record names the offset. Until that record is there the cycle before
//! still holds: each entry has two slots in the compacted changelog and a cycle never writes the slot that counts.
//! So a crash in the middle costs nothing, and recovery is: restore the last whole cycle, replay what came after.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::counts::Group;
use super::joint::Joint;
use super::table::{Entry, HourProgress};
use super::{Shard, ShardOptions, Since};
use crate::core::clock::SourceClock;
use crate::core::key::Key;
use crate::core::plan::Plan;
use crate::core::rules::Rules;
use crate::core::slo::lag::Samples;
use crate::core::slo::watch::{Corrected, Progress};

/// First byte of every changelog value; another one is written by a release this one cannot read.
const FORMAT: u8 = 3;

/// What a changelog record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum EntryKey {
    /// The last record of a cycle: everything but rows and groups.
    Cycle,
    Row {
        table: u64,
        hour_us: i64,
        key: Key,
    },
    Group {
        counts: u64,
        key: Key,
    },
    /// What of an entry does not fit in its own record; counted from 1.
    Part {
        of: Box<EntryKey>,
        part: u32,
    },
}

/// Largest piece of an entry in one record, well below what a broker takes.
const PART_BYTES: usize = 256 * 1024;

/// A record for the changelog; no value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangelogRecord {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// The part of the state that is written whole with every cycle.
#[derive(Serialize, Deserialize)]
struct Meta {
    as_of: i64,
    plans: Vec<(i64, Arc<Rules>)>,
    sources: BTreeMap<String, SourceClock>,
    since_s: BTreeMap<String, Since>,
    flushes: BTreeMap<u32, u64>,
    log_us: i64,
    heartbeat_due_us: i64,
    hours: BTreeMap<u64, Vec<(i64, HourProgress)>>,
    progress: BTreeMap<u64, (Option<Progress>, Corrected)>,
    lags: BTreeMap<u64, Samples>,
    joint: BTreeMap<String, Joint>,
}

/// Keeps the changelog of one shard.
#[derive(Default)]
pub struct Checkpointer {
    /// Larger than any number in the changelog.
    next_cycle: u64,
    /// Which slot of an entry counts.
    slots: BTreeMap<EntryKey, u8>,
    /// Tombstones that may be written now.
    graves: VecDeque<ChangelogRecord>,
    writing: Option<Writing>,
}

struct Writing {
    number: u64,
    queue: VecDeque<Piece>,
    /// Tombstones that may be written once the cycle is whole.
    graves: VecDeque<ChangelogRecord>,
    cycle: ChangelogRecord,
}

/// What is still to be handed out of a cycle. Groups are encoded only then: all at once would be a pause for everything
/// that waits to be told.
enum Piece {
    Record(ChangelogRecord),
    Group(EntryKey, Box<Group>),
}

/// Why a changelog cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(
        "the changelog holds format {found}, this release reads {FORMAT}: run the release that wrote it, or a newer one"
    )]
    Format { found: u8 },
    #[error("the changelog is damaged ({what}): {source}")]
    Damaged { what: &'static str, source: postcard::Error },
    #[error("the rules in the changelog cannot be used: {0}")]
    Rules(#[from] crate::core::plan::PlanError),
}

impl Checkpointer {
    /// Takes a cut of the shard as it is now. Nothing happens while a cycle is being written.
    pub fn begin(&mut self, shard: &mut Shard) -> Result<(), postcard::Error> {
        if self.writing.is_some() {
            return Ok(());
        }
        let cycle = self.next_cycle;
        self.next_cycle += 1;
        let mut queue = VecDeque::new();
        let meta = postcard::to_stdvec(&shard.meta())?;
        let mut meta = parts(EntryKey::Cycle, &meta);
        let (_, head) = meta.remove(0);
        for (entry, body) in shard.take_dirty_rows()? {
            queue.extend(self.records(entry, &body, cycle)?.into_iter().map(Piece::Record));
        }
        for (entry, body) in meta {
            queue.push_back(Piece::Record(self.record(entry, &body, cycle)?));
        }
        queue.extend(shard.take_dirty_groups());
        let mut graves = VecDeque::new();
        let dead: Vec<EntryKey> = self.slots.keys().filter(|entry| !shard.holds(entry)).cloned().collect();
        for entry in dead {
            let slot = self.slots.remove(&entry).unwrap_or(0);
            if !shard.is_past(&entry) {
                let gone = record(&entry, 1 - slot, Some(value(cycle, &[])))?;
                queue.push_back(Piece::Record(gone));
            }
            // What says that it is gone goes last: alone, the older value would count again.
            graves.push_back(record(&entry, slot, None)?);
            graves.push_back(record(&entry, 1 - slot, None)?);
        }
        let last = record(&EntryKey::Cycle, 0, Some(value(cycle, &head)))?;
        self.writing = Some(Writing { number: cycle, queue, graves, cycle: last });
        Ok(())
    }

    /// An entry as it is to be written, in as many records as it takes.
    fn records(
        &mut self,
        entry: EntryKey,
        body: &[u8],
        cycle: u64,
    ) -> Result<Vec<ChangelogRecord>, postcard::Error> {
        parts(entry, body).into_iter().map(|(entry, body)| self.record(entry, &body, cycle)).collect()
    }

    fn record(
        &mut self,
        entry: EntryKey,
        body: &[u8],
        cycle: u64,
    ) -> Result<ChangelogRecord, postcard::Error> {
        let slot = self.slots.get(&entry).map_or(0, |slot| 1 - slot);
        let record = record(&entry, slot, Some(value(cycle, body)))?;
        self.slots.insert(entry, slot);
        Ok(record)
    }

    /// Records for the next transaction: about `bytes` of them, in the order in which they must be committed.
    ///
    /// # Errors
    /// The state cannot be written down.
    pub fn next_slice(&mut self, bytes: usize) -> Result<Vec<ChangelogRecord>, postcard::Error> {
        let (mut slice, mut size) = (Vec::new(), 0);
        while size < bytes {
            let Some(record) = self.next_record()? else { break };
            size += record.key.len() + record.value.as_ref().map_or(0, Vec::len);
            slice.push(record);
        }
        if self.graves.is_empty()
            && let Some(writing) = self.writing.take_if(|writing| writing.queue.is_empty())
        {
            slice.push(writing.cycle);
            self.graves = writing.graves;
        }
        Ok(slice)
    }

    /// Old tombstones, then all of a cycle but the record that makes it whole.
    fn next_record(&mut self) -> Result<Option<ChangelogRecord>, postcard::Error> {
        if let Some(grave) = self.graves.pop_front() {
            return Ok(Some(grave));
        }
        let Some(writing) = &mut self.writing else { return Ok(None) };
        let (entry, group, number) = match writing.queue.pop_front() {
            None => return Ok(None),
            Some(Piece::Record(record)) => return Ok(Some(record)),
            Some(Piece::Group(entry, group)) => (entry, group, writing.number),
        };
        let body = postcard::to_stdvec(&*group)?;
        let mut records = self.records(entry, &body, number)?.into_iter();
        let first = records.next();
        if let Some(writing) = &mut self.writing {
            records.rev().for_each(|record| writing.queue.push_front(Piece::Record(record)));
        }
        Ok(first)
    }

    /// Whether a slice is waiting to be written.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some() || !self.graves.is_empty()
    }
}

/// Collects a changelog partition, then makes the shard it stands for.
#[derive(Default)]
pub struct Restore {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Restore {
    /// Takes the records of the partition in order; the last one of a key counts.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.records.insert(key.to_vec(), value.to_vec()),
            None => self.records.remove(key),
        };
    }

    /// The shard as it was at the offset it names, `Shard::version`; None when there is no whole cycle.
    pub fn finish(
        self,
        id: u32,
        options: ShardOptions,
    ) -> Result<(Option<Shard>, Checkpointer), RestoreError> {
        let mut last_cycle = None;
        let mut entries = Vec::new();
        for (key_bytes, value) in self.records {
            let (entry, slot): (EntryKey, u8) = read("key", &key_bytes)?;
            let (cycle, body) = parse(&value)?;
            if entry == EntryKey::Cycle {
                last_cycle = Some((cycle, body.to_vec()));
            } else {
                entries.push((entry, slot, cycle, body.to_vec(), key_bytes));
            }
        }
        let mut checkpointer = Checkpointer::default();
        let newest =
            entries.iter().map(|(_, _, cycle, ..)| *cycle).chain(last_cycle.iter().map(|(cycle, _)| *cycle));
        checkpointer.next_cycle = newest.max().map_or(0, |newest| newest + 1);
        let whole = last_cycle.as_ref().map(|(cycle, _)| *cycle);
        let mut valid: BTreeMap<EntryKey, (u64, u8, Vec<u8>)> = BTreeMap::new();
        for (entry, slot, cycle, body, key) in entries {
            if whole.is_none_or(|whole| cycle > whole) {
                // Left over from a cycle that never became whole.
                checkpointer.graves.push_back(ChangelogRecord { key, value: None });
            } else if valid.get(&entry).is_none_or(|(known, ..)| *known < cycle) {
                valid.insert(entry, (cycle, slot, body));
            }
        }
        let Some((cycle, head)) = last_cycle else { return Ok((None, checkpointer)) };
        let meta = whole_of(&valid, &EntryKey::Cycle, cycle, &head)?;
        let mut shard = Shard::from_meta(id, options, read::<Meta>("cycle", &meta)?)?;
        for (entry, (cycle, _, head)) in &valid {
            let is_part = matches!(entry, EntryKey::Part { .. });
            // An empty one was gone when the cycle was cut.
            if !is_part && !head.is_empty() {
                shard.restore_entry(entry, &whole_of(&valid, entry, *cycle, head)?)?;
            }
        }
        checkpointer.slots = valid.into_iter().map(|(entry, (_, slot, _))| (entry, slot)).collect();
        Ok((Some(shard), checkpointer))
    }
}

impl Shard {
    fn take_dirty_rows(&mut self) -> Result<Vec<(EntryKey, Vec<u8>)>, postcard::Error> {
        let mut dirty = Vec::new();
        for (&table, rows) in &mut self.tables {
            for (hour_us, key, entry) in rows.take_dirty() {
                let entry_key = EntryKey::Row { table, hour_us, key: key.clone() };
                dirty.push((entry_key, postcard::to_stdvec(entry)?));
            }
        }
        Ok(dirty)
    }

    fn take_dirty_groups(&mut self) -> impl Iterator<Item = Piece> {
        self.counts.iter_mut().flat_map(|(&counts, groups)| {
            groups.take_dirty().map(move |(key, group)| {
                Piece::Group(EntryKey::Group { counts, key: key.clone() }, Box::new(group.clone()))
            })
        })
    }

    fn holds(&self, entry: &EntryKey) -> bool {
        match entry {
            EntryKey::Cycle => true,
            EntryKey::Row { table, hour_us, key } => {
                self.tables.get(table).is_some_and(|table| table.has_row(*hour_us, key))
            }
            EntryKey::Group { counts, key } => {
                self.counts.get(counts).is_some_and(|c| c.panes(key).is_some())
            }
            EntryKey::Part { of, .. } => self.holds(of),
        }
    }

    /// Rows go with their hour, which the cycle record lists; all else must say itself that it is gone.
    fn is_past(&self, entry: &EntryKey) -> bool {
        match entry {
            EntryKey::Row { table, hour_us, .. } => {
                self.tables.get(table).is_none_or(|table| !table.has_hour(*hour_us))
            }
            EntryKey::Part { of, .. } => self.is_past(of),
            EntryKey::Cycle | EntryKey::Group { .. } => false,
        }
    }

    fn meta(&self) -> Meta {
        let hours = |table: &super::Table| table.progress().map(|(hour, p)| (hour, p.clone())).collect();
        Meta {
            as_of: self.version,
            plans: self.plans.iter().map(|plan| (plan.version, Arc::clone(&plan.rules))).collect(),
            sources: self.sources.clone(),
            since_s: self.since_s.clone(),
            flushes: self.flushes.clone(),
            log_us: self.log_us,
            heartbeat_due_us: self.heartbeat_due_us,
            hours: self.tables.iter().map(|(&id, table)| (id, hours(table))).collect(),
            progress: self.counts.iter().map(|(&id, counts)| (id, counts.progress())).collect(),
            lags: self.lags.clone(),
            joint: self.joint.clone(),
        }
    }

    fn from_meta(id: u32, options: ShardOptions, meta: Meta) -> Result<Shard, RestoreError> {
        let mut shard = Shard::new(id, options);
        for (version, rules) in meta.plans {
            shard.plans.push(Arc::new(Plan::compile(version, rules)?));
        }
        shard.version = meta.as_of;
        shard.sources = meta.sources;
        shard.since_s = meta.since_s;
        shard.flushes = meta.flushes;
        shard.log_us = meta.log_us;
        shard.heartbeat_due_us = meta.heartbeat_due_us;
        if let Some(plan) = shard.plans.last().cloned() {
            shard.adopt_tables(None, &plan);
            shard.adopt_counts(None, &plan);
        }
        shard.lags.extend(meta.lags);
        shard.joint = meta.joint;
        for (id, hours) in meta.hours {
            if let Some(table) = shard.tables.get_mut(&id) {
                hours.into_iter().for_each(|(hour_us, progress)| table.restore_progress(hour_us, progress));
            }
        }
        for (id, progress) in meta.progress {
            if let Some(counts) = shard.counts.get_mut(&id) {
                counts.restore_progress(progress);
            }
        }
        Ok(shard)
    }

    fn restore_entry(&mut self, entry: &EntryKey, body: &[u8]) -> Result<(), RestoreError> {
        match entry {
            EntryKey::Cycle | EntryKey::Part { .. } => {}
            EntryKey::Row { table, hour_us, key } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.restore_row(*hour_us, key.clone(), read::<Entry>("row", body)?);
                }
            }
            EntryKey::Group { counts, key } => {
                if let Some(counts) = self.counts.get_mut(counts) {
                    counts.restore_group(key.clone(), read::<Group>("group", body)?);
                }
            }
        }
        Ok(())
    }
}

/// An entry as records hold it: how many there are and the first piece under its own key, the others under theirs.
fn parts(entry: EntryKey, bytes: &[u8]) -> Vec<(EntryKey, Vec<u8>)> {
    let count = bytes.len().div_ceil(PART_BYTES).max(1) as u32;
    let mut pieces = bytes.chunks(PART_BYTES);
    let mut head = count.to_be_bytes().to_vec();
    head.extend_from_slice(pieces.next().unwrap_or_default());
    let of = entry.clone();
    let rest = (1..).zip(pieces).map(|(part, piece)| {
        let of = Box::new(of.clone());
        (EntryKey::Part { of, part }, piece.to_vec())
    });
    std::iter::once((entry, head)).chain(rest).collect()
}

/// Puts together what `cycle` wrote of an entry. Parts beyond the count are left over from when it was larger.
fn whole_of(
    entries: &BTreeMap<EntryKey, (u64, u8, Vec<u8>)>,
    entry: &EntryKey,
    cycle: u64,
    head: &[u8],
) -> Result<Vec<u8>, RestoreError> {
    let short = || RestoreError::Damaged { what: "part", source: postcard::Error::DeserializeUnexpectedEnd };
    let (count, first) = head.split_first_chunk::<4>().ok_or_else(short)?;
    let mut bytes = first.to_vec();
    for part in 1..u32::from_be_bytes(*count) {
        let key = EntryKey::Part { of: Box::new(entry.clone()), part };
        let (_, _, piece) = entries.get(&key).filter(|(written, ..)| *written == cycle).ok_or_else(short)?;
        bytes.extend_from_slice(piece);
    }
    Ok(bytes)
}

fn record(entry: &EntryKey, slot: u8, value: Option<Vec<u8>>) -> Result<ChangelogRecord, postcard::Error> {
    Ok(ChangelogRecord { key: postcard::to_stdvec(&(entry, slot))?, value })
}

fn value(cycle: u64, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(9 + body.len());
    value.push(FORMAT);
    value.extend_from_slice(&cycle.to_be_bytes());
    value.extend_from_slice(body);
    value
}

fn parse(value: &[u8]) -> Result<(u64, &[u8]), RestoreError> {
    let short = RestoreError::Damaged { what: "value", source: postcard::Error::DeserializeUnexpectedEnd };
    let (&format, rest) = value.split_first().ok_or(short)?;
    if format != FORMAT {
        return Err(RestoreError::Format { found: format });
    }
    let short = RestoreError::Damaged { what: "value", source: postcard::Error::DeserializeUnexpectedEnd };
    let (cycle, body) = rest.split_first_chunk::<8>().ok_or(short)?;
    Ok((u64::from_be_bytes(*cycle), body))
}

fn read<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, RestoreError> {
    postcard::from_bytes(bytes).map_err(|source| RestoreError::Damaged { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_in_one_record_comes_back_whole() {
        for length in [0, 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES - 1] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let entry = EntryKey::Group { counts: 7, key: Key::from_columns(&["a"]) };
            let parts = parts(entry.clone(), &bytes);
            assert!(parts.iter().all(|(_, body)| body.len() <= PART_BYTES + 4));
            let mut entries: BTreeMap<EntryKey, (u64, u8, Vec<u8>)> =
                parts.into_iter().map(|(key, body)| (key, (3, 0, body))).collect();
            let head = entries[&entry].2.clone();
            assert_eq!(whole_of(&entries, &entry, 3, &head).unwrap(), bytes);
            // A part of another cycle is none of it.
            let last = entries.keys().next_back().unwrap().clone();
            if let EntryKey::Part { .. } = last {
                entries.insert(last, (2, 0, Vec::new()));
                assert!(whole_of(&entries, &entry, 3, &head).is_err());
            }
        }
    }
}
