//! Counts of one group by the second, packed by the minute: a second mostly has few events, and a pane of its own would
//! take many times what they do.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::core::partial::CellsDelta;
use crate::core::sketch::histogram::{Recorded, lowest_of};
use crate::core::time::floor_to;

const MINUTE_S: i64 = 60;
/// What a list gives up for not being copied each time it grows: an eighth.
const SLACK: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seconds(BTreeMap<i64, Arc<Minute>>);

/// Lists of (what, count) of the seconds that have events, one behind the other: of each second first its cells, then
/// the values of each measured field by their index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Minute {
    /// Which seconds, ascending.
    seconds: Vec<u8>,
    /// Measured fields.
    measured: usize,
    /// Of each second and list its end in `counts`.
    ends: Vec<u32>,
    /// Of each second and field, how far its largest value lies above the lowest that has the same index.
    beyond: Vec<u32>,
    /// Ascending within a list. A count that does not fit stands as several.
    counts: Vec<(u16, u16)>,
}

/// One second with events.
#[derive(Clone, Copy)]
pub struct Second<'a> {
    minute: &'a Minute,
    at: usize,
}

impl Seconds {
    pub fn add(&mut self, second: i64, delta: &CellsDelta) {
        let start = floor_to(second, MINUTE_S);
        if !self.0.contains_key(&start) {
            self.shrink_before(start);
        }
        let minute = Arc::make_mut(self.0.entry(start).or_default());
        minute.measure(delta.values.len());
        // Below 60.
        let at = minute.place((second - start) as u8);
        minute.merge(at, 0, delta.cells.iter().copied());
        for (measured, values) in delta.values.iter().enumerate() {
            minute.record(at, measured, values.recorded());
        }
    }

    /// A minute that is over grows seldom.
    fn shrink_before(&mut self, start: i64) {
        if let Some((_, minute)) = self.0.range_mut(..start).next_back()
            && let Some(minute) = Arc::get_mut(minute)
        {
            minute.seconds.shrink_to_fit();
            minute.ends.shrink_to_fit();
            minute.beyond.shrink_to_fit();
            minute.counts.shrink_to_fit();
        }
    }

    /// Those of `range`, ascending.
    pub fn range(&self, range: Range<i64>) -> impl DoubleEndedIterator<Item = (i64, Second<'_>)> {
        let first = range.start.saturating_sub(MINUTE_S - 1).min(range.end);
        let minutes = self.0.range(first..range.end);
        minutes.flat_map(move |(&start, minute)| {
            let place =
                |second: i64| minute.seconds.partition_point(|&known| start + i64::from(known) < second);
            let (from, to) = (place(range.start), place(range.end));
            (from..to.max(from)).map(move |at| (start + i64::from(minute.seconds[at]), Second { minute, at }))
        })
    }

    pub fn newest(&self) -> Option<i64> {
        let (start, minute) = self.0.last_key_value()?;
        minute.seconds.last().map(|&second| start + i64::from(second))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops the seconds before `before_s`, and hands each out first.
    pub fn forget(&mut self, before_s: i64, mut see: impl FnMut(i64, Second<'_>)) {
        while let Some(mut entry) = self.0.first_entry().filter(|entry| *entry.key() < before_s) {
            let start = *entry.key();
            let gone = entry.get().seconds.partition_point(|&second| start + i64::from(second) < before_s);
            (0..gone).for_each(|at| {
                see(start + i64::from(entry.get().seconds[at]), Second { minute: entry.get(), at });
            });
            if gone == entry.get().seconds.len() {
                entry.remove();
                continue;
            }
            if gone > 0 {
                Arc::make_mut(entry.get_mut()).drop_first(gone);
            }
            return;
        }
    }

    /// Rewrites every second: `cell` gives a cell's new place, `measured` for each field the place it had.
    pub fn adopt(&mut self, cell: impl Fn(u16) -> u16, measured: &[Option<usize>]) {
        for minute in self.0.values_mut() {
            let mut moved = Minute::default();
            moved.measure(measured.len());
            for at in 0..minute.seconds.len() {
                let second = Second { minute, at };
                let place = moved.place(minute.seconds[at]);
                let mut cells = BTreeMap::new();
                second.each_cell(|known, count| *cells.entry(cell(known)).or_insert(0) += count);
                moved.merge(place, 0, cells.into_iter());
                for (now, &before) in measured.iter().enumerate() {
                    let Some(before) = before else { continue };
                    if let Some(values) = second.values(before) {
                        moved.record(place, now, values);
                    }
                }
            }
            *minute = Arc::new(moved);
        }
    }
}

impl<'a> Second<'a> {
    /// A cell may come several times.
    pub fn each_cell(&self, mut each: impl FnMut(u16, u64)) {
        self.list(0).iter().for_each(|&(cell, count)| each(cell, count.into()));
    }

    pub fn values(&self, measured: usize) -> Option<Recorded<'a>> {
        let is_known = measured < self.minute.measured;
        is_known.then(|| Recorded {
            counts: self.list(1 + measured).into(),
            max: self.minute.largest(self.at, measured),
        })
    }

    fn list(&self, list: usize) -> &'a [(u16, u16)] {
        self.minute.list(self.at, list)
    }
}

