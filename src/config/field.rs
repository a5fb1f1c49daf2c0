//! `fields` of a source: how values are read and what they may be.

use std::collections::BTreeMap;

use super::decimal::{Decimal, decimal};
use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::name::check_field_name;
use super::reader::{Mapping, boolean, count, owned_text, text, texts};
use super::yaml::{Entry, Node};
use crate::core::source::{Bounds, Field, FieldKind, Slot, TimestampForm};

/// 10^18 is the largest power of ten an `i64` holds.
const MAX_SCALE: u8 = 18;
const TYPES: [&str; 5] = ["timestamp", "string", "integer", "decimal", "boolean"];

/// What is wrong is noted. None when the type is not known; else what can be read, so that uses can be checked too.
pub fn field(entry: &Entry, diagnostics: &mut Diagnostics) -> Option<Field> {
    let type_name = match Mapping::of_any_keys(&entry.value, diagnostics)?.node("type").map(text) {
        Some(Ok(name)) if TYPES.contains(&name) => name,
        Some(Ok(name)) => {
            let message = format!("`{name}` is not a type");
            diagnostics.push(&entry.place, Problem::new(message, suggestion(name, TYPES)));
            return None;
        }
        Some(Err(problem)) => {
            diagnostics.push(&entry.place, problem.of_key("type"));
            return None;
        }
        None => {
            let message = format!("the field `{}` has no `type`", entry.key);
            diagnostics.push(&entry.place, Problem::new(message, format!("one of {}", TYPES.join(", "))));
            return None;
        }
    };
    let own: &[&str] = match type_name {
        "timestamp" => &["unit"],
        "string" => &["max_length", "upper", "map"],
        "integer" => &["unit", "min", "max", "min_exclusive", "max_exclusive"],
        "decimal" => &["unit", "scale", "min", "max", "min_exclusive", "max_exclusive"],
        _ => &[],
    };
    let known = [&["type", "path", "optional"], own].concat();
    let keys = Mapping::open(&entry.value, &known, diagnostics)?;
    diagnostics.accept(&entry.place, check_field_name(&entry.key));
    let path = match keys.node("path") {
        Some(_) => keys.optional("path", diagnostics, |node| path(text(node)?)),
        None => diagnostics.accept(&entry.place, path(&entry.key)),
    };
    let optional = keys.optional("optional", diagnostics, boolean).unwrap_or(false);
    let kind = kind(type_name, &keys, diagnostics);
    let unit = match type_name {
        "integer" | "decimal" => keys.optional("unit", diagnostics, unit),
        _ => None,
    };
    let (path, unit) = (path.unwrap_or_default(), unit.unwrap_or_default());
    Some(Field { name: entry.key.clone(), path, kind, optional, unit })
}

fn kind(type_name: &str, keys: &Mapping<'_>, diagnostics: &mut Diagnostics) -> FieldKind {
    match type_name {
        "timestamp" => {
            let form = keys.optional("unit", diagnostics, timestamp_form);
            FieldKind::Timestamp(form.unwrap_or(TimestampForm::Rfc3339))
        }
        "string" => {
            let max_length = keys.optional("max_length", diagnostics, count(1..=1_048_576));
            let upper = keys.optional("upper", diagnostics, boolean).unwrap_or(false);
            let map: BTreeMap<_, _> =
                keys.node("map").map(|node| texts(node, diagnostics)).unwrap_or_default();
            FieldKind::String { max_length, upper, map }
        }
        "integer" => FieldKind::Integer(bounds(keys, 0, diagnostics)),
        "decimal" => match keys.required("scale", diagnostics, count(0..=MAX_SCALE)) {
            Some(scale) => FieldKind::Decimal { scale, bounds: bounds(keys, scale, diagnostics) },
            None => FieldKind::Decimal { scale: 0, bounds: Bounds::NONE },
        },
        _ => FieldKind::Boolean,
    }
}

fn timestamp_form(node: &Node) -> Result<TimestampForm, Problem> {
    match text(node)? {
        "s" => Ok(TimestampForm::EpochSeconds),
        "ms" => Ok(TimestampForm::EpochMillis),
        "us" => Ok(TimestampForm::EpochMicros),
        "ns" => Ok(TimestampForm::EpochNanos),
        other => {
            let help = "s, ms, us or ns since 1970; without a unit the text is RFC 3339";
            Err(Problem::new(format!("`{other}` is not a unit of timestamps"), help))
        }
    }
}

