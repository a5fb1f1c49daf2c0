//! The real shard in memory: one for all keys, with a clock that the caller moves.

use std::sync::Arc;

use super::case::Observed;
use crate::core::alert::AlertRule;
use crate::core::fold::Flush;
use crate::core::output::{Breach, Output, Transition};
use crate::core::partial::{Clock, Delta, LogRecord, Partial};
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

/// What one worker folded up to a moment.
#[derive(Debug, Default)]
pub struct Flushed {
    pub deltas: Vec<Delta>,
    pub clocks: Vec<Clock>,
}

impl From<Flush> for Flushed {
    fn from(flush: Flush) -> Flushed {
        Flushed {
            deltas: flush.deltas.into_iter().flatten().collect(),
            clocks: flush.clocks.into_iter().flatten().collect(),
        }
    }
}

pub struct Evaluate {
    plan: Arc<Plan>,
    shard: Shard,
    /// Offset of the last record applied to the shard.
    record: i64,
    outputs: Vec<Output>,
}

impl Evaluate {
    /// # Errors
    /// The rules do not fit into a plan.
    pub fn new(rules: Rules) -> Result<Evaluate, StageError> {
        let rules = Arc::new(rules);
        let plan = Arc::new(Plan::compile(VERSION, Arc::clone(&rules))?);
        let mut shard = Shard::new(0, OPTIONS);
        let mut outputs = Vec::new();
        shard.apply(0, LogRecord::Spec { version: VERSION, rules }, &mut outputs)?;
        Ok(Evaluate { plan, shard, record: 0, outputs })
    }

    /// What events are folded by.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub fn rules(&self) -> &Rules {
        &self.plan.rules
    }

    /// How long after the last event all counts are final, though every partition has fallen silent.
    pub fn held_us(&self) -> i64 {
        let times = self.rules().sources.iter().map(|source| source.event_time);
        times.map(|time| time.out_of_order_us + time.idle_after_us).max().unwrap_or(0)
    }

    /// Applies what all workers folded up to the log time `now_s`, as one record; gives what the shard says.
    ///
    /// # Errors
    /// An invariant broke.
    pub fn apply(&mut self, now_s: i64, flushed: Flushed) -> Result<Vec<Output>, StageError> {
        let Flushed { deltas, clocks } = flushed;
        let partial = Partial { rules: VERSION, worker: 0, log_time_us: now_s * SECOND_US, deltas, clocks };
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
