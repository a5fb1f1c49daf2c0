//! `rollups` of a source: hourly tables, their keys and columns.

use std::collections::BTreeMap;

use super::aggregate::aggregate;
use super::diagnostic::{Diagnostics, Place, Problem};
use super::field::{Use, slot};
use super::name::{MAX_IDENTIFIER_BYTES, MAX_TABLE_BYTES, check_identifier};
use super::reader::{Mapping, count, list, text};
use super::yaml::{Entry, Node};
use crate::core::source::{
    Aggregate, Bounds, Column, EventTime, Field, FieldKind, Format, HISTOGRAM_LIMIT, Rollup, Slot, Source,
};

/// Columns every hourly table has.
const COMMON_COLUMNS: [&str; 10] = [
    "bucket_start",
    "event_count",
    "late_count",
    "revision",
    "version",
    "is_final",
    "complete",
    "watermark",
    "updated_at",
    "shard",
];
/// Tables and views that belong to Plimsoll itself; a table `x_hourly` also makes a view `x`.
const OWN_TABLES: [&str; 6] = ["slo", "rule", "dead_letter", "episode", "incident", "kafka_offset"];
/// Rows a shard may hold for one table and hour.
const MAX_KEYS: u32 = 1_000_000;
const MAX_KEY_COLUMNS: usize = 16;

/// The tables that are right, with the places of their names; the others are noted. A field that a histogram takes gets its range.
pub fn rollups<'n>(
    node: &'n Node,
    fields: &mut [Field],
    diagnostics: &mut Diagnostics,
) -> Vec<(Rollup, &'n Place)> {
    let items = diagnostics.accept(&node.place, list(node).map_err(|p| p.of_key("rollups")));
    let items = items.unwrap_or_default().iter();
    let rollups: Vec<_> = items.filter_map(|item| rollup(item, fields, diagnostics)).collect();
    for (rollup, place) in &rollups {
        for column in &rollup.columns {
            if let Aggregate::Histogram { slot, .. } = column.aggregate {
                let folded = fold_histogram_range(&mut fields[slot]);
                diagnostics.accept(place, folded);
            }
        }
    }
    rollups
}

fn rollup<'n>(
    node: &'n Node,
    fields: &[Field],
    diagnostics: &mut Diagnostics,
) -> Option<(Rollup, &'n Place)> {
    let keys = Mapping::open(node, &["table", "by", "limit", "columns"], diagnostics)?;
    let table = keys.required("table", diagnostics, |node| table_name(text(node)?));
    let place = keys.node("table").map_or(keys.place, |node| &node.place);
    let by = keys.required_node("by", diagnostics).and_then(|node| key_columns(node, fields, diagnostics));
    let limit = limit(&keys, by.as_deref(), diagnostics);
    let columns = keys.required_node("columns", diagnostics).and_then(|n| columns(n, fields, diagnostics));
    let (columns, column_places): (Vec<Column>, Vec<&Place>) = columns?.into_iter().unzip();
    let rollup = Rollup { table: table?, by: by?, limit: limit?, columns };
    check_names(&rollup, place, &column_places, fields, diagnostics);
    Some((rollup, place))
}

fn table_name(name: &str) -> Result<String, Problem> {
    check_identifier(name)?;
    let help = format!("as in `orders_hourly`, at most {MAX_TABLE_BYTES} bytes");
    match name.strip_suffix("_hourly") {
        _ if name.len() > MAX_TABLE_BYTES => Err(Problem::new(format!("`{name}` is too long"), help)),
        None | Some("") => Err(Problem::new(format!("`{name}` does not end in `_hourly`"), help)),
        Some(stem) if OWN_TABLES.contains(&stem) || stem.starts_with("slo_") => {
            Err(Problem::new(format!("`{name}` is a name of Plimsoll's own"), "choose another name"))
        }
        Some(_) => Ok(name.to_owned()),
    }
}

fn key_columns(node: &Node, fields: &[Field], diagnostics: &mut Diagnostics) -> Option<Vec<Slot>> {
    let items = diagnostics.accept(&node.place, list(node).map_err(|p| p.of_key("by")))?;
    if items.len() > MAX_KEY_COLUMNS {
        let message = format!("more than {MAX_KEY_COLUMNS} key columns");
        diagnostics
            .push(&node.place, Problem::new(message, "a key of so many parts is hardly ever seen twice"));
        return None;
    }
    let mut slots = Vec::with_capacity(items.len());
    for item in items {
        let read = text(item).and_then(|name| {
            let slot = slot(name, fields, Use::Label)?;
            check_identifier(name).map_err(|problem| {
                let help = "key fields name columns: give the field such a name, and its place with `path:`";
                Problem::new(problem.message, help)
            })?;
            match slots.contains(&slot) {
                true => Err(Problem::new(format!("`{name}` is named twice"), "name each field once")),
                false => Ok(slot),
            }
        });
        slots.extend(diagnostics.accept(&item.place, read.map_err(|p| p.of_key("by"))));
    }
    (slots.len() == items.len()).then_some(slots)
}

