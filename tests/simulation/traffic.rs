//! What producers write, and what is right to make of it: counted by hand from the raw records.

use std::collections::BTreeMap;

use plimsoll::core::time::rfc3339;

use super::chance::Chance;
use super::oracle::{Happened, Heard, Judged, Kind, Level, Rule, judge_group};
use super::rules::{
    ABOVE_BILLIONTHS, ABOVE_COUNT, HOLD_S, LATENESS_US, MIN_EVENTS, NO_DATA_AFTER_S, OUT_OF_ORDER_US,
    SERVICES, WINDOW_S,
};

pub const PARTITIONS: i32 = 3;
/// 2025-10-31T01:59:00Z, so that an hour ends in the middle.
pub const START_US: i64 = 1_761_876_000_000_000 - 60 * SECOND_US;
pub const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;

pub struct Sent {
    /// When the broker has it, its Kafka timestamp.
    pub at_us: i64,
    pub payload: Vec<u8>,
    /// None for what no decoder can read.
    request: Option<Request>,
    /// What becomes of it.
    pub fate: Fate,
    /// Largest event time of its partition up to here, of what is folded.
    pub newest_us: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    event_us: i64,
    service: &'static str,
    failed: bool,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Folded { late: bool },
    Dead(&'static str),
}

/// Records of each partition, in the order of arrival.
pub struct Traffic(pub Vec<Vec<Sent>>);

/// Events, failed ones and bytes of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    pub events: u64,
    pub failed: u64,
    pub bytes: u64,
}

impl Traffic {
    pub fn drawn(chance: &mut Chance) -> Traffic {
        let span_s = 20 + chance.below(100) as i64;
        let mut partitions: Vec<Vec<Sent>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
        let busy = chance.pick(&[10, 30, 80]);
        let bad_from_s = chance.below(span_s as u64) as i64;
        let bad_s = 2 + chance.below(15) as i64;
        for partition in &mut partitions {
            // Some partitions fall silent for a while, or have nothing at all.
            let quiet_from_s = chance.below(2 * span_s as u64) as i64;
            let mut count = if chance.percent(10) { 0 } else { chance.below(busy) };
            let mut times: Vec<i64> = Vec::new();
            while count > 0 {
                count -= 1;
                let at_us = chance.below((span_s * SECOND_US) as u64) as i64;
                if !(quiet_from_s * SECOND_US..(quiet_from_s + 15) * SECOND_US).contains(&at_us) {
                    times.push(at_us);
                }
            }
            times.sort_unstable();
            for at_us in times {
                let bad = (bad_from_s * SECOND_US..(bad_from_s + bad_s) * SECOND_US).contains(&at_us);
                partition.push(draw(chance, START_US + at_us, bad));
            }
            judge(partition);
        }
        let mut traffic = Traffic(partitions);
        traffic.end_live(chance);
        traffic
    }

    /// Where all events are old it is a replay, and its last hour stays open: one event on time makes it live.
    fn end_live(&mut self, chance: &mut Chance) {
        let last_us = self.last_us();
        let newest_us = self.0.iter().flatten().filter_map(|sent| sent.newest_us).max();
        if newest_us.is_some_and(|newest_us| newest_us < last_us - LATENESS_US / 2) {
            let request = loop {
                let sent = draw(chance, last_us, false);
                if sent.request.is_some_and(|request| request.event_us == last_us) {
                    break sent;
                }
            };
            self.0[0].push(request);
            judge(&mut self.0[0]);
        }
    }

    /// The records of a partition that the broker has.
    pub fn there(&self, partition: i32, now_us: i64) -> usize {
        self.0[partition as usize].partition_point(|sent| sent.at_us <= now_us)
    }

    pub fn last_us(&self) -> i64 {
        self.0.iter().flatten().map(|sent| sent.at_us).max().unwrap_or(START_US)
    }

    fn folded(&self) -> impl Iterator<Item = Request> {
        let all = self.0.iter().flatten();
        all.filter(|sent| matches!(sent.fate, Fate::Folded { .. })).filter_map(|sent| sent.request)
    }

    /// By service and hour.
    pub fn hours(&self) -> BTreeMap<(String, i64), Hour> {
        let mut hours: BTreeMap<(String, i64), Hour> = BTreeMap::new();
        for Request { event_us, service, failed, bytes } in self.folded() {
            let hour = hours.entry((service.to_owned(), event_us.div_euclid(HOUR_US) * HOUR_US)).or_default();
            hour.events += 1;
            hour.failed += u64::from(failed);
            hour.bytes += bytes;
        }
        hours
    }

