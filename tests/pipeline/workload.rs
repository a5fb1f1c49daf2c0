//! What arrives: the shipped workload, and requests made for a purpose.

use plimsoll::config::{Document, Overrides, Surroundings, embedded, embedded_files, parse_rules};
use plimsoll::core::rules::Rules;
use plimsoll::generate::{Workload, WorkloadOptions};
use std::collections::BTreeMap;

use super::oracle::{RawRecord, rfc3339};
use super::simulation::Arrival;

/// 2025-10-31T02:00:00Z
pub const START_US: i64 = 1_761_876_000_000_000;
pub const SECOND_US: i64 = 1_000_000;
pub const MINUTE_US: i64 = 60 * SECOND_US;
pub const HOUR_US: i64 = 60 * MINUTE_US;

/// The configuration that ships.
pub fn shipped() -> Rules {
    let surroundings = Surroundings { host_name: "test".into(), cores: 1 };
    embedded(&BTreeMap::new(), &surroundings, &Overrides::default()).expect("shipped rules are right").rules
}

/// The shipped rules with other alerts.
pub fn with_alerts(alerts: &str) -> Rules {
    let mut documents = embedded_files().rules;
    let is_rule = |path: &str| path.starts_with("alerts/") && path != "alerts/severities.yaml";
    documents.retain(|document| !is_rule(&document.path) && !document.path.starts_with("slos/"));
    documents.push(Document { path: "alerts/test.yaml".into(), text: alerts.into() });
    parse_rules(&documents).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// The same rules without tables, for tests of breaches alone.
pub fn without_tables(mut rules: Rules) -> Rules {
    rules.sources.iter_mut().for_each(|source| source.rollups.clear());
    rules
}

/// The generator's records. One arrives when the newest before it has: its timestamp may be its event time.
pub fn generated(options: WorkloadOptions) -> Vec<Arrival> {
    let mut at_us = 0;
    let mut offsets: BTreeMap<(&str, u32), i64> = BTreeMap::new();
    let workload = Workload::new(options).expect("a workload");
    workload
        .map(|record| {
            at_us = at_us.max(record.timestamp_ms * 1000);
            let next = offsets.entry((record.topic, record.partition)).or_insert(0);
            let offset = *next;
            *next += 1;
            let (topic, partition) = (record.topic.to_owned(), record.partition);
            let (timestamp_ms, payload) = (record.timestamp_ms, record.payload);
            Arrival { at_us, record: RawRecord { topic, partition, offset, timestamp_ms, payload } }
        })
        .collect()
}

pub fn raw(arrivals: &[Arrival]) -> Vec<RawRecord> {
    arrivals.iter().map(|arrival| arrival.record.clone()).collect()
}

/// A request that arrives later than it happened.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at_us: i64,
    pub event_us: i64,
    pub partition: u32,
    pub service: String,
    pub status: u32,
}

/// The requests as their topic holds them, in the order they arrive.
pub fn requests(mut sent: Vec<Sent>) -> Vec<Arrival> {
    sent.sort_by_key(|one| one.at_us);
    let mut offsets: BTreeMap<u32, i64> = BTreeMap::new();
    let mut arrivals = Vec::with_capacity(sent.len());
    for Sent { at_us, event_us, partition, service, status } in sent {
        let payload = format!(
            r#"{{"ts":"{}","service":"{service}","route":"/","method":"GET","status":{status},"duration_ms":1}}"#,
            rfc3339(event_us)
        );
        let next = offsets.entry(partition).or_insert(0);
        let record = RawRecord {
            topic: "request-log".into(),
            partition,
            offset: *next,
            timestamp_ms: at_us / 1000,
            payload: payload.into(),
        };
        *next += 1;
        arrivals.push(Arrival { at_us, record });
    }
    arrivals
}
