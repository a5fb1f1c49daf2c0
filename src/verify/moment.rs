//! Event times from their text.

use crate::core::source::TimestampForm;

use super::number::{Rounding, scaled};

/// 1970 to 2999: what an event time may be, in microseconds.
const YEARS_US: std::ops::Range<i64> = 0..32_503_680_000_000_000;

/// Microseconds since 1970, floored, of a JSON value's text; None when it is no such time.
pub fn event_us(form: TimestampForm, raw: &str, text: Option<&str>) -> Option<i64> {
    // From the written unit to microseconds.
    let places = match form {
        TimestampForm::Rfc3339 => return rfc3339_us(text?).filter(|at_us| YEARS_US.contains(at_us)),
        TimestampForm::EpochSeconds => 6,
        TimestampForm::EpochMillis => 3,
        TimestampForm::EpochMicros => 0,
        TimestampForm::EpochNanos => -3,
    };
    if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    scaled(raw, places, Rounding::Floor).map(|at| at.units).filter(|at_us| YEARS_US.contains(at_us))
}

/// Microseconds since 1970 of an RFC 3339 text, floored.
pub fn rfc3339_us(text: &str) -> Option<i64> {
    // jiff reads more than RFC 3339 and no more than nine digits, so the shape is checked and mended first.
    let (stamp, rest) = text.split_at_checked(19)?;
    let fits = |shape: &str, text: &str| {
        shape.len() == text.len()
            && shape.chars().zip(text.chars()).all(|(shape, c)| match shape {
                '0' => c.is_ascii_digit(),
                'T' => matches!(c, 'T' | 't' | ' '),
                '+' => matches!(c, '+' | '-'),
                other => c == other,
            })
    };
    if !fits("0000-00-00T00:00:00", stamp) {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("0", rest),
    };
    let zone_is_right =
        matches!(zone, "Z" | "z") || fits("+00:00", zone) && zone[1..3] < *"24" && zone[4..] < *"60";
    if fraction.is_empty() || !zone_is_right {
        return None;
    }
    let (date, time) = (&stamp[..10], &stamp[11..]);
    let zone = zone.to_uppercase();
    let second: jiff::Timestamp = format!("{date}T{time}{zone}").parse().ok()?;
    let second = second.as_second();
    // A leap second counts as the one before it, and is one only at the end of a day in UTC.
    if time.ends_with(":60") && second.rem_euclid(86_400) != 86_399 {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    Some(second * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_forms() {
        let base = 1_761_876_000_000_000;
        let right = [
            ("2025-10-31T02:00:00Z", base),
            ("2025-10-31 02:00:00.5z", base + 500_000),
            ("2025-10-31t02:00:00.12345699999999999Z", base + 123_456),
            ("2025-10-31T07:30:00.000001+05:30", base + 1),
            ("2025-10-31T02:00:00-00:00", base),
            ("2016-12-31T23:59:60.25Z", 1_483_228_799_250_000),
        ];
        for (text, at_us) in right {
            assert_eq!(rfc3339_us(text), Some(at_us), "{text}");
        }
        let wrong = [
            "2025-10-31",
            "2025-10-31T02:00:00",
            "2025-10-31T02:00:00.Z",
            "2025-10-31T02:00:00+24:00",
            "2025-10-31T02:00:00+0530",
            "2025-10-31T24:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-10-31T12:00:60Z",
            "2025-10-31T02:00:00[UTC]",
            "2025-10-31T02:00:0é",
        ];
        for text in wrong {
            assert_eq!(rfc3339_us(text), None, "{text}");
        }
        let epoch = |form, raw| event_us(form, raw, None);
        assert_eq!(epoch(TimestampForm::EpochSeconds, "1761876000.1234569"), Some(base + 123_456));
        assert_eq!(epoch(TimestampForm::EpochNanos, "1761876000000000999"), Some(base));
        assert_eq!(epoch(TimestampForm::EpochMillis, "-1"), None);
    }
}
