-- What a breach says beside its counts: the objective, the budget, where its events are, who need not act.
ALTER TABLE {schema}.slo_breach
  ADD COLUMN slo text,
  ADD COLUMN objective text,
  ADD COLUMN target numeric,
  ADD COLUMN budget_period_s bigint,
  ADD COLUMN budget_remaining_ratio numeric,
  ADD COLUMN budget_exhausts_at timestamptz,
  ADD COLUMN offset_ranges jsonb NOT NULL DEFAULT '[]',
  ADD COLUMN exemplars jsonb NOT NULL DEFAULT '[]',
  ADD COLUMN suppressed_by text[] NOT NULL DEFAULT '{}';
CREATE INDEX ON {schema}.slo_breach (slo, objective, opened_at) WHERE slo IS NOT NULL;
COMMENT ON COLUMN {schema}.slo_breach.slo IS 'SLO the rule is about; null for rules of no objective.';
COMMENT ON COLUMN {schema}.slo_breach.objective IS 'Objective of the SLO; null for rules of no objective.';
COMMENT ON COLUMN {schema}.slo_breach.target IS 'Share that must be good, above 0 and below 1; null for rules of no objective.';
COMMENT ON COLUMN {schema}.slo_breach.budget_period_s IS 'Length of the objective''s period in seconds at the latest transition; null without an error budget.';
COMMENT ON COLUMN {schema}.slo_breach.budget_remaining_ratio IS 'Share of the error budget left at the latest transition: 1 untouched, below 0 overspent; null without an error budget.';
COMMENT ON COLUMN {schema}.slo_breach.budget_exhausts_at IS 'When the budget is gone if errors go on as in the shortest window crossed; null when it would not run out.';
COMMENT ON COLUMN {schema}.slo_breach.offset_ranges IS 'Where the events of the longest crossed window are: topic, partition, from, to (exclusive). Other events are among them.';
COMMENT ON COLUMN {schema}.slo_breach.exemplars IS 'At most ten events behind the breach: topic, partition, offset, trace_id, value in unit.';
COMMENT ON COLUMN {schema}.slo_breach.suppressed_by IS 'Maintenance because of which nobody was to act, sorted; empty when somebody was.';
COMMENT ON COLUMN {schema}.slo_breach.op IS 'above or below: on which side of the threshold the breach is; at_least for a burn rate.';
COMMENT ON COLUMN {schema}.slo_breach.windows IS 'Each window as it was last counted: name, duration_s, start, end, good, bad, total, sli, coverage, value in unit, value_rel_error, burn_rate.';

CREATE VIEW {schema}.episode AS
SELECT b.episode_id, b.alert_key, b.service, b.document, b.rule, b.kind, b.slo, b.objective, b.labels,
  coalesce(w.severity, b.severity) AS worst_severity,
  coalesce(w.priority, b.priority) AS worst_priority,
  b.status = 'OPEN' AS is_open,
  b.bucket_start, b.onset_at, b.opened_at, b.recovered_at, b.resolved_at, b.resolve_reason,
  extract(epoch FROM b.opened_at - b.onset_at)::bigint AS time_to_detect_s,
  extract(epoch FROM b.recovered_at - b.onset_at)::bigint AS crossed_s,
  extract(epoch FROM b.resolved_at - b.opened_at)::bigint AS duration_s,
  b.worst_value, b.unit, b.op, b.threshold, b.bad_total, b.stale, b.suppressed_by, b.summary, b.runbook_url
