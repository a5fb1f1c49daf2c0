//! What may be a name: of documents, topics, tables and columns.

use super::diagnostic::Problem;
use super::reader::text;
use super::yaml::Node;

/// Longest name Postgres keeps whole.
pub const MAX_IDENTIFIER_BYTES: usize = 63;
/// Leaves room for the suffixes of partitions and indexes.
pub const MAX_TABLE_BYTES: usize = 48;
/// Longest topic name a broker takes.
const MAX_TOPIC_BYTES: usize = 249;

/// `metadata.name`, rules: a DNS label, so that it fits wherever Kubernetes and OpenSLO tools take it.
pub fn document_name(node: &Node) -> Result<String, Problem> {
    let name = text(node)?;
    let inside = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let edges = !name.starts_with('-') && !name.ends_with('-');
    if name.is_empty() || name.len() > 63 || !inside || !edges {
        let help = "lower-case letters, digits and inner dashes, at most 63, as in `error-rate`";
        return Err(Problem::new(format!("`{name}` cannot be a name"), help));
    }
    Ok(name.to_owned())
}

/// A topic, or a part of Kafka's own names: groups, transactional ids.
pub fn topic_name(node: &Node) -> Result<String, Problem> {
    check_topic_name(text(node)?).map(str::to_owned)
}

pub fn check_topic_name(name: &str) -> Result<&str, Problem> {
    let inside = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if name.is_empty() || name.len() > MAX_TOPIC_BYTES || !inside || name == "." || name == ".." {
        let help = format!("letters, digits, `.`, `_` and `-`, at most {MAX_TOPIC_BYTES}");
        return Err(Problem::new(format!("`{name}` cannot be a name in Kafka"), help));
    }
    Ok(name)
}

/// A column or schema in Postgres, usable without quotes.
pub fn check_identifier(name: &str) -> Result<(), Problem> {
    let inside = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let start = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if name.len() > MAX_IDENTIFIER_BYTES || !inside || !start {
        let help = format!(
            "lower-case letters, digits and `_`, no digit first, at most {MAX_IDENTIFIER_BYTES}, as in `unit_price`"
        );
        return Err(Problem::new(format!("`{name}` cannot be a name in Postgres"), help));
    }
    Ok(())
}

/// A field, as conditions write it: words joined by dots.
pub fn check_field_name(name: &str) -> Result<(), Problem> {
    let word = |word: &str| {
        let inside = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        inside && word.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    };
    if name.len() > MAX_IDENTIFIER_BYTES || !name.split('.').all(word) {
        let help = "name it with letters, digits and `_`, and say with `path:` where it stands in the record";
        return Err(Problem::new(format!("`{name}` cannot be the name of a field"), help));
    }
    Ok(())
}
