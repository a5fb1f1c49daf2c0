//! `timeWindow`: the period of an SLO; and OpenSLO's way to write a duration.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::config::diagnostic::{Diagnostics, Problem};
use crate::config::reader::{Mapping, boolean, list, scalar, text};
use crate::config::yaml::Node;
use crate::core::objective::{CalendarUnit, Period, Zone};

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;
/// Budgets are kept by the hour, for at most a leap year.
const MAX_PERIOD_S: i64 = 366 * DAY_S;

/// 2050: no government knows its clocks beyond that.
const OFFSETS_UNTIL_S: i64 = 2_524_608_000;

/// Of a duration in OpenSLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Minute,
    Calendar(CalendarUnit),
}

/// Roughly, for units whose length differs; the burn-rate tiers are chosen by it.
pub fn nominal_s(period: &Period) -> i64 {
    match period {
        Period::Rolling { length_s } => *length_s,
        Period::Calendar { unit, count, .. } => i64::from(*count) * nominal_unit_s(*unit),
    }
}

fn nominal_unit_s(unit: CalendarUnit) -> i64 {
    match unit {
        CalendarUnit::Hour => HOUR_S,
        CalendarUnit::Day => DAY_S,
        CalendarUnit::Week => 7 * DAY_S,
        CalendarUnit::Month => 30 * DAY_S,
        CalendarUnit::Quarter => 90 * DAY_S,
        CalendarUnit::Year => 365 * DAY_S,
    }
}

/// The one item of `timeWindow`.
pub fn period(node: &Node, diagnostics: &mut Diagnostics) -> Option<Period> {
    let only = list(node).map_err(|problem| problem.of_key("timeWindow")).and_then(|items| match items {
        [only] => Ok(only),
        items => {
            let message = format!("`timeWindow` has {} windows", items.len());
            Err(Problem::new(message, "OpenSLO takes exactly one; write an SLO for each"))
        }
    });
    let keys = Mapping::open(
        diagnostics.accept(&node.place, only)?,
        &["duration", "isRolling", "calendar"],
        diagnostics,
    )?;
    let is_rolling = match keys.has("isRolling") {
        true => keys.optional("isRolling", diagnostics, boolean)?,
        false => false,
    };
    let problem = match (is_rolling, keys.node("calendar")) {
        (true, None) => {
            let length_s = keys.required("duration", diagnostics, rolling_s)?;
            return Some(Period::Rolling { length_s });
        }
        (false, Some(calendar)) => return calendar_period(&keys, calendar, diagnostics),
        (true, Some(_)) => Problem::new(
            "a rolling window has no calendar",
            "remove `calendar:`, or write `isRolling: false`",
        ),
        (false, None) => {
            let help = "add `isRolling: true`, or `calendar: {startTime: .., timeZone: ..}`";
            Problem::new("the window neither rolls nor has a calendar", help)
        }
    };
    diagnostics.push(keys.place, problem);
    None
}

fn rolling_s(node: &Node) -> Result<i64, Problem> {
    let (count, unit) = shorthand(node)?;
    let Some(length_s) = fixed_s(unit) else {
        let help = "a rolling window is a number of days, as in `30d`; or give the window a `calendar:`";
        return Err(Problem::new(format!("`{}` has no fixed length", scalar(node)?), help));
    };
    let range = HOUR_S..=MAX_PERIOD_S;
    let length_s = count.checked_mul(length_s).filter(|length_s| range.contains(length_s));
    length_s.ok_or_else(|| Problem::new("the period is out of range", "from 1h to 366d"))
}

fn calendar_period(window: &Mapping<'_>, calendar: &Node, diagnostics: &mut Diagnostics) -> Option<Period> {
    let length = window.required("duration", diagnostics, calendar_length);
    let keys = Mapping::open(calendar, &["startTime", "timeZone"], diagnostics)?;
    let start = keys.required("startTime", diagnostics, start_time);
    let zone = keys.required("timeZone", diagnostics, time_zone);
    let ((count, unit), start, (name, zone)) = (length?, start?, zone?);
    let start_us =
        start.to_zoned(zone.clone()).map(|start| start.timestamp().as_microsecond()).map_err(|_| {
            Problem::new("`startTime` is out of range", "write a time between the years 1 and 9998")
        });
    let start_us = diagnostics.accept(keys.place, start_us)?;
    Some(Period::Calendar { start_us, unit, count, zone: Zone { name, offsets: offsets(&zone) } })
}

