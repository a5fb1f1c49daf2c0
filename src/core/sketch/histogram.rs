//! HdrHistogram's own index mapping over counts by index.
//!
//! Values are 0 to 2^42 - 1 at 3 significant digits, so an index fits `u16` and two histograms always merge without
//! loss. The V2 encoding is HdrHistogram's (<https://github.com/HdrHistogram/HdrHistogram>, `encodeIntoByteBuffer`).

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Stretch};
use crate::core::source::{HISTOGRAM_LIMIT, Quantile};

/// Sub-buckets that give 3 significant digits: 2 x 10^3, up to a power of two.
const SUB_BUCKETS_LOG2: u32 = 11;
const HALF_LOG2: u32 = SUB_BUCKETS_LOG2 - 1;
const HALF: u64 = 1 << HALF_LOG2;
/// Low bits of the V2 cookie: version and word size.
const V2_COOKIE: u32 = 0x1c84_9303 | 0x10;

/// Exact count, minimum, maximum and sum; quantiles to 3 significant digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    counts: Counts,
    min: i64,
    max: i64,
    sum: i128,
}

/// What windows read of values: their counts by index, and the largest.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    pub counts: Stretch<'a>,
    pub max: Option<i64>,
}

impl Histogram {
    /// Counts `value`, which is in 0..2^42.
    #[cfg(test)]
    pub fn record(&mut self, value: i64) {
        debug_assert!((0..HISTOGRAM_LIMIT).contains(&value));
        self.widen(value, value);
        self.counts.add(index_of(value as u64), 1);
        self.sum += i128::from(value);
    }

    /// Counts many values at once, which decode has checked to be in 0..2^42, and leaves none behind.
    pub fn record_all(&mut self, values: &mut Vec<i64>) {
        let (Some(&min), Some(&max)) = (values.iter().min(), values.iter().max()) else { return };
        debug_assert!(0 <= min && max < HISTOGRAM_LIMIT);
        self.widen(min, max);
        self.sum += values.iter().map(|&value| i128::from(value)).sum::<i128>();
        let [first, last] = [min, max].map(|value| index_of(value as u64));
        self.counts.add_ones(first, last, values.iter().map(|&value| index_of(value as u64)));
        values.clear();
    }

    pub fn merge(&mut self, other: &Histogram) {
        if other.counts.is_empty() {
            return;
        }
        self.widen(other.min, other.max);
        self.sum += other.sum;
        self.counts.merge(&other.counts);
    }

    pub fn recorded(&self) -> Recorded<'_> {
        Recorded { counts: self.counts.stretch(), max: self.max() }
    }

    pub fn count(&self) -> u64 {
        self.counts.total()
    }

    pub fn min(&self) -> Option<i64> {
        (!self.counts.is_empty()).then_some(self.min)
    }

    pub fn max(&self) -> Option<i64> {
        (!self.counts.is_empty()).then_some(self.max)
    }

    pub fn sum(&self) -> i128 {
        self.sum
    }

    /// The value at rank ceil(q x n): its bucket's highest value, but never above the exact maximum.
    pub fn quantile(&self, quantile: Quantile) -> Option<i64> {
        let index = self.counts.index_of_rank(quantile.rank(self.count()))?;
        Some(highest_of(index).min(self.max))
    }

    /// Bins of 7-bit resolution, ascending, and their counts: what SQL merges.
    pub fn coarse_bins(&self) -> (Vec<i16>, Vec<u64>) {
        let (mut bins, mut counts) = (Vec::new(), Vec::new());
        self.counts.each(|index, count| {
            let bin = coarse_bin(lowest_of(index));
            match counts.last_mut().filter(|_| bins.last() == Some(&bin)) {
                Some(last) => *last += count,
                None => {
                    bins.push(bin);
                    counts.push(count);
                }
            }
        });
        (bins, counts)
    }

    /// HdrHistogram V2, not deflated; lowest discernible value 1, highest 2^42 - 1, 3 digits.
    pub fn encode_v2(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut next = 0u16;
        self.counts.each(|index, count| {
            match index - next {
                0 => {}
                1 => push_zigzag(&mut payload, 0),
                // A longer run of zeros is its negative length.
                zeros => push_zigzag(&mut payload, -i64::from(zeros)),
            }
            push_zigzag(&mut payload, count as i64);
            next = index + 1;
        });
        if payload.is_empty() {
            payload.push(0);
        }
        let mut bytes = Vec::with_capacity(40 + payload.len());
        bytes.extend_from_slice(&V2_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&0u32.to_be_bytes()); // normalizing index offset
        bytes.extend_from_slice(&3u32.to_be_bytes()); // significant digits
        bytes.extend_from_slice(&1u64.to_be_bytes()); // lowest discernible value
        bytes.extend_from_slice(&(HISTOGRAM_LIMIT as u64 - 1).to_be_bytes());
        bytes.extend_from_slice(&1f64.to_be_bytes()); // integer to double conversion ratio
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Call before counting: an empty histogram has no minimum yet.
    fn widen(&mut self, min: i64, max: i64) {
        if self.counts.is_empty() {
            (self.min, self.max) = (min, max);
        } else {
            (self.min, self.max) = (self.min.min(min), self.max.max(max));
        }
    }
}