    /// Partition, offset and reason of what cannot be folded.
    pub fn dead(&self) -> Vec<(i32, i64, &'static str)> {
        let dead = (0..).zip(&self.0).flat_map(|(partition, log)| {
            (0..).zip(log).filter_map(move |(offset, sent)| match sent.fate {
                Fate::Dead(reason) => Some((partition, offset, reason)),
                Fate::Folded { .. } => None,
            })
        });
        dead.collect()
    }

    /// The episodes of each rule, had all events been known at once; judged up to `until_s`.
    pub fn episodes(&self, until_s: i64) -> BTreeMap<&'static str, Vec<Judged>> {
        let Some(whole_s) = self.folded().map(|request| request.event_us.div_euclid(SECOND_US)).min() else {
            return BTreeMap::new();
        };
        let level = |threshold_billionths, min_events| Level {
            name: "critical".into(),
            above: true,
            threshold_billionths,
            window_s: WINDOW_S,
            short_window_s: None,
            for_s: 0,
            min_events,
            min_bad: 0,
            min_coverage_billionths: 0,
        };
        let rule = |kind, level| Rule {
            kind,
            levels: vec![level],
            hold_s: HOLD_S,
            no_data_after_s: NO_DATA_AFTER_S,
            whole_s,
            slices: None,
        };
        let ratio = rule(Kind::Ratio, level(ABOVE_BILLIONTHS, MIN_EVENTS));
        let count = rule(Kind::Count, level(ABOVE_COUNT * 1_000_000_000, 0));
        BTreeMap::from([
            ("simulated/ratio", self.judged(&ratio, until_s)),
            ("simulated/count", self.judged(&count, until_s)),
        ])
    }

    fn judged(&self, rule: &Rule, until_s: i64) -> Vec<Judged> {
        let mut judged = Vec::new();
        for service in SERVICES {
            let own = self.folded().filter(|request| request.service == service);
            let mut events: Vec<Happened> = own
                .map(|request| Happened {
                    second: request.event_us.div_euclid(SECOND_US),
                    counts: rule.kind == Kind::Ratio || request.failed,
                    bad: rule.kind == Kind::Ratio && request.failed,
                    value_billionths: 0,
                })
                .collect();
            events.sort_by_key(|event| event.second);
            let group = [("service".to_owned(), service.to_owned())];
            if !events.is_empty() {
                judged.extend(judge_group(rule, &group, &Heard::Events(events), until_s));
            }
        }
        judged.sort();
        judged
    }
}

fn draw(chance: &mut Chance, at_us: i64, bad: bool) -> Sent {
    if chance.percent(3) {
        return sent(at_us, b"{no".to_vec(), None);
    }
    let event_us = match chance.below(100) {
        // Kafka's timestamps are in milliseconds.
        0..70 => at_us,
        70..88 => at_us - chance.below(OUT_OF_ORDER_US as u64) as i64,
        88..96 => at_us - chance.below(60) as i64 * SECOND_US,
        96..98 => at_us - LATENESS_US - (10 + chance.below(50) as i64) * SECOND_US,
        _ => at_us + HOUR_US,
    };
    let service = chance.pick(&SERVICES);
    let failed = chance.percent(if bad { 80 } else { 10 });
    let bytes = chance.below(1_000);
    let payload = format!(
        r#"{{"ts":"{}","service":"{service}","status":{},"bytes":{bytes}}}"#,
        rfc3339(event_us),
        if failed { 500 } else { 200 },
    );
    sent(at_us, payload.into_bytes(), Some(Request { event_us, service, failed, bytes }))
}

fn sent(at_us: i64, payload: Vec<u8>, request: Option<Request>) -> Sent {
    Sent {
        at_us: at_us / 1_000 * 1_000,
        payload,
        request,
        fate: Fate::Dead("NOT_DECODABLE"),
        newest_us: None,
    }
}

/// Decides from the log of one partition, from its first record on, what counts.
fn judge(log: &mut [Sent]) {
    let mut newest_us: Option<i64> = None;
    for sent in log {
        if let Some(Request { event_us, .. }) = sent.request {
            let settled_us = newest_us.map(|newest_us| newest_us - OUT_OF_ORDER_US);
            sent.fate = if event_us > sent.at_us + 60 * SECOND_US {
                Fate::Dead("TOO_FAR_AHEAD")
            } else if settled_us.is_some_and(|settled_us| event_us < settled_us - LATENESS_US) {
                Fate::Dead("TOO_LATE")
            } else {
                newest_us = newest_us.max(Some(event_us));
                Fate::Folded { late: settled_us.is_some_and(|settled_us| event_us < settled_us) }
            };
        }
        sent.newest_us = newest_us;
    }
}
