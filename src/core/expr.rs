//! Conditions over an event's slots: the lowered form of the `where` language.

use serde::{Deserialize, Serialize};

use super::event::{Event, Value};
use super::source::Slot;

/// A boolean over one event. An absent field makes every comparison false, `!` of it true.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Condition {
    True,
    Atom(Atom),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

/// A test of one field; what cells are made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Atom {
    Has(Slot),
    /// A bare boolean field.
    IsTrue(Slot),
    /// Constants are scaled like the field.
    Number {
        slot: Slot,
        op: Comparison,
        constant: i64,
    },
    /// Sorted, no duplicates.
    NumberIn {
        slot: Slot,
        constants: Vec<i64>,
    },
    /// Sorted, no duplicates; `x == 'a'` has one.
    TextIn {
        slot: Slot,
        constants: Vec<String>,
    },
    TextPrefix {
        slot: Slot,
        prefix: String,
    },
    /// Of the time between the event and its Kafka timestamp, in microseconds. Not part of the `where` language:
    /// FRESHNESS is lowered to it.
    Age {
        op: Comparison,
        constant: i64,
    },
}

/// `!=` is not here: `x != 1` is `has(x) && !(x == 1)`, false when `x` is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Comparison {
    pub fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Equal => left == right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Greater => left > right,
        }
    }
}

impl Atom {
    #[inline]
    pub fn holds(&self, event: &Event, age_us: i64) -> bool {
        match self {
            Atom::Age { op, constant } => op.holds(&age_us, constant),
            Atom::Has(slot) => !matches!(event.value(*slot), Value::Absent),
            Atom::IsTrue(slot) => matches!(event.value(*slot), Value::Number(1)),
            Atom::Number { slot, op, constant } => {
                matches!(event.value(*slot), Value::Number(n) if op.holds(&n, constant))
            }
            Atom::NumberIn { slot, constants } => {
                matches!(event.value(*slot), Value::Number(n) if constants.binary_search(&n).is_ok())
            }
            Atom::TextIn { slot, constants } => {
                matches!(event.value(*slot), Value::Text(t) if constants.iter().any(|c| c == t))
            }
            Atom::TextPrefix { slot, prefix } => {
                matches!(event.value(*slot), Value::Text(t) if t.starts_with(prefix.as_str()))
            }
        }
    }
}

impl Condition {
    /// Holds for no event.
    pub fn never() -> Condition {
        Condition::Not(Box::new(Condition::True))
    }

    #[cfg(test)]
    pub fn holds(&self, event: &Event, age_us: i64) -> bool {
        self.evaluate(&|atom| atom.holds(event, age_us))
    }

    /// The same boolean from known truth values of its atoms.
    pub fn evaluate(&self, truth: &impl Fn(&Atom) -> bool) -> bool {
        match self {
            Condition::True => true,
            Condition::Atom(atom) => truth(atom),
            Condition::Not(inner) => !inner.evaluate(truth),
            Condition::And(all) => all.iter().all(|c| c.evaluate(truth)),
            Condition::Or(any) => any.iter().any(|c| c.evaluate(truth)),
        }
    }

    /// The same in a cell, whose bit i is the truth of the atom that `place` puts at i; one that has no place is false.
    pub fn holds_in(&self, cell: usize, place: impl Fn(&Atom) -> Option<usize>) -> bool {
        self.evaluate(&|atom| place(atom).is_some_and(|i| cell >> i & 1 == 1))
    }

    /// Visits every atom, left to right.
    pub fn each_atom<'a>(&'a self, visit: &mut impl FnMut(&'a Atom)) {
        match self {
            Condition::True => {}
            Condition::Atom(atom) => visit(atom),
            Condition::Not(inner) => inner.each_atom(visit),
            Condition::And(parts) | Condition::Or(parts) => parts.iter().for_each(|c| c.each_atom(visit)),
        }
    }
}
