//! The groups of one projection of cells: their panes, and a watch for each rule judged from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::key::Key;
use crate::core::plan::{Body, NamedAtom, Plan, move_cell};
use crate::core::slo::episode::Change;
use crate::core::slo::pane::{Panes, Resolution};
use crate::core::slo::watch::{Judged, Progress, Watch};

#[derive(Debug)]
pub struct Counts {
    groups: BTreeMap<Key, Group>,
    resolution: Resolution,
    /// Seconds up to which every group has been judged.
    progress: Option<Progress>,
}

/// One group: what was counted, and what was made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    panes: Panes,
    /// By `document/rule`.
    watches: BTreeMap<String, Watch>,
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
    /// First second that counts for it.
    pub since_s: i64,
}

/// A change and where it belongs.
#[derive(Debug)]
pub struct Judgement {
    pub rule: usize,
    pub since_s: i64,
    pub key: Key,
    pub change: Change,
}

impl Counts {
    pub fn new(resolution: Resolution) -> Counts {
        Counts { groups: BTreeMap::new(), resolution, progress: None }
    }

    /// Adds a delta's cells; true when the key was beyond the limit and went to `_OTHER`.
    pub fn merge(
        &mut self,
        key: &Key,
        second: i64,
        cells: &[(u16, u64)],
        columns: usize,
        limit: u32,
    ) -> bool {
        let full = self.groups.len() >= limit as usize;
        let other = columns > 0 && full && !self.groups.contains_key(key);
        let key = if other { Key::other(columns) } else { key.clone() };
        let group = self.groups.entry(key).or_default();
        group.panes.add(&self.resolution, second, cells);
        group.dirty = true;
        // The window that ends at second + 1 is the first that holds it.
        if self.progress.is_some_and(|progress| second < progress.watermark_s) {
            group.late_from_s = Some(group.late_from_s.map_or(second, |earlier| earlier.min(second)));
        }
        other
    }

    /// Judges every group up to `progress` and forgets those with nothing left to say.
    pub fn advance(&mut self, plan: &Plan, rules: &[RuleAt], progress: Progress) -> Vec<Judgement> {
        let mut judgements = Vec::new();
        self.progress = Some(progress);
        for (key, group) in &mut self.groups {
            for &RuleAt { rule: at, since_s } in rules {
                let (rule, watched) = (&plan.rules.alerts[at], &plan.watched[at]);
                let judged = Judged { rule, watched, panes: &group.panes, since_s };
                let name = format!("{}/{}", rule.document, rule.name);
                let watch = group.watches.entry(name).or_default();
                let changes = watch.advance(judged, progress, group.late_from_s);
                let judgement = |change| Judgement { rule: at, since_s, key: key.clone(), change };
                judgements.extend(changes.into_iter().map(judgement));
            }
            group.late_from_s = None;
            group.panes.forget(&self.resolution, progress.watermark_s);
            group.dirty = true;
        }
        self.groups.retain(|_, group| {
            !group.panes.is_empty() || group.watches.values().any(|watch| !watch.is_quiet())
        });
        judgements
    }

    /// Whether this progress is news.
    pub fn is_behind(&self, progress: Progress) -> bool {
        self.progress != Some(progress)
    }

    /// Closes the episodes of a rule that is gone or means something else now.
    pub fn remove_rule(&mut self, rule: &str) -> Vec<(Key, Change)> {
        let mut changes = Vec::new();
        for (key, group) in &mut self.groups {
            if let Some(mut watch) = group.watches.remove(rule) {
                group.dirty = true;
                changes.extend(watch.remove().into_iter().map(|change| (key.clone(), change)));
            }
        }
        changes
    }

    /// Gives the cells the meaning they have in another version of the rules.
    pub fn adopt(&mut self, resolution: Resolution, from: &[NamedAtom], to: &[NamedAtom]) {
        self.resolution = resolution;
        if from != to {
            for group in self.groups.values_mut() {
                group.panes.move_cells(|cell| move_cell(cell, from, to));
                group.dirty = true;
            }
        }
    }

    pub fn panes(&self, key: &Key) -> Option<&Panes> {
        self.groups.get(key).map(|group| &group.panes)
    }

    pub fn open_episodes(&self) -> u32 {
        self.groups.values().flat_map(|group| group.watches.values()).map(Watch::open_episodes).sum()
    }

    pub fn progress(&self) -> Option<Progress> {
        self.progress
    }

    pub fn restore_progress(&mut self, progress: Option<Progress>) {
        self.progress = progress;
    }

    pub fn restore_group(&mut self, key: Key, group: Group) {
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
    Resolution::of(plan.rules_of(projection).map(|(at, _)| &plan.rules.alerts[at]))
}

/// The atoms of a projection; none for an hourly one.
pub fn atoms_of(plan: &Plan, projection: usize) -> &[NamedAtom] {
    match &plan.projections[projection].body {
        Body::Cells(atoms) => atoms,
        Body::Hourly { .. } => &[],
    }
}
