//! The loops that move data between the core and the world. Each worker is one OS thread with its own consumer and
//! producer; what it counts, and when, is the core's business.

pub mod backoff;
pub mod board;
mod dead_letters;
pub mod evaluate;
pub mod ingest;
pub mod lag;
mod orphans;
mod pace;
mod restore;
pub mod run;
pub mod shard_slot;
mod stop;
pub mod store;
pub mod topics;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::settings::Settings;
use crate::core::plan::Plan;
use crate::core::shard::Violation;
use crate::core::shard::checkpoint::RestoreError;
use crate::http::{AbortCause, Component, Health, Metrics, Role};
use crate::kafka::{
    Assignor, CommitError, Connection, GroupReader, KafkaError, ReaderOptions, Standing, TopicPartition,
    TransactionalWriter,
};
use crate::store::StoreError;
use crate::wire::partial::PartialError;
use backoff::Backoff;
use board::RulesBoard;
use lag::LagBoard;
use shard_slot::SlotError;
pub use stop::Stop;

/// What every worker of this process shares.
#[derive(Clone)]
pub struct Context {
    pub settings: Arc<Settings>,
    pub connection: Connection,
    pub metrics: Metrics,
    pub health: Health,
    pub board: RulesBoard,
    pub lags: LagBoard,
    pub stop: Stop,
}

/// How to mend state that cannot be trusted any more.
pub const START_OVER: &str = "start over beside the old state: give the deployment a new `kafka.application`, \
    `topics.prefix` and `postgres.schema`, run `plimsoll topics create`, and everything is computed again from what \
    the inputs retain";

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("shard {shard}, offset {offset}: {violation}")]
    Violation { shard: i32, offset: i64, violation: Violation },
    #[error("shard {shard}: {source}")]
    Restore { shard: i32, source: RestoreError },
    #[error(
        "shard {shard}: group {group} has committed offset {committed}, but {changelog} holds no checkpoint to go on \
         from. Bring the topic back, or {START_OVER}"
    )]
    NoCheckpoint { shard: i32, group: String, committed: i64, changelog: String },
    #[error(
        "{partials} partition {shard} has lost offset {wanted} before it was applied: the numbers after it cannot be \
         right. Raise its retention and {START_OVER}"
    )]
    PartialsLost { shard: i32, partials: String, wanted: i64 },
    #[error("{0}")]
    Partial(#[from] PartialError),
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{role} worker {worker} panicked: this is a bug; its last log lines say where")]
    Panicked { role: &'static str, worker: u32 },
}

impl RoleError {
    /// sysexits: 69 something is not to be reached, 70 an invariant broke.
    pub fn exit_code(&self) -> u8 {
        match self {
            RoleError::Kafka(_) | RoleError::Commit(_) | RoleError::Store(_) => 69,
            RoleError::Violation { .. }
            | RoleError::Restore { .. }
            | RoleError::NoCheckpoint { .. }
            | RoleError::PartialsLost { .. }
            | RoleError::Partial(_)
            | RoleError::Slot(_)
            | RoleError::Panicked { .. } => 70,
        }
    }
}

/// How long a member may be silent before the group gives its partitions away.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a broker is asked at a time.
const ASK: Duration = Duration::from_secs(10);

/// Rows are in no hurry, and Postgres prefers a few large statements.
const STORE_GATHERS: Duration = Duration::from_millis(500);

/// Asks again while the broker is away or a dead owner's transaction holds the answer back.
fn patiently<T, E: Into<RoleError>>(
    context: &Context,
    component: Component,
    mut ask: impl FnMut() -> Result<T, E>,
) -> Result<T, RoleError> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        match ask().map_err(Into::into) {
            Err(RoleError::Kafka(error)) if error.is_transient() && !context.stop.is_raised() => {
                let pause = backoff.pause();
                tracing::warn!(%component, %error, retry_ms = pause.as_millis() as u64, "waiting for kafka");
                context.health.beat(component);
                context.stop.wait(pause);
            }
            answer => return answer,
        }
    }
}

