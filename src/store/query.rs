//! What people look at: newest rows, as text.

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, SimpleQueryMessage};

use super::error::StoreError;
use super::sql::ident;

/// Column names with the values as Postgres prints them; NULL is the empty text.
pub type TextRow = Vec<(String, String)>;

pub(super) fn latest_rows(
    client: &mut Client,
    schema: &str,
    table: &str,
    limit: u32,
) -> Result<Vec<TextRow>, StoreError> {
    let query = format!(
        "SELECT * FROM {}.{} ORDER BY bucket_start DESC, event_count DESC LIMIT {limit}",
        ident(schema),
        ident(table)
    );
    text_rows(client, &query)
}

pub(super) fn breaches(client: &mut Client, schema: &str, limit: u32) -> Result<Vec<TextRow>, StoreError> {
    let query = format!(
        "SELECT * FROM {}.slo_breach ORDER BY opened_at DESC, episode_id LIMIT {limit}",
        ident(schema)
    );
    text_rows(client, &query)
}

/// Events of each final hour of the week up to the newest, all keys together; hours without a row are left out.
pub(super) fn hourly_events(client: &mut Client, schema: &str, table: &str) -> Result<Vec<u64>, StoreError> {
    let table = format!("{}.{}", ident(schema), ident(table));
    let query = format!(
        "SELECT sum(event_count)::bigint FROM {table} \
         WHERE is_final AND bucket_start > (SELECT max(bucket_start) FROM {table}) - interval '7 days' \
         GROUP BY bucket_start ORDER BY bucket_start"
    );
    let rows = client.query(&query, &[])?;
    rows.iter().map(|row| Ok(row.try_get::<_, i64>(0)?.unsigned_abs())).collect()
}

/// The oldest and the newest hour of a table, in microseconds since 1970; None while it has no row.
pub(super) fn hour_span(
    client: &mut Client,
    schema: &str,
    table: &str,
) -> Result<Option<(i64, i64)>, StoreError> {
    let us = |end: &str| format!("(extract(epoch FROM {end}(bucket_start)) * 1000000)::bigint");
    let query = format!("SELECT {}, {} FROM {}.{}", us("min"), us("max"), ident(schema), ident(table));
    let row = client.query_one(&query, &[])?;
    Ok(row.try_get::<_, Option<i64>>(0)?.zip(row.try_get(1)?))
}

/// Hands out the rows of the hour that begins at `hour_us`, each as JSON in the form of output records: decimals as
/// texts, times in UTC with six digits, bytes in base64. They come one by one: an hour may have many.
pub(super) fn rows_of_hour(
    client: &mut Client,
    schema: &str,
    table: &str,
    hour_us: i64,
    mut each: impl FnMut(&str),
) -> Result<(), StoreError> {
    let columns = client.query(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = to_regclass(format('%I.%I', $1::text, $2::text)) AND attnum > 0 AND NOT attisdropped \
         ORDER BY attnum",
        &[&schema, &table],
    )?;
    let form = |row: &postgres::Row| {
        let (name, kind): (String, String) = (row.get(0), row.get(1));
        let name = ident(&name);
        match kind.as_str() {
            "numeric" => format!("{name}::text AS {name}"),
            "bytea" => format!("translate(encode({name}, 'base64'), E'\\n', '') AS {name}"),
            "timestamp with time zone" => {
                format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS {name}")
            }
            _ => name,
        }
    };
    let query = format!(
        "SELECT row_to_json(x)::text FROM (SELECT {} FROM {}.{} \
         WHERE bucket_start = timestamptz 'epoch' + $1::bigint * interval '1 microsecond') x",
        columns.iter().map(form).collect::<Vec<_>>().join(", "),
        ident(schema),
        ident(table)
    );
    let mut rows = client.query_raw(&query, [hour_us])?;
    while let Some(row) = rows.next()? {
        each(row.try_get(0)?);
    }
    Ok(())
}

fn text_rows(client: &mut Client, query: &str) -> Result<Vec<TextRow>, StoreError> {
    let messages = client.simple_query(query)?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let names = row.columns().iter().map(|column| column.name().to_owned());
            let text = |(i, name)| (name, row.get(i).unwrap_or_default().to_owned());
            Some(names.enumerate().map(text).collect())
        }
        _ => None,
    };
    Ok(messages.iter().filter_map(row).collect())
}
