//! Rules tried on the records of the past: the same fold and shard, driven by the records' own timestamps.
//!
//! Any number of [`Ingest`]s fold the partitions between them; each second what they flushed goes to the shard as one
//! record, so that how many there are makes no difference.

use std::collections::{BTreeMap, BTreeSet};

use super::alarm::Told;
use super::alone;
use super::curve::{Curve, Curves};
use super::evaluate::{Evaluate, Flushed, StageError};
use super::ingest::{Ingest, Refused};
use crate::core::alert::{AlertRule, RuleKind};
use crate::core::objective::Indicator;
use crate::core::output::{Output, UpdateReason};
use crate::core::rules::Rules;
use crate::core::slo::watch::CORRECT_EVERY_S;
use crate::core::time::SECOND_US;

/// The first offset of each partition of each topic; a topic that is missing has no data.
pub type Starts = BTreeMap<String, Vec<i64>>;

/// A record as its topic holds it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_us: i64,
    /// None: a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// Which transitions count, and what a record may weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub from_s: i64,
    /// Inclusive.
    pub to_s: i64,
    pub record_bytes: usize,
}

/// What came of a backtest.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// In the order in which they were told.
    pub told: Vec<Told>,
    pub curves: Vec<Curve>,
    pub refused: Refused,
    /// Rules that records cannot tell about, by `document/rule`: the lag of consumer groups leaves no records.
    pub unplayed: Vec<String>,
}

/// One version of the rules at work.
pub struct Backtest {
    evaluate: Evaluate,
    tested: BTreeSet<String>,
    frame: Frame,
    curves: Curves,
    played: Played,
}

impl Backtest {
    /// Of the rules `tested`, which are among `rules`.
    ///
    /// # Errors
    /// The rules do not fit into a plan.
    pub fn new(rules: &Rules, tested: &[AlertRule], frame: Frame) -> Result<Backtest, StageError> {
        let evaluate = Evaluate::new(alone(rules, tested))?;
        let unplayed = tested.iter().filter(|rule| is_about_lag(rule)).map(AlertRule::full_name).collect();
        Ok(Backtest {
            evaluate,
            tested: tested.iter().map(AlertRule::full_name).collect(),
            frame,
            curves: Curves::new(frame.from_s, frame.to_s),
            played: Played { unplayed, ..Played::default() },
        })
    }

    /// A worker that folds for this backtest.
    pub fn ingest(&self) -> Ingest {
        Ingest::new(self.evaluate.plan(), self.frame.record_bytes)
    }

    /// Log time in seconds at which all counts up to the end are final, though nothing more arrives.
    pub fn final_s(&self) -> i64 {
        self.frame.to_s + self.evaluate.held_us().div_euclid(SECOND_US) + CORRECT_EVERY_S + 2
    }

    /// Log time in seconds from which no record, however late, changes what was so up to the end.
    pub fn until_s(&self) -> i64 {
        let correct_within = self.evaluate.rules().alerts.iter().map(|rule| rule.correct_within_s);
        self.final_s() + correct_within.max().unwrap_or(0)
    }

    /// Takes what all ingests flushed at the log time `now_s`; called for each second in turn.
    ///
    /// # Errors
    /// An invariant broke.
    pub fn second(&mut self, now_s: i64, flushed: Vec<Flushed>) -> Result<(), StageError> {
        let mut all = Flushed::default();
        for Flushed { deltas, clocks } in flushed {
            all.deltas.extend(deltas);
            all.clocks.extend(clocks);
        }
        // As one worker would have written them: beyond the limit of groups their order decides.
        all.deltas.sort_by(|a, b| (a.projection, a.pane, &a.key).cmp(&(b.projection, b.pane, &b.key)));
        for output in self.evaluate.apply(now_s, all)? {
            self.take(output, now_s);
        }
        Ok(())
    }

    pub fn refuse(&mut self, refused: Refused) {
        for (reason, records) in refused {
            *self.played.refused.entry(reason).or_default() += records;
        }
    }

    pub fn finish(self) -> Played {
        Played { curves: self.curves.finish(), ..self.played }
    }

    fn take(&mut self, output: Output, said_s: i64) {
        match output {
            // Nobody listens who might have missed the opening.
            Output::Breach(breach) if breach.update_reason == Some(UpdateReason::StillOpen) => {}
            Output::Breach(breach) => {
                let observed = self.evaluate.observed(&breach, said_s);
                let counts = (self.frame.from_s..=self.frame.to_s).contains(&observed.at_s);
                if counts && self.tested.contains(&observed.rule) {
                    self.played.told.push(Told::of(observed, &breach));
                }
            }
            Output::Status(status) => self.curves.take(*status),
            Output::Row(_)
            | Output::SloHour(_)
            | Output::RuleHour(_)
            | Output::Heartbeat(_)
            | Output::HourGone(_) => {}
        }
    }
}

/// The longest stretch that any of the rules looks back on, in seconds: so much before the first transition that
/// counts must be read too. An episode may have been held open all that time.
pub fn longest_window_s(rules: &[AlertRule]) -> i64 {
    let level = |rule: &AlertRule| rule.levels.iter().map(|level| level.window_s + level.for_s).max();
    rules.iter().filter_map(|rule| Some(level(rule)? + rule.hold_s)).max().unwrap_or(0)
}

fn is_about_lag(rule: &AlertRule) -> bool {
    let of_objective = rule.objective.as_ref().map(|objective| &objective.indicator);
    matches!(rule.kind, RuleKind::Lag { .. }) || matches!(of_objective, Some(Indicator::Lag { .. }))
}
