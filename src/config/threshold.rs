//! Thresholds: numbers that carry the unit of what they are compared with.

use super::decimal::{Decimal, Scaled};
use super::diagnostic::Problem;
use super::quantity::{duration_us, share_billionths};
use super::reader::{count, scalar};
use super::yaml::Node;
use crate::core::alert::{LagUnit, RuleKind, Side};
use crate::core::source::{Field, FieldKind};
use crate::core::time::HOUR_US;

const BILLION: i128 = 1_000_000_000;
/// Digits of a billionth.
const BILLIONTHS: u8 = 9;
/// The largest count whose billionths fit 64 bits.
const MAX_COUNT: u64 = 9_000_000_000;
/// What is older or further behind than this is no matter of minutes.
const MAX_DURATION_US: i64 = 30 * 24 * HOUR_US;
const MESSAGES: &str = " messages";

/// Units that can be turned into each other, each in the smallest of them.
const FAMILIES: [&[(&str, i128)]; 2] = [
    &[
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", BILLION),
        ("m", 60 * BILLION),
        ("h", 3_600 * BILLION),
        ("d", 86_400 * BILLION),
    ],
    &[("B", 1), ("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)],
];

/// What a number of a rule is counted in.
#[derive(Clone, Copy, Debug)]
pub enum Unit<'f> {
    Share,
    /// What is left of an error budget, as a share of it: below 0 when more was spent than there was.
    Budget,
    /// As the values of the field.
    Field(&'f Field),
    Seconds,
    Messages,
    Events,
    EventsPerSecond,
    /// A plain number, of burn rates.
    Times,
}

impl<'f> Unit<'f> {
    /// The unit of the values of a rule; `fields` are those of its source.
    pub fn of(kind: &RuleKind, fields: &'f [Field]) -> Option<Unit<'f>> {
        Some(match kind {
            RuleKind::Ratio | RuleKind::Composite(_) => Unit::Share,
            RuleKind::Budget => Unit::Budget,
            RuleKind::Quantile { of, .. } => Unit::Field(fields.get(*of)?),
            RuleKind::Freshness { .. } | RuleKind::Absence => Unit::Seconds,
            RuleKind::Count => Unit::Events,
            RuleKind::Rate => Unit::EventsPerSecond,
            RuleKind::Lag { lag, .. } => match lag.unit {
                LagUnit::Seconds => Unit::Seconds,
                LagUnit::Messages => Unit::Messages,
            },
            RuleKind::BurnRate => Unit::Times,
        })
    }

    /// A number written in this unit, in billionths of it.
    pub fn billionths(self, node: &Node) -> Result<i64, Problem> {
        match self {
            Unit::Share | Unit::Budget => share_billionths(node),
            Unit::Field(field) => of_field(scalar(node)?, field),
            Unit::Seconds => Ok(duration_us(0..=MAX_DURATION_US)(node)? * 1_000),
            Unit::Messages => messages(scalar(node)?),
            Unit::Events => Ok(count(0..=MAX_COUNT)(node)? as i64 * BILLION as i64),
            Unit::EventsPerSecond => {
                let text = scalar(node)?;
                let problem = || {
                    Problem::new(format!("`{text}` is not a rate"), "write events a second, as in `7000/s`")
                };
                let number = text.strip_suffix("/s").and_then(Decimal::parse).ok_or_else(problem)?;
                not_negative(text, narrow(text, number)?)
            }
            Unit::Times => {
                let text = scalar(node)?;
                let help = "write a plain number, as in `14.4`";
                let problem = || Problem::new(format!("`{text}` is not a burn rate"), help);
                not_negative(text, narrow(text, Decimal::parse(text).ok_or_else(problem)?)?)
            }
        }
    }

    /// A threshold beyond which a value can lie on the side `side`.
    pub fn threshold(self, node: &Node, side: Side) -> Result<i64, Problem> {
        let billionths = self.billionths(node)?;
        let (lowest, highest) = self.range();
        let beyond = match side {
            Side::Above => highest.is_none_or(|highest| i128::from(billionths) < highest),
            Side::Below => lowest.is_none_or(|lowest| i128::from(billionths) > lowest),
        };
        if beyond {
            return Ok(billionths);
        }
        let (side, text) = (side.name(), scalar(node)?);
        let message = match self {
            Unit::Field(field) => format!("`{}` is never {side} {text}", field.name),
            unit => format!("no {} is ever {side} {text}", unit.noun()),
        };
        Err(Problem::new(message, "choose a threshold that can be crossed"))
    }

    /// Values lie between these, in billionths.
    fn range(self) -> (Option<i128>, Option<i128>) {
        match self {
            Unit::Share => (Some(0), Some(BILLION)),
            Unit::Budget => (None, Some(BILLION)),
            Unit::Field(field) => match &field.kind {
                FieldKind::Integer(bounds) | FieldKind::Decimal { bounds, .. } => {
                    let billionths = |units: i64| unscaled(units, field.scale());
                    (Some(billionths(bounds.min)), Some(billionths(bounds.max)))
                }
                FieldKind::Timestamp(_) | FieldKind::String { .. } | FieldKind::Boolean => (None, None),
            },
            Unit::Seconds | Unit::Messages | Unit::Events | Unit::EventsPerSecond | Unit::Times => {
                (Some(0), None)
            }
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Unit::Share | Unit::Budget => "share",
            Unit::Field(_) => "value",
            Unit::Seconds => "time",
            Unit::Messages | Unit::Events => "number",
            Unit::EventsPerSecond => "rate",
            Unit::Times => "burn rate",
        }
    }
}

/// A lag written in messages; else it is a duration.
pub fn is_in_messages(node: &Node) -> bool {
    scalar(node).is_ok_and(|text| text.ends_with(MESSAGES))
}

/// Billionths times 10^`scale`, in units.
pub fn scaled(billionths: i64, scale: u8) -> Scaled {
    let billionths = i128::from(billionths);
    match scale.checked_sub(BILLIONTHS) {
        Some(more) => Scaled { floor: billionths * 10i128.pow(more.into()), exact: true },
        None => {
            let divisor = 10i128.pow((BILLIONTHS - scale).into());
            Scaled { floor: billionths.div_euclid(divisor), exact: billionths % divisor == 0 }
        }
    }
}

/// `units` x 10^-`scale` in billionths, rounded towards zero.
fn unscaled(units: i64, scale: u8) -> i128 {
    match BILLIONTHS.checked_sub(scale) {
        Some(more) => i128::from(units) * 10i128.pow(more.into()),
        None => i128::from(units) / 10i128.pow((scale - BILLIONTHS).into()),
    }
}

fn messages(text: &str) -> Result<i64, Problem> {
    let help =
        "a LAG is watched in seconds, `30s`, or in messages, `50000 messages`: in one of them by one rule";
    let number = text.strip_suffix(MESSAGES).and_then(|digits| digits.parse::<u64>().ok());
    match number.filter(|number| *number <= MAX_COUNT) {
        Some(number) => Ok(number as i64 * BILLION as i64),
        None => Err(Problem::new(format!("`{text}` is not a number of messages"), help)),
    }
}

fn of_field(text: &str, field: &Field) -> Result<i64, Problem> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let (digits, written) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let Field { name, unit, .. } = field;
    let number = Decimal::parse(digits).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is not a number"),
            format!("write it in the unit of `{name}`, as in `200{unit}`"),
        )
    })?;
    if written == unit {
        return narrow(text, number);
    }
    let message = match (written, unit.as_str()) {
        (_, "") => format!("`{name}` has no unit"),
        ("", unit) => format!("`{text}` has no unit, and `{name}` is in {unit}"),
        (written, unit) => format!("`{written}` is no unit of `{name}`, which is in {unit}"),
    };
    let misfit = || Problem::new(message, format!("write it like `200{unit}`"));
    let of = |family: &[(&str, i128)], word: &str| {
        family.iter().find(|(name, _)| *name == word).map(|(_, factor)| *factor)
    };
    let pair = FAMILIES.iter().find_map(|family| Some((of(family, written)?, of(family, unit)?)));
    let (from, to) = pair.ok_or_else(misfit)?;
    let billionths = number.scaled(BILLIONTHS).filter(|scaled| scaled.exact);
    let product = billionths.and_then(|scaled| scaled.floor.checked_mul(from));
    match product.map(|product| (product / to, product % to)) {
        Some((billionths, 0)) => i64::try_from(billionths).map_err(|_| out_of_range(text)),
        _ => Err(out_of_range(text)),
    }
}

