//! How far consumer groups are behind, for the LAG rules in force: asked of the broker once a second, about the
//! partitions that this process reads.
//!
//! What is not known is not told; a rule that hears nothing has no value. So a broker that does not answer, or may
//! not, is counted and logged, and never ends the process.

mod board;
mod look;
mod trail;
mod trails;

pub use board::{HeldTrail, LagBoard, Sampled};
pub use trail::{Oldest, Span};
pub use trails::Trails;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Context, RoleError, wall_clock_us};
use crate::core::partial::LagSample;
use crate::core::plan::{Body, Plan};
use crate::core::time::{MILLI_US, SECOND_US};
use crate::http::{Component, Metrics, Role, State};
use crate::kafka::{Admin, Committed, Connection, EndOf, GroupOffsets, KafkaError, Probe, TopicPartition};
use look::Looks;

const EVERY: Duration = Duration::from_secs(1);
const ASK: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(500);
/// A group the broker did not answer for is left alone so long: it must not hold up the others.
const REST: Duration = Duration::from_secs(5);
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Samples until stopped.
pub fn run(context: &Context) -> Result<(), RoleError> {
    let own_group = context.group(Role::Ingest);
    let metrics = context.metrics.clone();
    let mut sampler = Sampler::new(context.connection.clone(), context.lags.clone(), metrics, own_group);
    let mut version = None;
    while !context.stop.is_raised() {
        let began = Instant::now();
        if version != Some(context.board.version()) {
            let plan = context.plan()?;
            version = Some(plan.version);
            sampler.follow(&plan);
        }
        let goes_on = || {
            context.health.beat(Component::Lag);
            !context.stop.is_raised()
        };
        let state = match sampler.sample(&goes_on) {
            Ok(()) => State::Ready,
            Err(why) => State::Degraded(why),
        };
        context.health.set(Component::Lag, state);
        context.stop.wait(EVERY.saturating_sub(began.elapsed()));
    }
    Ok(())
}

/// Asks for the groups of the rules it follows. Its clients are opened when there is something to ask.
pub struct Sampler {
    connection: Connection,
    board: LagBoard,
    metrics: Metrics,
    own_group: String,
    admin: Option<Admin>,
    probe: Option<Probe>,
    groups: Vec<Group>,
}

/// A consumer group and what is watched of it.
struct Group {
    name: String,
    offsets: Option<GroupOffsets>,
    watches: Vec<Watch>,
    /// Why the broker's last answer was none, and when it was asked.
    failed: Option<(Instant, String)>,
    warned: Option<Instant>,
}

/// A lag projection.
struct Watch {
    projection: u64,
    source: String,
    topic: String,
    looks: Looks,
}

/// Where a group stands in a partition, and where that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    partition: TopicPartition,
    from: i64,
    end: i64,
}

/// First and end offset of each partition.
type Bounds = BTreeMap<TopicPartition, (i64, i64)>;

impl Sampler {
    /// `own_group` is the one meant where a rule names none.
    pub fn new(connection: Connection, board: LagBoard, metrics: Metrics, own_group: String) -> Sampler {
        Sampler { connection, board, metrics, own_group, admin: None, probe: None, groups: Vec::new() }
    }

    /// Watches what these rules ask for, and nothing else.
    pub fn follow(&mut self, plan: &Plan) {
        let mut before = std::mem::take(&mut self.groups);
        before.iter().for_each(|group| group.forget(&self.metrics));
        let mut projections = Vec::new();
        for projection in &plan.projections {
            let Body::Lag(group) = &projection.body else { continue };
            let name = group.clone().unwrap_or_else(|| self.own_group.clone());
            let source = plan.source_of(projection);
            let watch = Watch {
                projection: projection.id,
                source: source.name.clone(),
                topic: source.topic.clone(),
                looks: Looks::default(),
            };
            projections.push(projection.id);
            match self.groups.iter_mut().find(|known| known.name == name) {
                Some(known) => known.watches.push(watch),
                None => {
                    // A series that first appears as 1 is no increase to Prometheus.
                    self.metrics.group_lag_failures(&name);
                    let known = before.iter().position(|known| known.name == name);
                    let known = known.map(|at| before.swap_remove(at));
                    let (offsets, warned) = known.map_or((None, None), |known| (known.offsets, known.warned));
                    self.groups.push(Group { name, offsets, watches: vec![watch], failed: None, warned });
                }
            }
        }
        self.board.keep(&projections);
    }

