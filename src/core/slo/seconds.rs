//! Counts of one group by the second, packed by the minute: a second mostly has few events, and a pane of its own would
//! take many times what they do.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use crate::core::partial::CellsDelta;
use crate::core::sketch::counts::Stretch;
use crate::core::sketch::histogram::{Histogram, Recorded};
use crate::core::sketch::packed::{Packed, Packer, Unpacked, push_number, take_number};
use crate::core::time::floor_to;

const MINUTE_S: i64 = 60;
/// What a list gives up for not being copied each time it grows: an eighth.
const SLACK: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seconds(BTreeMap<i64, Arc<Minute>>);

/// The seconds that have events, one behind the other. What was added says how it looks, and not when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Minute {
    /// Which seconds, ascending.
    seconds: Vec<u8>,
    /// Of each second its end in `bytes`.
    ends: Vec<u32>,
    /// Of each second its lists, each after its length: first its cells, then for each measured field the largest value
    /// and the values by their index. Empty lists at the end are left out.
    bytes: Vec<u8>,
}

/// One second with events.
#[derive(Clone, Copy)]
pub struct Second<'a>(&'a [u8]);

struct Lists<'a>(&'a [u8]);

/// A list that is written anew with more counts.
struct Merging<'a> {
    known: Peekable<Unpacked<'a>>,
    merged: Packer<'a>,
}

impl Seconds {
    pub fn add(&mut self, second: i64, delta: &CellsDelta) {
        let start = floor_to(second, MINUTE_S);
        if !self.0.contains_key(&start) {
            self.shrink_before(start);
        }
        let minute = Arc::make_mut(self.0.entry(start).or_default());
        let values = delta.values.iter().map(Histogram::recorded).map(Some);
        // Below 60.
        minute.add((second - start) as u8, delta.cells.iter().copied(), values);
    }

    /// A minute that is over grows seldom.
    fn shrink_before(&mut self, start: i64) {
        if let Some((_, minute)) = self.0.range_mut(..start).next_back()
            && let Some(minute) = Arc::get_mut(minute)
        {
            minute.seconds.shrink_to_fit();
            minute.ends.shrink_to_fit();
            minute.bytes.shrink_to_fit();
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
            (from..to.max(from)).map(move |at| (start + i64::from(minute.seconds[at]), minute.second(at)))
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
            (0..gone).for_each(|at| see(start + i64::from(entry.get().seconds[at]), entry.get().second(at)));
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
            for at in 0..minute.seconds.len() {
                let second = minute.second(at);
                let mut cells = BTreeMap::new();
                second.each_cell(|known, count| *cells.entry(cell(known)).or_insert(0) += count);
                let values = measured.iter().map(|before| before.map(|before| second.values(before)));
                moved.add(minute.seconds[at], cells.into_iter(), values);
            }
            *minute = Arc::new(moved);
        }
    }
}

impl<'a> Second<'a> {
    pub fn each_cell(&self, mut each: impl FnMut(u16, u64)) {
        Packed::of(self.lists().next().unwrap_or_default())
            .iter()
            .for_each(|(cell, count)| each(cell, count));
    }

    pub fn values(&self, measured: usize) -> Recorded<'a> {
        let (max, counts) = largest_and_counts(self.lists().nth(1 + measured).unwrap_or_default());
        Recorded { counts: Stretch::Packed(counts), max }
    }

    fn lists(&self) -> Lists<'a> {
        Lists(self.0)
    }

    /// The same with more: cells ascending, each once, and values of each measured field.
    fn with<'v>(
        &self,
        cells: impl Iterator<Item = (u16, u64)>,
        mut values: impl Iterator<Item = Option<Recorded<'v>>>,
    ) -> Vec<u8> {
        let (mut lists, mut list) = (self.lists(), Vec::new());
        let mut merging = Merging::of(Packed::of(lists.next().unwrap_or_default()), &mut list);
        cells.for_each(|(cell, count)| merging.add(cell, count));
        merging.end();
        let mut bytes = Vec::with_capacity(self.0.len() + list.len());
        push_list(&mut bytes, &list);
        let mut end = bytes.len();
        loop {
            let (known, more) = (lists.next(), values.next());
            if known.is_none() && more.is_none() {
                break;
            }
            list.clear();
            merge_values(known.unwrap_or_default(), more.flatten(), &mut list);
            push_list(&mut bytes, &list);
            if !list.is_empty() {
                end = bytes.len();
            }
        }
        bytes.truncate(end);
        bytes
    }
}

