//! Numbers as texts: JSON's own would be read as floats.

/// Digits behind the point of what is counted in billionths.
const BILLIONTHS: u8 = 9;

/// `units` x 10^-`scale`, with exactly `scale` digits behind the point.
pub(super) fn decimal(units: i128, scale: u8) -> String {
    if scale == 0 {
        return units.to_string();
    }
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if units < 0 { "-" } else { "" })
}

/// `value` x 10^-9.
pub(super) fn billionths(value: impl Into<i128>) -> String {
    decimal(value.into(), BILLIONTHS)
}

/// `part` of `total`, cut after nine digits; None when there is nothing to share.
pub(super) fn share(part: u64, total: u64) -> Option<String> {
    (total > 0).then(|| billionths(i128::from(part) * 1_000_000_000 / i128::from(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit() {
        let cases =
            [(0, 0, "0"), (-5, 3, "-0.005"), (1_500, 3, "1.500"), (12, 1, "1.2"), (-12_345, 2, "-123.45")];
        for (units, scale, text) in cases {
            assert_eq!(decimal(units, scale), text);
        }
    }

    #[test]
    fn shares_are_cut_and_never_rounded_up() {
        let cases = [(2, 3, "0.666666666"), (u64::MAX - 1, u64::MAX, "0.999999999"), (5, 5, "1.000000000")];
        for (part, total, text) in cases {
            assert_eq!(share(part, total).as_deref(), Some(text));
        }
        assert_eq!(share(0, 0), None);
    }
}
