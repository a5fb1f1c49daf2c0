//! A case played through the real fold and shard: one worker, one shard, time that follows the events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::case::{Case, LagSeries, Observed};
use crate::core::aggregate::Position;
use crate::core::alert::AlertRule;
use crate::core::fold::{Assigned, Fold};
use crate::core::key::Key;
use crate::core::output::{Breach, Output, Transition, UpdateReason};
use crate::core::partial::{Delta, DeltaBody, LagSample, LogRecord, Partial};
use crate::core::plan::{Body, Plan, PlanError};
use crate::core::shard::{Shard, ShardOptions, Violation};
use crate::core::time::{SECOND_US, second_of};

/// No rows are written here, and nobody listens for heartbeats.
const OPTIONS: ShardOptions = ShardOptions {
    provisional_every_s: i64::MAX / 4,
    heartbeat_every_s: i64::MAX / 4_000_000,
    rows_per_record: 0,
};
const VERSION: i64 = 0;

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// Of the rules under test, in the order in which they were told.
    pub observed: Vec<Observed>,
    pub events: u64,
    /// Events that would have gone to the dead letters, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Shard(#[from] Violation),
}

/// Plays `case` from its first event to its end and until all counts are final.
///
/// # Errors
/// The rules do not fit into a plan, or an invariant broke.
pub fn rehearse(case: &Case) -> Result<Rehearsed, RehearsalError> {
    let mut stage = Stage::new(case)?;
    let from_s = stage.first_second();
    let mut now_s = from_s;
    let end_s = stage.last_second();
    while now_s < end_s {
        let next_s = now_s + case.step_s;
        stage.fold_until(next_s * SECOND_US);
        stage.flush(now_s, next_s)?;
        now_s = next_s;
    }
    Ok(stage.rehearsed)
}

struct Stage<'a> {
    case: &'a Case,
    plan: Arc<Plan>,
    fold: Fold,
    shard: Shard,
    /// (arrival, series, event of it): what each series sends next.
    due: BinaryHeap<Reverse<(i64, usize, u64)>>,
    record: i64,
    outputs: Vec<Output>,
    rehearsed: Rehearsed,
}

