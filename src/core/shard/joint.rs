//! Rules that no single group of counts can answer: those over several sources, and lags. Each has one watch, on the
//! shard where everything without a group lies.

use serde::{Deserialize, Serialize};

use super::Shard;
use super::breach::Told;
use super::counts::{RuleAt, judged};
use crate::core::key::Key;
use crate::core::output::Output;
use crate::core::plan::Plan;
use crate::core::slo::judge::{Counted, Covered, Input};
use crate::core::slo::pane::Panes;
use crate::core::slo::watch::{Progress, Watch};
use crate::core::time::second_of;

/// The watch of one such rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joint {
    watch: Watch,
    progress: Option<Progress>,
    /// Earliest second that changed since it was last judged.
    changed_from_s: Option<i64>,
}

impl Joint {
    pub fn touch(&mut self, second: i64) {
        self.changed_from_s = Some(self.changed_from_s.map_or(second, |earlier| earlier.min(second)));
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    pub fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }
}

impl Shard {
    /// Judges every joint rule whose sources have moved.
    pub(super) fn advance_joint(&mut self, plan: &Plan, outputs: &mut Vec<Output>) {
        for (at, rule) in plan.rules.alerts.iter().enumerate() {
            if rule.has_own_groups() {
                continue;
            }
            let (Some(progress), Some(since)) = (self.joint_progress(plan, at), self.covered(plan, at))
            else {
                continue;
            };
            let name = rule.full_name();
            let mut joint = self.joint.remove(&name).unwrap_or_default();
            if joint.progress != Some(progress) {
                joint.progress = Some(progress);
                self.judge_joint(plan, RuleAt { rule: at, since }, progress, &mut joint, outputs);
            }
            self.joint.insert(name, joint);
        }
    }

    fn judge_joint(
        &mut self,
        plan: &Plan,
        at: RuleAt,
        progress: Progress,
        joint: &mut Joint,
        outputs: &mut Vec<Output>,
    ) {
        let (watched, none, key) = (&plan.watched[at.rule], Panes::default(), Key::from_packed(&[]));
        let panes = |projection: usize| {
            let counts = self.counts.get(&plan.projections[projection].id);
            counts.and_then(|counts| counts.panes(&key)).unwrap_or(&none)
        };
        let counted: Vec<Counted<'_>> =
            watched.feeds.iter().map(|feed| Counted { feed, panes: panes(feed.projection) }).collect();
        let lag = watched.lag.and_then(|projection| self.lags.get(&plan.projections[projection].id));
        let judged = judged(plan, at, lag.map_or(Input::Feeds(&counted), Input::Lag));
        for change in joint.watch.advance(judged, progress, joint.changed_from_s.take()) {
            let Some(clock) = self.slowest_clock(plan, at.rule) else { continue };
            let told = Told {
                plan,
                rule: at.rule,
                key: &key,
                judged: Some(judged),
                clock,
                log_s: second_of(self.log_us),
                version: self.version,
                shard: self.id,
            };
            outputs.push(Output::Breach(Box::new(told.breach(&change))));
        }
        if let Some(lags) = watched.lag.and_then(|projection| {
            let id = plan.projections[projection].id;
            self.lags.get_mut(&id)
        }) {
            lags.forget(progress.watermark_s - plan.rules.alerts[at.rule].correct_within_s - 3_600);
        }
    }

    /// None: this shard does not hold what the rule reads, or a source has no time yet.
    fn joint_progress(&self, plan: &Plan, rule: usize) -> Option<Progress> {
        let watched = &plan.watched[rule];
        if let Some(projection) = watched.lag {
            let newest_s = self.lags.get(&plan.projections[projection].id)?.newest_second()?;
            // A sample stands from the end of its second on.
            return Some(Progress { watermark_s: newest_s + 1, front_s: newest_s + 1 });
        }
        let key = Key::from_packed(&[]);
        let holds = |projection: usize| {
            let counts = self.counts.get(&plan.projections[projection].id);
            counts.is_some_and(|counts| counts.panes(&key).is_some())
        };
        if !watched.feeds.iter().any(|feed| holds(feed.projection)) {
            return None;
        }
        let mut progress: Option<Progress> = None;
        for feed in &watched.feeds {
            let clock = self.sources.get(&plan.source_of(&plan.projections[feed.projection]).name)?;
            let (watermark_s, front_s) = (second_of(clock.watermark_us()?), second_of(clock.front_us()?));
            progress = Some(progress.map_or(Progress { watermark_s, front_s }, |p| Progress {
                watermark_s: p.watermark_s.min(watermark_s),
                front_s: p.front_s.min(front_s),
            }));
        }
        progress
    }

    /// The clock that holds the rule back.
    pub(super) fn slowest_clock(&self, plan: &Plan, rule: usize) -> Option<&crate::core::clock::SourceClock> {
        let clocks = sources_of(plan, rule).filter_map(|source| self.sources.get(source));
        clocks.min_by_key(|clock| clock.watermark_us())
    }

    /// From when on the counts speak for a rule; None: not yet.
    pub(super) fn covered(&self, plan: &Plan, rule: usize) -> Option<Covered> {
        let counts_s = match self.since_s.get(&plan.rules.alerts[rule].full_name())? {
            super::Since::Start => i64::MIN / 2,
            super::Since::Adopted(_) => return None,
            super::Since::Second { second, .. } => *second,
        };
        let first = |source| self.sources.get(source).and_then(crate::core::clock::SourceClock::first_us);
        let first_s = sources_of(plan, rule).filter_map(first).max().map(second_of);
        Some(Covered { counts_s, whole_s: first_s.map_or(counts_s, |first_s| first_s.max(counts_s)) })
    }
}

/// Names of the sources a rule reads.
pub(super) fn sources_of(plan: &Plan, rule: usize) -> impl Iterator<Item = &str> {
    let watched = &plan.watched[rule];
    let projections = watched.feeds.iter().map(|feed| feed.projection).chain(watched.lag);
    projections.map(|projection| plan.source_of(&plan.projections[projection]).name.as_str())
}
