//! Outputs of a shard as records for the topics others read: JSON, breaches as CloudEvents 1.0 in binary mode.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::core::event::{Invalid, Reason};
use crate::core::output::{Breach, BreachWindow, ColumnValue, Heartbeat, HourGone, Output, Row, Transition};
use crate::core::rules::Rules;
use crate::core::time::{SECOND_US, rfc3339};

use super::dead_letter;

/// Where outputs go.
#[derive(Clone, Debug)]
pub struct OutputTopics {
    pub breaches: Arc<str>,
    pub breach_state: Arc<str>,
    pub dead_letters: Arc<str>,
    /// `/plimsoll/<cluster>`.
    pub ce_source: String,
    tables: BTreeMap<String, TableTopic>,
}

#[derive(Clone, Debug)]
struct TableTopic {
    topic: Arc<str>,
    keys: Vec<String>,
    columns: Vec<String>,
}

/// One record to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputRecord {
    pub topic: Arc<str>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

impl OutputTopics {
    /// `full_name` puts the deployment's prefix before a topic's name.
    pub fn new(
        rules: &Rules,
        breaches: &str,
        breach_state: &str,
        dead_letters: &str,
        cluster: &str,
        full_name: impl Fn(&str) -> String,
    ) -> OutputTopics {
        let mut tables = BTreeMap::new();
        for source in &rules.sources {
            for rollup in &source.rollups {
                let table = TableTopic {
                    topic: full_name(&rollup.topic()).into(),
                    keys: rollup.key_columns(source).into_iter().map(str::to_owned).collect(),
                    columns: rollup.table_columns(source).into_iter().map(|column| column.name).collect(),
                };
                tables.insert(rollup.table.clone(), table);
            }
        }
        OutputTopics {
            breaches: full_name(breaches).into(),
            breach_state: full_name(breach_state).into(),
            dead_letters: full_name(dead_letters).into(),
            ce_source: format!("/plimsoll/{cluster}"),
            tables,
        }
    }

    /// The records of one output. `emitted_at_us` is the wall clock: only breaches carry it, in a header.
    pub fn encode(&self, output: &Output, emitted_at_us: i64) -> Vec<OutputRecord> {
        match output {
            Output::Row(row) => self.row(row).into_iter().collect(),
            Output::Breach(breach) => self.breach(breach, emitted_at_us),
            Output::SloHour(_) | Output::RuleHour(_) | Output::Status(_) => Vec::new(),
            Output::Heartbeat(heartbeat) => vec![self.heartbeat(heartbeat)],
            Output::HourGone(gone) => vec![self.hour_gone(gone)],
        }
    }

    fn row(&self, row: &Row) -> Option<OutputRecord> {
        let table = self.tables.get(&*row.table)?;
        let hour = rfc3339(row.hour_us);
        let mut key: Vec<Value> = row.key.columns().map(Value::from).collect();
        key.push(hour.clone().into());
        if row.shard >= 0 {
            key.push(row.shard.into());
        }
        let mut value = Map::new();
        for (name, text) in table.keys.iter().zip(row.key.columns()) {
            value.insert(name.clone(), text.into());
        }
        value.insert("shard".into(), row.shard.into());
        value.insert("bucket_start".into(), hour.into());
        value.insert("event_count".into(), row.event_count.into());
        value.insert("late_count".into(), row.late_count.into());
        value.insert("revision".into(), row.revision.into());
        value.insert("version".into(), row.version.into());
        value.insert("is_final".into(), row.is_final.into());
        value.insert("complete".into(), row.complete.into());
        value.insert("watermark".into(), row.watermark_us.map(rfc3339).into());
        for (name, column) in table.columns.iter().zip(&row.values) {
            value.insert(name.clone(), column_json(column));
        }
        Some(OutputRecord {
            topic: Arc::clone(&table.topic),
            key: Value::Array(key).to_string().into_bytes(),
            value: Value::Object(value).to_string().into_bytes(),
            headers: Vec::new(),
        })
    }

