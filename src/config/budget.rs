//! BUDGET rules: the objective whose error budget is watched.

use super::diagnostic::Diagnostics;
use super::reader::{Mapping, text};
use super::reference::Known;
use crate::core::alert::AlertRule;
use crate::core::objective::{CalendarUnit, Period};

const HOUR_S: i64 = 60 * 60;
const DAY_S: i64 = 24 * HOUR_S;

/// The rule that `slo` and `objective` name. None, and noted, when there is none; None also when that objective has
/// mistakes of its own.
pub fn objective<'r>(
    keys: &Mapping<'_>,
    known: &'r Known,
    diagnostics: &mut Diagnostics,
) -> Option<&'r AlertRule> {
    // An SLO with one objective needs no second name.
    let wanted = match keys.has("objective") {
        true => Some(keys.optional("objective", diagnostics, text)?),
        false => None,
    };
    keys.required("slo", diagnostics, |node| known.objective(text(node)?, wanted)).flatten()
}

/// The longest the period can be, in seconds: a day has 25 hours once a year.
pub fn longest_s(period: &Period) -> i64 {
    match period {
        Period::Rolling { length_s } => *length_s,
        Period::Calendar { unit, count, .. } => {
            let one_s = match unit {
                CalendarUnit::Hour => HOUR_S,
                CalendarUnit::Day => DAY_S + HOUR_S,
                CalendarUnit::Week => 7 * DAY_S + HOUR_S,
                CalendarUnit::Month => 31 * DAY_S + HOUR_S,
                CalendarUnit::Quarter => 92 * DAY_S + HOUR_S,
                CalendarUnit::Year => 366 * DAY_S,
            };
            one_s.saturating_mul(i64::from(*count))
        }
    }
}
