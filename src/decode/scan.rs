//! JSON as producers mostly write it, in one pass: names and texts without escapes, every declared value right, and
//! no more objects than are declared. Whatever else comes is left to the reader that knows all of JSON and says what
//! is wrong (`json.rs`); where this one reads a record, that one reads the same.

use super::field::{self, Found};
use super::json::{Member, Object};
use super::number::Number;
use crate::core::event::Event;
use crate::core::source::Field;

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
    fn begins(&self, bytes: &[u8], head: Option<u128>) -> bool {
        match head {
            Some(head) if (head ^ self.head) & self.mask != 0 => false,
            Some(_) if self.text.len() <= HEAD_BYTES => true,
            Some(_) | None => bytes.starts_with(&self.text),
        }
    }
}

const HEAD_BYTES: usize = size_of::<u128>();

/// Fills `event` from a record. None: the record is out of the ordinary, and `event`
/// holds nothing of use.
pub(super) fn scan(root: &Object, fields: &[Field], text: &str, event: &mut Event) -> Option<()> {
    event.begin(fields.len(), text);
    let mut scan = Scan { text, at: 0, fields, event };
    scan.space();
    scan.object(root)?;
    scan.space();
    let is_whole = scan.at == text.len();
    let is_there = |(slot, field): (usize, &Field)| field.optional || !event.is_absent(slot);
    (is_whole && fields.iter().enumerate().all(is_there)).then_some(())
}

struct Scan<'t, 's> {
    text: &'t str,
    at: usize,
    fields: &'s [Field],
    event: &'s mut Event,
}

impl<'t> Scan<'t, '_> {
    fn object(&mut self, object: &Object) -> Option<()> {
        self.expect(b'{')?;
        self.space();
        if self.next() == Some(b'}') {
            self.at += 1;
            return Some(());
        }
        // One bit a member: of two with the same name the second counts, which is out of the ordinary.
        let (mut seen, mut next) = (0u64, 0);
        loop {
            let found = self.name(object, next)?;
            self.space();
            match found {
                Some(at) => {
                    let bit = 1u64.checked_shl(at as u32).filter(|bit| seen & bit == 0)?;
                    seen |= bit;
                    next = at + 1;
                    self.value(&object.members[at])?;
                }
                None => self.pass()?,
            }
            self.space();
            let end = self.next()?;
            self.at += 1;
            match end {
                b',' => self.space(),
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Where the name stands that comes next, which is passed over with its colon; Some(None) for one that is not
    /// declared.
    fn name(&mut self, object: &Object, next: usize) -> Option<Option<usize>> {
        let rest = self.rest();
        let head = rest.first_chunk().map(|head| u128::from_le_bytes(*head));
        // Mostly the one behind the last, or one of the next.
        let (before, after) = object.members.split_at(next);
        for (at, member) in (next..).zip(after).chain((0..).zip(before)) {
            if let Some(written) = member.written.as_ref().filter(|written| written.begins(rest, head)) {
                self.at += written.text.len();
                return Some(Some(at));
            }
        }
        let name = self.string()?;
        self.space();
        self.expect(b':')?;
        Some(object.find(name, next))
    }

    fn value(&mut self, member: &Member) -> Option<()> {
        match self.next()? {
            b'"' => self.text(member),
            b'-' | b'0'..=b'9' => self.member_number(member),
            b't' => {
                self.literal("true")?;
                self.store(member, Found::Boolean(true))
            }
            b'f' => {
                self.literal("false")?;
                self.store(member, Found::Boolean(false))
            }
            b'n' => self.literal("null"),
            b'{' if member.slots.is_empty() => self.object(&member.object),
            _ => None,
        }
    }

    /// A text, most of which stay where they are.
    fn text(&mut self, member: &Member) -> Option<()> {
        let text = self.string()?;
        let end = self.at - 1;
        match member.slots[..] {
            [slot] if member.object.members.is_empty() && field::is_kept(&self.fields[slot], text) => {
                self.event.set_part(slot, end - text.len()..end);
                Some(())
            }
            _ => self.store(member, Found::Text(text)),
        }
    }

    /// A number, most of which need no rounding.
    fn member_number(&mut self, member: &Member) -> Option<()> {
        let number = self.number()?;
        if let [slot] = member.slots[..]
            && member.object.members.is_empty()
            && let Some(units) = field::plain_units(&self.fields[slot], &number)
        {
            self.event.set_number(slot, units);
            return Some(());
        }
        self.store(member, Found::Number(number))
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
    fn pass(&mut self) -> Option<()> {
        match self.next()? {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => None,
        }
    }

    fn rest(&self) -> &'t [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let is_there = self.next() == Some(byte);
        self.at += usize::from(is_there);
        is_there.then_some(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.next() {
            self.at += 1;
        }
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        let is_there = self.rest().starts_with(literal.as_bytes());
        self.at += literal.len();
        is_there.then_some(())
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'t str> {
        self.expect(b'"')?;
        let start = self.at;
        let end = start + first_special(self.rest())?;
        self.at = end;
        self.expect(b'"')?;
        Some(&self.text[start..end])
    }

    fn number(&mut self) -> Option<Number<'t>> {
        let number = Number::at_start_of(&self.text[self.at..])?;
        self.at += number.text.len();
        Some(number)
    }
}

/// Where the first quote, backslash or control character is, looking at eight bytes at a time: "Determine if a word has
/// a byte less than n" of Anderson's Bit Twiddling Hacks, which is exact up to the first such byte.
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
