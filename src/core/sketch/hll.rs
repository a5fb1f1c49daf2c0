//! HyperLogLog with postgresql-hll's parameters and storage: log2m 13, regwidth 5, expthresh -1, sparse on.
//!
//! Format: <https://github.com/aggregateknowledge/hll-storage-spec>, version 1. Up to 640 hashes are kept as they
//! are, so small sets are counted exactly; what form a set is stored in follows from the set alone.

use serde::{Deserialize, Serialize};

use super::registers::{BYTES, LOG2M, REGISTER_BITS, REGISTER_MAX, REGISTERS, Registers};

/// As many hashes as fit in the bytes of the full form.
pub const EXPLICIT_MAX: usize = BYTES / 8;
const SPARSE_WORD_BITS: usize = LOG2M as usize + REGISTER_BITS;

const TYPE_EMPTY: u8 = 1;
const TYPE_EXPLICIT: u8 = 2;
const TYPE_SPARSE: u8 = 3;
const TYPE_FULL: u8 = 4;

/// A set of hashed values, counted exactly while small and within about 1.15 % after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hll(Form);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Form {
    Explicit(Hashes),
    Registers(Registers),
}

/// Ascending as signed numbers, as the format wants them, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<i64>")]
struct Hashes(Vec<i64>);

impl From<Vec<i64>> for Hashes {
    fn from(mut hashes: Vec<i64>) -> Hashes {
        if !hashes.is_sorted_by(|a, b| a < b) {
            hashes.sort_unstable();
            hashes.dedup();
        }
        Hashes(hashes)
    }
}

impl Default for Hll {
    fn default() -> Hll {
        Hll(Form::Explicit(Hashes::default()))
    }
}

/// The hash of a text that `hll_hash_text(text, 0)` has: Murmur3 x64 128, seed 0, first half.
pub fn hash(text: &str) -> i64 {
    fastmurmur3::murmur3_x64_128(text.as_bytes(), 0) as i64
}

/// The set of these hashes.
impl From<Vec<i64>> for Hll {
    fn from(hashes: Vec<i64>) -> Hll {
        let mut hll = Hll(Form::Explicit(hashes.into()));
        hll.fit();
        hll
    }
}

impl Hll {
    /// Adds a text by its [`hash`].
    pub fn add_hash(&mut self, hash: i64) {
        match &mut self.0 {
            Form::Explicit(Hashes(hashes)) => {
                if let Err(at) = hashes.binary_search(&hash) {
                    hashes.insert(at, hash);
                    self.fit();
                }
            }
            Form::Registers(registers) => registers.raise(hash as u64),
        }
    }

    pub fn merge(&mut self, other: &Hll) {
        match (&mut self.0, &other.0) {
            (Form::Explicit(Hashes(mine)), Form::Explicit(Hashes(theirs))) => {
                *mine = union(mine, theirs);
                self.fit();
            }
            (Form::Registers(mine), Form::Explicit(Hashes(hashes))) => {
                hashes.iter().for_each(|&hash| mine.raise(hash as u64));
            }
            (Form::Explicit(_), Form::Registers(_)) => {
                self.promote();
                self.merge(other);
            }
            (Form::Registers(mine), Form::Registers(theirs)) => mine.merge(theirs),
        }
    }

    /// The estimate of postgresql-hll, rounded up.
    pub fn cardinality(&self) -> u64 {
        let registers = match &self.0 {
            Form::Explicit(Hashes(hashes)) => return hashes.len() as u64,
            Form::Registers(registers) => registers,
        };
        let mut counts = [0u32; 1 << REGISTER_BITS];
        registers.iter().for_each(|register| counts[usize::from(register)] += 1);
        let zeros = counts[0];
        // Every term is whole in units of 2^-31 and the sum is below 2^14: the addition is exact in any order.
        let terms = (0..).zip(counts).map(|(register, count)| f64::from(count) / (1u64 << register) as f64);
        let sum: f64 = terms.sum();
        let m = REGISTERS as f64;
        let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let two_to_l = 2f64.powi(i32::from(REGISTER_MAX) - 1 + LOG2M as i32);
        let corrected = if zeros != 0 && estimate < 2.5 * m {
            m * (m / f64::from(zeros)).ln()
        } else if estimate <= two_to_l / 30.0 {
            estimate
        } else {
            -two_to_l * (1.0 - estimate / two_to_l).ln()
        };
        corrected.ceil() as u64
    }

