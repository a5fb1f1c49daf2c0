//! Hourly tables and their views, made or extended to what the rules want. Nothing is ever dropped.

use postgres::Transaction;

use super::error::StoreError;
use super::hourly_table::HourlyTable;
use super::sql::{ident, literal};

/// Longest name in Postgres, in bytes.
const NAME_BYTES: usize = 63;
/// `_default`, `_2025_10`.
const PARTITION_SUFFIX_BYTES: usize = 8;

/// A column as the database has it.
struct Existing {
    name: String,
    sql_type: String,
    comment: Option<String>,
}

/// Makes or extends one table and its view.
pub(super) fn bring_up(
    transaction: &mut Transaction<'_>,
    schema: &str,
    table: &HourlyTable,
    done: &mut Vec<String>,
) -> Result<(), StoreError> {
    check_names(table)?;
    let existing = columns_of(transaction, schema, &table.name)?;
    if existing.is_empty() {
        transaction.batch_execute(&table.create(schema))?;
        done.push(format!("created table {}", table.name));
    } else {
        check_shape(transaction, schema, table)?;
        add_columns(transaction, schema, table, &existing, done)?;
    }
    keep_scales(transaction, schema, table)?;
    let wanted: Vec<(String, String)> =
        table.columns().iter().map(|(name, _, comment)| (name.to_string(), comment.to_string())).collect();
    comment(transaction, schema, "TABLE", &table.name, &table.comment(), &wanted)?;
    match table.view() {
        Some(view) => bring_up_view(transaction, schema, table, view, done),
        None => Ok(()),
    }
}

fn check_names(table: &HourlyTable) -> Result<(), StoreError> {
    let too_long = |what: &str, name: &str, most: usize| {
        let problem =
            format!("{what} {name} has {} bytes, Postgres allows {most}: choose a shorter name", name.len());
        match name.len() > most {
            true => Err(StoreError::Unmigratable { problem }),
            false => Ok(()),
        }
    };
    too_long("table", &table.name, NAME_BYTES - PARTITION_SUFFIX_BYTES)?;
    table.columns().iter().try_for_each(|(name, ..)| too_long("column", name, NAME_BYTES))
}

/// None of the columns when there is no such relation.
fn columns_of(
    transaction: &mut Transaction<'_>,
    schema: &str,
    relation: &str,
) -> Result<Vec<Existing>, StoreError> {
    let rows = transaction.query(
        "SELECT attname::text, format_type(atttypid, atttypmod), col_description(attrelid, attnum) \
         FROM pg_attribute WHERE attrelid = to_regclass(format('%I.%I', $1::text, $2::text)) \
         AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        &[&schema, &relation],
    )?;
    let column =
        |row: &postgres::Row| Existing { name: row.get(0), sql_type: row.get(1), comment: row.get(2) };
    Ok(rows.iter().map(column).collect())
}

/// A table's kind and key cannot change under the rows it has.
fn check_shape(
    transaction: &mut Transaction<'_>,
    schema: &str,
    table: &HourlyTable,
) -> Result<(), StoreError> {
    let row = transaction.query_one(
        "SELECT c.relkind = 'p', ARRAY(SELECT a.attname::text FROM pg_index i, \
             LATERAL unnest(i.indkey) WITH ORDINALITY k(attnum, n) \
             JOIN pg_attribute a ON a.attnum = k.attnum \
             WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid ORDER BY k.n) \
         FROM pg_class c WHERE c.oid = to_regclass(format('%I.%I', $1::text, $2::text))",
        &[&schema, &table.name],
    )?;
    let (partitioned, key): (bool, Vec<String>) = (row.get(0), row.get(1));
    let name = &table.name;
    if !partitioned {
        let problem =
            format!("{schema}.{name} exists and is no hourly table: give the rollup another table name");
        return Err(StoreError::Unmigratable { problem });
    }
    if key != table.primary_key() {
        let problem = format!(
            "the key of {name} is ({}), the rules want ({}): give the rollup another table name",
            key.join(", "),
            table.primary_key().join(", ")
        );
        return Err(StoreError::Unmigratable { problem });
    }
    Ok(())
}

fn add_columns(
    transaction: &mut Transaction<'_>,
    schema: &str,
    table: &HourlyTable,
    existing: &[Existing],
    done: &mut Vec<String>,
) -> Result<(), StoreError> {
    for (name, sql_type, _) in table.columns() {
        match existing.iter().find(|column| column.name == name) {
            Some(column) if column.sql_type == catalog_name(sql_type) => {}
            Some(column) => {
                let problem = format!(
                    "column {name} of {} is {}, the rules want {sql_type}: give the column another name",
                    table.name, column.sql_type
                );
                return Err(StoreError::Unmigratable { problem });
            }
            None => {
                let (schema, relation) = (ident(schema), ident(&table.name));
                let add = format!("ALTER TABLE {schema}.{relation} ADD COLUMN {} {sql_type}", ident(name));
                transaction.batch_execute(&add)?;
                done.push(format!("added column {name} to {}", table.name));
            }
        }
    }
    Ok(())
}

