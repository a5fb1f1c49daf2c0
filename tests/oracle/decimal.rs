//! Numbers from their text, by moving digits.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounded {
    /// No digit was lost.
    Exact(i128),
    /// Rounded half to even.
    Inexact(i128),
    /// More than 36 digits.
    TooLarge,
}

impl Rounded {
    pub fn value(self) -> Option<i128> {
        match self {
            Rounded::Exact(value) | Rounded::Inexact(value) => Some(value),
            Rounded::TooLarge => None,
        }
    }
}

/// The number of a JSON number's text, times 10^scale.
pub fn scaled(text: &str, scale: i64) -> Rounded {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = format!("{whole}{fraction}");
    let digits = joined.trim_start_matches('0');
    if digits.is_empty() {
        return Rounded::Exact(0);
    }
    // An exponent beyond i64 is as good as this one.
    let far = if exponent.starts_with('-') { -1_000_000_000 } else { 1_000_000_000 };
    let exponent: i64 = exponent.parse().unwrap_or(far);
    let shift = exponent.saturating_add(scale) - fraction.len() as i64;
    let sign = |value: i128| if negative { -value } else { value };
    if digits.len() as i64 + shift > 36 {
        return Rounded::TooLarge;
    }
    if shift >= 0 {
        let zeros = "0".repeat(shift as usize);
        return Rounded::Exact(sign(format!("{digits}{zeros}").parse().expect("at most 36 digits")));
    }
    let dropped = (-shift) as usize;
    let (kept, rest) = match digits.len().checked_sub(dropped) {
        Some(at) => (&digits[..at], digits[at..].to_owned()),
        // All digits stand behind the last kept place, and a zero at least before them.
        None => ("", format!("0{digits}")),
    };
    let kept: i128 = if kept.is_empty() { 0 } else { kept.parse().expect("at most 36 digits") };
    if rest.bytes().all(|digit| digit == b'0') {
        return Rounded::Exact(sign(kept));
    }
    let above_half = rest.as_bytes()[0] > b'5'
        || rest.as_bytes()[0] == b'5' && rest.bytes().skip(1).any(|digit| digit != b'0');
    let half = rest.as_bytes()[0] == b'5' && !above_half;
    let up = above_half || half && kept % 2 == 1;
    Rounded::Inexact(sign(kept + i128::from(up)))
}

/// `units` x 10^-scale with exactly `scale` digits behind the point.
pub fn written(units: i128, scale: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}
