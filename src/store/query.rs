//! What people look at: newest rows, as text.

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
