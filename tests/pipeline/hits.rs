//! Two small sources of hits on hosts, and rules about them in plain words: put to the core in its own terms, and to
//! the oracle in the oracle's.

use plimsoll::core::alert::{self, AlertRule, RuleKind, Severities, Severity, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::objective::{Indicator, Method, Objective, Period};
use plimsoll::core::rules::Rules;
use plimsoll::core::source::{
    Bounds, EventTime, Field, FieldKind, Format, Quantile, Slot, Source, TimestampForm,
};
use std::collections::BTreeMap;

use super::oracle::{Happened, Judged, Kind, Level, RawRecord, Rule, judge_group};
use super::simulation::Arrival;
use super::workload::SECOND_US;

pub const SOURCES: [&str; 2] = ["hits", "pings"];
pub const SEVERITIES: [&str; 4] = ["critical", "high", "warning", "low"];
/// The document every rule stands in.
pub const DOCUMENT: &str = "asked";
pub const BILLION: i128 = 1_000_000_000;

const AT: Slot = 0;
const HOST: Slot = 1;
const STATE: Slot = 2;
const TOOK: Slot = 3;

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

/// A rule in plain words.
#[derive(Clone, Debug)]
pub struct Ask {
    pub name: String,
    pub what: What,
    pub feeds: Vec<Feed>,
    pub by: Vec<By>,
    pub levels: Vec<Level>,
    pub hold_s: i64,
    pub no_data_after_s: i64,
    pub correct_within_s: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Ratio,
    /// Of the time a hit took [ms]; in millionths.
    Took(u32),
    Freshness(u32),
    Count,
    Rate,
    Absence,
    Burn {
        target_billionths: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Host,
    State,
}

#[derive(Clone, Copy, Debug)]
pub struct Feed {
    pub source: usize,
    pub filter: Which,
    pub bad: Which,
}

impl Hit {
    fn timestamp_ms(&self) -> i64 {
        self.arrives_us / 1000
    }

    fn age_us(&self) -> i64 {
        (self.timestamp_ms() * 1000 - self.at_us).max(0)
    }
}

impl Which {
    fn holds(self, hit: &Hit) -> bool {
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

    fn condition(self) -> Condition {
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

impl Ask {
    /// Two hits are of one group when these are equal.
    fn group(&self, hit: &Hit) -> Vec<(String, String)> {
        let label = |by: &By| match by {
            By::Host => ("host".to_owned(), hit.host.to_owned()),
            By::State => ("state".to_owned(), hit.state.to_string()),
        };
        let mut group: Vec<_> = self.by.iter().map(label).collect();
        group.sort();
        group
    }

    /// The episodes the oracle finds in all hits, judged up to `until_s`; sorted.
    pub fn expected(&self, hits: &[Hit], until_s: i64) -> Vec<Judged> {
        let second = |hit: &Hit| hit.at_us.div_euclid(SECOND_US);
        let first_s = |feed: &Feed| hits.iter().filter(|hit| hit.source == feed.source).map(second).min();
        let mut groups: BTreeMap<Vec<(String, String)>, Vec<Happened>> = BTreeMap::new();
        for hit in hits {
            for feed in self.feeds.iter().filter(|feed| feed.source == hit.source) {
                let (has_value, value_billionths) = match self.what {
                    What::Took(_) => {
                        (hit.took_us.is_some(), i128::from(hit.took_us.unwrap_or(0)) * 1_000_000)
                    }
                    What::Freshness(_) => (true, i128::from(hit.age_us()) * 1_000),
                    _ => (true, 0),
                };
                let counts = has_value && feed.filter.holds(hit);
                let bad = counts && feed.bad.holds(hit);
                let happened = Happened { second: second(hit), counts, bad, value_billionths };
                groups.entry(self.group(hit)).or_default().push(happened);
            }
        }
        let rule = Rule {
            kind: match self.what {
                What::Ratio => Kind::Ratio,
                What::Took(millionths) | What::Freshness(millionths) => {
                    Kind::Quantile { millionths: millionths as usize }
                }
                What::Count => Kind::Count,
                What::Rate => Kind::Rate,
                What::Absence => Kind::Absence,
                What::Burn { target_billionths } => {
                    Kind::BurnRate { allowed_billionths: BILLION - i128::from(target_billionths) }
                }
            },
            levels: self.levels.clone(),
            hold_s: self.hold_s,
            no_data_after_s: self.no_data_after_s,
            whole_s: self.feeds.iter().filter_map(first_s).max().expect("a hit"),
        };
        let mut judged = Vec::new();
        for (group, mut events) in groups {
            events.sort_by_key(|event| event.second);
            judged.extend(judge_group(&rule, &group, &events, until_s));
        }
        judged.sort();
        judged
    }

    fn to_core(&self) -> AlertRule {
        let has_took = || Condition::Atom(Atom::Has(TOOK));
        let filter = |which: Which| match self.what {
            What::Took(_) => Condition::And(vec![has_took(), which.condition()]),
            _ => which.condition(),
        };
        let slots = |by: &By| match by {
            By::Host => HOST,
            By::State => STATE,
        };
        let feed = |feed: &Feed| alert::Feed {
            source: SOURCES[feed.source].into(),
            group_by: self.by.iter().map(slots).collect(),
            filter: filter(feed.filter),
            bad: feed.bad.condition(),
        };
        AlertRule {
            document: DOCUMENT.into(),
            name: self.name.clone(),
            service: None,
            kind: match self.what {
                What::Ratio => RuleKind::Ratio,
                What::Took(millionths) => RuleKind::Quantile { of: TOOK, quantile: Quantile { millionths } },
                What::Freshness(millionths) => RuleKind::Freshness { quantile: Quantile { millionths } },
                What::Count => RuleKind::Count,
                What::Rate => RuleKind::Rate,
                What::Absence => RuleKind::Absence,
                What::Burn { .. } => RuleKind::BurnRate,
            },
            feeds: self.feeds.iter().map(feed).collect(),
            group_limit: if self.by.is_empty() { 1 } else { 50 },
            hold_s: self.hold_s,
            no_data_after_s: self.no_data_after_s,
            correct_within_s: self.correct_within_s,
            levels: self.levels.iter().map(|level| self.level_to_core(level)).collect(),
            labels: BTreeMap::new(),
            runbook: None,
            summary: None,
            objective: match self.what {
                What::Burn { target_billionths } => Some(Objective {
                    slo: DOCUMENT.into(),
                    name: self.name.clone(),
                    target_billionths,
                    period: Period::Rolling { length_s: 30 * 86_400 },
                    method: Method::Occurrences,
                    indicator: Indicator::Events,
                }),
                _ => None,
            },
        }
    }

    fn level_to_core(&self, level: &Level) -> alert::Level {
        let threshold = level.threshold_billionths as i64;
        let op = if level.above { Comparison::Greater } else { Comparison::GreaterOrEqual };
        let over = match self.what {
            What::Took(_) => Some(Atom::Number { slot: TOOK, op, constant: threshold / 1_000_000 }),
            What::Freshness(_) => Some(Atom::Age { op, constant: threshold / 1_000 }),
            _ => None,
        };
        alert::Level {
            name: level.name.clone(),
            severity: SEVERITIES.iter().position(|name| *name == level.name).expect("a severity"),
            side: if level.above { Side::Above } else { Side::Below },
            threshold_billionths: threshold,
            threshold_text: threshold.to_string(),
            window_s: level.window_s,
            short_window_s: level.short_window_s,
            for_s: level.for_s,
            min_events: level.min_events as u64,
            min_bad: level.min_bad as u64,
            min_coverage_billionths: level.min_coverage_billionths as i64,
            over: over.map(Condition::Atom),
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