/// `min` and `max` scaled and inclusive.
fn bounds(keys: &Mapping<'_>, scale: u8, diagnostics: &mut Diagnostics) -> Bounds {
    let min = end(keys, "min", "min_exclusive", diagnostics, |bound, exclusive| {
        let scaled = bound.scaled(scale)?;
        i64::try_from(scaled.ceiling() + i128::from(exclusive && scaled.exact)).ok()
    });
    let max = end(keys, "max", "max_exclusive", diagnostics, |bound, exclusive| {
        let scaled = bound.scaled(scale)?;
        i64::try_from(scaled.floor - i128::from(exclusive && scaled.exact)).ok()
    });
    let bounds = Bounds { min: min.unwrap_or(i64::MIN), max: max.unwrap_or(i64::MAX) };
    if bounds.min > bounds.max {
        let help = "let `min` be smaller than `max`, with a value of this scale between them";
        diagnostics.push(keys.place, Problem::new("no value fits between `min` and `max`", help));
    }
    bounds
}

/// One end of the bounds. None when there is none, and also, noted, when it is wrong.
fn end(
    keys: &Mapping<'_>,
    key: &str,
    exclusive_key: &str,
    diagnostics: &mut Diagnostics,
    fold: impl Fn(Decimal, bool) -> Option<i64>,
) -> Option<i64> {
    let exclusive = keys.optional(exclusive_key, diagnostics, boolean).unwrap_or(false);
    if !keys.has(key) {
        if keys.has(exclusive_key) {
            let message = format!("`{exclusive_key}` without `{key}` has no meaning");
            diagnostics.push(keys.place, Problem::new(message, format!("add `{key}:`")));
        }
        return None;
    }
    keys.optional(key, diagnostics, |node| {
        let too_large =
            || Problem::new("the bound times 10^scale is beyond 64 bits", "use a smaller bound or scale");
        fold(decimal(node)?, exclusive).ok_or_else(too_large)
    })
}

fn path(text: &str) -> Result<Vec<String>, Problem> {
    if text.split('.').any(str::is_empty) {
        let help = "write the names from the outermost object, joined by dots: `http.status`";
        return Err(Problem::new(format!("`{text}` is not a path"), help));
    }
    Ok(text.split('.').map(str::to_owned).collect())
}

fn unit(node: &Node) -> Result<String, Problem> {
    const MAX_UNIT_BYTES: usize = 16;
    match owned_text(node)? {
        unit if unit.len() <= MAX_UNIT_BYTES => Ok(unit),
        unit => Err(Problem::new(
            format!("`{unit}` is too long for a unit"),
            "write it short: `ms`, `B`, `USD/t`",
        )),
    }
}

/// What an aggregate or key may be made of.
#[derive(Clone, Copy)]
pub enum Use {
    /// Arithmetic.
    Number,
    /// Keys, counts by value, distinct counts.
    Label,
}

/// The slot of `name` when its type fits.
pub fn slot(name: &str, fields: &[Field], usage: Use) -> Result<Slot, Problem> {
    let Some(slot) = fields.iter().position(|f| f.name == name) else {
        let help = suggestion(name, fields.iter().map(|f| f.name.as_str()));
        return Err(Problem::new(format!("`{name}` is not a field of this source"), help));
    };
    let kind = &fields[slot].kind;
    let wanted = match (usage, kind) {
        (Use::Number, FieldKind::Integer(_) | FieldKind::Decimal { .. }) => return Ok(slot),
        (Use::Label, FieldKind::String { .. } | FieldKind::Integer(_) | FieldKind::Boolean) => {
            return Ok(slot);
        }
        (Use::Number, _) => "an integer or decimal is wanted here",
        (Use::Label, _) => "a string, integer or boolean is wanted here",
    };
    Err(Problem::new(format!("`{name}` is a {}", type_name(kind)), wanted))
}

/// The word for the type in documents.
pub fn type_name(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Timestamp(_) => "timestamp",
        FieldKind::String { .. } => "string",
        FieldKind::Integer(_) => "integer",
        FieldKind::Decimal { .. } => "decimal",
        FieldKind::Boolean => "boolean",
    }
}
