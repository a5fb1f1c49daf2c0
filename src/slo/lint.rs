//! Rules that are right and yet will not do what their writer thinks.

use super::cost::cost;
use super::finding::{Finding, Lint, Weight};
use super::place::Places;
use super::span::{decimal, percent, size, span};
use super::timing;
use super::wording::contradictions;
use crate::config::Document;
use crate::core::alert::{AlertRule, Level, RuleKind, Side};
use crate::core::objective::Objective;
use crate::core::rules::Rules;

const BILLION: i128 = 1_000_000_000;
/// A window of so many panes is at most a thirtieth longer than it says.
const PANES_MIN: i64 = 30;
const MEMORY_MAX_BYTES: u64 = 1 << 30;

/// What one lint found, before it is known where.
pub type Found = (Lint, Weight, String, String);

/// Everything to say about `rules`, read from `documents`; sorted.
pub fn check(rules: &Rules, documents: &[Document]) -> Vec<Finding> {
    let places = Places::of(documents);
    let mut findings = Vec::new();
    places.roots().iter().for_each(|root| contradictions(root, &mut findings));
    for rule in &rules.alerts {
        let mut add = |subject: String, found: Option<Found>| {
            findings.extend(found.map(|found| finding(&places, rule, subject, found)));
        };
        add(rule.full_name(), group_limit(rules, rule));
        for (at, level) in rule.levels.iter().enumerate() {
            let found = [
                unreachable_factor(rule, level),
                burn_below_one(rule, level),
                too_slow(rules, rule, level),
                window_finer_than_slice(rule, level),
                coarse_panes(rule, level),
                one_event_decides(rule, level),
                min_events_out_of_reach(rule, level),
                out_of_order(rule, at, level),
            ];
            found.into_iter().for_each(|found| add(format!("{}: {}", rule.full_name(), level.name), found));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// What was found about `rule`, with its place.
pub fn finding(places: &Places, rule: &AlertRule, subject: String, found: Found) -> Finding {
    let (lint, weight, message, help) = found;
    let place = places.rule(rule);
    let (file, line) = place.map_or((String::new(), 0), |place| (place.file.to_string(), place.line));
    Finding { file, line, subject, weight, lint, message, help }
}

/// The share of bad events a burn rate is measured by, in billionths.
pub fn allowed(rule: &AlertRule) -> Option<i128> {
    let of_burn = matches!(rule.kind, RuleKind::BurnRate).then_some(rule.objective.as_ref()).flatten();
    of_burn.map(|objective| objective.allowed_billionths().into())
}

fn unreachable_factor(rule: &AlertRule, level: &Level) -> Option<Found> {
    let allowed = allowed(rule)?;
    if i128::from(level.threshold_billionths) * allowed <= BILLION * BILLION {
        return None;
    }
    let most = decimal((BILLION * BILLION / allowed.max(1)) as i64);
    let target = percent(rule.objective.as_ref().map_or(0, |o| o.target_billionths));
    let factor = decimal(level.threshold_billionths);
    let message = format!(
        "never fires: at a target of {target} errors burn at most {most} times as fast as allowed, not {factor}"
    );
    let help = format!("leave the tier out, or choose a factor up to {most}");
    Some((Lint::UnreachableFactor, Weight::Error, message, help))
}

fn burn_below_one(rule: &AlertRule, level: &Level) -> Option<Found> {
    allowed(rule)?;
    if i128::from(level.threshold_billionths) >= BILLION {
        return None;
    }
    let factor = decimal(level.threshold_billionths);
    let message =
        format!("fires at {factor} times the allowed rate of errors, while the budget would last its period");
    let help = "choose tiers for this period: factor = share of the budget x period / window, at least 1";
    Some((Lint::BurnBelowOne, Weight::Warning, message, help.into()))
}

fn too_slow(rules: &Rules, rule: &AlertRule, level: &Level) -> Option<Found> {
    let severity = rules.severities.levels.get(level.severity)?;
    let takes_s = timing::detection_s(rules, rule, level)?;
    if takes_s <= severity.detect_within_s {
        return None;
    }
    let message = format!(
        "may take {} to open, and {} is to be detected within {}",
        span(takes_s),
        severity.name,
        span(severity.detect_within_s)
    );
    let held = timing::held_back(rules, rule);
    let help = match rule.kind {
        RuleKind::BurnRate => format!(
            "so long a full outage takes to burn that much: give the tier a lesser severity, or add a RATIO rule for {}",
            severity.name
        ),
        _ => format!(
            "shorten `window` or `for` by {}; 1 s, out_of_order ({}) and idle_after ({}) are part of it",
            span(takes_s - severity.detect_within_s),
            span(held.out_of_order_s),
            span(held.idle_after_s)
        ),
    };
    Some((Lint::TooSlow, Weight::Warning, message, help))
}

fn window_finer_than_slice(rule: &AlertRule, level: &Level) -> Option<Found> {
    let slice_s = rule.objective.as_ref().and_then(|objective: &Objective| objective.method.slice_s())?;
    let shortest_s = level.short_window_s.unwrap_or(level.window_s).min(level.window_s);
    if shortest_s >= slice_s {
        return None;
    }
    let message = format!("its window of {} is shorter than a slice of {}", span(shortest_s), span(slice_s));
    let help = "make the window several slices long, or the slices shorter";
    Some((Lint::WindowFinerThanSlice, Weight::Error, message, help.into()))
}

fn coarse_panes(rule: &AlertRule, level: &Level) -> Option<Found> {
    let is_share = match rule.kind {
        RuleKind::Ratio
        | RuleKind::Quantile { .. }
        | RuleKind::Freshness { .. }
        | RuleKind::Rate
        | RuleKind::BurnRate => true,
        RuleKind::Count
        | RuleKind::Absence
        | RuleKind::Lag { .. }
        | RuleKind::Budget
        | RuleKind::Composite(_) => false,
    };
    let shortest_s = level.short_window_s.unwrap_or(level.window_s).min(level.window_s);
    if !is_share || shortest_s >= PANES_MIN {
        return None;
    }
    let message = format!(
        "its window of {} has {shortest_s} panes of a second, so one second more or less moves the answer by {}",
        span(shortest_s),
        percent(1_000_000_000 / shortest_s.max(1))
    );
    Some((Lint::CoarsePanes, Weight::Warning, message, "30s is the shortest window that stays calm".into()))
}

fn one_event_decides(rule: &AlertRule, level: &Level) -> Option<Found> {
    if rule.has_slices() {
        // It counts time, however few the events.
        return None;
    }
    let fewest = level.min_events.max(1);
    let (events, threshold) = (i128::from(fewest), i128::from(level.threshold_billionths));
    let decides = match (&rule.kind, level.side) {
        (RuleKind::Ratio, Side::Above) => BILLION > threshold * events,
        (RuleKind::BurnRate, _) => BILLION * BILLION >= threshold * allowed(rule)? * events,
        (RuleKind::Quantile { quantile, .. } | RuleKind::Freshness { quantile }, Side::Above) => {
            fewest - 1 < quantile.rank(fewest)
        }
        _ => false,
    };
    if !decides || level.min_bad > 1 {
        return None;
    }
    let message = format!("a single bad event crosses it when the window holds only {fewest}");
    let help = "raise `min_events`, or ask for several bad ones: `min_bad: 5`";
    Some((Lint::OneEventDecides, Weight::Warning, message, help.into()))
}

fn min_events_out_of_reach(rule: &AlertRule, level: &Level) -> Option<Found> {
    let minimum = i128::from(level.min_events) * BILLION;
    let in_window = match rule.kind {
        RuleKind::Count => i128::from(level.threshold_billionths),
        RuleKind::Rate => i128::from(level.threshold_billionths) * i128::from(level.window_s),
        _ => return None,
    };
    let (weight, message) = match level.side {
        Side::Below if level.min_events > 0 && minimum >= in_window => {
            let message = "never fires: with fewer events than `min_events` there is no answer, and with more it is not crossed";
            (Weight::Error, message)
        }
        Side::Above if minimum > in_window + BILLION => {
            (Weight::Warning, "fires only at `min_events`, which is beyond its threshold")
        }
        Side::Below | Side::Above => return None,
    };
    let help = format!("a {} needs no `min_events`: leave it out", rule.kind.name());
    Some((Lint::MinEventsOutOfReach, weight, message.into(), help))
}

/// Levels of a burn rate are tiers of other windows, and cannot be compared.
fn out_of_order(rule: &AlertRule, at: usize, level: &Level) -> Option<Found> {
    if matches!(rule.kind, RuleKind::BurnRate) {
        return None;
    }
    let easier = |lesser: &&Level| {
        let same =
            lesser.side == level.side && lesser.window_s == level.window_s && lesser.for_s >= level.for_s;
        same && match level.side {
            Side::Above => level.threshold_billionths <= lesser.threshold_billionths,
            Side::Below => level.threshold_billionths >= lesser.threshold_billionths,
        }
    };
    let lesser = rule.levels[at + 1..].iter().find(easier)?;
    let message = format!(
        "whatever crosses {} crosses {} as well, so {} is never shown",
        lesser.name, level.name, lesser.name
    );
    let help =
        format!("{} {} {} is to be the harder one", level.name, level.side.name(), level.threshold_text);
    Some((Lint::LevelsOutOfOrder, Weight::Warning, message, help))
}

fn group_limit(rules: &Rules, rule: &AlertRule) -> Option<Found> {
    if rule.is_ungrouped() {
        return None;
    }
    let bytes = cost(rules, rule).bytes_at_limit;
    let (message, help) = match rule.group_limit {
        1 => (
            "only one group is kept, all others are judged together as _OTHER".to_owned(),
            "raise `group_limit` to the groups you expect, or leave `group_by` out".to_owned(),
        ),
        limit if bytes > MEMORY_MAX_BYTES => (
            format!("{limit} groups take about {} of each shard", size(bytes)),
            "lower `group_limit`, group by a field with fewer values, or shorten the windows".to_owned(),
        ),
        _ => return None,
    };
    Some((Lint::GroupLimit, Weight::Warning, message, help))
}