FROM {schema}.slo_breach b
LEFT JOIN LATERAL (
  SELECT e.severity, e.record->>'priority' AS priority
  FROM {schema}.slo_breach_event e
  WHERE e.episode_id = b.episode_id
  ORDER BY e.record->>'priority', e.revision
  LIMIT 1
) w ON true
WHERE b.status <> 'RETRACTED';
COMMENT ON VIEW {schema}.episode IS 'One row for each breach episode that was one: those retracted are only in slo_breach.';
COMMENT ON COLUMN {schema}.episode.episode_id IS 'Row of slo_breach.';
COMMENT ON COLUMN {schema}.episode.alert_key IS 'The same in every episode of one alert.';
COMMENT ON COLUMN {schema}.episode.service IS 'Service the rule speaks for; null when it names none.';
COMMENT ON COLUMN {schema}.episode.document IS 'Document that declares the rule.';
COMMENT ON COLUMN {schema}.episode.rule IS 'Rule or objective inside the document.';
COMMENT ON COLUMN {schema}.episode.kind IS 'As in slo_breach.';
COMMENT ON COLUMN {schema}.episode.slo IS 'SLO the rule is about; null for rules of no objective.';
COMMENT ON COLUMN {schema}.episode.objective IS 'Objective of the SLO; null for rules of no objective.';
COMMENT ON COLUMN {schema}.episode.labels IS 'Group labels and the labels of the rule.';
COMMENT ON COLUMN {schema}.episode.worst_severity IS 'Gravest level of the episode, by priority; of several the first.';
COMMENT ON COLUMN {schema}.episode.worst_priority IS 'Its priority, P0 to P3; P0 is the gravest.';
COMMENT ON COLUMN {schema}.episode.is_open IS 'The episode goes on.';
COMMENT ON COLUMN {schema}.episode.bucket_start IS 'Start of the UTC hour of onset_at: joins with the hourly tables.';
COMMENT ON COLUMN {schema}.episode.onset_at IS 'First second of event time at which the threshold was crossed.';
COMMENT ON COLUMN {schema}.episode.opened_at IS 'Second of event time judged when the episode opened.';
COMMENT ON COLUMN {schema}.episode.recovered_at IS 'First second back inside the threshold, before the hold; null while crossed.';
COMMENT ON COLUMN {schema}.episode.resolved_at IS 'Second at which the episode ended, after the hold; null while open.';
COMMENT ON COLUMN {schema}.episode.resolve_reason IS 'RECOVERED, NO_DATA_TIMEOUT, RULE_REMOVED or LATE_DATA; null while open.';
COMMENT ON COLUMN {schema}.episode.time_to_detect_s IS 'Seconds from onset_at to opened_at.';
COMMENT ON COLUMN {schema}.episode.crossed_s IS 'Seconds from onset_at to recovered_at; null while crossed.';
COMMENT ON COLUMN {schema}.episode.duration_s IS 'Seconds from opened_at to resolved_at; null while open.';
COMMENT ON COLUMN {schema}.episode.worst_value IS 'Worst value of the episode, in unit.';
COMMENT ON COLUMN {schema}.episode.unit IS 'Unit of worst_value and threshold.';
COMMENT ON COLUMN {schema}.episode.op IS 'As in slo_breach.';
COMMENT ON COLUMN {schema}.episode.threshold IS 'Threshold as the document writes it, of the level at the latest transition.';
COMMENT ON COLUMN {schema}.episode.bad_total IS 'Bad events in the seconds of the episode.';
COMMENT ON COLUMN {schema}.episode.stale IS 'Found only when it was past: nobody was to be paged.';
COMMENT ON COLUMN {schema}.episode.suppressed_by IS 'Maintenance because of which nobody was to act; empty when somebody was.';
COMMENT ON COLUMN {schema}.episode.summary IS 'One sentence for people.';
COMMENT ON COLUMN {schema}.episode.runbook_url IS 'What to do about it; null when the rule names nothing.';

-- Forty routes that fail together are one incident of their service. Episodes of rules without a service meet those
-- of the same document.
CREATE VIEW {schema}.incident AS
SELECT service, min(onset_at) AS onset_at, min(opened_at) AS opened_at,
  CASE WHEN NOT bool_or(is_open) THEN max(resolved_at) END AS resolved_at,
  bool_or(is_open) AS is_open,
  (array_agg(worst_severity ORDER BY worst_priority, opened_at, episode_id))[1] AS worst_severity,
  min(worst_priority) AS worst_priority,
  extract(epoch FROM min(opened_at) - min(onset_at))::bigint AS time_to_detect_s,
  CASE WHEN NOT bool_or(is_open)
    THEN extract(epoch FROM max(resolved_at) - min(opened_at))::bigint END AS duration_s,
  count(*) AS episodes,
  array_agg(DISTINCT document || '/' || rule) AS rules
FROM (
  SELECT f.*, sum(is_first::int) OVER (PARTITION BY service, owner ORDER BY onset_at, episode_id) AS nth
  FROM (
    SELECT o.*, coalesce(onset_at > max(coalesce(resolved_at, 'infinity')) OVER (
      PARTITION BY service, owner ORDER BY onset_at, episode_id
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS is_first
    FROM (SELECT i.*, CASE WHEN i.service IS NULL THEN i.document END AS owner FROM {schema}.episode i) o
  ) f
) n
GROUP BY service, owner, nth;
COMMENT ON VIEW {schema}.incident IS 'Episodes of one service (of one document for rules without a service) that overlap between onset_at and resolved_at, as one row.';
COMMENT ON COLUMN {schema}.incident.service IS 'Service the rules speak for; null when they name none.';
COMMENT ON COLUMN {schema}.incident.onset_at IS 'Earliest of the episodes.';
COMMENT ON COLUMN {schema}.incident.opened_at IS 'Earliest of the episodes.';
COMMENT ON COLUMN {schema}.incident.resolved_at IS 'Latest of the episodes; null while one is open.';
COMMENT ON COLUMN {schema}.incident.is_open IS 'An episode goes on.';
COMMENT ON COLUMN {schema}.incident.worst_severity IS 'Gravest level of all episodes, by priority; of several the first opened.';
COMMENT ON COLUMN {schema}.incident.worst_priority IS 'Its priority, P0 to P3; P0 is the gravest.';
COMMENT ON COLUMN {schema}.incident.time_to_detect_s IS 'Seconds from the earliest onset_at to the earliest opened_at.';
COMMENT ON COLUMN {schema}.incident.duration_s IS 'Seconds from opened_at to resolved_at; null while open.';
COMMENT ON COLUMN {schema}.incident.episodes IS 'Rows of episode.';
COMMENT ON COLUMN {schema}.incident.rules IS 'Their document/rule, each once, sorted.';
