//! Rules that no single group of counts can answer: those over several sources, lags, and scores of other rules. Each
//! has one watch, on the shard where everything without a group lies.

use serde::{Deserialize, Serialize};

use super::breach::Told;
use super::counts::{RuleAt, judged};
use super::{Shard, Since};
use crate::core::alert::{Part, RuleKind};
use crate::core::clock::SourceClock;
use crate::core::key::Key;
use crate::core::output::Output;
use crate::core::plan::{Plan, Watched};
use crate::core::slo::judge::{Counted, Covered, Input, Judged, Scored};
use crate::core::slo::lag::{SILENT_AFTER_S, Samples};
use crate::core::slo::pane::Panes;
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
    /// What only grows has grown since it was judged. False between two records.
    #[serde(skip)]
    has_grown: bool,
}

impl Joint {
    pub fn touch(&mut self, second: i64, only_grows: bool) {
        self.has_grown |= only_grows;
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
            let name = &plan.watched[at].name;
            let mut joint = self.joint.remove(name).unwrap_or_default();
            let progress = joint.progress.map_or(progress, |before| before.newest(progress));
            let now = Corrected::at(progress, second_of(self.log_us));
            let is_late = joint.changed_from_s.is_some() && joint.corrected.is_due(now, self.shift_s(at));
            let has_grown = std::mem::take(&mut joint.has_grown);
            if (joint.progress != Some(progress) || is_late || has_grown)
                && let Some(clock) = self.slowest_clock(plan, at)
            {
                joint.progress = Some(progress);
                self.judge_joint(plan, RuleAt { rule: at, since }, clock, &mut joint, outputs);
            }
            self.joint.insert(name.clone(), joint);
        }
        self.forget_lags(plan);
    }

    fn shift_s(&self, rule: usize) -> u32 {
        self.id.wrapping_add(rule as u32)
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
        let Joint { standing, progress, changed_from_s, corrected, .. } = joint;
        let Some(progress) = *progress else { return };
        let now = Corrected::at(progress, second_of(self.log_us));
        let changed_s = *changed_from_s;
        let correct = changed_s.is_some() && corrected.is_due(now, self.shift_s(at.rule));
        if correct {
            (*corrected, *changed_from_s) = (now, None);
        }
        self.with_judged(plan, at, &mut |judged| {
            let news = standing.advance(judged, progress, changed_s, correct);
            let slices = judged.rule.has_slices().then(|| standing.slices());
            let told = Told {
                plan,
                rule: at.rule,
                key: &Key::empty(),
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
            let none = Samples::default();
            let lags = self.lags.get(&plan.projections[projection].id).unwrap_or(&none);
            return then(judged(plan, at, Input::Lag(lags)));
        }
        match (&plan.rules.alerts[at.rule].kind, watched.parts.as_slice()) {
            (RuleKind::Composite(composite), parts) => {
                let parts: Vec<(&Part, usize)> = composite.parts.iter().zip(parts.iter().copied()).collect();
                return self.with_parts(plan, at, &parts, Vec::new(), then);
            }
            (_, [score]) => {
                return self.with_part(plan, at, *score, &mut |score| {
                    then(judged(plan, at, Input::Score(&score)));
                });
            }
            _ => {}
        }
        let (none, key) = (Panes::default(), Key::empty());
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
        left: &[(&Part, usize)],
        gathered: Vec<Scored<'_>>,
        then: &mut dyn FnMut(Judged<'_>),
    ) {
        let Some((&(part, rule), left)) = left.split_first() else {
            return then(judged(plan, at, Input::Parts(&gathered)));
        };
        self.with_part(plan, at, rule, &mut |judged| {
            let mut gathered = gathered.clone();
            gathered.push(Scored { part, judged });
            self.with_parts(plan, at, left, gathered, then);
        });
    }

    fn with_part(&self, plan: &Plan, of: RuleAt, rule: usize, then: &mut dyn FnMut(Judged<'_>)) {
        let since = self.covered(plan, rule).unwrap_or(of.since);
        self.with_judged(plan, RuleAt { rule, since }, then);
    }

    /// The second from which joint rules still have to judge what a projection counts, which has come to `watermark_s`.
    pub(super) fn needed_from_s(&self, plan: &Plan, projection: usize, watermark_s: i64) -> i64 {
        let judged_s = |&rule: &usize| {
            let progress = self.joint.get(&plan.watched[rule].name).and_then(|joint| joint.progress);
            progress.map_or(i64::MIN, |progress| progress.watermark_s)
        };
        let joint = &plan.projections[projection].joint;
        let needed_s = joint.iter().map(judged_s).min().unwrap_or(watermark_s);
        needed_s.clamp(watermark_s - WAITS_AT_MOST_S, watermark_s)
    }

    /// None: this shard does not hold what the rule reads, or a source has no time yet. Sources that sleep while others
    /// go on, topics that are not there and a lag that has become unknown hold nothing back.
    fn joint_progress(&self, plan: &Plan, rule: usize) -> Option<Progress> {
        let key = Key::empty();
        let (mut awake, mut asleep, mut lags) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_here = false;
        let leaves = leaves(plan, rule);
        for watched in &leaves {
            lags.extend(watched.lag.and_then(|projection| self.lag_progress(plan, projection)));
            for feed in &watched.feeds {
                let projection = &plan.projections[feed.projection];
                let source = plan.source_of(projection);
                // All that has no group lies on one shard.
                is_here |= self.counts.get(&projection.id).is_some_and(|counts| counts.panes(&key).is_some());
                match self.sources.get(&source.name) {
                    Some(clock) if clock.is_asleep() => asleep.extend(progress_of(clock)),
                    Some(clock) => awake.push(progress_of(clock)?),
                    None if source.optional => {}
                    None => return None,
                }
            }
        }
        let lag = lags.into_iter().reduce(Progress::oldest);
        let of_events = match awake.is_empty() {
            false => awake.into_iter().reduce(Progress::oldest),
            true => asleep.into_iter().reduce(Progress::newest),
        };
        match (of_events.filter(|_| is_here), lag) {
            (Some(events), Some(lag)) if lag.watermark_s + SILENT_AFTER_S >= events.watermark_s => {
                Some(events.oldest(lag))
            }
            (Some(events), _) => Some(events),
            (None, lag) => lag.filter(|_| leaves.iter().all(|part| part.feeds.is_empty())),
        }
    }

    fn lag_progress(&self, plan: &Plan, projection: usize) -> Option<Progress> {
        let newest_s = self.lags.get(&plan.projections[projection].id)?.newest_second()?;
        // A sample stands from the end of its second on.
        Some(Progress { watermark_s: newest_s + 1, front_s: newest_s + 1 })
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
        clocks.min_by_key(|clock| (clock.is_asleep(), clock.watermark_us().is_none(), clock.watermark_us()))
    }

    /// From when on the counts speak for a rule; None: not yet.
    pub(super) fn covered(&self, plan: &Plan, rule: usize) -> Option<Covered> {
        let counts_s = match self.since_s.get(&plan.watched[rule].name)? {
            Since::Start => i64::MIN / 2,
            Since::Adopted(_) => return None,
            Since::Second { second, .. } => *second,
        };
        let first = |source| self.sources.get(source).and_then(SourceClock::first_us);
        let first_s = sources_of(plan, rule).into_iter().filter_map(first).max().map(second_of);
        Some(Covered { counts_s, whole_s: first_s.map_or(counts_s, |first_s| first_s.max(counts_s)) })
    }
}

fn progress_of(clock: &SourceClock) -> Option<Progress> {
    let (watermark_us, front_us) = (clock.watermark_us()?, clock.front_us()?);
    Some(Progress { watermark_s: second_of(watermark_us), front_s: second_of(front_us) })
}

/// What a score is made of in the end: rules that have no parts.
fn leaves(plan: &Plan, rule: usize) -> Vec<&Watched> {
    let watched = &plan.watched[rule];
    match watched.parts.is_empty() {
        true => vec![watched],
        false => watched.parts.iter().flat_map(|&part| leaves(plan, part)).collect(),
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
