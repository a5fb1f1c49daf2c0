//! What rules say in words that do not change when fields are added or moved, and the hashes by which counts outlive
//! a change of rules.

use sha2::{Digest, Sha256};

use super::expr::{Atom, Condition};
use super::source::{Aggregate, Column, Rollup, Slot, Source};

/// What the columns compute, in words that adding or moving a field does not change.
pub fn signature(source: &Source, rollup: &Rollup) -> u64 {
    let columns = rollup.columns.iter().map(|column| column_text(source, column));
    let words: Vec<String> = key_texts(source, rollup).into_iter().chain(columns).collect();
    hash(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn key_texts(source: &Source, rollup: &Rollup) -> Vec<String> {
    rollup.by.iter().map(|&slot| field_text(source, slot)).collect()
}

pub fn field_text(source: &Source, slot: Slot) -> String {
    format!("{}:{}", source.fields[slot].name, source.fields[slot].scale())
}

pub fn column_text(source: &Source, column: &Column) -> String {
    let field = |slot: Slot| field_text(source, slot);
    let what = match &column.aggregate {
        Aggregate::Count(condition) => format!("count {}", condition_text(source, condition)),
        Aggregate::Sum(slot) => format!("sum {}", field(*slot)),
        Aggregate::SumProduct(a, b) => format!("sum_product {} {}", field(*a), field(*b)),
        Aggregate::Min(slot) => format!("min {}", field(*slot)),
        Aggregate::Max(slot) => format!("max {}", field(*slot)),
        // Other quantiles of the same histogram are read from the same state.
        Aggregate::Histogram { slot, .. } => format!("histogram {}", field(*slot)),
        Aggregate::Freshness { .. } => "freshness".into(),
        Aggregate::Ohlc(slot) => format!("ohlc {}", field(*slot)),
        Aggregate::CountBy { slot, .. } => format!("count_by {}", field(*slot)),
        Aggregate::Distinct(slot) => format!("distinct {}", field(*slot)),
        Aggregate::Peak { every_us, distinct } => {
            format!("peak {every_us} {}", distinct.map(field).unwrap_or_default())
        }
    };
    format!("{} {what}", column.name)
}

pub fn condition_text(source: &Source, condition: &Condition) -> String {
    let join = |parts: &[Condition], word: &str| {
        let texts: Vec<String> = parts.iter().map(|part| condition_text(source, part)).collect();
        format!("({})", texts.join(word))
    };
    match condition {
        Condition::True => "true".into(),
        Condition::Atom(atom) => atom_text(source, atom),
        Condition::Not(inner) => format!("!({})", condition_text(source, inner)),
        Condition::And(parts) => join(parts, " && "),
        Condition::Or(parts) => join(parts, " || "),
    }
}

/// Canonical: constants are scaled integers, fields stand by name and scale.
pub fn atom_text(source: &Source, atom: &Atom) -> String {
    let field = |slot: Slot| field_text(source, slot);
    match atom {
        Atom::Has(slot) => format!("has({})", field(*slot)),
        Atom::IsTrue(slot) => field(*slot),
        Atom::Number { slot, op, constant } => format!("{} {op:?} {constant}", field(*slot)),
        Atom::NumberIn { slot, constants } => format!("{} in {constants:?}", field(*slot)),
        Atom::TextIn { slot, constants } => format!("{} in {constants:?}", field(*slot)),
        Atom::TextPrefix { slot, prefix } => format!("{}.startsWith({prefix:?})", field(*slot)),
        Atom::Age { op, constant } => format!("age {op:?} {constant}"),
    }
}

/// First eight bytes of SHA-256 over the words, each behind its length.
pub fn hash(words: &[&str]) -> u64 {
    let mut sha = Sha256::new();
    for word in words {
        sha.update((word.len() as u64).to_be_bytes());
        sha.update(word.as_bytes());
    }
    let digest: [u8; 32] = sha.finalize().into();
    digest.iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_do_not_run_together() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