fn limit(keys: &Mapping<'_>, by: Option<&[Slot]>, diagnostics: &mut Diagnostics) -> Option<u32> {
    match (by, keys.has("limit")) {
        (Some([]), false) => Some(1),
        (Some([]), true) => {
            let problem = Problem::new("`limit` without key columns has no meaning", "leave it out");
            diagnostics.push(keys.place, problem);
            None
        }
        (Some(_), false) => {
            let help = "add `limit: 5000`: the keys a shard keeps for an hour; more fold into _OTHER";
            diagnostics.push(keys.place, Problem::new("`limit` is missing", help));
            None
        }
        (Some(_) | None, _) => keys.optional("limit", diagnostics, count(1..=MAX_KEYS)),
    }
}

fn columns<'n>(
    node: &'n Node,
    fields: &[Field],
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(Column, &'n Place)>> {
    let entries = Mapping::of_any_keys(node, diagnostics)?.entries;
    let mut read = |entry: &'n Entry| {
        let named = diagnostics.accept(&entry.place, check_identifier(&entry.key));
        let aggregate = aggregate(entry, fields, diagnostics);
        named?;
        Some((Column { name: entry.key.clone(), aggregate: aggregate? }, &entry.place))
    };
    let read: Vec<_> = entries.iter().map(&mut read).collect();
    read.into_iter().collect()
}

/// Notes columns of one name. A histogram `x` also takes the name `x`, in the view.
fn check_names(
    rollup: &Rollup,
    table_place: &Place,
    places: &[&Place],
    fields: &[Field],
    diagnostics: &mut Diagnostics,
) {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    owners.extend(COMMON_COLUMNS.map(|name| (name.into(), "the common columns".into())));
    for &slot in &rollup.by {
        if let Some(owner) = owners.insert(fields[slot].name.clone(), "the key".into()) {
            let message = format!("the key column `{}` is also among {owner}", fields[slot].name);
            diagnostics.push(
                table_place,
                Problem::new(message, "give the field another name, and its place with `path:`"),
            );
        }
    }
    let source = bare_source(fields);
    for (column, place) in rollup.columns.iter().zip(places) {
        let alone = Rollup { columns: vec![column.clone()], by: Vec::new(), ..rollup.clone() };
        let parts = alone.table_columns(&source).into_iter().map(|part| part.name);
        let views = alone.histogram_columns(&source).into_iter().map(|histogram| histogram.name);
        for name in parts.chain(views) {
            if name.len() > MAX_IDENTIFIER_BYTES {
                let message = format!("the column `{name}` is too long for Postgres");
                diagnostics.push(place, Problem::new(message, format!("shorten `{}`", column.name)));
            }
            if let Some(owner) = owners.insert(name.clone(), format!("the columns of `{}`", column.name)) {
                let message =
                    format!("`{}` makes a column `{name}`, which is also among {owner}", column.name);
                diagnostics.push(place, Problem::new(message, "rename one of the two"));
            }
        }
    }
}

/// What `Rollup::table_columns` needs of a source: its fields.
fn bare_source(fields: &[Field]) -> Source {
    let event_time =
        EventTime { slot: 0, out_of_order_us: 0, lateness_us: 0, idle_after_us: 0, max_ahead_us: 0 };
    Source {
        name: String::new(),
        topic: String::new(),
        optional: false,
        format: Format::Json,
        event_time,
        fields: fields.to_vec(),
        rollups: Vec::new(),
    }
}

/// A record beyond a histogram's range is out of range, so the field's bounds say so.
fn fold_histogram_range(field: &mut Field) -> Result<(), Problem> {
    let (FieldKind::Integer(bounds) | FieldKind::Decimal { bounds, .. }) = &mut field.kind else {
        return Ok(());
    };
    *bounds = Bounds { min: bounds.min.max(0), max: bounds.max.min(HISTOGRAM_LIMIT - 1) };
    if bounds.min > bounds.max {
        let message = format!("no value of `{}` fits a histogram", field.name);
        return Err(Problem::new(message, "a histogram takes 0 to 2^42 - 1, counted in 10^-scale"));
    }
    Ok(())
}
