//! The real fold and the real shard in memory: one worker, one shard, and a clock that the caller moves.

use std::sync::Arc;

use super::case::Observed;
use crate::core::aggregate::Position;
use crate::core::alert::AlertRule;
use crate::core::event::{Event, Invalid};
use crate::core::fold::{Assigned, Fold, PartitionId};
use crate::core::output::{Breach, Output, Transition};
use crate::core::partial::{Delta, LogRecord, Partial};
use crate::core::plan::{Plan, PlanError};
use crate::core::rules::Rules;
use crate::core::shard::{Shard, ShardOptions, Violation};
use crate::core::time::SECOND_US;

/// No rows are written here, and nobody listens for heartbeats.
const OPTIONS: ShardOptions = ShardOptions {
    provisional_every_s: i64::MAX / 4,
    heartbeat_every_s: i64::MAX / 4_000_000,
    rows_per_record: 0,
};
const VERSION: i64 = 0;

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Shard(#[from] Violation),
}

pub struct Stage {
    pub plan: Arc<Plan>,
    fold: Fold,
    shard: Shard,
    /// Offset of the last record applied to the shard.
    record: i64,
    outputs: Vec<Output>,
}

impl Stage {
    /// # Errors
    /// The rules do not fit into a plan.
    pub fn new(rules: Rules) -> Result<Stage, StageError> {
        let rules = Arc::new(rules);
        let plan = Arc::new(Plan::compile(VERSION, Arc::clone(&rules))?);
        let mut shard = Shard::new(0, OPTIONS);
        let mut outputs = Vec::new();
        shard.apply(0, LogRecord::Spec { version: VERSION, rules }, &mut outputs)?;
        let fold = Fold::new(Arc::clone(&plan), 1);
        Ok(Stage { plan, fold, shard, record: 0, outputs })
    }

    pub fn rules(&self) -> &Rules {
        &self.plan.rules
    }

    /// How long after the last event all counts are final, though every partition has fallen silent.
    pub fn held_us(&self) -> i64 {
        let times = self.rules().sources.iter().map(|source| source.event_time);
        times.map(|time| time.out_of_order_us + time.idle_after_us).max().unwrap_or(0)
    }

    /// Begins to fold a partition of a topic with `partitions` of them at the offset `next`.
    pub fn assign(&mut self, id: PartitionId, partitions: u32, next: i64, now_us: i64) {
        self.fold.assign(id, Assigned { partitions, topic: 0, next, max_event_us: None }, now_us);
    }

    /// The offset a partition is folded to; 0 for one that is not assigned.
    pub fn next(&self, id: PartitionId) -> i64 {
        self.fold.next(id).unwrap_or(0)
    }

    /// # Errors
    /// Why the event would have gone to the dead letters.
    pub fn event(
        &mut self,
        id: PartitionId,
        position: Position,
        now_us: i64,
        event: &Event,
    ) -> Result<(), Invalid> {
        self.fold.event(id, position, now_us, event).map(|_| ())
    }

    /// Counts a record that did not decode.
    pub fn reject(&mut self, id: PartitionId, offset: i64, now_us: i64) {
        self.fold.reject(id, offset, now_us);
    }

    /// Flushes at the log time `now_s` and gives what the shard says. Whatever arrived was folded, so no partition is
    /// behind. `more` are deltas that come from elsewhere than events.
    ///
    /// # Errors
    /// An invariant broke.
    pub fn flush(&mut self, now_s: i64, more: Vec<Delta>) -> Result<Vec<Output>, StageError> {
        let now_us = now_s * SECOND_US;
        for id in self.fold.partitions().collect::<Vec<_>>() {
            self.fold.observe_end(id, 0, now_us);
        }
        let flush = self.fold.flush(true);
        let deltas = flush.deltas.into_iter().flatten().chain(more).collect();
        let clocks = flush.clocks.into_iter().flatten().collect();
        let partial = Partial { rules: VERSION, worker: 0, log_time_us: now_us, deltas, clocks };
        self.record += 1;
        self.shard.apply(self.record, LogRecord::Partial(partial), &mut self.outputs)?;
        Ok(std::mem::take(&mut self.outputs))
    }

    /// A breach that was told at the log time `said_s`.
    pub fn observed(&self, breach: &Breach, said_s: i64) -> Observed {
        let rule = format!("{}/{}", breach.document, breach.rule);
        let at_s = match breach.transition {
            Transition::Opened => breach.opened_s,
            Transition::Resolved => breach.resolved_s.unwrap_or(breach.evaluated_s),
            Transition::Updated | Transition::Retracted => breach.evaluated_s,
        };
        let known = self.rules().rule(&rule);
        Observed {
            at_s,
            transition: breach.transition,
            level: known.map_or(breach.level.clone(), |rule| self.level_name(rule, breach)),
            rule,
            severity: breach.level.clone(),
            labels: breach.labels.iter().cloned().collect(),
            group: breach.group.clone(),
            reason: breach.resolve_reason.map(|reason| reason.name()),
            onset_s: breach.onset_s,
            said_s,
        }
    }

    /// Records name the severity; several tiers of a burn rate may share one, and their factors tell them apart.
    fn level_name(&self, rule: &AlertRule, breach: &Breach) -> String {
        let severity = |at: usize| self.rules().severities.levels.get(at).map(|s| s.name.as_str());
        let mut levels = rule.levels.iter();
        let level = levels.find(|level| {
            severity(level.severity) == Some(breach.level.as_str())
                && level.threshold_text == breach.threshold
        });
        level.map_or(breach.level.clone(), |level| level.name.clone())
    }
}
