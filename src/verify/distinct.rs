//! Distinct texts after postgresql-hll's storage specification: log2m 13, regwidth 5, expthresh -1, sparse on.

use std::collections::BTreeSet;

const LOG2M: u32 = 13;
const REGISTERS: usize = 1 << LOG2M;
/// As many hashes as take no more bytes than all registers.
const MOST_HASHES: usize = REGISTERS * 5 / 8 / 8;

#[derive(Clone, Debug, Default)]
pub struct Distinct {
    /// All hashes as long as they are few, in the order in which they are stored.
    hashes: BTreeSet<i64>,
    /// Once they are too many: for each register the largest 1 + trailing zeros of what fell to it.
    registers: Option<Vec<u8>>,
}

impl Distinct {
    pub fn add(&mut self, text: &str) {
        // `hll_hash_text(text, 0)`: the first half of Murmur3 x64 128.
        self.add_hash(fastmurmur3::murmur3_x64_128(text.as_bytes(), 0) as u64);
    }

    fn add_hash(&mut self, hash: u64) {
        if let Some(registers) = &mut self.registers {
            let register = &mut registers[hash as usize % REGISTERS];
            let rest = hash >> LOG2M;
            let zeros = if rest == 0 { 0 } else { (rest.trailing_zeros() + 1).min(31) };
            *register = (*register).max(zeros as u8);
            return;
        }
        self.hashes.insert(hash as i64);
        if self.hashes.len() > MOST_HASHES {
            self.registers = Some(vec![0; REGISTERS]);
            for hash in std::mem::take(&mut self.hashes) {
                self.add_hash(hash as u64);
            }
        }
    }

    pub fn merge(&mut self, other: Distinct) {
        let Distinct { hashes, registers } = other;
        if let Some(theirs) = registers {
            let mut mine = self.registers.take().unwrap_or_else(|| vec![0; REGISTERS]);
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = (*mine).max(theirs));
            self.registers = Some(mine);
            for hash in std::mem::take(&mut self.hashes) {
                self.add_hash(hash as u64);
            }
        }
        hashes.into_iter().for_each(|hash| self.add_hash(hash as u64));
    }

    /// The estimate as `ceil(hll_cardinality(...))` has it.
    pub fn count(&self) -> u64 {
        let Some(registers) = &self.registers else { return self.hashes.len() as u64 };
        let m = REGISTERS as f64;
        let sum: f64 = registers.iter().map(|register| 0.5_f64.powi(i32::from(*register))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty = registers.iter().filter(|register| **register == 0).count();
        let all = 2_f64.powi(30 + 13);
        let estimate = match () {
            () if empty > 0 && raw < 2.5 * m => m * (m / empty as f64).ln(),
            () if raw <= all / 30.0 => raw,
            () => -all * (1.0 - raw / all).ln(),
        };
        estimate.ceil() as u64
    }

    /// The bytes of a postgresql-hll column.
    pub fn stored(&self) -> Vec<u8> {
        // Version 1 and the form; register width less one, and log2m; sparse on, threshold automatic.
        let header = |form: u8| vec![0x10 | form, 4 << 5 | 13, 1 << 6 | 63];
        let Some(registers) = &self.registers else {
            let mut bytes = header(if self.hashes.is_empty() { 1 } else { 2 });
            bytes.extend(self.hashes.iter().flat_map(|hash| hash.to_be_bytes()));
            return bytes;
        };
        let filled = registers.iter().enumerate().filter(|(_, register)| **register > 0);
        let mut sparse = Vec::new();
        for (place, register) in filled {
            push_bits(&mut sparse, place, 13);
            push_bits(&mut sparse, usize::from(*register), 5);
        }
        let mut full = Vec::new();
        registers.iter().for_each(|register| push_bits(&mut full, usize::from(*register), 5));
        let (form, bits) = if sparse.len() < full.len() { (3, sparse) } else { (4, full) };
        let mut bytes = header(form);
        bytes.extend(bits.chunks(8).map(|byte| {
            let bit = |at: usize| u8::from(byte.get(at) == Some(&true));
            (0..8).fold(0, |byte, at| byte << 1 | bit(at))
        }));
        bytes
    }
}

/// The lowest `width` bits, the most significant first.
fn push_bits(bits: &mut Vec<bool>, number: usize, width: usize) {
    bits.extend((0..width).rev().map(|at| number >> at & 1 == 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_librarys() {
        // 2,200 or so are left out: there the library stores more than Postgres does.
        for many in [0, 1, 640, 641, 2_000, 5_000, 100_000] {
            let mut library = rust_hll::Hll::new(rust_hll::Settings::new(13, 5, -1, true).unwrap());
            let mut parts = [Distinct::default(), Distinct::default(), Distinct::default()];
            for n in 0..many {
                let text = format!("user-{n}");
                library.add_raw(fastmurmur3::murmur3_x64_128(text.as_bytes(), 0) as u64);
                parts[if n < 10 { 0 } else { 1 + n % 2 }].add(&text);
            }
            let [mut all, even, odd] = parts;
            all.merge(even);
            all.merge(odd);
            assert_eq!((all.count(), all.stored()), (library.cardinality(), library.to_bytes()), "{many}");
        }
    }
}
