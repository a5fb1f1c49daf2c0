//! Ingest: input topics -> events -> deltas and clocks. Stateless but for what one flush holds.
//!
//! Every flush is one transaction of partials, dead letters and source offsets. When one fails, everything since the
//! last commit is discarded and read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::dead_letters::DeadLetters;
use super::lag::Trails;
use super::pace::{Pace, Pending};
use super::{ASK, Context, RoleError, wall_clock_us};
use crate::core::aggregate::Position;
use crate::core::event::{Event, Invalid, Reason};
use crate::core::fold::{Assigned, Fold, FoldedOffset, PartitionId};
use crate::core::identity::hash;
use crate::core::partial::Gap;
use crate::core::plan::{Body, Plan};
use crate::core::time::{MILLI_US, SECOND_US, second_of};
use crate::decode::Decoder;
use crate::http::{Component, LagMetrics, Role, SourceMetrics, SourceTally, State};
use crate::kafka::{
    Admin, CommitError, Committed, EndOf, GroupReader, KafkaError, ReaderEvent, Record, Standing, Start,
    TopicInfo, TopicPartition, TransactionalWriter, WriterRecord,
};
use crate::wire::offset::OffsetMetadata;
use crate::wire::partial::{FlushHead, encode_flush, encode_spec};

const BATCH: usize = 10_000;
/// Reading goes on without the answer: one partition without a leader must not hold up the others.
const LOOK: Duration = Duration::from_secs(1);
/// So many records are read in a moment.
const FEW: u64 = 1_000;
/// A partition that the group hands out is known to every broker after this.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// Between two tries of a flush: most fail for a rebalance, which is over in a moment.
const RETRY: Duration = Duration::from_millis(20);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

struct Ingest {
    context: Context,
    worker: u32,
    plan: Arc<Plan>,
    /// Index of a source by its topic.
    sources: BTreeMap<String, u16>,
    topics: BTreeMap<u16, TopicInfo>,
    decoders: Vec<Decoder>,
    counters: Vec<SourceMetrics>,
    /// Of each source, what was read since it was last counted.
    tallies: Vec<SourceTally>,
    lags: Vec<LagMetrics>,
    admin: Admin,
    writer: TransactionalWriter,
    fold: Fold,
    /// Where the last commit that certainly came to pass left each partition.
    certain: BTreeMap<PartitionId, FoldedOffset>,
    /// Partitions are held, and the group did not say where they begin.
    adrift: bool,
    dead_letters: DeadLetters,
    event: Event,
    spec_written: bool,
    /// Messages not yet read when the broker was last asked.
    lag: u64,
    /// Messages read since then, and in the time before; so many more are no backlog.
    counted: u64,
    usual: u64,
    trails: Trails,
    backoff: Backoff,
}

/// Runs one worker until stopped. New rules make it begin anew; its partitions come back to it at once.
pub fn run(context: &Context, worker: u32) -> Result<(), RoleError> {
    while !context.stop.is_raised() {
        let plan = context.plan()?;
        let open = || Ingest::open(context, worker, Arc::clone(&plan));
        super::patiently(context, Component::Ingest(worker), open)?.run()?;
    }
    Ok(())
}

impl Ingest {
    fn open(context: &Context, worker: u32, plan: Arc<Plan>) -> Result<Ingest, RoleError> {
        let admin = Admin::open(&context.connection)?;
        let rules = &plan.rules;
        let names: Vec<&str> = rules.sources.iter().map(|source| source.topic.as_str()).collect();
        let described = admin.describe(&names, ASK)?;
        let topics = (0u16..).zip(described).filter(|(_, topic)| topic.exists).collect();
        let sources = (0u16..).zip(&rules.sources).map(|(at, source)| (source.topic.clone(), at)).collect();
        let writer = TransactionalWriter::open(&context.connection, &context.member(Role::Ingest, worker))?;
        let shards = context.settings.topics.internal_partitions;
        Ok(Ingest {
            worker,
            sources,
            topics,
            decoders: rules.sources.iter().map(Decoder::new).collect(),
            counters: rules.sources.iter().map(|source| context.metrics.source(&source.name)).collect(),
            tallies: vec![SourceTally::default(); rules.sources.len()],
            lags: rules.sources.iter().map(|source| context.metrics.lag(&source.name, worker)).collect(),
            dead_letters: DeadLetters::open(&admin, &context.settings.topics)?,
            admin,
            writer,
            fold: Fold::new(Arc::clone(&plan), shards),
            certain: BTreeMap::new(),
            adrift: false,
            event: Event::default(),
            spec_written: false,
            lag: 0,
            counted: 0,
            usual: 0,
            trails: Trails::new(context.lags.clone(), &plan),
            backoff: Backoff::new(RETRY, LONGEST_RETRY),
            plan,
            context: context.clone(),
        })
    }

