//! The rules in force: all that gives the log its meaning.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::alert::{AlertRule, Severities};
use super::source::Source;
use super::time::SECOND_US;

/// Sources, rules, objectives, services, maintenance and severities, validated. Travels whole in `plimsoll-rules` and
/// in every `Spec` record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Sorted by name.
    pub sources: Vec<Source>,
    /// Rules and objectives, sorted by (document, name).
    pub alerts: Vec<AlertRule>,
    pub severities: Severities,
    /// Sorted by name.
    pub services: Vec<Service>,
    /// Sorted by name.
    pub maintenance: Vec<Maintenance>,
}

/// Who answers for a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub description: Option<String>,
    pub labels: BTreeMap<String, String>,
}

/// A stretch of time in which breaches are expected: they are told, and marked as suppressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    pub name: String,
    pub from_s: i64,
    /// Exclusive.
    pub to_s: i64,
    /// Services it holds for; empty: all.
    pub services: Vec<String>,
    /// Labels a breach must have, all of them.
    pub labels: BTreeMap<String, String>,
}

impl Rules {
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|s| s.name == name)
    }

    /// A rule by its `document/rule`.
    pub fn rule(&self, full_name: &str) -> Option<&AlertRule> {
        self.alerts.iter().find(|rule| rule.full_name() == full_name)
    }

    /// How late the events that a rule counts may come.
    pub fn lateness_s(&self, rule: &AlertRule) -> i64 {
        let sources = rule.feeds.iter().filter_map(|feed| self.source(&feed.source));
        sources.map(|source| source.event_time.lateness_us / SECOND_US).max().unwrap_or(0)
    }
}
