//! Evaluate: partials -> shards -> outputs, checkpoints and offsets, in one transaction.
//!
//! What a shard says follows from its log alone, so after a failed transaction it is simply said again, as long as
//! the shard is still this worker's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::orphans::Orphans;
use super::restore::restore;
use super::shard_slot::ShardSlot;
use super::{ASK, Context, RoleError, wall_clock_us};
use crate::core::event::Reason;
use crate::core::output::Output;
use crate::core::shard::ShardOptions;
use crate::core::time::SECOND_US;
use crate::http::{Component, Invariant, Role, State};
use crate::kafka::{
    CommitError, Committed, GroupReader, ReaderEvent, TopicPartition, TransactionalWriter, WriterRecord,
};
use crate::wire::partial::{self, PartialError};

/// Records between two looks at the group and the clock: in a replay each may take a millisecond or more.
const BATCH: usize = 200;
/// The group is looked after in between.
const IDLE_WAIT: Duration = Duration::from_millis(100);
const GAUGES_EVERY: Duration = Duration::from_secs(1);
/// Between two tries of a commit: most fail for a rebalance, which is over in a moment.
const RETRY: Duration = Duration::from_millis(20);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// Outputs held before a commit, in records.
const OUTPUTS_MAX: usize = 20_000;

struct Evaluate {
    context: Context,
    worker: u32,
    partials: String,
    options: ShardOptions,
    slots: BTreeMap<i32, ShardSlot>,
    writer: TransactionalWriter,
    /// Nobody has said yet what became of the last transaction.
    in_doubt: bool,
    /// Partitions in which a record of a newer release was met, and what is said of each: they wait for an upgrade.
    paused: BTreeMap<i32, String>,
}

pub fn run(context: &Context, worker: u32) -> Result<(), RoleError> {
    let settings = &context.settings;
    let seconds = |interval: Duration| i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
    let evaluate = Evaluate {
        worker,
        partials: settings.topics.full_name(&settings.topics.partials),
        options: ShardOptions {
            provisional_every_s: seconds(settings.intervals.provisional),
            heartbeat_every_s: seconds(settings.intervals.heartbeat),
            rows_per_record: settings.limits.rows_per_record,
        },
        slots: BTreeMap::new(),
        writer: TransactionalWriter::open(&context.connection, &context.member(Role::Evaluate, worker))?,
        in_doubt: false,
        paused: BTreeMap::new(),
        context: context.clone(),
    };
    evaluate.run()
}

impl Evaluate {
    fn run(mut self) -> Result<(), RoleError> {
        let mut reader = self.context.join(Role::Evaluate, self.worker, vec![self.partials.clone()])?;
        let component = Component::Evaluate(self.worker);
        let interval = self.context.settings.intervals.commit;
        let mut committed = Instant::now();
        let mut shown = Instant::now();
        // Who comes as a stranger each time makes the group share out its shards anew.
        let mut orphans = match self.context.settings.kafka.static_membership {
            true => Some(Orphans::new(&self.context, self.worker, &self.partials)),
            false => None,
        };
        while !self.context.stop.is_raised() {
            self.context.health.beat(component);
            while let Some(event) = reader.next_event()? {
                self.rebalance(&mut reader, event)?;
            }
            let urgent = self.read(&mut reader, self.wait(committed + interval))?;
            if urgent || committed.elapsed() >= interval || self.held() >= OUTPUTS_MAX {
                committed = Instant::now();
                self.commit(&mut reader)?;
            }
            if shown.elapsed() >= GAUGES_EVERY {
                shown = Instant::now();
                self.show_gauges();
            }
            let found = orphans.as_mut().map(|orphans| orphans.found(&reader)).unwrap_or_default();
            if !found.is_empty() {
                tracing::warn!(shards = ?found, "shards are nobody's, joining their group as a stranger");
                reader = self.rejoin(reader)?;
                orphans = None;
            }
        }
        self.finish(&mut reader)
    }

