//! A set of offsets: one bit each, in blocks that are there once something is in them.

use std::collections::BTreeMap;
use std::ops::Range;

const WORDS: usize = 64;
const BLOCK: i64 = 64 * WORDS as i64;

#[derive(Clone, Debug, Default)]
pub struct Offsets(BTreeMap<i64, [u64; WORDS]>);

impl Offsets {
    /// False when it was there already.
    pub fn insert(&mut self, offset: i64) -> bool {
        let (block, word, bit) = place(offset);
        let word = &mut self.0.entry(block).or_insert([0; WORDS])[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub fn contains(&self, offset: i64) -> bool {
        let (block, word, bit) = place(offset);
        self.0.get(&block).is_some_and(|words| words[word] & bit != 0)
    }

    /// How many lie in `range`.
    pub fn count(&self, range: Range<i64>) -> u64 {
        let blocks = self.0.range(range.start.div_euclid(BLOCK)..);
        let blocks = blocks.take_while(|(block, _)| **block * BLOCK < range.end);
        let in_block = |block: i64| (block * BLOCK).max(range.start)..((block + 1) * BLOCK).min(range.end);
        blocks.flat_map(|(block, _)| in_block(*block)).filter(|offset| self.contains(*offset)).count() as u64
    }
}

fn place(offset: i64) -> (i64, usize, u64) {
    let within = offset.rem_euclid(BLOCK) as usize;
    (offset.div_euclid(BLOCK), within / 64, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_there_once() {
        let mut offsets = Offsets::default();
        let all = [0, 63, 64, 4_095, 4_096, 1 << 40];
        assert!(all.iter().all(|offset| offsets.insert(*offset)));
        assert!(!offsets.insert(64) && offsets.contains(64) && !offsets.contains(65));
        assert_eq!((offsets.count(0..4_096), offsets.count(64..4_097), offsets.count(1..1 << 41)), (4, 3, 5));
    }
}
