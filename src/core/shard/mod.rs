//! One partition of the partials, as a state machine: `apply(record) -> outputs`.
//!
//! The shard is a function of its log. It reads no clock and knows nothing of Kafka, transactions or Postgres; it
//! does not know how far its outputs got, nor that other shards exist. Replaying the same records gives the same
//! outputs, to the byte.

mod adopt;
mod breach;
pub mod checkpoint;
mod counts;
mod evidence;
mod hourly;
mod joint;
pub mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clock::{ClockViolation, SourceClock};
use super::output::{Heartbeat, HourGone, Output, Row};
use super::partial::{Clock, Delta, DeltaBody, LogRecord, Partial};
use super::plan::{Body, Plan, Projection};
use super::slo::judge::{Counted, Input, Judged};
use super::slo::lag::Samples;
use super::slo::watch::Progress;
use super::time::{SECOND_US, second_of};
use breach::Told;
use counts::{Counts, Judgement, RuleAt, judged};
use joint::{Joint, sources_of};
use table::{Made, Merged, Moment, Table};

/// What a shard is configured with; the same for every shard of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardOptions {
    pub provisional_every_s: i64,
    pub heartbeat_every_s: i64,
    /// Rows written for each record applied, so that the end of an hour does not hold up breaches.
    pub rows_per_record: usize,
}

pub struct Shard {
    id: u32,
    options: ShardOptions,
    /// Newest last; deltas of the versions before may still be on their way.
    plans: Vec<Arc<Plan>>,
    /// By source name.
    sources: BTreeMap<String, SourceClock>,
    /// By projection id.
    tables: BTreeMap<u64, Table>,
    counts: BTreeMap<u64, Counts>,
    lags: BTreeMap<u64, Samples>,
    /// By `document/rule`.
    joint: BTreeMap<String, Joint>,
    /// First second that counts, by `document/rule`.
    since_s: BTreeMap<String, Since>,
    /// Hourly events of flushes whose last record has not come yet, by worker.
    flushes: BTreeMap<u32, u64>,
    /// Largest log time seen.
    log_us: i64,
    heartbeat_due_us: i64,
    /// Offset of the last record applied; -1 before the first.
    version: i64,
    /// Events that went to `_OTHER` since last asked, by table, or `groups/<source>` for the groups of rules.
    other: BTreeMap<Arc<str>, u64>,
}

/// When a rule began to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Since {
    /// From the first record on.
    Start,
    /// Not yet: some clocks still show rules before this version.
    Adopted(i64),
    /// The first second after all that was folded by rules before `version`.
    Second { version: i64, second: i64 },
}

/// The log contradicts itself or this program; going on would make wrong numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("P1 conservation: {0}")]
    Clock(#[from] ClockViolation),
    #[error(
        "P1 conservation: a flush of worker {worker} brings {found} events to shard {shard}, its clocks say {expected}"
    )]
    FlushDoesNotAddUp { shard: u32, worker: u32, expected: u64, found: u64 },
    #[error("P3 deterministic: offset {offset} names rules {version}, which this partition does not hold")]
    UnknownRules { offset: i64, version: i64 },
    #[error("P3 deterministic: offset {offset} does not fit the rules it names ({what})")]
    Misfit { offset: i64, what: &'static str },
    #[error("rules {version} cannot be used: {reason}")]
    UnusableRules { version: i64, reason: String },
}

impl Violation {
    /// The id of the invariant, for the counter in production.
    pub fn invariant(&self) -> &'static str {
        match self {
            Violation::Clock(_) | Violation::FlushDoesNotAddUp { .. } => "P1",
            Violation::UnknownRules { .. } | Violation::Misfit { .. } | Violation::UnusableRules { .. } => {
                "P3"
            }
        }
    }
}

