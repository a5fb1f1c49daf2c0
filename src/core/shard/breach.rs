//! A change of an episode, told in full: the record that subscribers read.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::core::alert::{AlertRule, LagUnit, Level, RuleKind, Side};
use crate::core::clock::SourceClock;
use crate::core::exemplar::Exemplar;
use crate::core::key::{Key, OTHER};
use crate::core::objective::Objective;
use crate::core::output::{Breach, BreachWindow, Completeness, Output, SloFacts};
use crate::core::plan::Plan;
use crate::core::slo::episode::Change;
use crate::core::slo::judge::Judged;
use crate::core::slo::reading::burn_billionths;
use crate::core::slo::standing::News;

/// An opening judged this far behind log time is history: nobody should be paged for it.
const STALE_AFTER_S: i64 = 60;

/// Histograms keep 3 significant digits.
const HISTOGRAM_ERROR_BILLIONTHS: i64 = 1_000_000;

/// Where a change comes from.
pub struct Told<'a> {
    pub plan: &'a Plan,
    pub rule: usize,
    pub key: &'a Key,
    /// None when the rule is gone.
    pub judged: Option<Judged<'a>>,
    /// The clock that holds the rule back, and those of all its sources by name.
    pub clock: &'a SourceClock,
    pub clocks: &'a [(&'a str, &'a SourceClock)],
    /// By minute; None where the rule has no group of its own.
    pub exemplars: Option<&'a BTreeMap<i64, Vec<Exemplar>>>,
    pub log_s: i64,
    pub version: i64,
    pub shard: u32,
}

impl Told<'_> {
    /// What one piece of news is to whoever reads it.
    pub fn output(&self, news: News) -> Option<Output> {
        match news {
            News::Change(change) => Some(Output::Breach(Box::new(self.breach(&change)))),
            News::RuleHour { hour_s, stats, revision } => {
                Some(Output::RuleHour(Box::new(self.rule_hour(hour_s, stats, revision))))
            }
            News::SloHour { hour_s, counts, revision } => {
                Some(Output::SloHour(Box::new(self.slo_hour(hour_s, &counts, revision)?)))
            }
            News::Status { at_s, level } => Some(Output::Status(Box::new(self.status(at_s, level)?))),
        }
    }

    pub fn breach(&self, change: &Change) -> Breach {
        let rule = &self.plan.rules.alerts[self.rule];
        let level = &rule.levels[change.shown.level.min(rule.levels.len() - 1)];
        let severity = |level: &Level| &self.plan.rules.severities.levels[level.severity];
        let group = self.group(rule);
        let mut labels = group.clone();
        for (name, value) in &rule.labels {
            if labels.iter().all(|(known, _)| known != name) {
                labels.push((name.clone(), value.clone()));
            }
        }
        labels.sort();
        let mut breach = Breach {
            alert_key: alert_key(&rule.document, &rule.name, &group),
            document: rule.document.clone(),
            rule: rule.name.clone(),
            kind: rule.kind.name(),
            service: rule.service.clone(),
            transition: change.transition,
            revision: change.revision,
            update_reason: change.update_reason,
            resolve_reason: change.shown.reason,
            level: severity(level).name.clone(),
            priority: severity(level).priority.clone(),
            previous_level: change
                .previous_level
                .and_then(|at| rule.levels.get(at))
                .map(|l| severity(l).name.clone()),
            op: match level.side {
                Side::Above if matches!(rule.kind, RuleKind::BurnRate) => "at_least",
                side => side.name(),
            },
            threshold: level.threshold_text.clone(),
            unit: unit(self.plan, rule),
            labels,
            group,
            windows: self.windows(rule, change.judged_s),
            slo: rule.objective.as_ref().map(|objective| SloFacts {
                slo: objective.slo.clone(),
                objective: objective.name.clone(),
                target_billionths: objective.target_billionths,
            }),
            budget: self.budget(change.shown.level, change.judged_s),
            evidence: self.evidence(change),
            suppressed_by: Vec::new(),
            onset_s: change.shown.onset_s,
            opened_s: change.shown.opened_s,
            recovered_s: change.shown.recovered_s,
            resolved_s: change.shown.resolved_s,
            evaluated_s: change.judged_s,
            worst_value_billionths: change.shown.worst_value_billionths,
            bad_total: change.shown.bad_total,
            stale: change.past || self.log_s - change.judged_s > STALE_AFTER_S,
            is_latest: change.is_latest,
            completeness: Completeness {
                watermark_us: self.clock.watermark_us(),
                lag_events: self.clock.lag(),
                late_events: self.clock.late(),
                is_final: change.is_final,
            },
            summary: String::new(),
            runbook: rule.runbook.clone(),
            spec_hash: self.plan.watched[self.rule].spec_hash.clone(),
            version: self.version,
        };
        breach.summary = summary(rule, level, &breach);
        breach.suppressed_by = self.suppressed_by(&breach);
        breach
    }

    /// Group labels by field name, sorted.
    pub(super) fn group(&self, rule: &AlertRule) -> Vec<(String, String)> {
        let Some(feed) = rule.feeds.first() else { return Vec::new() };
        let fields = self.plan.rules.source(&feed.source).map(|source| &source.fields);
        let name = |slot: usize| fields.and_then(|f| f.get(slot)).map(|f| f.name.clone()).unwrap_or_default();
        let columns = self.key.columns().map(str::to_owned);
        let mut group: Vec<_> = feed.group_by.iter().map(|&slot| name(slot)).zip(columns).collect();
        if !group.is_empty() && group.iter().all(|(_, value)| value == OTHER) {
            // Every shard has an `_OTHER` of its own, and each has its own episodes.
            group.push(("shard".into(), self.shard.to_string()));
        }
        group.sort();
        group
    }

    /// Every level's window as it stands at the second judged, gravest first.
    fn windows(&self, rule: &AlertRule, judged_s: i64) -> Vec<BreachWindow> {
        let Some(judged) = self.judged else { return Vec::new() };
        let mut windows = Vec::new();
        for (at, level) in rule.levels.iter().enumerate() {
            windows.push(window(judged, at, level.name.clone(), level.window_s, judged_s));
            if let Some(short_s) = level.short_window_s {
                windows.push(window(judged, at, format!("{} short", level.name), short_s, judged_s));
            }
        }
        windows
    }
}

