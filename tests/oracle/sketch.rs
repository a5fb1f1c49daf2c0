//! Histograms and distinct counts, from every value at once.

use std::sync::LazyLock;

use rust_hll::{Hll, Settings};

/// Values that fit: 0 to 2^42 - 1. hdrhistogram's lowest discernible value is 1, and 0 is always counted.
const HIGHEST: u64 = (1 << 42) - 1;
const SIGNIFICANT_DIGITS: u8 = 3;

/// All values, sorted.
pub struct Histogram {
    values: Vec<u64>,
}

impl Histogram {
    pub fn of(values: impl IntoIterator<Item = i128>) -> Histogram {
        let fits = |value: i128| u64::try_from(value).ok().filter(|value| *value <= HIGHEST);
        let mut values: Vec<u64> =
            values.into_iter().map(|value| fits(value).expect("decoding let it through")).collect();
        values.sort_unstable();
        Histogram { values }
    }

    pub fn count(&self) -> u64 {
        self.values.len() as u64
    }

    pub fn min(&self) -> Option<i128> {
        self.values.first().map(|value| i128::from(*value))
    }

    pub fn max(&self) -> Option<i128> {
        self.values.last().map(|value| i128::from(*value))
    }

    pub fn sum(&self) -> i128 {
        self.values.iter().map(|value| i128::from(*value)).sum()
    }

    /// The value at rank ceil(q x n), as the highest value that three significant digits cannot tell from it,
    /// but never above the largest there is.
    pub fn quantile(&self, millionths: u64) -> Option<i128> {
        let max = *self.values.last()?;
        let rank = (self.count() * millionths).div_ceil(1_000_000).max(1);
        let value = self.values[rank as usize - 1];
        static EMPTY: LazyLock<hdrhistogram::Histogram<u64>> = LazyLock::new(empty);
        Some(i128::from(EMPTY.highest_equivalent(value).min(max)))
    }

    /// The 7-bit bins that hold anything, ascending, and how many values each.
    pub fn bins(&self) -> (Vec<u64>, Vec<u64>) {
        let mut bins: Vec<u64> = Vec::new();
        let mut counts: Vec<u64> = Vec::new();
        for value in &self.values {
            let bin = bin_of(*value);
            if bins.last() == Some(&bin) {
                *counts.last_mut().expect("as long as bins") += 1;
            } else {
                bins.push(bin);
                counts.push(1);
            }
        }
        (bins, counts)
    }

    /// HdrHistogram's V2 encoding, not compressed: header, then zig-zag LEB128 counts up to the largest value, a
    /// negative number for a run of two or more zeros.
    pub fn hdr(&self) -> Vec<u8> {
        let mut histogram = empty();
        for value in &self.values {
            histogram.record(*value).expect("decoding let it through");
        }
        let largest = self.values.last().copied().unwrap_or(0);
        let mut counts = Vec::new();
        let mut zeros = 0;
        for step in histogram.iter_all() {
            if step.count_at_value() == 0 {
                zeros += 1;
            } else {
                push_zeros(&mut counts, zeros);
                zeros = 0;
                push_zig_zag(&mut counts, step.count_at_value() as i64);
            }
            if step.value_iterated_to() >= largest {
                break;
            }
        }
        push_zeros(&mut counts, zeros);
        let mut bytes = Vec::new();
        bytes.extend(0x1c84_9313_u32.to_be_bytes()); // cookie of V2 with word size 1
        bytes.extend((counts.len() as u32).to_be_bytes());
        bytes.extend(0_u32.to_be_bytes()); // normalizing index offset
        bytes.extend(u32::from(SIGNIFICANT_DIGITS).to_be_bytes());
        bytes.extend(1_u64.to_be_bytes());
        bytes.extend(HIGHEST.to_be_bytes());
        bytes.extend(1.0_f64.to_be_bytes()); // integer to double ratio
        bytes.extend(counts);
        bytes
    }
}

fn empty() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(1, HIGHEST, SIGNIFICANT_DIGITS).expect("fixed and valid")
}

fn push_zeros(out: &mut Vec<u8>, zeros: i64) {
    match zeros {
        0 => {}
        1 => push_zig_zag(out, 0),
        run => push_zig_zag(out, -run),
    }
}

/// LEB128 of up to 8 x 7 bits; what remains would go whole into a ninth byte, but no count here is that large.
fn push_zig_zag(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    assert!(rest < 1 << 56, "a count the oracle does not encode");
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The 7-bit bin of a scaled value.
pub fn bin_of(value: u64) -> u64 {
    if value < 256 {
        return value;
    }
    let shift = u64::from(value.ilog2()) - 7;
    (shift << 7) + (value >> shift)
}

/// postgresql-hll's `hll_hash_text(text, 0)`: the first half of Murmur3 x64 128.
pub fn hash(text: &str) -> u64 {
    fastmurmur3::murmur3_x64_128(text.as_bytes(), 0) as u64
}

/// The estimate and the postgresql-hll storage of the texts. The estimate is rounded up: `ceil(hll_cardinality(...))`
/// in SQL. Up to 640 texts it is exact.
pub fn distinct<'a>(texts: impl IntoIterator<Item = &'a str>) -> (u64, Vec<u8>) {
    let mut hll = Hll::new(Settings::new(13, 5, -1, true).expect("fixed and valid"));
    for text in texts {
        hll.add_raw(hash(text));
    }
    let bytes = hll.to_bytes();
    (hll.cardinality(), sparse(&bytes).unwrap_or(bytes))
}

/// The library turns dense above 2,048 filled registers; the extension writes sparse as long as it is smaller, up to
/// 2,275 registers of 13 + 5 bits each against 8,192 of 5.
fn sparse(dense: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = dense.split_at(3);
    if header[0] != 0x14 {
        return None;
    }
    let bits: Vec<bool> =
        body.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let registers = bits.chunks_exact(5).enumerate().filter(|(_, register)| register.contains(&true));
    let mut words: Vec<bool> = Vec::new();
    for (index, register) in registers {
        words.extend((0..13).rev().map(|bit| index >> bit & 1 == 1));
        words.extend(register);
    }
    let packed = words
        .chunks(8)
        .map(|byte| (0..8).fold(0, |sum, bit| sum << 1 | u8::from(byte.get(bit) == Some(&true))));
    (words.len() < bits.len()).then(|| [0x13, header[1], header[2]].into_iter().chain(packed).collect())
}
