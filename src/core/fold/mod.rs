//! Ingest's half of the engine: events in, deltas and clocks out at every flush.
//!
//! Nothing outlives a flush but each partition's largest event time and next offset, and the names of groups. It does
//! not know how records are read, written or committed, nor what a shard does with deltas.

mod atoms;
mod derived;
mod distinct;
mod gathered;
mod intake;
mod panes;
mod partition;
mod series;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::aggregate::{Position, age_us};
use super::event::{Event, Invalid, Reason};
use super::key::Key;
use super::partial::{CellsDelta, Clock, Delta, DeltaBody, Gap, LagSample};
use super::plan::{Body, Plan};
use super::source::{Aggregate, HISTOGRAM_LIMIT, Source};
use super::time::{HOUR_US, rfc3339, second_of};
use derived::Derived;
use gathered::Seen;
use intake::Intake;
use partition::Partitions;
pub use partition::{Assigned, PartitionId};

pub struct Fold {
    plan: Arc<Plan>,
    shards: u32,
    partitions: Partitions,
    /// Of each source.
    intakes: Vec<Intake>,
    derived: Derived,
    events: u64,
    grown: bool,
    turned: bool,
    /// The second that all partitions had reached at the last flush.
    told: Option<i64>,
    /// How far watched groups are behind: projection, second and samples.
    lags: Vec<(u16, i64, Vec<LagSample>)>,
}

/// What one flush writes. Vectors run over the shards.
#[derive(Debug)]
pub struct Flush {
    pub deltas: Vec<Vec<Delta>>,
    pub clocks: Vec<Vec<Clock>>,
    /// Where each folded partition stands, to be committed with the records.
    pub offsets: Vec<FoldedOffset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedOffset {
    pub partition: PartitionId,
    pub next: i64,
    pub max_event_us: Option<i64>,
}

/// Counted and shown by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    pub late: bool,
}

impl Fold {
    pub fn new(plan: Arc<Plan>, shards: u32) -> Fold {
        let derived = Derived::of(&plan);
        let intake = |source| Intake::new(&plan, source, &derived, shards);
        let intakes = (0..plan.rules.sources.len()).map(intake).collect();
        Fold {
            plan,
            shards,
            partitions: Partitions::default(),
            intakes,
            derived,
            events: 0,
            grown: false,
            turned: false,
            told: None,
            lags: Vec::new(),
        }
    }

    /// Takes over a partition; `now_us` is the wall clock.
    pub fn assign(&mut self, id: PartitionId, assigned: Assigned, now_us: i64) {
        self.partitions.assign(id, assigned, self.shards as usize, now_us);
    }

    /// Forgets all that is pending and every partition: after a failed transaction, or when all were revoked.
    pub fn clear(&mut self) {
        self.partitions.clear();
        self.intakes.iter_mut().for_each(Intake::clear);
        self.events = 0;
        (self.grown, self.turned, self.told) = (false, false, None);
        self.lags.clear();
    }

    /// Whether the record at `offset` is still to be folded here: one that comes twice, or from a partition that has
    /// been handed over, is not.
    pub fn wants(&self, id: PartitionId, offset: i64) -> bool {
        self.partitions.get(id).is_some_and(|partition| partition.next <= offset)
    }

    /// Folds one event that is [wanted](Fold::wants), and keeps it: `event` holds nothing of use afterwards, if it counts.
    /// Its slots are of the source `id.0`; `now_us` is the wall clock.
    pub fn event(
        &mut self,
        id: PartitionId,
        position: Position,
        now_us: i64,
        event: &mut Event,
    ) -> Result<Folded, Invalid> {
        let Fold { plan, partitions, intakes, .. } = self;
        let source = &plan.rules.sources[usize::from(id.0)];
        let at_us = event.number(source.event_time.slot).unwrap_or(position.timestamp_us);
        let Some(partition) = partitions.get_mut(id) else {
            return judge(source, at_us, None, position, now_us);
        };
        let newest_us = partition.max_event_us;
        let verdict = judge(source, at_us, newest_us, position, now_us);
        partition.read(position.offset, now_us);
        let folded = match verdict {
            Ok(folded) => folded,
            Err(invalid) => {
                partition.dead_letters += 1;
                return Err(invalid);
            }
        };
        partition.late += u64::from(folded.late);
        self.turned |= newest_us.is_none_or(|newest_us| second_of(newest_us) < second_of(at_us));
        partition.max_event_us = partition.max_event_us.max(Some(at_us));
        partition.min_event_us = Some(partition.min_event_us.map_or(at_us, |min_us| min_us.min(at_us)));
        let age_us = age_us(position.timestamp_us, at_us);
        let seen = Seen { event: Event::default(), at_us, age_us, position, late: folded.late };
        let intake = &mut intakes[usize::from(id.0)];
        if intake.take(event, seen) {
            self.grown |= intake.fold(plan, partitions);
        }
        self.events += 1;
        Ok(folded)
    }

