//! Each source partition in the order of its offsets: what is an event, what is late, what is too late.

use std::collections::BTreeMap;

use super::RawRecord;
use super::decode::{Event, decode};

const OUT_OF_ORDER_US: i64 = 2_000_000;
const LATENESS_US: i64 = 2 * 3_600_000_000;

#[derive(Clone, Debug)]
pub enum Verdict {
    Accepted(Accepted),
    Dead(DeadLetter),
}

#[derive(Clone, Debug)]
pub struct Accepted {
    pub partition: u32,
    pub offset: i64,
    pub late: bool,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    pub reason: &'static str,
}

/// One verdict for each record, by topic, partition and offset.
pub fn judge(records: &[RawRecord]) -> Vec<Verdict> {
    let mut logs: BTreeMap<(&str, u32), BTreeMap<i64, &RawRecord>> = BTreeMap::new();
    for record in records {
        let log = logs.entry((&record.topic, record.partition)).or_default();
        let before = log.insert(record.offset, record);
        assert!(before.is_none(), "offset {} of {} occurs twice", record.offset, record.topic);
    }
    let mut verdicts = Vec::new();
    for ((topic, partition), log) in logs {
        let mut largest_us: Option<i64> = None;
        for (offset, record) in log {
            let dead =
                |reason| Verdict::Dead(DeadLetter { topic: topic.to_owned(), partition, offset, reason });
            let event = match decode(topic, record.timestamp_ms, &record.payload) {
                Ok(event) => event,
                Err(reason) => {
                    verdicts.push(dead(reason));
                    continue;
                }
            };
            let at_us = event.event_us();
            if largest_us.is_some_and(|largest| at_us < largest - OUT_OF_ORDER_US - LATENESS_US) {
                verdicts.push(dead("TOO_LATE"));
                continue;
            }
            let late = largest_us.is_some_and(|largest| at_us < largest - OUT_OF_ORDER_US);
            largest_us = largest_us.max(Some(at_us));
            verdicts.push(Verdict::Accepted(Accepted { partition, offset, late, event }));
        }
    }
    verdicts
}
