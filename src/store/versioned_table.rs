//! Tables of one row for each key of a topic, whatever the rules: the newest version stays.

use super::sql::{ident, ident_list};

#[derive(Debug)]
pub(super) struct VersionedTable {
    pub name: &'static str,
    /// Partitioned by the month of `bucket_start`.
    pub is_monthly: bool,
    /// Columns of the primary key.
    key: &'static [&'static str],
    /// Every column but `updated_at`, with what fills it from the record `x`.
    columns: &'static [(&'static str, &'static str)],
    /// Fields of the record.
    record: &'static str,
}

/// The tables whose rows carry a version and do not follow from the rules; in order of their names.
pub(super) static VERSIONED: [&VersionedTable; 3] = [&RULE_HOURLY, &SLO_HOURLY, &SLO_STATUS];

pub(super) static SLO_HOURLY: VersionedTable = VersionedTable {
    name: "slo_hourly",
    is_monthly: true,
    key: &["slo", "objective", "label_key", "bucket_start"],
    columns: &[
        ("slo", "x.slo"),
        ("objective", "x.objective"),
        ("label_key", "x.labels::text"),
        ("bucket_start", "x.bucket_start"),
        ("labels", "x.labels"),
        ("service", "x.service"),
        ("target", "x.target"),
        ("good", "x.good"),
        ("bad", "x.bad"),
        ("total", "x.total"),
        ("slice_good", "x.slice_good"),
        ("slice_bad", "x.slice_bad"),
        ("slice_s", "x.slice_s"),
        ("revision", "x.revision"),
        ("version", "x.version"),
        ("is_final", "x.is_final"),
        ("complete", "x.complete"),
        ("watermark", "x.watermark"),
    ],
    record: "slo text, objective text, labels jsonb, bucket_start timestamptz, service text, target numeric, \
             good bigint, bad bigint, total bigint, slice_good numeric, slice_bad numeric, slice_s bigint, \
             revision int, version bigint, is_final boolean, complete boolean, watermark timestamptz",
};

pub(super) static RULE_HOURLY: VersionedTable = VersionedTable {
    name: "rule_hourly",
    is_monthly: true,
    key: &["document", "rule", "label_key", "bucket_start"],
    columns: &[
        ("document", "x.document"),
        ("rule", "x.rule"),
        ("label_key", "x.labels::text"),
        ("bucket_start", "x.bucket_start"),
        ("labels", "x.labels"),
        ("service", "x.service"),
        ("kind", "x.kind"),
        ("unit", "x.unit"),
        ("value_min", "x.value_min"),
        ("value_max", "x.value_max"),
        ("value_sum", "x.value_sum"),
        ("known_seconds", "x.known_seconds"),
        ("level_seconds", "x.level_seconds"),
        ("revision", "x.revision"),
        ("version", "x.version"),
        ("is_final", "x.is_final"),
        ("complete", "x.complete"),
        ("watermark", "x.watermark"),
    ],
    record: "document text, rule text, labels jsonb, bucket_start timestamptz, service text, kind text, unit text, \
             value_min numeric, value_max numeric, value_sum numeric, known_seconds bigint, level_seconds jsonb, \
             revision int, version bigint, is_final boolean, complete boolean, watermark timestamptz",
};

pub(super) static SLO_STATUS: VersionedTable = VersionedTable {
    name: "slo_status",
    is_monthly: false,
    key: &["document", "rule", "label_key"],
    columns: &[
        ("document", "x.document"),
        ("rule", "x.rule"),
        ("label_key", "x.labels::text"),
        ("labels", "x.labels"),
        ("service", "x.service"),
        ("kind", "x.kind"),
        ("unit", "x.unit"),
        ("evaluated_at", "x.evaluated_at"),
        ("level", "x.level"),
        ("value", "x.value"),
        ("good", "x.good"),
        ("bad", "x.bad"),
        ("total", "x.total"),
        ("coverage", "x.coverage"),
        ("budget_period_s", "(x.budget->>'period_s')::bigint"),
        ("budget_remaining_ratio", "(x.budget->>'remaining_ratio')::numeric"),
        ("budget_exhausts_at", "(x.budget->>'exhausts_at')::timestamptz"),
        ("version", "x.version"),
    ],
    record: "document text, rule text, labels jsonb, service text, kind text, unit text, evaluated_at timestamptz, \
             level text, value numeric, good bigint, bad bigint, total bigint, coverage numeric, budget jsonb, \
             version bigint",
};

impl VersionedTable {
    /// Upserts the JSON array of records in `$1`. Of a row that stands there several times only the newest counts; the
    /// order also keeps two writers from locking the same rows crosswise.
    pub fn upsert(&self, schema: &str) -> String {
        let key = ident_list(self.key);
        let names = self.columns.iter().map(|(name, _)| *name);
        let read: Vec<String> =
            self.columns.iter().map(|(name, value)| format!("{value} AS {}", ident(name))).collect();
        let newest = names.clone().map(|name| match name {
            "is_final" => format!("bool_or(is_final) OVER (PARTITION BY {key}) AS is_final"),
            _ => ident(name),
        });
        let changed = names.clone().filter(|name| !self.key.contains(name)).map(|name| match name {
            "is_final" => "is_final = t.is_final OR excluded.is_final".to_owned(),
            _ => format!("{0} = excluded.{0}", ident(name)),
        });
        format!(
            "INSERT INTO {schema}.{table} AS t ({names})\n\
             SELECT DISTINCT ON ({key}) {newest}\n\
             FROM (SELECT {read} FROM json_to_recordset(($1::text)::json) AS x({record})) r\n\
             ORDER BY {key}, version DESC\n\
             ON CONFLICT ({key}) DO UPDATE SET {changed}, updated_at = now()\n\
             WHERE t.version < excluded.version",
            schema = ident(schema),
            table = ident(self.name),
            names = ident_list(names.clone()),
            newest = newest.collect::<Vec<_>>().join(", "),
            read = read.join(", "),
            record = self.record,
            changed = changed.collect::<Vec<_>>().join(", "),
        )
    }
}