    fn breach(&self, breach: &Breach, emitted_at_us: i64) -> Vec<OutputRecord> {
        let episode_id = format!("{}/{}", breach.alert_key, second(breach.opened_s));
        let value = breach_json(breach, &episode_id).to_string().into_bytes();
        let headers = self.breach_headers(breach, &episode_id, emitted_at_us);
        let key = breach.alert_key.clone().into_bytes();
        let to = |topic: &Arc<str>| OutputRecord {
            topic: Arc::clone(topic),
            key: key.clone(),
            value: value.clone(),
            headers: headers.clone(),
        };
        let mut records = vec![to(&self.breaches)];
        if breach.is_latest {
            // Late news of an earlier episode must not hide, by compaction, one that is open.
            records.push(to(&self.breach_state));
        }
        records
    }

    fn breach_headers(
        &self,
        breach: &Breach,
        episode_id: &str,
        emitted_at_us: i64,
    ) -> Vec<(&'static str, Vec<u8>)> {
        let id = hex(&Sha256::digest(json!([episode_id, breach.revision]).to_string().as_bytes()));
        let kind = match breach.transition {
            Transition::Opened => "opened",
            Transition::Updated => "updated",
            Transition::Resolved => "resolved",
            Transition::Retracted => "retracted",
        };
        let (number, text) = match breach.level.as_str() {
            "critical" | "high" => ("17", "ERROR"),
            _ => ("13", "WARN"),
        };
        vec![
            ("ce_specversion", b"1.0".to_vec()),
            ("ce_id", id.into_bytes()),
            ("ce_source", self.ce_source.clone().into_bytes()),
            ("ce_type", format!("dev.plimsoll.slo.breach.{kind}.v1").into_bytes()),
            ("ce_subject", format!("{}/{}", breach.document, breach.rule).into_bytes()),
            ("ce_time", second(breach.evaluated_s).into_bytes()),
            ("ce_recordedtime", rfc3339(emitted_at_us).into_bytes()),
            ("ce_severitynumber", number.into()),
            ("ce_severitytext", text.into()),
            ("ce_correlationid", episode_id.as_bytes().to_vec()),
            ("ce_partitionkey", breach.alert_key.clone().into_bytes()),
            ("content-type", b"application/json".to_vec()),
        ]
    }

    fn heartbeat(&self, heartbeat: &Heartbeat) -> OutputRecord {
        let watermarks: Map<String, Value> =
            heartbeat.watermarks.iter().map(|(name, at)| (name.clone(), at.map(rfc3339).into())).collect();
        let value = json!({
            "shard": heartbeat.shard,
            "log_time": rfc3339(heartbeat.log_time_us),
            "version": heartbeat.version,
            "open_episodes": heartbeat.open_episodes,
            "watermarks": watermarks,
        });
        OutputRecord {
            topic: Arc::clone(&self.breach_state),
            key: format!("heartbeat/{}", heartbeat.shard).into_bytes(),
            value: value.to_string().into_bytes(),
            headers: vec![("content-type", b"application/json".to_vec())],
        }
    }

    fn hour_gone(&self, gone: &HourGone) -> OutputRecord {
        let key: Vec<&str> = gone.key.columns().collect();
        let ranges: Vec<Value> =
            gone.offset_ranges.iter().map(|(partition, from, to)| json!([partition, from, to])).collect();
        let value = json!({
            "table": &*gone.table,
            "key": key,
            "bucket_start": rfc3339(gone.hour_us),
            "event_count": gone.event_count,
            "offset_ranges": ranges,
            "version": gone.version,
        });
        let detail = format!(
            "{} events for {} {} came after the hour was gone",
            gone.event_count,
            gone.table,
            rfc3339(gone.hour_us)
        );
        let (partition, offset) =
            gone.offset_ranges.first().map_or((-1, -1), |&(partition, from, _)| (partition, from));
        let invalid = Invalid { reason: Reason::HourGone, detail };
        OutputRecord {
            topic: Arc::clone(&self.dead_letters),
            key: gone.topic.clone().into_bytes(),
            value: value.to_string().into_bytes(),
            headers: dead_letter::headers(&gone.topic, partition, offset, None, &invalid),
        }
    }
}

