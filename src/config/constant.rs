//! Comparisons of a field with a number that the field's scale or range may not hold.

use super::decimal::Scaled;
use crate::core::expr::{Atom, Comparison, Condition};
use crate::core::source::Slot;

/// A constant against the numbers a field can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// One of them.
    Exact(i64),
    /// Between this one and the next: the constant has more digits than the scale.
    Above(i64),
    BelowAll,
    AboveAll,
}

impl From<Scaled> for Number {
    fn from(Scaled { floor, exact }: Scaled) -> Number {
        match i64::try_from(floor) {
            Ok(number) if exact => Number::Exact(number),
            Ok(number) => Number::Above(number),
            Err(_) if floor < 0 => Number::BelowAll,
            Err(_) => Number::AboveAll,
        }
    }
}

pub fn truth(value: bool) -> Condition {
    if value { Condition::True } else { Condition::Not(Box::new(Condition::True)) }
}

pub fn compare(slot: Slot, op: Comparison, number: Number) -> Condition {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let atom = |op, constant| Condition::Atom(Atom::Number { slot, op, constant });
    match (number, op) {
        (Number::Exact(constant), op) => atom(op, constant),
        (Number::Above(floor), Less | LessOrEqual) => atom(LessOrEqual, floor),
        (Number::Above(floor), Greater | GreaterOrEqual) => atom(Greater, floor),
        (Number::AboveAll, Less | LessOrEqual) | (Number::BelowAll, Greater | GreaterOrEqual) => {
            Condition::Atom(Atom::Has(slot))
        }
        (Number::AboveAll, Greater | GreaterOrEqual)
        | (Number::BelowAll, Less | LessOrEqual)
        | (Number::Above(_) | Number::AboveAll | Number::BelowAll, Equal) => truth(false),
    }
}

/// `x in [..]`; numbers the field cannot hold equal nothing.
pub fn any_number(slot: Slot, numbers: &[Number]) -> Condition {
    let exact = |number: &Number| match number {
        Number::Exact(constant) => Some(*constant),
        Number::Above(_) | Number::BelowAll | Number::AboveAll => None,
    };
    let mut constants: Vec<i64> = numbers.iter().filter_map(exact).collect();
    constants.sort_unstable();
    constants.dedup();
    match constants.is_empty() {
        true => truth(false),
        false => Condition::Atom(Atom::NumberIn { slot, constants }),
    }
}

/// `x == value` of a boolean field.
pub fn is_boolean(slot: Slot, value: bool) -> Condition {
    let is_true = Condition::Atom(Atom::IsTrue(slot));
    if value { is_true } else { present_and_not(slot, is_true) }
}

/// `x != c`: false when `x` is absent.
pub fn present_and_not(slot: Slot, equal: Condition) -> Condition {
    Condition::And(vec![Condition::Atom(Atom::Has(slot)), Condition::Not(Box::new(equal))])
}