    /// The bytes a postgresql-hll column takes.
    pub fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Form::Explicit(Hashes(hashes)) if hashes.is_empty() => header(TYPE_EMPTY),
            Form::Explicit(Hashes(hashes)) => {
                let mut bytes = header(TYPE_EXPLICIT);
                hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_be_bytes()));
                bytes
            }
            Form::Registers(registers) => {
                let filled = registers.iter().filter(|&register| register != 0).count();
                if filled * SPARSE_WORD_BITS < REGISTERS * REGISTER_BITS {
                    let words = (0..).zip(registers.iter()).filter(|&(_, register)| register != 0);
                    let words =
                        words.map(|(at, register): (u32, _)| at << REGISTER_BITS | u32::from(register));
                    pack_bits(header(TYPE_SPARSE), words, SPARSE_WORD_BITS)
                } else {
                    [&header(TYPE_FULL), registers.bytes()].concat()
                }
            }
        }
    }

    /// Many hashes become registers.
    fn fit(&mut self) {
        if matches!(&self.0, Form::Explicit(Hashes(hashes)) if hashes.len() > EXPLICIT_MAX) {
            self.promote();
        }
    }

    fn promote(&mut self) {
        if let Form::Explicit(Hashes(hashes)) = &self.0 {
            let mut registers = Registers::default();
            hashes.iter().for_each(|&hash| registers.raise(hash as u64));
            self.0 = Form::Registers(registers);
        }
    }
}

/// Of two ascending lists.
fn union(left: &[i64], right: &[i64]) -> Vec<i64> {
    let mut union = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        let (a, b) = (left[l], right[r]);
        union.push(a.min(b));
        l += usize::from(a <= b);
        r += usize::from(b <= a);
    }
    union.extend_from_slice(&left[l..]);
    union.extend_from_slice(&right[r..]);
    union
}

fn header(form: u8) -> Vec<u8> {
    // Version 1 and form; register width and log2m; sparse on, explicit threshold automatic.
    vec![1 << 4 | form, ((REGISTER_BITS as u8 - 1) << 5) | LOG2M as u8, 1 << 6 | 63]
}

/// Appends `words` of `width` bits each, most significant bit first, the last byte padded with zeros.
fn pack_bits(mut bytes: Vec<u8>, words: impl Iterator<Item = u32>, width: usize) -> Vec<u8> {
    let (mut pending, mut bits) = (0u64, 0);
    for word in words {
        pending = pending << width | u64::from(word);
        bits += width;
        while bits >= 8 {
            bits -= 8;
            bytes.push((pending >> bits) as u8);
        }
    }
    if bits > 0 {
        bytes.push((pending << (8 - bits)) as u8);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: std::ops::Range<u32>) -> Hll {
        let mut hll = Hll::default();
        names.for_each(|n| hll.add_hash(hash(&format!("user-{n}"))));
        hll
    }

    fn reference(names: std::ops::Range<u32>) -> rust_hll::Hll {
        let settings = rust_hll::Settings::new(13, 5, -1, true).unwrap();
        let mut hll = rust_hll::Hll::new(settings);
        names.for_each(|n| {
            hll.add_raw(fastmurmur3::murmur3_x64_128(format!("user-{n}").as_bytes(), 0) as u64)
        });
        hll
    }

    #[test]
    fn bytes_and_estimates_agree_with_the_reference() {
        // 2,200 distinct values are left out: there the reference stores more registers in full than Postgres does.
        for n in [0, 1, 2, 640, 641, 1_000, 2_000, 5_000, 100_000] {
            let (ours, theirs) = (of(0..n), reference(0..n));
            assert_eq!(ours.encode(), theirs.to_bytes(), "{n} values");
            assert_eq!(ours.cardinality(), theirs.cardinality(), "{n} values");
        }
    }

    #[test]
    fn merge_is_adding_all_in_any_order() {
        for (a, b) in [(0..10, 5..700), (0..3_000, 2_900..2_910), (0..3_000, 100..9_000), (0..0, 0..5)] {
            let all = {
                let mut hll = of(a.clone());
                b.clone().for_each(|n| hll.add_hash(hash(&format!("user-{n}"))));
                hll
            };
            let (mut left, mut right) = (of(a.clone()), of(b.clone()));
            left.merge(&of(b));
            right.merge(&of(a));
            assert_eq!(left, all);
            assert_eq!(right, all);
        }
    }
}
