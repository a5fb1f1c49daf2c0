//! The records of `plimsoll-partials`: what ingest tells the shards.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

use super::aggregate::Measure;
use super::exemplar::{Exemplar, add_exemplar};
use super::key::Key;
use super::plan::{Cells, move_cell};
use super::rules::Rules;
use super::sketch::histogram::Histogram;
use super::source::{Column, Rollup};
use super::tally::add_cell;

/// One record of the log that a shard is a function of.
#[derive(Clone, Debug, PartialEq)]
pub enum LogRecord {
    /// New rules; a shard ignores versions it already has.
    Spec {
        version: i64,
        rules: Arc<Rules>,
    },
    Partial(Partial),
}

/// Part of one flush of one worker: deltas first, and in its last record the clocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// Version of the rules the deltas were folded by.
    pub rules: i64,
    /// Names the worker among all workers, so that a flush of several records can be added up.
    pub worker: u32,
    /// The worker's wall clock.
    pub log_time_us: i64,
    pub deltas: Vec<Delta>,
    pub clocks: Vec<Clock>,
}

/// What one flush adds to one key and pane of one projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Index into `Plan::projections` of the record's version.
    pub projection: u16,
    pub key: Key,
    /// Start of the hour in microseconds, or the second since 1970 for cells.
    pub pane: i64,
    pub body: DeltaBody,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeltaBody {
    Hour(HourDelta),
    Cells(CellsDelta),
    /// `pane` is the second of log time at which the samples were taken.
    Lag(Vec<LagSample>),
}

/// What the events of one second add to one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellsDelta {
    /// (cell, events), ascending. Empty: the group exists, nothing more.
    pub cells: Vec<(u16, u64)>,
    /// Parallel to the projection's measured slots.
    pub values: Vec<Histogram>,
    /// As [`add_exemplar`] keeps them.
    pub exemplars: Vec<Exemplar>,
}

impl CellsDelta {
    /// The same as another version of the rules keeps it; values it does not know begin empty.
    pub fn moved(&self, from: &Cells, to: &Cells) -> Cow<'_, CellsDelta> {
        let same_values = || from.measured.iter().map(|m| m.name).eq(to.measured.iter().map(|m| m.name));
        if from.atoms == to.atoms && same_values() {
            return Cow::Borrowed(self);
        }
        let mut cells = Vec::new();
        for &(cell, events) in &self.cells {
            add_cell(&mut cells, move_cell(cell, &from.atoms, &to.atoms), events);
        }
        let value =
            |name| from.measured.iter().position(|m| m.name == name).and_then(|at| self.values.get(at));
        let values = to.measured.iter().map(|m| value(m.name).cloned().unwrap_or_default()).collect();
        let mut exemplars = Vec::new();
        let place = |at: u16| {
            let name = from.measured.get(usize::from(at))?.name;
            to.measured.iter().position(|m| m.name == name).map(|at| at as u16)
        };
        for exemplar in &self.exemplars {
            let measured = exemplar.measured.and_then(|(at, value)| Some((place(at)?, value)));
            if measured.is_some() != exemplar.measured.is_some() {
                // Nobody looks at that value any more.
                continue;
            }
            let cell = move_cell(exemplar.cell, &from.atoms, &to.atoms);
            let moved = Exemplar { measured, cell, trace_id: None, ..*exemplar };
            add_exemplar(&mut exemplars, moved, || exemplar.trace_id.clone());
        }
        Cow::Owned(CellsDelta { cells, values, exemplars })
    }
}

/// How far a consumer group is behind on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagSample {
    pub partition: i32,
    pub messages: u64,
    /// Age of the oldest message not committed, 0 when there is none.
    pub behind_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourDelta {
    pub events: u64,
    pub late: u64,
    /// Parallel to the rollup's columns.
    pub measures: Vec<Measure>,
}

impl HourDelta {
    /// The same under another list of columns: `moved` gives for each column of `rollup` its place here.
    pub fn moved(&self, moved: &[Option<usize>], rollup: &Rollup) -> HourDelta {
        let measure = |(at, column): (&Option<usize>, &Column)| {
            let known = at.and_then(|at| self.measures.get(at)).cloned();
            known.unwrap_or_else(|| Measure::empty(&column.aggregate))
        };
        let measures = moved.iter().zip(&rollup.columns).map(measure).collect();
        HourDelta { events: self.events, late: self.late, measures }
    }
}

/// How far one source partition has been folded. Every shard gets every clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Index into the sources of the record's version.
    pub source: u16,
    pub partition: i32,
    /// Partitions the source's topic has.
    pub partitions: u32,
    /// Hash of the topic's id: another one means that the topic was recreated.
    pub topic: u64,
    /// Offsets folded since the last clock: `from..to`.
    pub from: i64,
    pub to: i64,
    /// Records in that range, and those of them that went to the dead letters.
    pub records: u64,
    pub dead_letters: u64,
    /// Events late by the source's `out_of_order`.
    pub late: u64,
    /// Events this flush brings to the hourly projections of this shard, each projection counted.
    pub shard_events: u64,
    pub max_event_us: Option<i64>,
    /// Smallest event time folded since the last clock.
    pub min_event_us: Option<i64>,
    /// Caught up, by the broker's word, and nothing new for `idle_after`.
    pub idle: bool,
    /// Messages not yet read.
    pub lag: u64,
    /// Offsets the broker had lost before `from`: a declared gap.
    pub gap: Option<Gap>,
}

/// Offsets `from..to` that were deleted before they could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub from: i64,
    pub to: i64,
}
