//! What a declared field accepts, whatever the format, and the words for what it does not.

use std::fmt::Display;

use super::number::{Number, Rounding, written};
use super::timestamp;
use crate::core::event::{Event, Invalid, Reason};
use crate::core::source::{Bounds, Field, FieldKind, Slot, TimestampForm};

/// A value as a format found it.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    Number(Number<'a>),
    /// Without the character U+0000: see [`holds_nul`].
    Text(&'a str),
    Boolean(bool),
    /// An object, an array or whatever no field can be; as written.
    Other(&'a str),
}

/// Checks `found` against `field` and stores it.
pub fn store(field: &Field, slot: Slot, found: Found<'_>, event: &mut Event) -> Result<(), Invalid> {
    let number = match (&field.kind, found) {
        (FieldKind::String { max_length, upper, map }, Found::Text(text)) => {
            check_text(field, text, *max_length)?;
            if *upper && text.bytes().any(|b| !b.is_ascii() || b.is_ascii_lowercase()) {
                let text = text.to_uppercase();
                event.set_text(slot, map.get(&text).unwrap_or(&text));
            } else {
                event.set_text(slot, map.get(text).map_or(text, String::as_str));
            }
            return Ok(());
        }
        (FieldKind::Integer(bounds), Found::Number(number)) => scaled_within(field, number, 0, *bounds)?,
        (FieldKind::Decimal { scale, bounds }, Found::Number(number)) => {
            scaled_within(field, number, *scale, *bounds)?
        }
        (FieldKind::Timestamp(form), found) => timestamp_us(field, *form, found)?,
        (FieldKind::Boolean, Found::Boolean(value)) => i64::from(value),
        (FieldKind::String { .. }, _) => return Err(wrong_type(field, found, "a string")),
        (FieldKind::Integer(_), _) => return Err(wrong_type(field, found, "a whole number")),
        (FieldKind::Decimal { .. }, _) => return Err(wrong_type(field, found, "a number")),
        (FieldKind::Boolean, _) => return Err(wrong_type(field, found, "true or false")),
    };
    event.set_number(slot, number);
    Ok(())
}

fn check_text(field: &Field, text: &str, max_length: Option<u32>) -> Result<(), Invalid> {
    if text.is_empty() && !field.optional {
        let expected = "a string that is not empty";
        return Err(invalid(field, Reason::MissingField, Found::Text(text), expected));
    }
    if let Some(most) = max_length
        && text.len() > most as usize
    {
        let expected = format!("at most {most} bytes; these are {}", text.len());
        return Err(invalid(field, Reason::OutOfRange, Found::Text(text), &expected));
    }
    Ok(())
}

fn scaled_within(field: &Field, number: Number<'_>, scale: u8, bounds: Bounds) -> Result<i64, Invalid> {
    let rounded = number.scaled(i32::from(scale), Rounding::HalfEven);
    if matches!(field.kind, FieldKind::Integer(_)) && rounded.is_some_and(|s| !s.exact) {
        return Err(wrong_type(field, Found::Number(number), "a whole number"));
    }
    match rounded {
        Some(rounded) if (bounds.min..=bounds.max).contains(&rounded.units) => Ok(rounded.units),
        Some(_) | None => {
            let (min, max) = (written(bounds.min, scale), written(bounds.max, scale));
            let expected = format!("a number from {min} to {max}");
            Err(invalid(field, Reason::OutOfRange, Found::Number(number), &expected))
        }
    }
}

fn timestamp_us(field: &Field, form: TimestampForm, found: Found<'_>) -> Result<i64, Invalid> {
    let read = match (timestamp::epoch_power(form), found) {
        (Some(power), Found::Number(number)) => timestamp::epoch_us(number, power),
        (None, Found::Text(text)) => timestamp::rfc3339_us(text),
        (Some(_), _) | (None, _) => None,
    };
    read.and_then(timestamp::within_years).ok_or_else(|| {
        let expected = format!("{} within {}", form_words(form), timestamp::YEARS);
        invalid(field, Reason::BadTimestamp, found, &expected)
    })
}

fn form_words(form: TimestampForm) -> &'static str {
    match form {
        TimestampForm::Rfc3339 => "an RFC 3339 time with its offset, such as \"2025-10-31T02:00:00.123Z\",",
        TimestampForm::EpochSeconds => "a number of seconds since 1970",
        TimestampForm::EpochMillis => "a number of milliseconds since 1970",
        TimestampForm::EpochMicros => "a number of microseconds since 1970",
        TimestampForm::EpochNanos => "a number of nanoseconds since 1970",
    }
}