impl Shard {
    pub fn new(id: u32, options: ShardOptions) -> Shard {
        Shard {
            id,
            options,
            plans: Vec::new(),
            sources: BTreeMap::new(),
            tables: BTreeMap::new(),
            counts: BTreeMap::new(),
            lags: BTreeMap::new(),
            joint: BTreeMap::new(),
            since_s: BTreeMap::new(),
            flushes: BTreeMap::new(),
            log_us: 0,
            heartbeat_due_us: 0,
            version: -1,
            other: BTreeMap::new(),
        }
    }

    /// Applies the record at `offset`. After an error the shard must not be used again.
    pub fn apply(
        &mut self,
        offset: i64,
        record: LogRecord,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        self.version = offset;
        match record {
            LogRecord::Spec { version, rules } => self.adopt(version, rules, outputs),
            LogRecord::Partial(partial) => self.partial(offset, partial, outputs),
        }
    }

    fn partial(&mut self, offset: i64, partial: Partial, outputs: &mut Vec<Output>) -> Result<(), Violation> {
        let known = self.plans.iter().find(|plan| plan.version == partial.rules);
        let unknown = Violation::UnknownRules { offset, version: partial.rules };
        let written_by = Arc::clone(known.ok_or(unknown)?);
        self.log_us = self.log_us.max(partial.log_time_us);
        let mut events = 0;
        for delta in &partial.deltas {
            events += self.delta(offset, &written_by, delta, &partial.clocks, outputs)?;
        }
        self.check_flush(&partial, events)?;
        let Some(plan) = self.plans.last().cloned() else { return Ok(()) };
        let mut touched = vec![false; plan.rules.sources.len()];
        for clock in &partial.clocks {
            self.clock(offset, &written_by, &plan, clock, &partial, &mut touched)?;
        }
        if touched.contains(&true) {
            self.begin_adopted(&plan);
        }
        for (at, _) in touched.iter().enumerate().filter(|(_, touched)| **touched) {
            self.advance(&plan, at, outputs);
        }
        self.advance_joint(&plan, outputs);
        self.write_rows(&plan, outputs);
        self.heartbeat(outputs);
        Ok(())
    }

    /// Merges one delta; gives the hourly events it brought.
    fn delta(
        &mut self,
        offset: i64,
        written_by: &Plan,
        delta: &Delta,
        clocks: &[Clock],
        outputs: &mut Vec<Output>,
    ) -> Result<u64, Violation> {
        let misfit = |what| Violation::Misfit { offset, what };
        let at = usize::from(delta.projection);
        let projection = written_by.projections.get(at).ok_or(misfit("unknown projection"))?;
        let events = if let DeltaBody::Hour(hour) = &delta.body { hour.events } else { 0 };
        let Some(plan) = self.plans.last().cloned() else { return Ok(events) };
        let Some(now) = plan.projections.iter().position(|p| p.id == projection.id) else {
            // The table or the rule is gone; so are its events.
            return Ok(events);
        };
        match (&delta.body, &plan.projections[now].body) {
            (DeltaBody::Hour(hour), Body::Hourly { signature, .. }) => {
                let Body::Hourly { signature: written, .. } = projection.body else {
                    return Err(misfit("kind"));
                };
                if written == *signature {
                    self.hour_delta(offset, &plan, now, delta, hour, clocks, outputs)?;
                } else if let (Some(from), Some(to)) =
                    (written_by.table(projection.id), plan.table(projection.id))
                    && let Some(moved) = from.moved_to(&to)
                {
                    let hour = hour.moved(&moved, to.rollup);
                    self.hour_delta(offset, &plan, now, delta, &hour, clocks, outputs)?;
                }
            }
            (DeltaBody::Cells(cells), Body::Cells(kept)) => {
                let Body::Cells(written) = &projection.body else { return Err(misfit("kind")) };
                let moved = cells.moved(written, kept);
                if !moved.cells.is_empty() {
                    self.touch_joint(&plan, now, delta);
                }
                let Some(counts) = self.counts.get_mut(&projection.id) else { return Ok(0) };
                let (columns, limit) = (projection.by.len(), projection.limit);
                if counts.merge(&delta.key, delta.pane, &moved, columns, limit) {
                    let name = format!("groups/{}", plan.source_of(&plan.projections[now]).name);
                    let events: u64 = cells.cells.iter().map(|(_, events)| events).sum();
                    *self.other.entry(name.into()).or_default() += events;
                }
            }
            (DeltaBody::Lag(samples), Body::Lag(_)) => {
                if let Some(lags) = self.lags.get_mut(&projection.id) {
                    lags.take(delta.pane, samples);
                }
            }
            (DeltaBody::Hour(_) | DeltaBody::Cells(_) | DeltaBody::Lag(_), _) => {
                return Err(misfit("kind"));
            }
        }
        Ok(events)
    }

