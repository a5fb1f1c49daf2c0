//! Typed reading of the YAML tree. A value that is wrong is noted and reading goes on.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::diagnostic::{Diagnostics, Place, Problem, suggestion};
use super::yaml::{Entry, Node, Value};

/// A mapping whose keys are all known. A key without a value counts as absent.
#[derive(Clone, Copy)]
pub struct Mapping<'n> {
    pub place: &'n Place,
    pub entries: &'n [Entry],
}

impl<'n> Mapping<'n> {
    /// Notes every key that is not in `known`. None, and noted, when `node` is no mapping.
    pub fn open(node: &'n Node, known: &[&str], diagnostics: &mut Diagnostics) -> Option<Mapping<'n>> {
        let mapping = Mapping::of_any_keys(node, diagnostics)?;
        for entry in mapping.entries.iter().filter(|e| !known.contains(&e.key.as_str())) {
            let help = suggestion(&entry.key, known.iter().copied());
            diagnostics.push(&entry.place, Problem::new(format!("`{}` is not a key here", entry.key), help));
        }
        Some(mapping)
    }

    /// A mapping whose keys are names given by the writer.
    pub fn of_any_keys(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<Mapping<'n>> {
        match &node.value {
            Value::Mapping(entries) => Some(Mapping { place: &node.place, entries }),
            Value::Null | Value::Scalar { .. } | Value::List(_) => {
                let message = format!("a mapping is wanted, found {}", node.describe());
                diagnostics.push(&node.place, Problem::new(message, "write `key: value` pairs"));
                None
            }
        }
    }

    pub fn node(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|e| e.key == key)?;
        (!matches!(entry.value.value, Value::Null)).then_some(&entry.value)
    }

    pub fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// None when the key is absent, and also, noted, when its value is wrong.
    pub fn optional<T>(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
        read: impl FnOnce(&'n Node) -> Result<T, Problem>,
    ) -> Option<T> {
        let node = self.node(key)?;
        diagnostics.accept(&node.place, read(node).map_err(|problem| problem.of_key(key)))
    }

    /// None, and noted, when the key is absent or its value is wrong.
    pub fn required<T>(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
        read: impl FnOnce(&'n Node) -> Result<T, Problem>,
    ) -> Option<T> {
        if !self.has(key) {
            self.miss(key, diagnostics);
        }
        self.optional(key, diagnostics, read)
    }

    /// The node of a key that must be there.
    pub fn required_node(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<&'n Node> {
        self.required(key, diagnostics, Ok)
    }

    /// Sets `target` when the key is there and right.
    pub fn set<T>(
        &self,
        key: &str,
        target: &mut T,
        diagnostics: &mut Diagnostics,
        read: impl FnOnce(&'n Node) -> Result<T, Problem>,
    ) {
        if let Some(value) = self.optional(key, diagnostics, read) {
            *target = value;
        }
    }

    fn miss(&self, key: &str, diagnostics: &mut Diagnostics) {
        diagnostics.push(self.place, Problem::new(format!("`{key}` is missing"), format!("add `{key}:`")));
    }
}

/// A single value as it is written, whatever it stands for.
pub fn scalar(node: &Node) -> Result<&str, Problem> {
    match &node.value {
        Value::Scalar { text, .. } => Ok(text),
        Value::Null | Value::List(_) | Value::Mapping(_) => {
            let message = format!("a single value is wanted, found {}", node.describe());
            Err(Problem::new(message, "write one value behind the colon"))
        }
    }
}

/// A text. A bare number or boolean is none: it must be quoted, so that nobody wonders which it is.
pub fn text(node: &Node) -> Result<&str, Problem> {
    let text = scalar(node)?;
    let plain = matches!(node.value, Value::Scalar { plain: true, .. });
    if plain && is_other_type(text) {
        return Err(Problem::new(format!("a text is wanted, found {text}"), format!("write \"{text}\"")));
    }
    Ok(text)
}

/// A plain value that other YAML readers take for a boolean or a number.
fn is_other_type(text: &str) -> bool {
    let number = text.bytes().any(|b| b.is_ascii_digit()) && text.parse::<f64>().is_ok();
    number || text == "true" || text == "false"
}

pub fn owned_text(node: &Node) -> Result<String, Problem> {
    text(node).map(str::to_owned)
}

pub fn boolean(node: &Node) -> Result<bool, Problem> {
    match (scalar(node)?, &node.value) {
        ("true", Value::Scalar { plain: true, .. }) => Ok(true),
        ("false", Value::Scalar { plain: true, .. }) => Ok(false),
        (other, _) => {
            let message = format!("`{other}` is neither true nor false");
            Err(Problem::new(message, "write `true` or `false`, without quotes"))
        }
    }
}

/// A whole number within `range`.
pub fn count<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Result<T, Problem>
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    move |node| {
        let text = scalar(node)?;
        let wrong = || {
            let message = format!("`{text}` is not a whole number from {} to {}", range.start(), range.end());
            Problem::new(message, "write it in digits, without quotes or unit")
        };
        let plain = matches!(node.value, Value::Scalar { plain: true, .. });
        let digits = plain && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| digits).ok_or_else(wrong)?;
        T::try_from(number).ok().filter(|n| range.contains(n)).ok_or_else(wrong)
    }
}

pub fn list(node: &Node) -> Result<&[Node], Problem> {
    match &node.value {
        Value::List(items) => Ok(items),
        Value::Null | Value::Scalar { .. } | Value::Mapping(_) => {
            let message = format!("a list is wanted, found {}", node.describe());
            Err(Problem::new(message, "write `[a, b]`"))
        }
    }
}

/// A mapping of names to texts.
pub fn texts(node: &Node, diagnostics: &mut Diagnostics) -> BTreeMap<String, String> {
    let entries = Mapping::of_any_keys(node, diagnostics).map_or(&[][..], |mapping| mapping.entries);
    let mut texts = BTreeMap::new();
    for entry in entries {
        let value = owned_text(&entry.value).map_err(|problem| problem.of_key(&entry.key));
        if let Some(value) = diagnostics.accept(&entry.place, value) {
            texts.insert(entry.key.clone(), value);
        }
    }
    texts
}
