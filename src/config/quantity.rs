//! Numbers that carry their unit: durations, sizes, shares.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::decimal::Decimal;
use super::diagnostic::Problem;
use super::reader::scalar;
use super::yaml::Node;
use crate::core::time::{HOUR_US, MILLI_US, MINUTE_US, SECOND_US};

/// Microseconds in each unit, finest first.
const DURATION_UNITS: [(&str, i64); 6] =
    [("us", 1), ("ms", MILLI_US), ("s", SECOND_US), ("m", MINUTE_US), ("h", HOUR_US), ("d", 24 * HOUR_US)];
/// Bytes in each unit, largest first. Kilo is 1024, as in Kafka's own limits.
const SIZE_UNITS: [(&str, usize); 4] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

/// A duration in microseconds within `range`, also in microseconds.
pub fn duration_us(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<i64, Problem> {
    move |node| {
        let text = scalar(node)?;
        let us = parse_duration(text)?;
        if range.contains(&us) {
            return Ok(us);
        }
        let help = format!("from {} to {}", show_duration(*range.start()), show_duration(*range.end()));
        Err(Problem::new(format!("`{text}` is out of range"), help))
    }
}

/// A duration in whole seconds within `range`, also in seconds.
pub fn duration_s(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<i64, Problem> {
    move |node| {
        let us = duration_us(range.start() * SECOND_US..=range.end() * SECOND_US)(node)?;
        if us % SECOND_US != 0 {
            let message = format!("`{}` is not a whole number of seconds", scalar(node)?);
            return Err(Problem::new(message, "rules are judged for each second; write it like `45s`"));
        }
        Ok(us / SECOND_US)
    }
}

/// A duration within `range`, in milliseconds.
pub fn duration(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<Duration, Problem> {
    move |node| {
        let us = duration_us(range.start() * MILLI_US..=range.end() * MILLI_US)(node)?;
        // The range starts at 0 or later.
        Ok(Duration::from_micros(us.unsigned_abs()))
    }
}

/// As [`duration_us`], for texts that stand in no file; the error says how to write it.
pub fn written_duration_us(text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|problem| format!("{}: {}", problem.message, problem.help))
}

fn parse_duration(text: &str) -> Result<i64, Problem> {
    let (digits, unit) = split_unit(text);
    let help = "write one number and one unit (ms, s, m, h, d), as in `50ms`, `2s` or `90m`";
    if unit.is_empty() && !digits.is_empty() {
        return Err(Problem::new(format!("the duration `{text}` has no unit"), help));
    }
    let factor = DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, us)| *us);
    let us = factor.and_then(|us| digits.parse::<i64>().ok()?.checked_mul(us));
    us.ok_or_else(|| Problem::new(format!("`{text}` is not a duration"), help))
}

fn show_duration(us: i64) -> String {
    let whole = |unit: &&(&str, i64)| us % unit.1 == 0;
    let (name, factor) = DURATION_UNITS.iter().rev().find(whole).unwrap_or(&DURATION_UNITS[0]);
    if us == 0 { "0s".into() } else { format!("{}{name}", us / factor) }
}

/// A size in bytes within `range`.
pub fn size_bytes(range: RangeInclusive<usize>) -> impl Fn(&Node) -> Result<usize, Problem> {
    move |node| {
        let text = scalar(node)?;
        let (digits, unit) = split_unit(text);
        let help = "write one number and one unit (B, KB, MB, GB), as in `512KB`; 1 KB is 1024 bytes";
        if unit.is_empty() && !digits.is_empty() {
            return Err(Problem::new(format!("the size `{text}` has no unit"), help));
        }
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
        let bytes = factor.and_then(|bytes| digits.parse::<usize>().ok()?.checked_mul(bytes));
        let bytes = bytes.ok_or_else(|| Problem::new(format!("`{text}` is not a size"), help))?;
        if range.contains(&bytes) {
            return Ok(bytes);
        }
        let help = format!("from {} to {}", show_size(*range.start()), show_size(*range.end()));
        Err(Problem::new(format!("`{text}` is out of range"), help))
    }
}

fn show_size(bytes: usize) -> String {
    let (name, factor) =
        SIZE_UNITS.iter().find(|(_, factor)| bytes.is_multiple_of(*factor)).unwrap_or(&SIZE_UNITS[3]);
    format!("{}{name}", bytes / factor)
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A share such as `5%` or `0.1%`, in units of 10^-9.
pub fn share_billionths(node: &Node) -> Result<i64, Problem> {
    /// 1 % is 10^7 billionths.
    const PERCENT_SCALE: u8 = 7;
    let text = scalar(node)?;
    let help = "write a share in percent, as in `5%` or `0.1%`";
    let Some(number) = text.strip_suffix('%') else {
        return Err(Problem::new(format!("`{text}` has no percent sign"), help));
    };
    let scaled = Decimal::parse(number).and_then(|d| d.scaled(PERCENT_SCALE));
    let scaled = scaled.ok_or_else(|| Problem::new(format!("`{text}` is not a share"), help))?;
    match i64::try_from(scaled.floor) {
        Ok(billionths) if scaled.exact && (0..=1_000_000_000).contains(&billionths) => Ok(billionths),
        _ => {
            let help = "from 0% to 100%, with at most 7 digits behind the point";
            Err(Problem::new(format!("`{text}` is out of range"), help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Place;
    use super::super::yaml::Value;
    use super::*;

    fn node(text: &str) -> Node {
        Node { place: Place::whole_file("test"), value: Value::Scalar { text: text.into(), plain: true } }
    }

    #[test]
    fn durations_need_one_number_and_one_unit() {
        let read = |text: &str| duration_us(0..=30 * 24 * HOUR_US)(&node(text));
        let right =
            [("50ms", 50_000), ("2s", 2_000_000), ("5m", 300_000_000), ("30d", 2_592_000_000_000), ("0s", 0)];
        for (text, us) in right {
            assert_eq!(read(text), Ok(us), "{text}");
        }
        let message = |text: &str| read(text).map_err(|p| p.message);
        assert_eq!(message("50"), Err("the duration `50` has no unit".into()));
        for wrong in ["", "s", "1.5s", "1h30m", "-1s", "5 m", "1w", "99999999999999999999s"] {
            assert_eq!(message(wrong), Err(format!("`{wrong}` is not a duration")), "{wrong}");
        }
        let late = read("31d").map_err(|p| p.help);
        assert_eq!(late, Err("from 0s to 30d".into()));
        assert!(duration_s(0..=10)(&node("1500ms")).is_err());
        assert_eq!(duration_s(0..=10)(&node("2000ms")), Ok(2));
    }

    #[test]
    fn sizes_need_a_unit() {
        let read = |text: &str| size_bytes(1..=1 << 30)(&node(text));
        assert_eq!(read("512KB"), Ok(524_288));
        assert_eq!(read("1MB"), Ok(1_048_576));
        assert_eq!(read("512").map_err(|p| p.message), Err("the size `512` has no unit".into()));
        assert!(read("1kb").is_err() && read("2GB").is_err() && read("0B").is_err());
    }

    #[test]
    fn shares_are_exact() {
        let read = |text: &str| share_billionths(&node(text)).ok();
        assert_eq!(read("5%"), Some(50_000_000));
        assert_eq!(read("0.1%"), Some(1_000_000));
        assert_eq!(read("99.9999999%"), Some(999_999_999));
        for wrong in ["5", "0.05", "101%", "-1%", "0.00000001%", "%"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
