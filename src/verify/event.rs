//! Bytes to the values of a source's declared fields, or the reason why not.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::source::{Bounds, Field, FieldKind, Format, Source};

use super::moment::event_us;
use super::number::{Rounding, scaled};

/// As the `reason` header of a dead letter says it.
pub type Reason = &'static str;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Absent,
    /// Decimals are scaled, timestamps in microseconds, booleans 0 or 1.
    Number(i64),
    Text(Cow<'a, str>),
}

impl Value<'_> {
    pub fn number(&self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Absent | Value::Text(_) => None,
        }
    }

    /// As a key shows it.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Absent => None,
            Value::Number(number) => Some(number.to_string().into()),
            Value::Text(text) => Some(Cow::Borrowed(text)),
        }
    }
}

/// A member's name; borrowed unless it is written with escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Of members of one name the last counts.
type Object<'a> = BTreeMap<Name<'a>, &'a RawValue>;

/// What stands at a field's path.
enum Found<'a> {
    Nothing,
    Raw(&'a str),
    /// Something that is no object stands around it.
    NoObject,
}

/// The values in the order of the source's fields. The first field at fault gives the reason.
pub fn decode<'a>(
    source: &Source,
    payload: Option<&'a [u8]>,
    most_bytes: usize,
) -> Result<Vec<Value<'a>>, Reason> {
    if payload.is_some_and(|payload| payload.len() > most_bytes) {
        return Err("TOO_LARGE");
    }
    let text = payload.and_then(|payload| std::str::from_utf8(payload).ok()).ok_or("NOT_DECODABLE")?;
    let object = match source.format {
        Format::Json => object(text)?,
    };
    let found = source.fields.iter().map(|field| find(&object, &field.path));
    let found = found.collect::<Result<Vec<_>, Reason>>()?;
    let each = found.into_iter().zip(&source.fields).enumerate();
    // Nothing can be said of an event without a time.
    each.map(|(slot, (found, field))| value(field, !field.optional || slot == source.event_time.slot, found))
        .collect()
}

fn object(text: &str) -> Result<Object<'_>, Reason> {
    serde_json::from_str(text).map_err(|_| "NOT_DECODABLE")
}

fn find<'a>(within: &Object<'a>, path: &[String]) -> Result<Found<'a>, Reason> {
    let Some((name, inner)) = path.split_first() else { return Ok(Found::Nothing) };
    let Some(raw) = within.get(name.as_str()).map(|raw| raw.get()) else { return Ok(Found::Nothing) };
    match raw {
        "null" => Ok(Found::Nothing),
        raw if inner.is_empty() => Ok(Found::Raw(raw)),
        raw if raw.starts_with('{') => find(&object(raw)?, inner),
        _ => Ok(Found::NoObject),
    }
}

fn value<'a>(field: &Field, required: bool, found: Found<'a>) -> Result<Value<'a>, Reason> {
    let raw = match found {
        Found::Nothing if required => return Err("MISSING_FIELD"),
        Found::Nothing => return Ok(Value::Absent),
        Found::NoObject => return Err("WRONG_TYPE"),
        Found::Raw(raw) => raw,
    };
    let text = if raw.starts_with('"') { Some(unquoted(raw)?) } else { None };
    match &field.kind {
        FieldKind::Timestamp(form) => {
            let at_us = event_us(*form, raw, text.as_deref());
            at_us.map(Value::Number).ok_or("BAD_TIMESTAMP")
        }
        FieldKind::String { max_length, upper, map } => {
            let text = text.ok_or("WRONG_TYPE")?;
            if text.is_empty() && required {
                return Err("MISSING_FIELD");
            }
            if max_length.is_some_and(|most| text.len() > most as usize) {
                return Err("OUT_OF_RANGE");
            }
            let text = if *upper { text.to_uppercase().into() } else { text };
            Ok(Value::Text(map.get(text.as_ref()).map_or(text, |name| name.clone().into())))
        }
        FieldKind::Integer(bounds) => number(raw, 0, *bounds, true),
        FieldKind::Decimal { scale, bounds } => number(raw, *scale, *bounds, false),
        FieldKind::Boolean => match raw {
            "true" => Ok(Value::Number(1)),
            "false" => Ok(Value::Number(0)),
            _ => Err("WRONG_TYPE"),
        },
    }
}

fn number(raw: &str, scale: u8, bounds: Bounds, whole: bool) -> Result<Value<'static>, Reason> {
    if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Err("WRONG_TYPE");
    }
    let number = scaled(raw, scale.into(), Rounding::HalfEven).ok_or("OUT_OF_RANGE")?;
    match number.units {
        _ if whole && !number.exact => Err("WRONG_TYPE"),
        units if (bounds.min..=bounds.max).contains(&units) => Ok(Value::Number(units)),
        _ => Err("OUT_OF_RANGE"),
    }
}

/// Half a surrogate pair is no text, and no table takes the character U+0000.
fn unquoted(raw: &str) -> Result<Cow<'_, str>, Reason> {
    if !raw.contains('\\') {
        return Ok(Cow::Borrowed(raw.trim_matches('"')));
    }
    let text: String = serde_json::from_str(raw).map_err(|_| "NOT_DECODABLE")?;
    if text.contains('\0') { Err("OUT_OF_RANGE") } else { Ok(text.into()) }
}
