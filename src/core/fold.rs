//! Ingest's half of the engine: events in, deltas and clocks out at every flush.
//!
//! Nothing outlives a flush but each partition's largest event time and next offset. It does not know how records
//! are read, written or committed, nor what a shard does with deltas.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::aggregate::{Measure, Position, age_us};
use super::derived::Derived;
use super::event::{Event, Invalid, Reason, Value as EventValue};
use super::exemplar::{Exemplar, add_exemplar};
use super::key::{Key, pack};
use super::partial::{CellsDelta, Clock, Delta, DeltaBody, Gap, HourDelta, LagSample};
use super::partition::Partitions;
pub use super::partition::{Assigned, PartitionId};
use super::plan::{Body, Cells, Plan, Value, cell_of};
use super::sketch::histogram::Histogram;
use super::source::{Aggregate, HISTOGRAM_LIMIT, Source};
use super::time::{HOUR_US, floor_to, rfc3339, second_of};

pub struct Fold {
    plan: Arc<Plan>,
    shards: u32,
    partitions: Partitions,
    /// Of each source, what its events are folded into.
    folded_into: Vec<Vec<FoldedInto>>,
    derived: Derived,
    /// Packed (projection, pane, key) -> what is pending for it. Sorted before anything leaves.
    pending: HashMap<Box<[u8]>, Pending, RandomState>,
    events: u64,
    grown: bool,
    turned: bool,
    /// How far watched groups are behind: projection, second and samples.
    lags: Vec<(u16, i64, Vec<LagSample>)>,
    address: Vec<u8>,
}

/// A projection, by its index in the plan, and the columns of its table that take events themselves.
struct FoldedInto {
    projection: usize,
    columns: Vec<usize>,
}

