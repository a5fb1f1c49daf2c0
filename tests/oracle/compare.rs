//! Rows side by side.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Row, rfc3339};

/// Columns of passage: they say how a row came to be, not what it holds.
const PASSAGE: &[&str] = &["revision", "version", "is_final", "complete", "watermark", "updated_at", "shard"];
/// Differences written out; the rest is only counted.
const SHOWN: usize = 20;

/// Fails with the first differences, one a line. Rows may come in any order; columns of passage are left out.
pub fn compare(expected: &[Row], actual: &[Row]) -> Result<(), String> {
    let mut differences = Vec::new();
    let expected = by_identity(expected, "expected", &mut differences);
    let actual = by_identity(actual, "actual", &mut differences);
    for (identity, row) in &expected {
        match actual.get(identity) {
            None => differences.push(format!("{}: no such row", name(row))),
            Some(other) => compare_values(row, other, &mut differences),
        }
    }
    for (identity, row) in &actual {
        if !expected.contains_key(identity) {
            differences.push(format!(
                "{}: a row too many, event_count {}",
                name(row),
                row.values["event_count"]
            ));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let mut text = format!(
        "{} differences between {} expected and {} actual rows:\n",
        differences.len(),
        expected.len(),
        actual.len()
    );
    for difference in differences.iter().take(SHOWN) {
        let _ = writeln!(text, "  {difference}");
    }
    if differences.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", differences.len() - SHOWN);
    }
    Err(text)
}

/// The rows without some columns, such as `late_count` between runs that spread records otherwise.
pub fn without(rows: &[Row], columns: &[&str]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        if let Value::Object(values) = &mut row.values {
            values.retain(|column, _| !columns.contains(&column.as_str()));
        }
    }
    rows
}

type Identity<'a> = (&'a str, &'a [String], i64);

fn by_identity<'a>(
    rows: &'a [Row],
    side: &str,
    differences: &mut Vec<String>,
) -> BTreeMap<Identity<'a>, &'a Row> {
    let mut map = BTreeMap::new();
    for row in rows {
        let identity = (row.table.as_str(), row.key.as_slice(), row.hour_us);
        if map.insert(identity, row).is_some() {
            differences.push(format!("{}: more than once among the {side} rows", name(row)));
        }
    }
    map
}

fn compare_values(expected: &Row, actual: &Row, differences: &mut Vec<String>) {
    let (Value::Object(left), Value::Object(right)) = (&expected.values, &actual.values) else {
        differences.push(format!("{}: no object", name(actual)));
        return;
    };
    let columns: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for column in columns {
        if PASSAGE.contains(&column.as_str()) {
            continue;
        }
        let text = |value: Option<&Value>| value.map_or("no column".to_owned(), shortened);
        if left.get(column) != right.get(column) {
            let (wanted, found) = (text(left.get(column)), text(right.get(column)));
            differences.push(format!("{} {column}: expected {wanted}, found {found}", name(expected)));
        }
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        None => text,
        Some((at, _)) => format!("{}... ({} bytes)", &text[..at], text.len()),
    }
}

fn name(row: &Row) -> String {
    format!("{} {:?} {}", row.table, row.key, rfc3339(row.hour_us))
}
