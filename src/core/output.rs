//! What a shard says: rows, breaches, heartbeats and the rare delta that came too late for its hour.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::key::Key;

/// One record for an output topic. Fields are in their topic's words; `wire::output` writes them.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Row(Row),
    Breach(Box<Breach>),
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
    pub resolve_reason: Option<ResolveReason>,
    /// Name and priority of the gravest level crossed, and of the one before when this is a change of level.
    pub level: String,
    pub priority: String,
    pub previous_level: Option<String>,
    /// `above` or `below`.
    pub op: &'static str,
    pub threshold: String,
    pub unit: &'static str,
    /// Group labels and the rule's own, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Group labels alone, sorted by name: what `alert_key` is made of.
    pub group: Vec<(String, String)>,
    pub windows: Vec<BreachWindow>,
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
    /// The level the window belongs to.
    pub name: String,
    pub start_s: i64,
    pub end_s: i64,
    pub good: u64,
    pub bad: u64,
    pub total: u64,
    /// Share of the window since the rule began to count, in billionths.
    pub coverage_billionths: i64,
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
