//! JSON as producers mostly write it, in one pass: names and texts without escapes, every declared value right, and
//! no more objects than are declared. Whatever else comes is left to the reader that knows all of JSON and says what
//! is wrong (`json.rs`); where this one reads a record, that one reads the same.

use super::field::{self, Found};
use super::json::{Member, Object};
use super::number::Number;
use crate::core::event::Event;
use crate::core::source::{Field, Slot};

/// A declared name as it stands in a record: between quotes, with the colon.
#[derive(Debug)]
pub(super) struct Written {
    text: Box<[u8]>,
    /// Its first bytes, compared at once, and which of them count.
    head: u128,
    mask: u128,
}

impl Written {
    pub(super) fn of(name: &str) -> Written {
        let text = format!("\"{name}\":").into_bytes();
        let head = |byte: &dyn Fn(usize) -> u8| u128::from_le_bytes(std::array::from_fn(byte));
        Written {
            head: head(&|at| text.get(at).copied().unwrap_or(0)),
            mask: head(&|at| if at < text.len() { 0xff } else { 0 }),
            text: text.into(),
        }
    }

    /// Whether `bytes` begin with it; `head` are their first, if there are as many.
    #[inline(always)]
    fn begins(&self, bytes: &[u8], head: Option<u128>) -> bool {
        match head {
            Some(head) if (head ^ self.head) & self.mask != 0 => false,
            Some(_) if self.text.len() <= HEAD_BYTES => true,
            Some(_) | None => bytes.starts_with(&self.text),
        }
    }
}

const HEAD_BYTES: usize = size_of::<u128>();

/// Fills `event` from a record. None: the record is out of the ordinary, and `event` holds nothing of use.
pub(super) fn scan(root: &Object, fields: &[Field], text: &str, event: &mut Event) -> Option<()> {
    event.begin(fields.len(), text);
    let bytes = text.as_bytes();
    let mut scan = Scan { text, bytes, fields, event };
    let at = scan.object(root, space(bytes, 0))?;
    let is_whole = space(bytes, at) == text.len();
    let is_there = |(slot, field): (usize, &Field)| field.optional || !event.is_absent(slot);
    (is_whole && fields.iter().enumerate().all(is_there)).then_some(())
}

/// Every step begins `at` a byte and gives the one behind what it read. Small steps are part of the large ones: calls
/// between them took as long as they.
struct Scan<'t, 's> {
    text: &'t str,
    bytes: &'t [u8],
    fields: &'s [Field],
    event: &'s mut Event,
}