impl Minute {
    /// Makes room for so many measured fields.
    fn measure(&mut self, measured: usize) {
        if measured <= self.measured {
            return;
        }
        let mut wider = Minute { measured, seconds: self.seconds.clone(), ..Minute::default() };
        for at in 0..self.seconds.len() {
            wider.beyond.extend_from_slice(&self.beyond[at * self.measured..(at + 1) * self.measured]);
            wider.beyond.resize((at + 1) * measured, 0);
            wider.ends.extend((0..=self.measured).map(|list| self.bounds(at, list).end as u32));
            let end = self.bounds(at, self.measured).end as u32;
            wider.ends.resize((at + 1) * (1 + measured), end);
        }
        wider.counts = std::mem::take(&mut self.counts);
        *self = wider;
    }

    fn bounds(&self, at: usize, list: usize) -> Range<usize> {
        let place = at * (1 + self.measured) + list;
        let end = |place: usize| self.ends.get(place).map_or(0, |&end| end as usize);
        (if place == 0 { 0 } else { end(place - 1) })..end(place)
    }

    fn list(&self, at: usize, list: usize) -> &[(u16, u16)] {
        self.counts.get(self.bounds(at, list)).unwrap_or_default()
    }

    /// The largest value of a field: it has the last index of its list.
    fn largest(&self, at: usize, measured: usize) -> Option<i64> {
        let (index, _) = self.list(at, 1 + measured).last()?;
        let beyond = self.beyond.get(at * self.measured + measured)?;
        Some(lowest_of(*index) as i64 + i64::from(*beyond))
    }

    fn record(&mut self, at: usize, measured: usize, values: Recorded<'_>) {
        let largest = self.largest(at, measured).max(values.max);
        let mut sums: Vec<(u16, u64)> = Vec::new();
        values.counts.each(|index, count| match sums.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => sums.push((index, count)),
        });
        self.merge(at, 1 + measured, sums.into_iter());
        if let (Some((index, _)), Some(largest)) = (self.list(at, 1 + measured).last(), largest) {
            // Values of one index differ by less than 2^32.
            self.beyond[at * self.measured + measured] = (largest - lowest_of(*index) as i64) as u32;
        }
    }

    /// Where a second stands; it is entered if it is new.
    fn place(&mut self, second: u8) -> usize {
        match self.seconds.binary_search(&second) {
            Ok(at) => at,
            Err(at) => {
                let start = self.bounds(at, 0).start as u32;
                insert(&mut self.seconds, at, 1, second);
                insert(&mut self.ends, at * (1 + self.measured), 1 + self.measured, start);
                insert(&mut self.beyond, at * self.measured, self.measured, 0);
                at
            }
        }
    }

    /// Adds counts, ascending by what they count and each once, to a list.
    fn merge(&mut self, at: usize, list: usize, more: impl Iterator<Item = (u16, u64)>) {
        let bounds = self.bounds(at, list);
        let merged = merged(&self.counts[bounds.clone()], more);
        let (before, after) = (bounds.len(), merged.len());
        reserve(&mut self.counts, after.saturating_sub(before));
        self.counts.splice(bounds, merged);
        if before != after {
            let first = at * (1 + self.measured) + list;
            self.ends[first..].iter_mut().for_each(|end| *end = *end - before as u32 + after as u32);
        }
    }

    fn drop_first(&mut self, seconds: usize) {
        let end = self.bounds(seconds - 1, self.measured).end;
        self.seconds.drain(..seconds);
        self.ends.drain(..seconds * (1 + self.measured));
        self.ends.iter_mut().for_each(|known| *known -= end as u32);
        self.beyond.drain(..seconds * self.measured);
        self.counts.drain(..end);
    }
}

/// Two ascending lists as one, counts of the same added up.
fn merged(known: &[(u16, u16)], more: impl Iterator<Item = (u16, u64)>) -> Vec<(u16, u16)> {
    let mut merged = Vec::with_capacity(known.len() + more.size_hint().0);
    let mut at = 0;
    for (what, count) in more {
        let first = at;
        at += known[first..].iter().take_while(|(known, _)| *known < what).count();
        merged.extend_from_slice(&known[first..at]);
        let mut sum = count;
        while let Some((_, count)) = known.get(at).filter(|(known, _)| *known == what) {
            sum += u64::from(*count);
            at += 1;
        }
        while sum > 0 {
            let part = u16::try_from(sum).unwrap_or(u16::MAX);
            merged.push((what, part));
            sum -= u64::from(part);
        }
    }
    merged.extend_from_slice(&known[at..]);
    merged
}

