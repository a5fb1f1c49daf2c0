//! Brings the schema to what this release and the rules need; doing it again changes nothing.

use postgres::{Client, Transaction};

use crate::core::rules::Rules;

use super::error::StoreError;
use super::hourly_table::HourlyTable;
use super::sql::ident;
use super::versioned_table::VERSIONED;
use super::{months, tables};

/// What does not depend on the rules, in order. Released files never change; new ones are added.
const MIGRATIONS: [(&str, &str); 7] = [
    ("001_histograms", include_str!("migrations/001_histograms.sql")),
    ("002_offsets", include_str!("migrations/002_offsets.sql")),
    ("003_breaches", include_str!("migrations/003_breaches.sql")),
    ("004_dead_letters", include_str!("migrations/004_dead_letters.sql")),
    ("005_breach_facts", include_str!("migrations/005_breach_facts.sql")),
    ("006_hours", include_str!("migrations/006_hours.sql")),
    ("007_status", include_str!("migrations/007_status.sql")),
];

/// One transaction for the whole schema, so that a failure leaves it as it was; then the partitions.
pub(super) fn migrate(client: &mut Client, schema: &str, rules: &Rules) -> Result<Vec<String>, StoreError> {
    let tables = HourlyTable::all(rules);
    let mut done = Vec::new();
    let mut transaction = client.transaction()?;
    // Replicas that start together take turns.
    let lock = format!("plimsoll migrate {schema}");
    transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&lock])?;
    create_schema(&mut transaction, schema, &mut done).map_err(|e| e.while_doing("the schema", schema))?;
    apply_numbered(&mut transaction, schema, &mut done).map_err(|e| e.while_doing("the schema", schema))?;
    for table in &tables {
        tables::bring_up(&mut transaction, schema, table, &mut done)
            .map_err(|e| e.while_doing("the table", &table.name))?;
    }
    transaction.commit()?;
    let of_rules = tables.iter().map(|table| table.name.as_str());
    let of_all = VERSIONED.iter().filter(|table| table.is_monthly).map(|table| table.name);
    for table in of_rules.chain(of_all) {
        let made = months::empty_default(client, schema, table)
            .map_err(|e| e.while_doing("the partitions of", table))?;
        done.extend(made.into_iter().map(|name| format!("moved rows out of DEFAULT into {name}")));
    }
    Ok(done)
}

impl StoreError {
    /// During a migration, advice to migrate helps nobody.
    fn while_doing(self, what: &str, name: &str) -> StoreError {
        match self {
            StoreError::Schema { problem } => {
                StoreError::Unmigratable { problem: format!("cannot migrate {what} {name}: {problem}") }
            }
            other => other,
        }
    }
}

fn create_schema(
    transaction: &mut Transaction<'_>,
    schema: &str,
    done: &mut Vec<String>,
) -> Result<(), StoreError> {
    // CREATE SCHEMA IF NOT EXISTS asks for the right to create one even when it exists.
    let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    if !transaction.query_one(exists, &[&schema])?.get::<_, bool>(0) {
        transaction.batch_execute(&format!(
            "CREATE SCHEMA {0}; COMMENT ON SCHEMA {0} IS 'Plimsoll: hourly tables, breaches and dead letters.'",
            ident(schema)
        ))?;
        done.push(format!("created schema {schema}"));
    }
    transaction.batch_execute(
        &"CREATE TABLE IF NOT EXISTS {schema}.schema_version ( \
            version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); \
          COMMENT ON TABLE {schema}.schema_version IS 'Migrations applied to this schema.'; \
          COMMENT ON COLUMN {schema}.schema_version.version IS 'Number of the migration.'; \
          COMMENT ON COLUMN {schema}.schema_version.name IS 'Its name.'; \
          COMMENT ON COLUMN {schema}.schema_version.applied_at IS 'Database clock when it was applied.'"
            .replace("{schema}", &ident(schema)),
    )?;
    Ok(())
}

fn apply_numbered(
    transaction: &mut Transaction<'_>,
    schema: &str,
    done: &mut Vec<String>,
) -> Result<(), StoreError> {
    let query = format!("SELECT coalesce(max(version), 0) FROM {}.schema_version", ident(schema));
    let applied = transaction.query_one(&query, &[])?.get::<_, i32>(0);
    let known = MIGRATIONS.len();
    let applied = usize::try_from(applied).unwrap_or(0);
    if applied > known {
        return Err(StoreError::Unmigratable {
            problem: format!(
                "the schema {schema} is at version {applied}, this release knows {known}: run the newer release"
            ),
        });
    }
    let record = format!("INSERT INTO {}.schema_version (version, name) VALUES ($1, $2)", ident(schema));
    for (version, (name, sql)) in (1_i32..).zip(MIGRATIONS).skip(applied) {
        transaction.batch_execute(&sql.replace("{schema}", &ident(schema)))?;
        transaction.execute(&record, &[&version, &name])?;
        done.push(format!("applied {name}"));
    }
    Ok(())
}
