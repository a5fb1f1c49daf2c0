//! The real fold and the real shard in memory: one worker, one shard, and a clock that the caller moves.

use std::sync::Arc;

use super::case::Observed;
use super::evaluate::{Evaluate, Flushed, StageError};
use crate::core::aggregate::Position;
use crate::core::event::{Event, Invalid};
use crate::core::fold::{Assigned, Fold, PartitionId};
use crate::core::output::{Breach, Output};
use crate::core::partial::Delta;
use crate::core::plan::Plan;
use crate::core::rules::Rules;
use crate::core::time::SECOND_US;

pub struct Stage {
    fold: Fold,
    evaluate: Evaluate,
}

impl Stage {
    /// # Errors
    /// The rules do not fit into a plan.
    pub fn new(rules: Rules) -> Result<Stage, StageError> {
        let evaluate = Evaluate::new(rules)?;
        Ok(Stage { fold: Fold::new(Arc::clone(evaluate.plan()), 1), evaluate })
    }

    pub fn plan(&self) -> &Plan {
        self.evaluate.plan()
    }

    /// How long after the last event all counts are final, though every partition has fallen silent.
    pub fn held_us(&self) -> i64 {
        self.evaluate.held_us()
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
        event: &mut Event,
    ) -> Result<(), Invalid> {
        self.fold.event(id, position, now_us, event).map(|_| ())
    }

    /// Flushes at the log time `now_s` and gives what the shard says. `more` are deltas that come from elsewhere than
    /// events.
    ///
    /// # Errors
    /// An invariant broke.
    pub fn flush(&mut self, now_s: i64, more: Vec<Delta>) -> Result<Vec<Output>, StageError> {
        let mut flushed = flush(&mut self.fold, now_s);
        flushed.deltas.extend(more);
        self.evaluate.apply(now_s, flushed)
    }

    /// A breach that was told at the log time `said_s`.
    pub fn observed(&self, breach: &Breach, said_s: i64) -> Observed {
        self.evaluate.observed(breach, said_s)
    }
}

/// Flushes at the log time `now_s`. Whatever arrived was folded, so no partition is behind.
pub fn flush(fold: &mut Fold, now_s: i64) -> Flushed {
    for id in fold.partitions().collect::<Vec<_>>() {
        fold.observe_end(id, 0, now_s * SECOND_US);
    }
    fold.flush(true).into()
}
