//! The rules compiled: which projections an event is folded into, and what each rule reads from them.

use sha2::{Digest, Sha256};
use std::sync::Arc;

use super::alert::{AlertRule, RuleKind};
use super::event::Event;
use super::expr::{Atom, Condition};
use super::rules::Rules;
use super::source::{Aggregate, Column, Rollup, Slot, Source};

/// Most atoms of one projection: a cell is a bit set of this many.
pub const ATOMS_MAX: usize = 16;

/// One version of the rules, ready for use.
#[derive(Debug)]
pub struct Plan {
    /// Offset of the rules in `plimsoll-rules`.
    pub version: i64,
    pub rules: Arc<Rules>,
    /// Deltas name projections by their index here.
    pub projections: Vec<Projection>,
    /// Compiled `rules.alerts`, index for index.
    pub watched: Vec<Watched>,
}

/// A source with one set of group-by fields.
#[derive(Debug)]
pub struct Projection {
    /// Index into `Rules::sources`.
    pub source: usize,
    pub by: Vec<Slot>,
    pub limit: u32,
    /// Names the projection across versions; seeds the way its keys spread over the shards.
    pub id: u64,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    /// A row for each hour: index into the source's rollups, and the hash of what its columns compute.
    Hourly { rollup: usize, signature: u64 },
    /// Counts of events by cell and second.
    Cells(Vec<NamedAtom>),
}

/// A field test and the hash of its canonical text, by which counts outlive a change of rules.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedAtom {
    pub name: u64,
    pub atom: Atom,
}

/// A rule and where its counts are.
#[derive(Debug)]
pub struct Watched {
    /// Index into `Plan::projections`.
    pub projection: usize,
    /// For each cell, whether its events count at all, and whether they are bad.
    pub total: Vec<bool>,
    pub bad: Vec<bool>,
    /// 16 hex digits over all that the rule says.
    pub spec_hash: String,
}

impl Plan {
    /// `rules` are valid: slots exist and sources are known. Only the number of atoms is still to be found out.
    pub fn compile(version: i64, rules: Arc<Rules>) -> Result<Plan, PlanError> {
        let mut projections = Vec::new();
        for (at, source) in rules.sources.iter().enumerate() {
            for (rollup_at, rollup) in source.rollups.iter().enumerate() {
                projections.push(Projection {
                    source: at,
                    by: rollup.by.clone(),
                    limit: rollup.limit,
                    id: hash(&["hourly", &rollup.table]),
                    body: Body::Hourly { rollup: rollup_at, signature: signature(source, rollup) },
                });
            }
        }
        let mut homes = Vec::new();
        for rule in &rules.alerts {
            homes.push(home(&rules, rule, &mut projections)?);
        }
        let watched = rules.alerts.iter().zip(homes).map(|(rule, at)| watch(rule, at, &projections[at]));
        let watched = watched.collect();
        Ok(Plan { version, rules, projections, watched })
    }

    pub fn source_of(&self, projection: &Projection) -> &Source {
        &self.rules.sources[projection.source]
    }

    pub fn rollup_of(&self, projection: &Projection) -> Option<&Rollup> {
        match projection.body {
            Body::Hourly { rollup, .. } => Some(&self.source_of(projection).rollups[rollup]),
            Body::Cells(_) => None,
        }
    }

    /// The hourly table of the projection `id`.
    pub fn table(&self, id: u64) -> Option<TableOf<'_>> {
        let projection = self.projections.iter().find(|projection| projection.id == id)?;
        let Body::Hourly { signature, .. } = projection.body else { return None };
        Some(TableOf { source: self.source_of(projection), rollup: self.rollup_of(projection)?, signature })
    }

    /// Rules judged from the counts of this projection, with their index in `rules.alerts`.
    pub fn rules_of(&self, projection: usize) -> impl Iterator<Item = (usize, &Watched)> {
        self.watched.iter().enumerate().filter(move |(_, watched)| watched.projection == projection)
    }
}

/// An hourly table as one version of the rules has it.
#[derive(Clone, Copy, Debug)]
pub struct TableOf<'a> {
    pub source: &'a Source,
    pub rollup: &'a Rollup,
    pub signature: u64,
}

impl TableOf<'_> {
    /// For each column of `to` the one here that computes the same; None when no row can go on there.
    pub fn moved_to(&self, to: &TableOf<'_>) -> Option<Vec<Option<usize>>> {
        let same_keys = key_texts(self.source, self.rollup) == key_texts(to.source, to.rollup);
        if self.source.name != to.source.name || !same_keys {
            return None;
        }
        let columns = &self.rollup.columns;
        let known: Vec<String> = columns.iter().map(|column| column_text(self.source, column)).collect();
        let place = |column| known.iter().position(|text| *text == column_text(to.source, column));
        Some(to.rollup.columns.iter().map(place).collect())
    }
}

/// Too many different conditions on one grouping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "rule {document}/{rule}: the rules of source {source_name} with this group_by test more than {ATOMS_MAX} different \
     field conditions; give some of them another group_by or share conditions"
)]
pub struct PlanError {
    pub document: String,
    pub rule: String,
    pub source_name: String,
}

