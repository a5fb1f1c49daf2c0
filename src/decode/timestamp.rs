//! Timestamps -> microseconds since 1970, floored.

use super::number::{Number, Rounding, TENS, digits};
use crate::core::source::TimestampForm;

/// 1970-01-01T00:00:00Z.
const EARLIEST_US: i64 = 0;
/// 3000-01-01T00:00:00Z, exclusive.
const LATEST_US: i64 = 32_503_680_000_000_000;

/// The years a timestamp may lie in. Whether one is too far ahead of its record is asked later, not here.
pub const YEARS: &str = "the years 1970 to 2999";

/// None when the time is outside [`YEARS`].
pub fn within_years(at_us: i64) -> Option<i64> {
    (EARLIEST_US..LATEST_US).contains(&at_us).then_some(at_us)
}

/// Power of ten from the form's unit to microseconds; None for text.
pub fn epoch_power(form: TimestampForm) -> Option<i32> {
    match form {
        TimestampForm::Rfc3339 => None,
        TimestampForm::EpochSeconds => Some(6),
        TimestampForm::EpochMillis => Some(3),
        TimestampForm::EpochMicros => Some(0),
        TimestampForm::EpochNanos => Some(-3),
    }
}

/// Microseconds of a JSON number that counts units of 10^-`power` microseconds since 1970. None beyond `i64`.
pub fn epoch_us(number: Number<'_>, power: i32) -> Option<i64> {
    number.scaled(power, Rounding::Floor).map(|at| at.units)
}

/// Microseconds of an RFC 3339 text: any offset, any number of fraction digits, `t`, `z` and a space for the `T` as
/// the RFC allows. The leap second `23:59:60` UTC counts as `:59`, so an event stays in the hour it names. None when
/// the text is no such time.
pub fn rfc3339_us(text: &str) -> Option<i64> {
    let (stamp, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let (date, behind) = stamp.split_first_chunk::<8>()?;
    let [d1, d2, between, time @ ..] = behind else { return None };
    let [century, _, year, _, _, month, _, _] = pairs(*date, b"0000-00-")?;
    let [hour, _, _, minute, _, _, second, _] = pairs(*time.first_chunk()?, b"00:00:00")?;
    let (fraction_us, zone) = fraction_us(rest)?;
    let offset_s = offset_s(zone)?;
    let days = days(i64::from(century) * 100 + i64::from(year), usize::from(month), pair(*d1, *d2)?)?;
    let is_leap = second == 60;
    let is_time = matches!(between, b'T' | b't' | b' ') && hour < 24 && minute < 60 && second <= 60;
    let second_of_day =
        i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second) - i64::from(is_leap);
    let at_s = days * 86_400 + second_of_day - offset_s;
    if !is_time || (is_leap && at_s.rem_euclid(86_400) != 86_399) {
        return None;
    }
    // Seconds of the years 0 to 9999 in microseconds are far inside `i64`.
    Some(at_s * 1_000_000 + fraction_us)
}

/// What pairs of digits say, each in place of its first digit. `form` has zeros where digits are, and all else as it is.
#[inline(always)]
fn pairs(text: [u8; 8], form: &[u8; 8]) -> Option<[u8; 8]> {
    // A digit becomes what it says, all else that is right zero. What is added makes whatever is more reach the top bit.
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(*form);
    let room = u64::from_le_bytes(form.map(|byte| if byte == b'0' { 0x76 } else { 0x7f }));
    let others = (digits.wrapping_add(room) | digits) & u64::from_le_bytes([0x80; 8]);
    (others == 0).then(|| (digits * 10 + (digits >> 8)).to_le_bytes())
}