    /// Until the process is to stop or there are new rules.
    fn run(mut self) -> Result<(), RoleError> {
        let topics = self.topics.values().map(|topic| topic.name.clone()).collect();
        let mut reader = self.context.join(Role::Ingest, self.worker, topics)?;
        let intervals = self.context.settings.intervals.clone();
        let component = Component::Ingest(self.worker);
        let mut pace = Pace::new(intervals.flush, intervals.flush_max, Instant::now());
        let mut observed = Instant::now();
        while !self.context.stop.is_raised() && self.context.board.version() == self.plan.version {
            self.context.health.beat(component);
            while let Some(event) = reader.next_event()? {
                self.rebalance(&mut reader, event)?;
            }
            if self.adrift {
                self.backoff.wait(&self.context.stop);
                self.start_over(&mut reader)?;
                continue;
            }
            let wait = pace.wait(self.pending(), Instant::now());
            self.read(&mut reader, wait)?;
            let now = Instant::now();
            let (pending, since_observed) = (self.pending(), now - observed);
            // What waits is flushed soon anyway, and takes the clocks along.
            let is_silent = pending.events == 0 && since_observed >= intervals.clock;
            if is_silent || self.is_full() || pace.is_due(pending, now) {
                let every_clock = since_observed >= intervals.clock * 4 / 5;
                if every_clock {
                    observed = now;
                    self.observe(&reader)?;
                    self.tell_lags();
                }
                pace.flushed(now);
                self.flush(&mut reader, every_clock)?;
            }
        }
        self.flush(&mut reader, true)?;
        self.lags.iter().for_each(LagMetrics::clear);
        Ok(())
    }

    fn rebalance(&mut self, reader: &mut GroupReader, event: ReaderEvent) -> Result<(), RoleError> {
        match event {
            ReaderEvent::Assigned(partitions) => {
                let starts = self.take_over(reader, &partitions)?;
                self.adrift = false;
                reader.assign(&starts)?;
                // Before the first clock: what waits in a partition ends its idleness.
                self.observe(reader)?;
                self.context.metrics.rebalances(Role::Ingest).inc();
                self.context.health.set(Component::Ingest(self.worker), State::Ready);
                tracing::info!(
                    worker = self.worker,
                    partitions = partitions.len(),
                    "ingest partitions assigned"
                );
            }
            ReaderEvent::Revoked { partitions, lost } => {
                if !lost {
                    self.flush(reader, false)?;
                }
                self.discard();
                self.adrift = false;
                self.trails.release();
                reader.unassign(&partitions)?;
            }
            ReaderEvent::OffsetLost { partition, wanted } => self.declare_gap(reader, &partition, wanted)?,
        }
        Ok(())
    }

    /// Begins to fold partitions where the group stands; gives where to read on. Waits for the group's offsets as long
    /// as a transaction of a dead owner holds them back.
    fn take_over(
        &mut self,
        reader: &GroupReader,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Start)>, RoleError> {
        let component = Component::Ingest(self.worker);
        let ask = || reader.committed(partitions, ASK);
        let standings = super::patiently(&self.context, component, ask)?;
        self.begin_at(standings)
    }