    /// Counts a record that did not decode.
    pub fn reject(&mut self, id: PartitionId, offset: i64, now_us: i64) {
        if let Some(partition) = self.partitions.get_mut(id) {
            partition.read(offset, now_us);
            partition.dead_letters += 1;
        }
    }

    /// Offsets `from..to` are lost for good; folding goes on at `to`.
    pub fn declare_gap(&mut self, id: PartitionId, gap: Gap) {
        if let Some(partition) = self.partitions.get_mut(id) {
            let from = partition.gap.map_or(gap.from, |earlier| earlier.from);
            partition.gap = Some(Gap { from, to: gap.to });
            partition.next = partition.next.max(gap.to);
            partition.changed = true;
        }
    }

    /// Takes the broker's word on where a partition ends. Idleness needs that word: silence alone proves nothing.
    pub fn observe_end(&mut self, id: PartitionId, lag: u64, now_us: i64) {
        let idle_after_us = self.plan.rules.sources[usize::from(id.0)].event_time.idle_after_us;
        if let Some(partition) = self.partitions.get_mut(id) {
            let idle = lag == 0 && now_us - partition.active_us >= idle_after_us;
            partition.changed |= idle != partition.idle;
            (partition.idle, partition.lag) = (idle, lag);
        }
    }

    /// Takes samples of a lag projection, told with the next flush of every clock; only those of partitions that are
    /// assigned here, so that each is told by one worker. `second` of log time is when they were taken.
    pub fn lag(&mut self, projection: u16, second: i64, samples: &[LagSample]) {
        let source = self.plan.projections[usize::from(projection)].source as u16;
        let is_here = |sample: &&LagSample| self.partitions.get((source, sample.partition)).is_some();
        let here: Vec<LagSample> = samples.iter().filter(is_here).copied().collect();
        if !here.is_empty() {
            self.lags.push((projection, second, here));
        }
    }

    /// Folds the events that wait to be folded with others.
    fn settle(&mut self) {
        let Fold { plan, partitions, intakes, .. } = self;
        for intake in intakes {
            self.grown |= intake.fold(plan, partitions);
        }
    }

    /// Deltas that wait for the next flush, and events in them.
    pub fn pending(&mut self) -> (usize, u64) {
        self.settle();
        (self.intakes.iter().map(Intake::pending).sum(), self.events)
    }

    /// Whether an event is pending that may cross a line at once.
    pub fn has_grown(&mut self) -> bool {
        self.settle();
        self.grown
    }

    /// Whether all partitions that are awake have passed a second of which the shards have not heard: they judge it as soon
    /// as they do.
    pub fn has_passed(&self) -> bool {
        self.partitions.front_second() > self.told
    }

