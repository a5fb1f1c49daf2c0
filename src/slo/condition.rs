//! Conditions back in the `where` language, as the parser reads them.

use crate::core::expr::{Atom, Comparison, Condition};
use crate::core::source::{Slot, Source};
use crate::decode::number::written;

/// How tightly the text around a part binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Around {
    Nothing,
    Or,
    And,
}

/// `condition` over the fields of `source`.
pub fn text(source: &Source, condition: &Condition) -> String {
    part(source, condition, Around::Nothing)
}

fn part(source: &Source, condition: &Condition, around: Around) -> String {
    match condition {
        Condition::True => "true".into(),
        Condition::Atom(one) => atom(source, one),
        Condition::Not(inner) => match inner.as_ref() {
            Condition::True => "false".into(),
            Condition::Atom(one @ (Atom::IsTrue(_) | Atom::Has(_))) => format!("!{}", atom(source, one)),
            inner => format!("!({})", part(source, inner, Around::Nothing)),
        },
        Condition::And(parts) => match differs(source, parts) {
            Some(text) => text,
            None => joined(source, parts, " && ", Around::And, around),
        },
        Condition::Or(parts) => joined(source, parts, " || ", Around::Or, around),
    }
}

fn joined(source: &Source, parts: &[Condition], word: &str, own: Around, around: Around) -> String {
    let parts: Vec<String> = parts.iter().map(|inner| part(source, inner, own)).collect();
    let text = parts.join(word);
    if around >= own { format!("({text})") } else { text }
}

/// `has(x) && !(x == c)` is what `x != c` became.
fn differs(source: &Source, parts: &[Condition]) -> Option<String> {
    let [Condition::Atom(Atom::Has(slot)), Condition::Not(inner)] = parts else { return None };
    let Condition::Atom(inner) = inner.as_ref() else { return None };
    let name = &source.fields.get(*slot)?.name;
    match inner {
        Atom::IsTrue(of) if of == slot => Some(format!("{name} == false")),
        Atom::Number { slot: of, op: Comparison::Equal, constant } if of == slot => {
            Some(format!("{name} != {}", number(source, *slot, *constant)))
        }
        Atom::TextIn { slot: of, constants } if of == slot && constants.len() == 1 => {
            Some(format!("{name} != {:?}", constants[0]))
        }
        _ => None,
    }
}

fn atom(source: &Source, atom: &Atom) -> String {
    let name = |slot: &Slot| source.fields.get(*slot).map_or("?", |field| field.name.as_str());
    match atom {
        Atom::Has(slot) => format!("has({})", name(slot)),
        Atom::IsTrue(slot) => name(slot).into(),
        Atom::Number { slot, op, constant } => {
            format!("{} {} {}", name(slot), sign(*op), number(source, *slot, *constant))
        }
        Atom::NumberIn { slot, constants } => {
            let constants: Vec<String> = constants.iter().map(|c| number(source, *slot, *c)).collect();
            format!("{} in [{}]", name(slot), constants.join(", "))
        }
        Atom::TextIn { slot, constants } => match constants.as_slice() {
            [one] => format!("{} == {one:?}", name(slot)),
            many => format!("{} in {many:?}", name(slot)),
        },
        Atom::TextPrefix { slot, prefix } => format!("{}.startsWith({prefix:?})", name(slot)),
        Atom::Age { op, constant } => format!("age {} {}s", sign(*op), written(*constant, 6)),
    }
}

fn number(source: &Source, slot: Slot, constant: i64) -> String {
    written(constant, source.fields.get(slot).map_or(0, |field| field.scale()))
}

pub fn sign(op: Comparison) -> &'static str {
    match op {
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Equal => "==",
        Comparison::GreaterOrEqual => ">=",
        Comparison::Greater => ">",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{condition, embedded_files, parse_rules};

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let rules = parse_rules(&embedded_files().rules).unwrap();
        let source = rules.source("request-log").unwrap();
        for written in [
            "true",
            "false",
            "status >= 500 || status in [0, 408, 499]",
            "service == \"auth\" && (status < 200 || status >= 500) && !has(region)",
            "service == \"a\" && status == 1 || duration > 99.5",
            "service != \"auth\" || bytes != 3",
            "!(service != \"auth\" && has(user_id))",
            "route.startsWith(\"/api/\\\"x\\\"\") && !(duration <= 0.001)",
            "region in [\"de\", \"fr\"]",
        ] {
            let lowered = condition(written, &source.fields).unwrap();
            assert_eq!(text(source, &lowered), written);
        }
    }
}
