//! Decimal numbers as they are written: never through a float.

use super::diagnostic::Problem;
use super::reader::scalar;
use super::yaml::Node;

/// Digits a written number may have, and the largest exponent: far beyond what scales to an `i64`.
const MAX_DIGITS: usize = 30;

/// `units` x 10^-`scale`; no trailing zeros behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    units: i128,
    scale: u32,
}

/// A decimal times a power of ten, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    pub floor: i128,
    /// Nothing was cut off.
    pub exact: bool,
}

impl Scaled {
    pub fn ceiling(self) -> i128 {
        if self.exact { self.floor } else { self.floor + 1 }
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Decimal {
        Decimal { units: number.into(), scale: 0 }
    }
}

impl Decimal {
    /// Reads `-1.50`, `1e3`, `.5`. None when it is no number or has more than 30 digits.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mut written = whole.bytes().chain(fraction.bytes());
        if digits.len() < 1 + usize::from(digits.contains('.')) || !written.all(|b| b.is_ascii_digit()) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("0{whole}{fraction}");
        if digits.len() > MAX_DIGITS + 1 || exponent.unsigned_abs() as usize > MAX_DIGITS {
            return None;
        }
        let magnitude = digits.parse::<i128>().ok()?;
        let units = if negative { -magnitude } else { magnitude };
        // At most 30 digits on either side, so both fit.
        let scale = fraction.len() as i32 - exponent;
        match u32::try_from(scale) {
            Ok(scale) => Some(Decimal { units, scale }),
            Err(_) => {
                units.checked_mul(power_of_ten(scale.unsigned_abs())?).map(|u| Decimal { units: u, scale: 0 })
            }
        }
    }

    pub fn negated(self) -> Decimal {
        Decimal { units: -self.units, scale: self.scale }
    }

    /// This number times 10^`scale`. None when it is beyond the range of `i128`.
    pub fn scaled(self, scale: u8) -> Option<Scaled> {
        let scale = u32::from(scale);
        if scale >= self.scale {
            let floor = self.units.checked_mul(power_of_ten(scale - self.scale)?)?;
            return Some(Scaled { floor, exact: true });
        }
        match power_of_ten(self.scale - scale) {
            Some(divisor) => {
                let floor = self.units.div_euclid(divisor);
                Some(Scaled { floor, exact: self.units.rem_euclid(divisor) == 0 })
            }
            // Divided by more than an i128 holds: between -1 and 1.
            None => Some(Scaled { floor: self.units.signum().min(0), exact: self.units == 0 }),
        }
    }
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

pub fn decimal(node: &Node) -> Result<Decimal, Problem> {
    let text = scalar(node)?;
    Decimal::parse(text).ok_or_else(|| {
        let help = format!("write it like `0.05`, with at most {MAX_DIGITS} digits");
        Problem::new(format!("`{text}` is not a number"), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exactly_what_is_written() {
        let scaled = |text: &str, scale| {
            Decimal::parse(text).and_then(|d| d.scaled(scale)).map(|s| (s.floor, s.exact))
        };
        assert_eq!(scaled("2000", 3), Some((2_000_000, true)));
        assert_eq!(scaled("0.1", 18), Some((100_000_000_000_000_000, true)));
        assert_eq!(scaled("1.2345", 3), Some((1_234, false)));
        assert_eq!(scaled("-1.2345", 3), Some((-1_235, false)));
        assert_eq!(scaled("1.2340", 3), Some((1_234, true)));
        assert_eq!(scaled("1e3", 0), Some((1_000, true)));
        assert_eq!(scaled("25e-1", 0), Some((2, false)));
        assert_eq!(scaled("1e-30", 0), Some((0, false)));
        assert_eq!(scaled("-1e-30", 0), Some((-1, false)));
        assert_eq!(scaled(".5", 1), Some((5, true)));
        for zero in ["0", "0.0", ".0", "-0", "0e5"] {
            assert_eq!(scaled(zero, 3), Some((0, true)), "{zero}");
        }
        for wrong in ["", ".", "-", "e3", "1e", "1e99", "0x10", "1_000", "1,5", "NaN", "1.2.3", "--1"] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Decimal::parse(&"9".repeat(31)), None);
        assert_eq!(Decimal::parse("999999999999999999999999999999e30"), None, "beyond an i128");
    }
}
