//! Rules that no single group of counts can answer: those over several sources, lags, and scores of other rules. Each
//! has one watch, on the shard where everything without a group lies.

use serde::{Deserialize, Serialize};

use super::breach::Told;
use super::counts::{RuleAt, judged};
use super::{Shard, Since, rule_name};
use crate::core::alert::{Part, RuleKind};
use crate::core::clock::SourceClock;
use crate::core::key::Key;
use crate::core::output::Output;
use crate::core::plan::Plan;
use crate::core::slo::judge::{Counted, Covered, Input, Judged};
use crate::core::slo::pane::Panes;
use crate::core::slo::score::Scored;
use crate::core::slo::standing::Standing;
use crate::core::slo::watch::{Corrected, Progress};
use crate::core::time::second_of;

/// Counts of one source wait this long for another to come as far.
const WAITS_AT_MOST_S: i64 = 86_400;

/// The watch of one such rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joint {
    standing: Standing,
    progress: Option<Progress>,
    /// Earliest second that changed after it was judged, since late events were last judged.
    changed_from_s: Option<i64>,
    corrected: Corrected,
}

impl Joint {
    pub fn touch(&mut self, second: i64) {
        if self.progress.is_none_or(|progress| second >= progress.watermark_s) {
            // Not judged yet.
            return;
        }
        self.changed_from_s = Some(self.changed_from_s.map_or(second, |earlier| earlier.min(second)));
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    pub fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
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
            let log_s = second_of(self.log_us);
            let mut corrected = joint.corrected;
            let is_late = joint.changed_from_s.is_some() && corrected.is_due(progress, log_s);
            if (joint.progress != Some(progress) || is_late)
                && let Some(clock) = self.slowest_clock(plan, at)
            {
                joint.progress = Some(progress);
                self.judge_joint(plan, RuleAt { rule: at, since }, clock, &mut joint, outputs);
            }
            self.joint.insert(name, joint);
        }
        self.forget_lags(plan);
    }

    fn judge_joint(
        &self,
        plan: &Plan,
        at: RuleAt,
        clock: &SourceClock,
        joint: &mut Joint,
        outputs: &mut Vec<Output>,
    ) {
        let clocks = self.clocks_of(plan, at.rule);
        let Joint { standing, progress, changed_from_s, corrected } = joint;
        let Some(progress) = *progress else { return };
        let correct = corrected.is_due(progress, second_of(self.log_us));
        let changed_s = *changed_from_s;
        *changed_from_s = changed_from_s.filter(|_| !correct);
        self.with_judged(plan, at, &mut |judged| {
            let news = standing.advance(judged, progress, changed_s, correct);
            let slices = judged.rule.has_slices().then(|| standing.slices());
            let told = Told {
                plan,
                rule: at.rule,
                key: &Key::from_packed(&[]),
                judged: Some(Judged { slices, ..judged }),
                clock,
                clocks: &clocks,
                exemplars: None,
                log_s: second_of(self.log_us),
                version: self.version,
                shard: self.id,
            };
            outputs.extend(news.into_iter().filter_map(|news| told.output(news)));
        });
    }

    /// Gathers all that a rule without groups reads.
    fn with_judged(&self, plan: &Plan, at: RuleAt, then: &mut dyn FnMut(Judged<'_>)) {
        let watched = &plan.watched[at.rule];
        if let Some(projection) = watched.lag {
            if let Some(lags) = self.lags.get(&plan.projections[projection].id) {
                then(judged(plan, at, Input::Lag(lags)));
            }
            return;
        }
        if !watched.parts.is_empty() {
            return self.with_parts(plan, at, &watched.parts, Vec::new(), then);
        }
        let (none, key) = (Panes::default(), Key::from_packed(&[]));
        let panes = |projection: usize| {
            let counts = self.counts.get(&plan.projections[projection].id);
            counts.and_then(|counts| counts.panes(&key)).unwrap_or(&none)
        };
        let counted: Vec<Counted<'_>> =
            watched.feeds.iter().map(|feed| Counted { feed, panes: panes(feed.projection) }).collect();
        then(judged(plan, at, Input::Feeds(&counted)));
    }

    /// Gathers the parts one by one, for each borrows what it is judged from.
    fn with_parts(
        &self,
        plan: &Plan,
        at: RuleAt,
        left: &[usize],
        gathered: Vec<Scored<'_>>,
        then: &mut dyn FnMut(Judged<'_>),
    ) {
        let Some((&rule, left)) = left.split_first() else {
            return then(judged(plan, at, Input::Parts(&gathered)));
        };
        let alone =
            Part { rule: String::new(), weight_millionths: 1, full_billionths: 1, zero_billionths: 0 };
        let part = match &plan.rules.alerts[at.rule].kind {
            RuleKind::Composite(composite) => {
                let name = plan.rules.alerts[rule].full_name();
                composite.parts.iter().find(|part| part.rule == name).unwrap_or(&alone)
            }
            _ => &alone,
        };
        let since = self.covered(plan, rule).unwrap_or(at.since);
        self.with_judged(plan, RuleAt { rule, since }, &mut |judged| {
            let mut gathered = gathered.clone();
            gathered.push(Scored { part, judged });
            self.with_parts(plan, at, left, gathered, then);
        });
    }

    /// The second from which joint rules still have to judge what a projection counts, which has come to `watermark_s`.
    pub(super) fn needed_from_s(&self, plan: &Plan, projection: usize, watermark_s: i64) -> i64 {
        let joint = plan.readers_of(projection).filter(|rule| !plan.rules.alerts[*rule].has_own_groups());
        let judged_s = |rule| {
            let progress = self.joint.get(&rule_name(plan, rule)).and_then(|joint| joint.progress);
            progress.map_or(i64::MIN, |progress| progress.watermark_s)
        };
        let needed_s = joint.map(judged_s).min().unwrap_or(watermark_s);
        needed_s.clamp(watermark_s - WAITS_AT_MOST_S, watermark_s)
    }

    /// None: this shard does not hold what the rule reads, or a source has no time yet.
    fn joint_progress(&self, plan: &Plan, rule: usize) -> Option<Progress> {
        let watched = &plan.watched[rule];
        let mut slowest: Option<Progress> = None;
        let mut take = |next: Progress| {
            slowest = Some(slowest.map_or(next, |known| Progress {
                watermark_s: known.watermark_s.min(next.watermark_s),
                front_s: known.front_s.min(next.front_s),
            }));
        };
        if let Some(projection) = watched.lag {
            let newest_s = self.lags.get(&plan.projections[projection].id)?.newest_second()?;
            // A sample stands from the end of its second on.
            take(Progress { watermark_s: newest_s + 1, front_s: newest_s + 1 });
        }
        for &part in &watched.parts {
            match self.joint_progress(plan, part) {
                Some(progress) => take(progress),
                None if self.is_without_data(plan, part) => {}
                None => return None,
            }
        }
        let key = Key::from_packed(&[]);
        for feed in &watched.feeds {
            let projection = &plan.projections[feed.projection];
            let source = plan.source_of(projection);
            let Some(clock) = self.sources.get(&source.name) else {
                // An optional topic that is not there has no data; it does not hold up the others.
                if source.optional { continue } else { return None }
            };
            // All that has no group lies on one shard.
            self.counts.get(&projection.id)?.panes(&key)?;
            let (watermark_us, front_us) = (clock.watermark_us()?, clock.front_us()?);
            take(Progress { watermark_s: second_of(watermark_us), front_s: second_of(front_us) });
        }
        slowest
    }

    /// Whether a rule reads nothing but optional topics that are not there, or a lag nobody has told of yet.
    fn is_without_data(&self, plan: &Plan, rule: usize) -> bool {
        let watched = &plan.watched[rule];
        let is_there = |projection: usize| {
            let source = plan.source_of(&plan.projections[projection]);
            !source.optional || self.sources.contains_key(&source.name)
        };
        let untold = |projection: usize| {
            let lags = self.lags.get(&plan.projections[projection].id);
            lags.is_none_or(|lags| lags.newest_second().is_none())
        };
        watched.parts.is_empty()
            && !watched.feeds.iter().any(|feed| is_there(feed.projection))
            && watched.lag.is_none_or(untold)
    }

    fn forget_lags(&mut self, plan: &Plan) {
        for (at, rule) in plan.rules.alerts.iter().enumerate() {
            let Some(projection) = plan.watched[at].lag else { continue };
            let slice_s =
                rule.objective.as_ref().and_then(|objective| objective.method.slice_s()).unwrap_or(0);
            // Rules that read it in a score follow slower clocks.
            let keep_s = rule.correct_within_s + slice_s + LAGS_KEPT_S;
            if let Some(lags) = self.lags.get_mut(&plan.projections[projection].id)
                && let Some(newest_s) = lags.newest_second()
            {
                lags.forget(newest_s - keep_s);
            }
        }
    }

    pub(super) fn clocks_of<'p>(&'p self, plan: &'p Plan, rule: usize) -> Vec<(&'p str, &'p SourceClock)> {
        let clock = |source| Some((source, self.sources.get(source)?));
        sources_of(plan, rule).into_iter().filter_map(clock).collect()
    }

    /// The clock that holds the rule back.
    pub(super) fn slowest_clock(&self, plan: &Plan, rule: usize) -> Option<&SourceClock> {
        let clocks = sources_of(plan, rule).into_iter().filter_map(|source| self.sources.get(source));
        clocks.min_by_key(|clock| clock.watermark_us())
    }

    /// From when on the counts speak for a rule; None: not yet.
    pub(super) fn covered(&self, plan: &Plan, rule: usize) -> Option<Covered> {
        let counts_s = match self.since_s.get(&plan.rules.alerts[rule].full_name())? {
            Since::Start => i64::MIN / 2,
            Since::Adopted(_) => return None,
            Since::Second { second, .. } => *second,
        };
        let first = |source| self.sources.get(source).and_then(SourceClock::first_us);
        let first_s = sources_of(plan, rule).into_iter().filter_map(first).max().map(second_of);
        Some(Covered { counts_s, whole_s: first_s.map_or(counts_s, |first_s| first_s.max(counts_s)) })
    }
}

/// How long lags are kept for scores whose other parts come later.
const LAGS_KEPT_S: i64 = 7_200;

/// Names of the sources a rule reads.
pub(super) fn sources_of(plan: &Plan, rule: usize) -> Vec<&str> {
    let watched = &plan.watched[rule];
    let projections = watched.feeds.iter().map(|feed| feed.projection).chain(watched.lag);
    let own = projections.map(|projection| plan.source_of(&plan.projections[projection]).name.as_str());
    own.chain(watched.parts.iter().flat_map(|&part| sources_of(plan, part))).collect()
}