    /// Leaves what it has to the session timeout and joins without the stable name, so that all is shared out anew.
    fn rejoin(&mut self, mut reader: GroupReader) -> Result<GroupReader, RoleError> {
        self.commit(&mut reader)?;
        let owned: Vec<i32> = self.slots.keys().copied().collect();
        owned.into_iter().for_each(|shard| self.forget(shard));
        reader.close();
        let waits = State::Starting("not in its group again yet".into());
        self.context.health.set(Component::Evaluate(self.worker), waits);
        self.context.join_as(None, Role::Evaluate, self.worker, vec![self.partials.clone()])
    }

    /// Commits what is pending and writes a last checkpoint, as far as half the grace goes: leaving needs the rest.
    fn finish(&mut self, reader: &mut GroupReader) -> Result<(), RoleError> {
        for slot in self.slots.values_mut() {
            slot.checkpoint_if_due(Duration::ZERO, Instant::now())?;
        }
        self.commit(reader)?;
        let limit = self.context.settings.intervals.shutdown / 2;
        let stop = self.context.stop.clone();
        let in_time = || stop.elapsed().is_some_and(|elapsed| elapsed < limit);
        let mut slices = 1;
        while self.slots.values().any(ShardSlot::is_writing) && in_time() {
            self.commit(reader)?;
            slices += 1;
        }
        tracing::debug!(worker = self.worker, slices, "last checkpoint");
        Ok(())
    }

    fn rebalance(&mut self, reader: &mut GroupReader, event: ReaderEvent) -> Result<(), RoleError> {
        match event {
            ReaderEvent::Assigned(partitions) => {
                let starts = self.take_over(reader, &partitions)?;
                reader.assign(&starts)?;
                self.context.metrics.rebalances(Role::Evaluate).inc();
                self.show_shards();
            }
            ReaderEvent::Revoked { partitions, lost } => {
                // Once only: no other event comes before this one is answered, so a second try could wait for ever.
                if !lost {
                    self.attempt(reader)?;
                }
                for partition in &partitions {
                    self.forget(partition.partition);
                }
                reader.unassign(&partitions)?;
            }
            ReaderEvent::OffsetLost { partition, wanted } => {
                let partials = self.partials.clone();
                return Err(RoleError::PartialsLost { shard: partition.partition, partials, wanted });
            }
        }
        Ok(())
    }

    fn take_over(
        &mut self,
        reader: &GroupReader,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, crate::kafka::Start)>, RoleError> {
        let component = Component::Evaluate(self.worker);
        let committed = super::patiently(&self.context, component, || reader.committed(partitions, ASK))?;
        let shards: Vec<(i32, Option<Committed>)> =
            committed.into_iter().map(|(partition, committed)| (partition.partition, committed)).collect();
        let slots = super::patiently(&self.context, component, || {
            restore(&self.context, component, &shards, self.options)
        })?;
        let mut starts = Vec::new();
        for slot in slots {
            let partition = TopicPartition::new(self.partials.as_str(), slot.partition);
            starts.push((partition, start_at(slot.next())));
            self.slots.insert(slot.partition, slot);
        }
        Ok(starts)
    }

    fn forget(&mut self, partition: i32) {
        if let Some(slot) = self.slots.remove(&partition) {
            let sources = slot.shard().sources().map(|(name, _)| name);
            let tables = slot.shard().series().map(|(name, ..)| name);
            self.context.metrics.forget_shard(partition as u32, sources, tables);
        }
        self.paused.remove(&partition);
        self.show_shards();
    }

    /// How many shards there are, and whether all of them go on.
    fn show_shards(&self) {
        let Context { metrics, health, .. } = &self.context;
        metrics.shards_owned(self.worker).set(self.slots.len() as i64);
        metrics.shards_paused(self.worker).set(self.paused.len() as i64);
        let state = match self.paused.values().next() {
            None => State::Ready,
            Some(why) => State::Degraded(why.clone()),
        };
        health.set(Component::Evaluate(self.worker), state);
    }

    /// How long a record may be waited for: what is pending is committed by `due`.
    fn wait(&self, due: Instant) -> Duration {
        match self.slots.values().any(ShardSlot::is_pending) {
            true => due.saturating_duration_since(Instant::now()).min(IDLE_WAIT),
            false => IDLE_WAIT,
        }
    }

