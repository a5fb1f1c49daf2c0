CREATE TABLE {schema}.slo_breach (
  episode_id text PRIMARY KEY,
  alert_key text NOT NULL,
  status text NOT NULL CONSTRAINT slo_breach_status CHECK (status IN ('OPEN', 'RESOLVED', 'RETRACTED')),
  revision int NOT NULL,
  transition text NOT NULL,
  resolve_reason text,
  service text,
  document text NOT NULL,
  rule text NOT NULL,
  kind text NOT NULL,
  severity text NOT NULL,
  priority text NOT NULL,
  previous_severity text,
  op text,
  threshold text,
  unit text,
  labels jsonb NOT NULL,
  windows jsonb NOT NULL,
  bucket_start timestamptz NOT NULL,
  onset_at timestamptz NOT NULL,
  opened_at timestamptz NOT NULL,
  recovered_at timestamptz,
  resolved_at timestamptz,
  evaluated_at timestamptz NOT NULL,
  worst_value numeric,
  bad_total bigint,
  stale boolean NOT NULL,
  is_final boolean,
  watermark timestamptz,
  lag_events bigint,
  late_events bigint,
  summary text,
  runbook_url text,
  spec_hash text,
  version bigint,
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON {schema}.slo_breach (opened_at);
CREATE INDEX ON {schema}.slo_breach (alert_key, opened_at);
CREATE INDEX ON {schema}.slo_breach (bucket_start);
CREATE INDEX ON {schema}.slo_breach (severity) WHERE status = 'OPEN';
COMMENT ON TABLE {schema}.slo_breach IS 'One row for each breach episode: its latest state.';
COMMENT ON COLUMN {schema}.slo_breach.episode_id IS 'alert_key, a slash and opened_at.';
COMMENT ON COLUMN {schema}.slo_breach.alert_key IS 'Lowercase hex SHA-256 of document, rule and group labels; the same in every episode of one alert.';
COMMENT ON COLUMN {schema}.slo_breach.status IS 'OPEN, RESOLVED, or RETRACTED when late data showed that there was no breach.';
COMMENT ON COLUMN {schema}.slo_breach.revision IS 'Grows with each transition of the episode; the larger one wins.';
COMMENT ON COLUMN {schema}.slo_breach.transition IS 'OPENED, UPDATED, RESOLVED or RETRACTED: the latest.';
COMMENT ON COLUMN {schema}.slo_breach.resolve_reason IS 'RECOVERED, NO_DATA_TIMEOUT, RULE_REMOVED or LATE_DATA; null while open.';
COMMENT ON COLUMN {schema}.slo_breach.service IS 'Service the rule speaks for; null when it names none.';
COMMENT ON COLUMN {schema}.slo_breach.document IS 'Document that declares the rule.';
COMMENT ON COLUMN {schema}.slo_breach.rule IS 'Rule or objective inside the document.';
COMMENT ON COLUMN {schema}.slo_breach.kind IS 'RATIO, QUANTILE, BURN_RATE, COUNT, RATE, ABSENCE, FRESHNESS, LAG, BUDGET or COMPOSITE.';
COMMENT ON COLUMN {schema}.slo_breach.severity IS 'Level crossed, the gravest now.';
COMMENT ON COLUMN {schema}.slo_breach.priority IS 'P0 to P3, from the Severities document.';
COMMENT ON COLUMN {schema}.slo_breach.previous_severity IS 'Level before the last change of level.';
COMMENT ON COLUMN {schema}.slo_breach.op IS 'above or below: on which side of the threshold the breach is.';
COMMENT ON COLUMN {schema}.slo_breach.threshold IS 'Threshold as the document writes it.';
COMMENT ON COLUMN {schema}.slo_breach.unit IS 'Unit of worst_value and threshold.';
COMMENT ON COLUMN {schema}.slo_breach.labels IS 'Group labels and the labels of the rule.';
COMMENT ON COLUMN {schema}.slo_breach.windows IS 'Each window as it was last counted: name, duration_s, start, end, good, bad, total, sli, coverage.';
COMMENT ON COLUMN {schema}.slo_breach.bucket_start IS 'Start of the UTC hour of onset_at: joins with the hourly tables.';
COMMENT ON COLUMN {schema}.slo_breach.onset_at IS 'First second of event time at which the threshold was crossed; late data may move it.';
COMMENT ON COLUMN {schema}.slo_breach.opened_at IS 'Second of event time judged when the episode opened; never moves.';
COMMENT ON COLUMN {schema}.slo_breach.recovered_at IS 'First second back inside the threshold, before the hold; null while crossed.';
COMMENT ON COLUMN {schema}.slo_breach.resolved_at IS 'Second at which the episode ended, after the hold; null while open.';
COMMENT ON COLUMN {schema}.slo_breach.evaluated_at IS 'Second of event time of the latest transition.';
COMMENT ON COLUMN {schema}.slo_breach.worst_value IS 'Worst value of the episode, in unit.';
COMMENT ON COLUMN {schema}.slo_breach.bad_total IS 'Bad events in the seconds of the episode.';
COMMENT ON COLUMN {schema}.slo_breach.stale IS 'Found only when it was past: nobody was to be paged.';
COMMENT ON COLUMN {schema}.slo_breach.is_final IS 'The watermark had passed the second judged.';
COMMENT ON COLUMN {schema}.slo_breach.watermark IS 'Event time up to which the source was complete at the latest transition.';
COMMENT ON COLUMN {schema}.slo_breach.lag_events IS 'Messages not yet read then, over all partitions of the source.';
COMMENT ON COLUMN {schema}.slo_breach.late_events IS 'Late events counted in the windows.';
COMMENT ON COLUMN {schema}.slo_breach.summary IS 'One sentence for people.';
COMMENT ON COLUMN {schema}.slo_breach.runbook_url IS 'What to do about it; null when the rule names nothing.';
COMMENT ON COLUMN {schema}.slo_breach.spec_hash IS 'Hash of the rule as it was in force, 16 hex digits.';
COMMENT ON COLUMN {schema}.slo_breach.version IS 'Offset in the partials log that made the record.';
COMMENT ON COLUMN {schema}.slo_breach.updated_at IS 'Database clock when the row was last written.';

CREATE TABLE {schema}.slo_breach_event (
  episode_id text NOT NULL,
  revision int NOT NULL,
  alert_key text NOT NULL,
  transition text NOT NULL CONSTRAINT slo_breach_event_transition
    CHECK (transition IN ('OPENED', 'UPDATED', 'RESOLVED', 'RETRACTED')),
  severity text NOT NULL,
  evaluated_at timestamptz NOT NULL,
  record jsonb NOT NULL,
  stored_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (episode_id, revision)
);
CREATE INDEX ON {schema}.slo_breach_event (evaluated_at);
COMMENT ON TABLE {schema}.slo_breach_event IS 'Each transition of each breach episode, as it was published.';
COMMENT ON COLUMN {schema}.slo_breach_event.episode_id IS 'Row of slo_breach.';
COMMENT ON COLUMN {schema}.slo_breach_event.revision IS 'Order of the transitions of one episode.';
COMMENT ON COLUMN {schema}.slo_breach_event.alert_key IS 'The same in every episode of one alert.';
COMMENT ON COLUMN {schema}.slo_breach_event.transition IS 'OPENED, UPDATED, RESOLVED or RETRACTED.';
COMMENT ON COLUMN {schema}.slo_breach_event.severity IS 'Level crossed.';
COMMENT ON COLUMN {schema}.slo_breach_event.evaluated_at IS 'Second of event time that was judged.';
COMMENT ON COLUMN {schema}.slo_breach_event.record IS 'The whole record of the breach topic.';
COMMENT ON COLUMN {schema}.slo_breach_event.stored_at IS 'Database clock when the row was written.';