    fn begin_at(&mut self, standings: Vec<Standing>) -> Result<Vec<(TopicPartition, Start)>, RoleError> {
        self.discard();
        let partitions: Vec<_> = standings.iter().map(|(partition, _)| partition.clone()).collect();
        let first = self.earliest(&partitions)?;
        let mut starts = Vec::new();
        for ((partition, committed), (_, first)) in standings.into_iter().zip(first) {
            let Some((id, topic)) = self.identify(&partition) else { continue };
            let metadata = match &committed {
                Some(committed) => OffsetMetadata::decode(&committed.metadata).unwrap_or_else(|error| {
                    tracing::warn!(%partition, %error, "offset metadata not readable, lateness starts over");
                    OffsetMetadata::default()
                }),
                None => OffsetMetadata::default(),
            };
            let next = committed.map_or(first, |committed| committed.next);
            let (next, max_event_us) = self.not_before(id, &partition, next, metadata.max_event_us);
            let topic_hash = if topic.id.is_empty() { 0 } else { hash(&[&topic.id]) };
            let assigned = Assigned { partitions: topic.partitions, topic: topic_hash, next, max_event_us };
            self.fold.assign(id, assigned, wall_clock_us());
            self.trails.hold(id, &partition, next);
            starts.push((partition, Start::At(next)));
        }
        self.trails.keep(|id| self.fold.next(id).is_some());
        Ok(starts)
    }

    /// What a commit has moved does not move back, though a coordinator that is replaced may acknowledge what it then
    /// loses (KAFKA-20634).
    fn not_before(
        &self,
        id: PartitionId,
        partition: &TopicPartition,
        next: i64,
        max_event_us: Option<i64>,
    ) -> (i64, Option<i64>) {
        match self.certain.get(&id).filter(|certain| certain.next > next) {
            Some(certain) => {
                tracing::warn!(%partition, committed = next, certain = certain.next, "the group's offset went back");
                (certain.next, certain.max_event_us)
            }
            None => (next, max_event_us),
        }
    }

