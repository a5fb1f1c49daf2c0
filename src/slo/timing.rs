//! How fast the levels of a rule answer: by the formulas of `ARCHITECTURE.md`, not by trying.

use super::sources_of;
use crate::core::alert::{AlertRule, Level, RuleKind, Side};
use crate::core::objective::{Method, Objective};
use crate::core::rules::Rules;
use crate::core::source::EventTime;
use crate::core::time::SECOND_US;

const BILLION: i128 = 1_000_000_000;
/// A burn rate is over once its short window burns below this share of the factor, in tenths.
const CLEAR_TENTHS: i128 = 9;

/// How long the slowest source of a rule may hold its time back, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HeldBack {
    pub out_of_order_s: i64,
    /// One partition that falls silent holds back the watermark this long.
    pub idle_after_s: i64,
}

/// A share of bad events that begins all at once, after nothing but good ones, at an even rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub bad_billionths: i64,
}

pub fn held_back(rules: &Rules, rule: &AlertRule) -> HeldBack {
    let seconds = |us: i64| us.div_euclid(SECOND_US) + i64::from(us % SECOND_US != 0);
    let times = sources_of(rules, rule).into_iter().filter_map(|name| rules.source(name));
    times.map(|source| source.event_time).fold(HeldBack::default(), |held, time: EventTime| HeldBack {
        out_of_order_s: held.out_of_order_s.max(seconds(time.out_of_order_us)),
        idle_after_s: held.idle_after_s.max(seconds(time.idle_after_us)),
    })
}

/// The longest a level takes to open once its condition has come: what must fit in `detect_within`. None: it never
/// opens.
///
/// Window + `for` + 1 s + `out_of_order` + `idle_after`. A COUNT above needs no full window, an ABSENCE waits for its
/// threshold, a lag is sampled, and a burn rate is asked for a full outage: its windows are long because slow burns
/// are allowed to take long.
pub fn detection_s(rules: &Rules, rule: &AlertRule, level: &Level) -> Option<i64> {
    let HeldBack { out_of_order_s, idle_after_s } = held_back(rules, rule);
    let window_s = match &rule.kind {
        RuleKind::Count if level.side == Side::Above => 0,
        RuleKind::Lag { .. } => return Some(level.for_s + 1),
        RuleKind::BurnRate => {
            let outage = Trouble { bad_billionths: 1_000_000_000 };
            // It may begin within a slice that is still up at its end.
            fires_s(rule, level, outage)? - level.for_s + slice_s(rule).map_or(0, |slice_s| slice_s - 1)
        }
        RuleKind::Count
        | RuleKind::Rate
        | RuleKind::Ratio
        | RuleKind::Quantile { .. }
        | RuleKind::Freshness { .. }
        | RuleKind::Absence
        | RuleKind::Budget
        | RuleKind::Composite(_) => level.window_s,
    };
    Some(window_s + level.for_s + 1 + out_of_order_s + idle_after_s)
}

/// Seconds of event time from the first bad event to OPENED; None: such a trouble never crosses this level, or the
/// kind has no share of bad events.
pub fn fires_s(rule: &AlertRule, level: &Level, trouble: Trouble) -> Option<i64> {
    let Share { needed, allowed, strictly } = share(rule, level)?;
    let bad = i128::from(counted_bad(rule, trouble)) * allowed;
    let slice_s = i128::from(slice_s(rule).unwrap_or(1));
    // bad x t against needed x window, t at most the window.
    let within = |window_s: i64| {
        let all = needed * i128::from(window_s);
        let seconds = if strictly { all / bad.max(1) + 1 } else { (all + bad - 1).div_euclid(bad.max(1)) };
        let seconds = (seconds.max(1) + slice_s - 1) / slice_s * slice_s;
        (bad > 0 && seconds <= i128::from(window_s)).then_some(seconds as i64)
    };
    let long_s = within(level.window_s)?;
    let short_s = level.short_window_s.map_or(Some(long_s), within)?;
    Some(long_s.max(short_s) + level.for_s)
}

