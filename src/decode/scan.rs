//! JSON as producers mostly write it, in one pass: names and texts without escapes, every declared value right, and
//! no more objects than are declared. Whatever else comes is left to the reader that knows all of JSON and says what
//! is wrong (`json.rs`); where this one reads a record, that one reads the same.

use super::ahead::Ahead;
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
        if name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
            // It needs an escape, and is met nowhere.
            return Written { text: Box::default(), head: 1, mask: 0 };
        }
        let text = format!("\"{name}\":").into_bytes();
        let first = |byte: &dyn Fn(usize) -> u8| u128::from_le_bytes(std::array::from_fn(byte));
        Written {
            head: first(&|at| text.get(at).copied().unwrap_or(0)),
            mask: first(&|at| if at < text.len() { 0xff } else { 0 }),
            text: text.into(),
        }
    }

    /// Whether it stands `at` a place of the record, the first bytes of which are `head`.
    #[inline(always)]
    fn is_at(&self, record: Ahead<'_>, at: usize, head: u128) -> bool {
        head & self.mask == self.head
            && (self.text.len() <= size_of::<u128>() || record.starts_with(at, &self.text))
    }
}

/// Fills `event` from a record. None: the record is out of the ordinary, and `event` holds nothing of use.
pub(super) fn scan(root: &Object, fields: &[Field], text: &str, event: &mut Event) -> Option<()> {
    let mut padded = event.begin(fields.len());
    let is_right = Scan { record: Ahead::copy(text, &mut padded), fields, event }.whole(root);
    event.keep(padded);
    is_right
}

/// Every step begins `at` a place and gives the one behind what it read. Small steps are part of the large ones: calls
/// between them took as long as they.
struct Scan<'t, 's> {
    record: Ahead<'t>,
    fields: &'s [Field],
    event: &'s mut Event,
}

impl Scan<'_, '_> {
    fn whole(&mut self, root: &Object) -> Option<()> {
        let start = self.record.space(0);
        let end = (self.record.byte(start) == b'{').then(|| self.object(root, start + 1))??;
        (self.record.space(end) == self.record.end()).then_some(())
    }

    /// From behind the brace that opens it.
    fn object(&mut self, object: &Object, at: usize) -> Option<usize> {
        let record = self.record;
        let mut at = record.space(at);
        // One bit a member: of two with the same name the second counts, which is out of the ordinary.
        let (mut seen, mut next) = (0u64, 0);
        if record.byte(at) == b'}' {
            return (object.required? == 0).then_some(at + 1);
        }
        loop {
            let head = u128::from_le_bytes(*record.bytes(at)?);
            // Mostly it is the one behind the last.
            let (colon, found) = match object.members.get(next) {
                Some(member) if member.written.is_at(record, at, head) => {
                    (at + member.written.text.len(), Some((next, member)))
                }
                Some(_) | None => self.name(object, next, at)?,
            };
            at = match found {
                Some((place, member)) => {
                    let bit = 1 << (place % 64);
                    if seen & bit != 0 {
                        return None;
                    }
                    seen |= bit;
                    next = place + 1;
                    match member.take.value(record, colon, self.event) {
                        Some(end) => end,
                        None => self.other(member, record.space(colon))?,
                    }
                }
                None => self.pass(record.space(colon))?,
            };
            let [mut behind, mut then] = *record.bytes(at)?;
            if behind <= b' ' {
                at = record.space(at);
                [behind, then] = *record.bytes(at)?;
            }
            match behind {
                // A second space, and what else may come, is met where the name is looked for.
                b',' => at += 1 + usize::from(then == b' '),
                b'}' => {
                    let required = object.required?;
                    return (seen & required == required).then_some(at + 1);
                }
                _ => return None,
            }
        }
    }

    /// The place behind a name and its colon, and which member it is, if it is declared.
    fn name<'o>(
        &self,
        object: &'o Object,
        next: usize,
        at: usize,
    ) -> Option<(usize, Option<(usize, &'o Member)>)> {
        let record = self.record;
        let at = record.space(at);
        let head = u128::from_le_bytes(*record.bytes(at)?);
        let members = object.members.iter().enumerate();
        if let Some((place, member)) = members.clone().find(|(_, m)| m.written.is_at(record, at, head)) {
            return Some((at + member.written.text.len(), Some((place, member))));
        }
        let (start, end) = record.quoted(at)?;
        let colon = record.space(end + 1);
        let place = object.find(record.text(start..end), next);
        let found = place.and_then(|place| Some((place, object.members.get(place)?)));
        (record.byte(colon) == b':').then_some((colon + 1, found))
    }

    /// A value that has to be looked at more closely.
    fn other(&mut self, member: &Member, at: usize) -> Option<usize> {
        let record = self.record;
        match record.byte(at) {
            b'{' if member.slots.is_empty() => self.object(&member.object, at + 1),
            b'"' => {
                let (start, end) = record.quoted(at)?;
                self.store(member, Found::Text(record.text(start..end)))?;
                Some(end + 1)
            }
            b'-' | b'0'..=b'9' => {
                let number = Number::at_start_of(record.text(at..record.end()))?;
                self.store(member, Found::Number(number))?;
                Some(at + number.text.len())
            }
            _ => {
                let (end, found) = self.literal(at)?;
                match found {
                    Some(found) => self.store(member, Found::Boolean(found))?,
                    None if member.is_required => return None,
                    None => {}
                }
                Some(end)
            }
        }
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
        let record = self.record;
        match record.byte(at) {
            b'"' => record.quoted(at).map(|(_, end)| end + 1),
            b'-' | b'0'..=b'9' => Some(at + Number::at_start_of(record.text(at..record.end()))?.text.len()),
            _ => self.literal(at).map(|(end, _)| end),
        }
    }

    /// What a literal says; None for null.
    fn literal(&self, at: usize) -> Option<(usize, Option<bool>)> {
        let literals: [(&[u8], _); 3] = [(b"true", Some(true)), (b"false", Some(false)), (b"null", None)];
        let found = literals.into_iter().find(|(text, _)| self.record.starts_with(at, text));
        found.map(|(text, says)| (at + text.len(), says))
    }
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
        if decoder.scan(text, &mut scanned).is_none() {
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
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":1  ,,"b":true}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","a":"x","n":null}"#,
            r#"{"ts":"2025-10-31T02:00:00Z","n":1,"a":null}"#,
            "[]",
            "",
        ];
        let decoder = decoder();
        assert_eq!(ordinary.map(|text| is_scanned(&decoder, text)), [true; 3]);
        assert_eq!(out_of_it.map(|text| is_scanned(&decoder, text)), [false; 13]);
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
    }
}
