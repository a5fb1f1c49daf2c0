//! Rules: one number per group and window, compared with levels. An objective of an SLO is a rule too: its burn rate.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::expr::{Comparison, Condition};
use super::objective::Objective;
use super::source::{Quantile, Slot};

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
    /// Name of the rule, or of the objective.
    pub name: String,
    pub service: Option<String>,
    pub kind: RuleKind,
    /// What is counted, one for each source. Empty for LAG and COMPOSITE, and for objectives made of them.
    pub feeds: Vec<Feed>,
    /// Groups per shard; more fold into `_OTHER`. 1 when there is no `group_by`.
    pub group_limit: u32,
    pub hold_s: i64,
    /// An open episode whose value is unknown this long resolves NO_DATA_TIMEOUT.
    pub no_data_after_s: i64,
    /// Late events correct breaches this far back.
    pub correct_within_s: i64,
    /// Gravest first. Empty for an objective that raises no alerts.
    pub levels: Vec<Level>,
    pub labels: BTreeMap<String, String>,
    pub runbook: Option<String>,
    /// Template: `{value}`, `{window}`, `{level}`, `{rule}` and the group labels by name.
    pub summary: Option<String>,
    /// BURN_RATE: the objective itself; BUDGET: the one whose budget is watched. None for all other kinds.
    pub objective: Option<Objective>,
}

/// What a rule counts in one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    pub source: String,
    /// Only a rule with one feed has groups.
    pub group_by: Vec<Slot>,
    /// Which events count.
    pub filter: Condition,
    /// Which of those are bad: RATIO, BURN_RATE and BUDGET. `Condition::never()` for the kinds that only count, and
    /// for QUANTILE and FRESHNESS, whose levels each say it (`Level::over`).
    pub bad: Condition,
}

/// What the number is. The unit of values and thresholds stands behind each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleKind {
    /// Share of bad events among those that count [ratio].
    Ratio,
    /// The value at rank ceil(q x n) of a field [the field's unit].
    Quantile { of: Slot, quantile: Quantile },
    /// The same of the time between an event and its Kafka timestamp [s].
    Freshness { quantile: Quantile },
    /// Events in the window [1].
    Count,
    /// Events a second over the window, all feeds together [1/s].
    Rate,
    /// Time since the last event that counts [s]; the window of a level is its threshold.
    Absence,
    /// How far a consumer group is behind on the source `source` [s, or messages].
    Lag { source: String, lag: Lag },
    /// Bad share over the share the objective allows [1].
    BurnRate,
    /// Share of the objective's error budget that is left in its period; may be negative [ratio].
    Budget,
    /// Weighted mean of the parts' scores [ratio].
    Composite(Composite),
}

/// A consumer group watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lag {
    /// None: our own ingest group.
    pub consumer_group: Option<String>,
    pub unit: LagUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LagUnit {
    /// Age of the oldest message the group has not committed.
    Seconds,
    Messages,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composite {
    pub parts: Vec<Part>,
    /// Below this share of the weight with data there is no score.
    pub min_weight_billionths: i64,
}

/// Scores 1 at `full`, 0 at `zero`, linear between; a part without data is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `document/rule` of a rule without groups that is no COMPOSITE.
    pub rule: String,
    pub weight_millionths: u64,
    /// In billionths of the unit of the part's rule; `full` and `zero` differ.
    pub full_billionths: i64,
    pub zero_billionths: i64,
}

impl RuleKind {
    /// The word in documents and records.
    pub fn name(&self) -> &'static str {
        match self {
            RuleKind::Ratio => "RATIO",
            RuleKind::Quantile { .. } => "QUANTILE",
            RuleKind::Freshness { .. } => "FRESHNESS",
            RuleKind::Count => "COUNT",
            RuleKind::Rate => "RATE",
            RuleKind::Absence => "ABSENCE",
            RuleKind::Lag { .. } => "LAG",
            RuleKind::BurnRate => "BURN_RATE",
            RuleKind::Budget => "BUDGET",
            RuleKind::Composite(_) => "COMPOSITE",
        }
    }
}

impl AlertRule {
    /// `document/rule`: its identity, and how others refer to it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.document, self.name)
    }

    /// Whether it counts slices of time instead of events.
    pub fn has_slices(&self) -> bool {
        self.objective.as_ref().is_some_and(|objective| objective.method.slice_s().is_some())
    }

    /// Whether its number only grows as events come, so that a crossing is certain with the event that makes it.
    pub fn only_grows(&self) -> bool {
        matches!(self.kind, RuleKind::Count) && self.levels.iter().all(|level| level.side == Side::Above)
    }

    /// Whether all its events are in one group.
    pub fn is_ungrouped(&self) -> bool {
        self.feeds.iter().all(|feed| feed.group_by.is_empty())
    }

    /// Whether its groups are those of one projection; else it is judged beside them, from several.
    pub fn has_own_groups(&self) -> bool {
        self.feeds.len() == 1
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The severity's word, or the name of a burn-rate tier: `flash`, `fast`, `medium`, `slow`, `drift`.
    pub name: String,
    /// Index into `Severities::levels`.
    pub severity: usize,
    pub side: Side,
    /// In billionths of the kind's unit.
    pub threshold_billionths: i64,
    /// As written in the document, for people.
    pub threshold_text: String,
    pub window_s: i64,
    /// BURN_RATE: the short window, which must burn too.
    pub short_window_s: Option<i64>,
    pub for_s: i64,
    /// Fewer events in the window: unknown.
    pub min_events: u64,
    /// Fewer bad events in the (long) window: not crossed.
    pub min_bad: u64,
    /// A smaller share of the window counted: unknown.
    pub min_coverage_billionths: i64,
    /// QUANTILE, FRESHNESS: which events are beyond the threshold (`>` for above, `>=` for below).
    pub over: Option<Condition>,
}

/// Strictly above or strictly below the threshold is a crossing; a burn rate crosses when it reaches its factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    Above,
    Below,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::Above => "above",
            Side::Below => "below",
        }
    }
}

/// The comparison that a crossing of `side` is, seen from the value.
impl From<Side> for Comparison {
    fn from(side: Side) -> Comparison {
        match side {
            Side::Above => Comparison::Greater,
            Side::Below => Comparison::Less,
        }
    }
}