    /// Asks once and shows the answers on the board, group by group as long as it `goes_on`. The error says of which
    /// group the lag is not known, and why.
    pub fn sample(&mut self, goes_on: &dyn Fn() -> bool) -> Result<(), String> {
        match self.bounds() {
            Ok(bounds) => {
                for group in &mut self.groups {
                    if !goes_on() {
                        return Ok(());
                    }
                    group.sample(&self.connection, &self.board, &self.metrics, &mut self.probe, &bounds);
                }
            }
            Err(error) => {
                if !error.is_transient() {
                    self.admin = None;
                }
                self.groups.iter_mut().for_each(|group| group.fail(&error, &self.metrics));
            }
        }
        let failed = |group: &Group| Some((group.name.clone(), group.failed.as_ref()?.1.clone()));
        match self.groups.iter().find_map(failed) {
            Some((group, why)) => Err(format!("the lag of group {group} is not known: {why}")),
            None => Ok(()),
        }
    }

    fn bounds(&mut self) -> Result<Bounds, KafkaError> {
        let watches = self.groups.iter().flat_map(|group| &group.watches);
        let topics: BTreeSet<&str> = watches.map(|watch| watch.topic.as_str()).collect();
        let partitions: Vec<TopicPartition> =
            topics.into_iter().flat_map(|topic| self.board.held(topic)).collect();
        if partitions.is_empty() {
            return Ok(Bounds::new());
        }
        let admin = opened(&mut self.admin, || Admin::open(&self.connection))?;
        let first = admin.offsets(&partitions, EndOf::Earliest, ASK)?;
        // Before the group is asked: one that keeps up is then not behind by what came in between.
        let end = admin.offsets(&partitions, EndOf::LatestCommitted, ASK)?;
        let bounds = first.into_iter().zip(end);
        Ok(bounds.map(|((partition, first), (_, end))| (partition, (first, end))).collect())
    }
}

impl Group {
    fn sample(
        &mut self,
        connection: &Connection,
        board: &LagBoard,
        metrics: &Metrics,
        probe: &mut Option<Probe>,
        bounds: &Bounds,
    ) {
        if self.failed.as_ref().is_some_and(|(when, _)| when.elapsed() < REST) {
            return;
        }
        let asked = self.places(connection, bounds).and_then(|places| {
            for watch in &mut self.watches {
                let of_topic = |place: &&Place| *place.partition.topic == *watch.topic;
                let places: Vec<&Place> = places.iter().filter(of_topic).collect();
                let samples = watch.samples(connection, board, probe, &places)?;
                watch.show(&self.name, board, metrics, places.len(), samples);
            }
            Ok(())
        });
        match asked {
            Ok(()) => self.failed = None,
            Err(error) => self.fail(&error, metrics),
        }
    }

    /// Where the group stands in the partitions of its watches.
    fn places(&mut self, connection: &Connection, bounds: &Bounds) -> Result<Vec<Place>, KafkaError> {
        let is_watched = |topic: &str| self.watches.iter().any(|watch| watch.topic == topic);
        let partitions: Vec<TopicPartition> =
            bounds.keys().filter(|partition| is_watched(&partition.topic)).cloned().collect();
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let offsets = opened(&mut self.offsets, || GroupOffsets::open(connection, &self.name))?;
        let committed = offsets.committed(&partitions, ASK)?;
        let place = |(partition, committed): (TopicPartition, Option<Committed>)| {
            let &(first, end) = bounds.get(&partition)?;
            // What is deleted can no longer be read by anybody.
            let from = committed.map_or(first, |committed| committed.next.max(first));
            Some(Place { partition, from, end })
        };
        Ok(committed.into_iter().filter_map(place).collect())
    }

