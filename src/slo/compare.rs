//! What was expected against what came, in the order of time.

use std::fmt::{self, Display, Formatter};

use super::case::{Case, Expected, Observed};
use crate::core::output::Transition;
use crate::core::time::{SECOND_US, rfc3339};

/// One line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Met(&'a Observed),
    Missing(&'a Expected),
    Unexpected(&'a Observed),
}

#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    pub lines: Vec<Line<'a>>,
    shown: Shown,
}

/// What need not be said of each transition, because it is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Times are shown without their date.
    pub one_day: bool,
    pub one_rule: bool,
}

impl Line<'_> {
    fn at_s(&self) -> i64 {
        match self {
            Line::Met(came) | Line::Unexpected(came) => came.at_s,
            Line::Missing(expected) => expected.at_s,
        }
    }
}

/// Pairs up as many as can be, each expected transition with one that came.
pub fn compare<'a>(case: &'a Case, observed: &'a [Observed]) -> Comparison<'a> {
    let mut taken: Vec<Option<usize>> = vec![None; observed.len()];
    for at in 0..case.expected.len() {
        take(at, &case.expected, observed, &mut taken, &mut vec![false; observed.len()]);
    }
    let came = observed.iter().zip(&taken).map(|(came, by)| match by {
        Some(_) => Line::Met(came),
        None => Line::Unexpected(came),
    });
    let missing = case.expected.iter().enumerate().filter(|(at, _)| !taken.contains(&Some(*at)));
    let mut lines: Vec<Line<'a>> = missing.map(|(_, expected)| Line::Missing(expected)).chain(came).collect();
    lines.sort_by_key(Line::at_s);
    let one_day = is_one_day(lines.iter().map(Line::at_s));
    Comparison { shown: Shown { one_day, one_rule: case.tested.len() == 1 }, lines }
}

/// Whether all `seconds` are of one day of UTC.
pub fn is_one_day(seconds: impl Iterator<Item = i64>) -> bool {
    let days: Vec<i64> = seconds.map(|at_s| at_s.div_euclid(86_400)).collect();
    days.windows(2).all(|pair| pair[0] == pair[1])
}

/// Finds a transition for the expectation `at`, moving others to what else meets them where that helps.
fn take(
    at: usize,
    expected: &[Expected],
    observed: &[Observed],
    taken: &mut [Option<usize>],
    tried: &mut Vec<bool>,
) -> bool {
    for (came, one) in observed.iter().enumerate() {
        if tried[came] || !expected[at].is_met_by(one) {
            continue;
        }
        tried[came] = true;
        if taken[came].is_none_or(|other| take(other, expected, observed, taken, tried)) {
            taken[came] = Some(at);
            return true;
        }
    }
    false
}

impl Comparison<'_> {
    pub fn is_equal(&self) -> bool {
        self.lines.iter().all(|line| matches!(line, Line::Met(_)))
    }

    /// A line as people read it.
    pub fn text(&self, line: &Line<'_>) -> String {
        match line {
            Line::Met(came) | Line::Unexpected(came) => self.shown.observed(came),
            Line::Missing(expected) => self.shown.expected(expected),
        }
    }
}

impl Shown {
    fn time(&self, at_s: i64) -> String {
        let full = rfc3339(at_s.saturating_mul(SECOND_US));
        match (self.one_day, full.get(11..19)) {
            (true, Some(time)) => time.into(),
            _ => full.replace(".000000Z", "Z"),
        }
    }

    fn expected(&self, expected: &Expected) -> String {
        let mut text = format!("{} {:9}", self.time(expected.at_s), expected.transition.name());
        let mut add = |part: &str| text.push_str(&format!(" {part}"));
        expected.level.iter().for_each(|level| add(level));
        expected.rule.iter().for_each(|rule| add(rule));
        if !expected.labels.is_empty() {
            add(&labels(expected.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))));
        }
        expected.reason.iter().for_each(|reason| add(reason));
        expected.onset_s.iter().for_each(|onset_s| add(&format!("onset {}", self.time(*onset_s))));
        expected.said_s.iter().for_each(|said_s| add(&format!("said {}", self.time(*said_s))));
        text.trim_end().into()
    }

    /// A transition that came, as people read it.
    pub fn observed(&self, came: &Observed) -> String {
        let mut text = format!("{} {:9}", self.time(came.at_s), came.transition.name());
        let mut add = |part: &str| text.push_str(&format!(" {part}"));
        add(&came.level);
        if !self.one_rule {
            add(&came.rule);
        }
        if !came.group.is_empty() {
            add(&labels(came.group.iter().map(|(n, v)| (n.as_str(), v.as_str()))));
        }
        came.reason.iter().for_each(|reason| add(reason));
        if came.transition == Transition::Opened {
            add(&format!("onset {}", self.time(came.onset_s)));
        }
        add(&format!("said {}", self.time(came.said_s)));
        text
    }
}

fn labels<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

impl Display for Comparison<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let text = self.text(line);
            match line {
                Line::Met(_) => writeln!(f, "      {text}")?,
                Line::Missing(expected) => writeln!(f, "    - {text}  (line {})", expected.line)?,
                Line::Unexpected(_) => writeln!(f, "    + {text}")?,
            }
        }
        Ok(())
    }
}