    /// Applies what has arrived, and waits for it; true when a subscriber is waiting.
    fn read(&mut self, reader: &mut GroupReader, wait: Duration) -> Result<bool, RoleError> {
        let emitted_at_us = wall_clock_us();
        let mut failed: Option<RoleError> = None;
        let mut unknown: Option<(i32, PartialError)> = None;
        let Evaluate { context, slots, paused, .. } = self;
        reader.read(wait, BATCH, |record| {
            // What comes after the stop is the next owner's.
            let waits = context.stop.is_raised()
                || paused.contains_key(&record.partition)
                || unknown.as_ref().is_some_and(|u| u.0 == record.partition);
            let Some(slot) = slots.get_mut(&record.partition).filter(|_| failed.is_none() && !waits) else {
                return;
            };
            match partial::decode(record.payload.unwrap_or_default()) {
                Ok(decoded) => match slot.apply(&context.settings, record.offset, decoded, emitted_at_us) {
                    Ok(outputs) => count(context, &outputs),
                    Err(violation) => {
                        let (shard, offset) = (record.partition, record.offset);
                        failed = Some(RoleError::Violation { shard, offset, violation });
                    }
                },
                Err(error @ PartialError::UnknownVersion { .. }) => unknown = Some((record.partition, error)),
                Err(error) => failed = Some(error.into()),
            }
        })?;
        if let Some(error) = failed {
            if let RoleError::Violation { violation, .. } = &error {
                let invariant = match violation.invariant() {
                    "P1" => Invariant::Conservation,
                    _ => Invariant::Deterministic,
                };
                self.context.metrics.invariant_violations(invariant).inc();
            }
            return Err(error);
        }
        if let Some((partition, error)) = unknown {
            self.pause(reader, partition, &error)?;
        }
        Ok(self.slots.values().any(ShardSlot::is_urgent))
    }

    fn pause(
        &mut self,
        reader: &mut GroupReader,
        partition: i32,
        error: &PartialError,
    ) -> Result<(), RoleError> {
        tracing::error!(shard = partition, %error, "shard paused");
        self.paused.insert(partition, format!("shard {partition} is paused: {error}"));
        reader.pause(&[TopicPartition::new(self.partials.as_str(), partition)])?;
        self.show_shards();
        Ok(())
    }

    fn held(&self) -> usize {
        self.slots.values().map(|slot| slot.outputs().len()).sum()
    }

    /// Commits outputs, checkpoint slices and offsets; tries again until it succeeds or the shards are not ours.
    fn commit(&mut self, reader: &mut GroupReader) -> Result<(), RoleError> {
        let settings = self.context.settings.clone();
        // One a commit: a cut takes time in which no breach is told.
        let mut cut = false;
        for slot in self.slots.values_mut() {
            cut = cut || slot.checkpoint_if_due(settings.intervals.checkpoint, Instant::now())?;
            slot.cut_slice(settings.limits.checkpoint_slice_bytes / 4)?;
        }
        let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
        while !self.attempt(reader)? && !self.context.stop.is_raised() {
            self.context.health.beat(Component::Evaluate(self.worker));
            self.answer(reader)?;
            backoff.wait(&self.context.stop);
        }
        Ok(())
    }

    /// Commits what is pending once; false when it did not commit and is still pending.
    fn attempt(&mut self, reader: &GroupReader) -> Result<bool, RoleError> {
        if self.in_doubt && !self.find_out(reader)? {
            return Ok(false);
        }
        if !self.slots.values().any(ShardSlot::is_pending) {
            return Ok(true);
        }
        let began = Instant::now();
        match self.try_commit(reader) {
            Ok(()) => {
                let pending = self.slots.values_mut().filter(|slot| slot.is_pending());
                pending.for_each(ShardSlot::committed);
                let seconds = began.elapsed().as_secs_f64();
                self.context.metrics.commit_seconds(Role::Evaluate).observe(seconds);
                Ok(true)
            }
            Err(error) => {
                self.in_doubt = !matches!(error, CommitError::Aborted { .. });
                self.context.mend(Component::Evaluate(self.worker), &mut self.writer, error)?;
                Ok(false)
            }
        }
    }

