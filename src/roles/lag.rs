//! How far consumer groups are behind, for the LAG rules in force: asked of the broker once a second, about the
//! partitions that this process reads.
//!
//! What is not known is not told; a rule that hears nothing has no value. So a broker that does not answer, or may
//! not, is counted and logged, and never ends the process.

mod board;
mod group;
mod look;
mod trail;
mod trails;
mod watch;

pub use board::{HeldTrail, LagBoard, Sampled};
pub use trail::{Oldest, Span};
pub use trails::Trails;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Context, RoleError};
use crate::core::plan::{Body, Plan};
use crate::http::{Component, Metrics, Role, State};
use crate::kafka::{Admin, Connection, EndOf, KafkaError, Probe, TopicPartition};
use group::Group;
use watch::Watch;

const EVERY: Duration = Duration::from_secs(1);
const ASK: Duration = Duration::from_secs(1);

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

/// Asks for the groups of the rules it follows.
pub struct Sampler {
    own_group: String,
    groups: Vec<Group>,
    world: World,
}

/// What asking needs, and where the answers are shown. Clients are opened when there is something to ask.
struct World {
    connection: Connection,
    admin: Option<Admin>,
    probe: Option<Probe>,
    board: LagBoard,
    metrics: Metrics,
}

/// First and end offset of each partition.
type Bounds = BTreeMap<TopicPartition, (i64, i64)>;

impl Sampler {
    /// `own_group` is the one meant where a rule names none.
    pub fn new(connection: Connection, board: LagBoard, metrics: Metrics, own_group: String) -> Sampler {
        let world = World { connection, admin: None, probe: None, board, metrics };
        Sampler { own_group, groups: Vec::new(), world }
    }

    /// Watches what these rules ask for, and nothing else.
    pub fn follow(&mut self, plan: &Plan) {
        let mut before = std::mem::take(&mut self.groups);
        before.iter().for_each(|group| group.forget(&self.world.metrics));
        let mut projections = Vec::new();
        for projection in &plan.projections {
            let Body::Lag(group) = &projection.body else { continue };
            let name = group.clone().unwrap_or_else(|| self.own_group.clone());
            let source = plan.source_of(projection);
            let watch = Watch::new(projection.id, source);
            projections.push(projection.id);
            match self.groups.iter_mut().find(|known| known.name == name) {
                Some(known) => known.watches.push(watch),
                None => {
                    // A series that first appears as 1 is no increase to Prometheus.
                    self.world.metrics.group_lag_failures(&name);
                    let known = before.iter().position(|known| known.name == name);
                    let known = known.map(|at| before.swap_remove(at));
                    self.groups.push(Group::new(name, watch, known));
                }
            }
        }
        self.world.board.keep(&projections);
    }

    /// Asks once and shows the answers on the board, group by group as long as it `goes_on`. The error says of which
    /// group the lag is not known, and why.
    pub fn sample(&mut self, goes_on: &dyn Fn() -> bool) -> Result<(), String> {
        if self.groups.iter().all(Group::rests) {
            return self.known();
        }
        match self.bounds() {
            Ok(bounds) => {
                for group in &mut self.groups {
                    if !goes_on() {
                        return Ok(());
                    }
                    group.sample(&mut self.world, &bounds);
                }
            }
            Err(error) => {
                self.groups.iter_mut().for_each(|group| group.fail(&error, &self.world.metrics));
            }
        }
        self.known()
    }

    fn known(&self) -> Result<(), String> {
        let unknown =
            |group: &Group| Some(format!("the lag of group {} is not known: {}", group.name, group.why()?));
        self.groups.iter().find_map(unknown).map_or(Ok(()), Err)
    }

    fn bounds(&mut self) -> Result<Bounds, KafkaError> {
        let watches = self.groups.iter().flat_map(|group| &group.watches);
        let topics: BTreeSet<&str> = watches.map(|watch| watch.topic.as_str()).collect();
        let World { connection, admin, board, .. } = &mut self.world;
        let partitions: Vec<TopicPartition> =
            topics.into_iter().flat_map(|topic| board.held(topic)).collect();
        if partitions.is_empty() {
            return Ok(Bounds::new());
        }
        let admin = opened(admin, || Admin::open(connection))?;
        let first = admin.offsets(&partitions, EndOf::Earliest, ASK)?;
        // Before the group is asked: one that keeps up is then not behind by what came in between.
        let end = admin.offsets(&partitions, EndOf::LatestCommitted, ASK)?;
        let bounds = first.into_iter().zip(end);
        Ok(bounds.map(|((partition, first), (_, end))| (partition, (first, end))).collect())
    }
}

fn opened<T>(client: &mut Option<T>, open: impl FnOnce() -> Result<T, KafkaError>) -> Result<&T, KafkaError> {
    let made = match client.take() {
        Some(client) => client,
        None => open()?,
    };
    Ok(client.insert(made))
}
