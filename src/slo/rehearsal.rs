//! A case played through the real fold and shard: one worker, one shard, time that follows the events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::case::{Case, LagSeries, Observed};
use super::evaluate::StageError;
use super::stage::Stage;
use crate::core::aggregate::Position;
use crate::core::key::Key;
use crate::core::output::{Breach, Output, UpdateReason};
use crate::core::partial::{Delta, DeltaBody, LagSample};
use crate::core::plan::Body;
use crate::core::time::{SECOND_US, second_of};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// Of the rules under test, in the order in which they were told.
    pub observed: Vec<Observed>,
    pub events: u64,
    /// Events that would have gone to the dead letters, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Plays `case` from its first event to its end and until all counts are final.
///
/// # Errors
/// The rules do not fit into a plan, or an invariant broke.
pub fn rehearse(case: &Case) -> Result<Rehearsed, StageError> {
    let mut rehearsal = Rehearsal::new(case)?;
    let mut now_s = rehearsal.first_second();
    let end_s = second_of(case.until_us + rehearsal.stage.held_us()) + 2;
    while now_s < end_s {
        let next_s = now_s + case.step_s;
        rehearsal.fold_until(next_s * SECOND_US);
        rehearsal.flush(now_s, next_s)?;
        now_s = next_s;
    }
    Ok(rehearsal.rehearsed)
}

struct Rehearsal<'a> {
    case: &'a Case,
    stage: Stage,
    /// (arrival, series, event of it): what each series sends next.
    due: BinaryHeap<Reverse<(i64, usize, u64)>>,
    rehearsed: Rehearsed,
}

impl<'a> Rehearsal<'a> {
    fn new(case: &'a Case) -> Result<Rehearsal<'a>, StageError> {
        let stage = Stage::new(case.rules.clone())?;
        let sent = case.series.iter().enumerate().filter(|(_, series)| series.events > 0);
        let due = sent.map(|(at, series)| Reverse((series.arrival_us(0), at, 0))).collect();
        let rehearsed = Rehearsed { observed: Vec::new(), events: 0, refused: BTreeMap::new() };
        let mut rehearsal = Rehearsal { case, stage, due, rehearsed };
        let now_us = rehearsal.first_second() * SECOND_US;
        for source in 0..case.rules.sources.len() {
            for partition in 0..case.partitions {
                rehearsal.stage.assign((source as u16, partition as i32), case.partitions, 0, now_us);
            }
        }
        Ok(rehearsal)
    }

    fn first_second(&self) -> i64 {
        let arrivals = self.due.iter().map(|Reverse((arrival_us, ..))| second_of(*arrival_us));
        arrivals.chain(self.case.lags.iter().map(|lag| lag.from_s)).min().unwrap_or(0)
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
        let offset = self.stage.next(id);
        let position = Position { partition: series.partition, offset, timestamp_us: now_us };
        self.rehearsed.events += 1;
        if let Err(invalid) = self.stage.event(id, position, now_us, &mut made) {
            *self.rehearsed.refused.entry(invalid.reason.name()).or_default() += 1;
        }
    }

    /// Flushes `[from_s, now_s)` and lets the shard judge it.
    fn flush(&mut self, from_s: i64, now_s: i64) -> Result<(), StageError> {
        let lags = self.lags(from_s, now_s);
        for output in self.stage.flush(now_s, lags)? {
            if let Output::Breach(breach) = output {
                self.observe(&breach, now_s);
            }
        }
        Ok(())
    }

    fn lags(&self, from_s: i64, now_s: i64) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for (projection, of) in self.stage.plan().projections.iter().enumerate() {
            let Body::Lag(_) = of.body else { continue };
            let source = &self.stage.plan().source_of(of).name;
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
        let observed = self.stage.observed(breach, said_s);
        let is_over = observed.at_s.saturating_mul(SECOND_US) > self.case.until_us;
        if self.case.tested.contains(&observed.rule) && !is_over {
            self.rehearsed.observed.push(observed);
        }
    }
}
