//! What a shard says: rows, breaches, heartbeats and the rare delta that came too late for its hour.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::key::Key;

/// One record for an output topic. Fields are in their topic's words; `wire::output` writes them.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Row(Row),
    Breach(Box<Breach>),
    SloHour(Box<SloHour>),
    RuleHour(Box<RuleHour>),
    Status(Box<Status>),
    Heartbeat(Heartbeat),
    HourGone(HourGone),
}

/// One hourly row, provisional or final.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub table: Arc<str>,
    pub key: Key,
    /// The shard when the row is `_OTHER`, else -1: each shard has an `_OTHER` of its own.
    pub shard: i16,
    pub hour_us: i64,
    pub event_count: u64,
    pub late_count: u64,
    pub revision: u32,
    /// Partials offset that made the row; orders upserts.
    pub version: i64,
    pub is_final: bool,
    pub complete: bool,
    /// None while the source has no watermark yet.
    pub watermark_us: Option<i64>,
    /// Parallel to `Rollup::table_columns`.
    pub values: Vec<ColumnValue>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ColumnValue {
    Null,
    Integer(u64),
    /// `units` x 10^-`scale`.
    Decimal {
        units: i128,
        scale: u8,
    },
    TimestampUs(i64),
    /// Sorted by value.
    Counts(Vec<(String, u64)>),
    Bins(Vec<i16>),
    BinCounts(Vec<u64>),
    Bytes(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transition {
    Opened,
    Updated,
    Resolved,
    Retracted,
}

impl Transition {
    pub fn name(self) -> &'static str {
        match self {
            Transition::Opened => "OPENED",
            Transition::Updated => "UPDATED",
            Transition::Resolved => "RESOLVED",
            Transition::Retracted => "RETRACTED",
        }
    }
}

/// Why an episode is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateReason {
    /// Another level is the gravest that is crossed.
    Level,
    /// Late events changed when it began or ended.
    LateData,
    /// Nothing has changed for a while but totals.
    StillOpen,
}

impl UpdateReason {
    pub fn name(self) -> &'static str {
        match self {
            UpdateReason::Level => "LEVEL",
            UpdateReason::LateData => "LATE_DATA",
            UpdateReason::StillOpen => "STILL_OPEN",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResolveReason {
    Recovered,
    NoDataTimeout,
    RuleRemoved,
    LateData,
}

impl ResolveReason {
    pub fn name(self) -> &'static str {
        match self {
            ResolveReason::Recovered => "RECOVERED",
            ResolveReason::NoDataTimeout => "NO_DATA_TIMEOUT",
            ResolveReason::RuleRemoved => "RULE_REMOVED",
            ResolveReason::LateData => "LATE_DATA",
        }
    }
}

/// One transition of one episode. Seconds are since 1970 and name the second whose end closes the window.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// SHA-256 of `[document, rule, [[label, value], ...]]`, lowercase hex.
    pub alert_key: String,
    pub document: String,
    pub rule: String,
    pub kind: &'static str,
    pub service: Option<String>,
    pub transition: Transition,
    pub revision: u32,
    pub update_reason: Option<UpdateReason>,
    pub resolve_reason: Option<ResolveReason>,
    /// Name and priority of the gravest level crossed, and of the one before when this is a change of level.
    pub level: String,
    pub priority: String,
    pub previous_level: Option<String>,
    /// `above` or `below`; `at_least` for a burn rate.
    pub op: &'static str,
    pub threshold: String,
    pub unit: String,
    /// Group labels and the rule's own, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Group labels alone, sorted by name: what `alert_key` is made of.
    pub group: Vec<(String, String)>,
    pub windows: Vec<BreachWindow>,
    /// For rules of an objective.
    pub slo: Option<SloFacts>,
    pub budget: Option<BudgetLeft>,
    pub evidence: Evidence,
    /// Names of the maintenance that makes nobody act on it, sorted.
    pub suppressed_by: Vec<String>,
    pub onset_s: i64,
    pub opened_s: i64,
    pub recovered_s: Option<i64>,
    pub resolved_s: Option<i64>,
    pub evaluated_s: i64,
    /// Worst value of the episode so far, in billionths of the unit.
    pub worst_value_billionths: i64,
    /// Bad events in the seconds of the episode so far.
    pub bad_total: u64,
    /// Found only when it was past: nobody should be paged.
    pub stale: bool,
    /// Tells how the alert stands now; false for news of an earlier episode.
    pub is_latest: bool,
    pub completeness: Completeness,
    pub summary: String,
    pub runbook: Option<String>,
    /// Hash of the rule as it is in force, 16 hex digits.
    pub spec_hash: String,
    /// Partials offset that made the record.
    pub version: i64,
}