    /// Whether an event is pending that was the first of its second in a partition: the second before may be over soon.
    pub fn has_turned(&self) -> bool {
        self.turned
    }

    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.ids()
    }

    /// Next offset of a partition that is assigned here.
    pub fn next(&self, id: PartitionId) -> Option<i64> {
        self.partitions.get(id).map(|p| p.next)
    }

    pub fn max_event_us(&self, id: PartitionId) -> Option<i64> {
        self.partitions.get(id).and_then(|p| p.max_event_us)
    }

    /// Hands out all that is pending. `every_clock` also writes the clocks that did not change.
    pub fn flush(&mut self, every_clock: bool) -> Flush {
        self.settle();
        let mut deltas: Vec<Vec<Delta>> = vec![Vec::new(); self.shards as usize];
        let mut told: Vec<(u32, Delta)> = Vec::new();
        self.intakes.iter_mut().for_each(|intake| intake.flush(&self.plan, &mut told));
        told.sort_by_key(|(_, delta)| delta.projection);
        self.derived.fill(&self.plan, &mut told);
        told.into_iter().for_each(|(shard, delta)| deltas[shard as usize].push(delta));
        self.events = 0;
        (self.grown, self.turned, self.told) = (false, false, self.partitions.front_second());
        if every_clock {
            self.tell_lags(&mut deltas);
            self.announce_ungrouped(&mut deltas);
        }
        let mut clocks = vec![Vec::new(); self.shards as usize];
        let mut offsets = Vec::new();
        for (id, partition) in self.partitions.iter_mut() {
            if every_clock || partition.changed {
                for (shard, clocks) in clocks.iter_mut().enumerate() {
                    clocks.push(partition.clock(id, shard));
                }
                let (next, max_event_us) = (partition.next, partition.max_event_us);
                offsets.push(FoldedOffset { partition: id, next, max_event_us });
                partition.start_over();
            }
        }
        Flush { deltas, clocks, offsets }
    }
}

impl Fold {
    /// Lags have no group either.
    fn tell_lags(&mut self, deltas: &mut [Vec<Delta>]) {
        for (projection, second, samples) in std::mem::take(&mut self.lags) {
            let body = DeltaBody::Lag(samples);
            let delta = Delta { projection, key: Key::empty(), pane: second, body };
            deltas[self.home_of(&delta)].push(delta);
        }
    }

    /// Tells the shard that holds what has no group that it does: silence is judged too, and leaves no other trace.
    fn announce_ungrouped(&self, deltas: &mut [Vec<Delta>]) {
        let sources: BTreeSet<usize> = self.partitions.ids().map(|(source, _)| usize::from(source)).collect();
        for (at, projection) in self.plan.projections.iter().enumerate() {
            let ungrouped = matches!(projection.body, Body::Cells(_)) && projection.by.is_empty();
            if ungrouped && sources.contains(&projection.source) {
                let body = DeltaBody::Cells(CellsDelta::default());
                let delta = Delta { projection: at as u16, key: Key::empty(), pane: 0, body };
                deltas[self.home_of(&delta)].push(delta);
            }
        }
    }

    /// The shard that holds the delta's key.
    fn home_of(&self, delta: &Delta) -> usize {
        let spread = self.plan.projections[usize::from(delta.projection)].spread;
        Key::shard(delta.key.packed(), spread, self.shards) as usize
    }
}

/// Decides from the partition's own log whether the event counts: other replicas cannot change the answer.
fn judge(
    source: &Source,
    at_us: i64,
    newest_us: Option<i64>,
    position: Position,
    now_us: i64,
) -> Result<Folded, Invalid> {
    let time = &source.event_time;
    let ahead_of = position.timestamp_us.min(now_us);
    if at_us > ahead_of.saturating_add(time.max_ahead_us) {
        let detail = format!(
            "event time {} is more than {} s past {}",
            rfc3339(at_us),
            time.max_ahead_us / 1_000_000,
            rfc3339(ahead_of)
        );
        return Err(Invalid { reason: Reason::TooFarAhead, detail });
    }
    let settled_us = newest_us.map(|newest| newest - time.out_of_order_us);
    if let Some(settled_us) = settled_us
        && at_us < settled_us - time.lateness_us
    {
        let detail = format!(
            "event time {} is older than {}, the last this partition still takes",
            rfc3339(at_us),
            rfc3339(settled_us - time.lateness_us)
        );
        return Err(Invalid { reason: Reason::TooLate, detail });
    }
    let age_us = age_us(position.timestamp_us, at_us);
    if age_us >= HISTOGRAM_LIMIT && source.rollups.iter().any(has_freshness) {
        let detail = format!("event time is {} days before its Kafka timestamp", age_us / (24 * HOUR_US));
        return Err(Invalid { reason: Reason::OutOfRange, detail });
    }
    Ok(Folded { late: settled_us.is_some_and(|settled_us| at_us < settled_us) })
}

fn has_freshness(rollup: &super::source::Rollup) -> bool {
    rollup.columns.iter().any(|column| matches!(column.aggregate, Aggregate::Freshness { .. }))
}
