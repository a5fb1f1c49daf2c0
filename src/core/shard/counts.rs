//! The groups of one projection of cells: their panes, and a watch for each rule judged from them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::core::alert::RuleKind;
use crate::core::exemplar::{Exemplar, add_exemplar};
use crate::core::key::Key;
use crate::core::partial::CellsDelta;
use crate::core::plan::{Cells, Plan};
use crate::core::slo::episode::Change;
use crate::core::slo::judge::{Counted, Covered, Input, Judged};
use crate::core::slo::pane::{Panes, Resolution};
use crate::core::slo::slices::Slices;
use crate::core::slo::standing::{News, Standing};
use crate::core::slo::watch::{Corrected, Progress};
use crate::core::time::floor_to;

/// How long exemplars are kept behind the watermark.
const EXEMPLARS_KEPT_S: i64 = 30 * 60;

#[derive(Debug)]
pub struct Counts {
    groups: BTreeMap<Key, Group>,
    resolution: Resolution,
    /// Of the seconds at which late events are judged.
    shift_s: u32,
    /// Seconds up to which every group has been judged.
    progress: Option<Progress>,
    corrected: Corrected,
    /// Whether late events wait to be judged.
    is_late: bool,
    /// Groups with more of what only grows than when they were last judged. Empty between two records.
    grown: BTreeSet<Key>,
}

/// One group: what was counted, and what was made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    panes: Panes,
    /// By `document/rule`.
    standings: BTreeMap<String, Standing>,
    /// Start of the minute -> exemplars of its events.
    exemplars: BTreeMap<i64, Vec<Exemplar>>,
    /// Earliest second that changed after it was settled.
    late_from_s: Option<i64>,
    #[serde(skip)]
    dirty: bool,
}

/// A rule of the plan, as one group's judgement needs it.
#[derive(Clone, Copy, Debug)]
pub struct RuleAt {
    /// Index into `rules.alerts`.
    pub rule: usize,
    pub since: Covered,
}

/// A change and where it belongs.
#[derive(Debug)]
pub struct Judgement {
    pub rule: RuleAt,
    pub key: Key,
    pub news: News,
}

impl Group {
    fn judge(&mut self, plan: &Plan, rule: RuleAt, progress: Progress, correct: bool) -> Vec<News> {
        let Some(feed) = plan.watched[rule.rule].feeds.first() else { return Vec::new() };
        let counted = [Counted { feed, panes: &self.panes }];
        let judged = judged(plan, rule, Input::Feeds(&counted));
        let standing = self.standings.entry(plan.watched[rule.rule].name.clone()).or_default();
        standing.advance(judged, progress, self.late_from_s, correct)
    }

    fn look_at(&mut self, second: i64, exemplars: &[Exemplar]) {
        for exemplar in exemplars {
            let minute = self.exemplars.entry(floor_to(second, 60)).or_default();
            add_exemplar(minute, Exemplar { trace_id: None, ..*exemplar }, || exemplar.trace_id.clone());
        }
    }
}

impl Counts {
    pub fn new(resolution: Resolution, shift_s: u32) -> Counts {
        Counts {
            groups: BTreeMap::new(),
            resolution,
            shift_s,
            progress: None,
            corrected: Corrected::default(),
            is_late: false,
            grown: BTreeSet::new(),
        }
    }

    /// Adds a delta's cells; true when the key was beyond the limit and went to `_OTHER`. `grows`: some rule whose number
    /// only grows counts events of it.
    pub fn merge(
        &mut self,
        key: &Key,
        second: i64,
        delta: &CellsDelta,
        columns: usize,
        limit: u32,
        grows: bool,
    ) -> bool {
        let full = self.groups.len() >= limit as usize;
        let other = columns > 0 && full && !self.groups.contains_key(key);
        let key = if other { Key::other(columns) } else { key.clone() };
        if grows {
            self.grown.insert(key.clone());
        }
        let group = self.groups.entry(key).or_default();
        group.panes.add(&self.resolution, second, delta);
        group.look_at(second, &delta.exemplars);
        group.dirty = true;
        // The window that ends at second + 1 is the first that holds it.
        let settled = || self.progress.is_some_and(|progress| second < progress.watermark_s);
        if !delta.cells.is_empty() && settled() {
            self.is_late = true;
            group.late_from_s = Some(group.late_from_s.map_or(second, |earlier| earlier.min(second)));
        }
        other
    }

    /// Judges every group up to `progress` and forgets those with nothing left to say. What is judged from `needed_s` on
    /// by others is kept for them.
    pub fn advance(
        &mut self,
        plan: &Plan,
        rules: &[RuleAt],
        progress: Progress,
        log_s: i64,
        needed_s: i64,
    ) -> Vec<Judgement> {
        let mut judgements = Vec::new();
        let now = Corrected::at(progress, log_s);
        let correct = self.is_late && self.corrected.is_due(now, self.shift_s);
        if correct {
            (self.corrected, self.is_late) = (now, false);
        }
        self.progress = Some(progress);
        self.grown.clear();
        for (key, group) in &mut self.groups {
            for &rule in rules {
                let judgement = |news| Judgement { rule, key: key.clone(), news };
                judgements.extend(group.judge(plan, rule, progress, correct).into_iter().map(judgement));
            }
            group.late_from_s = group.late_from_s.filter(|_| !correct);
            group.panes.forget(&self.resolution, needed_s);
            group.exemplars = group.exemplars.split_off(&(progress.watermark_s - EXEMPLARS_KEPT_S));
            group.dirty = true;
        }
        // Where there is nothing to group by, the one group is there for good: silence too has to be judged.
        self.groups.retain(|key, group| {
            key.is_empty()
                || !group.panes.is_empty()
                || group.standings.values().any(|standing| !standing.watch().is_quiet())
        });
        judgements
    }

