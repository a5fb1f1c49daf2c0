//! A histogram from which can be taken off what was added.

use super::counts::Stretch;
use super::histogram::highest_of;
use crate::core::source::Quantile;

/// Counts of so many indices stand together.
const BLOCK: usize = 1 << 8;

/// Counts by index in blocks, of which only those that hold something exist: adding and taking off cost as much as
/// what is added, however many values there are, and spans go block by block.
#[derive(Debug, Default)]
pub struct Moving {
    blocks: Vec<Option<Box<Block>>>,
}

#[derive(Debug)]
struct Block {
    counts: [u64; BLOCK],
    total: u64,
}

impl Moving {
    pub fn add(&mut self, values: Stretch<'_>) {
        self.each_count(values, |sum, count| *sum += count);
    }

    /// Takes off what was added before.
    pub fn take_off(&mut self, values: Stretch<'_>) {
        self.each_count(values, |sum, count| *sum -= count);
        for block in &mut self.blocks {
            block.take_if(|block| block.total == 0);
        }
    }

    /// Hands out each sum with the count of `values` there, zeros too where that takes no longer.
    fn each_count(&mut self, values: Stretch<'_>, each: impl Fn(&mut u64, u64) + Copy) {
        match values {
            Stretch::Pairs(pairs) => {
                pairs.iter().for_each(|&(index, count)| self.count(index, count.into(), each));
            }
            Stretch::Packed(counts) => {
                counts.iter().for_each(|&(index, count)| self.count(index, count.into(), each));
            }
            Stretch::Slim(first, counts) => self.each_in_span(first, counts, each),
            Stretch::Narrow(first, counts) => self.each_in_span(first, counts, each),
            Stretch::Middle(first, counts) => self.each_in_span(first, counts, each),
            Stretch::Wide(first, counts) => self.each_in_span(first, counts, each),
        }
    }

    fn count(&mut self, index: u16, count: u64, each: impl Fn(&mut u64, u64)) {
        let index = usize::from(index);
        let block = self.block(index);
        each(&mut block.counts[index % BLOCK], count);
        each(&mut block.total, count);
    }

    fn each_in_span<C: Copy + Into<u64>>(
        &mut self,
        first: usize,
        mut counts: &[C],
        each: impl Fn(&mut u64, u64) + Copy,
    ) {
        let mut at = first;
        while !counts.is_empty() {
            let (here, after) = counts.split_at(counts.len().min(BLOCK - at % BLOCK));
            let total = here.iter().map(|&count| count.into()).sum::<u64>();
            if total > 0 {
                let block = self.block(at);
                each(&mut block.total, total);
                let sums = &mut block.counts[at % BLOCK..];
                sums.iter_mut().zip(here).for_each(|(sum, &count)| each(sum, count.into()));
            }
            (at, counts) = (at + here.len(), after);
        }
    }

    /// The value at rank ceil(q x n): its bucket's highest value, but never above the exact maximum. That the counts no
    /// longer know, and it is asked for only where it matters.
    pub fn quantile(&self, quantile: Quantile, max: impl FnOnce() -> Option<i64>) -> Option<i64> {
        let total = self.blocks().map(|(_, block)| block.total).sum();
        let rank = quantile.rank(total);
        let mut seen = 0;
        for (at, block) in self.blocks() {
            if seen + block.total < rank {
                seen += block.total;
                continue;
            }
            for (index, count) in block.counts.iter().enumerate() {
                seen += count;
                if *count > 0 && seen >= rank {
                    // It was put there as `u16`.
                    let value = highest_of((at * BLOCK + index) as u16);
                    return Some(if seen == total {
                        max().map_or(value, |max| value.min(max))
                    } else {
                        value
                    });
                }
            }
        }
        None
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, &Block)> {
        self.blocks.iter().enumerate().filter_map(|(at, block)| Some((at, &**block.as_ref()?)))
    }

    fn block(&mut self, index: usize) -> &mut Block {
        let at = index / BLOCK;
        if self.blocks.len() <= at {
            self.blocks.resize_with(at + 1, || None);
        }
        self.blocks[at].get_or_insert_with(|| Box::new(Block { counts: [0; BLOCK], total: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histogram;
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
            b in prop::collection::vec(0i64..5_000, 0..1_500),
        ) {
            let mut moving = Moving::default();
            moving.add(of(&b).recorded().counts);
            moving.add(of(&a).recorded().counts);
            moving.take_off(of(&b).recorded().counts);
            for millionths in [1, 50_000, 500_000, 950_000, 999_999] {
                let quantile = Quantile { millionths };
                prop_assert_eq!(moving.quantile(quantile, || a.iter().max().copied()), of(&a).quantile(quantile));
            }
        }
    }
}
