//! Hours, status and budget of a rule, told in full.

use super::breach::{Told, unit};
use crate::core::alert::RuleKind;
use crate::core::output::{Breach, BudgetLeft, RuleHour, SloHour, Stamp, Status};
use crate::core::rules::Maintenance;
use crate::core::slo::hours::{RuleHourStats, SloHourCounts};
use crate::core::time::{HOUR_US, SECOND_US};

impl Told<'_> {
    pub(super) fn rule_hour(&self, hour_s: i64, stats: RuleHourStats, revision: u32) -> RuleHour {
        let rule = &self.plan.rules.alerts[self.rule];
        let names = rule.levels.iter().map(|level| level.name.clone());
        RuleHour {
            document: rule.document.clone(),
            rule: rule.name.clone(),
            kind: rule.kind.name(),
            unit: unit(self.plan, rule),
            service: rule.service.clone(),
            group: self.group(rule),
            hour_us: hour_s * SECOND_US,
            values: stats.values,
            known_seconds: stats.known_seconds,
            level_seconds: names.zip(stats.level_seconds).collect(),
            stamp: self.stamp(hour_s, revision),
        }
    }

    /// None for a rule without an objective.
    pub(super) fn slo_hour(&self, hour_s: i64, counts: &SloHourCounts, revision: u32) -> Option<SloHour> {
        let rule = &self.plan.rules.alerts[self.rule];
        let objective = rule.objective.as_ref()?;
        Some(SloHour {
            slo: objective.slo.clone(),
            objective: objective.name.clone(),
            service: rule.service.clone(),
            group: self.group(rule),
            hour_us: hour_s * SECOND_US,
            target_billionths: objective.target_billionths,
            good: counts.events.total - counts.events.bad,
            bad: counts.events.bad,
            total: counts.events.total,
            slice_good_billionths: counts.slices.total - counts.slices.bad,
            slice_bad_billionths: counts.slices.bad,
            slice_s: objective.method.slice_s().unwrap_or(0),
            stamp: self.stamp(hour_s, revision),
        })
    }

    /// None when what it is judged by is gone.
    pub(super) fn status(&self, at_s: i64, level: Option<usize>) -> Option<Status> {
        let rule = &self.plan.rules.alerts[self.rule];
        let judged = self.judged?;
        let window_s = rule.levels.first().map(|level| level.window_s);
        let budget = judged.budget(at_s);
        let sum = budget.map(|budget| budget.sum).unwrap_or_default();
        Some(Status {
            document: rule.document.clone(),
            rule: rule.name.clone(),
            kind: rule.kind.name(),
            unit: unit(self.plan, rule),
            service: rule.service.clone(),
            group: self.group(rule),
            at_s,
            level: level.and_then(|at| rule.levels.get(at)).map(|level| level.name.clone()),
            value_billionths: window_s.and_then(|window_s| judged.value_billionths(window_s, at_s)),
            good: sum.total - sum.bad,
            bad: sum.bad,
            total: sum.total,
            coverage_billionths: budget.map_or(0, |budget| budget.bounds.coverage_billionths),
            budget: self.budget(level.unwrap_or(0), at_s),
            version: self.version,
        })
    }

    /// What is left of the budget, should errors go on as in the short window of the level.
    pub(super) fn budget(&self, level: usize, at_s: i64) -> Option<BudgetLeft> {
        let judged = self.judged?;
        let budget = judged.budget(at_s)?;
        let level = judged.rule.levels.get(level).filter(|_| !matches!(judged.rule.kind, RuleKind::Budget));
        // Where no window tells what is recent, a thirtieth of the period does.
        let thirtieth_s = ((budget.bounds.end_s - budget.bounds.start_s) / 30).max(60);
        let recent_s = level.map_or(thirtieth_s, |level| level.short_window_s.unwrap_or(level.window_s));
        let recent = judged.bounds(recent_s, at_s);
        Some(budget.left(recent, judged.sum(recent)))
    }

    /// Names of the maintenance that was on at any time of the episode.
    pub(super) fn suppressed_by(&self, breach: &Breach) -> Vec<String> {
        let until_s = breach.resolved_s.unwrap_or(breach.evaluated_s);
        let is_on = |m: &&Maintenance| m.from_s < until_s && breach.onset_s < m.to_s;
        let is_meant = |m: &&Maintenance| {
            let service =
                m.services.is_empty() || m.services.iter().any(|s| Some(s) == breach.service.as_ref());
            service
                && m.labels
                    .iter()
                    .all(|(name, value)| breach.labels.iter().any(|(n, v)| n == name && v == value))
        };
        let on = self.plan.rules.maintenance.iter().filter(is_on).filter(is_meant);
        on.map(|maintenance| maintenance.name.clone()).collect()
    }

    fn stamp(&self, hour_s: i64, revision: u32) -> Stamp {
        let hour_us = hour_s * SECOND_US;
        let watermark_us = self.clock.watermark_us();
        Stamp {
            revision,
            version: self.version,
            is_final: watermark_us.is_some_and(|watermark_us| watermark_us >= hour_us + HOUR_US),
            complete: self.clock.hour_is_complete(hour_us),
            watermark_us,
        }
    }
}