/// A window as it was counted; `end_s` is exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreachWindow {
    /// The level the window belongs to; `NAME short` for the short window of a tier.
    pub name: String,
    pub start_s: i64,
    pub end_s: i64,
    pub good: u64,
    pub bad: u64,
    pub total: u64,
    /// Share of the window since the rule began to count, in billionths.
    pub coverage_billionths: i64,
    /// The number the level is compared with, in billionths of the kind's unit.
    pub value_billionths: Option<i64>,
    /// How far a value read from a histogram may be off, in billionths of itself; None where the value is exact.
    pub value_error_billionths: Option<i64>,
    /// For rules of an objective: burn rate of the window, in billionths.
    pub burn_rate_billionths: Option<i64>,
}

/// The objective a breach is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloFacts {
    pub slo: String,
    pub objective: String,
    pub target_billionths: i64,
}

/// What is left of the error budget in the objective's period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetLeft {
    pub period_s: i64,
    /// Of the whole budget; negative once it is overspent.
    pub remaining_billionths: i64,
    /// When it is gone if errors go on as in the shortest window that is crossed.
    pub exhausts_at_s: Option<i64>,
}

/// Where to find the events behind a breach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Sorted by (topic, partition).
    pub offset_ranges: Vec<OffsetRange>,
    /// At most ten.
    pub exemplars: Vec<ShownExemplar>,
}

/// Offsets `from..to` hold every event of the longest crossed window, and some beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    pub to: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownExemplar {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub trace_id: Option<String>,
    /// In billionths of the kind's unit, for kinds that look at a field.
    pub value_billionths: Option<i64>,
}

/// One hour of one objective for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloHour {
    pub slo: String,
    pub objective: String,
    pub service: Option<String>,
    /// Group labels, sorted by name.
    pub group: Vec<(String, String)>,
    pub hour_us: i64,
    pub target_billionths: i64,
    pub good: u64,
    pub bad: u64,
    pub total: u64,
    /// Slices of the hour: how many, in billionths of a slice for RatioTimeslices; 0 for Occurrences.
    pub slice_good_billionths: u64,
    pub slice_bad_billionths: u64,
    /// Length of a slice; 0 for Occurrences.
    pub slice_s: i64,
    pub stamp: Stamp,
}

/// One hour of one rule for one group: what the gravest level's window said, second by second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHour {
    pub document: String,
    pub rule: String,
    pub kind: &'static str,
    pub unit: String,
    pub service: Option<String>,
    pub group: Vec<(String, String)>,
    pub hour_us: i64,
    /// None: no second had a value.
    pub values: Option<ValueStats>,
    /// Seconds with a value.
    pub known_seconds: u64,
    /// Seconds for which the level was crossed, gravest first.
    pub level_seconds: Vec<(String, u64)>,
    pub stamp: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueStats {
    pub min_billionths: i64,
    pub max_billionths: i64,
    pub sum_billionths: i128,
}

/// How an hourly row came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub revision: u32,
    pub version: i64,
    pub is_final: bool,
    pub complete: bool,
    pub watermark_us: Option<i64>,
}

/// How one rule or objective stands for one group, once a minute of its time while it has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub document: String,
    pub rule: String,
    pub kind: &'static str,
    pub unit: String,
    pub service: Option<String>,
    pub group: Vec<(String, String)>,
    /// Second judged.
    pub at_s: i64,
    /// Name of the gravest level crossed; None: all is well.
    pub level: Option<String>,
    pub value_billionths: Option<i64>,
    /// For rules of an objective: exact counts over its period, and the budget.
    pub good: u64,
    pub bad: u64,
    pub total: u64,
    pub coverage_billionths: i64,
    pub budget: Option<BudgetLeft>,
    pub version: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completeness {
    pub watermark_us: Option<i64>,
    /// Messages the ingest workers had not yet read, over all partitions of the source.
    pub lag_events: u64,
    pub late_events: u64,
    /// The watermark had passed the second judged.
    pub is_final: bool,
}

/// Says that the shard is alive, every ten seconds of log time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub shard: u32,
    pub log_time_us: i64,
    pub version: i64,
    pub open_episodes: u32,
    /// Watermark of each source that has one.
    pub watermarks: Vec<(String, Option<i64>)>,
}

/// A delta that met an hour already gone: no bytes, but all that is needed to find them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourGone {
    pub source: String,
    pub topic: String,
    pub table: Arc<str>,
    pub key: Key,
    pub hour_us: i64,
    pub event_count: u64,
    /// (partition, first, end) of the flush that brought it; `end` is exclusive.
    pub offset_ranges: Vec<(i32, i64, i64)>,
    pub version: i64,
}
