//! A histogram from which can be taken off what was added.

use super::counts::Stretch;
use super::histogram::highest_of;
use crate::core::source::Quantile;

/// With more indices they stand in blocks.
const FEW: usize = 512;
/// Sums of so many indices stand together.
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
    sums: Sums,
    total: u64,
}

#[derive(Debug)]
enum Sums {
    /// There is a window for each group, and most of its indices are counted a few times.
    Slim([u8; BLOCK]),
    Wide(Box<[u64; BLOCK]>),
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Add,
    TakeOff,
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
            counts.iter().for_each(|&(index, count)| blocks.count(index, count, Change::Add));
            self.0 = Form::Many(blocks);
            if !values.is_span() {
                return;
            }
        }
        if let Form::Many(blocks) = &mut self.0 {
            blocks.change(values, Change::Add);
        }
    }

    /// Takes off what was added before.
    pub fn take_off(&mut self, values: Stretch<'_>) {
        match &mut self.0 {
            Form::Few(counts) => values.each(|index, count| take_off(counts, index, count)),
            Form::Many(blocks) => {
                blocks.change(values, Change::TakeOff);
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
    fn change(&mut self, values: Stretch<'_>, change: Change) {
        match values {
            Stretch::Pairs(pairs) => {
                pairs.iter().for_each(|&(index, count)| self.count(index, count.into(), change));
            }
            Stretch::Packed(packed) => {
                packed.iter().for_each(|(index, count)| self.count(index, count, change));
            }
            Stretch::Slim(first, counts) => self.change_span(first, counts, change),
            Stretch::Narrow(first, counts) => self.change_span(first, counts, change),
            Stretch::Middle(first, counts) => self.change_span(first, counts, change),
            Stretch::Wide(first, counts) => self.change_span(first, counts, change),
        }
    }

    fn count(&mut self, index: u16, count: u64, change: Change) {
        let index = usize::from(index);
        self.block(index).change(index % BLOCK, &[count], count, change);
    }

    fn find(&self, rank: u64) -> Option<(u16, u64)> {
        let mut seen = 0;
        for (at, block) in self.each() {
            if seen + block.total >= rank {
                // They were put there as `u16`.
                let index = |place: usize| (at * BLOCK + place) as u16;
                let counts = (0..BLOCK).map(|place| (index(place), block.sum(place)));
                return find(counts, seen, rank);
            }
            seen += block.total;
        }
        None
    }

    fn change_span<C: Copy + Into<u64>>(&mut self, first: usize, mut counts: &[C], change: Change) {
        let mut at = first;
        while !counts.is_empty() {
            let (here, after) = counts.split_at(counts.len().min(BLOCK - at % BLOCK));
            let total = here.iter().map(|&count| count.into()).sum::<u64>();
            if total > 0 {
                self.block(at).change(at % BLOCK, here, total, change);
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
        self.0[at].get_or_insert_with(|| Box::new(Block { sums: Sums::Slim([0; BLOCK]), total: 0 }))
    }
}

impl Block {
    /// `counts` stand from `place` on and come to `total`.
    fn change<C: Copy + Into<u64>>(&mut self, place: usize, counts: &[C], total: u64, change: Change) {
        self.total = change.of(self.total, total);
        if let Sums::Slim(sums) = &mut self.sums {
            let changed = sums[place..].iter().zip(counts);
            let changed = changed.map(|(&sum, &count)| change.of(sum.into(), count.into()));
            // Without a branch, so that many are looked at at once.
            if changed.fold(0, |all, sum| all | sum) <= u8::MAX.into() {
                let sums = sums[place..].iter_mut().zip(counts);
                sums.for_each(|(sum, &count)| *sum = change.of((*sum).into(), count.into()) as u8);
                return;
            }
            self.sums = Sums::Wide(Box::new(sums.map(u64::from)));
        }
        if let Sums::Wide(sums) = &mut self.sums {
            let sums = sums[place..].iter_mut().zip(counts);
            sums.for_each(|(sum, &count)| *sum = change.of(*sum, count.into()));
        }
    }

    fn sum(&self, place: usize) -> u64 {
        match &self.sums {
            Sums::Slim(sums) => sums[place].into(),
            Sums::Wide(sums) => sums[place],
        }
    }
}

impl Change {
    fn of(self, sum: u64, count: u64) -> u64 {
        match self {
            Change::Add => sum + count,
            Change::TakeOff => sum - count,
        }
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
            a in prop_oneof![
                prop::collection::vec(0i64..1 << 42, 0..800),
                // More of a value than fit into a byte.
                prop::collection::vec(0i64..8, 0..6_000),
            ],
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
