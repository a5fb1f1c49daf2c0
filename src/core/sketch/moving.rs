//! A histogram from which can be taken off what was added.

use super::counts::Counts;
use super::histogram::Histogram;

/// Counts of so many indices stand together.
const BLOCK: usize = 1 << 10;

/// Counts by index in blocks, of which only those that hold something exist: adding and taking off cost as much as
/// what is added, however many values there are.
#[derive(Clone, Debug, Default)]
pub struct Moving {
    blocks: Vec<Option<Box<Block>>>,
    sum: i128,
}

#[derive(Clone, Debug)]
struct Block {
    counts: [u64; BLOCK],
    total: u64,
}

impl Moving {
    pub fn add(&mut self, values: &Histogram) {
        self.sum += values.sum();
        values.counts().each(|index, count| {
            let block = self.block(index);
            block.counts[usize::from(index) % BLOCK] += count;
            block.total += count;
        });
    }

    /// Takes off what was added before.
    pub fn take_off(&mut self, values: &Histogram) {
        self.sum -= values.sum();
        values.counts().each(|index, count| {
            let block = self.block(index);
            block.counts[usize::from(index) % BLOCK] -= count;
            block.total -= count;
        });
        for block in &mut self.blocks {
            block.take_if(|block| block.total == 0);
        }
    }

    /// What is left; `extremes` are its minimum and maximum, which the counts no longer know.
    pub fn histogram(&self, extremes: Option<(i64, i64)>) -> Histogram {
        let mut counts = Counts::default();
        for (at, block) in (0u16..).zip(&self.blocks) {
            let Some(block) = block else { continue };
            // There are 33 blocks of indices, which fit.
            let first = at * BLOCK as u16;
            (first..).zip(&block.counts).for_each(|(index, count)| counts.add(index, *count));
        }
        Histogram::of_counts(counts, extremes.unwrap_or_default(), self.sum)
    }

    fn block(&mut self, index: u16) -> &mut Block {
        let at = usize::from(index) / BLOCK;
        if self.blocks.len() <= at {
            self.blocks.resize(at + 1, None);
        }
        self.blocks[at].get_or_insert_with(|| Box::new(Block { counts: [0; BLOCK], total: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[i64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.record(value));
        histogram
    }

    proptest! {
        #[test]
        fn what_was_added_can_be_taken_off(
            a in prop::collection::vec(0i64..1 << 42, 0..100),
            b in prop::collection::vec(0i64..5_000, 0..100),
        ) {
            let mut moving = Moving::default();
            moving.add(&of(&b));
            moving.add(&of(&a));
            moving.take_off(&of(&b));
            let (min, max) = (a.iter().min(), a.iter().max());
            prop_assert_eq!(moving.histogram(min.copied().zip(max.copied())), of(&a));
        }
    }
}
