//! The hours of a source recomputed from its raw records, and compared with what stands in Postgres and in Kafka.
//!
//! Its worth is that it shares nothing with the path it checks: of `core` it knows how sources and conditions are
//! declared and no more, nothing of folding, shards, aggregates, sketches or decoding (`tests/structure.rs` sees to
//! that). Each record is read in the order of its partition's log, decoded, judged, added to its rows and forgotten.

mod breaches;
mod condition;
mod difference;
mod distinct;
mod event;
mod figure;
mod histogram;
mod input;
mod letters;
mod log;
mod moment;
mod number;
mod offsets;
mod place;
mod recompute;
mod report;
mod rows;
mod span;
#[cfg(test)]
mod tests;
mod topic;

use std::ops::Range;
use std::time::Duration;

use crate::config::settings::Settings;
use crate::core::source::Source;
use crate::core::time::HOUR_US;
use crate::kafka::{Admin, Connection, KafkaError};
use crate::store::{Store, StoreError};

use breaches::read_breaches;
pub use difference::{Difference, Differences};
use input::{Broker, Held};
use letters::Letters;
use place::{Place, Table};
use recompute::{Work, recompute};
pub use report::{Report, SourceReport};
pub use span::{Asked, hours, shown};

const ASK: Duration = Duration::from_secs(30);

/// Told how many records were read and up to which event time.
pub type Show<'a> = dyn FnMut(u64, i64) + 'a;

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a thread that recomputes rows panicked: this is a bug")]
    Thread,
}

/// What to verify.
pub struct Task<'a> {
    pub settings: &'a Settings,
    pub sources: Vec<&'a Source>,
    /// In microseconds since 1970.
    pub hours: Range<i64>,
    /// Differences that are kept.
    pub differences: usize,
    pub workers: usize,
    /// Group of the ingest role.
    pub ingest_group: String,
}

/// A task whose records were found.
pub struct Ready<'a> {
    task: Task<'a>,
    connection: Connection,
    admin: Admin,
    held: Vec<Held>,
}

impl<'a> Ready<'a> {
    /// Asks the broker which records it takes.
    pub fn new(task: Task<'a>) -> Result<Ready<'a>, Failed> {
        let connection = Connection::new(&task.settings.kafka);
        connection.check(task.settings.kafka.connect_timeout)?;
        let broker = Broker { connection: &connection, admin: Admin::open(&connection)?, ask: ASK };
        let held = |source: &&Source| broker.held(source, &task.ingest_group, task.hours.start);
        let held = task.sources.iter().map(held).collect::<Result<Vec<_>, _>>()?;
        let admin = broker.admin;
        Ok(Ready { task, connection, admin, held })
    }

    /// Sources whose topic is missing though they are not optional.
    pub fn missing(&self) -> Vec<&'a str> {
        let sources = self.task.sources.iter().zip(&self.held);
        let missing = sources.filter(|(source, held)| !held.has_topic && !source.optional);
        missing.map(|(source, _)| source.topic.as_str()).collect()
    }

    /// Records there are to read, at most.
    pub fn records(&self) -> u64 {
        let inputs = self.held.iter().flat_map(|held| &held.inputs);
        inputs.map(|input| u64::try_from(input.offsets.end - input.offsets.start).unwrap_or(0)).sum()
    }

    pub fn run(self, store: &mut Store, show: &mut Show<'_>) -> Result<Report, Failed> {
        let Ready { task, connection, admin, held } = self;
        let topics = &task.settings.topics;
        let mut differences = Differences::at_most(task.differences);
        let dead_letters = topics.full_name(&topics.dead_letters);
        // After the ends of the inputs: whatever ingest has committed has its letter by now.
        let letters = Letters::read(&connection, &admin, &dead_letters, ASK, &mut differences)?;
        let run = Run { task: &task, connection: &connection, admin: &admin, letters: &letters };
        let (mut sources, mut read) = (Vec::new(), 0);
        for (source, held) in task.sources.iter().zip(held) {
            let report = run.source(source, held, store, read, &mut differences, show)?;
            read += report.tally.read;
            sources.push(report);
        }
        let breaches = topics.full_name(&topics.breaches);
        let breaches = read_breaches(&connection, &admin, &breaches, ASK, &mut differences)?;
        Ok(Report { hours: task.hours, sources, breaches, differences })
    }
}

/// What all sources share.
#[derive(Clone, Copy)]
struct Run<'a> {
    task: &'a Task<'a>,
    connection: &'a Connection,
    admin: &'a Admin,
    letters: &'a Letters,
}

impl Run<'_> {
    fn source(
        &self,
        source: &Source,
        held: Held,
        store: &mut Store,
        before: u64,
        differences: &mut Differences,
        show: &mut Show<'_>,
    ) -> Result<SourceReport, Failed> {
        let Task { settings, hours: asked, workers, .. } = self.task;
        let hours = asked.start.max(held.from_us).min(asked.end)..asked.end;
        let note = match () {
            () if !held.has_topic => Some("no such topic: no data".to_owned()),
            () if hours.is_empty() => {
                Some("its topic does not hold these hours any more: nothing compared".to_owned())
            }
            () if hours.start > asked.start => {
                Some(format!("its topic holds hours from {} on", shown(hours.start)))
            }
            () => None,
        };
        let mut report = SourceReport {
            name: source.name.clone(),
            hours: if held.has_topic { hours.clone() } else { asked.end..asked.end },
            note,
            tally: recompute::Tally::default(),
            waiting: held.waiting,
            outcomes: Vec::new(),
        };
        if report.hours.is_empty() {
            return Ok(report);
        }
        let work = Work {
            connection: self.connection,
            source,
            hours: &hours,
            letters: self.letters,
            most_bytes: settings.limits.record_bytes,
            shards: settings.topics.internal_partitions,
        };
        let recomputed = recompute(work, held.inputs, *workers, differences, before, show)?;
        report.tally = recomputed.tally;
        differences.extend(recomputed.differences);
        let mut places = Vec::new();
        for (rollup, rows) in source.rollups.iter().zip(&recomputed.tables) {
            let table = Table { source, rollup, rows, letters: self.letters, hours: &hours };
            places.push(self.stored(table, store, differences)?);
            places.push(self.told(table, differences)?);
        }
        let finished_us = places.iter().filter_map(Place::finished_us).max();
        report.outcomes = places.into_iter().map(|place| place.conclude(finished_us, differences)).collect();
        Ok(report)
    }

    /// The rows in Postgres.
    fn stored<'t>(
        &self,
        table: Table<'t>,
        store: &mut Store,
        differences: &mut Differences,
    ) -> Result<Place<'t>, StoreError> {
        let name = &table.rollup.table;
        let mut place = Place::new(table, name.clone());
        for hour_us in table.hours.clone().step_by(HOUR_US as usize) {
            store.rows_of_hour(name, hour_us, |row| {
                if let Err(difference) = topic::take_row(&mut place, table, hour_us, row) {
                    differences.push(difference);
                }
            })?;
        }
        Ok(place)
    }

    /// The rows in the table's topic.
    fn told<'t>(&self, table: Table<'t>, differences: &mut Differences) -> Result<Place<'t>, KafkaError> {
        let name = self.task.settings.topics.full_name(&table.rollup.topic());
        let mut place = Place::new(table, name.clone());
        topic::read(self.connection, self.admin, &name, ASK, &mut place, table.hours.start, differences)?;
        Ok(place)
    }
}
