//! A shard takes new rules: what is the same goes on, what is new begins, what is gone is closed.

use std::sync::Arc;

use super::breach::Told;
use super::counts::{Counts, resolution_of};
use super::table::Table;
use super::{Shard, Since, Violation};
use crate::core::alert::Level;
use crate::core::key::Key;
use crate::core::output::Output;
use crate::core::plan::{Body, Plan};
use crate::core::rules::Rules;
use crate::core::slo::episode::Change;
use crate::core::time::second_of;

/// Versions whose deltas may still be on their way.
const PLANS_KEPT: usize = 4;

impl Shard {
    pub(super) fn adopt(
        &mut self,
        version: i64,
        rules: Arc<Rules>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        if self.plans.iter().any(|plan| plan.version == version) {
            return Ok(());
        }
        let unusable =
            |e: crate::core::plan::PlanError| Violation::UnusableRules { version, reason: e.to_string() };
        let plan = Arc::new(Plan::compile(version, rules).map_err(unusable)?);
        let before = self.plans.last().cloned();
        if before.as_ref().is_some_and(|before| before.version > version) {
            // A worker begins late with rules that others have left behind: its deltas must be read all the same.
            self.keep(plan);
            return Ok(());
        }
        if let Some(before) = &before {
            self.close_changed_rules(before, &plan, outputs);
        }
        self.adopt_tables(before.as_deref(), &plan);
        self.adopt_counts(before.as_deref(), &plan);
        for at in 0..plan.rules.alerts.len() {
            let since = if before.is_some() { Since::Adopted(version) } else { Since::Start };
            self.since_s.entry(plan.watched[at].name.clone()).or_insert(since);
        }
        self.keep(plan);
        Ok(())
    }

    fn keep(&mut self, plan: Arc<Plan>) {
        let at = self.plans.partition_point(|known| known.version < plan.version);
        self.plans.insert(at, plan);
        if self.plans.len() > PLANS_KEPT {
            self.plans.remove(0);
        }
    }

    /// Makes room for the plan's tables. Columns that are the same go on, others begin; with other keys all begins.
    pub(super) fn adopt_tables(&mut self, before: Option<&Plan>, plan: &Plan) {
        self.tables.retain(|id, table| {
            let Some(now) = plan.table(*id) else { return false };
            if now.signature == table.signature {
                return true;
            }
            let moved = before.and_then(|before| before.table(*id)).and_then(|before| before.moved_to(&now));
            moved.is_some_and(|moved| {
                table.adopt(now.signature, &moved, now.rollup);
                true
            })
        });
        for projection in &plan.projections {
            if let (Body::Hourly { signature, .. }, Some(rollup)) =
                (&projection.body, plan.rollup_of(projection))
            {
                let table = || Table::new(rollup.table.as_str().into(), *signature);
                self.tables.entry(projection.id).or_insert_with(table);
            }
        }
    }

    pub(super) fn adopt_counts(&mut self, before: Option<&Plan>, plan: &Plan) {
        self.counts.retain(|id, _| plan.projections.iter().any(|p| p.id == *id));
        self.lags.retain(|id, _| plan.projections.iter().any(|p| p.id == *id));
        for (at, projection) in plan.projections.iter().enumerate() {
            let cells = match &projection.body {
                Body::Cells(cells) => cells,
                Body::Lag(_) => {
                    self.lags.entry(projection.id).or_default();
                    continue;
                }
                Body::Hourly { .. } => continue,
            };
            let resolution = resolution_of(plan, at);
            match self.counts.get_mut(&projection.id) {
                None => {
                    let shift_s = self.id.wrapping_add(projection.id as u32);
                    self.counts.insert(projection.id, Counts::new(resolution, shift_s));
                }
                Some(counts) => {
                    let old = before.and_then(|b| {
                        b.projections.iter().position(|p| p.id == projection.id).map(|i| (b, i))
                    });
                    if let Some((before, old)) = old
                        && let Body::Cells(old) = &before.projections[old].body
                    {
                        counts.adopt(resolution, old, cells);
                    }
                }
            }
        }
    }

    /// A rule that is gone, or counts something else now, closes its episodes; one with other levels goes on.
    fn close_changed_rules(&mut self, before: &Plan, plan: &Plan, outputs: &mut Vec<Output>) {
        for (at, watched) in before.watched.iter().enumerate() {
            let (rule, name) = (&before.rules.alerts[at], &watched.name);
            let now = plan.watched.iter().position(|now| now.name == *name);
            let same = |now: &usize| plan.watched[*now].identity == watched.identity;
            let changes = match now.filter(same) {
                Some(now) if plan.watched[now].spec_hash == watched.spec_hash => continue,
                Some(now) => {
                    let was = |level: &Level| rule.levels.iter().position(|old| old.name == level.name);
                    let moved: Vec<_> = plan.rules.alerts[now].levels.iter().map(was).collect();
                    self.adopt_levels(before, at, &moved);
                    continue;
                }
                None => self.remove_rule(before, at),
            };
            self.since_s.remove(name);
            let Some(clock) = self.slowest_clock(before, at) else { continue };
            let clocks = self.clocks_of(before, at);
            for (key, change) in changes {
                let told = Told {
                    plan: before,
                    rule: at,
                    key: &key,
                    judged: None,
                    clock,
                    clocks: &clocks,
                    exemplars: None,
                    log_s: second_of(self.log_us),
                    version: self.version,
                    shard: self.id,
                };
                outputs.push(Output::Breach(Box::new(told.breach(&change))));
            }
        }
    }

    fn adopt_levels(&mut self, before: &Plan, rule: usize, moved: &[Option<usize>]) {
        let name = &before.watched[rule].name;
        for feed in &before.watched[rule].feeds {
            if let Some(counts) = self.counts.get_mut(&before.projections[feed.projection].id) {
                counts.adopt_levels(name, moved);
            }
        }
        if let Some(joint) = self.joint.get_mut(name) {
            joint.standing_mut().watch_mut().adopt_levels(moved);
        }
    }

    fn remove_rule(&mut self, before: &Plan, rule: usize) -> Vec<(Key, Change)> {
        let name = &before.watched[rule].name;
        let mut changes = Vec::new();
        for feed in &before.watched[rule].feeds {
            if let Some(counts) = self.counts.get_mut(&before.projections[feed.projection].id) {
                changes.extend(counts.remove_rule(name));
            }
        }
        if let Some(mut joint) = self.joint.remove(name) {
            let ended = joint.standing_mut().watch_mut().remove();
            changes.extend(ended.into_iter().map(|change| (Key::empty(), change)));
        }
        changes
    }
}
