//! One hourly table: its columns, and the statements that follow from them.

use crate::core::rules::Rules;
use crate::core::source::{Rollup, Source};
use crate::core::table::{HistogramColumn, SqlType, TableColumn};

use super::sql::{ident, ident_list, literal};

/// Suffix of the tables; the view beside one has the name without it.
pub(super) const SUFFIX: &str = "_hourly";

/// The table of one rollup as the rules want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HourlyTable {
    pub name: String,
    pub source: String,
    pub keys: Vec<KeyColumn>,
    pub measures: Vec<TableColumn>,
    pub histograms: Vec<HistogramColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyColumn {
    pub name: String,
    pub comment: String,
}

/// A column that every hourly table has.
pub(super) struct CommonColumn {
    pub name: &'static str,
    pub sql_type: &'static str,
    /// What stands behind the type in the DDL.
    pub constraint: &'static str,
    pub comment: &'static str,
}

const fn common(
    name: &'static str,
    sql_type: &'static str,
    constraint: &'static str,
    comment: &'static str,
) -> CommonColumn {
    CommonColumn { name, sql_type, constraint, comment }
}

/// Behind the key columns; the first two end the primary key. All but the last come from the record.
pub(super) const COMMON: [CommonColumn; 10] = [
    common(
        "shard",
        "smallint",
        "NOT NULL DEFAULT -1",
        "-1; in rows of _OTHER (keys beyond the limit) the shard that counted them",
    ),
    common(
        "bucket_start",
        "timestamptz",
        "NOT NULL",
        "start of the hour, which is [bucket_start, bucket_start + 1 hour) in UTC",
    ),
    common("event_count", "bigint", "NOT NULL", "events whose event time falls into the hour"),
    common(
        "late_count",
        "bigint",
        "NOT NULL",
        "events, among event_count, older than the largest earlier event time on their partition less out_of_order",
    ),
    common(
        "revision",
        "int",
        "NOT NULL",
        "0 until the row is corrected; grows by one with each correction by late events",
    ),
    common(
        "version",
        "bigint",
        "NOT NULL",
        "offset in the partials log that made the row; the larger one wins",
    ),
    common(
        "is_final",
        "boolean",
        "NOT NULL",
        "the watermark has passed the end of the hour; never goes back",
    ),
    common("complete", "boolean", "NOT NULL", "false: input was lost and declared so; counts may be too low"),
    common(
        "watermark",
        "timestamptz",
        "",
        "event time up to which the source was complete; null before the first",
    ),
    common(
        "updated_at",
        "timestamptz",
        "NOT NULL DEFAULT now()",
        "database clock when the row was last written",
    ),
];

/// Columns of the primary key behind the key columns.
const PRIMARY: [&str; 2] = ["shard", "bucket_start"];
const UPDATED_AT: &str = "updated_at";

impl HourlyTable {
    pub fn new(source: &Source, rollup: &Rollup) -> HourlyTable {
        let key = |slot: &usize| {
            let field = &source.fields[*slot];
            let comment = format!(
                "{} of the events, a key; '' when absent, _OTHER for keys beyond the limit",
                field.path.join(".")
            );
            KeyColumn { name: field.name.clone(), comment }
        };
        HourlyTable {
            name: rollup.table.clone(),
            source: source.name.clone(),
            keys: rollup.by.iter().map(key).collect(),
            measures: rollup.table_columns(source),
            histograms: rollup.histogram_columns(source),
        }
    }

    pub fn all(rules: &Rules) -> Vec<HourlyTable> {
        let tables = |source: &Source| -> Vec<HourlyTable> {
            source.rollups.iter().map(|rollup| HourlyTable::new(source, rollup)).collect()
        };
        rules.sources.iter().flat_map(tables).collect()
    }

    /// Name of the view that wraps the histograms; None when the table's own name leaves no room for one.
    pub fn view(&self) -> Option<&str> {
        self.name.strip_suffix(SUFFIX).filter(|stem| !stem.is_empty())
    }

    pub fn default_partition(&self) -> String {
        format!("{}_default", self.name)
    }

