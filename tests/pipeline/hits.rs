//! Two small sources of hits on hosts, and samples of how far their consumer is behind.

use plimsoll::core::alert::{AlertRule, Severities, Severity};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::rules::Rules;
use plimsoll::core::source::{Bounds, EventTime, Field, FieldKind, Format, Slot, Source, TimestampForm};
use std::collections::BTreeMap;

use super::asks::Ask;
use super::oracle::{RawRecord, Sample};
use super::simulation::Arrival;
use super::workload::SECOND_US;

pub const SOURCES: [&str; 2] = ["hits", "pings"];
pub const SEVERITIES: [&str; 4] = ["critical", "high", "warning", "low"];
pub const BILLION: i128 = 1_000_000_000;

const AT: Slot = 0;
pub const HOST: Slot = 1;
pub const STATE: Slot = 2;
pub const TOOK: Slot = 3;

#[derive(Clone, Debug)]
pub struct Hit {
    /// Index into `SOURCES`.
    pub source: usize,
    pub partition: u32,
    pub at_us: i64,
    pub arrives_us: i64,
    pub host: &'static str,
    pub state: i64,
    pub took_us: Option<i64>,
}

/// A sample of the lag on a source.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Index into `SOURCES`.
    pub source: usize,
    pub sample: Sample,
}

/// Some of the hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    None,
    /// State 500 and above.
    Failed,
    /// State 404.
    Missing,
    NotMissing,
    /// It took more than 200 ms; a hit that does not say is not slow.
    Slow,
    On(&'static str),
}

impl Hit {
    fn timestamp_ms(&self) -> i64 {
        self.arrives_us / 1000
    }

    pub fn age_us(&self) -> i64 {
        (self.timestamp_ms() * 1000 - self.at_us).max(0)
    }
}

impl Which {
    pub fn holds(self, hit: &Hit) -> bool {
        match self {
            Which::All => true,
            Which::None => false,
            Which::Failed => hit.state >= 500,
            Which::Missing => hit.state == 404,
            Which::NotMissing => hit.state != 404,
            Which::Slow => hit.took_us.is_some_and(|took_us| took_us > 200_000),
            Which::On(host) => hit.host == host,
        }
    }

    pub fn condition(self) -> Condition {
        let number = |slot, op, constant| Condition::Atom(Atom::Number { slot, op, constant });
        match self {
            Which::All => Condition::True,
            Which::None => Condition::never(),
            Which::Failed => number(STATE, Comparison::GreaterOrEqual, 500),
            Which::Missing => number(STATE, Comparison::Equal, 404),
            Which::NotMissing => Condition::Not(Box::new(number(STATE, Comparison::Equal, 404))),
            Which::Slow => number(TOOK, Comparison::Greater, 200_000),
            Which::On(host) => Condition::Atom(Atom::TextIn { slot: HOST, constants: vec![host.to_owned()] }),
        }
    }
}

/// The rules that ask all this of sources with this much disorder.
pub fn rules_of(asks: &[Ask], out_of_order_us: i64, idle_after_us: i64) -> Rules {
    let field = |name: &str, kind, optional| Field {
        name: name.into(),
        path: vec![name.into()],
        kind,
        optional,
        unit: String::new(),
    };
    let text = FieldKind::String { max_length: None, upper: false, map: BTreeMap::new() };
    let source = |name: &str| Source {
        name: name.into(),
        topic: name.into(),
        optional: false,
        format: Format::Json,
        event_time: EventTime {
            slot: AT,
            out_of_order_us,
            lateness_us: 7_200 * SECOND_US,
            idle_after_us,
            max_ahead_us: 60 * SECOND_US,
        },
        fields: vec![
            field("at", FieldKind::Timestamp(TimestampForm::EpochMicros), false),
            field("host", text.clone(), false),
            field("state", FieldKind::Integer(Bounds::NONE), false),
            field("took", FieldKind::Decimal { scale: 3, bounds: Bounds { min: 0, max: 1 << 40 } }, true),
        ],
        rollups: Vec::new(),
    };
    let severity = |name: &&str| Severity {
        name: (*name).into(),
        priority: "P1".into(),
        detect_within_s: 60,
        respond_within_s: 60,
        resolve_within_s: 60,
    };
    let mut alerts: Vec<AlertRule> = asks.iter().map(Ask::to_core).collect();
    alerts.sort_by_key(AlertRule::full_name);
    Rules {
        sources: SOURCES.iter().map(|name| source(name)).collect(),
        alerts,
        severities: Severities { levels: SEVERITIES.iter().map(severity).collect() },
        services: Vec::new(),
        maintenance: Vec::new(),
    }
}

/// The hits as their topics hold them, in the order they arrive.
pub fn arrivals(hits: &[Hit]) -> Vec<Arrival> {
    let mut hits: Vec<&Hit> = hits.iter().collect();
    hits.sort_by_key(|hit| hit.arrives_us);
    let mut offsets: BTreeMap<(usize, u32), i64> = BTreeMap::new();
    let mut arrivals = Vec::with_capacity(hits.len());
    for hit in hits {
        let Hit { at_us, host, state, .. } = hit;
        // Times taken are whole thousandths of a millisecond.
        let took = hit.took_us.map(|us| format!(r#","took":{}.{:03}"#, us / 1000, us % 1000));
        let payload =
            format!(r#"{{"at":{at_us},"host":"{host}","state":{state}{}}}"#, took.unwrap_or_default());
        let next = offsets.entry((hit.source, hit.partition)).or_insert(0);
        let record = RawRecord {
            topic: SOURCES[hit.source].into(),
            partition: hit.partition,
            offset: *next,
            timestamp_ms: hit.timestamp_ms(),
            payload: payload.into(),
        };
        *next += 1;
        arrivals.push(Arrival { at_us: hit.arrives_us, record });
    }
    arrivals
}
