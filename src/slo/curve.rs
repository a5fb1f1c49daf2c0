//! Numbers over time, thinned out so that a year takes no more memory than a day.

use std::collections::BTreeMap;

use crate::core::output::Status;
use crate::core::time::floor_to;

/// Points of one curve, about as many as a plot can show.
const POINTS: i64 = 600;
/// More objectives and groups than anybody looks at.
const CURVES: usize = 1_000;

/// What was left of one objective's budget for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    /// `document/rule`
    pub rule: String,
    pub group: Vec<(String, String)>,
    /// (second, share of the budget left in billionths), ascending.
    pub points: Vec<(i64, i64)>,
}

impl Curve {
    /// The rule and, where there is one, its group.
    pub fn name(&self) -> String {
        let labels: Vec<String> = self.group.iter().map(|(name, value)| format!("{name}={value}")).collect();
        match labels.is_empty() {
            true => self.rule.clone(),
            false => format!("{} {{{}}}", self.rule, labels.join(", ")),
        }
    }

    pub fn first(&self) -> i64 {
        self.points.first().map_or(0, |(_, left)| *left)
    }

    pub fn last(&self) -> i64 {
        self.points.last().map_or(0, |(_, left)| *left)
    }

    pub fn lowest(&self) -> i64 {
        self.points.iter().map(|(_, left)| *left).min().unwrap_or(0)
    }
}

/// `document/rule`, and the group.
type Name = (String, Vec<(String, String)>);

/// The curves of a backtest.
#[derive(Clone, Debug)]
pub struct Curves {
    from_s: i64,
    to_s: i64,
    every_s: i64,
    curves: BTreeMap<Name, Vec<(i64, i64)>>,
}

impl Curves {
    pub fn new(from_s: i64, to_s: i64) -> Curves {
        let every_s = ((to_s - from_s) / POINTS).max(1);
        Curves { from_s, to_s, every_s, curves: BTreeMap::new() }
    }

    /// Takes the budget of an objective; rules that watch one tell of it a second time and are passed over.
    pub fn take(&mut self, status: Status) {
        let Status { document, rule, group, at_s, kind, budget: Some(budget), .. } = status else { return };
        if kind != "BURN_RATE" || !(self.from_s..=self.to_s).contains(&at_s) {
            return;
        }
        let key = (format!("{document}/{rule}"), group);
        if self.curves.len() == CURVES && !self.curves.contains_key(&key) {
            return;
        }
        let points = self.curves.entry(key).or_default();
        let slot = |second: i64| floor_to(second - self.from_s, self.every_s);
        let point = (at_s, budget.remaining_billionths);
        // Of one slot the newest stays, so that the last point is how it ended.
        match points.last_mut() {
            Some(last) if slot(last.0) == slot(at_s) => *last = point,
            _ => points.push(point),
        }
    }

    /// By name.
    pub fn finish(self) -> Vec<Curve> {
        let curves = self.curves.into_iter();
        curves.map(|((rule, group), points)| Curve { rule, group, points }).collect()
    }
}
