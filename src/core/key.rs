//! Group-by keys: the values of the key columns, packed.

use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::event::{Event, Value};
use super::source::Slot;

/// What every key column of a key beyond the limit holds.
pub const OTHER: &str = "_OTHER";

/// The columns' texts in declared order, each behind its length as a LEB128 number, so that no value can be
/// taken for another. Ordered by bytes: an order of its own, but always the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(Box<[u8]>);

impl Key {
    pub fn from_columns<S: AsRef<str>>(columns: &[S]) -> Key {
        let mut packed = Vec::new();
        for column in columns {
            push_column(&mut packed, column.as_ref());
        }
        Key(packed.into())
    }

    /// The key where there is nothing to group by.
    pub fn empty() -> Key {
        Key(Box::default())
    }

    pub fn from_packed(packed: &[u8]) -> Key {
        Key(packed.into())
    }

    /// `_OTHER` in each of `columns` columns.
    pub fn other(columns: usize) -> Key {
        Key::from_columns(&vec![OTHER; columns])
    }

    pub fn packed(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is [`Key::empty`].
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn columns(&self) -> Columns<'_> {
        Columns { rest: &self.0 }
    }

    /// Which of `shards` holds this key of the projection `projection`.
    pub fn shard(packed: &[u8], projection: u64, shards: u32) -> u32 {
        // The remainder is below `shards`, so it fits.
        (xxh3_64_with_seed(packed, projection) % u64::from(shards)) as u32
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.columns()).finish()
    }
}

/// Iterates over a key's columns; ends early on bytes that are no key.
pub struct Columns<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Columns<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut length = 0usize;
        let mut shift = 0;
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let (column, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(column).ok()
    }
}

/// Packs the values of `slots` behind what `packed` holds. Absent is the empty text.
pub fn pack(event: &Event, slots: &[Slot], packed: &mut Vec<u8>) {
    for &slot in slots {
        match event.value(slot) {
            Value::Absent => push_column(packed, ""),
            Value::Text(text) => push_column(packed, text),
            Value::Number(number) => push_column(packed, itoa::Buffer::new().format(number)),
        }
    }
}

fn push_column(packed: &mut Vec<u8>, column: &str) {
    let mut length = column.len();
    while length >= 0x80 {
        packed.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    packed.push(length as u8);
    packed.extend_from_slice(column.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_as_they_went_in() {
        let long = "x".repeat(300);
        let columns = ["", "a\u{1f}b", &long];
        let key = Key::from_columns(&columns);
        assert_eq!(key.columns().collect::<Vec<_>>(), columns);
        assert_eq!(Key::other(2).columns().collect::<Vec<_>>(), [OTHER, OTHER]);
    }

    #[test]
    fn numbers_are_packed_as_their_texts() {
        let mut event = Event::default();
        event.clear(3);
        event.set_number(0, i64::MIN);
        event.set_number(2, 404);
        let mut packed = vec![7];
        pack(&event, &[2, 1, 0], &mut packed);
        assert_eq!(Key::from_packed(&packed[1..]), Key::from_columns(&["404", "", &i64::MIN.to_string()]));
    }

    #[test]
    fn bytes_that_are_no_key_end_the_columns() {
        assert_eq!(Key::from_packed(&[5, b'a']).columns().count(), 0);
        assert_eq!(Key::from_packed(&[0xff; 20]).columns().count(), 0);
    }
}
