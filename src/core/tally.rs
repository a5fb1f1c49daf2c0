//! Which cells of a projection a rule counts, and which it blames.

use super::alert::{AlertRule, Feed, RuleKind, Side};
use super::expr::{Atom, Condition};
use super::plan::NamedAtom;

/// How a rule reads cells.
#[derive(Debug, Default)]
pub struct Tallies {
    /// For each cell, whether its events count at all, and whether they are bad.
    pub total: CellSet,
    pub bad: CellSet,
    /// For each level of a QUANTILE or FRESHNESS, whether they are beyond its threshold.
    pub over: Vec<CellSet>,
}

impl Tallies {
    pub fn of(rule: &AlertRule, feed: &Feed, atoms: &[NamedAtom]) -> Tallies {
        let place = |atom: &Atom| atoms.iter().position(|known| known.atom == *atom);
        let holds = |condition: &Condition, cell: usize| condition.holds_in(cell, place);
        let counts = |cell| holds(&feed.filter, cell);
        let both =
            |condition: &Condition| CellSet::of(atoms.len(), |cell| counts(cell) && holds(condition, cell));
        let over = rule.levels.iter().filter_map(|level| level.over.as_ref());
        Tallies {
            total: CellSet::of(atoms.len(), counts),
            bad: both(&feed.bad),
            over: over.map(both).collect(),
        }
    }

    /// Cells whose events are what a breach of a level is about.
    pub fn blamed(&self, rule: &AlertRule, level: usize) -> &CellSet {
        let is_above = || rule.levels.get(level).is_some_and(|level| level.side == Side::Above);
        match rule.kind {
            RuleKind::Quantile { .. } | RuleKind::Freshness { .. } => {
                self.over.get(level).unwrap_or(&self.bad)
            }
            RuleKind::Count if is_above() => &self.total,
            RuleKind::Ratio
            | RuleKind::Count
            | RuleKind::Rate
            | RuleKind::Absence
            | RuleKind::Lag { .. }
            | RuleKind::BurnRate
            | RuleKind::Budget
            | RuleKind::Composite(_) => &self.bad,
        }
    }
}

/// Adds to a list of cells that stays sorted; a key rarely has more than a handful.
pub fn add_cell(cells: &mut Vec<(u16, u64)>, cell: u16, count: u64) {
    match cells.binary_search_by_key(&cell, |&(known, _)| known) {
        Ok(at) => cells[at].1 += count,
        Err(at) => cells.insert(at, (cell, count)),
    }
}

/// Some of the cells a projection can have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellSet(Vec<u64>);

impl CellSet {
    pub fn of(atoms: usize, is_in: impl Fn(usize) -> bool) -> CellSet {
        let mut words = vec![0; (1usize << atoms).div_ceil(64)];
        for cell in (0..1usize << atoms).filter(|&cell| is_in(cell)) {
            words[cell / 64] |= 1 << (cell % 64);
        }
        CellSet(words)
    }

    pub fn add(&mut self, other: &CellSet) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    pub fn has(&self, cell: u16) -> bool {
        let cell = usize::from(cell);
        self.0.get(cell / 64).is_some_and(|word| word >> (cell % 64) & 1 == 1)
    }
}
