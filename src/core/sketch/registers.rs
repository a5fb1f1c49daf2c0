//! Registers of a HyperLogLog, as postgresql-hll stores all of them: five bits each, the first bit the most significant.
//!
//! What is written is a byte each.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub const LOG2M: u32 = 13;
pub const REGISTERS: usize = 1 << LOG2M;
pub const REGISTER_BITS: usize = 5;
pub const REGISTER_MAX: u16 = (1 << REGISTER_BITS) - 1;
pub const BYTES: usize = REGISTERS * REGISTER_BITS / 8;

/// Registers that take whole bytes together, as many as one has bits.
const GROUP: usize = 8;
/// The lowest bits of four registers of a group, with the place of another one above each.
const LOWEST: u64 = 1 | 1 << 10 | 1 << 20 | 1 << 30;
const FOUR: u64 = LOWEST * REGISTER_MAX as u64;
const ABOVE: u64 = LOWEST << REGISTER_BITS;

/// A byte longer than they take, for each is read from two.
#[derive(Clone, PartialEq, Eq)]
pub struct Registers(Box<[u8; BYTES + 1]>);

impl Default for Registers {
    fn default() -> Registers {
        Registers(Box::new([0; BYTES + 1]))
    }
}

impl Registers {
    /// Counts a value by its hash.
    pub fn raise(&mut self, hash: u64) {
        let substream = hash >> LOG2M;
        if substream == 0 {
            return;
        }
        // At most 52.
        let rank = (substream.trailing_zeros() as u16 + 1).min(REGISTER_MAX);
        let bit = (hash as usize & (REGISTERS - 1)) * REGISTER_BITS;
        let (at, shift) = (bit / 8, 16 - REGISTER_BITS - bit % 8);
        let pair = u16::from_be_bytes([self.0[at], self.0[at + 1]]);
        if rank > pair >> shift & REGISTER_MAX {
            let raised = pair & !(REGISTER_MAX << shift) | rank << shift;
            self.0[at..at + 2].copy_from_slice(&raised.to_be_bytes());
        }
    }

    /// Of each register the larger one.
    pub fn merge(&mut self, other: &Registers) {
        let (mine, _) = self.0.as_chunks_mut::<REGISTER_BITS>();
        for (mine, theirs) in mine.iter_mut().zip(other.groups()) {
            *mine = bytes_of(larger_ones(group_of(mine), theirs));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u8> {
        let of = |group: u64, place: usize| (group >> (place * REGISTER_BITS)) as u8 & REGISTER_MAX as u8;
        self.groups().flat_map(move |group| (0..GROUP).rev().map(move |place| of(group, place)))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0[..BYTES]
    }

    fn groups(&self) -> impl Iterator<Item = u64> {
        self.0.as_chunks::<REGISTER_BITS>().0.iter().map(group_of)
    }

    /// From a byte each; None when they are not as many or one is too large.
    fn of(registers: &[u8]) -> Option<Registers> {
        if registers.len() != REGISTERS || registers.iter().any(|&r| u16::from(r) > REGISTER_MAX) {
            return None;
        }
        let mut all = Registers::default();
        let (packed, _) = all.0.as_chunks_mut::<REGISTER_BITS>();
        for (packed, group) in packed.iter_mut().zip(registers.as_chunks::<GROUP>().0) {
            *packed = bytes_of(group.iter().fold(0, |group, &r| group << REGISTER_BITS | u64::from(r)));
        }
        Some(all)
    }
}

fn group_of(&[a, b, c, d, e]: &[u8; REGISTER_BITS]) -> u64 {
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
}

fn bytes_of(group: u64) -> [u8; REGISTER_BITS] {
    let [_, _, _, a, b, c, d, e] = group.to_be_bytes();
    [a, b, c, d, e]
}

fn larger_ones(left: u64, right: u64) -> u64 {
    let every_other = larger_of_four(left & FOUR, right & FOUR);
    let shift = REGISTER_BITS;
    every_other | larger_of_four(left >> shift & FOUR, right >> shift & FOUR) << shift
}

fn larger_of_four(left: u64, right: u64) -> u64 {
    // A bit stays above each register of the left that is not below the one of the right.
    let not_below = ((left | ABOVE) - right) & ABOVE;
    let kept = not_below - (not_below >> REGISTER_BITS);
    left & kept | right & !kept
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Registers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.iter().collect::<Vec<u8>>())
    }
}

impl<'de> Deserialize<'de> for Registers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Registers, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Registers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{REGISTERS} registers of at most {REGISTER_MAX}")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Registers, E> {
                Registers::of(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hashes of many registers and of few, of small ranks and of large ones.
    fn hashes() -> impl Strategy<Value = Vec<u64>> {
        let hash = (any::<u64>(), 0u32..64, prop_oneof![Just(REGISTERS - 1), Just(15), 8_176..REGISTERS]);
        let hash = hash.prop_map(|(bits, zeros, within)| {
            let substream = bits.checked_shl(zeros).unwrap_or(0) >> LOG2M << LOG2M;
            substream | bits.rotate_left(20) & within as u64
        });
        prop::collection::vec(hash, 0..3_000)
    }

    /// A byte each.
    fn plain(hashes: &[u64]) -> Vec<u8> {
        let mut registers = vec![0u8; REGISTERS];
        for hash in hashes {
            let register = &mut registers[(hash % REGISTERS as u64) as usize];
            let substream = hash >> LOG2M;
            let rank = if substream == 0 { 0 } else { substream.trailing_zeros() + 1 };
            *register = (*register).max(rank.min(31) as u8);
        }
        registers
    }

    fn packed(hashes: &[u64]) -> Registers {
        let mut registers = Registers::default();
        hashes.iter().for_each(|&hash| registers.raise(hash));
        registers
    }

    proptest! {
        #[test]
        fn registers_are_what_a_byte_each_would_be(a in hashes(), b in hashes()) {
            let (plain_a, plain_b) = (plain(&a), plain(&b));
            let (mut left, right) = (packed(&a), packed(&b));
            prop_assert_eq!(left.iter().collect::<Vec<u8>>(), &plain_a[..]);
            left.merge(&right);
            let larger: Vec<u8> = plain_a.iter().zip(&plain_b).map(|(a, b)| *a.max(b)).collect();
            prop_assert_eq!(left.iter().collect::<Vec<u8>>(), &larger[..]);
            prop_assert_eq!(&left, &packed(&[a, b].concat()));
            let written = postcard::to_stdvec(&left).unwrap();
            prop_assert_eq!(&written, &postcard::to_stdvec(&larger).unwrap());
            prop_assert_eq!(&postcard::from_bytes::<Registers>(&written).unwrap(), &left);
        }
    }

    #[test]
    fn what_are_no_registers_is_not_read() {
        let read = |bytes: Vec<u8>| postcard::from_bytes::<Registers>(&postcard::to_stdvec(&bytes).unwrap());
        assert!(read(vec![31; REGISTERS]).is_ok());
        assert!(read(vec![31; REGISTERS - 1]).is_err());
        assert!(read(vec![32; REGISTERS]).is_err());
    }
}