/// The cell of an event: bit i is the truth of atom i.
pub fn cell_of(atoms: &[NamedAtom], event: &Event) -> u16 {
    atoms.iter().enumerate().fold(0, |cell, (i, named)| cell | u16::from(named.atom.holds(event)) << i)
}

/// The same cell under another list of atoms; an atom unknown to `from` is false.
pub fn move_cell(cell: u16, from: &[NamedAtom], to: &[NamedAtom]) -> u16 {
    to.iter().enumerate().fold(0, |moved, (i, atom)| {
        let old = from.iter().position(|known| known.name == atom.name);
        moved | old.map_or(0, |at| cell >> at & 1) << i
    })
}

/// Finds or makes the projection whose cells tell this rule's conditions.
fn home(rules: &Rules, rule: &AlertRule, projections: &mut Vec<Projection>) -> Result<usize, PlanError> {
    let error = || PlanError {
        document: rule.document.clone(),
        rule: rule.name.clone(),
        source_name: rule.source.clone(),
    };
    let source_at = rules.sources.iter().position(|s| s.name == rule.source).ok_or_else(error)?;
    let source = &rules.sources[source_at];
    let by: Vec<&str> = rule.group_by.iter().map(|&slot| source.fields[slot].name.as_str()).collect();
    let id = hash(&["cells", &source.name, &by.join("\u{1f}"), &rule.group_limit.to_string()]);
    let at = projections.iter().position(|p| p.id == id).unwrap_or_else(|| {
        let body = Body::Cells(Vec::new());
        let (by, limit) = (rule.group_by.clone(), rule.group_limit);
        projections.push(Projection { source: source_at, by, limit, id, body });
        projections.len() - 1
    });
    let Body::Cells(atoms) = &mut projections[at].body else { return Err(error()) };
    for condition in conditions(&rule.kind) {
        condition.each_atom(&mut |atom| {
            let name = hash(&["atom", &atom_text(source, atom)]);
            if atoms.iter().all(|known| known.name != name) {
                atoms.push(NamedAtom { name, atom: atom.clone() });
            }
        });
    }
    if atoms.len() > ATOMS_MAX { Err(error()) } else { Ok(at) }
}

fn conditions(kind: &RuleKind) -> [&Condition; 2] {
    match kind {
        RuleKind::Ratio { filter, bad } => [filter, bad],
    }
}

fn watch(rule: &AlertRule, at: usize, projection: &Projection) -> Watched {
    let atoms: &[NamedAtom] = match &projection.body {
        Body::Cells(atoms) => atoms,
        Body::Hourly { .. } => &[],
    };
    let truth_table = |condition: &Condition| -> Vec<bool> {
        let truth = |cell: usize, atom: &Atom| {
            atoms.iter().position(|known| known.atom == *atom).is_some_and(|i| cell >> i & 1 == 1)
        };
        (0..1usize << atoms.len()).map(|cell| condition.evaluate(&|atom| truth(cell, atom))).collect()
    };
    let [filter, bad] = conditions(&rule.kind).map(truth_table);
    let bad = filter.iter().zip(bad).map(|(&counts, bad)| counts && bad).collect();
    let spec_hash = format!("{:016x}", hash(&["rule", &format!("{rule:?}")]));
    Watched { projection: at, total: filter, bad, spec_hash }
}

/// What the columns compute, in words that adding or moving a field does not change.
fn signature(source: &Source, rollup: &Rollup) -> u64 {
    let columns = rollup.columns.iter().map(|column| column_text(source, column));
    let words: Vec<String> = key_texts(source, rollup).into_iter().chain(columns).collect();
    hash(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn key_texts(source: &Source, rollup: &Rollup) -> Vec<String> {
    rollup.by.iter().map(|&slot| field_text(source, slot)).collect()
}

fn field_text(source: &Source, slot: Slot) -> String {
    format!("{}:{}", source.fields[slot].name, source.fields[slot].scale())
}

fn column_text(source: &Source, column: &Column) -> String {
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

fn condition_text(source: &Source, condition: &Condition) -> String {
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
fn atom_text(source: &Source, atom: &Atom) -> String {
    let field = |slot: Slot| field_text(source, slot);
    match atom {
        Atom::Has(slot) => format!("has({})", field(*slot)),
        Atom::IsTrue(slot) => field(*slot),
        Atom::Number { slot, op, constant } => format!("{} {op:?} {constant}", field(*slot)),
        Atom::NumberIn { slot, constants } => format!("{} in {constants:?}", field(*slot)),
        Atom::TextIn { slot, constants } => format!("{} in {constants:?}", field(*slot)),
        Atom::TextPrefix { slot, prefix } => format!("{}.startsWith({prefix:?})", field(*slot)),
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
    use crate::core::expr::Comparison;

    fn named(name: u64) -> NamedAtom {
        let atom = Atom::Number { slot: 0, op: Comparison::Less, constant: name as i64 };
        NamedAtom { name, atom }
    }

    #[test]
    fn cells_move_by_the_names_of_their_atoms() {
        let from = [named(7), named(8), named(9)];
        let to = [named(9), named(5), named(7)];
        assert_eq!(move_cell(0b101, &from, &to), 0b101);
        assert_eq!(move_cell(0b001, &from, &to), 0b100);
        assert_eq!(move_cell(0b010, &from, &to), 0);
    }

    #[test]
    fn words_do_not_run_together() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
