//! Decimal text -> integers, exactly: no float is ever involved.

use std::cmp::Ordering;

use super::ahead::AHEAD;

/// What becomes of digits beyond the last one kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest; from the exact middle to the even neighbour.
    HalfEven,
    /// Towards the smaller number, also below zero.
    Floor,
}

/// `units` x 10^-`power` of a call to [`scaled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    pub units: i64,
    /// No digit was lost.
    pub exact: bool,
}

/// Most digits an `i64` can have; as many always fit a `u64`.
const MOST_DIGITS: i64 = 19;

/// A number of JSON's grammar as a record has it.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    pub text: &'a str,
}

impl<'a> Number<'a> {
    /// Of a text that is a number and nothing else.
    pub fn of(text: &'a str) -> Number<'a> {
        Number { text }
    }

    /// The number that `text` begins with. None where there is none.
    pub fn at_start_of(text: &'a str) -> Option<Number<'a>> {
        let bytes = text.as_bytes();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let (_, mut end) = digits(bytes, sign, 0)?;
        if bytes[sign] == b'0' && end > sign + 1 {
            return None;
        }
        if bytes.get(end) == Some(&b'.') {
            (_, end) = digits(bytes, end + 1, 0)?;
        }
        if let Some(b'e' | b'E') = bytes.get(end) {
            let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            (_, end) = digits(bytes, end + 1 + signed, 0)?;
        }
        Some(Number { text: &text[..end] })
    }

    pub fn scaled(self, power: i32, rounding: Rounding) -> Option<Scaled> {
        scaled(self.text, power, rounding)
    }
}

/// A number of few digits as one whole number, how many of them stand behind the point, and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    units: i64,
    places: u32,
    pub length: usize,
}

impl Plain {
    /// The number that `bytes` begin with. None: there is none, or it has an exponent or more than eight digits on one
    /// side of the point.
    #[inline(always)]
    pub fn at_start_of(bytes: &[u8; AHEAD]) -> Option<Plain> {
        let sign = usize::from(bytes[0] == b'-');
        let (whole, digits) = few_digits(bytes, sign)?;
        if bytes[sign] == b'0' && digits > 1 {
            return None;
        }
        let (mut units, mut places, mut length) = (whole, 0, sign + digits);
        if bytes[length] == b'.' {
            let (fraction, digits) = few_digits(bytes, length + 1)?;
            units = whole * TENS[digits] + fraction;
            (places, length) = (digits as u32, length + 1 + digits);
        }
        let goes_on = matches!(bytes[length], b'0'..=b'9' | b'e' | b'E');
        (!goes_on).then_some(Plain { units: if sign == 1 { -units } else { units }, places, length })
    }

    /// In units of 10^-`power`. None beyond `i64`, or where digits would be lost.
    #[inline(always)]
    pub fn scaled(self, power: u32) -> Option<i64> {
        let shift = power.checked_sub(self.places)?;
        self.units.checked_mul(*TENS.get(shift as usize)?)
    }
}

/// What up to eight digits from `at` on say, and how many there are, one at least; all at once, two by two, as in
/// <https://kholdstare.github.io/technical/2020/05/26/faster-integer-parsing.html>.
#[inline(always)]
fn few_digits(bytes: &[u8; AHEAD], at: usize) -> Option<(i64, usize)> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // A digit becomes what it says; whatever else is above 9, which is told exactly up to the first.
    let word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?) ^ (ONES * b'0' as u64);
    let others = (word.wrapping_add(ONES * 0x76) | word) & (ONES * 0x80);
    let count = others.trailing_zeros() / 8;
    // None of them: nothing is left to shift.
    let digits = word.checked_shl(64 - 8 * count)?;
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let all = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    Some((all as i64, count as usize))
}

