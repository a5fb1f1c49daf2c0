//! What people do with SLOs and rules before they trust them: have them explained, checked, and tested on made-up
//! events, or on those of the past, by the very fold and shard that run.

pub mod alarm;
pub mod backtest;
pub mod case;
mod case_file;
pub mod compare;
pub mod condition;
mod cost;
pub mod curve;
pub mod difference;
pub mod evaluate;
pub mod explain;
pub mod finding;
pub mod incident;
pub mod ingest;
mod lint;
mod place;
pub mod plot;
pub mod rehearsal;
pub mod sarif;
pub mod span;
mod stage;
mod timing;
mod traffic;
mod wording;

use std::collections::BTreeSet;

use crate::core::alert::{AlertRule, RuleKind};
use crate::core::objective::Indicator;
use crate::core::rules::Rules;

pub use case_file::cases;
pub use lint::check;
pub use traffic::traffic;

/// The rules that go by `name`: `document/rule`, else all of a document or SLO, else those called so in any document.
pub fn named<'a>(rules: &'a Rules, name: &str) -> Vec<&'a AlertRule> {
    let of_slo = |rule: &AlertRule| rule.objective.as_ref().is_some_and(|objective| objective.slo == name);
    let ways: [&dyn Fn(&AlertRule) -> bool; 3] =
        [&|rule| rule.full_name() == name, &|rule| rule.document == name || of_slo(rule), &|rule| {
            rule.name == name
        }];
    let found = ways.iter().map(|is| rules.alerts.iter().filter(|rule| is(rule)).collect::<Vec<_>>());
    found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

/// Everything [`named`] takes, for suggestions.
pub fn names(rules: &Rules) -> BTreeSet<String> {
    rules.alerts.iter().flat_map(|rule| [rule.full_name(), rule.document.clone()]).collect()
}

/// The other rules that a rule is made of, by `document/rule`.
fn parts(rule: &AlertRule) -> Vec<&str> {
    let of_kind = match &rule.kind {
        RuleKind::Composite(composite) => composite.parts.iter().map(|part| part.rule.as_str()).collect(),
        RuleKind::Ratio
        | RuleKind::Quantile { .. }
        | RuleKind::Freshness { .. }
        | RuleKind::Count
        | RuleKind::Rate
        | RuleKind::Absence
        | RuleKind::Lag { .. }
        | RuleKind::BurnRate
        | RuleKind::Budget => Vec::new(),
    };
    let of_objective = match rule.objective.as_ref().map(|objective| &objective.indicator) {
        Some(Indicator::Composite { rule, .. }) => Some(rule.as_str()),
        Some(Indicator::Events | Indicator::Rate { .. } | Indicator::Lag { .. }) | None => None,
    };
    of_kind.into_iter().chain(of_objective).collect()
}

/// `rule` and all that it is made of.
fn with_parts<'a>(rules: &'a Rules, rule: &'a AlertRule) -> Vec<&'a AlertRule> {
    let mut all = vec![rule];
    let mut at = 0;
    while at < all.len() {
        for part in parts(all[at]).into_iter().filter_map(|name| rules.rule(name)) {
            if all.iter().all(|known| known.full_name() != part.full_name()) {
                all.push(part);
            }
        }
        at += 1;
    }
    all
}

/// Names of the sources a rule reads, its parts' too; sorted.
fn sources_of<'a>(rules: &'a Rules, rule: &'a AlertRule) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for rule in with_parts(rules, rule) {
        names.extend(rule.feeds.iter().map(|feed| feed.source.as_str()));
        if let RuleKind::Lag { source, .. } = &rule.kind {
            names.insert(source);
        }
        if let Some(Indicator::Lag { source, .. }) = rule.objective.as_ref().map(|o| &o.indicator) {
            names.insert(source);
        }
    }
    names
}

/// The tested rules, what they are made of and their sources; no hourly tables, for nobody reads them here.
pub fn alone(rules: &Rules, tested: &[AlertRule]) -> Rules {
    let needed = tested.iter().flat_map(|rule| with_parts(rules, rule));
    let needed: BTreeSet<String> = needed.map(AlertRule::full_name).collect();
    let mut alone = rules.clone();
    alone.alerts.retain(|rule| needed.contains(&rule.full_name()));
    for rule in &mut alone.alerts {
        let tested = tested.iter().find(|tested| tested.full_name() == rule.full_name());
        rule.levels = tested.map_or(std::mem::take(&mut rule.levels), |tested| tested.levels.clone());
    }
    let read: BTreeSet<String> =
        alone.alerts.iter().flat_map(|rule| sources_of(rules, rule)).map(str::to_owned).collect();
    alone.sources.retain(|source| read.contains(&source.name));
    alone.sources.iter_mut().for_each(|source| source.rollups.clear());
    alone
}
