//! Numbers from their text and back, by moving digits.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    HalfEven,
    Floor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    pub units: i64,
    /// No digit was lost.
    pub exact: bool,
}

/// The number of a JSON number's text, times 10^`places`; None beyond 64 bits.
pub fn scaled(text: &str, places: i64, rounding: Rounding) -> Option<Scaled> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = [whole, fraction].concat();
    let digits = joined.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Scaled { units: 0, exact: true });
    }
    // An exponent beyond 64 bits is as good as this one.
    let far = if exponent.starts_with('-') { -1_000_000_000 } else { 1_000_000_000 };
    let exponent: i64 = exponent.parse().unwrap_or(far);
    let shift = exponent.saturating_add(places).saturating_sub(fraction.len() as i64);
    if shift.saturating_add(digits.len() as i64) > 20 {
        return None;
    }
    let signed = |magnitude: i128| i64::try_from(if negative { -magnitude } else { magnitude }).ok();
    if shift >= 0 {
        let zeros = "0".repeat(shift as usize);
        return Some(Scaled { units: signed([digits, &zeros].concat().parse().ok()?)?, exact: true });
    }
    let (kept, dropped) = match usize::try_from(-shift).ok().and_then(|few| digits.len().checked_sub(few)) {
        Some(at) => (&digits[..at], digits[at..].to_owned()),
        // All digits stand behind the last kept place, and a zero at least before them.
        None => ("", ["0", digits].concat()),
    };
    let kept: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let exact = dropped.bytes().all(|digit| digit == b'0');
    let half = dropped.starts_with('5') && dropped.bytes().skip(1).all(|digit| digit == b'0');
    let away_from_zero = match rounding {
        Rounding::HalfEven if half => kept % 2 == 1,
        Rounding::HalfEven => dropped.as_bytes().first() >= Some(&b'5'),
        Rounding::Floor => negative && !exact,
    };
    Some(Scaled { units: signed(kept + i128::from(away_from_zero))?, exact })
}

/// `units` x 10^-`scale`, with exactly `scale` digits behind the point.
pub fn written(units: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    format!("{}{whole}{point}{fraction}", if units < 0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_move_and_round() {
        let half_even = |text, places| scaled(text, places, Rounding::HalfEven).map(|s| (s.units, s.exact));
        let cases = [
            ("12.345", 2, (1_234, false)),
            ("12.355", 2, (1_236, false)),
            ("12.3450001", 2, (1_235, false)),
            ("-0.5", 0, (0, false)),
            ("1.5e2", 0, (150, true)),
            ("2e-3", 2, (0, false)),
            ("6e-3", 2, (1, false)),
            ("0.000", 6, (0, true)),
            ("200.0", 0, (200, true)),
            ("-9223372036854775808", 0, (i64::MIN, true)),
        ];
        for (text, places, expected) in cases {
            assert_eq!(half_even(text, places), Some(expected), "{text}");
        }
        assert_eq!(half_even("9223372036854775808", 0), None);
        assert_eq!(half_even("1e99999999999999999999", 0), None);
        assert_eq!(half_even("1e-99999999999999999999", 0), Some((0, false)));
        assert_eq!(scaled("-1.5", 0, Rounding::Floor).map(|s| s.units), Some(-2));
    }

    #[test]
    fn decimals_keep_their_zeros() {
        let all = [(0, 0), (-5, 3), (1_500, 3), (12, 1)].map(|(units, scale)| written(units, scale));
        assert_eq!(all, ["0", "-0.005", "1.500", "1.2"]);
    }
}
