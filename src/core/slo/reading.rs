//! One number against one level, by whole numbers alone: stored counts, never ratios.

use super::latch::Verdict;
use super::pane::Sum;
use crate::core::alert::{Level, Side};

pub const BILLION: i128 = 1_000_000_000;

/// The answer of one level for one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub verdict: Verdict,
    /// The number compared, in billionths of the kind's unit. A value read from a histogram costs more than the
    /// verdict, so it is there only when the level is crossed.
    pub value_billionths: Option<i64>,
}

pub fn unknown(value_billionths: Option<i64>) -> Reading {
    Reading { verdict: Verdict::Unknown, value_billionths }
}

pub fn verdict(crossed: bool) -> Verdict {
    if crossed { Verdict::Crossed } else { Verdict::NotCrossed }
}

pub fn compare(level: &Level, events: u64, value_billionths: i64) -> Reading {
    if events < level.min_events {
        return unknown(Some(value_billionths));
    }
    let crossed = match level.side {
        Side::Above => value_billionths > level.threshold_billionths,
        Side::Below => value_billionths < level.threshold_billionths,
    };
    Reading { verdict: verdict(crossed), value_billionths: Some(value_billionths) }
}

/// Whole numbers only: bad / total > threshold is bad x 10^9 > threshold x total.
pub fn ratio(level: &Level, sum: Sum) -> Reading {
    if sum.total == 0 || sum.total < level.min_events {
        return unknown(None);
    }
    let left = i128::from(sum.bad) * BILLION;
    let right = i128::from(level.threshold_billionths) * i128::from(sum.total);
    let crossed = match level.side {
        Side::Above => left > right && sum.bad >= level.min_bad,
        Side::Below => left < right,
    };
    Reading { verdict: verdict(crossed), value_billionths: Some(share_billionths(sum)) }
}

/// Events a second over the span that was counted.
pub fn rate(level: &Level, total: u64, span_s: i64) -> Reading {
    if span_s <= 0 {
        return unknown(None);
    }
    let left = i128::from(total) * BILLION;
    let right = i128::from(level.threshold_billionths) * i128::from(span_s);
    let value = Some(narrow(left / i128::from(span_s)));
    if total < level.min_events {
        return unknown(value);
    }
    let crossed = match level.side {
        Side::Above => left > right,
        Side::Below => left < right,
    };
    Reading { verdict: verdict(crossed), value_billionths: value }
}

/// The share of bad events, in billionths; 0 when there is none.
pub fn share_billionths(sum: Sum) -> i64 {
    narrow(i128::from(sum.bad) * BILLION / i128::from(sum.total.max(1)))
}

/// How many times faster than allowed the budget is spent, in billionths; None without events.
pub fn burn_billionths(sum: Sum, allowed_billionths: i128) -> Option<i64> {
    let all = allowed_billionths * i128::from(sum.total);
    (all > 0).then(|| narrow(i128::from(sum.bad) * BILLION * BILLION / all))
}

/// Values beyond 9 x 10^9 units are shown as that.
pub fn narrow(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// The worse of two values of one side.
pub fn worse(side: Side, known: Option<i64>, value: i64) -> i64 {
    match (side, known) {
        (_, None) => value,
        (Side::Above, Some(known)) => known.max(value),
        (Side::Below, Some(known)) => known.min(value),
    }
}