struct Pending {
    shard: u32,
    body: DeltaBody,
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
        let folded_into = |projection: usize| {
            let columns =
                plan.rollup_of(&plan.projections[projection]).map_or(0, |rollup| rollup.columns.len());
            let columns = (0..columns).filter(|&column| !derived.has(projection, column)).collect();
            FoldedInto { projection, columns }
        };
        let takes_events = |source: usize| {
            let projections = plan.projections.iter().enumerate();
            let of_source =
                projections.filter(move |(_, p)| p.source == source && !matches!(p.body, Body::Lag(_)));
            of_source.map(|(at, _)| folded_into(at)).collect()
        };
        let folded_into = (0..plan.rules.sources.len()).map(takes_events).collect();
        Fold {
            plan,
            shards,
            partitions: Partitions::default(),
            folded_into,
            derived,
            pending: HashMap::default(),
            events: 0,
            grown: false,
            turned: false,
            lags: Vec::new(),
            address: Vec::new(),
        }
    }

    /// Takes over a partition; `now_us` is the wall clock.
    pub fn assign(&mut self, id: PartitionId, assigned: Assigned, now_us: i64) {
        self.partitions.assign(id, assigned, self.shards as usize, now_us);
    }

    /// Forgets all that is pending and every partition: after a failed transaction, or when all were revoked.
    pub fn clear(&mut self) {
        self.partitions.clear();
        self.pending.clear();
        self.events = 0;
        (self.grown, self.turned) = (false, false);
        self.lags.clear();
    }

    /// Whether the record at `offset` is still to be folded here: one that comes twice, or from a partition that has
    /// been handed over, is not.
    pub fn wants(&self, id: PartitionId, offset: i64) -> bool {
        self.partitions.get(id).is_some_and(|partition| partition.next <= offset)
    }

    /// Folds one event that is [wanted](Fold::wants). Its slots are of the source `id.0`; `now_us` is the wall clock.
    pub fn event(
        &mut self,
        id: PartitionId,
        position: Position,
        now_us: i64,
        event: &Event,
    ) -> Result<Folded, Invalid> {
        let Fold { plan, partitions, folded_into, pending, address, .. } = self;
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
        for &FoldedInto { projection: at, ref columns } in &folded_into[usize::from(id.0)] {
            let projection = &plan.projections[at];
            let pane = match projection.body {
                Body::Hourly { .. } => floor_to(at_us, HOUR_US),
                Body::Cells(_) => second_of(at_us),
                Body::Lag(_) => continue,
            };
            begin_address(address, at as u16, pane);
            pack(event, &projection.by, address);
            let delta = match pending.get_mut(address.as_slice()) {
                Some(delta) => delta,
                None => {
                    let (_, _, key) = parse_address(address);
                    let shard = Key::shard(key, projection.spread, self.shards);
                    let delta = Pending { shard, body: empty_body(plan, at) };
                    pending.entry(address.as_slice().into()).or_insert(delta)
                }
            };
            let shard = delta.shard as usize;
            match (&mut delta.body, &projection.body) {
                (DeltaBody::Hour(delta), Body::Hourly { rollup, .. }) => {
                    delta.events += 1;
                    delta.late += u64::from(folded.late);
                    let rollup = &source.rollups[*rollup];
                    for &column in columns {
                        delta.measures[column].fold(
                            &rollup.columns[column].aggregate,
                            event,
                            at_us,
                            position,
                        );
                    }
                    if let Some(count) = partition.shard_events.get_mut(shard) {
                        *count += 1;
                    }
                }
                (DeltaBody::Cells(delta), Body::Cells(cells)) => {
                    let cell = count_event(delta, cells, event, position, at_us);
                    self.grown |= cells.growing.has(cell);
                }
                (DeltaBody::Hour(_) | DeltaBody::Cells(_) | DeltaBody::Lag(_), _) => {}
            }
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

    /// Deltas that wait for the next flush, and events in them.
    pub fn pending(&self) -> (usize, u64) {
        (self.pending.len(), self.events)
    }

    /// Whether an event is pending that may cross a line at once.
    pub fn has_grown(&self) -> bool {
        self.grown
    }

    /// Whether an event is pending that was the first of its second in a partition: the second before may be over, and
    /// is judged as soon as the shards hear of it.
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
        let mut deltas: Vec<Vec<Delta>> = vec![Vec::new(); self.shards as usize];
        let mut pending: Vec<_> = self.pending.drain().collect();
        pending.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let told = |(address, pending): (Box<[u8]>, Pending)| {
            let (projection, pane, key) = parse_address(&address);
            (pending.shard, Delta { projection, key: Key::from_packed(key), pane, body: pending.body })
        };
        let mut told: Vec<(u32, Delta)> = pending.into_iter().map(told).collect();
        self.derived.fill(&self.plan, &mut told);
        told.into_iter().for_each(|(shard, delta)| deltas[shard as usize].push(delta));
        self.events = 0;
        (self.grown, self.turned) = (false, false);
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

fn empty_body(plan: &Plan, projection: usize) -> DeltaBody {
    match plan.rollup_of(&plan.projections[projection]) {
        Some(rollup) => {
            let measures = rollup.columns.iter().map(|column| Measure::empty(&column.aggregate)).collect();
            DeltaBody::Hour(HourDelta { events: 0, late: 0, measures })
        }
        None => DeltaBody::Cells(CellsDelta::default()),
    }
}

/// Gives the cell it counts in.
fn count_event(delta: &mut CellsDelta, cells: &Cells, event: &Event, position: Position, at_us: i64) -> u16 {
    let (age_us, second) = (age_us(position.timestamp_us, at_us), second_of(at_us));
    let cell = cell_of(&cells.atoms, event, age_us);
    add_cell(&mut delta.cells, cell, 1);
    let Position { partition, offset, .. } = position;
    let exemplar = |measured| Exemplar { measured, cell, second, partition, offset, trace_id: None };
    let trace_id = || match event.value(cells.trace_id?) {
        EventValue::Text(text) => Some(text.to_owned()),
        EventValue::Absent | EventValue::Number(_) => None,
    };
    if cells.notable.has(cell) {
        add_exemplar(&mut delta.exemplars, exemplar(None), trace_id);
    }
    delta.values.resize(cells.measured.len(), Histogram::default());
    for (at, (values, measured)) in delta.values.iter_mut().zip(&cells.measured).enumerate() {
        let value = match measured.what {
            Value::Field(slot) => event.number(slot),
            Value::Age => Some(age_us),
        };
        if let Some(value) = value.filter(|_| measured.filter.holds(event, age_us)) {
            // For show alone: what a rule says follows from the cells, which know no bounds.
            values.record(value.clamp(0, HISTOGRAM_LIMIT - 1));
            if measured.notable.has(cell) {
                add_exemplar(&mut delta.exemplars, exemplar(Some((at as u16, value))), trace_id);
            }
        }
    }
    cell
}

/// Adds to a list of cells that stays sorted; a key rarely has more than a handful.
pub fn add_cell(cells: &mut Vec<(u16, u64)>, cell: u16, count: u64) {
    match cells.binary_search_by_key(&cell, |&(known, _)| known) {
        Ok(at) => cells[at].1 += count,
        Err(at) => cells.insert(at, (cell, count)),
    }
}

/// Begins an address, which ends with the key. Big-endian with the sign bit turned, so that bytes sort like the numbers.
fn begin_address(bytes: &mut Vec<u8>, projection: u16, pane: i64) {
    bytes.clear();
    bytes.extend_from_slice(&projection.to_be_bytes());
    bytes.extend_from_slice(&((pane as u64) ^ (1 << 63)).to_be_bytes());
}

fn parse_address(bytes: &[u8]) -> (u16, i64, &[u8]) {
    let (head, key) = bytes.split_at(10);
    let number = |part: &[u8]| part.iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    (number(&head[..2]) as u16, (number(&head[2..]) ^ (1 << 63)) as i64, key)
}