/// Seconds from the last bad event to RESOLVED, of a trouble that filled the window and ended all at once.
pub fn resolves_s(rules: &Rules, rule: &AlertRule, level: &Level, trouble: Trouble) -> Option<i64> {
    fires_s(rule, level, trouble)?;
    let Share { needed, allowed, .. } = share(rule, level)?;
    let bad = i128::from(counted_bad(rule, trouble)) * allowed;
    let window_s = level.short_window_s.unwrap_or(level.window_s);
    let clear = match rule.kind {
        RuleKind::BurnRate => needed * CLEAR_TENTHS / 10,
        _ => needed,
    };
    // bad x (window - t) is at most clear x window.
    let left_s = (clear * i128::from(window_s) / bad.max(1)) as i64;
    // A slice leaves with its first second.
    let left_s = slice_s(rule).map_or(left_s, |slice_s| (left_s / slice_s + 1) * slice_s);
    Some((window_s - left_s).max(0) + rule.hold_s + held_back(rules, rule).out_of_order_s)
}

fn slice_s(rule: &AlertRule) -> Option<i64> {
    rule.objective.as_ref()?.method.slice_s()
}

/// What a share of bad events makes bad of what the rule counts: events, or slices.
fn counted_bad(rule: &AlertRule, trouble: Trouble) -> i64 {
    match rule.objective.as_ref().map(|objective| objective.method) {
        Some(Method::Timeslices { target_billionths, .. }) => {
            if trouble.bad_billionths > BILLION as i64 - target_billionths { BILLION as i64 } else { 0 }
        }
        Some(Method::Occurrences | Method::RatioTimeslices { .. }) | None => trouble.bad_billionths,
    }
}

/// `needed` / `allowed` billionths of the events must be bad.
struct Share {
    needed: i128,
    allowed: i128,
    strictly: bool,
}

fn share(rule: &AlertRule, level: &Level) -> Option<Share> {
    let threshold = i128::from(level.threshold_billionths);
    let above = level.side == Side::Above;
    match &rule.kind {
        RuleKind::Ratio if above => Some(Share { needed: threshold, allowed: 1, strictly: true }),
        RuleKind::Quantile { quantile, .. } | RuleKind::Freshness { quantile } if above => {
            let beyond = BILLION - i128::from(quantile.millionths) * 1_000;
            Some(Share { needed: beyond, allowed: 1, strictly: true })
        }
        RuleKind::BurnRate => {
            let objective = rule.objective.as_ref()?;
            let needed = threshold * i128::from(objective.allowed_billionths());
            Some(Share { needed, allowed: BILLION, strictly: false })
        }
        RuleKind::Ratio
        | RuleKind::Quantile { .. }
        | RuleKind::Freshness { .. }
        | RuleKind::Count
        | RuleKind::Rate
        | RuleKind::Absence
        | RuleKind::Lag { .. }
        | RuleKind::Budget
        | RuleKind::Composite(_) => None,
    }
}

/// Troubles worth telling of: all events bad, and 10 and 2 times what the objective allows or the level takes.
pub fn troubles(rule: &AlertRule, level: &Level) -> Vec<(&'static str, Trouble)> {
    let base = match (&rule.kind, share(rule, level)) {
        (_, None) => return Vec::new(),
        (RuleKind::BurnRate, _) => rule.objective.as_ref().map_or(0, Objective::allowed_billionths),
        (_, Some(share)) => (share.needed / share.allowed) as i64,
    };
    let times = |factor: i64| Trouble { bad_billionths: base.saturating_mul(factor) };
    let troubles =
        [("all bad", Trouble { bad_billionths: 1_000_000_000 }), ("10 x", times(10)), ("2 x", times(2))];
    troubles.into_iter().filter(|(_, trouble)| trouble.bad_billionths <= 1_000_000_000).collect()
}