    fn fail(&mut self, error: &KafkaError, metrics: &Metrics) {
        metrics.group_lag_failures(&self.name).inc();
        self.forget(metrics);
        if !error.is_transient() {
            self.offsets = None;
        }
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(group = self.name, %error, "the lag of a consumer group is not known");
        }
        self.failed = Some((Instant::now(), error.to_string()));
    }

    fn forget(&self, metrics: &Metrics) {
        self.watches.iter().for_each(|watch| metrics.forget_group_lag(&self.name, &watch.source));
    }
}

impl Watch {
    /// From what ingest has read; for what it has not, by a look at the broker now and then.
    fn samples(
        &mut self,
        connection: &Connection,
        board: &LagBoard,
        probe: &mut Option<Probe>,
        places: &[&Place],
    ) -> Result<Vec<LagSample>, KafkaError> {
        let seen: Vec<(&Place, Oldest)> = places
            .iter()
            .map(|place| (*place, board.oldest(&place.partition, place.from, place.end)))
            .collect();
        let unseen = seen.iter().filter(|(_, oldest)| *oldest == Oldest::Unseen).map(|(place, _)| *place);
        let now = Instant::now();
        let due: Vec<&Place> = unseen.filter(|place| self.looks.is_due(place, now)).collect();
        if !due.is_empty() {
            let from: Vec<(i32, i64)> =
                due.iter().map(|place| (place.partition.partition, place.from)).collect();
            let probe = opened(probe, || Probe::open(connection))?;
            let found = probe.next_records(&self.topic, &from, LOOK);
            for place in due {
                let of_place = |found: &BTreeMap<_, _>| found.get(&place.partition.partition).copied();
                self.looks.take(place, now, found.as_ref().ok().and_then(of_place));
            }
            found?;
        }
        let now_us = wall_clock_us();
        let sample = |(place, oldest): (&Place, Oldest)| match oldest {
            Oldest::At { timestamp_ms } => Some(place.behind(age_us(now_us, timestamp_ms))),
            Oldest::Nothing => Some(place.nothing()),
            Oldest::Unseen => self.looks.sample(place, now_us),
        };
        Ok(seen.into_iter().filter_map(sample).collect())
    }

    fn show(
        &self,
        group: &str,
        board: &LagBoard,
        metrics: &Metrics,
        partitions: usize,
        samples: Vec<LagSample>,
    ) {
        if samples.is_empty() || samples.len() < partitions {
            metrics.forget_group_lag(group, &self.source);
        } else {
            let messages = samples.iter().map(|sample| sample.messages).sum::<u64>();
            let behind_us = samples.iter().map(|sample| sample.behind_us).max().unwrap_or(0);
            let gauges = metrics.group_lag(group, &self.source);
            gauges.messages.set(i64::try_from(messages).unwrap_or(i64::MAX));
            gauges.seconds.set(behind_us as f64 / SECOND_US as f64);
        }
        board.show(self.projection, Sampled { at_us: wall_clock_us(), samples });
    }
}

impl Place {
    /// The oldest record not committed is of this age. A clock ahead of ours makes none younger than now.
    fn behind(&self, behind_us: i64) -> LagSample {
        let messages = u64::try_from(self.end - self.from).unwrap_or(0);
        LagSample { partition: self.partition.partition, messages, behind_us: behind_us.max(0) }
    }

    /// The group has all there is.
    fn nothing(&self) -> LagSample {
        LagSample { partition: self.partition.partition, messages: 0, behind_us: 0 }
    }
}

fn age_us(now_us: i64, timestamp_ms: i64) -> i64 {
    now_us.saturating_sub(timestamp_ms.saturating_mul(MILLI_US))
}

fn opened<T>(client: &mut Option<T>, open: impl FnOnce() -> Result<T, KafkaError>) -> Result<&T, KafkaError> {
    let made = match client.take() {
        Some(client) => client,
        None => open()?,
    };
    Ok(client.insert(made))
}