/// The wall clock, in microseconds since 1970: the one place where it enters.
#[expect(clippy::disallowed_methods, reason = "log time has to come from somewhere")]
pub fn wall_clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Context {
    /// `plimsoll-ingest-replica-1-0`: stable over restarts, so that a restart fences its own ghost at once.
    pub fn member(&self, role: Role, worker: u32) -> String {
        let Settings { kafka, instance, .. } = &*self.settings;
        format!("{}-{}-{instance}-{worker}", kafka.application, role.name())
    }

    /// The rules in force, compiled.
    fn plan(&self) -> Result<Arc<Plan>, RoleError> {
        let (version, rules) = self.board.current();
        let plan = Plan::compile(version, rules).map_err(|error| RoleError::Violation {
            shard: -1,
            offset: version,
            violation: Violation::UnusableRules { version, reason: error.to_string() },
        })?;
        Ok(Arc::new(plan))
    }

    pub fn group(&self, role: Role) -> String {
        format!("{}-{}", self.settings.kafka.application, role.name())
    }

    /// Joins the role's group, under a stable name if the settings say so.
    fn join(&self, role: Role, worker: u32, topics: Vec<String>) -> Result<GroupReader, RoleError> {
        let instance = self.settings.kafka.static_membership.then(|| self.member(role, worker));
        self.join_as(instance, role, worker, topics)
    }

    /// Only evaluate has state that makes it worth keeping what does not have to move.
    fn join_as(
        &self,
        instance: Option<String>,
        role: Role,
        worker: u32,
        topics: Vec<String>,
    ) -> Result<GroupReader, RoleError> {
        let (assignor, gather) = match role {
            // What comes right after a flush waits as long anyway.
            Role::Ingest => (Assignor::EagerRange, self.settings.intervals.flush),
            Role::Store => (Assignor::EagerRange, STORE_GATHERS),
            // A subscriber is waiting.
            Role::Evaluate => (Assignor::CooperativeSticky, Duration::ZERO),
        };
        let options = ReaderOptions {
            group: self.group(role),
            instance,
            client_id: self.member(role, worker),
            topics,
            assignor,
            fetches_directly: role == Role::Ingest && self.settings.kafka.direct_fetch,
            gather,
            session_timeout: SESSION_TIMEOUT,
        };
        Ok(GroupReader::open(&self.connection, options)?)
    }

    /// Where the group stands after a transaction of this member failed. None: the group is being shared out anew, or
    /// has no coordinator; ask again once the reader's events are answered.
    fn standings(
        &self,
        component: Component,
        reader: &GroupReader,
        writer: &mut TransactionalWriter,
    ) -> Result<Option<Vec<Standing>>, RoleError> {
        // Every process knows it, and no group reads it.
        let mark = TopicPartition::new(self.settings.topics.full_name(&self.settings.topics.rules), 0);
        match writer.prove_coordinator(&mark, &reader.group_metadata()?) {
            Ok(()) => {
                let partitions = reader.assignment();
                patiently(self, component, || reader.committed(&partitions, ASK)).map(Some)
            }
            Err(error) => self.mend(component, writer, error).map(|()| None),
        }
    }

    /// Makes the writer whole again after a failed transaction. An error means that this process must end.
    pub fn mend(
        &self,
        component: Component,
        writer: &mut TransactionalWriter,
        error: CommitError,
    ) -> Result<(), RoleError> {
        let cause = match &error {
            CommitError::Aborted { .. } => AbortCause::Rebalance,
            CommitError::Fenced { .. } => AbortCause::Fenced,
            CommitError::Unavailable { .. } => AbortCause::Timeout,
            CommitError::Denied { .. } | CommitError::Fatal { .. } => AbortCause::Broker,
        };
        self.metrics.transactions_aborted(role_of(component), cause).inc();
        tracing::warn!(%component, cause = cause.name(), %error, "transaction did not commit");
        match error {
            CommitError::Aborted { .. } => Ok(()),
            CommitError::Denied { .. } | CommitError::Fatal { .. } => Err(error.into()),
            CommitError::Fenced { .. } | CommitError::Unavailable { .. } => self.recreate(component, writer),
        }
    }

    fn recreate(&self, component: Component, writer: &mut TransactionalWriter) -> Result<(), RoleError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match writer.recreate() {
                Ok(()) => return Ok(()),
                Err(error) if error.is_transient() && !self.stop.is_raised() => {
                    let pause = backoff.pause();
                    tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "producer cannot be recreated yet");
                    self.health.beat(component);
                    self.stop.wait(pause);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn role_of(component: Component) -> Role {
    match component {
        Component::Ingest(_) => Role::Ingest,
        Component::Evaluate(_) => Role::Evaluate,
        // None writes to Kafka in transactions; the store is the nearest of the roles.
        Component::Store | Component::Rules | Component::Lag => Role::Store,
    }
}
