//! Counts by index, in the smallest form that holds them: what a histogram is made of.
//!
//! Which form that is shows nowhere outside: bytes and equality are those of the pairs.

use std::fmt;
use std::ops::BitOr;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::packed::Packed;

/// With more pairs a search costs more than a look into a span, which may take more memory than they.
const PAIRS_MAX: usize = 400;
/// From so many on, what is counted at once goes into a span: sorting it into pairs costs more.
const FEW: usize = 64;
/// Spans begin and end at multiples of this, so that they seldom grow.
const GRAIN: usize = 128;
const LANES: usize = 16;

/// How often each index was counted, and how often all were.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    form: Form,
    total: u64,
}

#[derive(Clone, Debug)]
enum Form {
    /// (index, count), ascending by index, no zero counts.
    Pairs(Vec<(u16, u32)>),
    Slim(Span<u8>),
    Narrow(Span<u16>),
    Middle(Span<u32>),
    Wide(Span<u64>),
}

/// All indices from `first` on, counted or not.
#[derive(Clone, Debug, Default)]
struct Span<C> {
    first: usize,
    counts: Vec<C>,
}

/// Counts as they lie in memory, for whoever takes many at a time. A span begins at the index that comes with it.
#[derive(Clone, Copy, Debug)]
pub enum Stretch<'a> {
    Pairs(&'a [(u16, u32)]),
    Packed(Packed<'a>),
    Slim(usize, &'a [u8]),
    Narrow(usize, &'a [u16]),
    Middle(usize, &'a [u32]),
    Wide(usize, &'a [u64]),
}

impl Stretch<'_> {
    pub fn is_span(&self) -> bool {
        !matches!(self, Stretch::Pairs(_) | Stretch::Packed(_))
    }

    /// Hands out (index, count), ascending by index, no zero counts.
    pub fn each(&self, mut each: impl FnMut(u16, u64)) {
        match self {
            Stretch::Pairs(pairs) => pairs.iter().for_each(|&(index, count)| each(index, count.into())),
            Stretch::Packed(packed) => packed.iter().for_each(|(index, count)| each(index, count)),
            Stretch::Slim(first, counts) => each_in_span(*first, counts, each),
            Stretch::Narrow(first, counts) => each_in_span(*first, counts, each),
            Stretch::Middle(first, counts) => each_in_span(*first, counts, each),
            Stretch::Wide(first, counts) => each_in_span(*first, counts, each),
        }
    }
}

impl Counts {
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Sum of all counts.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn add(&mut self, index: u16, count: u64) {
        if count == 0 {
            return;
        }
        self.total += count;
        while !self.form.add(index, count) {
            self.form = self.form.widened();
        }
    }

    /// Counts each index once; all of them lie from `first` to `last`.
    pub fn add_ones(&mut self, first: u16, last: u16, indices: impl ExactSizeIterator<Item = u16>) {
        if matches!(&self.form, Form::Pairs(pairs) if pairs.len() + indices.len() > FEW) {
            self.form = self.form.widened();
        }
        self.form.reach(first, last);
        self.total += indices.len() as u64;
        let mut left = indices;
        while let Some(index) = self.form.add_ones(&mut left) {
            while !self.form.add(index, 1) {
                self.form = self.form.widened();
            }
        }
    }

    pub fn merge(&mut self, other: &Counts) {
        if self.is_empty() {
            self.clone_from(other);
        } else if let (Form::Pairs(ours), Form::Pairs(theirs)) = (&mut self.form, &other.form)
            && theirs.len() * 8 >= ours.len()
            && let Some(merged) = merged(ours, theirs)
        {
            *ours = merged;
            self.total += other.total;
        } else if let Form::Pairs(theirs) = &other.form {
            self.add_pairs(theirs);
        } else {
            other.each(|index, count| self.add(index, count));
        }
    }

    fn add_pairs(&mut self, mut pairs: &[(u16, u32)]) {
        self.total += pairs.iter().map(|&(_, count)| u64::from(count)).sum::<u64>();
        while !pairs.is_empty() {
            let added = self.form.add_pairs(pairs);
            pairs = &pairs[added..];
            if !pairs.is_empty() {
                self.form = self.form.widened();
            }
        }
    }

    /// Hands out (index, count), ascending by index, no zero counts.
    pub fn each(&self, each: impl FnMut(u16, u64)) {
        self.stretch().each(each);
    }

    pub fn stretch(&self) -> Stretch<'_> {
        match &self.form {
            Form::Pairs(pairs) => Stretch::Pairs(pairs),
            Form::Slim(span) => Stretch::Slim(span.first, &span.counts),
            Form::Narrow(span) => Stretch::Narrow(span.first, &span.counts),
            Form::Middle(span) => Stretch::Middle(span.first, &span.counts),
            Form::Wide(span) => Stretch::Wide(span.first, &span.counts),
        }
    }

    /// The index of the count with this rank, from 1 on, when all stand in order.
    pub fn index_of_rank(&self, rank: u64) -> Option<u16> {
        let (mut seen, mut found) = (0, None);
        self.each(|index, count| {
            seen += count;
            if seen >= rank && found.is_none() {
                found = Some(index);
            }
        });
        found
    }

    fn pairs(&self) -> Vec<(u16, u64)> {
        let mut pairs = Vec::new();
        self.each(|index, count| pairs.push((index, count)));
        pairs
    }
}

impl Default for Form {
    fn default() -> Form {
        Form::Pairs(Vec::new())
    }
}

impl Form {
    /// False when it does not fit; then nothing was added.
    fn add(&mut self, index: u16, count: u64) -> bool {
        match self {
            Form::Pairs(pairs) => add_pair(pairs, index, count),
            Form::Slim(span) => span.add(index, count),
            Form::Narrow(span) => span.add(index, count),
            Form::Middle(span) => span.add(index, count),
            Form::Wide(span) => span.add(index, count),
        }
    }

    /// Adds as many as fit, and gives how many.
    fn add_pairs(&mut self, pairs: &[(u16, u32)]) -> usize {
        match self {
            Form::Pairs(known) => fitting(pairs, |index, count| add_pair(known, index, count)),
            Form::Slim(span) => fitting(pairs, |index, count| span.add(index, count)),
            Form::Narrow(span) => fitting(pairs, |index, count| span.add(index, count)),
            Form::Middle(span) => fitting(pairs, |index, count| span.add(index, count)),
            Form::Wide(span) => fitting(pairs, |index, count| span.add(index, count)),
        }
    }

    /// Counts each index once, up to the first that does not fit, which it gives.
    fn add_ones(&mut self, indices: &mut impl Iterator<Item = u16>) -> Option<u16> {
        match self {
            Form::Pairs(pairs) => indices.find(|&index| !add_pair(pairs, index, 1)),
            Form::Slim(span) => indices.find(|&index| !span.add(index, 1)),
            Form::Narrow(span) => indices.find(|&index| !span.add(index, 1)),
            Form::Middle(span) => indices.find(|&index| !span.add(index, 1)),
            Form::Wide(span) => indices.find(|&index| !span.add(index, 1)),
        }
    }

    /// A span grows once to what is coming.
    fn reach(&mut self, first: u16, last: u16) {
        match self {
            Form::Pairs(_) => {}
            Form::Slim(span) => span.reach(first, last),
            Form::Narrow(span) => span.reach(first, last),
            Form::Middle(span) => span.reach(first, last),
            Form::Wide(span) => span.reach(first, last),
        }
    }

    /// The same in the next form that holds more.
    fn widened(&self) -> Form {
        match self {
            Form::Pairs(pairs) => {
                let slim = Span::of(pairs).map(Form::Slim);
                let narrow = || Span::of(pairs).map(Form::Narrow);
                // Counts of pairs have 32 bits.
                slim.or_else(narrow).unwrap_or_else(|| Form::Middle(Span::of(pairs).unwrap_or_default()))
            }
            Form::Slim(span) => Form::Narrow(span.cast()),
            Form::Narrow(span) => Form::Middle(span.cast()),
            Form::Middle(span) => Form::Wide(span.cast()),
            Form::Wide(span) => Form::Wide(span.clone()),
        }
    }
}

fn fitting(pairs: &[(u16, u32)], mut add: impl FnMut(u16, u64) -> bool) -> usize {
    pairs.iter().position(|&(index, count)| !add(index, count.into())).unwrap_or(pairs.len())
}

fn add_pair(pairs: &mut Vec<(u16, u32)>, index: u16, count: u64) -> bool {
    let Ok(count) = u32::try_from(count) else { return false };
    // Mostly what is added last lies behind all others, as when pairs are read back.
    let at = match pairs.last() {
        Some((last, _)) if *last < index => Err(pairs.len()),
        _ => pairs.binary_search_by_key(&index, |&(known, _)| known),
    };
    match at {
        Ok(at) => match pairs[at].1.checked_add(count) {
            Some(sum) => pairs[at].1 = sum,
            None => return false,
        },
        Err(_) if pairs.len() >= PAIRS_MAX => return false,
        Err(at) => pairs.insert(at, (index, count)),
    }
    true
}

/// None when it does not fit into pairs.
fn merged(left: &[(u16, u32)], right: &[(u16, u32)]) -> Option<Vec<(u16, u32)>> {
    let mut merged = Vec::with_capacity((left.len() + right.len()).min(PAIRS_MAX));
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        let ((at, count), (other, more)) = (left[l], right[r]);
        l += usize::from(at <= other);
        r += usize::from(other <= at);
        merged.push(match at.cmp(&other) {
            std::cmp::Ordering::Less => (at, count),
            std::cmp::Ordering::Greater => (other, more),
            std::cmp::Ordering::Equal => (at, count.checked_add(more)?),
        });
    }
    merged.extend_from_slice(&left[l..]);
    merged.extend_from_slice(&right[r..]);
    (merged.len() <= PAIRS_MAX).then_some(merged)
}

impl<C: Copy + Default + Into<u64> + TryFrom<u64> + BitOr<Output = C>> Span<C> {
    /// None when a count does not fit.
    fn of(pairs: &[(u16, u32)]) -> Option<Span<C>> {
        let mut span = Span { first: 0, counts: Vec::new() };
        // Once as long as it has to be.
        let ends = [pairs.first(), pairs.last()];
        ends.into_iter().flatten().for_each(|(index, _)| span.grow((*index).into()));
        pairs.iter().all(|&(index, count)| span.add(index, count.into())).then_some(span)
    }

    fn add(&mut self, index: u16, count: u64) -> bool {
        let index = usize::from(index);
        if index < self.first || index >= self.first + self.counts.len() {
            self.grow(index);
        }
        let known = &mut self.counts[index - self.first];
        match (*known).into().checked_add(count).map(C::try_from) {
            Some(Ok(sum)) => *known = sum,
            _ => return false,
        }
        true
    }

    fn reach(&mut self, first: u16, last: u16) {
        for index in [first, last].map(usize::from) {
            if index < self.first || index >= self.first + self.counts.len() {
                self.grow(index);
            }
        }
    }

    fn grow(&mut self, index: usize) {
        let from = index - index % GRAIN;
        if self.counts.is_empty() {
            self.first = from;
        }
        let end = (from + GRAIN).max(self.first + self.counts.len());
        let first = from.min(self.first);
        // No longer than it has to be: many are kept, and few grow often.
        let mut counts = Vec::with_capacity(end - first);
        counts.resize(self.first - first, C::default());
        counts.extend_from_slice(&self.counts);
        counts.resize(end - first, C::default());
        (self.first, self.counts) = (first, counts);
    }

    fn cast<D: From<C>>(&self) -> Span<D> {
        Span { first: self.first, counts: self.counts.iter().map(|&count| D::from(count)).collect() }
    }
}

/// Most of a span is empty, and found to be so several counts at a time.
fn each_in_span<C>(first: usize, counts: &[C], mut each: impl FnMut(u16, u64))
where
    C: Copy + Default + Into<u64> + BitOr<Output = C>,
{
    for (first, counts) in (first..).step_by(LANES).zip(counts.chunks(LANES)) {
        if counts.iter().fold(C::default(), |any, &count| any | count).into() == 0 {
            continue;
        }
        for (index, &count) in (first..).zip(counts) {
            let count = count.into();
            if count > 0 {
                // It was put there as `u16`.
                each(index as u16, count);
            }
        }
    }
}

impl PartialEq for Counts {
    fn eq(&self, other: &Counts) -> bool {
        match (&self.form, &other.form) {
            (Form::Pairs(ours), Form::Pairs(theirs)) => ours == theirs,
            _ => self.total == other.total && self.pairs() == other.pairs(),
        }
    }
}

impl Eq for Counts {}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.form {
            // The same bytes: a number is as long as it is large.
            Form::Pairs(pairs) => pairs.serialize(serializer),
            Form::Slim(_) | Form::Narrow(_) | Form::Middle(_) | Form::Wide(_) => {
                self.pairs().serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counts, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pairs of index and count")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Counts, A::Error> {
                let mut counts = Counts::default();
                while let Some((index, count)) = pairs.next_element()? {
                    counts.add(index, count);
                }
                Ok(counts)
            }
        }
        deserializer.deserialize_seq(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn of(added: &[(u16, u64)]) -> Counts {
        let mut counts = Counts::default();
        added.iter().for_each(|&(index, count)| counts.add(index, count));
        counts
    }

    fn sums<'a>(added: impl IntoIterator<Item = &'a (u16, u64)>) -> Vec<(u16, u64)> {
        let mut sums = BTreeMap::new();
        added.into_iter().for_each(|&(index, count)| *sums.entry(index).or_insert(0) += count);
        sums.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Few and many, near and far, and counts around the widths of the forms.
    fn added() -> impl Strategy<Value = Vec<(u16, u64)>> {
        let index = prop_oneof![0u16..40, 900u16..1_600, 0u16..33_792];
        let count = prop_oneof![8 => 0u64..4, 1 => 250u64..260, 1 => 65_530u64..65_540, 1 => (1u64 << 32) - 2..(1 << 32) + 2];
        let pairs = || prop::collection::vec((index.clone(), count.clone()), 0..30);
        let small = prop::collection::vec((index.clone(), 1u64..3), 0..1_500);
        prop_oneof![pairs(), small]
    }

    proptest! {
        #[test]
        fn any_form_holds_what_was_added(a in added(), b in added()) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let expected = sums(a.iter().chain(&b));
            prop_assert_eq!(merged.pairs(), expected.clone());
            prop_assert_eq!(merged.total(), expected.iter().map(|(_, count)| count).sum::<u64>());
            let mut other_way = of(&b);
            other_way.merge(&of(&a));
            prop_assert_eq!(&other_way, &merged);
            let bytes = postcard::to_stdvec(&merged).unwrap();
            prop_assert_eq!(&bytes, &postcard::to_stdvec(&expected).unwrap());
            prop_assert_eq!(postcard::from_bytes::<Counts>(&bytes).unwrap(), merged);
        }

        #[test]
        fn a_rank_is_found(a in added(), rank in 1u64..5_000) {
            let mut left = rank;
            let found = sums(&a).into_iter().find(|(_, count)| {
                let is_here = left <= *count;
                left = left.saturating_sub(*count);
                is_here
            });
            prop_assert_eq!(of(&a).index_of_rank(rank), found.map(|(index, _)| index));
        }
    }

    #[test]
    fn a_form_is_left_when_it_no_longer_fits() {
        let mut counts = of(&(0..400).map(|at| (1_000 + at * 3, 1)).collect::<Vec<_>>());
        assert!(matches!(counts.form, Form::Pairs(_)));
        counts.add(1_001, 1);
        let Form::Slim(span) = &counts.form else { panic!("{counts:?}") };
        assert_eq!((span.first, span.counts.len(), span.counts.capacity()), (896, 11 * 128, 11 * 128));
        counts.add(1_001, 255);
        let Form::Narrow(span) = &counts.form else { panic!("{counts:?}") };
        assert_eq!((span.first, span.counts.len()), (896, 11 * 128));
        counts.add(100, 65_536);
        let Form::Middle(span) = &counts.form else { panic!("{counts:?}") };
        assert_eq!(span.first, 0);
        counts.add(100, u64::from(u32::MAX));
        assert!(matches!(counts.form, Form::Wide(_)));
        assert_eq!(counts.total(), 401 + 255 + 65_536 + u64::from(u32::MAX));
    }
}
