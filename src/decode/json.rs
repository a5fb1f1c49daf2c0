//! JSON records, whatever they look like: one pass that stops only at declared members. Most are read before that by
//! `scan.rs`, which is quicker and gives up at once.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

use super::field::{self, Found, excerpt, not_decodable};
use super::number::Number;
use super::scan::{Written, scan};
use super::take::Take;
use crate::core::event::{Event, Invalid};
use crate::core::source::{Field, Slot, Source};

/// The declared members of a source, as a tree of objects.
#[derive(Debug)]
pub struct Decoder {
    fields: Vec<Field>,
    root: Object,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) members: Vec<Member>,
    /// A bit for each member that is never absent. None: there are more members than bits.
    pub(super) required: Option<u64>,
}

/// A declared name in an object: fields that take its value, members declared inside it.
#[derive(Debug)]
pub(super) struct Member {
    name: String,
    /// As it mostly stands in a record.
    pub(super) written: Written,
    /// What mostly becomes of its value.
    pub(super) take: Take,
    pub(super) slots: Vec<Slot>,
    pub(super) object: Object,
    /// A field that takes its value, or one inside it, is never absent.
    pub(super) is_required: bool,
}

impl Default for Object {
    fn default() -> Object {
        Object { members: Vec::new(), required: Some(0) }
    }
}

impl Decoder {
    pub fn new(source: &Source) -> Decoder {
        // Nothing can be said of an event without a time, so that one is never optional.
        let mut fields = source.fields.clone();
        if let Some(event_time) = fields.get_mut(source.event_time.slot) {
            event_time.optional = false;
        }
        Decoder::of(fields)
    }

    pub(super) fn of(fields: Vec<Field>) -> Decoder {
        let mut root = Object::default();
        for (slot, field) in fields.iter().enumerate() {
            root.insert(&field.path, field, slot);
        }
        Decoder { fields, root }
    }

    #[cfg(test)]
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Reads what is ordinary. None: it has to be read in full.
    pub(super) fn scan(&self, text: &str, event: &mut Event) -> Option<()> {
        scan(&self.root, &self.fields, text, event)
    }

    pub fn decode(&self, payload: &[u8], event: &mut Event) -> Result<(), Invalid> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            let at = error.valid_up_to();
            not_decodable(format_args!(
                "expected JSON in UTF-8, found byte 0x{:02x} at offset {at}",
                payload[at]
            ))
        })?;
        match self.scan(text, event) {
            Some(()) => Ok(()),
            None => self.decode_in_full(text, event),
        }
    }

    /// Reads whatever is JSON, and says what is wrong with it.
    pub(super) fn decode_in_full(&self, text: &str, event: &mut Event) -> Result<(), Invalid> {
        event.clear(self.fields.len());
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err(not_decodable(format_args!("expected a JSON object, found \"{}\"", excerpt(text))));
        }
        let mut record = Record { fields: &self.fields, event, faults: Vec::new() };
        record.read(&self.root, text).map_err(|error| {
            not_decodable(format_args!("expected JSON: {error}; found {}", excerpt(text)))
        })?;
        record.verdict()
    }
}

impl Object {
    fn insert(&mut self, path: &[String], field: &Field, slot: Slot) {
        let Some((name, inner)) = path.split_first() else {
            return;
        };
        let at = self.members.iter().position(|m| m.name == *name).unwrap_or_else(|| {
            let (name, written) = (name.clone(), Written::of(name));
            let (take, slots, object) = (Take::Other, Vec::new(), Object::default());
            self.members.push(Member { name, written, take, slots, object, is_required: false });
            self.members.len() - 1
        });
        let member = &mut self.members[at];
        match inner {
            [] => member.slots.push(slot),
            _ => member.object.insert(inner, field, slot),
        }
        member.take = match member.slots[..] {
            [slot] if member.object.members.is_empty() => Take::of(field, slot),
            _ => Take::Other,
        };
        member.is_required |= !field.optional;
        let bit = |(place, member): (usize, &Member)| {
            1u64.checked_shl(place as u32).map(|bit| bit * u64::from(member.is_required))
        };
        self.required = self.members.iter().enumerate().map(bit).try_fold(0, |all, bit| Some(all | bit?));
    }