/// Two digits.
fn pair(tens: u8, ones: u8) -> Option<i64> {
    match (tens, ones) {
        (b'0'..=b'9', b'0'..=b'9') => Some(i64::from((tens - b'0') * 10 + (ones - b'0'))),
        _ => None,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, as RFC 3339 has it from the year 0 on. None: no such date.
fn days(year: i64, month: usize, day: i64) -> Option<i64> {
    /// Days of a year before each month, and after the last.
    const BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (before, after) = (*BEFORE.get(month.checked_sub(1)?)?, *BEFORE.get(month)?);
    if day < 1 || day > after - before + i64::from(is_leap && month == 2) {
        return None;
    }
    Some(days_before(year) - days_before(1970) + before + i64::from(is_leap && month > 2) + day - 1)
}

/// Days from the first of the year 0, which is a leap year, to the first of `year`.
fn days_before(year: i64) -> i64 {
    year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400
}

/// Microseconds of `.digits`, floored, and what follows; 0 where there is no fraction.
fn fraction_us(rest: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', rest @ ..] = rest else {
        return Some((0, rest));
    };
    let (mut us, length) = digits(rest, 0, 0)?;
    if length > 6 {
        (us, _) = digits(&rest[..6], 0, 0)?;
    }
    Some((us as i64 * TENS[6usize.saturating_sub(length)], &rest[length..]))
}

/// Seconds east of UTC of `Z` or `+hh:mm`; `-00:00`, an unknown offset, is UTC.
fn offset_s(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (pair(h1, h2)?, pair(m1, m2)?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::rfc3339;
    use jiff::tz::Offset;
    use proptest::prelude::*;

    #[test]
    fn reads_what_rfc_3339_allows() {
        let base = 1_761_876_000_000_000;
        let cases = [
            ("2025-10-31T02:00:00Z", base),
            ("2025-10-31t02:00:00z", base),
            ("2025-10-31 02:00:00Z", base),
            ("2025-10-31T02:00:00.5Z", base + 500_000),
            ("2025-10-31T02:00:00.123456Z", base + 123_456),
            ("2025-10-31T02:00:00.1234569999999999999999999Z", base + 123_456),
            ("2025-10-31T02:00:00-00:00", base),
            ("2025-10-31T07:30:00.000001+05:30", base + 1),
            ("2025-10-30T16:00:00-10:00", base),
            ("2025-11-01T01:59:00+23:59", base),
            ("1969-12-31T23:59:59.9999999Z", -1),
            ("2016-12-31T23:59:60.25Z", 1_483_228_799_250_000),
            ("2017-01-01T08:59:60+09:00", 1_483_228_799_000_000),
            ("2099-01-01T00:00:00Z", 4_070_908_800_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ];
        for (text, us) in cases {
            assert_eq!(rfc3339_us(text), Some(us), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let wrong = [
            "",
            "2025-10-31",
            "2025-10-31T02:00Z",
            "2025-10-31T02:00:00",
            "2025-10-31T02:00:00.Z",
            "2025-10-31T02:00:00,5Z",
            "2025-10-31T02:00:00+0530",
            "2025-10-31T02:00:00+05",
            "2025-10-31T02:00:00+24:00",
            "2025-10-31T02:00:00+05:60",
            "2025-10-31T02:00:00 Z",
            "2025-10-31T02:00:00Z ",
            " 2025-10-31T02:00:00Z",
            "2025-10-31_02:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-10-31T24:00:00Z",
            "2025-10-31T12:60:00Z",
            "2025-10-31T12:00:60Z",
            "2025-10-31T12:00:61Z",
            "-025-10-31T02:00:00Z",
            "+2025-10-31T02:00:00Z",
            "2025-10-31T02:00:00[UTC]",
            "２025-10-31T02:00:00Z",
        ];
        for text in wrong {
            assert_eq!(rfc3339_us(text), None, "{text}");
        }
    }

    #[test]
    fn epochs_count_in_their_unit() {
        let at = |form, number| epoch_power(form).and_then(|power| epoch_us(Number::of(number), power));
        let expected = Some(1_761_876_000_123_456);
        assert_eq!(at(TimestampForm::EpochSeconds, "1761876000.123456789"), expected);
        assert_eq!(at(TimestampForm::EpochMillis, "1761876000123.4569"), expected);
        assert_eq!(at(TimestampForm::EpochMicros, "1761876000123456"), expected);
        assert_eq!(at(TimestampForm::EpochNanos, "1761876000123456789"), expected);
        assert_eq!(at(TimestampForm::EpochNanos, "-1"), Some(-1));
        assert_eq!(at(TimestampForm::EpochSeconds, "1e30"), None);
        assert_eq!(at(TimestampForm::Rfc3339, "1"), None);
    }

    #[test]
    fn years_end_where_they_say() {
        let first = rfc3339_us("1970-01-01T00:00:00Z").and_then(within_years);
        let last = rfc3339_us("2999-12-31T23:59:59.999999Z").and_then(within_years);
        assert_eq!((first, last), (Some(EARLIEST_US), Some(LATEST_US - 1)));
        assert_eq!((within_years(-1), within_years(LATEST_US)), (None, None));
    }

    proptest! {
        #[test]
        fn agrees_with_jiff(at_us in -62_000_000_000_000_000i64..253_000_000_000_000_000, offset_min in -1_439i32..1_440) {
            let utc = rfc3339(at_us);
            prop_assert_eq!(rfc3339_us(&utc), Some(at_us), "{}", utc);
            let offset = Offset::from_seconds(offset_min * 60).unwrap();
            let local = offset.to_datetime(jiff::Timestamp::from_microsecond(at_us).unwrap());
            let sign = if offset_min < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset_min.abs() / 60, offset_min.abs() % 60);
            let text = format!("{local:.6}{sign}{hours:02}:{minutes:02}");
            prop_assert_eq!(rfc3339_us(&text), Some(at_us), "{}", text);
        }

        #[test]
        fn whatever_it_reads_jiff_reads_alike(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-6][0-9])") {
            if let Some(at_us) = rfc3339_us(&text) {
                let theirs: jiff::Timestamp = text.parse().unwrap();
                prop_assert_eq!(at_us, theirs.as_nanosecond().div_euclid(1_000) as i64, "{}", text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = rfc3339_us(&text);
        }
    }
}
