//! Tests of fields: each is made once an event, however many rules and columns ask for it.

use super::gathered::Seen;
use crate::core::expr::{Atom, Condition};
use crate::core::plan::ATOMS_MAX;
use crate::core::tally::CellSet;

/// The distinct atoms of a source, and what the events at hand make of them: one bit for each, the first the lowest.
#[derive(Default)]
pub(super) struct Atoms {
    all: Vec<Atom>,
    truths: Vec<u64>,
}

/// So many events are looked at at once, at most.
pub(super) const AT_ONCE: usize = u64::BITS as usize;

/// Some atoms of a source, by their places there.
pub(super) struct Selection(Vec<usize>);

/// A condition over a source's atoms.
pub(super) enum Test {
    /// As the cells it holds in.
    Cells(Selection, CellSet),
    /// Of more atoms than a cell has.
    Long(Selection, Condition),
}

impl Atoms {
    pub fn select<'a>(&mut self, atoms: impl IntoIterator<Item = &'a Atom>) -> Selection {
        let place = |atom: &Atom| {
            self.all.iter().position(|known| known == atom).unwrap_or_else(|| {
                self.all.push(atom.clone());
                self.truths.push(0);
                self.all.len() - 1
            })
        };
        Selection(atoms.into_iter().map(place).collect())
    }

    pub fn test(&mut self, condition: &Condition) -> Test {
        let mut atoms: Vec<&Atom> = Vec::new();
        condition.each_atom(&mut |atom| {
            if !atoms.contains(&atom) {
                atoms.push(atom);
            }
        });
        let selection = self.select(atoms.iter().copied());
        if atoms.len() > ATOMS_MAX {
            return Test::Long(selection, condition.clone());
        }
        let place = |atom: &Atom| atoms.iter().position(|known| *known == atom);
        let holds = |cell: usize| condition.holds_in(cell, place);
        Test::Cells(selection, CellSet::of(atoms.len(), holds))
    }

    /// Looks at [`AT_ONCE`] events or fewer.
    pub fn look(&mut self, seen: &[Seen]) {
        for (truths, atom) in self.truths.iter_mut().zip(&self.all) {
            let bit = |(nth, seen): (usize, &Seen)| u64::from(atom.holds(&seen.event, seen.age_us)) << nth;
            *truths = seen.iter().enumerate().map(bit).fold(0, |all, bit| all | bit);
        }
    }

    /// The cell of the nth event last looked at: bit i is the truth of the selection's atom i.
    pub fn cell(&self, selection: &Selection, nth: usize) -> u16 {
        let bit = |(i, &at): (usize, &usize)| ((self.truths[at] >> nth & 1) as u16) << i;
        selection.0.iter().enumerate().map(bit).fold(0, |cell, bit| cell | bit)
    }

    pub fn holds(&self, test: &Test, nth: usize) -> bool {
        let is_true = |at: usize| self.truths[at] >> nth & 1 == 1;
        match test {
            Test::Cells(selection, cells) => cells.has(self.cell(selection, nth)),
            Test::Long(selection, condition) => {
                condition.evaluate(&|atom| selection.0.iter().any(|&at| is_true(at) && self.all[at] == *atom))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Event;
    use crate::core::expr::Comparison;

    fn above(constant: i64) -> Condition {
        Condition::Atom(Atom::Number { slot: 0, op: Comparison::Greater, constant })
    }

    #[test]
    fn a_test_says_what_its_condition_says() {
        let not = |condition| Condition::Not(Box::new(condition));
        let many = |range: std::ops::Range<i64>| {
            Condition::Or(range.map(|n| Condition::And(vec![above(n), not(above(n + 1))])).collect())
        };
        let conditions =
            [Condition::True, Condition::never(), above(3), not(above(5)), many(2..9), many(0..40)];
        let mut atoms = Atoms::default();
        let tests = conditions.each_ref().map(|condition| atoms.test(condition));
        assert!(matches!(tests[5], Test::Long(..)));
        assert_eq!(atoms.all.len(), 41, "each once");
        let seen = |number: i64| {
            let mut event = Event::default();
            event.clear(1);
            event.set_number(0, number);
            Seen { event, ..Seen::default() }
        };
        let seen: Vec<Seen> = (-1..AT_ONCE as i64 - 1).map(seen).collect();
        atoms.look(&seen);
        for (test, condition) in tests.iter().zip(&conditions) {
            for (nth, seen) in seen.iter().enumerate() {
                assert_eq!(atoms.holds(test, nth), condition.holds(&seen.event, 0), "{condition:?} of {nth}");
            }
        }
    }
}