    /// Judges what grew by rules that need not wait until time goes on.
    pub fn advance_grown(&mut self, plan: &Plan, rules: &[RuleAt]) -> Vec<Judgement> {
        let mut judgements = Vec::new();
        for key in std::mem::take(&mut self.grown) {
            let (Some(group), Some(progress)) = (self.groups.get_mut(&key), self.progress) else { continue };
            for &rule in rules {
                let judgement = |news| Judgement { rule, key: key.clone(), news };
                judgements.extend(group.judge(plan, rule, progress, false).into_iter().map(judgement));
            }
        }
        judgements
    }

    pub fn has_grown(&self) -> bool {
        !self.grown.is_empty()
    }

    /// Whether there is anything to judge.
    pub fn is_behind(&self, progress: Progress, log_s: i64) -> bool {
        let is_due = || self.corrected.is_due(Corrected::at(progress, log_s), self.shift_s);
        self.progress != Some(progress) || self.is_late && is_due()
    }

    /// Closes the episodes of a rule that is gone or means something else now.
    pub fn remove_rule(&mut self, rule: &str) -> Vec<(Key, Change)> {
        let mut changes = Vec::new();
        for (key, group) in &mut self.groups {
            if let Some(mut standing) = group.standings.remove(rule) {
                group.dirty = true;
                changes.extend(standing.watch_mut().remove().into_iter().map(|change| (key.clone(), change)));
            }
        }
        changes
    }

    /// Goes on under other levels of the same rule: `moved` gives for each of them the one it was.
    pub fn adopt_levels(&mut self, rule: &str, moved: &[Option<usize>]) {
        for group in self.groups.values_mut() {
            if let Some(standing) = group.standings.get_mut(rule) {
                standing.watch_mut().adopt_levels(moved);
                group.dirty = true;
            }
        }
    }

    /// Gives the panes the shape they have in another version of the rules.
    pub fn adopt(&mut self, resolution: Resolution, from: &Cells, to: &Cells) {
        self.resolution = resolution;
        for group in self.groups.values_mut() {
            group.panes.adopt(from, to);
            // They name cells as the rules before had them.
            group.exemplars.clear();
            group.standings.values_mut().for_each(Standing::forget_sums);
            group.dirty = true;
        }
    }

    pub fn slices(&self, key: &Key, rule: &str) -> Option<&Slices> {
        self.groups.get(key).and_then(|group| group.standings.get(rule)).map(Standing::slices)
    }

    /// Exemplars by minute.
    pub fn exemplars(&self, key: &Key) -> Option<&BTreeMap<i64, Vec<Exemplar>>> {
        self.groups.get(key).map(|group| &group.exemplars)
    }

    pub fn panes(&self, key: &Key) -> Option<&Panes> {
        self.groups.get(key).map(|group| &group.panes)
    }

    pub fn open_episodes(&self) -> u32 {
        let standings = self.groups.values().flat_map(|group| group.standings.values());
        standings.map(|standing| standing.watch().open_episodes()).sum()
    }

    pub fn progress(&self) -> (Option<Progress>, Corrected) {
        (self.progress, self.corrected)
    }

    pub fn restore_progress(&mut self, (progress, corrected): (Option<Progress>, Corrected)) {
        (self.progress, self.corrected) = (progress, corrected);
    }

    pub fn restore_group(&mut self, key: Key, group: Group) {
        self.is_late |= group.late_from_s.is_some();
        self.groups.insert(key, group);
    }

    /// Groups changed since the last call, for a checkpoint; clears the mark.
    pub fn take_dirty(&mut self) -> impl Iterator<Item = (&Key, &Group)> {
        self.groups
            .iter_mut()
            .filter_map(|(key, group)| std::mem::take(&mut group.dirty).then_some((key, &*group)))
    }
}

/// The resolution the rules of a projection of cells need.
pub fn resolution_of(plan: &Plan, projection: usize) -> Resolution {
    Resolution::of(&plan.rules, plan.readers_of(projection).map(|at| &plan.rules.alerts[at]))
}

/// What a rule of the plan is judged by.
pub fn judged<'a>(plan: &'a Plan, at: RuleAt, input: Input<'a>) -> Judged<'a> {
    let rule = &plan.rules.alerts[at.rule];
    let field = |slot: usize| {
        let source = rule.feeds.first().and_then(|feed| plan.rules.source(&feed.source));
        source.and_then(|source| source.fields.get(slot))
    };
    let scale = match rule.kind {
        RuleKind::Quantile { of, .. } => field(of).map_or(0, |field| field.scale()),
        // Microseconds.
        _ => 6,
    };
    Judged {
        rule,
        input,
        since: at.since,
        lateness_s: plan.watched[at.rule].lateness_s,
        scale,
        slices: None,
        sliding: None,
        part: 0,
        settled_s: i64::MIN,
    }
}