    /// Where `name` stands. Producers write the same names in the same order again and again, so the search begins
    /// behind the last name found and mostly ends at once.
    pub(super) fn find(&self, name: &str, start: usize) -> Option<usize> {
        let (before, after) = self.members.split_at(start.min(self.members.len()));
        let place = |members: &[Member]| members.iter().position(|m| m.name == name);
        place(after).map(|at| before.len() + at).or_else(|| place(before))
    }

    fn each_slot(&self, visit: &mut impl FnMut(Slot)) {
        for member in &self.members {
            member.slots.iter().copied().for_each(&mut *visit);
            member.object.each_slot(visit);
        }
    }
}

/// A record being read. Faults wait until its end, because a later member of the same name replaces an earlier one.
struct Record<'a> {
    fields: &'a [Field],
    event: &'a mut Event,
    faults: Vec<(Slot, Invalid)>,
}

impl Record<'_> {
    fn read(&mut self, object: &Object, text: &str) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        (&mut json).deserialize_map(Members { record: self, object })?;
        json.end()
    }

    fn member(&mut self, member: &Member, raw: &str) -> Result<(), serde_json::Error> {
        for &slot in &member.slots {
            self.forget(slot);
            if let Err(fault) = self.value(slot, raw) {
                self.faults.push((slot, fault));
            }
        }
        if !member.object.members.is_empty() {
            self.nested(&member.object, raw)?;
        }
        Ok(())
    }

    /// The text of an object is read a second time, so that nothing recurses deeper than the declared paths.
    fn nested(&mut self, object: &Object, raw: &str) -> Result<(), serde_json::Error> {
        let mut first = Slot::MAX;
        object.each_slot(&mut |slot| {
            self.forget(slot);
            first = first.min(slot);
        });
        match raw.as_bytes() {
            [b'{', ..] => self.read(object, raw)?,
            b"null" => {}
            _ => {
                let field = &self.fields[first];
                let fault = field::wrong_type(field, Found::Other(raw), "an object around it");
                self.faults.push((first, fault));
            }
        }
        Ok(())
    }

    fn value(&mut self, slot: Slot, raw: &str) -> Result<(), Invalid> {
        let field = &self.fields[slot];
        let text;
        let found = match raw.as_bytes() {
            b"null" => return Ok(()),
            b"true" => Found::Boolean(true),
            b"false" => Found::Boolean(false),
            [b'"', ..] => {
                text = unquoted(raw).map_err(|_| field::not_unicode(field, raw))?;
                // JSON has no bare control characters: only an escape can bring this one.
                if matches!(&text, Cow::Owned(text) if text.contains('\0')) {
                    return Err(field::holds_nul(field, &text));
                }
                Found::Text(&text)
            }
            [b'-' | b'0'..=b'9', ..] => Found::Number(Number::of(raw)),
            _ => Found::Other(raw),
        };
        field::store(field, slot, found, self.event)
    }

    /// Whatever an earlier member of the same name said of `slot`.
    fn forget(&mut self, slot: Slot) {
        self.event.set_absent(slot);
        self.faults.retain(|(faulty, _)| *faulty != slot);
    }

    fn verdict(self) -> Result<(), Invalid> {
        let Record { fields, event, mut faults } = self;
        for (slot, field) in fields.iter().enumerate() {
            if let Some(at) = faults.iter().position(|(faulty, _)| *faulty == slot) {
                return Err(faults.swap_remove(at).1);
            }
            if !field.optional && event.is_absent(slot) {
                return Err(field::missing(field));
            }
        }
        Ok(())
    }
}

/// A JSON string's text; borrowed unless it has escapes. Fails for escapes that are no Unicode (half a surrogate).
fn unquoted(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    // Looking at every byte without a branch is far faster for short texts than a search that can stop early.
    if raw.bytes().fold(false, |found, b| found | (b == b'\\')) {
        return serde_json::from_str(raw).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(&raw[1..raw.len() - 1]))
}

/// Visits an object's members and hands the declared ones to the record.
struct Members<'r, 'a, 'o> {
    record: &'r mut Record<'a>,
    object: &'o Object,
}

impl<'de> Visitor<'de> for Members<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(found) = members.next_key_seed(Name { object: self.object, next })? {
            let Some(at) = found else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &RawValue = members.next_value()?;
            self.record.member(&self.object.members[at], raw.get()).map_err(A::Error::custom)?;
            next = at + 1;
        }
        Ok(())
    }
}

/// A member's name, looked up as it is read.
struct Name<'o> {
    object: &'o Object,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.object.find(name, self.next))
    }
}