fn window(judged: Judged<'_>, level_at: usize, name: String, window_s: i64, end_s: i64) -> BreachWindow {
    let bounds = judged.bounds(window_s, end_s);
    let (kind, allowed) =
        (&judged.rule.kind, judged.rule.objective.as_ref().map(Objective::allowed_billionths));
    let (quantile, sum) = match kind {
        RuleKind::Quantile { quantile, .. } | RuleKind::Freshness { quantile } => {
            (Some(*quantile), judged.over(level_at, bounds))
        }
        _ => (None, judged.sum(bounds)),
    };
    let burn = allowed.and_then(|allowed| burn_billionths(sum, allowed.into()));
    let value = match quantile {
        Some(quantile) => judged.quantile_billionths(quantile, bounds),
        None if matches!(kind, RuleKind::BurnRate) => burn,
        None => judged.read(level_at, end_s).value_billionths,
    };
    BreachWindow {
        name,
        start_s: bounds.start_s,
        end_s,
        good: sum.total - sum.bad,
        bad: sum.bad,
        total: sum.total,
        coverage_billionths: bounds.coverage_billionths,
        value_billionths: value,
        value_error_billionths: quantile.map(|_| HISTOGRAM_ERROR_BILLIONTHS),
        burn_rate_billionths: burn,
    }
}

/// What values and thresholds of a rule are counted in.
pub(super) fn unit(plan: &Plan, rule: &AlertRule) -> String {
    let of_field = |slot: usize| {
        let source = rule.feeds.first().and_then(|feed| plan.rules.source(&feed.source));
        source.and_then(|source| source.fields.get(slot)).map(|field| field.unit.clone())
    };
    match &rule.kind {
        RuleKind::Ratio | RuleKind::Budget | RuleKind::Composite(_) => "ratio".into(),
        RuleKind::Quantile { of, .. } => {
            of_field(*of).filter(|unit| !unit.is_empty()).unwrap_or_else(|| "1".into())
        }
        RuleKind::Freshness { .. } | RuleKind::Absence => "s".into(),
        RuleKind::Lag { lag, .. } => match lag.unit {
            LagUnit::Seconds => "s".into(),
            LagUnit::Messages => "messages".into(),
        },
        RuleKind::Count | RuleKind::BurnRate => "1".into(),
        RuleKind::Rate => "1/s".into(),
    }
}

