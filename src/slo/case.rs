//! One unit test of rules: made-up events, and the transitions they must lead to.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::event::Event;
use crate::core::output::Transition;
use crate::core::rules::Rules;

#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub file: String,
    pub line: usize,
    /// The rules under test and what they are made of, without hourly tables.
    pub rules: Rules,
    /// Those whose transitions count, by `document/rule`.
    pub tested: BTreeSet<String>,
    /// Partitions of every source.
    pub partitions: u32,
    /// Seconds between two flushes; transitions that fall between them are told together.
    pub step_s: i64,
    /// Nothing after this moment counts.
    pub until_us: i64,
    pub series: Vec<Series>,
    pub lags: Vec<LagSeries>,
    /// In the order of time.
    pub expected: Vec<Expected>,
}

/// Events alike in all but their time.
#[derive(Clone, Debug)]
pub struct Series {
    /// Index into the sources of the case's rules.
    pub source: u16,
    pub partition: i32,
    pub from_us: i64,
    pub events: u64,
    /// `count` of them in every `span_us`, evenly.
    pub count: u64,
    pub span_us: i64,
    /// How long after its time an event arrives.
    pub delayed_us: i64,
    /// All fields but the event time.
    pub event: Event,
}

/// How far consumer groups are behind on a source, at every second from `from_s` up to but not `to_s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LagSeries {
    pub source: String,
    pub from_s: i64,
    pub to_s: i64,
    pub messages: u64,
    pub behind_us: i64,
}

/// A transition that must come. What is None may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// OPENED: `opened_at`; RESOLVED: `resolved_at`; else the second judged.
    pub at_s: i64,
    pub transition: Transition,
    pub line: usize,
    pub rule: Option<String>,
    /// A severity's word or the name of a tier.
    pub level: Option<String>,
    /// Labels it must have, among others.
    pub labels: BTreeMap<String, String>,
    pub reason: Option<String>,
    pub onset_s: Option<i64>,
    /// Log time of the flush after which it was told.
    pub said_s: Option<i64>,
}

/// A transition that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub at_s: i64,
    pub transition: Transition,
    pub rule: String,
    pub severity: String,
    /// The level's name; for a burn rate the tier's.
    pub level: String,
    pub labels: BTreeMap<String, String>,
    /// Group labels alone, as shown.
    pub group: Vec<(String, String)>,
    pub reason: Option<&'static str>,
    pub onset_s: i64,
    pub said_s: i64,
}

impl Series {
    /// Time of the event `at`, which is below `events`.
    pub fn event_us(&self, at: u64) -> i64 {
        let offset = i128::from(at) * i128::from(self.span_us) / i128::from(self.count.max(1));
        self.from_us + offset as i64
    }

    pub fn arrival_us(&self, at: u64) -> i64 {
        self.event_us(at) + self.delayed_us
    }
}

impl Expected {
    pub fn is_met_by(&self, came: &Observed) -> bool {
        self.at_s == came.at_s
            && self.transition == came.transition
            && self.rule.as_ref().is_none_or(|rule| *rule == came.rule)
            && self.level.as_ref().is_none_or(|level| *level == came.level || *level == came.severity)
            && self.labels.iter().all(|(name, value)| came.labels.get(name) == Some(value))
            && self.reason.as_deref().is_none_or(|reason| Some(reason) == came.reason)
            && self.onset_s.is_none_or(|onset_s| onset_s == came.onset_s)
            && self.said_s.is_none_or(|said_s| said_s == came.said_s)
    }
}