fn calendar_length(node: &Node) -> Result<(i32, CalendarUnit), Problem> {
    let (count, unit) = match shorthand(node)? {
        (count, Unit::Calendar(unit)) => (count, unit),
        (count, Unit::Minute) => {
            let message = format!("`{count}m` is minutes, and no calendar has such a period");
            return Err(Problem::new(message, format!("a month is `M`: write `{count}M`")));
        }
    };
    let in_range = |count: &i32| i64::from(*count).saturating_mul(nominal_unit_s(unit)) <= MAX_PERIOD_S;
    let count = i32::try_from(count).ok().filter(in_range);
    let count = count.ok_or_else(|| Problem::new("the period is out of range", "from 1h to 1Y"))?;
    Ok((count, unit))
}

/// The form OpenSLO prescribes; wall time of the zone beside it.
fn start_time(node: &Node) -> Result<DateTime, Problem> {
    let text = text(node)?;
    let start = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).map_err(|_| {
        Problem::new(format!("`{text}` is not a time"), "write it like `2026-01-01 00:00:00`, without a zone")
    })?;
    // What a period holds is added up from whole minutes.
    match start.second() {
        0 => Ok(start),
        _ => Err(Problem::new(format!("`{text}` is within a minute"), "write `:00` for the seconds")),
    }
}

/// The zone and its name as the database spells it.
fn time_zone(node: &Node) -> Result<(String, TimeZone), Problem> {
    let text = text(node)?;
    let unknown = || {
        let help = "a name of the IANA database, such as `UTC` or `America/New_York`";
        Problem::new(format!("`{text}` is not a known time zone"), help)
    };
    let zone = TimeZone::get(text).map_err(|_| unknown())?;
    let name = zone.iana_name().ok_or_else(unknown)?.to_owned();
    Ok((name, zone))
}

/// Every change of the clocks up to the year the tables of zones are worth anything for.
fn offsets(zone: &TimeZone) -> Vec<(i64, i32)> {
    let first = zone.to_offset(Timestamp::UNIX_EPOCH).seconds();
    let changes = zone
        .following(Timestamp::UNIX_EPOCH)
        .map(|change| (change.timestamp().as_second(), change.offset().seconds()));
    let mut offsets = vec![(0, first)];
    for (at_s, offset_s) in changes.take_while(|(at_s, _)| *at_s < OFFSETS_UNTIL_S) {
        // Names of the clock change too, without its hands.
        if offsets.last().is_none_or(|(_, before)| *before != offset_s) {
            offsets.push((at_s, offset_s));
        }
    }
    offsets
}

/// A slice in seconds. A bare number is minutes.
pub fn slice_s(node: &Node) -> Result<i64, Problem> {
    let text = scalar(node)?;
    let (count, length_s) = match text.parse::<i64>() {
        Ok(minutes) => (minutes, Some(MINUTE_S)),
        Err(_) => shorthand(node).map(|(count, unit)| (count, fixed_s(unit)))?,
    };
    let slice_s = length_s.and_then(|length_s| count.checked_mul(length_s));
    slice_s.filter(|&slice_s| slice_s > 0 && slice_s <= DAY_S && DAY_S % slice_s == 0).ok_or_else(|| {
        let help = "1m, 2m, 3m, 4m, 5m, 6m, 8m, 10m, 12m, 15m, 20m, 30m, 1h or another part of a day";
        Problem::new(format!("slices of `{text}` do not fill a day"), help)
    })
}

fn fixed_s(unit: Unit) -> Option<i64> {
    match unit {
        Unit::Minute => Some(MINUTE_S),
        Unit::Calendar(unit @ (CalendarUnit::Hour | CalendarUnit::Day | CalendarUnit::Week)) => {
            Some(nominal_unit_s(unit))
        }
        Unit::Calendar(CalendarUnit::Month | CalendarUnit::Quarter | CalendarUnit::Year) => None,
    }
}

fn shorthand(node: &Node) -> Result<(i64, Unit), Problem> {
    let text = scalar(node)?;
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match unit {
        "m" => Some(Unit::Minute),
        "h" => Some(Unit::Calendar(CalendarUnit::Hour)),
        "d" => Some(Unit::Calendar(CalendarUnit::Day)),
        "w" => Some(Unit::Calendar(CalendarUnit::Week)),
        "M" => Some(Unit::Calendar(CalendarUnit::Month)),
        "Q" => Some(Unit::Calendar(CalendarUnit::Quarter)),
        "Y" => Some(Unit::Calendar(CalendarUnit::Year)),
        _ => None,
    };
    let count = digits.parse::<i64>().ok().filter(|count| *count > 0);
    count.zip(unit).ok_or_else(|| {
        let help = "a whole number and one of m, h, d, w, M (months), Q and Y, as in `30d`";
        Problem::new(format!("`{text}` is not a duration of OpenSLO"), help)
    })
}
