//! Alert rules: one number per group and window, compared with levels.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::expr::Condition;
use super::source::Slot;

/// The words a rule may use as levels, gravest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Severities {
    pub levels: Vec<Severity>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Severity {
    pub name: String,
    /// `P0` to `P3`.
    pub priority: String,
    pub detect_within_s: i64,
    pub respond_within_s: i64,
    pub resolve_within_s: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRule {
    /// `metadata.name` of the document the rule stands in; with `name` its identity.
    pub document: String,
    pub name: String,
    pub service: Option<String>,
    /// Name of the source whose events are counted.
    pub source: String,
    pub kind: RuleKind,
    pub group_by: Vec<Slot>,
    /// Groups per shard; more fold into `_OTHER`. 1 when there is no `group_by`.
    pub group_limit: u32,
    pub hold_s: i64,
    /// An open episode whose value is unknown this long resolves NO_DATA_TIMEOUT.
    pub no_data_after_s: i64,
    /// Late events correct breaches this far back.
    pub correct_within_s: i64,
    /// Gravest first.
    pub levels: Vec<Level>,
    pub labels: BTreeMap<String, String>,
    pub runbook: Option<String>,
    /// Template: `{value}`, `{window}`, `{level}`, `{rule}` and the group labels by name.
    pub summary: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleKind {
    /// Share of the events matching `filter` that also match `bad`.
    Ratio { filter: Condition, bad: Condition },
}

impl RuleKind {
    /// The word in documents and records.
    pub fn name(&self) -> &'static str {
        match self {
            RuleKind::Ratio { .. } => "RATIO",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Index into `Severities::levels`.
    pub severity: usize,
    pub side: Side,
    /// RATIO: the share, in units of 10^-9.
    pub threshold_billionths: i64,
    /// As written in the document, for people.
    pub threshold_text: String,
    pub window_s: i64,
    pub for_s: i64,
    pub min_events: u64,
}

/// Strictly above or strictly below the threshold is a crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    Above,
    Below,
}
