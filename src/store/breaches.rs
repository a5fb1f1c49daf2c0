//! Breach transitions: each one kept, and the latest state of its episode.

use super::sql::ident;

/// Each transition once, whole.
pub(super) fn insert_events(schema: &str) -> String {
    format!(
        "INSERT INTO {schema}.slo_breach_event \
           (episode_id, revision, alert_key, transition, severity, evaluated_at, record)\n\
         SELECT v->>'episode_id', (v->>'revision')::int, v->>'alert_key', v->>'transition', v->>'severity', \
           (v->>'evaluated_at')::timestamptz, v::jsonb\n\
         FROM json_array_elements(($1::text)::json) v\n\
         ORDER BY 1, 2\n\
         ON CONFLICT DO NOTHING",
        schema = ident(schema)
    )
}

/// The columns of `slo_breach` with what fills them from the record `x`.
const STATE: [(&str, &str); 44] = [
    ("episode_id", "x.episode_id"),
    ("alert_key", "x.alert_key"),
    (
        "status",
        "CASE WHEN x.transition = 'RETRACTED' THEN 'RETRACTED' \
         WHEN x.transition = 'RESOLVED' OR x.resolved_at IS NOT NULL THEN 'RESOLVED' ELSE 'OPEN' END",
    ),
    ("revision", "x.revision"),
    ("transition", "x.transition"),
    ("resolve_reason", "x.resolve_reason"),
    ("service", "x.service"),
    ("document", "x.rule->>'document'"),
    ("rule", "x.rule->>'name'"),
    ("kind", "x.rule->>'kind'"),
    ("severity", "x.severity"),
    ("priority", "x.priority"),
    ("previous_severity", "x.previous_severity"),
    ("op", "x.rule->>'op'"),
    ("threshold", "x.rule->>'threshold'"),
    ("unit", "x.rule->>'unit'"),
    ("slo", "x.slo->>'name'"),
    ("objective", "x.slo->>'objective'"),
    ("target", "(x.slo->>'target')::numeric"),
    ("labels", "coalesce(x.labels, '{}')"),
    ("windows", "coalesce(x.windows, '[]')"),
    ("budget_period_s", "(x.budget->>'period_s')::bigint"),
    ("budget_remaining_ratio", "(x.budget->>'remaining_ratio')::numeric"),
    ("budget_exhausts_at", "(x.budget->>'exhausts_at')::timestamptz"),
    ("offset_ranges", "coalesce(x.evidence->'offset_ranges', '[]')"),
    ("exemplars", "coalesce(x.evidence->'exemplars', '[]')"),
    ("suppressed_by", "coalesce(x.suppressed_by, '{}')"),
    ("bucket_start", "date_trunc('hour', x.onset_at, 'UTC')"),
    ("onset_at", "x.onset_at"),
    ("opened_at", "x.opened_at"),
    ("recovered_at", "x.recovered_at"),
    ("resolved_at", "x.resolved_at"),
    ("evaluated_at", "x.evaluated_at"),
    ("worst_value", "x.worst_value"),
    ("bad_total", "x.bad_total"),
    ("stale", "coalesce(x.stale, false)"),
    ("is_final", "(x.completeness->>'is_final')::boolean"),
    ("watermark", "(x.completeness->>'watermark')::timestamptz"),
    ("lag_events", "(x.completeness->>'lag_events')::bigint"),
    ("late_events", "(x.completeness->>'late_events')::bigint"),
    ("summary", "x.summary"),
    ("runbook_url", "x.runbook_url"),
    ("spec_hash", "x.spec_hash"),
    ("version", "x.version"),
];

/// Of several transitions of one episode the last counts, whatever order they come in.
pub(super) fn upsert_episodes(schema: &str) -> String {
    let names = STATE.map(|(name, _)| name);
    let values = STATE.map(|(_, value)| value);
    let changed: Vec<String> = names.iter().skip(1).map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO {schema}.slo_breach AS t ({names})\n\
         SELECT DISTINCT ON (x.episode_id) {values}\n\
         FROM json_to_recordset(($1::text)::json) AS x(alert_key text, episode_id text, revision int, \
           transition text, resolve_reason text, severity text, priority text, previous_severity text, \
           service text, slo jsonb, rule jsonb, labels jsonb, windows jsonb, budget jsonb, evidence jsonb, \
           suppressed_by text[], onset_at timestamptz, opened_at timestamptz, \
           recovered_at timestamptz, resolved_at timestamptz, evaluated_at timestamptz, worst_value numeric, \
           bad_total bigint, stale boolean, completeness jsonb, summary text, runbook_url text, spec_hash text, \
           version bigint)\n\
         ORDER BY x.episode_id, x.revision DESC\n\
         ON CONFLICT (episode_id) DO UPDATE SET {changed}, updated_at = now()\n\
         WHERE t.revision < excluded.revision",
        schema = ident(schema),
        names = names.join(", "),
        values = values.join(", "),
        changed = changed.join(", "),
    )
}
