//! The shape of an hourly table: which columns a rollup becomes. DDL, rows and their JSON all follow this one list.

use super::source::{Aggregate, Column, Quantile, Rollup, Source};

/// A measure column of an hourly table, in Postgres's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    pub name: String,
    pub sql_type: SqlType,
    /// What the figure is, with its unit; becomes the column's comment.
    pub comment: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlType {
    Bigint,
    Numeric,
    Timestamptz,
    Jsonb,
    SmallintArray,
    BigintArray,
    Bytea,
}

impl SqlType {
    pub fn name(self) -> &'static str {
        match self {
            SqlType::Bigint => "bigint",
            SqlType::Numeric => "numeric",
            SqlType::Timestamptz => "timestamptz",
            SqlType::Jsonb => "jsonb",
            SqlType::SmallintArray => "smallint[]",
            SqlType::BigintArray => "bigint[]",
            SqlType::Bytea => "bytea",
        }
    }
}

/// A histogram column and the scale its bins are counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramColumn {
    pub name: String,
    pub scale: u8,
}

impl Rollup {
    /// Measure columns in order; key and common columns are not among them.
    pub fn table_columns(&self, source: &Source) -> Vec<TableColumn> {
        self.columns.iter().flat_map(|column| column_parts(column, source)).collect()
    }

    /// Columns that the view without the `_hourly` suffix shows as `plimsoll.histogram`.
    pub fn histogram_columns(&self, source: &Source) -> Vec<HistogramColumn> {
        let scale_of = |column: &Column| match &column.aggregate {
            Aggregate::Histogram { slot, .. } => Some(source.fields[*slot].scale()),
            Aggregate::Freshness { .. } => Some(FRESHNESS_SCALE),
            _ => None,
        };
        let histogram = |c: &Column| scale_of(c).map(|scale| HistogramColumn { name: c.name.clone(), scale });
        self.columns.iter().filter_map(histogram).collect()
    }

    /// Names of the key columns, in key order.
    pub fn key_columns<'a>(&self, source: &'a Source) -> Vec<&'a str> {
        self.by.iter().map(|&slot| source.fields[slot].name.as_str()).collect()
    }

    /// Output topic: `hourly-` and the table's name without `_hourly`, with dashes.
    pub fn topic(&self) -> String {
        let stem = self.table.strip_suffix("_hourly").unwrap_or(&self.table);
        format!("hourly-{}", stem.replace('_', "-"))
    }
}

/// Freshness is counted in microseconds and shown in milliseconds.
pub const FRESHNESS_SCALE: u8 = 3;

fn column_parts(column: &Column, source: &Source) -> Vec<TableColumn> {
    let name = &column.name;
    let unit_of = |slot: usize| match source.fields[slot].unit.as_str() {
        "" => String::new(),
        unit => format!(" in {unit}"),
    };
    let field = |slot: usize| &source.fields[slot].name;
    let part = |suffix: &str, sql_type, comment: String| TableColumn {
        name: format!("{name}{suffix}"),
        sql_type,
        comment,
    };
    match &column.aggregate {
        Aggregate::Count(_) => vec![part("", SqlType::Bigint, "events that match the condition".into())],
        Aggregate::Sum(slot) => {
            let comment = format!("exact sum of {}{}; 0 when empty", field(*slot), unit_of(*slot));
            vec![part("", SqlType::Numeric, comment)]
        }
        Aggregate::SumProduct(a, b) => {
            let comment = format!("exact sum of {} x {}; 0 when empty", field(*a), field(*b));
            vec![part("", SqlType::Numeric, comment)]
        }
        Aggregate::Min(slot) => {
            let comment = format!("smallest {}{}; null when empty", field(*slot), unit_of(*slot));
            vec![part("", SqlType::Numeric, comment)]
        }
        Aggregate::Max(slot) => {
            let comment = format!("largest {}{}; null when empty", field(*slot), unit_of(*slot));
            vec![part("", SqlType::Numeric, comment)]
        }
        Aggregate::Histogram { slot, quantiles } => {
            histogram_parts(name, &format!("{}{}", field(*slot), unit_of(*slot)), quantiles)
        }
        Aggregate::Freshness { quantiles } => {
            histogram_parts(name, "Kafka timestamp minus event time in ms", quantiles)
        }
        Aggregate::Ohlc(slot) => {
            let value = |suffix, word| part(suffix, SqlType::Numeric, format!("{word} {}", field(*slot)));
            let time = |suffix, word| {
                part(suffix, SqlType::Timestamptz, format!("event time of the {word} {}", field(*slot)))
            };
            vec![
                value("_open", "first"),
                value("_high", "highest"),
                value("_low", "lowest"),
                value("_close", "last"),
                time("_open_at", "first"),
                time("_high_at", "earliest highest"),
                time("_low_at", "earliest lowest"),
                time("_close_at", "last"),
            ]
        }
        Aggregate::CountBy { slot, limit } => {
            let comment = format!(
                "events by {}; absent is the empty key, values beyond {limit} are under _OTHER",
                field(*slot)
            );
            vec![part("", SqlType::Jsonb, comment)]
        }
        Aggregate::Distinct(slot) => vec![
            part(
                "",
                SqlType::Bigint,
                format!("distinct {} (HyperLogLog estimate, about 1.15 %); never add these up", field(*slot)),
            ),
            part("_hll", SqlType::Bytea, "postgresql-hll storage of the same; merge it across rows".into()),
        ],
        Aggregate::Peak { every_us, distinct } => {
            let what = match distinct {
                Some(slot) => format!("distinct {}", field(*slot)),
                None => "events".into(),
            };
            let seconds = every_us / super::time::SECOND_US;
            vec![
                part("_max", SqlType::Bigint, format!("most {what} in any {seconds} s of the hour")),
                part("_max_at", SqlType::Timestamptz, "start of the earliest such slot".into()),
            ]
        }
    }
}

fn histogram_parts(name: &str, what: &str, quantiles: &[Quantile]) -> Vec<TableColumn> {
    let part = |suffix: &str, sql_type, comment: String| TableColumn {
        name: format!("{name}{suffix}"),
        sql_type,
        comment,
    };
    let mut parts = vec![
        part("_count", SqlType::Bigint, format!("values of {what}")),
        part("_min", SqlType::Numeric, format!("exact smallest {what}; null when empty")),
        part("_max", SqlType::Numeric, format!("exact largest {what}; null when empty")),
        part("_sum", SqlType::Numeric, format!("exact sum of {what}; 0 when empty")),
    ];
    for quantile in quantiles {
        let comment = format!(
            "quantile of {what}, from the lossless histogram: at most 0.1 % high. Do not average percentiles"
        );
        parts.push(part(&format!("_{}", quantile.suffix()), SqlType::Numeric, comment));
    }
    parts.push(part(
        "_bins",
        SqlType::SmallintArray,
        format!("7-bit HDR bins of {what} scaled to integers, ascending; for hist_merge, at most 0.8 % high"),
    ));
    parts.push(part("_counts", SqlType::BigintArray, "values in each bin".into()));
    parts.push(part(
        "_hdr",
        SqlType::Bytea,
        "HdrHistogram V2 encoding, 3 significant digits; lossless".into(),
    ));
    parts
}