impl<'a> Iterator for Lists<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(take_number(&mut self.0)?).ok()?;
        let (list, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(list)
    }
}

fn push_list(bytes: &mut Vec<u8>, list: &[u8]) {
    push_number(bytes, list.len() as u64);
    bytes.extend_from_slice(list);
}

fn largest_and_counts(mut values: &[u8]) -> (Option<i64>, Packed<'_>) {
    let largest = take_number(&mut values).map(|largest| largest as i64);
    (largest, Packed::of(values))
}

fn merge_values(known: &[u8], more: Option<Recorded<'_>>, merged: &mut Vec<u8>) {
    let (known_largest, counts) = largest_and_counts(known);
    let Some(largest) = known_largest.max(more.and_then(|more| more.max)) else { return };
    // Values are not negative.
    push_number(merged, largest as u64);
    let mut merging = Merging::of(counts, merged);
    if let Some(more) = more {
        more.counts.each(|index, count| merging.add(index, count));
    }
    merging.end();
}

impl<'a> Merging<'a> {
    fn of(known: Packed<'a>, merged: &'a mut Vec<u8>) -> Merging<'a> {
        Merging { known: known.iter().peekable(), merged: Packer::new(merged) }
    }

    /// Ascending, each once.
    fn add(&mut self, what: u16, count: u64) {
        while let Some((known, count)) = self.known.next_if(|(known, _)| *known < what) {
            self.merged.push(known, count);
        }
        let known = self.known.next_if(|(known, _)| *known == what);
        self.merged.push(what, count + known.map_or(0, |(_, count)| count));
    }

    fn end(mut self) {
        self.known.for_each(|(known, count)| self.merged.push(known, count));
    }
}

impl Minute {
    fn second(&self, at: usize) -> Second<'_> {
        Second(self.bytes.get(self.bounds(at)).unwrap_or_default())
    }

    fn bounds(&self, at: usize) -> Range<usize> {
        let end = |at: usize| self.ends.get(at).map_or(0, |&end| end as usize);
        (if at == 0 { 0 } else { end(at - 1) })..end(at)
    }

    fn add<'v>(
        &mut self,
        second: u8,
        cells: impl Iterator<Item = (u16, u64)>,
        values: impl Iterator<Item = Option<Recorded<'v>>>,
    ) {
        let at = self.place(second);
        let (bounds, written) = (self.bounds(at), self.second(at).with(cells, values));
        let (before, after) = (bounds.len(), written.len());
        reserve(&mut self.bytes, after.saturating_sub(before));
        self.bytes.splice(bounds, written);
        self.ends[at..].iter_mut().for_each(|end| *end = *end - before as u32 + after as u32);
    }

    /// Where a second stands; it is entered if it is new.
    fn place(&mut self, second: u8) -> usize {
        let place = self.seconds.binary_search(&second);
        if let Err(at) = place {
            let start = self.bounds(at).start as u32;
            reserve(&mut self.seconds, 1);
            reserve(&mut self.ends, 1);
            self.seconds.insert(at, second);
            self.ends.insert(at, start);
        }
        place.unwrap_or_else(|at| at)
    }

    fn drop_first(&mut self, seconds: usize) {
        let end = self.bounds(seconds - 1).end;
        self.seconds.drain(..seconds);
        self.ends.drain(..seconds);
        self.ends.iter_mut().for_each(|known| *known -= end as u32);
        self.bytes.drain(..end);
    }
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
                let found = values(second.values(measured));
                assert_eq!(found, values(histogram.recorded()), "{at} {measured}");
            }
        }
    }

    fn deltas() -> impl Strategy<Value = Vec<(i64, CellsDelta)>> {
        let cells = prop::collection::btree_map(0u16..5, prop_oneof![1u64..4, 65_530u64..200_000], 1..4);
        let value = prop_oneof![0i64..300, 0i64..1 << 42];
        let histogram = prop::collection::vec(value, 0..30).prop_map(|values| {
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
            let mut backwards = Seconds::default();
            deltas.iter().rev().for_each(|(second, delta)| backwards.add(*second, delta));
            prop_assert_eq!(&backwards, &seconds);
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