pub(super) const TENS: [i64; 19] = {
    let mut tens = [1; 19];
    let mut at = 1;
    while at < tens.len() {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// Appends the digits from `start` on to `units`, which may overflow, and gives their end. None where there is none.
#[inline(always)]
pub(super) fn digits(bytes: &[u8], start: usize, mut units: u64) -> Option<(u64, usize)> {
    let mut end = start;
    while let Some(digit @ b'0'..=b'9') = bytes.get(end) {
        units = units.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        end += 1;
    }
    (end > start).then_some((units, end))
}

/// `text` x 10^`power` as an integer, rounded once. `text` is a number of JSON's grammar (leading zeros do no harm).
/// None when the result is beyond `i64`.
pub fn scaled(text: &str, power: i32, rounding: Rounding) -> Option<Scaled> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.bytes().position(|b| b == b'e' || b == b'E') {
        Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('0');
    let significant = if whole.is_empty() { fraction.trim_start_matches('0') } else { fraction };
    if whole.is_empty() && significant.is_empty() {
        return Some(Scaled { units: 0, exact: true });
    }
    let zeros_skipped = fraction.len() - significant.len();
    // How many leading digits stand before the point once it is shifted.
    let kept = whole.len() as i64 - zeros_skipped as i64 + exponent + i64::from(power);
    if kept > MOST_DIGITS {
        return None;
    }
    let mut digits = whole.bytes().chain(significant.bytes()).map(|b| u64::from(b.wrapping_sub(b'0')));
    let units = (0..kept).fold(0u64, |units, _| units * 10 + digits.next().unwrap_or(0));
    let (exact, dropped_to_half) = match kept {
        // The first digit is not 0 and stands two or more places behind the point: below 0.1.
        ..0 => (false, Ordering::Less),
        0.. => weigh(&mut digits),
    };
    let away_from_zero = match rounding {
        Rounding::HalfEven => {
            dropped_to_half.is_gt() || (dropped_to_half.is_eq() && !units.is_multiple_of(2))
        }
        Rounding::Floor => negative && !exact,
    };
    let magnitude = units + u64::from(away_from_zero);
    let units = match negative {
        true => 0i64.checked_sub_unsigned(magnitude)?,
        false => i64::try_from(magnitude).ok()?,
    };
    Some(Scaled { units, exact })
}

/// Whether the dropped digits are all zeros, and how they compare with one half.
fn weigh(dropped: &mut impl Iterator<Item = u64>) -> (bool, Ordering) {
    let first = dropped.next().unwrap_or(0);
    let more = dropped.any(|digit| digit != 0);
    let to_half = first.cmp(&5).then(if more { Ordering::Greater } else { Ordering::Equal });
    (first == 0 && !more, to_half)
}

/// Saturates far beyond any exponent that leaves an `i64`, far below an overflow of the sums made with it.
fn exponent(text: &str) -> i64 {
    const FAR: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let size = digits.iter().fold(0i64, |size, b| (size * 10 + i64::from(b.wrapping_sub(b'0'))).min(FAR));
    if negative { -size } else { size }
}

/// `units` x 10^-`scale` for people, without trailing zeros behind the point: `0.5`, `-12`.
pub fn written(units: i64, scale: u8) -> String {
    let scale = usize::from(scale);
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn half_even(text: &str, power: i32) -> Option<i64> {
        scaled(text, power, Rounding::HalfEven).map(|s| s.units)
    }

    #[test]
    fn middles_go_to_the_even_neighbour() {
        let cases = [
            ("0.0005", 0),
            ("0.0015", 2),
            ("0.0025", 2),
            ("0.00250000000000000000000000000000001", 3),
            ("0.0024999999999999999999999999999999999", 2),
            ("-0.0005", 0),
            ("-0.0015", -2),
            ("-0.0025", -2),
            ("0.00049", 0),
            ("0.00051", 1),
            ("12.3456", 12_346),
        ];
        for (text, units) in cases {
            assert_eq!(half_even(text, 3), Some(units), "{text}");
        }
    }

    #[test]
    fn floors_below_zero_too() {
        let floor = |text| scaled(text, 0, Rounding::Floor).map(|s| s.units);
        assert_eq!([floor("1.9"), floor("-1.1"), floor("-0.0001")], [Some(1), Some(-2), Some(-1)]);
        assert_eq!([floor("-1.0"), floor("-0"), floor("-1e-300")], [Some(-1), Some(0), Some(-1)]);
    }

    #[test]
    fn exponents_move_the_point() {
        assert_eq!(half_even("1e3", 0), Some(1_000));
        assert_eq!(half_even("2.5E-4", 6), Some(250));
        assert_eq!(half_even("0.00001E+5", 0), Some(1));
        assert_eq!(half_even("0.000000000000000000000000000001e33", 0), Some(1_000));
        assert_eq!(half_even("12000e-3", 0), Some(12));
        assert_eq!(half_even("1e-99999999999999999999999", 6), Some(0));
        assert_eq!(half_even("0e99999999999999999999999", 6), Some(0));
        assert_eq!(half_even("1e99999999999999999999999", 6), None);
    }

    #[test]
    fn what_begins_like_a_number_is_not_always_one() {
        for text in ["", "-", "01", "-01", "1.", "1.e3", ".5", "1e", "1e+", "+1", "a"] {
            assert!(Number::at_start_of(text).is_none(), "{text}");
            let bytes: Vec<u8> = text.bytes().chain([0; AHEAD]).take(AHEAD).collect();
            assert_eq!(Plain::at_start_of(bytes.first_chunk().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn says_when_digits_were_lost() {
        let exact = |text| scaled(text, 0, Rounding::HalfEven).map(|s| s.exact);
        assert_eq!([exact("200.0"), exact("2e2"), exact("2000e-1"), exact("-0")], [Some(true); 4]);
        assert_eq!([exact("200.5"), exact("2e-2"), exact("200.000000000000000001")], [Some(false); 3]);
    }

    #[test]
    fn ends_at_the_ends_of_i64() {
        assert_eq!(half_even("9223372036854775807", 0), Some(i64::MAX));
        assert_eq!(half_even("9223372036854775807.4", 0), Some(i64::MAX));
        assert_eq!(half_even("9223372036854775807.5", 0), None);
        assert_eq!(half_even("9223372036854775808", 0), None);
        assert_eq!(half_even("-9223372036854775808", 0), Some(i64::MIN));
        assert_eq!(half_even("-9223372036854775808.6", 0), None);
        assert_eq!(half_even("9999999999999999999", 0), None);
        assert_eq!(half_even("9223372036854.775807", 6), Some(i64::MAX));
    }

    #[test]
    fn written_for_people() {
        assert_eq!([written(500, 3), written(-12_000_000, 6)], ["0.5", "-12"]);
        assert_eq!([written(1, 6), written(-1, 1), written(0, 3)], ["0.000001", "-0.1", "0"]);
        assert_eq!(written(i64::MIN, 0), "-9223372036854775808");
    }

    /// The same rule by 128-bit division: slow, and short of `scaled` in reach, but plainly right.
    fn slow(mantissa: i64, power: i32, rounding: Rounding) -> (i128, bool) {
        let mantissa = i128::from(mantissa);
        let Ok(fall) = u32::try_from(-power) else {
            return (mantissa * 10i128.pow(power.unsigned_abs()), true);
        };
        let divisor = 10i128.pow(fall);
        let (floor, rest) = (mantissa.div_euclid(divisor), mantissa.rem_euclid(divisor));
        let up = match rounding {
            Rounding::Floor => false,
            Rounding::HalfEven => rest * 2 > divisor || (rest * 2 == divisor && floor.rem_euclid(2) == 1),
        };
        (floor + i128::from(up), rest == 0)
    }

    proptest! {
        #[test]
        fn agrees_with_division(
            mantissa in prop_oneof![any::<i64>(), -3_000i64..3_000, (-300i64..300).prop_map(|m| m * 5)],
            places in 0usize..25,
            exponent in -10i32..10,
            power in 0i32..7,
            floor in any::<bool>(),
        ) {
            let rounding = if floor { Rounding::Floor } else { Rounding::HalfEven };
            let sign = if mantissa < 0 { "-" } else { "" };
            let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            let point = if places == 0 { "" } else { "." };
            let text = format!("{sign}{whole}{point}{fraction}e{exponent}");
            let (units, exact) = slow(mantissa, exponent + power - places as i32, rounding);
            let expected = i64::try_from(units).ok().map(|units| Scaled { units, exact });
            prop_assert_eq!(scaled(&text, power, rounding), expected, "{}", text);
        }

        #[test]
        fn trailing_zeros_and_a_tail_change_what_they_should(
            whole in "(0|[1-9][0-9]{0,9})",
            fraction in "[0-9]{1,40}",
            zeros in 0usize..60,
        ) {
            let text = format!("{whole}.{fraction}");
            let padded = format!("{text}{}", "0".repeat(zeros));
            prop_assert_eq!(scaled(&text, 6, Rounding::HalfEven), scaled(&padded, 6, Rounding::HalfEven));
            let tailed = scaled(&format!("{padded}0000001"), 6, Rounding::Floor);
            prop_assert_eq!(tailed.map(|s| s.exact), Some(false));
        }

        #[test]
        fn a_number_is_its_text_and_no_more(
            text in "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
            behind in "([^0-9.eE]\\PC{0,3})?",
        ) {
            let longer = format!("{text}{behind}");
            let number = Number::at_start_of(&longer).unwrap();
            prop_assert_eq!(number.text, &text);
        }

        #[test]
        fn few_digits_say_the_same_at_once(
            text in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,9})?([eE][+-]?[0-9])?",
            behind in "([^0-9.eE]\\PC{0,3})?",
            power in 0u32..19,
        ) {
            let mut bytes = [0; AHEAD];
            let longer = format!("{text}{behind}");
            let length = longer.len().min(AHEAD);
            bytes[..length].copy_from_slice(&longer.as_bytes()[..length]);
            let side = |part: &str| part.len() <= 8;
            let is_short = text.trim_start_matches('-').split('.').all(side) && !text.contains(['e', 'E']);
            let plain = Plain::at_start_of(&bytes);
            prop_assert_eq!(plain.map(|plain| plain.length), is_short.then_some(text.len()), "{}", longer);
            if let Some(plain) = plain {
                let exactly = scaled(&text, power as i32, Rounding::Floor).filter(|scaled| scaled.exact);
                let kept = plain.scaled(power);
                // Zeros at the end are lost by none, but have to be looked at.
                let has_room = text.split_once('.').is_none_or(|(_, places)| places.len() <= power as usize);
                prop_assert_eq!(kept, exactly.map(|scaled| scaled.units).filter(|_| has_room), "{}", longer);
            }
        }

        #[test]
        fn reads_back_what_it_writes(units in any::<i64>(), scale in 0u8..19) {
            let read = scaled(&written(units, scale), i32::from(scale), Rounding::HalfEven);
            prop_assert_eq!(read, Some(Scaled { units, exact: true }));
        }
    }
}