/// The record has no value for a required field.
pub fn missing(field: &Field) -> Invalid {
    Invalid {
        reason: Reason::MissingField,
        detail: format!("{}: expected a value, found none", place(field)),
    }
}

/// The text has the character U+0000. A text may become a key, and the database takes none that has it.
pub fn holds_nul(field: &Field, text: &str) -> Invalid {
    invalid(field, Reason::OutOfRange, Found::Text(text), "text without the character U+0000")
}

/// A string of the format that stands for no text.
pub fn not_unicode(field: &Field, found: &str) -> Invalid {
    let expected = "text without half a surrogate pair";
    invalid(field, Reason::NotDecodable, Found::Other(found), expected)
}

pub fn wrong_type(field: &Field, found: Found<'_>, expected: &str) -> Invalid {
    invalid(field, Reason::WrongType, found, expected)
}

/// The bytes are no record of the format at all; `problem` names no field.
pub fn not_decodable(problem: impl Display) -> Invalid {
    Invalid { reason: Reason::NotDecodable, detail: problem.to_string() }
}

fn invalid(field: &Field, reason: Reason, found: Found<'_>, expected: &str) -> Invalid {
    let found = match found {
        Found::Text(text) => format!("\"{}\"", excerpt(text)),
        Found::Number(number) => excerpt(number.text),
        Found::Other(text) => excerpt(text),
        Found::Boolean(value) => value.to_string(),
    };
    Invalid { reason, detail: format!("{}: expected {expected}, found {found}", place(field)) }
}

/// The field's name, and its path where that differs.
fn place(field: &Field) -> String {
    let path = field.path.join(".");
    if path == field.name { format!("field {path}") } else { format!("field {} (at {path})", field.name) }
}

/// At most 80 characters of `text` with everything that does not print escaped, and the sign that more followed.
pub fn excerpt(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown = String::new();
    for c in text.chars().take(MOST) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Value;
    use std::collections::BTreeMap;

    fn field(kind: FieldKind) -> Field {
        Field { name: "f".into(), path: vec!["f".into()], kind, optional: false, unit: String::new() }
    }

    fn text_field(max_length: Option<u32>, upper: bool, map: &[(&str, &str)]) -> Field {
        let map: BTreeMap<_, _> =
            map.iter().map(|(code, name)| (code.to_string(), name.to_string())).collect();
        field(FieldKind::String { max_length, upper, map })
    }

    fn stored_text(field: &Field, text: &str) -> Result<String, Invalid> {
        let mut event = Event::default();
        event.clear(1);
        store(field, 0, Found::Text(text), &mut event)?;
        match event.value(0) {
            Value::Text(text) => Ok(text.to_owned()),
            other => panic!("stored {other:?}"),
        }
    }

    #[test]
    fn upper_case_comes_before_the_map() {
        let field = text_field(None, true, &[("DE", "Germany"), ("fr", "France")]);
        let texts = ["de", "DE", "fr", "straße", "get"].map(|t| stored_text(&field, t).unwrap());
        assert_eq!(texts, ["Germany", "Germany", "FR", "STRASSE", "GET"]);
        let field = text_field(None, false, &[("1", "Europe")]);
        assert_eq!(["1", "2"].map(|t| stored_text(&field, t).unwrap()), ["Europe", "2"]);
    }

    #[test]
    fn length_is_in_bytes_as_sent() {
        let field = text_field(Some(4), false, &[("ab", "longer than four")]);
        assert_eq!(stored_text(&field, "ab").unwrap(), "longer than four");
        assert_eq!(stored_text(&field, "éé").unwrap(), "éé");
        let over = stored_text(&field, "ééa").unwrap_err();
        assert_eq!(over.reason, Reason::OutOfRange);
        assert_eq!(over.detail, "field f: expected at most 4 bytes; these are 5, found \"ééa\"");
    }

    #[test]
    fn long_and_strange_values_are_shortened_and_escaped() {
        assert_eq!(excerpt("a\n\u{1b}[31m\"é\u{202e}"), "a\\n\\u{1b}[31m\"é\\u{202e}");
        assert_eq!(excerpt(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(excerpt(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
    }

    #[test]
    fn places_name_the_path_when_it_differs() {
        let mut field = field(FieldKind::Boolean);
        field.path = vec!["http".into(), "ok".into()];
        let wrong = wrong_type(&field, Found::Number(Number::of("1")), "true or false");
        assert_eq!(wrong.detail, "field f (at http.ok): expected true or false, found 1");
    }
}