/// Lowercase hex SHA-256 of the JSON `[document, rule, [[label, value], ...]]`; excludes level, threshold and version.
pub fn alert_key(document: &str, rule: &str, group: &[(String, String)]) -> String {
    let json = serde_json::json!([document, rule, group]).to_string();
    let digest: [u8; 32] = Sha256::digest(json.as_bytes()).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn summary(rule: &AlertRule, level: &Level, breach: &Breach) -> String {
    let template = rule.summary.as_deref().unwrap_or(default_summary(&rule.kind));
    let mut text = template
        .replace("{value}", &figure(breach.worst_value_billionths, &breach.unit))
        .replace("{window}", &duration(level.window_s))
        .replace("{level}", &breach.level)
        .replace("{op}", breach.op)
        .replace("{threshold}", &breach.threshold)
        .replace("{rule}", &format!("{}/{}", rule.document, rule.name));
    for (name, value) in &breach.group {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

fn default_summary(kind: &RuleKind) -> &'static str {
    match kind {
        RuleKind::Ratio
        | RuleKind::Quantile { .. }
        | RuleKind::Freshness { .. }
        | RuleKind::Count
        | RuleKind::Rate => "{rule}: {value} is {op} {threshold} over {window}",
        RuleKind::Absence => "{rule}: nothing came for {value}",
        RuleKind::Lag { .. } | RuleKind::Composite(_) => "{rule}: {value} is {op} {threshold}",
        RuleKind::BurnRate => "{rule}: the budget burns {value} times as fast as it may over {window}",
        RuleKind::Budget => "{rule}: {value} of the budget is left, {op} {threshold}",
    }
}

/// A value as people read it: shares in percent to two digits, everything else to three, with its unit.
fn figure(billionths: i64, unit: &str) -> String {
    if unit == "ratio" {
        return format!("{} %", rounded(billionths, 10_000_000, 100));
    }
    let text = rounded(billionths, 1_000_000_000, 1_000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if unit == "1" { text.to_owned() } else { format!("{text} {unit}") }
}

/// `billionths` in units of `unit`, rounded half up to a fraction of `parts` (a power of ten).
fn rounded(billionths: i64, unit: i64, parts: i64) -> String {
    let count =
        (i128::from(billionths) * i128::from(parts) * 2 + i128::from(unit)).div_euclid(2 * i128::from(unit));
    let (sign, count) = (if count < 0 { "-" } else { "" }, count.unsigned_abs());
    let parts = u128::from(parts.unsigned_abs());
    format!("{sign}{}.{:0width$}", count / parts, count % parts, width = parts.ilog10() as usize)
}

fn duration(seconds: i64) -> String {
    match seconds {
        s if s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_key_is_the_documented_hash() {
        // printf '["platform","error-rate",[]]' | sha256sum
        assert_eq!(
            alert_key("platform", "error-rate", &[]),
            "bdfd11f3e8412f5a00d4e1ba82a53c8cd3e2b582fac349c36f480f9d48c71d21"
        );
    }

    #[test]
    fn figures_read_well() {
        let table = [
            (52_512_345, "ratio", "5.25 %"),
            (-500_000_000, "ratio", "-50.00 %"),
            (350_820_000_000, "ms", "350.82 ms"),
            (4_000_000_000, "1", "4"),
            (45_000_000_000, "s", "45 s"),
            (14_400_499_999, "1", "14.4"),
        ];
        for (billionths, unit, text) in table {
            assert_eq!(figure(billionths, unit), text);
        }
        assert_eq!(
            (duration(45), duration(300), duration(7_200)),
            ("45 s".into(), "5 min".into(), "2 h".into())
        );
    }
}
