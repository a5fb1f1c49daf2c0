//! Monthly partitions of the hourly tables: made ahead and on demand, never a condition for writing.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use postgres::{Client, Transaction};

use super::error::{StoreError, describe};
use super::sql::ident;

/// Partitions made beyond the newest month that has rows.
const AHEAD: i32 = 3;
/// A table gets no more than these, fifty years; further rows stay in DEFAULT.
const MOST: usize = 600;
/// How long rows go to DEFAULT before a partition that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// A calendar month in UTC, as months since the year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Month(i32);

impl Month {
    /// None outside the years 1970 to 9998: such rows belong to DEFAULT.
    pub fn of(at: jiff::Timestamp) -> Option<Month> {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let month = Month(i32::from(date.year()) * 12 + i32::from(date.month()) - 1);
        (1970..=9998).contains(&date.year()).then_some(month)
    }

    fn plus(self, months: i32) -> Month {
        Month(self.0 + months)
    }

    /// Its first moment, as Postgres reads it.
    fn start(self) -> String {
        format!("{:04}-{:02}-01 00:00:00+00", self.0 / 12, self.0 % 12 + 1)
    }

    fn partition(self, table: &str) -> String {
        format!("{table}_{:04}_{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

/// What this session knows of the partitions; it forgets everything with its connection.
#[derive(Debug, Default)]
pub(super) struct Months {
    tables: HashMap<String, Known>,
}

#[derive(Debug, Default)]
struct Known {
    covered: BTreeSet<Month>,
    /// Latest month with a partition, whoever made it; None: not looked up yet, or there is none.
    newest: Option<Month>,
    retry_at: Option<Instant>,
}

impl Months {
    /// Sees to it that the months of a batch, and some beyond the newest, have partitions. What cannot be made now
    /// is said once and tried again later; the rows go to DEFAULT meanwhile.
    pub fn ensure(
        &mut self,
        client: &mut Client,
        schema: &str,
        table: &str,
        months: &BTreeSet<Month>,
    ) -> Result<(), StoreError> {
        let Some(&last) = months.last() else { return Ok(()) };
        let known = self.tables.entry(table.to_owned()).or_default();
        if known.retry_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        if known.newest.is_none() {
            known.newest = newest(client, schema, table)?;
        }
        // Old data that are read again need no months ahead of them.
        let ahead = (1..=AHEAD).map(|n| last.plus(n)).filter(|month| Some(*month) > known.newest);
        let wanted = months.iter().copied().chain(ahead);
        let missing: Vec<Month> = wanted.filter(|month| !known.covered.contains(month)).collect();
        known.retry_at = None;
        for month in missing {
            match make(client, schema, table, month) {
                Ok(_) => {
                    known.covered.insert(month);
                    known.newest = known.newest.max(Some(month));
                }
                Err(error) if error.as_db_error().is_none() => return Err(error.into()),
                Err(error) => {
                    let partition = month.partition(table);
                    tracing::warn!(partition, problem = %describe(&error), "no partition, rows go to default");
                    known.retry_at = Some(Instant::now() + RETRY);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// What the bounds of a partition look like in the catalog.
const BOUNDS: &str = "$$FROM \\('([^']+)'\\) TO \\('([^']+)'\\)$$";

/// The latest month that a partition holds, among those this module would make.
fn newest(client: &mut Client, schema: &str, table: &str) -> Result<Option<Month>, StoreError> {
    let query = format!(
        "SELECT max(extract(year FROM m)::int * 12 + extract(month FROM m)::int - 2) \
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, \
         LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), {BOUNDS}) b, \
         LATERAL (SELECT (b[2]::timestamptz) AT TIME ZONE 'UTC') u(m) \
         WHERE i.inhparent = to_regclass($1::text) AND m < '9999-01-01'"
    );
    let newest: Option<i32> = client.query_one(&query, &[&qualified(schema, table)])?.get(0);
    Ok(newest.map(Month))
}

/// Gives every month that has rows in DEFAULT a partition of its own; returns the names of those made.
pub(super) fn empty_default(
    client: &mut Client,
    schema: &str,
    table: &str,
) -> Result<Vec<String>, StoreError> {
    let query = format!(
        "SELECT DISTINCT extract(year FROM m)::int * 12 + extract(month FROM m)::int - 1 \
         FROM (SELECT date_trunc('month', bucket_start, 'UTC') AT TIME ZONE 'UTC' AS m FROM {}.{}) d \
         WHERE m >= '1970-01-01' AND m < '9999-01-01' ORDER BY 1",
        ident(schema),
        ident(&format!("{table}_default")),
    );
    let mut made = Vec::new();
    for row in client.query(&query, &[])? {
        let month = Month(row.get(0));
        if make(client, schema, table, month)? {
            made.push(month.partition(table));
        }
    }
    Ok(made)
}

/// Makes one partition and moves the month's rows into it out of DEFAULT; false when it needs none.
fn make(client: &mut Client, schema: &str, table: &str, month: Month) -> Result<bool, postgres::Error> {
    let (parent, default) = (qualified(schema, table), qualified(schema, &format!("{table}_default")));
    let partition = qualified(schema, &month.partition(table));
    let (from, to) = (month.start(), month.plus(1).start());
    if !is_missing(&mut client.transaction()?, &parent, &from, &to)? {
        return Ok(false);
    }
    let mut transaction = client.transaction()?;
    // Writers wait for the new partition (a row on its way to DEFAULT would be refused); readers do not, but ATTACH
    // must have DEFAULT to itself for a moment, so a long query there is given way to.
    transaction.batch_execute(&format!(
        "SET LOCAL lock_timeout = '2s'; LOCK TABLE {parent} IN SHARE ROW EXCLUSIVE MODE"
    ))?;
    if !is_missing(&mut transaction, &parent, &from, &to)? {
        return Ok(false);
    }
    transaction.batch_execute(&format!(
        "CREATE TABLE {partition} (LIKE {parent} INCLUDING ALL) WITH (fillfactor = 80);\n\
         WITH moved AS (DELETE FROM {default} WHERE bucket_start >= '{from}' AND bucket_start < '{to}' RETURNING *)\n\
         INSERT INTO {partition} SELECT * FROM moved;\n\
         ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ('{from}') TO ('{to}');\n\
         COMMENT ON TABLE {partition} IS 'Rows of the month that begins {from}.'"
    ))?;
    transaction.commit()?;
    Ok(true)
}

/// False when a partition, of whatever length, holds the whole month, or when the table has its fill of them.
fn is_missing(
    transaction: &mut Transaction<'_>,
    parent: &str,
    from: &str,
    to: &str,
) -> Result<bool, postgres::Error> {
    let query = format!(
        "SELECT coalesce(bool_or(b[1]::timestamptz <= ($2::text)::timestamptz \
                             AND b[2]::timestamptz >= ($3::text)::timestamptz), false), count(*) \
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, \
         LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), {BOUNDS}) b \
         WHERE i.inhparent = to_regclass($1::text)"
    );
    let row = transaction.query_one(&query, &[&parent, &from, &to])?;
    let (covered, count): (bool, i64) = (row.get(0), row.get(1));
    Ok(!covered && count < MOST as i64)
}

fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(at: &str) -> Option<Month> {
        Month::of(at.parse().unwrap())
    }

    #[test]
    fn months_begin_in_utc() {
        let december = month("2024-12-31T23:59:59.999999Z").unwrap();
        assert_eq!(december.start(), "2024-12-01 00:00:00+00");
        assert_eq!(december.partition("t_hourly"), "t_hourly_2024_12");
        assert_eq!(december.plus(1).start(), "2025-01-01 00:00:00+00");
        assert_eq!(month("2025-01-01T00:30:00+01:00"), Some(december));
        assert_eq!(month("1969-12-31T23:00:00Z"), None);
    }
}
