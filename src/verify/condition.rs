//! Whether an event meets a condition. A comparison with an absent field is false.

use crate::core::expr::{Atom, Comparison, Condition};

use super::event::Value;

pub fn holds(condition: &Condition, event: &[Value<'_>], age_us: i64) -> bool {
    match condition {
        Condition::True => true,
        Condition::Atom(atom) => is_true(atom, event, age_us),
        Condition::Not(inner) => !holds(inner, event, age_us),
        Condition::And(all) => all.iter().all(|part| holds(part, event, age_us)),
        Condition::Or(any) => any.iter().any(|part| holds(part, event, age_us)),
    }
}

fn is_true(atom: &Atom, event: &[Value<'_>], age_us: i64) -> bool {
    match atom {
        Atom::Has(slot) => event[*slot] != Value::Absent,
        Atom::IsTrue(slot) => event[*slot].number() == Some(1),
        Atom::Number { slot, op, constant } => {
            event[*slot].number().is_some_and(|number| compares(number, *op, *constant))
        }
        Atom::NumberIn { slot, constants } => {
            event[*slot].number().is_some_and(|number| constants.contains(&number))
        }
        Atom::TextIn { slot, constants } => {
            matches!(&event[*slot], Value::Text(text) if constants.iter().any(|one| one == text))
        }
        Atom::TextPrefix { slot, prefix } => {
            matches!(&event[*slot], Value::Text(text) if text.starts_with(prefix.as_str()))
        }
        Atom::Age { op, constant } => compares(age_us, *op, *constant),
    }
}

fn compares(left: i64, op: Comparison, right: i64) -> bool {
    match op {
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Equal => left == right,
        Comparison::GreaterOrEqual => left >= right,
        Comparison::Greater => left > right,
    }
}
