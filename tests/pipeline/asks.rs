//! Rules about hits in plain words, put to the core in its own terms.

use plimsoll::core::alert::{self, AlertRule, Composite, Lag, LagUnit, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::objective::{
    CalendarUnit, EmptySlice, Indicator, Method, Objective, Period as CorePeriod, Zone,
};
use plimsoll::core::source::Quantile;
use std::collections::BTreeMap;

use super::hits::{BILLION, HOST, SEVERITIES, SOURCES, STATE, TOOK, Which};
use super::oracle::{Counts, Empty, Good, Level, Period, Slices, Unit, wall_s};

/// The document every rule stands in.
pub const DOCUMENT: &str = "asked";
/// The group whose lag is watched.
pub const CONSUMER: &str = "billing";

/// A rule in plain words.
#[derive(Clone, Debug)]
pub struct Ask {
    pub name: String,
    pub what: What,
    /// One for each source. Of a lag the source alone says something; a score has none.
    pub feeds: Vec<Feed>,
    pub by: Vec<By>,
    pub levels: Vec<Level>,
    pub hold_s: i64,
    pub no_data_after_s: i64,
    pub correct_within_s: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Ratio,
    /// Of the time a hit took [ms]; in millionths.
    Took(u32),
    Freshness(u32),
    Count,
    Rate,
    Absence,
    Burn(Promise),
    Budget(Promise),
    Lag {
        in_messages: bool,
    },
    Score {
        parts: Vec<Scored>,
        min_weight_billionths: i128,
    },
}

/// An objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    pub target_billionths: i64,
    pub period: Period,
    pub slices: Option<Slices>,
    /// Slices of a score: its name.
    pub score: Option<String>,
}

/// A rule as part of a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    pub name: String,
    pub weight_millionths: u64,
    pub full_billionths: i64,
    pub zero_billionths: i64,
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

impl Promise {
    /// Of events, over a month.
    pub fn of(target_billionths: i64) -> Promise {
        let period = Period::Rolling { length_s: 30 * 86_400 };
        Promise { target_billionths, period, slices: None, score: None }
    }

    pub fn allowed_billionths(&self) -> i128 {
        BILLION - i128::from(self.target_billionths)
    }

    fn is_of_lag(&self) -> bool {
        self.slices.as_ref().is_some_and(|slices| matches!(slices.good, Good::Lag { .. }))
    }

    fn method(&self) -> Method {
        let Some(Slices { slice_s, counts, empty, .. }) = self.slices.clone() else {
            return Method::Occurrences;
        };
        let empty = match empty {
            Empty::Good => EmptySlice::Good,
            Empty::Bad => EmptySlice::Bad,
            Empty::Skipped => EmptySlice::Skipped,
        };
        match counts {
            Counts::Whole { target_billionths } => {
                Method::Timeslices { slice_s, target_billionths: target_billionths as i64, empty }
            }
            Counts::Share => Method::RatioTimeslices { slice_s, empty },
        }
    }

    fn indicator(&self, source: Option<usize>) -> Indicator {
        let (at_least, at_most) = (Comparison::GreaterOrEqual, Comparison::LessOrEqual);
        match self.slices.as_ref().map_or(Good::Events, |slices| slices.good) {
            Good::Events => Indicator::Events,
            Good::Rate { at_least_billionths } => {
                Indicator::Rate { op: at_least, per_second_billionths: at_least_billionths as i64 }
            }
            Good::Lag { in_messages, at_most_billionths } => Indicator::Lag {
                source: SOURCES[source.expect("a lag is of a source")].into(),
                lag: lag(in_messages),
                op: at_most,
                value_billionths: at_most_billionths as i64,
            },
            Good::Score { at_least_billionths } => Indicator::Composite {
                rule: format!("{DOCUMENT}/{}", self.score.as_ref().expect("a score has a name")),
                op: at_least,
                value_billionths: at_least_billionths as i64,
            },
        }
    }

