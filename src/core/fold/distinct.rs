//! Texts on their way into a set that counts them: few as their hashes in no order, many in registers.

use std::collections::HashSet;

use foldhash::quality::RandomState;

use crate::core::sketch::hll::{EXPLICIT_MAX, Hll, hash};

pub(super) enum Distinct {
    Few(HashSet<i64, RandomState>),
    Many(Hll),
}

impl Default for Distinct {
    fn default() -> Distinct {
        Distinct::Few(HashSet::default())
    }
}

impl Distinct {
    pub fn add(&mut self, text: &str) {
        let hash = hash(text);
        match self {
            Distinct::Few(hashes) => {
                hashes.insert(hash);
                if hashes.len() > EXPLICIT_MAX {
                    *self = Distinct::Many(std::mem::take(self).settle());
                }
            }
            Distinct::Many(hll) => hll.add_hash(hash),
        }
    }

    pub fn settle(self) -> Hll {
        match self {
            Distinct::Few(hashes) => hashes.into_iter().collect::<Vec<i64>>().into(),
            Distinct::Many(hll) => hll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_the_set_of_their_hashes() {
        for size in [0, 1, EXPLICIT_MAX, EXPLICIT_MAX + 1, 4 * EXPLICIT_MAX] {
            let (mut distinct, mut hll) = (Distinct::default(), Hll::default());
            for text in (0..size).chain(0..size / 2).map(|number| format!("user-{number}")) {
                distinct.add(&text);
                hll.add_hash(hash(&text));
            }
            assert_eq!(distinct.settle(), hll, "of {size}");
        }
    }
}