fn index_of(value: u64) -> u16 {
    let bucket = 64 - (value | (2 * HALF - 1)).leading_zeros() - SUB_BUCKETS_LOG2;
    // Below 2^42 the largest index is 33,791.
    ((u64::from(bucket) << HALF_LOG2) + (value >> bucket)) as u16
}

/// The lowest value that is counted there.
fn lowest_of(index: u16) -> u64 {
    let (bucket, sub) = split(index);
    sub << bucket
}

/// The highest value that is counted there.
pub(super) fn highest_of(index: u16) -> i64 {
    let (bucket, sub) = split(index);
    (((sub + 1) << bucket) - 1) as i64
}

fn split(index: u16) -> (u32, u64) {
    let index = u64::from(index);
    let bucket = (index >> HALF_LOG2).saturating_sub(1);
    (bucket as u32, index - (bucket << HALF_LOG2))
}

/// 7-bit bin of a value: itself below 256, then 128 bins for every doubling.
fn coarse_bin(value: u64) -> i16 {
    let shift = (64 - (value | 255).leading_zeros()) - 8;
    ((u64::from(shift) << 7) + (value >> shift)) as i16
}

fn push_zigzag(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    // HdrHistogram's ZigZag LEB128 ends at nine bytes; counts below 2^55 never need the ninth.
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::{Serializer, V2Serializer};
    use proptest::prelude::*;

    fn of(values: &[i64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&v| histogram.record(v));
        histogram
    }

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let value = prop_oneof![0i64..5_000, 0i64..1 << 30, 0i64..1 << 42, Just((1 << 42) - 1)];
        prop::collection::vec(value, 0..200)
    }

    proptest! {
        #[test]
        fn agrees_with_hdrhistogram(values in values()) {
            let ours = of(&values);
            let mut crate_s = hdrhistogram::Histogram::<u64>::new_with_bounds(1, (1 << 42) - 1, 3).unwrap();
            values.iter().for_each(|&v| crate_s.record(v as u64).unwrap());
            let mut v2 = Vec::new();
            V2Serializer::new().serialize(&crate_s, &mut v2).unwrap();
            prop_assert_eq!(ours.encode_v2(), v2);
            if !values.is_empty() {
                for millionths in [1, 50_000, 500_000, 950_000, 999_999] {
                    let rank = Quantile { millionths }.rank(values.len() as u64);
                    let mut sorted = values.clone();
                    sorted.sort_unstable();
                    let exact = sorted[rank as usize - 1] as u64;
                    let expected = crate_s.highest_equivalent(exact).min(*sorted.last().unwrap() as u64);
                    prop_assert_eq!(ours.quantile(Quantile { millionths }), Some(expected as i64));
                }
            }
        }

        #[test]
        fn merge_is_recording_all(a in values(), b in values()) {
            let mut left = of(&a);
            left.merge(&of(&b));
            let mut right = of(&b);
            right.merge(&of(&a));
            let all: Vec<i64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(&left, &of(&all));
            prop_assert_eq!(&right, &left);
        }

        #[test]
        fn coarse_bins_hold_every_value(values in values()) {
            let (bins, counts) = of(&values).coarse_bins();
            let mut expected = std::collections::BTreeMap::new();
            for &value in &values {
                let shift = if value < 256 { 0 } else { value.ilog2() - 7 };
                *expected.entry(((i64::from(shift) << 7) + (value >> shift)) as i16).or_insert(0u64) += 1;
            }
            let actual: Vec<_> = bins.into_iter().zip(counts).collect();
            prop_assert_eq!(actual, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
