//! Outputs of a shard as records for the topics others read: JSON, breaches as CloudEvents 1.0 in binary mode.

mod breach;
mod budget;
mod decimal;
mod heartbeat;
mod hour;
mod hour_gone;
mod row;
mod series;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::core::output::Output;
use crate::core::rules::Rules;
use crate::core::time::{SECOND_US, rfc3339};

/// Names of the topics that do not follow from the rules, without the deployment's prefix.
#[derive(Clone, Copy, Debug)]
pub struct TopicNames<'a> {
    pub breaches: &'a str,
    pub breach_state: &'a str,
    pub slo_hourly: &'a str,
    pub rule_hourly: &'a str,
    pub slo_status: &'a str,
    pub dead_letters: &'a str,
}

/// Where outputs go.
#[derive(Clone, Debug)]
pub struct OutputTopics {
    pub breaches: Arc<str>,
    pub breach_state: Arc<str>,
    pub slo_hourly: Arc<str>,
    pub rule_hourly: Arc<str>,
    pub slo_status: Arc<str>,
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

impl OutputRecord {
    /// A record whose value says all.
    fn plain(topic: &Arc<str>, key: &Value, value: &Value) -> OutputRecord {
        OutputRecord {
            topic: Arc::clone(topic),
            key: key.to_string().into_bytes(),
            value: value.to_string().into_bytes(),
            headers: Vec::new(),
        }
    }
}

impl OutputTopics {
    /// `full_name` puts the deployment's prefix before a topic's name.
    pub fn new(
        rules: &Rules,
        names: &TopicNames<'_>,
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
            breaches: full_name(names.breaches).into(),
            breach_state: full_name(names.breach_state).into(),
            slo_hourly: full_name(names.slo_hourly).into(),
            rule_hourly: full_name(names.rule_hourly).into(),
            slo_status: full_name(names.slo_status).into(),
            dead_letters: full_name(names.dead_letters).into(),
            ce_source: format!("/plimsoll/{cluster}"),
            tables,
        }
    }

    /// The records of one output. `emitted_at_us` is the wall clock: only breaches carry it, in a header.
    pub fn encode(&self, output: &Output, emitted_at_us: i64) -> Vec<OutputRecord> {
        match output {
            Output::Row(row) => self.row(row).into_iter().collect(),
            Output::Breach(breach) => self.breach(breach, emitted_at_us),
            Output::SloHour(hour) => vec![self.slo_hour(hour)],
            Output::RuleHour(hour) => vec![self.rule_hour(hour)],
            Output::Status(status) => vec![self.status(status)],
            Output::Heartbeat(heartbeat) => vec![self.heartbeat(heartbeat)],
            Output::HourGone(gone) => vec![self.hour_gone(gone)],
        }
    }
}

/// The second `at_s` after 1970, as RFC 3339.
fn second(at_s: i64) -> String {
    rfc3339(at_s.saturating_mul(SECOND_US))
}