    fn core_period(&self) -> CorePeriod {
        let calendar = match &self.period {
            Period::Rolling { length_s } => return CorePeriod::Rolling { length_s: *length_s },
            Period::Calendar(calendar) => calendar,
        };
        let offsets = calendar.clocks.0.iter().map(|&(from_s, offset_s)| (from_s, offset_s as i32));
        CorePeriod::Calendar {
            start_us: calendar.clocks.moment_s(wall_s(calendar.starts)) * 1_000_000,
            unit: match calendar.unit {
                Unit::Hour => CalendarUnit::Hour,
                Unit::Day => CalendarUnit::Day,
                Unit::Week => CalendarUnit::Week,
                Unit::Month => CalendarUnit::Month,
                Unit::Quarter => CalendarUnit::Quarter,
                Unit::Year => CalendarUnit::Year,
            },
            count: calendar.count as i32,
            zone: Zone { name: "Test/Zone".into(), offsets: offsets.collect() },
        }
    }
}

fn lag(in_messages: bool) -> Lag {
    let unit = if in_messages { LagUnit::Messages } else { LagUnit::Seconds };
    Lag { consumer_group: Some(CONSUMER.into()), unit }
}

impl Ask {
    pub fn promise(&self) -> Option<&Promise> {
        match &self.what {
            What::Burn(promise) | What::Budget(promise) => Some(promise),
            What::Ratio
            | What::Took(_)
            | What::Freshness(_)
            | What::Count
            | What::Rate
            | What::Absence
            | What::Lag { .. }
            | What::Score { .. } => None,
        }
    }

    /// Whether it is judged by samples of a lag alone.
    pub fn is_of_lag(&self) -> bool {
        matches!(self.what, What::Lag { .. }) || self.promise().is_some_and(Promise::is_of_lag)
    }

    /// Names of the rules it scores.
    pub fn parts(&self) -> Vec<&str> {
        match (&self.what, self.promise()) {
            (What::Score { parts, .. }, _) => parts.iter().map(|part| part.name.as_str()).collect(),
            (_, Some(promise)) => promise.score.as_deref().into_iter().collect(),
            (_, None) => Vec::new(),
        }
    }

    pub fn to_core(&self) -> AlertRule {
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
        let source = self.feeds.first().map(|feed| feed.source);
        AlertRule {
            document: DOCUMENT.into(),
            name: self.name.clone(),
            service: None,
            kind: self.core_kind(source),
            feeds: if self.is_of_lag() { Vec::new() } else { self.feeds.iter().map(feed).collect() },
            group_limit: if self.by.is_empty() { 1 } else { 50 },
            hold_s: self.hold_s,
            no_data_after_s: self.no_data_after_s,
            correct_within_s: self.correct_within_s,
            levels: self.levels.iter().map(|level| self.level_to_core(level)).collect(),
            labels: BTreeMap::new(),
            runbook: None,
            summary: None,
            objective: self.promise().map(|promise| Objective {
                slo: DOCUMENT.into(),
                name: self.name.clone(),
                target_billionths: promise.target_billionths,
                period: promise.core_period(),
                method: promise.method(),
                indicator: promise.indicator(source),
            }),
        }
    }

    fn core_kind(&self, source: Option<usize>) -> RuleKind {
        match &self.what {
            What::Ratio => RuleKind::Ratio,
            What::Took(millionths) => {
                RuleKind::Quantile { of: TOOK, quantile: Quantile { millionths: *millionths } }
            }
            What::Freshness(millionths) => {
                RuleKind::Freshness { quantile: Quantile { millionths: *millionths } }
            }
            What::Count => RuleKind::Count,
            What::Rate => RuleKind::Rate,
            What::Absence => RuleKind::Absence,
            What::Burn(_) => RuleKind::BurnRate,
            What::Budget(_) => RuleKind::Budget,
            What::Lag { in_messages } => {
                let source = SOURCES[source.expect("a lag is of a source")].into();
                RuleKind::Lag { source, lag: lag(*in_messages) }
            }
            What::Score { parts, min_weight_billionths } => RuleKind::Composite(Composite {
                parts: parts.iter().map(Scored::to_core).collect(),
                min_weight_billionths: *min_weight_billionths as i64,
            }),
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

impl Scored {
    fn to_core(&self) -> alert::Part {
        alert::Part {
            rule: format!("{DOCUMENT}/{}", self.name),
            weight_millionths: self.weight_millionths,
            full_billionths: self.full_billionths,
            zero_billionths: self.zero_billionths,
        }
    }
}
