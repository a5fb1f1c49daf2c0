//! Levels whose windows rarely hold the events they ask for, by what the hourly tables say of last week.

use std::collections::BTreeMap;

use super::finding::{Finding, Lint, Weight};
use super::lint::{Found, allowed, finding};
use super::place::Places;
use super::span::span;
use crate::config::Document;
use crate::core::alert::{AlertRule, Level};
use crate::core::expr::Condition;
use crate::core::rules::Rules;

const HOUR_S: i128 = 3_600;
/// Quiet hours a level may have, in percent: nights and weekends are rarely worth a word.
const QUIET_PERCENT: usize = 5;
const BILLION: i128 = 1_000_000_000;

/// What is to be said of `rules`, given the events of each hour by source; sorted. Rules with groups or a filter are
/// left out: the hours tell how many events came, not which.
pub fn traffic(rules: &Rules, documents: &[Document], hours: &BTreeMap<String, Vec<u64>>) -> Vec<Finding> {
    let places = Places::of(documents);
    let mut findings = Vec::new();
    for rule in &rules.alerts {
        let [feed] = rule.feeds.as_slice() else { continue };
        let Some(hours) = hours.get(&feed.source).filter(|hours| !hours.is_empty()) else { continue };
        if !feed.group_by.is_empty() || feed.filter != Condition::True || rule.has_slices() {
            continue;
        }
        for level in &rule.levels {
            let subject = format!("{}: {}", rule.full_name(), level.name);
            let found = little_traffic(rule, level, hours);
            findings.extend(found.map(|found| finding(&places, rule, subject, found)));
        }
    }
    findings.sort();
    findings
}

fn little_traffic(rule: &AlertRule, level: &Level, hours: &[u64]) -> Option<Found> {
    // So many events that one failure alone does not reach the factor.
    let calm = allowed(rule).filter(|_| level.min_bad < 2).map_or(0, |allowed| {
        let share = (i128::from(level.threshold_billionths) * allowed).max(1);
        (BILLION * BILLION / share + 1) as u64
    });
    let needed = calm.max(level.min_events);
    let in_window = |events: u64| i128::from(events) * i128::from(level.window_s) / HOUR_S;
    let quiet = hours.iter().filter(|events| in_window(**events) < i128::from(needed)).count();
    if quiet * 100 <= hours.len() * QUIET_PERCENT {
        return None;
    }
    let (of, window) = (hours.len(), span(level.window_s));
    let (message, help) = match calm > level.min_events {
        true => (
            format!(
                "in {quiet} of {of} hours {window} held fewer than {needed} events, and a single failure fires it"
            ),
            "ask for several failures: `min_bad: 5`",
        ),
        false => (
            format!(
                "in {quiet} of {of} hours {window} held fewer than {needed} events, and it had no answer"
            ),
            "lower `min_events`, or lengthen the window",
        ),
    };
    Some((Lint::LittleTraffic, Weight::Warning, message, help.into()))
}