    /// Tells the rules over several sources that a second has changed.
    fn touch_joint(&mut self, plan: &Plan, projection: usize, delta: &Delta) {
        for &rule in &plan.projections[projection].joint {
            if let Some(joint) = self.joint.get_mut(&plan.watched[rule].name) {
                joint.touch(delta.pane);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one delta and all it is judged by")]
    fn hour_delta(
        &mut self,
        offset: i64,
        plan: &Plan,
        projection: usize,
        delta: &Delta,
        hour: &super::partial::HourDelta,
        clocks: &[Clock],
        outputs: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        let moment = self.moment(plan, projection);
        let projection = &plan.projections[projection];
        let Some(table) = self.tables.get_mut(&projection.id) else { return Ok(()) };
        let clock = self.sources.get(&plan.source_of(projection).name);
        let complete = |hour_us| clock.is_none_or(|clock| clock.hour_is_complete(hour_us));
        let Some(made) = made(plan, projection, &complete) else { return Ok(()) };
        match table.merge(&delta.key, delta.pane, hour, made, moment) {
            Merged::Row { other: false } => {}
            Merged::Row { other: true } => {
                *self.other.entry(Arc::clone(&table.name)).or_default() += hour.events;
            }
            Merged::Misfit => return Err(Violation::Misfit { offset, what: "measures" }),
            Merged::HourGone => {
                let of_source = clocks.iter().filter(|clock| usize::from(clock.source) == projection.source);
                outputs.push(Output::HourGone(HourGone {
                    source: made.source.name.clone(),
                    topic: made.source.topic.clone(),
                    table: Arc::clone(&table.name),
                    key: delta.key.clone(),
                    hour_us: delta.pane,
                    event_count: hour.events,
                    offset_ranges: of_source.map(|clock| (clock.partition, clock.from, clock.to)).collect(),
                    version: offset,
                }));
            }
        }
        Ok(())
    }

    /// The deltas of a flush must hold the events its clocks speak of.
    fn check_flush(&mut self, partial: &Partial, events: u64) -> Result<(), Violation> {
        let worker = partial.worker;
        let found = self.flushes.remove(&worker).unwrap_or(0) + events;
        if partial.clocks.is_empty() {
            self.flushes.insert(worker, found);
            return Ok(());
        }
        let expected = partial.clocks.iter().map(|clock| clock.shard_events).sum();
        if expected != found {
            return Err(Violation::FlushDoesNotAddUp { shard: self.id, worker, expected, found });
        }
        Ok(())
    }

    fn clock(
        &mut self,
        offset: i64,
        written_by: &Plan,
        plan: &Plan,
        clock: &Clock,
        partial: &Partial,
        touched: &mut [bool],
    ) -> Result<(), Violation> {
        let misfit = Violation::Misfit { offset, what: "unknown source" };
        let source = written_by.rules.sources.get(usize::from(clock.source)).ok_or(misfit)?;
        let Some(now) = plan.rules.sources.iter().position(|s| s.name == source.name) else { return Ok(()) };
        let time = &plan.rules.sources[now].event_time;
        let state = self.sources.entry(source.name.clone()).or_default();
        if state.take(&source.name, clock, partial.log_time_us, partial.rules, time)? {
            self.touch_incomplete(plan, now);
        }
        touched[now] = true;
        Ok(())
    }

    fn touch_incomplete(&mut self, plan: &Plan, source: usize) {
        for (at, projection) in plan.projections.iter().enumerate().filter(|(_, p)| p.source == source) {
            let moment = self.moment(plan, at);
            let clock = self.sources.get(&plan.rules.sources[source].name);
            let complete = |hour_us| clock.is_none_or(|clock| clock.hour_is_complete(hour_us));
            let Some(made) = made(plan, projection, &complete) else { continue };
            if let Some(table) = self.tables.get_mut(&projection.id) {
                table.touch_incomplete(made, moment);
            }
        }
    }

    /// Moves one source's time and judges its rules: transitions come before rows.
    fn advance(&mut self, plan: &Plan, source_at: usize, outputs: &mut Vec<Output>) {
        let source = &plan.rules.sources[source_at];
        let Some(clock) = self.sources.get_mut(&source.name) else { return };
        clock.advance(&source.event_time);
        let (Some(watermark_us), Some(front_us)) = (clock.watermark_us(), clock.front_us()) else { return };
        clock.forget_holes_before(watermark_us - 2 * source.event_time.lateness_us - super::time::HOUR_US);
        let progress = Progress { watermark_s: second_of(watermark_us), front_s: second_of(front_us) };
        let log_s = second_of(self.log_us);
        let projections = plan.projections.iter().enumerate().filter(|(_, p)| p.source == source_at);
        for (at, projection) in projections {
            if !self.counts.get(&projection.id).is_some_and(|counts| counts.is_behind(progress, log_s)) {
                continue;
            }
            let own = plan.rules_of(at).filter(|(rule, _)| plan.rules.alerts[*rule].has_own_groups());
            let covered = |(rule, _)| Some(RuleAt { rule, since: self.covered(plan, rule)? });
            let rules: Vec<RuleAt> = own.filter_map(covered).collect();
            let needed_s = self.needed_from_s(plan, at, progress.watermark_s);
            let Some(counts) = self.counts.get_mut(&projection.id) else { continue };
            let judgements = counts.advance(plan, &rules, progress, log_s, needed_s);
            let Some(clock) = self.sources.get(&source.name) else { continue };
            for Judgement { rule, key, news } in judgements {
                let name = plan.rules.alerts[rule.rule].has_slices().then_some(&plan.watched[rule.rule].name);
                let slices = name.and_then(|name| counts.slices(&key, name));
                let feed = plan.watched[rule.rule].feeds.first();
                let counted = feed.zip(counts.panes(&key)).map(|(feed, panes)| Counted { feed, panes });
                let told = Told {
                    plan,
                    rule: rule.rule,
                    key: &key,
                    judged: counted.as_ref().map(|counted| {
                        let input = Input::Feeds(std::slice::from_ref(counted));
                        Judged { slices, ..judged(plan, rule, input) }
                    }),
                    clock,
                    clocks: &[(source.name.as_str(), clock)],
                    exemplars: counts.exemplars(&key),
                    log_s: second_of(self.log_us),
                    version: self.version,
                    shard: self.id,
                };
                outputs.extend(told.output(news));
            }
        }
    }

    /// A rule adopted later counts from the second after all that was folded before every clock showed it.
    fn begin_adopted(&mut self, plan: &Plan) {
        for at in 0..plan.rules.alerts.len() {
            let clocks = sources_of(plan, at).into_iter().map(|source| {
                let clock = self.sources.get(source)?;
                Some((clock.rules()?, clock.newest_us()?))
            });
            let Some(clocks) = clocks.collect::<Option<Vec<_>>>() else { continue };
            let Some(shown) = clocks.iter().map(|(shown, _)| *shown).min() else { continue };
            let newest_us = clocks.iter().map(|(_, newest_us)| *newest_us).max().unwrap_or(0);
            let Some(since) = self.since_s.get_mut(&plan.watched[at].name) else { continue };
            match *since {
                Since::Adopted(version) if version <= shown => {
                    *since = Since::Second { version, second: second_of(newest_us) + 1 };
                }
                // A partition went to a worker that does not know the rule yet.
                Since::Second { version, .. } if version > shown => *since = Since::Adopted(version),
                Since::Start | Since::Adopted(_) | Since::Second { .. } => {}
            }
        }
    }

    fn write_rows(&mut self, plan: &Plan, outputs: &mut Vec<Output>) {
        let mut budget = self.options.rows_per_record;
        let mut rows: Vec<Row> = Vec::new();
        for (at, projection) in plan.projections.iter().enumerate() {
            let moment = self.moment(plan, at);
            let Some(table) = self.tables.get_mut(&projection.id) else { continue };
            let clock = self.sources.get(&plan.source_of(projection).name);
            let complete = |hour_us| clock.is_none_or(|clock| clock.hour_is_complete(hour_us));
            let Some(made) = made(plan, projection, &complete) else { continue };
            budget = table.finish(made, moment, budget, &mut rows);
            budget = table.write_due(made, moment, budget, &mut rows);
        }
        outputs.extend(rows.into_iter().map(Output::Row));
    }

    fn heartbeat(&mut self, outputs: &mut Vec<Output>) {
        if self.log_us < self.heartbeat_due_us {
            return;
        }
        self.heartbeat_due_us = self.log_us + self.options.heartbeat_every_s * SECOND_US;
        let watermarks = self.sources.iter().map(|(name, clock)| (name.clone(), clock.watermark_us()));
        outputs.push(Output::Heartbeat(Heartbeat {
            shard: self.id,
            log_time_us: self.log_us,
            version: self.version,
            open_episodes: self.open_episodes(),
            watermarks: watermarks.collect(),
        }));
    }

    fn moment(&self, plan: &Plan, projection: usize) -> Moment {
        let source = plan.source_of(&plan.projections[projection]);
        Moment {
            watermark_us: self.sources.get(&source.name).and_then(SourceClock::watermark_us),
            log_s: second_of(self.log_us),
            version: self.version,
            shard: self.id,
            provisional_every_s: self.options.provisional_every_s,
        }
    }

    pub fn open_episodes(&self) -> u32 {
        let joint = self.joint.values().map(|joint| joint.standing().watch().open_episodes());
        self.counts.values().map(Counts::open_episodes).chain(joint).sum()
    }

    /// Offset of the last record applied; -1 before the first.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The rules it works by, with their version; None before the first.
    pub fn rules(&self) -> Option<(i64, &super::rules::Rules)> {
        self.plans.last().map(|plan| (plan.version, &*plan.rules))
    }

    /// Events that went to `_OTHER` since this was last asked, by table or `groups/<source>`: for counters, not part of
    /// the state.
    pub fn take_other(&mut self) -> BTreeMap<Arc<str>, u64> {
        std::mem::take(&mut self.other)
    }

    /// Name and clock of each source, for gauges.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceClock)> {
        self.sources.iter().map(|(name, clock)| (name.as_str(), clock))
    }

    /// Name, rows of the newest hour and limit of each table, for gauges.
    pub fn series(&self) -> impl Iterator<Item = (&str, usize, u32)> {
        let limit_of = |id: u64| {
            let projection = self.plans.last().and_then(|plan| plan.projections.iter().find(|p| p.id == id));
            projection.map_or(0, |p| p.limit)
        };
        self.tables.iter().map(move |(&id, table)| (&*table.name, table.series(), limit_of(id)))
    }
}

fn made<'a>(plan: &'a Plan, projection: &Projection, complete: &'a dyn Fn(i64) -> bool) -> Option<Made<'a>> {
    let rollup = plan.rollup_of(projection)?;
    Some(Made { source: plan.source_of(projection), rollup, limit: projection.limit, complete })
}
