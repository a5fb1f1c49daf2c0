//! Counts by index as bytes, for lists that are kept long and change seldom: where most indices are counted once and
//! lie near each other, a count takes little more than a byte.
//!
//! Of each index stands how many are left out before it: below 240 in one byte, below 3,824 in two, else in three. Before
//! that stands a count above one.

/// The first byte, from here on, is the upper part of a distance in two bytes.
const TWO: u8 = 240;
/// The distance is in the two bytes after this one.
const THREE: u8 = 254;
/// A count less two comes next, and then the index.
const SEVERAL: u8 = 255;

/// (index, count), ascending by index, each once, no zero counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packed<'a>(&'a [u8]);

/// Writes indices and counts, which must come ascending, to the end of some bytes.
pub struct Packer<'a> {
    bytes: &'a mut Vec<u8>,
    next: u32,
}

impl<'a> Packed<'a> {
    /// What a [`Packer`] wrote.
    pub fn of(bytes: &'a [u8]) -> Packed<'a> {
        Packed(bytes)
    }

    pub fn iter(self) -> Unpacked<'a> {
        Unpacked { bytes: self.0, next: 0 }
    }
}

/// What is packed, one by one. What no packer wrote ends where it makes no sense.
pub struct Unpacked<'a> {
    bytes: &'a [u8],
    next: u32,
}

impl Unpacked<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }
}

impl Iterator for Unpacked<'_> {
    type Item = (u16, u64);

    fn next(&mut self) -> Option<(u16, u64)> {
        let (mut first, mut count) = (self.byte()?, 1);
        if first == SEVERAL {
            count = take_number(&mut self.bytes)?.checked_add(2)?;
            first = self.byte()?;
        }
        let left_out = match first {
            ..TWO => first.into(),
            TWO..THREE => u32::from(TWO) + (u32::from(first - TWO) << 8) + u32::from(self.byte()?),
            THREE.. => u32::from(u16::from_be_bytes([self.byte()?, self.byte()?])),
        };
        let index = u16::try_from(self.next + left_out).ok()?;
        self.next = u32::from(index) + 1;
        Some((index, count))
    }
}

impl<'a> Packer<'a> {
    pub fn new(bytes: &'a mut Vec<u8>) -> Packer<'a> {
        Packer { bytes, next: 0 }
    }

    pub fn push(&mut self, index: u16, count: u64) {
        if count > 1 {
            self.bytes.push(SEVERAL);
            push_number(self.bytes, count - 2);
        }
        let left_out = u32::from(index) - self.next;
        self.next = u32::from(index) + 1;
        match left_out.checked_sub(u32::from(TWO)) {
            // Below 240.
            None => self.bytes.push(left_out as u8),
            Some(beyond) if beyond >> 8 < u32::from(THREE - TWO) => {
                self.bytes.extend_from_slice(&[TWO + (beyond >> 8) as u8, beyond as u8]);
            }
            Some(_) => {
                let [.., high, low] = left_out.to_be_bytes();
                self.bytes.extend_from_slice(&[THREE, high, low]);
            }
        }
    }
}

/// Seven bits a byte, the lowest first.
pub fn push_number(bytes: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// None when no whole number is left.
pub fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(counts: &[(u16, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut packer = Packer::new(&mut bytes);
        counts.iter().for_each(|&(index, count)| packer.push(index, count));
        bytes
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(
            left_out in prop::collection::vec(
                (prop_oneof![0u32..300, 3_800u32..3_900, 0u32..60_000], prop_oneof![Just(1), 1u64..300, 1..u64::MAX]),
                0..50,
            ),
        ) {
            let mut counts = Vec::new();
            let mut next = 0;
            for (left_out, count) in left_out {
                next += left_out;
                counts.extend(u16::try_from(next).ok().map(|index| (index, count)));
                next += 1;
            }
            prop_assert_eq!(Packed::of(&packed(&counts)).iter().collect::<Vec<_>>(), counts);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let read: Vec<_> = Packed::of(&bytes).iter().collect();
            prop_assert!(read.is_sorted_by(|(a, _), (b, _)| a < b));
        }
    }

    #[test]
    fn a_count_takes_as_many_bytes_as_it_must() {
        let length = |counts: &[(u16, u64)]| packed(counts).len();
        let lengths = [0, 239, 240, 3_823, 3_824, u16::MAX].map(|index| length(&[(index, 1)]));
        assert_eq!(lengths, [1, 1, 2, 2, 3, 3]);
        assert_eq!(length(&[(0, 2), (1, 1), (2, 130)]), 3 + 1 + 4);
    }
}