/// The catalog spells two types in full.
fn catalog_name(sql_type: &str) -> &str {
    match sql_type {
        "timestamptz" => "timestamp with time zone",
        "int" => "integer",
        other => other,
    }
}

/// Bins count in units of 10^-scale; rows of two scales in one column could not be told apart.
fn keep_scales(
    transaction: &mut Transaction<'_>,
    schema: &str,
    table: &HourlyTable,
) -> Result<(), StoreError> {
    let schema = ident(schema);
    let insert = format!("INSERT INTO {schema}.histogram_scale VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
    let select =
        format!("SELECT scale FROM {schema}.histogram_scale WHERE table_name = $1 AND column_name = $2");
    for column in &table.histograms {
        let scale = i16::from(column.scale);
        transaction.execute(&insert, &[&table.name, &column.name, &scale])?;
        let stored: i16 = transaction.query_one(&select, &[&table.name, &column.name])?.get(0);
        if stored != scale {
            let problem = format!(
                "histogram {} of {} is counted at scale {stored}, the rules want {scale}: \
                 give the column another name",
                column.name, table.name
            );
            return Err(StoreError::Unmigratable { problem });
        }
    }
    Ok(())
}

/// Sets the comments that are not yet as wanted, so that a second run takes no locks.
fn comment(
    transaction: &mut Transaction<'_>,
    schema: &str,
    kind: &str,
    relation: &str,
    text: &str,
    columns: &[(String, String)],
) -> Result<(), StoreError> {
    let qualified = format!("{}.{}", ident(schema), ident(relation));
    let query = "SELECT obj_description(to_regclass($1::text), 'pg_class')";
    let stored: Option<String> = transaction.query_one(query, &[&qualified])?.get(0);
    let mut statements = Vec::new();
    if stored.as_deref() != Some(text) {
        statements.push(format!("COMMENT ON {kind} {qualified} IS {}", literal(text)));
    }
    let existing = columns_of(transaction, schema, relation)?;
    for (name, text) in columns {
        let same = |column: &Existing| column.name == *name && column.comment.as_ref() == Some(text);
        if !existing.iter().any(same) {
            statements.push(format!("COMMENT ON COLUMN {qualified}.{} IS {}", ident(name), literal(text)));
        }
    }
    transaction.batch_execute(&statements.join(";\n"))?;
    Ok(())
}

/// The view shows every column of the table, also those that left the rules, and each histogram as one value.
fn bring_up_view(
    transaction: &mut Transaction<'_>,
    schema: &str,
    table: &HourlyTable,
    view: &str,
    done: &mut Vec<String>,
) -> Result<(), StoreError> {
    let shown = view_columns(transaction, schema, table)?;
    let existing = columns_of(transaction, schema, view)?;
    // A view can only grow at its end, and views of others may rest on it: what it has keeps its place.
    let place =
        |column: &&ViewColumn| existing.iter().position(|old| old.name == column.name).unwrap_or(usize::MAX);
    let mut ordered: Vec<&ViewColumn> = shown.iter().collect();
    ordered.sort_by_key(place);
    if ordered.len() != existing.len() {
        let selected: Vec<String> = ordered
            .iter()
            .map(|column| format!("{} AS {}", column.expression, ident(&column.name)))
            .collect();
        transaction.batch_execute(&format!(
            "CREATE OR REPLACE VIEW {schema}.{view} AS SELECT {} FROM {schema}.{table} r",
            selected.join(", "),
            schema = ident(schema),
            view = ident(view),
            table = ident(&table.name),
        ))?;
        done.push(format!("made view {view}"));
    }
    let comments: Vec<(String, String)> = shown.iter().map(|c| (c.name.clone(), c.comment.clone())).collect();
    let text = format!("{} with histograms for hist_merge and hist_percentile.", table.name);
    comment(transaction, schema, "VIEW", view, &text, &comments)
}

struct ViewColumn {
    name: String,
    expression: String,
    comment: String,
}

fn view_columns(
    transaction: &mut Transaction<'_>,
    schema: &str,
    table: &HourlyTable,
) -> Result<Vec<ViewColumn>, StoreError> {
    let plain = |column: Existing| ViewColumn {
        expression: format!("r.{}", ident(&column.name)),
        name: column.name,
        comment: column.comment.unwrap_or_default(),
    };
    let mut shown: Vec<ViewColumn> =
        columns_of(transaction, schema, &table.name)?.into_iter().map(plain).collect();
    let query = format!(
        "SELECT column_name, scale FROM {}.histogram_scale WHERE table_name = $1 ORDER BY column_name",
        ident(schema)
    );
    for row in transaction.query(&query, &[&table.name])? {
        let (name, scale): (String, i16) = (row.get(0), row.get(1));
        let part = |suffix: &str| ident(&format!("{name}{suffix}"));
        shown.push(ViewColumn {
            expression: format!(
                "ROW({scale}, r.{}, r.{})::{}.histogram",
                part("_bins"),
                part("_counts"),
                ident(schema)
            ),
            comment: format!("histogram of {name}, in its unit: hist_merge it, then hist_percentile"),
            name,
        });
    }
    Ok(shown)
}