impl<'a> Stage<'a> {
    fn new(case: &'a Case) -> Result<Stage<'a>, RehearsalError> {
        let rules = Arc::new(case.rules.clone());
        let plan = Arc::new(Plan::compile(VERSION, Arc::clone(&rules))?);
        let mut shard = Shard::new(0, OPTIONS);
        let mut outputs = Vec::new();
        shard.apply(0, LogRecord::Spec { version: VERSION, rules }, &mut outputs)?;
        let sent = case.series.iter().enumerate().filter(|(_, series)| series.events > 0);
        let due = sent.map(|(at, series)| Reverse((series.arrival_us(0), at, 0))).collect();
        let rehearsed = Rehearsed { observed: Vec::new(), events: 0, refused: BTreeMap::new() };
        let fold = Fold::new(Arc::clone(&plan), 1);
        let mut stage = Stage { case, plan, fold, shard, due, record: 0, outputs, rehearsed };
        let now_us = stage.first_second() * SECOND_US;
        for source in 0..case.rules.sources.len() {
            for partition in 0..case.partitions {
                let assigned =
                    Assigned { partitions: case.partitions, topic: 0, next: 0, max_event_us: None };
                stage.fold.assign((source as u16, partition as i32), assigned, now_us);
            }
        }
        Ok(stage)
    }

    fn first_second(&self) -> i64 {
        let arrivals = self.due.iter().map(|Reverse((arrival_us, ..))| second_of(*arrival_us));
        arrivals.chain(self.case.lags.iter().map(|lag| lag.from_s)).min().unwrap_or(0)
    }

    /// When everything up to the end of the case is final, though every partition has fallen silent.
    fn last_second(&self) -> i64 {
        let times = self.case.rules.sources.iter().map(|source| source.event_time);
        let held_us = times.map(|time| time.out_of_order_us + time.idle_after_us).max().unwrap_or(0);
        second_of(self.case.until_us + held_us) + 2
    }

    /// Folds what arrives before `until_us`, in the order of arrival.
    fn fold_until(&mut self, until_us: i64) {
        while let Some(&Reverse((arrival_us, at, event))) = self.due.peek()
            && arrival_us < until_us
        {
            self.due.pop();
            let series = &self.case.series[at];
            if event + 1 < series.events {
                self.due.push(Reverse((series.arrival_us(event + 1), at, event + 1)));
            }
            self.send(at, event, arrival_us);
        }
    }

    fn send(&mut self, at: usize, event: u64, now_us: i64) {
        let series = &self.case.series[at];
        let id = (series.source, series.partition);
        let slot = self.case.rules.sources[usize::from(series.source)].event_time.slot;
        let mut made = series.event.clone();
        made.set_number(slot, series.event_us(event));
        let offset = self.fold.next(id).unwrap_or(0);
        let position = Position { partition: series.partition, offset, timestamp_us: now_us };
        self.rehearsed.events += 1;
        if let Err(invalid) = self.fold.event(id, position, now_us, &made) {
            *self.rehearsed.refused.entry(invalid.reason.name()).or_default() += 1;
        }
    }

    /// Flushes `[from_s, now_s)` and lets the shard judge it.
    fn flush(&mut self, from_s: i64, now_s: i64) -> Result<(), Violation> {
        let now_us = now_s * SECOND_US;
        for id in self.fold.partitions().collect::<Vec<_>>() {
            self.fold.observe_end(id, 0, now_us);
        }
        let flush = self.fold.flush(true);
        let mut deltas: Vec<Delta> = flush.deltas.into_iter().flatten().collect();
        deltas.extend(self.lags(from_s, now_s));
        let clocks = flush.clocks.into_iter().flatten().collect();
        let partial = Partial { rules: VERSION, worker: 0, log_time_us: now_us, deltas, clocks };
        self.record += 1;
        self.shard.apply(self.record, LogRecord::Partial(partial), &mut self.outputs)?;
        for output in std::mem::take(&mut self.outputs) {
            if let Output::Breach(breach) = output {
                self.observe(&breach, now_s);
            }
        }
        Ok(())
    }

    fn lags(&self, from_s: i64, now_s: i64) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for (projection, of) in self.plan.projections.iter().enumerate() {
            let Body::Lag(_) = of.body else { continue };
            let source = &self.plan.source_of(of).name;
            for LagSeries { from_s: first_s, to_s, messages, behind_us, .. } in
                self.case.lags.iter().filter(|lag| lag.source == *source)
            {
                let sample = LagSample { partition: 0, messages: *messages, behind_us: *behind_us };
                let seconds = from_s.max(*first_s)..now_s.min(*to_s);
                deltas.extend(seconds.map(|pane| Delta {
                    projection: projection as u16,
                    key: Key::empty(),
                    pane,
                    body: DeltaBody::Lag(vec![sample]),
                }));
            }
        }
        deltas
    }

    fn observe(&mut self, breach: &Breach, said_s: i64) {
        // Nobody listens who might have missed the opening.
        if breach.update_reason == Some(UpdateReason::StillOpen) {
            return;
        }
        let name = format!("{}/{}", breach.document, breach.rule);
        let at_s = match breach.transition {
            Transition::Opened => breach.opened_s,
            Transition::Resolved => breach.resolved_s.unwrap_or(breach.evaluated_s),
            Transition::Updated | Transition::Retracted => breach.evaluated_s,
        };
        if !self.case.tested.contains(&name) || at_s.saturating_mul(SECOND_US) > self.case.until_us {
            return;
        }
        let rule = self.case.rules.rule(&name);
        self.rehearsed.observed.push(Observed {
            at_s,
            transition: breach.transition,
            level: rule.map_or(breach.level.clone(), |rule| self.level_name(rule, breach)),
            rule: name,
            severity: breach.level.clone(),
            labels: breach.labels.iter().cloned().collect(),
            group: breach.group.clone(),
            reason: breach.resolve_reason.map(|reason| reason.name()),
            onset_s: breach.onset_s,
            said_s,
        });
    }

    /// Records name the severity; several tiers of a burn rate may share one, and their factors tell them apart.
    fn level_name(&self, rule: &AlertRule, breach: &Breach) -> String {
        let severity = |at: usize| self.case.rules.severities.levels.get(at).map(|s| s.name.as_str());
        let mut levels = rule.levels.iter();
        let level = levels.find(|level| {
            severity(level.severity) == Some(breach.level.as_str())
                && level.threshold_text == breach.threshold
        });
        level.map_or(breach.level.clone(), |level| level.name.clone())
    }
}