    /// Waits a while for partitions that were just added: not every broker may have heard of them yet.
    fn earliest(&mut self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, RoleError> {
        let (began, mut backoff) = (Instant::now(), Backoff::new(RETRY, LONGEST_RETRY));
        loop {
            let ask = || self.admin.offsets(partitions, EndOf::Earliest, ASK);
            match super::patiently(&self.context, Component::Ingest(self.worker), ask) {
                Err(RoleError::Kafka(KafkaError::UnknownTopic { what }))
                    if began.elapsed() < KNOWN_WITHIN && !self.context.stop.is_raised() =>
                {
                    tracing::debug!(what, "a broker does not know it yet");
                    backoff.wait(&self.context.stop);
                    // A client that has known the topic takes it for as large as it was, and does not look.
                    self.admin = Admin::open(&self.context.connection)?;
                }
                answer => return answer,
            }
        }
    }

    fn identify(&self, partition: &TopicPartition) -> Option<(PartitionId, &TopicInfo)> {
        let source = *self.sources.get(&*partition.topic)?;
        Some(((source, partition.partition), self.topics.get(&source)?))
    }

    fn declare_gap(
        &mut self,
        reader: &mut GroupReader,
        lost: &TopicPartition,
        wanted: i64,
    ) -> Result<(), RoleError> {
        let first = self.earliest(std::slice::from_ref(lost))?;
        let to = first.first().map_or(wanted, |(_, offset)| *offset);
        let Some((id, _)) = self.identify(lost) else { return Ok(()) };
        let from = self.fold.next(id).unwrap_or(wanted);
        if to < from {
            // The broker has less than was read: the log was cut at its end, by an unclean election perhaps.
            tracing::error!(partition = %lost, from, to, "the partition ends before what was already folded");
        }
        tracing::error!(partition = %lost, from, to, "records were deleted before they were read, gap declared");
        self.fold.declare_gap(id, Gap { from, to });
        reader.reposition(&[(lost.clone(), Start::At(to.max(from)))])?;
        Ok(())
    }

    fn read(&mut self, reader: &mut GroupReader, wait: Duration) -> Result<(), RoleError> {
        let now_us = wall_clock_us();
        let mut source = None;
        reader.read(wait, BATCH, |record| {
            if !record.goes_on {
                source = self.sources.get(record.topic).copied();
            }
            if let Some(source) = source {
                self.record(source, &record, now_us);
            }
        })?;
        self.trails.write();
        for (tally, counters) in self.tallies.iter_mut().zip(&self.counters) {
            self.counted += tally.messages;
            counters.count(std::mem::take(tally));
        }
        Ok(())
    }

    fn record(&mut self, source: u16, record: &Record<'_>, now_us: i64) {
        let id = (source, record.partition);
        if !self.fold.wants(id, record.offset) {
            return;
        }
        let at = usize::from(source);
        let bytes = record.payload.map_or(0, <[u8]>::len);
        let tally = &mut self.tallies[at];
        tally.messages += 1;
        tally.bytes += bytes as u64;
        self.trails.note(id, record.offset, record.timestamp_ms.unwrap_or(now_us / MILLI_US));
        let limit = self.context.settings.limits.record_bytes;
        let decoded = if bytes > limit {
            let detail = format!("{bytes} bytes, more than limits.record ({limit})");
            Err(Invalid { reason: Reason::TooLarge, detail })
        } else {
            self.decoders[at].decode(record.payload, &mut self.event)
        };
        let folded = match decoded {
            Ok(()) => {
                let timestamp_us = record.timestamp_ms.map_or(now_us, |ms| ms.saturating_mul(MILLI_US));
                let position = Position { partition: record.partition, offset: record.offset, timestamp_us };
                self.fold.event(id, position, now_us, &mut self.event)
            }
            Err(invalid) => {
                self.fold.reject(id, record.offset, now_us);
                Err(invalid)
            }
        };
        match folded {
            Ok(folded) => self.tallies[at].late += u64::from(folded.late),
            Err(invalid) => self.dead_letters.hold(source, record, invalid),
        }
    }

    /// Asks the broker where the partitions end: lag, and idleness by its word.
    fn observe(&mut self, reader: &GroupReader) -> Result<(), RoleError> {
        let partitions = reader.assignment();
        let now_us = wall_clock_us();
        let ends = match self.admin.offsets(&partitions, EndOf::LatestCommitted, LOOK) {
            Ok(ends) => ends,
            Err(error @ KafkaError::Denied { .. }) => return Err(error.into()),
            // Without an answer nothing becomes idle.
            Err(_) => return Ok(()),
        };
        let positions: BTreeMap<TopicPartition, Option<i64>> = reader.position()?.into_iter().collect();
        let mut lag_of = vec![0u64; self.lags.len()];
        let mut behind_us = vec![0i64; self.lags.len()];
        for (partition, end) in ends {
            let Some((id, _)) = self.identify(&partition) else { continue };
            let next = self.fold.next(id).unwrap_or(0);
            let position = positions.get(&partition).copied().flatten().unwrap_or(next).max(next);
            self.trails.passed(id, position);
            let lag = u64::try_from(end - position).unwrap_or(0);
            self.fold.observe_end(id, lag, now_us);
            lag_of[usize::from(id.0)] += lag;
            if let Some(newest_us) = self.fold.max_event_us(id).filter(|_| lag > 0) {
                let behind = &mut behind_us[usize::from(id.0)];
                *behind = (*behind).max(now_us - newest_us);
            }
        }
        self.lag = lag_of.iter().sum();
        self.usual = std::mem::take(&mut self.counted);
        for ((gauges, lag), behind_us) in self.lags.iter().zip(lag_of).zip(behind_us) {
            gauges.messages.set(i64::try_from(lag).unwrap_or(i64::MAX));
            gauges.seconds.set(behind_us as f64 / SECOND_US as f64);
        }
        Ok(())
    }

    /// How far the watched groups are behind, if that was found out a moment ago.
    fn tell_lags(&mut self) {
        let now_us = wall_clock_us();
        for (at, projection) in (0u16..).zip(&self.plan.projections) {
            if let Body::Lag(_) = projection.body
                && let Some(sampled) = self.context.lags.newest(projection.id, now_us)
            {
                self.fold.lag(at, second_of(sampled.at_us), &sampled.samples);
            }
        }
    }

    fn is_full(&mut self) -> bool {
        self.fold.pending().0 >= self.context.settings.limits.deltas || self.dead_letters.is_full()
    }

    fn pending(&mut self) -> Pending {
        let (_, events) = self.fold.pending();
        Pending {
            events,
            has_grown: self.fold.has_grown(),
            has_passed: self.fold.has_passed(),
            has_turned: self.fold.has_turned(),
            is_behind: self.lag > self.usual.max(FEW),
        }
    }

    fn flush(&mut self, reader: &mut GroupReader, every_clock: bool) -> Result<(), RoleError> {
        let began = Instant::now();
        let flush = self.fold.flush(every_clock);
        if flush.offsets.is_empty() {
            return Ok(());
        }
        let head = FlushHead {
            rules: self.plan.version,
            worker: hash(&[self.writer.transactional_id()]) as u32,
            log_time_us: wall_clock_us(),
        };
        let mut records = Vec::new();
        let bytes = self.context.settings.limits.partial_bytes;
        for (shard, (deltas, clocks)) in (0i32..).zip(flush.deltas.iter().zip(&flush.clocks)) {
            if !self.spec_written {
                records.push((shard, encode_spec(self.plan.version, &self.plan.rules)?));
            }
            records
                .extend(encode_flush(head, deltas, clocks, bytes)?.into_iter().map(|record| (shard, record)));
        }
        match self.commit(reader, &records, &flush.offsets) {
            Ok(()) => {
                self.spec_written = true;
                self.certain.extend(flush.offsets.iter().map(|offset| (offset.partition, *offset)));
                self.backoff.reset();
                for (source, reason) in self.dead_letters.reasons() {
                    let source = &self.plan.rules.sources[usize::from(source)].name;
                    self.context.metrics.dead_letters(source, reason).inc();
                }
                self.dead_letters.forget();
                self.context.metrics.flush_seconds(Role::Ingest).observe(began.elapsed().as_secs_f64());
                Ok(())
            }
            Err(error) => {
                self.context.mend(Component::Ingest(self.worker), &mut self.writer, error)?;
                self.backoff.wait(&self.context.stop);
                self.start_over(reader)
            }
        }
    }

    fn commit(
        &mut self,
        reader: &GroupReader,
        records: &[(i32, Vec<u8>)],
        offsets: &[FoldedOffset],
    ) -> Result<(), CommitError> {
        let topics = &self.context.settings.topics;
        let partials = topics.full_name(&topics.partials);
        self.writer.begin()?;
        for (shard, record) in records {
            self.writer.send(WriterRecord {
                topic: &partials,
                partition: Some(*shard),
                payload: Some(record),
                ..WriterRecord::default()
            })?;
        }
        self.dead_letters.send(&mut self.writer, &self.plan.rules.sources)?;
        let group =
            reader.group_metadata().map_err(|error| CommitError::Aborted { reason: error.to_string() })?;
        let began = Instant::now();
        let offsets: Vec<(TopicPartition, Committed)> =
            offsets.iter().map(|offset| self.offset(offset)).collect();
        self.writer.commit(&offsets, &group)?;
        self.context.metrics.commit_seconds(Role::Ingest).observe(began.elapsed().as_secs_f64());
        Ok(())
    }

    fn offset(&self, folded: &FoldedOffset) -> (TopicPartition, Committed) {
        let topic = self.plan.rules.sources[usize::from(folded.partition.0)].topic.as_str();
        let metadata = OffsetMetadata { max_event_us: folded.max_event_us }.encode();
        (TopicPartition::new(topic, folded.partition.1), Committed { next: folded.next, metadata })
    }

    /// After a failed transaction: what the group has committed is the truth, everything else is read again.
    fn start_over(&mut self, reader: &mut GroupReader) -> Result<(), RoleError> {
        self.discard();
        let component = Component::Ingest(self.worker);
        let standings = self.context.standings(component, reader, &mut self.writer)?;
        self.adrift = standings.is_none();
        if let Some(standings) = standings {
            let starts = self.begin_at(standings)?;
            reader.reposition(&starts)?;
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.fold.clear();
        self.dead_letters.forget();
    }
}