fn insert<T: Clone>(list: &mut Vec<T>, at: usize, count: usize, value: T) {
    reserve(list, count);
    list.splice(at..at, std::iter::repeat_n(value, count));
}

/// No more than is needed and a little: there are many lists, and most stay as they are.
fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / SLACK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sketch::histogram::Histogram;
    use proptest::prelude::*;

    type Model = BTreeMap<i64, (BTreeMap<u16, u64>, Vec<Histogram>)>;

    fn counted(second: &Second<'_>) -> BTreeMap<u16, u64> {
        let mut cells = BTreeMap::new();
        second.each_cell(|cell, count| *cells.entry(cell).or_insert(0) += count);
        cells
    }

    fn values(recorded: Recorded<'_>) -> (BTreeMap<u16, u64>, Option<i64>) {
        let mut counts = BTreeMap::new();
        recorded.counts.each(|index, count| *counts.entry(index).or_insert(0) += count);
        (counts, recorded.max)
    }

    fn assert_same(seconds: &Seconds, model: &Model, range: Range<i64>) {
        let found: Vec<_> = seconds.range(range.clone()).collect();
        let expected: Vec<_> = model.range(range.start..range.end.max(range.start)).collect();
        assert_eq!(found.len(), expected.len(), "{range:?}");
        for ((at, second), (known, (cells, histograms))) in found.into_iter().zip(expected) {
            assert_eq!((at, &counted(&second)), (*known, cells));
            for (measured, histogram) in histograms.iter().enumerate() {
                let expected = values(histogram.recorded());
                match second.values(measured) {
                    Some(found) => assert_eq!(values(found), expected, "{at} {measured}"),
                    None => assert_eq!(expected, (BTreeMap::new(), None)),
                }
            }
        }
    }

    fn deltas() -> impl Strategy<Value = Vec<(i64, CellsDelta)>> {
        let cells = prop::collection::btree_map(0u16..5, prop_oneof![1u64..4, 65_530u64..200_000], 1..4);
        let histogram = prop::collection::vec(0i64..300, 0..30).prop_map(|values| {
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.record(value));
            histogram
        });
        let delta = (cells, prop::collection::vec(histogram, 0..3)).prop_map(|(cells, values)| CellsDelta {
            cells: cells.into_iter().collect(),
            values,
            exemplars: Vec::new(),
        });
        prop::collection::vec((-100i64..200, delta), 0..40)
    }

    proptest! {
        #[test]
        fn seconds_hold_what_was_added(deltas in deltas(), cut in -120i64..220, from in -120i64..220, length in -5i64..150) {
            let (mut seconds, mut model) = (Seconds::default(), Model::new());
            for (second, delta) in &deltas {
                seconds.add(*second, delta);
                let (cells, histograms) = model.entry(*second).or_default();
                delta.cells.iter().for_each(|(cell, count)| *cells.entry(*cell).or_insert(0) += count);
                histograms.resize(histograms.len().max(delta.values.len()), Histogram::default());
                histograms.iter_mut().zip(&delta.values).for_each(|(sum, more)| sum.merge(more));
            }
            assert_same(&seconds, &model, -200..300);
            assert_same(&seconds, &model, from..from + length);
            prop_assert_eq!(seconds.newest(), model.keys().next_back().copied());
            let written = postcard::to_stdvec(&seconds).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<Seconds>(&written).unwrap(), &seconds);
            let mut gone = Vec::new();
            seconds.forget(cut, |second, held| gone.push((second, counted(&held))));
            let kept = model.split_off(&cut);
            let expected: Vec<_> = model.into_iter().map(|(second, (cells, _))| (second, cells)).collect();
            prop_assert_eq!(gone, expected);
            assert_same(&seconds, &kept, -200..300);
            prop_assert_eq!(seconds.is_empty(), kept.is_empty());
            // The fields change places, one is new, and two cells become one.
            seconds.adopt(|cell| cell / 2, &[Some(1), None, Some(0)]);
            let moved = |(second, (cells, mut histograms)): (i64, (BTreeMap<u16, u64>, Vec<Histogram>))| {
                histograms.resize(2, Histogram::default());
                let mut sums = BTreeMap::new();
                cells.into_iter().for_each(|(cell, count)| *sums.entry(cell / 2).or_insert(0) += count);
                let [first, second_field] = [histograms[0].clone(), histograms[1].clone()];
                (second, (sums, vec![second_field, Histogram::default(), first]))
            };
            assert_same(&seconds, &kept.into_iter().map(moved).collect(), -200..300);
        }
    }
}