    /// Drops what turns out to be committed after all; false when the group cannot say before it is shared out anew.
    fn find_out(&mut self, reader: &GroupReader) -> Result<bool, RoleError> {
        let component = Component::Evaluate(self.worker);
        let standings = self.context.standings(component, reader, &mut self.writer)?;
        let Some(standings) = standings else { return Ok(false) };
        self.in_doubt = false;
        for (partition, committed) in standings {
            if let (Some(slot), Some(committed)) = (self.slots.get_mut(&partition.partition), committed) {
                slot.found_at(committed.next);
            }
        }
        Ok(true)
    }

    /// Answers the group after a failed commit, of which a rebalance is the usual cause. Shards that go are dropped
    /// as they are: their new owner says the same again.
    fn answer(&mut self, reader: &mut GroupReader) -> Result<(), RoleError> {
        while let Some(event) = reader.next_event()? {
            match event {
                ReaderEvent::Revoked { partitions, .. } => {
                    partitions.iter().for_each(|partition| self.forget(partition.partition));
                    reader.unassign(&partitions)?;
                }
                event => self.rebalance(reader, event)?,
            }
        }
        Ok(())
    }

    fn try_commit(&mut self, reader: &GroupReader) -> Result<(), CommitError> {
        let topics = &self.context.settings.topics;
        let changelog = topics.full_name(&topics.changelog);
        self.writer.begin()?;
        let mut offsets = Vec::new();
        for slot in self.slots.values().filter(|slot| slot.is_pending()) {
            for output in slot.outputs() {
                let headers: Vec<(&str, &[u8])> =
                    output.headers.iter().map(|(n, v)| (*n, v.as_slice())).collect();
                self.writer.send(WriterRecord {
                    topic: &output.topic,
                    key: Some(&output.key),
                    payload: Some(&output.value),
                    headers: &headers,
                    ..WriterRecord::default()
                })?;
            }
            for record in slot.slice() {
                let bytes = record.value.as_ref().map_or(0, Vec::len);
                self.context.metrics.checkpoint_bytes().inc_by(bytes as u64);
                self.writer.send(WriterRecord {
                    topic: &changelog,
                    partition: Some(slot.partition),
                    key: Some(&record.key),
                    payload: record.value.as_deref(),
                    ..WriterRecord::default()
                })?;
            }
            let partition = TopicPartition::new(self.partials.as_str(), slot.partition);
            offsets.push((partition, Committed { next: slot.commits(), metadata: String::new() }));
        }
        let group =
            reader.group_metadata().map_err(|error| CommitError::Aborted { reason: error.to_string() })?;
        self.writer.commit(&offsets, &group)
    }

    fn show_gauges(&mut self) {
        let metrics = &self.context.metrics;
        let now_us = wall_clock_us();
        for (&partition, slot) in &mut self.slots {
            for (table, events) in slot.take_other() {
                metrics.other_events(&table).inc_by(events);
            }
            let shard = partition as u32;
            for (source, clock) in slot.shard().sources() {
                if let Some(watermark_us) = clock.watermark_us() {
                    let delay_s = (now_us - watermark_us) as f64 / SECOND_US as f64;
                    metrics.watermark_delay_seconds(source, shard).set(delay_s);
                }
            }
            for (table, series, limit) in slot.shard().series() {
                metrics.series(table, shard).set(series as i64);
                metrics.series_limit(table).set(i64::from(limit));
            }
        }
    }
}

fn start_at(next: i64) -> crate::kafka::Start {
    match next {
        // From the first record that is retained: there is no state that a loss could make wrong.
        0 => crate::kafka::Start::Beginning,
        next => crate::kafka::Start::At(next),
    }
}

fn count(context: &Context, outputs: &[Output]) {
    for output in outputs {
        match output {
            Output::Row(row) => {
                context.metrics.rows_written(&row.table).inc();
            }
            Output::Breach(breach) => {
                context.metrics.breaches(breach.transition).inc();
                tracing::info!(
                    rule = format!("{}/{}", breach.document, breach.rule),
                    transition = breach.transition.name(),
                    severity = breach.level,
                    summary = breach.summary,
                    stale = breach.stale,
                    "breach"
                );
            }
            Output::HourGone(gone) => {
                context.metrics.dead_letters(&gone.source, Reason::HourGone).inc_by(gone.event_count);
            }
            Output::SloHour(_) | Output::RuleHour(_) | Output::Status(_) | Output::Heartbeat(_) => {}
        }
    }
}