fn breach_json(breach: &Breach, episode_id: &str) -> Value {
    let labels: Map<String, Value> =
        breach.labels.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
    json!({
        "alert_key": breach.alert_key,
        "episode_id": episode_id,
        "revision": breach.revision,
        "transition": breach.transition.name(),
        "resolve_reason": breach.resolve_reason.map(|reason| reason.name()),
        "severity": breach.level,
        "priority": breach.priority,
        "previous_severity": breach.previous_level,
        "slo": Value::Null,
        "service": breach.service,
        "rule": {
            "document": breach.document,
            "name": breach.rule,
            "kind": breach.kind,
            "op": breach.op,
            "threshold": breach.threshold,
            "unit": breach.unit,
        },
        "labels": labels,
        "windows": breach.windows.iter().map(window_json).collect::<Vec<_>>(),
        "onset_at": second(breach.onset_s),
        "opened_at": second(breach.opened_s),
        "recovered_at": breach.recovered_s.map(second),
        "resolved_at": breach.resolved_s.map(second),
        "evaluated_at": second(breach.evaluated_s),
        "worst_value": decimal(breach.worst_value_billionths.into(), 9),
        "bad_total": breach.bad_total,
        "stale": breach.stale,
        "completeness": {
            "watermark": breach.completeness.watermark_us.map(rfc3339),
            "lag_events": breach.completeness.lag_events,
            "late_events": breach.completeness.late_events,
            "is_final": breach.completeness.is_final,
        },
        "summary": breach.summary,
        "runbook_url": breach.runbook,
        "spec_hash": breach.spec_hash,
        "version": breach.version,
    })
}

fn window_json(window: &BreachWindow) -> Value {
    let share = |bad: u64, total: u64| match total {
        0 => Value::Null,
        _ => decimal(i128::from(bad) * 1_000_000_000 / i128::from(total), 9).into(),
    };
    json!({
        "name": window.name,
        "duration_s": window.end_s - window.start_s,
        "start": second(window.start_s),
        "end": second(window.end_s),
        "good": window.good,
        "bad": window.bad,
        "total": window.total,
        "sli": share(window.good, window.total),
        "coverage": decimal(window.coverage_billionths.into(), 9),
    })
}

fn column_json(value: &ColumnValue) -> Value {
    match value {
        ColumnValue::Null => Value::Null,
        ColumnValue::Integer(number) => (*number).into(),
        ColumnValue::Decimal { units, scale } => decimal(*units, *scale).into(),
        ColumnValue::TimestampUs(at_us) => rfc3339(*at_us).into(),
        ColumnValue::Counts(counts) => counts
            .iter()
            .map(|(value, count)| (value.clone(), Value::from(*count)))
            .collect::<Map<_, _>>()
            .into(),
        ColumnValue::Bins(bins) => bins.clone().into(),
        ColumnValue::BinCounts(counts) => counts.clone().into(),
        ColumnValue::Bytes(bytes) => STANDARD.encode(bytes).into(),
    }
}

/// `units` x 10^-`scale`, with exactly `scale` digits behind the point.
fn decimal(units: i128, scale: u8) -> String {
    if scale == 0 {
        return units.to_string();
    }
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if units < 0 { "-" } else { "" })
}

fn second(at_s: i64) -> String {
    rfc3339(at_s.saturating_mul(SECOND_US))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit() {
        let cases =
            [(0, 0, "0"), (-5, 3, "-0.005"), (1_500, 3, "1.500"), (12, 1, "1.2"), (-12_345, 2, "-123.45")];
        for (units, scale, text) in cases {
            assert_eq!(decimal(units, scale), text);
        }
    }
}
