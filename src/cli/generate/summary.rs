//! What was written, by topic: the truth that a count downstream can be held against.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::core::time::rfc3339;
use plimsoll::generate::{Bad, Generated, Kind};
use serde_json::{Value, json};

use crate::cli::{Format, say};

#[derive(Debug, Default)]
pub struct Summary {
    topics: BTreeMap<&'static str, Counts>,
    /// Arrival of the first record and of the last, in microseconds since 1970.
    first_us: Option<i64>,
    last_us: Option<i64>,
    records: u64,
}

#[derive(Debug, Default)]
struct Counts {
    good: u64,
    late: u64,
    bad: BTreeMap<Bad, u64>,
}

/// What only the run itself knows.
#[derive(Debug, Default)]
pub struct Passage {
    pub elapsed: Duration,
    pub behind_max: Duration,
    pub undelivered: u64,
    pub interrupted: bool,
}

impl Summary {
    pub fn count(&mut self, record: &Generated) {
        self.records += 1;
        self.first_us.get_or_insert(record.arrival_us);
        self.last_us = Some(record.arrival_us);
        let counts = self.topics.entry(record.topic).or_default();
        match record.kind {
            Kind::Good => counts.good += 1,
            Kind::Late => counts.late += 1,
            Kind::Bad(bad) => *counts.bad.entry(bad).or_default() += 1,
        }
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    /// One line: events, rate, event time.
    pub fn line(&self, elapsed: Duration) -> String {
        let until = self.last_us.map_or("none".to_owned(), rfc3339);
        let rate = self.records as f64 / elapsed.as_secs_f64().max(1e-6);
        let seconds = elapsed.as_secs_f64();
        format!("{} events in {seconds:.1} s ({rate:.0}/s), event time {until}", self.records)
    }

    pub fn print(&self, passage: &Passage, format: Format) {
        match format {
            Format::Text => say(self.text(passage).trim_end()),
            Format::Json => say(self.json(passage)),
        }
    }

    fn text(&self, passage: &Passage) -> String {
        let mut text = self.line(passage.elapsed);
        text.push_str(if passage.interrupted { ", ended early\n" } else { "\n" });
        text.push_str(&format!("{:<18}{:>12}{:>12}{:>10}{:>10}\n", "topic", "events", "good", "late", "bad"));
        for (topic, counts) in &self.topics {
            let bad: u64 = counts.bad.values().sum();
            let Counts { good, late, .. } = counts;
            text.push_str(&format!("{topic:<18}{:>12}{good:>12}{late:>10}{bad:>10}\n", good + late + bad));
        }
        for (reason, count) in self.bad() {
            text.push_str(&format!("bad {reason:<26}{count:>32}\n"));
        }
        if passage.behind_max >= Duration::from_millis(100) {
            let behind_s = passage.behind_max.as_secs_f64();
            text.push_str(&format!("the slowest event was sent {behind_s:.1} s after it was due\n"));
        }
        text
    }

    fn json(&self, passage: &Passage) -> Value {
        let topic = |counts: &Counts| {
            let bad: serde_json::Map<String, Value> = by_reason([counts])
                .into_iter()
                .map(|(reason, count)| (reason.to_owned(), count.into()))
                .collect();
            json!({"good": counts.good, "late": counts.late, "bad": bad})
        };
        let topics: serde_json::Map<String, Value> =
            self.topics.iter().map(|(name, counts)| ((*name).to_owned(), topic(counts))).collect();
        json!({
            "events": self.records,
            "topics": topics,
            "first_arrival": self.first_us.map(rfc3339),
            "last_arrival": self.last_us.map(rfc3339),
            "wall_s": passage.elapsed.as_secs_f64(),
            "behind_max_s": passage.behind_max.as_secs_f64(),
            "undelivered": passage.undelivered,
            "interrupted": passage.interrupted,
        })
    }

    fn bad(&self) -> BTreeMap<&'static str, u64> {
        by_reason(self.topics.values())
    }
}

fn by_reason<'a>(counts: impl IntoIterator<Item = &'a Counts>) -> BTreeMap<&'static str, u64> {
    let mut reasons = BTreeMap::new();
    for (bad, count) in counts.into_iter().flat_map(|counts| &counts.bad) {
        *reasons.entry(bad.reason().name()).or_default() += count;
    }
    reasons
}
