//! Store: output topics -> Postgres. Where it stands is kept in Postgres, in the transaction of the rows, so each
//! record counts once whatever dies. While Postgres is away it waits; nothing is lost, for the topics keep it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::{ASK, Context, RoleError, wall_clock_us};
use crate::config::settings::Secret;
use crate::core::time::MILLI_US;
use crate::http::{Component, Role, State};
use crate::kafka::{Admin, EndOf, GroupReader, ReaderEvent, Record, Start, TopicPartition};
use crate::store::{Batch, OffsetMove, Routes, Store, StoreError, StoredRecord};

const BATCH: usize = 2_000;
/// The group is looked after in between.
const WAIT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

struct StoreRole {
    context: Context,
    url: Secret,
    routes: Routes,
    rules_version: i64,
    store: Option<Store>,
    /// An assignment that waits for Postgres to say where to begin.
    claims: Option<Vec<TopicPartition>>,
    /// What Postgres expects to be told next, by partition.
    expected: BTreeMap<TopicPartition, Option<i64>>,
    batch: Batch,
    backoff: Backoff,
}

pub fn run(context: &Context, url: &Secret) -> Result<(), RoleError> {
    while !context.stop.is_raised() {
        let (version, rules) = context.board.current();
        let routes = Routes::new(&rules, &context.settings.topics, &context.settings.limits);
        let role = StoreRole {
            url: url.clone(),
            routes,
            rules_version: version,
            store: None,
            claims: None,
            expected: BTreeMap::new(),
            batch: Batch::default(),
            backoff: Backoff::new(PAUSE, LONGEST_PAUSE),
            context: context.clone(),
        };
        role.run()?;
    }
    Ok(())
}

impl StoreRole {
    /// Until the process is to stop or there are new rules.
    fn run(mut self) -> Result<(), RoleError> {
        let topics = self.routes.topics().into_iter().map(str::to_owned).collect();
        let mut reader = self.context.join(Role::Store, 0, topics)?;
        while !self.context.stop.is_raised() && self.context.board.version() == self.rules_version {
            self.context.health.beat(Component::Store);
            while let Some(event) = reader.next_event()? {
                self.rebalance(&mut reader, event)?;
            }
            if !self.connect()? || !self.claim(&mut reader)? {
                continue;
            }
            if self.batch.records.is_empty() {
                self.read(&mut reader)?;
            }
            self.write(&mut reader)?;
        }
        Ok(())
    }