fn narrow(text: &str, number: Decimal) -> Result<i64, Problem> {
    let scaled = number.scaled(BILLIONTHS).filter(|scaled| scaled.exact);
    scaled.and_then(|scaled| i64::try_from(scaled.floor).ok()).ok_or_else(|| out_of_range(text))
}

fn out_of_range(text: &str) -> Problem {
    let help = "at most 9 digits behind the point, and less than 9 x 10^9";
    Problem::new(format!("`{text}` is out of range"), help)
}

fn not_negative(text: &str, billionths: i64) -> Result<i64, Problem> {
    match billionths {
        0.. => Ok(billionths),
        _ => Err(Problem::new(format!("`{text}` is out of range"), "write 0 or more")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Place;
    use super::super::yaml::Value;
    use super::*;
    use crate::core::source::Bounds;

    fn node(text: &str) -> Node {
        Node { place: Place::whole_file("test"), value: Value::Scalar { text: text.into(), plain: true } }
    }

    fn field(unit: &str, scale: u8) -> Field {
        let kind = FieldKind::Decimal { scale, bounds: Bounds { min: -5, max: 1_000_000_000 } };
        Field { name: "x".into(), path: Vec::new(), kind, optional: false, unit: unit.into() }
    }

    #[test]
    fn numbers_are_turned_into_the_unit_of_the_field() {
        let read = |text: &str, unit: &str| Unit::Field(&field(unit, 3)).billionths(&node(text)).ok();
        assert_eq!(read("200ms", "ms"), Some(200_000_000_000));
        assert_eq!(read("2s", "ms"), Some(2_000_000_000_000));
        assert_eq!(read("1.5m", "s"), Some(90_000_000_000));
        assert_eq!(read("1us", "ms"), Some(1_000_000));
        assert_eq!(read("1.5KB", "B"), Some(1_536_000_000_000));
        assert_eq!(read("-0.5", ""), Some(-500_000_000));
        assert_eq!(read("3USD/t", "USD/t"), Some(3_000_000_000));
        for (wrong, unit) in [
            ("200", "ms"),
            ("200B", "ms"),
            ("200ms", ""),
            ("5 ms", "ms"),
            ("ms", "ms"),
            ("1ns", "d"),
            ("9999999999s", "s"),
            ("5KB", "kB"),
        ] {
            assert_eq!(read(wrong, unit), None, "{wrong} of {unit}");
        }
    }

    #[test]
    fn a_threshold_at_the_end_of_the_range_is_never_crossed() {
        let field = field("", 9);
        let read = |text: &str, side| Unit::Field(&field).threshold(&node(text), side).is_ok();
        assert!(read("0.999999999", Side::Above) && !read("1", Side::Above));
        assert!(read("-0.000000004", Side::Below) && !read("-0.000000005", Side::Below));
        let rate = |text: &str, side| Unit::EventsPerSecond.threshold(&node(text), side).is_ok();
        assert!(rate("0/s", Side::Above) && !rate("0/s", Side::Below) && rate("0.5/s", Side::Below));
    }

    #[test]
    fn billionths_are_rounded_down_to_the_scale() {
        assert_eq!(scaled(1_500_000_000, 0), Scaled { floor: 1, exact: false });
        assert_eq!(scaled(-1_500_000_000, 0), Scaled { floor: -2, exact: false });
        assert_eq!(scaled(1_500_000_000, 3), Scaled { floor: 1_500, exact: true });
        assert_eq!(scaled(1, 12), Scaled { floor: 1_000, exact: true });
    }
}
