//! A shard this worker owns, and what of its work is not yet committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Context, RoleError};
use crate::core::output::Output;
use crate::core::partial::LogRecord;
use crate::core::shard::checkpoint::{ChangelogRecord, Checkpointer, Restore};
use crate::core::shard::{Shard, ShardOptions};
use crate::kafka::{Committed, read_whole};
use crate::wire::output::{OutputRecord, OutputTopics, TopicNames};

/// Longest time a restore may stand still before it is given up.
const STALL: Duration = Duration::from_secs(60);
/// Records applied between two checkpoints at most: a replay of them takes well below a second.
const RECORDS_PER_CHECKPOINT: u64 = 20_000;

pub struct ShardSlot {
    pub partition: i32,
    shard: Shard,
    checkpointer: Checkpointer,
    /// Up to here outputs were committed by an owner before: applied again, said only once.
    replay_until: i64,
    /// Next offset to apply, and the one that is committed.
    next: i64,
    committed: i64,
    outputs: Vec<OutputRecord>,
    slice: Vec<ChangelogRecord>,
    urgent: bool,
    since_checkpoint: u64,
    checkpointed: Instant,
    topics_version: i64,
    topics: Option<OutputTopics>,
}

impl ShardSlot {
    /// Restores the shard of `partition` from its changelog. `committed` is where the group stands.
    pub fn restore(
        context: &Context,
        partition: i32,
        committed: Option<&Committed>,
        options: ShardOptions,
    ) -> Result<ShardSlot, RoleError> {
        let began = Instant::now();
        let topics = &context.settings.topics;
        let changelog = topics.full_name(&topics.changelog);
        let mut restore = Restore::default();
        let mut bytes = 0;
        read_whole(&context.connection, &changelog, partition, STALL, |_, key, value| {
            bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            restore.take(key, value);
        })?;
        // Kafka numbers partitions from 0.
        let id = partition as u32;
        let (shard, checkpointer) =
            restore.finish(id, options).map_err(|source| RoleError::Restore { shard: partition, source })?;
        let shard = match (shard, committed) {
            (Some(shard), _) => shard,
            (None, None) => Shard::new(id, options),
            (None, Some(committed)) => {
                return Err(RoleError::NoCheckpoint {
                    shard: partition,
                    group: context.group(crate::http::Role::Evaluate),
                    committed: committed.next,
                    changelog,
                });
            }
        };
        let next = shard.version() + 1;
        let replay_until = committed.map_or(next, |committed| committed.next.max(next));
        context.metrics.restore_seconds().observe(began.elapsed().as_secs_f64());
        context.metrics.restore_bytes().inc_by(bytes);
        tracing::info!(
            shard = partition,
            bytes,
            from = next,
            replay = replay_until - next,
            millis = began.elapsed().as_millis() as u64,
            "shard restored"
        );
        let fresh = committed.is_none() && next == 0;
        let mut slot = ShardSlot {
            partition,
            shard,
            checkpointer,
            replay_until,
            next,
            committed: if fresh { -1 } else { replay_until },
            outputs: Vec::new(),
            slice: Vec::new(),
            urgent: false,
            since_checkpoint: 0,
            checkpointed: Instant::now(),
            topics_version: i64::MIN,
            topics: None,
        };
        if fresh {
            // Committed offsets without a checkpoint would mean lost state, so the two begin together.
            slot.checkpoint()?;
        }
        Ok(slot)
    }

    /// Applies one record and keeps what it says until the next commit; gives it for the counters.
    pub fn apply(
        &mut self,
        context: &Context,
        offset: i64,
        record: LogRecord,
        emitted_at_us: i64,
    ) -> Result<Vec<Output>, RoleError> {
        let mut outputs = Vec::new();
        let violated = |violation| RoleError::Violation { shard: self.partition, offset, violation };
        self.shard.apply(offset, record, &mut outputs).map_err(violated)?;
        self.next = offset + 1;
        self.since_checkpoint += 1;
        if offset < self.replay_until {
            return Ok(Vec::new());
        }
        self.follow_rules(context);
        if let Some(topics) = &self.topics {
            for output in &outputs {
                self.urgent |= matches!(output, Output::Breach(_));
                self.outputs.extend(topics.encode(output, emitted_at_us));
            }
        }
        Ok(outputs)
    }

    /// Names of topics and columns follow the rules the shard works by.
    fn follow_rules(&mut self, context: &Context) {
        let Some((version, rules)) = self.shard.rules() else { return };
        if version == self.topics_version && self.topics.is_some() {
            return;
        }
        let topics = &context.settings.topics;
        let names = TopicNames {
            breaches: &topics.breaches,
            breach_state: &topics.breach_state,
            slo_hourly: &topics.slo_hourly,
            rule_hourly: &topics.rule_hourly,
            slo_status: &topics.slo_status,
            dead_letters: &topics.dead_letters,
        };
        let full_name = |name: &str| topics.full_name(name);
        self.topics_version = version;
        self.topics = Some(OutputTopics::new(rules, &names, &context.settings.cluster, full_name));
    }

    /// Begins a checkpoint when one is due.
    pub fn checkpoint_if_due(&mut self, interval: Duration) -> Result<(), RoleError> {
        let due = self.checkpointed.elapsed() >= interval || self.since_checkpoint >= RECORDS_PER_CHECKPOINT;
        let caught_up = self.next >= self.replay_until;
        if due && caught_up && self.since_checkpoint > 0 && !self.checkpointer.is_writing() {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), RoleError> {
        self.checkpointer.begin(&mut self.shard).map_err(|e| RoleError::Checkpoint(e.to_string()))?;
        self.since_checkpoint = 0;
        self.checkpointed = Instant::now();
        Ok(())
    }

    /// Takes the next slice of a checkpoint, unless one still waits to be committed.
    pub fn cut_slice(&mut self, bytes: usize) {
        if self.slice.is_empty() && self.next >= self.replay_until {
            self.slice = self.checkpointer.next_slice(bytes);
        }
    }

    /// Whether a subscriber is waiting for what this shard has to say.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether anything is to be committed.
    pub fn is_pending(&self) -> bool {
        self.commits() != self.committed || !self.slice.is_empty()
    }

    /// Whether a checkpoint has slices left to commit.
    pub fn is_writing(&self) -> bool {
        self.checkpointer.is_writing()
    }

    pub fn outputs(&self) -> &[OutputRecord] {
        &self.outputs
    }

    pub fn slice(&self) -> &[ChangelogRecord] {
        &self.slice
    }

    pub fn next(&self) -> i64 {
        self.next
    }

    /// The offset to commit: never before what an owner before has committed.
    pub fn commits(&self) -> i64 {
        self.next.max(self.replay_until)
    }

    /// Events beyond the limits since this was last asked, by table.
    pub fn take_other(&mut self) -> BTreeMap<Arc<str>, u64> {
        self.shard.take_other()
    }

    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    pub fn committed(&mut self) {
        self.committed = self.commits();
        self.outputs.clear();
        self.slice.clear();
        self.urgent = false;
    }
}