    fn rebalance(&mut self, reader: &mut GroupReader, event: ReaderEvent) -> Result<(), RoleError> {
        match event {
            ReaderEvent::Assigned(partitions) => {
                self.forget();
                self.claims = Some(partitions);
                self.context.metrics.rebalances(Role::Store).inc();
            }
            ReaderEvent::Revoked { partitions, .. } => {
                // What was not written is read again by the next owner.
                self.forget();
                reader.unassign(&partitions)?;
            }
            ReaderEvent::OffsetLost { partition, wanted } => {
                let admin = Admin::open(&self.context.connection)?;
                let ask = || admin.offsets(std::slice::from_ref(&partition), EndOf::Earliest, ASK);
                let first = super::patiently(&self.context, Component::Store, ask)?;
                let to = first.first().map_or(0, |(_, offset)| *offset);
                tracing::error!(%partition, wanted, to, "outputs were deleted before they were stored");
                reader.reposition(&[(partition, Start::At(to))])?;
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.expected.clear();
        self.batch = Batch::default();
        self.claims = None;
    }

    /// Opens the database and makes its tables those of the rules. False: not yet, and a pause has passed.
    fn connect(&mut self) -> Result<bool, RoleError> {
        if self.store.is_some() {
            return Ok(true);
        }
        let opened = Store::connect(self.url.reveal(), &self.context.settings.postgres.schema).and_then(
            |mut store| {
                let (_, rules) = self.context.board.current();
                for step in store.migrate(&rules)? {
                    tracing::info!(step, "database migrated");
                }
                Ok(store)
            },
        );
        match opened {
            Ok(store) => {
                self.store = Some(store);
                Ok(true)
            }
            Err(error) => self.wait(error).map(|()| false),
        }
    }

    /// Answers a waiting assignment with what Postgres says. False: not yet.
    fn claim(&mut self, reader: &mut GroupReader) -> Result<bool, RoleError> {
        let Some(partitions) = &self.claims else { return Ok(true) };
        let Some(store) = &mut self.store else { return Ok(false) };
        let mut starts = Vec::new();
        let mut expected = BTreeMap::new();
        for partition in partitions {
            match store.claim(&partition.topic, partition.partition) {
                Ok(next) => {
                    starts.push((partition.clone(), next.map_or(Start::Beginning, Start::At)));
                    expected.insert(partition.clone(), next);
                }
                Err(error) => return self.wait(error).map(|()| false),
            }
        }
        reader.assign(&starts)?;
        self.expected = expected;
        self.claims = None;
        self.ready();
        Ok(true)
    }

    fn read(&mut self, reader: &mut GroupReader) -> Result<(), RoleError> {
        let StoreRole { batch, expected, .. } = self;
        let mut moves: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        reader.read(WAIT, BATCH, |record| {
            let partition = TopicPartition::new(record.topic, record.partition);
            if expected.contains_key(&partition) {
                moves.insert(partition, record.offset + 1);
                batch.records.push(stored(&record));
            }
        })?;
        batch.moves = moves
            .into_iter()
            .map(|(partition, next)| OffsetMove {
                expected: expected.get(&partition).copied().flatten(),
                topic: partition.topic.to_string(),
                partition: partition.partition,
                next,
            })
            .collect();
        Ok(())
    }

    fn write(&mut self, reader: &mut GroupReader) -> Result<(), RoleError> {
        if self.batch.records.is_empty() {
            self.context.metrics.store().behind_seconds.set(0.0);
            return Ok(());
        }
        let Some(store) = &mut self.store else { return Ok(()) };
        let began = Instant::now();
        match store.write(&self.batch, &self.routes) {
            Ok(written) => {
                for invalid in &written.invalid {
                    tracing::error!(%invalid, "record cannot be stored, skipped");
                }
                let metrics = self.context.metrics.store();
                metrics.batches.inc();
                metrics.rows.inc_by(written.rows);
                let oldest_us = self.batch.records.iter().map(|r| r.timestamp_ms * MILLI_US).min();
                let behind_us = oldest_us.map_or(0, |oldest_us| wall_clock_us() - oldest_us);
                metrics.behind_seconds.set(behind_us as f64 / 1e6);
                self.context.metrics.commit_seconds(Role::Store).observe(began.elapsed().as_secs_f64());
                for moved in std::mem::take(&mut self.batch).moves {
                    let partition = TopicPartition::new(moved.topic, moved.partition);
                    self.expected.insert(partition, Some(moved.next));
                }
                self.ready();
                Ok(())
            }
            Err(error @ StoreError::Fenced { .. }) => {
                // Another owner went on, or this one wrote and never heard of it: ask Postgres anew.
                tracing::warn!(%error, "store starts over where postgres stands");
                self.start_over(reader)
            }
            Err(error) => {
                self.context.metrics.store().retries.inc();
                self.wait(error)
            }
        }
    }

    fn start_over(&mut self, reader: &mut GroupReader) -> Result<(), RoleError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        self.batch = Batch::default();
        let mut starts = Vec::new();
        for (partition, expected) in &mut self.expected {
            match store.claim(&partition.topic, partition.partition) {
                Ok(next) => *expected = next,
                Err(error) => return self.wait(error),
            }
            starts.push((partition.clone(), expected.map_or(Start::Beginning, Start::At)));
        }
        reader.reposition(&starts)?;
        Ok(())
    }

    fn ready(&mut self) {
        self.backoff.reset();
        self.context.health.set(Component::Store, State::Ready);
    }

    /// Waits out what time can mend; anything else ends the process.
    fn wait(&mut self, error: StoreError) -> Result<(), RoleError> {
        if !matches!(error, StoreError::Unavailable { .. }) {
            return Err(error.into());
        }
        let pause = self.backoff.pause();
        tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "store waits for postgres");
        self.context.health.set(Component::Store, State::Degraded(error.to_string()));
        self.context.stop.wait(pause);
        Ok(())
    }
}

fn stored(record: &Record<'_>) -> StoredRecord {
    let header = |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), value.unwrap_or_default().to_vec());
    StoredRecord {
        topic: record.topic.to_owned(),
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms.unwrap_or(0),
        key: record.key.unwrap_or_default().to_vec(),
        value: record.payload.map(<[u8]>::to_vec),
        headers: record.headers().map(header).collect(),
    }
}
