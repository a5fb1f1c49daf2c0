//! A shard this worker owns, and what of its work is not yet committed. It reads no clock and knows nothing of Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::settings::Settings;
use crate::core::output::Output;
use crate::core::partial::LogRecord;
use crate::core::shard::checkpoint::{ChangelogRecord, Checkpointer};
use crate::core::shard::{Shard, ShardOptions, Violation};
use crate::wire::output::{OutputRecord, OutputTopics, TopicNames};

/// Records applied between two checkpoints at most: a replay of them takes well below a second.
const RECORDS_PER_CHECKPOINT: u64 = 20_000;

/// Why a shard cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error("offset {committed} is committed, but there is no checkpoint to go on from")]
    NoCheckpoint { committed: i64 },
    #[error("a checkpoint cannot be written: {0}")]
    Checkpoint(#[from] postcard::Error),
}

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
    /// Goes on with `shard`, what the changelog holds of it; None is a shard without a checkpoint. `committed` is the
    /// offset at which the group stands.
    ///
    /// # Errors
    /// Offsets are committed and there is no checkpoint: state was lost.
    pub fn new(
        partition: i32,
        (shard, checkpointer): (Option<Shard>, Checkpointer),
        committed: Option<i64>,
        options: ShardOptions,
        now: Instant,
    ) -> Result<ShardSlot, SlotError> {
        let shard = match (shard, committed) {
            (Some(shard), _) => shard,
            // Kafka numbers partitions from 0.
            (None, None) => Shard::new(partition as u32, options),
            (None, Some(committed)) => return Err(SlotError::NoCheckpoint { committed }),
        };
        let next = shard.version() + 1;
        let replay_until = committed.map_or(next, |committed| committed.max(next));
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
            checkpointed: now,
            topics_version: i64::MIN,
            topics: None,
        };
        if fresh {
            // Committed offsets without a checkpoint would mean lost state, so the first commit holds both.
            slot.checkpoint(now)?;
            slot.slice = slot.checkpointer.next_slice(usize::MAX)?;
        }
        Ok(slot)
    }

    /// Applies one record and keeps what it says until the next commit; gives it for the counters. A record that was
    /// applied before changes nothing.
    ///
    /// # Errors
    /// The log contradicts itself; the slot must not be used again.
    pub fn apply(
        &mut self,
        settings: &Settings,
        offset: i64,
        record: LogRecord,
        emitted_at_us: i64,
    ) -> Result<Vec<Output>, Violation> {
        let mut outputs = Vec::new();
        if offset < self.next {
            return Ok(outputs);
        }
        self.shard.apply(offset, record, &mut outputs)?;
        self.next = offset + 1;
        self.since_checkpoint += 1;
        if offset < self.replay_until {
            return Ok(Vec::new());
        }
        self.follow_rules(settings);
        if let Some(topics) = &self.topics {
            for output in &outputs {
                self.urgent |= matches!(output, Output::Breach(_));
                self.outputs.extend(topics.encode(output, emitted_at_us));
            }
        }
        Ok(outputs)
    }

    /// Names of topics and columns follow the rules the shard works by.
    fn follow_rules(&mut self, settings: &Settings) {
        let Some((version, rules)) = self.shard.rules() else { return };
        if version == self.topics_version && self.topics.is_some() {
            return;
        }
        let topics = &settings.topics;
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
        self.topics = Some(OutputTopics::new(rules, &names, &settings.cluster, full_name));
    }

    /// Begins a checkpoint when one is due: `interval` after the one before, or earlier when much was applied. True when
    /// it did.
    ///
    /// # Errors
    /// The state cannot be written down.
    pub fn checkpoint_if_due(&mut self, interval: Duration, now: Instant) -> Result<bool, SlotError> {
        let elapsed = now.saturating_duration_since(self.checkpointed);
        let due = elapsed >= interval || self.since_checkpoint >= RECORDS_PER_CHECKPOINT;
        let caught_up = self.next >= self.replay_until;
        let begins = due && caught_up && self.since_checkpoint > 0 && !self.checkpointer.is_writing();
        if begins {
            self.checkpoint(now)?;
        }
        Ok(begins)
    }

    fn checkpoint(&mut self, now: Instant) -> Result<(), SlotError> {
        self.checkpointer.begin(&mut self.shard)?;
        self.since_checkpoint = 0;
        self.checkpointed = now;
        Ok(())
    }

    /// Takes the next slice of a checkpoint, unless one still waits to be committed.
    ///
    /// # Errors
    /// The state cannot be written down.
    pub fn cut_slice(&mut self, bytes: usize) -> Result<(), SlotError> {
        if self.slice.is_empty() && self.next >= self.replay_until {
            self.slice = self.checkpointer.next_slice(bytes)?;
        }
        Ok(())
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

    /// Records to be committed with the offset.
    pub fn outputs(&self) -> &[OutputRecord] {
        &self.outputs
    }

    /// Part of a checkpoint to be committed with them.
    pub fn slice(&self) -> &[ChangelogRecord] {
        &self.slice
    }

    /// The offset to apply next.
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

    /// The group stands at `next` after a transaction of which nobody said what became of it. That tells only where an
    /// offset was to move; part of a checkpoint alone is written again, which changes nothing.
    pub fn found_at(&mut self, next: i64) {
        if self.commits() != self.committed && next >= self.commits() {
            self.committed();
        }
    }

    /// What was pending is committed.
    pub fn committed(&mut self) {
        self.committed = self.commits();
        self.outputs.clear();
        self.slice.clear();
        self.urgent = false;
    }
}
