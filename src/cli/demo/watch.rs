//! What a subscriber sees: breaches, heartbeats and finished hours, read from their topics.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll::core::rules::Rules;
use plimsoll::kafka::{Follower, Record, TopicPartition};
use serde_json::Value;

use super::engine::Engine;
use crate::cli::Failure;

/// The table whose rows tell that an hour is finished: one row for each.
const TOTALS: &str = "request_log_total_hourly";
/// Finished hours that are remembered by name.
const HOURS: usize = 1_000;

pub struct Watch {
    breaches: Follower,
    heartbeats: Follower,
    totals: Follower,
    seen: Seen,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Seen {
    hours: BTreeSet<String>,
    /// Open episodes: what each is called, by its id.
    pub open: BTreeMap<String, String>,
    /// Smallest watermark of each shard, RFC 3339.
    watermarks: BTreeMap<u64, String>,
}

impl Seen {
    pub fn hours_finished(&self) -> usize {
        self.hours.len()
    }

    /// Up to here all is known, RFC 3339.
    pub fn watermark(&self) -> Option<&str> {
        // All are in UTC with six digits, so their order is that of time.
        self.watermarks.values().min().map(String::as_str)
    }
}

impl Watch {
    pub fn start(engine: &Engine) -> Result<Watch, Failure> {
        let topics = &engine.context.settings.topics;
        let totals = totals_topic(&engine.rules)
            .ok_or_else(|| Failure::broken(format!("the shipped rules have no table {TOTALS}")))?;
        let follow = |name: &str| {
            // Output topics of the demo have one partition.
            Follower::open(&engine.connection, TopicPartition::new(topics.full_name(name), 0), 0)
        };
        Ok(Watch {
            breaches: follow(&topics.breaches)?,
            heartbeats: follow(&topics.breach_state)?,
            totals: follow(&totals)?,
            seen: Seen::default(),
        })
    }

    /// Reads what is new; gives a line for each breach that opened, changed or ended.
    pub fn poll(&mut self) -> Result<Vec<String>, Failure> {
        let Watch { breaches, heartbeats, totals, seen } = self;
        let mut lines = Vec::new();
        breaches.poll_new(|record| lines.extend(json(&record).and_then(|breach| seen.breach(&breach))))?;
        heartbeats.poll_new(|record| {
            if record.key.is_some_and(|key| key.starts_with(b"heartbeat/"))
                && let Some(heartbeat) = json(&record)
            {
                seen.heartbeat(&heartbeat);
            }
        })?;
        totals.poll_new(|record| {
            if let Some(row) = json(&record) {
                seen.row(&row);
            }
        })?;
        Ok(lines)
    }

    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

fn totals_topic(rules: &Rules) -> Option<String> {
    let mut rollups = rules.sources.iter().flat_map(|source| &source.rollups);
    Some(rollups.find(|rollup| rollup.table == TOTALS)?.topic())
}

fn json(record: &Record<'_>) -> Option<Value> {
    serde_json::from_slice(record.payload?).ok()
}

impl Seen {
    fn breach(&mut self, breach: &Value) -> Option<String> {
        let text = |pointer: &str| breach.pointer(pointer).and_then(Value::as_str);
        let name = called(breach)?;
        let episode = text("/episode_id")?.to_owned();
        let transition = text("/transition")?;
        match transition {
            "OPENED" => {
                self.open.insert(episode, name.clone());
            }
            "RESOLVED" | "RETRACTED" => {
                self.open.remove(&episode);
            }
            _ => {}
        }
        let decided = match transition {
            "OPENED" => text("/opened_at"),
            "RESOLVED" => text("/resolved_at"),
            _ => None,
        };
        let at = clock(decided.or(text("/evaluated_at"))?);
        let severity = text("/severity")?;
        let said = match (transition, text("/opened_at"), text("/recovered_at")) {
            ("RESOLVED", Some(opened), Some(recovered)) => {
                format!("open since {}, back to normal at {}", clock(opened), clock(recovered))
            }
            _ => text("/summary").unwrap_or_default().to_owned(),
        };
        Some(format!("{at}  breach {transition:<9} {severity:<8} {name:<46} {said}"))
    }

    fn heartbeat(&mut self, heartbeat: &Value) {
        let watermarks = heartbeat.get("watermarks").and_then(Value::as_object);
        let smallest = watermarks.and_then(|all| all.values().filter_map(Value::as_str).min());
        if let (Some(shard), Some(watermark)) = (heartbeat.get("shard").and_then(Value::as_u64), smallest) {
            self.watermarks.insert(shard, watermark.to_owned());
        }
    }

    fn row(&mut self, row: &Value) {
        let is_final = row.get("is_final").and_then(Value::as_bool).unwrap_or(false);
        if let Some(hour) = row.get("bucket_start").and_then(Value::as_str).filter(|_| is_final)
            && self.hours.len() < HOURS
        {
            self.hours.insert(hour.to_owned());
        }
    }
}

/// `platform/error-rate`, with the group it is about.
fn called(breach: &Value) -> Option<String> {
    let text = |pointer: &str| breach.pointer(pointer).and_then(Value::as_str);
    let rule = format!("{}/{}", text("/rule/document")?, text("/rule/name")?);
    let service = text("/labels/service");
    Some(service.map_or(rule.clone(), |service| format!("{rule} {service}")))
}

/// The time of day of an RFC 3339 time.
pub fn clock(rfc3339: &str) -> &str {
    rfc3339.get(11..19).unwrap_or(rfc3339)
}