    /// Columns of the primary key, in order.
    pub fn primary_key(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.name.as_str()).chain(PRIMARY).collect()
    }

    pub fn comment(&self) -> String {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        let by = match keys.is_empty() {
            true => "hour".to_owned(),
            false => format!("{} and hour", keys.join(", ")),
        };
        format!("Events of the source {} by {by}. Rows with is_final = false are provisional.", self.source)
    }

    /// Every column's name, type and comment, in table order.
    pub fn columns(&self) -> Vec<(&str, &str, &str)> {
        let keys = self.keys.iter().map(|k| (k.name.as_str(), "text", k.comment.as_str()));
        let common = COMMON.iter().map(|c| (c.name, c.sql_type, c.comment));
        let measures = self.measures.iter().map(|m| (m.name.as_str(), m.sql_type.name(), m.comment.as_str()));
        keys.chain(common).chain(measures).collect()
    }

    /// The table, its DEFAULT partition and its index.
    pub fn create(&self, schema: &str) -> String {
        let schema = ident(schema);
        let table = ident(&self.name);
        let keys = self.keys.iter().map(|k| format!("{} text NOT NULL", ident(&k.name)));
        let common = COMMON.iter().map(|c| format!("{} {} {}", ident(c.name), c.sql_type, c.constraint));
        let measures = self.measures.iter().map(|m| format!("{} {}", ident(&m.name), m.sql_type.name()));
        let columns = keys.chain(common).chain(measures).collect::<Vec<_>>().join(",\n  ");
        let primary = ident_list(self.primary_key());
        let default = ident(&self.default_partition());
        let default_comment = literal("Rows of hours for which no monthly partition could be made.");
        format!(
            "CREATE TABLE {schema}.{table} (\n  {columns},\n  PRIMARY KEY ({primary})\n) \
             PARTITION BY RANGE (bucket_start);\n\
             CREATE INDEX ON {schema}.{table} (bucket_start);\n\
             CREATE TABLE {schema}.{default} PARTITION OF {schema}.{table} DEFAULT;\n\
             COMMENT ON TABLE {schema}.{default} IS {default_comment};"
        )
    }

    /// Upserts the JSON array of rows in `$1`. Of a row that stands there several times only the newest counts; the
    /// order also keeps two writers from locking the same rows crosswise.
    pub fn upsert(&self, schema: &str) -> String {
        let primary = self.primary_key();
        let primary_list = ident_list(&primary);
        let stored: Vec<&str> =
            self.columns().into_iter().map(|(name, ..)| name).filter(|name| *name != UPDATED_AT).collect();
        let selected: Vec<String> = stored.iter().map(|name| self.selected(name, &primary_list)).collect();
        let definitions: Vec<String> = self.columns().into_iter().filter_map(recordset_column).collect();
        let changed = stored.iter().filter(|name| !primary.contains(name)).map(|name| {
            let column = ident(name);
            match *name {
                "is_final" => "is_final = t.is_final OR excluded.is_final".to_owned(),
                _ => format!("{column} = excluded.{column}"),
            }
        });
        let changed: Vec<String> = changed.collect();
        format!(
            "INSERT INTO {schema}.{table} AS t ({stored})\n\
             SELECT DISTINCT ON ({primary_list}) {selected}\n\
             FROM json_to_recordset(($1::text)::json) AS x({definitions})\n\
             ORDER BY {primary_list}, version DESC\n\
             ON CONFLICT ({primary_list}) DO UPDATE SET {changed}, {UPDATED_AT} = now()\n\
             WHERE t.version < excluded.version",
            schema = ident(schema),
            table = ident(&self.name),
            stored = ident_list(&stored),
            selected = selected.join(", "),
            definitions = definitions.join(", "),
            changed = changed.join(", "),
        )
    }

    fn selected(&self, name: &str, primary_list: &str) -> String {
        let column = ident(name);
        match name {
            "is_final" => format!("bool_or(is_final) OVER (PARTITION BY {primary_list}) AS is_final"),
            _ if self.is_bytes(name) => format!("decode({column}, 'base64') AS {column}"),
            _ => column,
        }
    }

    fn is_bytes(&self, name: &str) -> bool {
        self.measures.iter().any(|m| m.name == name && m.sql_type == SqlType::Bytea)
    }
}

/// How a column stands in the record: bytes travel as base64 text.
fn recordset_column((name, sql_type, _): (&str, &str, &str)) -> Option<String> {
    let read_as = match sql_type {
        "bytea" => "text",
        other => other,
    };
    (name != UPDATED_AT).then(|| format!("{} {read_as}", ident(name)))
}
