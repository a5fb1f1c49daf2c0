//! A histogram after HdrHistogram's description: three significant digits, values 0 to 2^42 - 1.

use std::collections::BTreeMap;

use crate::core::source::Quantile;

const HIGHEST: u64 = (1 << 42) - 1;

/// Values that three digits cannot tell apart share a bucket: below 2,048 each has its own, then every doubling has
/// 1,024 of them.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Lowest value of the bucket -> how many.
    buckets: BTreeMap<u64, u64>,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub sum: i128,
}

/// log2 of how many values share the bucket of `value`.
fn width_log2(value: u64) -> u32 {
    if value < 2_048 { 0 } else { value.ilog2() - 10 }
}

impl Histogram {
    /// `value` is within the bounds, as decoding checked.
    pub fn add(&mut self, value: i64) {
        let unsigned = value.unsigned_abs();
        let width_log2 = width_log2(unsigned);
        *self.buckets.entry(unsigned >> width_log2 << width_log2).or_default() += 1;
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = self.max.max(Some(value));
        self.sum += i128::from(value);
    }

    pub fn merge(&mut self, other: Histogram) {
        for (lowest, count) in other.buckets {
            *self.buckets.entry(lowest).or_default() += count;
        }
        self.min = [self.min, other.min].into_iter().flatten().min();
        self.max = self.max.max(other.max);
        self.sum += other.sum;
    }

    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// The value at rank ceil(q x n), as the highest that three digits cannot tell from it, at most the largest.
    pub fn quantile(&self, quantile: Quantile) -> Option<i64> {
        let rank = (u128::from(self.count()) * u128::from(quantile.millionths)).div_ceil(1_000_000).max(1);
        let mut seen = 0;
        for (lowest, count) in &self.buckets {
            seen += u128::from(*count);
            if seen >= rank {
                let highest = lowest + (1 << width_log2(*lowest)) - 1;
                return i64::try_from(highest).ok().min(self.max);
            }
        }
        None
    }

    /// The 7-bit bins that hold anything, ascending, and how many values each.
    pub fn bins(&self) -> (Vec<u64>, Vec<u64>) {
        let mut bins: BTreeMap<u64, u64> = BTreeMap::new();
        for (lowest, count) in &self.buckets {
            let shift = if *lowest < 256 { 0 } else { lowest.ilog2() - 7 };
            *bins.entry((u64::from(shift) << 7) + (lowest >> shift)).or_default() += count;
        }
        bins.into_iter().unzip()
    }

    /// HdrHistogram's V2 encoding, not compressed: a header, then the count of each bucket up to the largest as a
    /// zig-zag LEB128 number, a negative one for a run of two zeros or more.
    pub fn hdr(&self) -> Vec<u8> {
        let mut counts = Vec::new();
        let mut next = 0;
        for (lowest, count) in &self.buckets {
            let width_log2 = u64::from(width_log2(*lowest));
            let place = 1_024 * width_log2 + (lowest >> width_log2);
            match place - next {
                0 => {}
                1 => zig_zag(&mut counts, 0),
                zeros => zig_zag(&mut counts, -(zeros as i64)),
            }
            zig_zag(&mut counts, *count as i64);
            next = place + 1;
        }
        if counts.is_empty() {
            zig_zag(&mut counts, 0);
        }
        let mut bytes = Vec::new();
        bytes.extend(0x1c84_9313_u32.to_be_bytes()); // cookie of V2 with word size 1
        bytes.extend((counts.len() as u32).to_be_bytes());
        bytes.extend(0_u32.to_be_bytes()); // normalizing index offset
        bytes.extend(3_u32.to_be_bytes()); // significant digits
        bytes.extend(1_u64.to_be_bytes()); // lowest discernible value
        bytes.extend(HIGHEST.to_be_bytes());
        bytes.extend(1.0_f64.to_be_bytes()); // integer to double ratio
        bytes.extend(counts);
        bytes
    }
}

/// LEB128 of seven bits each; no count comes near the ninth byte, which would be another matter.
fn zig_zag(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
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

    #[test]
    fn it_is_the_librarys() {
        let mut library = hdrhistogram::Histogram::<u64>::new_with_bounds(1, HIGHEST, 3).unwrap();
        let (mut left, mut right) = (Histogram::default(), Histogram::default());
        let mut values = vec![0, 1, 2_047, 2_048, 4_095, 4_096, HIGHEST as i64];
        values.extend((0..2_000_i64).map(|n| n * n * n % 100_000_007));
        for (at, value) in values.iter().enumerate() {
            library.record(*value as u64).unwrap();
            if at % 3 == 0 { left.add(*value) } else { right.add(*value) }
        }
        left.merge(right);
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&library, &mut bytes).unwrap();
        assert_eq!(left.hdr(), bytes);
        values.sort_unstable();
        for millionths in [1, 50_000, 500_000, 990_000, 999_999] {
            let rank = (values.len() * millionths as usize).div_ceil(1_000_000);
            let expected = library.highest_equivalent(values[rank - 1] as u64).min(HIGHEST);
            assert_eq!(left.quantile(Quantile { millionths }), Some(expected as i64));
        }
        assert_eq!(left.count(), values.len() as u64);
        assert_eq!(left.bins().1.iter().sum::<u64>(), left.count());
    }
}