impl Scan<'_, '_> {
    fn object(&mut self, object: &Object, at: usize) -> Option<usize> {
        let mut at = space(self.bytes, expect(self.bytes, at, b'{')?);
        if self.bytes.get(at) == Some(&b'}') {
            return Some(at + 1);
        }
        // One bit a member: of two with the same name the second counts, which is out of the ordinary.
        let (mut seen, mut next) = (0u64, 0);
        loop {
            let (end, found) = self.name(object, next, at)?;
            at = space(self.bytes, end);
            at = match found {
                Some(member) => {
                    let bit = 1u64.checked_shl(member as u32).filter(|bit| seen & bit == 0)?;
                    seen |= bit;
                    next = member + 1;
                    self.value(&object.members[member], at)?
                }
                None => self.pass(at)?,
            };
            at = space(self.bytes, at);
            match self.bytes.get(at)? {
                b',' => at = space(self.bytes, at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Where the name with its colon ends, and which member it is; None for one that is not declared.
    #[inline(always)]
    fn name(&self, object: &Object, next: usize, at: usize) -> Option<(usize, Option<usize>)> {
        let rest = self.bytes.get(at..)?;
        let head = rest.first_chunk().map(|head| u128::from_le_bytes(*head));
        // Mostly the one behind the last, or one of the next.
        let (before, after) = object.members.split_at(next);
        for (place, member) in (next..).zip(after).chain((0..).zip(before)) {
            if let Some(written) = member.written.as_ref().filter(|written| written.begins(rest, head)) {
                return Some((at + written.text.len(), Some(place)));
            }
        }
        let end = string(self.bytes, at)?;
        let colon = space(self.bytes, end);
        Some((expect(self.bytes, colon, b':')?, object.find(&self.text[at + 1..end - 1], next)))
    }

    #[inline(always)]
    fn value(&mut self, member: &Member, at: usize) -> Option<usize> {
        match self.bytes.get(at)? {
            b'"' => self.string(member, at),
            b'-' | b'0'..=b'9' => self.number(member, at),
            b'{' if member.slots.is_empty() => self.object(&member.object, at),
            _ => self.literal(member, at),
        }
    }

    /// A text, most of which stay where they are.
    #[inline(always)]
    fn string(&mut self, member: &Member, at: usize) -> Option<usize> {
        let end = string(self.bytes, at)?;
        let part = at + 1..end - 1;
        match member.slot().filter(|&slot| field::is_kept(&self.fields[slot], &self.bytes[part.clone()])) {
            Some(slot) => self.event.set_part(slot, part),
            None => self.store(member, Found::Text(&self.text[part]))?,
        }
        Some(end)
    }

    /// A number, most of which need no rounding.
    #[inline(always)]
    fn number(&mut self, member: &Member, at: usize) -> Option<usize> {
        let number = Number::at_start_of(&self.text[at..])?;
        let units = |slot: Slot| Some((slot, field::plain_units(&self.fields[slot], &number)?));
        match member.slot().and_then(units) {
            Some((slot, units)) => self.event.set_number(slot, units),
            None => self.store(member, Found::Number(number))?,
        }
        Some(at + number.text.len())
    }

    fn literal(&mut self, member: &Member, at: usize) -> Option<usize> {
        let (end, found) = literal(self.bytes, at)?;
        if let Some(found) = found {
            self.store(member, Found::Boolean(found))?;
        }
        Some(end)
    }

    fn store(&mut self, member: &Member, found: Found<'_>) -> Option<()> {
        if !member.object.members.is_empty() {
            return None;
        }
        for &slot in &member.slots {
            field::store(&self.fields[slot], slot, found, self.event).ok()?;
        }
        Some(())
    }

    /// Passes over the value of a member that is not declared.
    fn pass(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at)? {
            b'"' => string(self.bytes, at),
            b'-' | b'0'..=b'9' => Some(at + Number::at_start_of(&self.text[at..])?.text.len()),
            _ => literal(self.bytes, at).map(|(end, _)| end),
        }
    }
}

#[inline(always)]
fn space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(at) {
        at += 1;
    }
    at
}

#[inline(always)]
fn expect(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (bytes.get(at) == Some(&byte)).then_some(at + 1)
}

/// Passes over a string without escapes.
#[inline(always)]
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let start = expect(bytes, at, b'"')?;
    let end = start + first_special(&bytes[start..])?;
    expect(bytes, end, b'"')
}

/// What a literal says; None for null.
fn literal(bytes: &[u8], at: usize) -> Option<(usize, Option<bool>)> {
    let literals: [(&[u8], _); 3] = [(b"true", Some(true)), (b"false", Some(false)), (b"null", None)];
    let is_there = |(text, _): &(&[u8], _)| bytes[at..].starts_with(text);
    literals.into_iter().find(is_there).map(|(text, says)| (at + text.len(), says))
}

/// Where the first quote, backslash or control character is, looking at eight bytes at a time: "Determine if a word has
/// a byte less than n" of Anderson's Bit Twiddling Hacks, which is exact up to the first such byte.
#[inline(always)]
fn first_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let (quote, backslash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
        let found = (below(quote, 1) | below(backslash, 1) | below(word, 0x20)) & TOPS;
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    rest.iter().position(is_special).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::json::Decoder;
    use super::*;
    use crate::core::source::{Bounds, FieldKind, TimestampForm};

    fn field(path: &[&str], kind: FieldKind, optional: bool) -> Field {
        let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        Field { name: path.concat(), path, kind, optional, unit: String::new() }
    }

    fn decoder() -> Decoder {
        let text = FieldKind::String { max_length: Some(6), upper: true, map: BTreeMap::new() };
        let bounds = Bounds { min: -5_000, max: 1_000_000 };
        Decoder::of(vec![
            field(&["ts"], FieldKind::Timestamp(TimestampForm::Rfc3339), false),
            field(&["a"], text.clone(), false),
            field(&["n"], FieldKind::Decimal { scale: 3, bounds }, false),
            field(&["b"], FieldKind::Boolean, true),
            field(&["o", "x"], FieldKind::Integer(bounds), true),
            field(&["o", "y"], text.clone(), true),
            field(&["\"\\"], text, true),
        ])
    }

    const RECORDS: [&str; 4] = [
        r#"{"ts":"2025-10-31T02:00:00.5Z","a":"get","n":12.5,"b":true,"o":{"x":3,"y":"z"},"u":[1]}"#,
        r#" { "n" : -0.001e1 , "more":null,"a":"\u00e9\"","ts":"2025-10-31T02:00:00Z","o":null,"b":false } "#,
        r#"{"a":"","ts":"2025-10-31T02:00:00+01:00","n":0,"o":{},"n":7,"d":{"e":"f"},"x":-1.5E+2}"#,
        r#"{"ts":"2025-10-31T02:00:00Z","a":"a longer one","n":1234567890123456789012,"\"\\":"q"}"#,
    ];

    /// Whether it was scanned, and that it then is what the full reader finds.
    fn is_scanned(decoder: &Decoder, text: &str) -> bool {
        let (mut scanned, mut full) = (Event::default(), Event::default());
        if scan(decoder.root(), decoder.fields(), text, &mut scanned).is_none() {
            return false;
        }
        assert_eq!(decoder.decode_in_full(text, &mut full), Ok(()), "{text}");
        for (slot, field) in decoder.fields().iter().enumerate() {
            assert_eq!(scanned.value(slot), full.value(slot), "{} of {text}", field.name);
        }
        true
    }

    #[test]
    fn what_is_ordinary_is_scanned_and_the_rest_is_not() {
        let ordinary = [
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":1}"#,
            " {\"u\": \"\u{1f600}\" ,\"n\":-0.0e-2,\"o\":{\"y\":\"1\",\"x\":2},\n\"a\":\"\u{e9}\",\"ts\":\"2025-10-31T02:00:00Z\",\"b\":null}",
            r#"{"n":0.5,"longer than a word":"so is this one","ts":"2025-10-31T02:00:00Z","a":"x","t":true}"#,
        ];
        let out_of_it = [
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x"}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":1,"n":2}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":01}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":1.}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":1}}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":1,}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":1"#,
            "{\"ts\":\"2025-10-31T02:00:00Z\",\"a\":\"x\",\"n\":1,\"u\":\"a tab\t\"}",
            "[]",
            "",
        ];
        let decoder = decoder();
        assert_eq!(ordinary.map(|text| is_scanned(&decoder, text)), [true; 3]);
        assert_eq!(out_of_it.map(|text| is_scanned(&decoder, text)), [false; 10]);
    }

    proptest! {
        #[test]
        fn what_it_reads_the_full_reader_reads_alike(
            record in 0..RECORDS.len(),
            edits in prop::collection::vec((0usize..100, 0usize..3, 0usize..30), 0..3),
        ) {
            const CHARS: &str = "{}[]:,\"\\ \n\t-+.eE019tfnulrsa\u{0}\u{e9}";
            let chars: Vec<char> = CHARS.chars().collect();
            let mut text: Vec<char> = RECORDS[record].chars().collect();
            for (at, kind, char) in edits {
                let (at, char) = (at % text.len(), chars[char % chars.len()]);
                match kind {
                    0 => text[at] = char,
                    1 => text.insert(at, char),
                    _ => drop(text.remove(at)),
                }
            }
            is_scanned(&decoder(), &text.into_iter().collect::<String>());
        }

        #[test]
        fn the_first_special_byte_is_found(text in "[a-z\u{80}-\u{ff}!#]{0,20}[\"\\\\\u{0}-\u{1f}]?[ -~]{0,9}") {
            let by_hand = text.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(first_special(text.as_bytes()), by_hand);
        }
    }
}
