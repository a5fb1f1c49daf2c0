//! A histogram from which can be taken off what was added.

use super::counts::Stretch;
use super::histogram::highest_of;
use crate::core::source::Quantile;

/// With more indices they stand in blocks.
const FEW: usize = 512;
/// Counts of so many indices stand together.
const BLOCK: usize = 1 << 6;

/// Counts by index: adding and taking off cost as much as what is added, however many values there are.
#[derive(Debug)]
pub struct Moving(Form);

#[derive(Debug)]
enum Form {
    /// (index, count), ascending by index, no zero counts.
    Few(Vec<(u16, u64)>),
    /// Only those that hold something exist. Spans go block by block.
    Many(Blocks),
}

#[derive(Debug, Default)]
struct Blocks(Vec<Option<Box<Block>>>);

#[derive(Debug)]
struct Block {
    counts: [u64; BLOCK],
    total: u64,
}

impl Default for Moving {
    fn default() -> Moving {
        Moving(Form::Few(Vec::new()))
    }
}

impl Moving {
    pub fn add(&mut self, values: Stretch<'_>) {
        if let Form::Few(counts) = &mut self.0 {
            if !values.is_span() {
                values.each(|index, count| add(counts, index, count));
                if counts.len() <= FEW {
                    return;
                }
            }
            let mut blocks = Blocks::default();
            counts.iter().for_each(|&(index, count)| blocks.count(index, count, |sum, count| *sum += count));
            self.0 = Form::Many(blocks);
            if !values.is_span() {
                return;
            }
        }
        if let Form::Many(blocks) = &mut self.0 {
            blocks.each_count(values, |sum, count| *sum += count);
        }
    }

    /// Takes off what was added before.
    pub fn take_off(&mut self, values: Stretch<'_>) {
        match &mut self.0 {
            Form::Few(counts) => values.each(|index, count| take_off(counts, index, count)),
            Form::Many(blocks) => {
                blocks.each_count(values, |sum, count| *sum -= count);
                blocks.0.iter_mut().for_each(|block| drop(block.take_if(|block| block.total == 0)));
            }
        }
    }

    /// The value at rank ceil(q x n): its bucket's highest value, but never above the exact maximum. That the counts no
    /// longer know, and it is asked for only where it matters.
    pub fn quantile(&self, quantile: Quantile, max: impl FnOnce() -> Option<i64>) -> Option<i64> {
        let total = match &self.0 {
            Form::Few(counts) => counts.iter().map(|(_, count)| count).sum(),
            Form::Many(blocks) => blocks.each().map(|(_, block)| block.total).sum(),
        };
        let rank = quantile.rank(total);
        let (index, seen) = match &self.0 {
            Form::Few(counts) => find(counts.iter().copied(), 0, rank)?,
            Form::Many(blocks) => blocks.find(rank)?,
        };
        let value = highest_of(index);
        Some(if seen == total { max().map_or(value, |max| value.min(max)) } else { value })
    }
}

fn add(counts: &mut Vec<(u16, u64)>, index: u16, count: u64) {
    match counts.binary_search_by_key(&index, |&(known, _)| known) {
        Ok(at) => counts[at].1 += count,
        Err(at) => {
            // There is one for each group and window, and it stays about as large as it is.
            if counts.len() == counts.capacity() {
                counts.reserve_exact(1 + counts.len() / 8);
            }
            counts.insert(at, (index, count));
        }
    }
}

fn take_off(counts: &mut Vec<(u16, u64)>, index: u16, count: u64) {
    if let Ok(at) = counts.binary_search_by_key(&index, |&(known, _)| known) {
        counts[at].1 -= count;
        if counts[at].1 == 0 {
            counts.remove(at);
        }
    }
}

/// The index of the count with this rank, and the counts up to there; `seen` come before.
fn find(counts: impl Iterator<Item = (u16, u64)>, mut seen: u64, rank: u64) -> Option<(u16, u64)> {
    for (index, count) in counts {
        seen += count;
        if count > 0 && seen >= rank {
            return Some((index, seen));
        }
    }
    None
}

impl Blocks {
    /// Hands out each sum with the count of `values` there, zeros too where that takes no longer.
    fn each_count(&mut self, values: Stretch<'_>, each: impl Fn(&mut u64, u64) + Copy) {
        match values {
            Stretch::Pairs(pairs) => {
                pairs.iter().for_each(|&(index, count)| self.count(index, count.into(), each));
            }
            Stretch::Packed(packed) => {
                packed.iter().for_each(|(index, count)| self.count(index, count, each));
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

    fn find(&self, rank: u64) -> Option<(u16, u64)> {
        let mut seen = 0;
        for (at, block) in self.each() {
            if seen + block.total >= rank {
                // They were put there as `u16`.
                let index = |place: usize| (at * BLOCK + place) as u16;
                let counts = block.counts.iter().enumerate().map(|(place, &count)| (index(place), count));
                return find(counts, seen, rank);
            }
            seen += block.total;
        }
        None
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

    fn each(&self) -> impl Iterator<Item = (usize, &Block)> {
        self.0.iter().enumerate().filter_map(|(at, block)| Some((at, &**block.as_ref()?)))
    }

    fn block(&mut self, index: usize) -> &mut Block {
        let at = index / BLOCK;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at].get_or_insert_with(|| Box::new(Block { counts: [0; BLOCK], total: 0 }))
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
            a in prop::collection::vec(0i64..1 << 42, 0..800),
            b in prop_oneof![
                prop::collection::vec(0i64..5_000, 0..1_500),
                prop::collection::vec(0i64..50_000_000, 0..300),
            ],
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
