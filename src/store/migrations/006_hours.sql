-- Hours of objectives and of rules, partitioned by month like the hourly tables.
CREATE TABLE {schema}.slo_hourly (
  slo text NOT NULL,
  objective text NOT NULL,
  label_key text NOT NULL,
  bucket_start timestamptz NOT NULL,
  labels jsonb NOT NULL,
  service text,
  target numeric NOT NULL,
  good bigint NOT NULL,
  bad bigint NOT NULL,
  total bigint NOT NULL,
  slice_good numeric NOT NULL,
  slice_bad numeric NOT NULL,
  slice_s bigint NOT NULL,
  revision int NOT NULL,
  version bigint NOT NULL,
  is_final boolean NOT NULL,
  complete boolean NOT NULL,
  watermark timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (slo, objective, label_key, bucket_start)
) PARTITION BY RANGE (bucket_start);
CREATE INDEX ON {schema}.slo_hourly (bucket_start);
CREATE TABLE {schema}.slo_hourly_default PARTITION OF {schema}.slo_hourly DEFAULT;
COMMENT ON TABLE {schema}.slo_hourly_default IS 'Rows of hours for which no monthly partition could be made.';
COMMENT ON TABLE {schema}.slo_hourly IS 'Each objective, group and hour. Add counts up and divide the sums; do not average shares. Rows with is_final = false are provisional.';
COMMENT ON COLUMN {schema}.slo_hourly.slo IS 'SLO, a key.';
COMMENT ON COLUMN {schema}.slo_hourly.objective IS 'Objective of the SLO, a key.';
COMMENT ON COLUMN {schema}.slo_hourly.label_key IS 'labels as one text, a key: equal for equal labels.';
COMMENT ON COLUMN {schema}.slo_hourly.bucket_start IS 'Start of the hour, which is [bucket_start, bucket_start + 1 hour) in UTC.';
COMMENT ON COLUMN {schema}.slo_hourly.labels IS 'Group labels; {} for an objective without groups. Groups beyond the limit are _OTHER, with the shard that counted them.';
COMMENT ON COLUMN {schema}.slo_hourly.service IS 'Service of the SLO; null when it names none.';
COMMENT ON COLUMN {schema}.slo_hourly.target IS 'Share that must be good, above 0 and below 1, as it was in force.';
COMMENT ON COLUMN {schema}.slo_hourly.good IS 'Good events whose event time falls into the hour.';
COMMENT ON COLUMN {schema}.slo_hourly.bad IS 'Bad events.';
COMMENT ON COLUMN {schema}.slo_hourly.total IS 'good + bad.';
COMMENT ON COLUMN {schema}.slo_hourly.slice_good IS 'Good slices of the hour, in parts of a slice for RatioTimeslices; 0 for Occurrences.';
COMMENT ON COLUMN {schema}.slo_hourly.slice_bad IS 'Bad slices of the hour, likewise. Skipped slices are in neither.';
COMMENT ON COLUMN {schema}.slo_hourly.slice_s IS 'Length of a slice in seconds; 0 for Occurrences, where events count and not slices.';
COMMENT ON COLUMN {schema}.slo_hourly.revision IS '0 until the row is corrected; grows by one with each correction by late events.';
COMMENT ON COLUMN {schema}.slo_hourly.version IS 'Offset in the partials log that made the row; the larger one wins.';
COMMENT ON COLUMN {schema}.slo_hourly.is_final IS 'The watermark has passed the end of the hour; never goes back.';
COMMENT ON COLUMN {schema}.slo_hourly.complete IS 'False: input was lost and declared so; counts may be too low.';
COMMENT ON COLUMN {schema}.slo_hourly.watermark IS 'Event time up to which the source was complete; null before the first.';
COMMENT ON COLUMN {schema}.slo_hourly.updated_at IS 'Database clock when the row was last written.';

CREATE VIEW {schema}.slo_daily AS
SELECT slo, objective, label_key, day, labels, service, target, good, bad, total, slice_good, slice_bad,
  good_units / nullif(good_units + bad_units, 0) AS sli,
  bad_allowed,
  bad_units / nullif(bad_allowed, 0) AS budget_spent_ratio,
  hours, is_final, complete
FROM (
  SELECT h.slo, h.objective, h.label_key, (h.bucket_start AT TIME ZONE 'UTC')::date AS day, h.labels,
    (array_agg(h.service ORDER BY h.bucket_start DESC))[1] AS service,
    (array_agg(h.target ORDER BY h.bucket_start DESC))[1] AS target,
    sum(h.good) AS good, sum(h.bad) AS bad, sum(h.total) AS total,
    sum(h.slice_good) AS slice_good, sum(h.slice_bad) AS slice_bad,
    sum(u.good) AS good_units, sum(u.bad) AS bad_units,
    sum((1 - h.target) * (u.good + u.bad)) AS bad_allowed,
    count(*) AS hours, bool_and(h.is_final) AS is_final, bool_and(h.complete) AS complete
  FROM {schema}.slo_hourly h,
  LATERAL (SELECT CASE WHEN h.slice_s > 0 THEN h.slice_good ELSE h.good END AS good,
                  CASE WHEN h.slice_s > 0 THEN h.slice_bad ELSE h.bad END AS bad) u
  GROUP BY h.slo, h.objective, h.label_key, (h.bucket_start AT TIME ZONE 'UTC')::date, h.labels
) d;
COMMENT ON VIEW {schema}.slo_daily IS 'slo_hourly by UTC day.';
COMMENT ON COLUMN {schema}.slo_daily.slo IS 'SLO.';
COMMENT ON COLUMN {schema}.slo_daily.objective IS 'Objective of the SLO.';
COMMENT ON COLUMN {schema}.slo_daily.label_key IS 'labels as one text: equal for equal labels.';
COMMENT ON COLUMN {schema}.slo_daily.day IS 'UTC day.';
COMMENT ON COLUMN {schema}.slo_daily.labels IS 'Group labels; {} for an objective without groups.';
COMMENT ON COLUMN {schema}.slo_daily.service IS 'Service of the SLO in the last hour; null when it names none.';
COMMENT ON COLUMN {schema}.slo_daily.target IS 'Share that must be good, as it was in the last hour.';
COMMENT ON COLUMN {schema}.slo_daily.good IS 'Good events.';
COMMENT ON COLUMN {schema}.slo_daily.bad IS 'Bad events.';
COMMENT ON COLUMN {schema}.slo_daily.total IS 'good + bad.';
COMMENT ON COLUMN {schema}.slo_daily.slice_good IS 'Good slices; 0 for Occurrences.';
COMMENT ON COLUMN {schema}.slo_daily.slice_bad IS 'Bad slices; 0 for Occurrences.';
COMMENT ON COLUMN {schema}.slo_daily.sli IS 'Good share of the day: of slices, or of events for Occurrences; null when there were none.';
COMMENT ON COLUMN {schema}.slo_daily.bad_allowed IS 'Bad events, or slices, that the target of each hour allows for what the hour had.';
COMMENT ON COLUMN {schema}.slo_daily.budget_spent_ratio IS 'Bad events, or slices, over bad_allowed: above 1 the day spent more than its share; null when nothing was allowed.';
COMMENT ON COLUMN {schema}.slo_daily.hours IS 'Hours that have a row, 24 at most.';
COMMENT ON COLUMN {schema}.slo_daily.is_final IS 'Every one of these hours is final.';
COMMENT ON COLUMN {schema}.slo_daily.complete IS 'False: input of one of these hours was lost and declared so.';

CREATE TABLE {schema}.rule_hourly (
  document text NOT NULL,
  rule text NOT NULL,
  label_key text NOT NULL,
  bucket_start timestamptz NOT NULL,
  labels jsonb NOT NULL,
  service text,
  kind text NOT NULL,
  unit text NOT NULL,
  value_min numeric,
  value_max numeric,
  value_sum numeric,
  known_seconds bigint NOT NULL,
  level_seconds jsonb NOT NULL,
  revision int NOT NULL,
  version bigint NOT NULL,
  is_final boolean NOT NULL,
  complete boolean NOT NULL,
  watermark timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (document, rule, label_key, bucket_start)
) PARTITION BY RANGE (bucket_start);
CREATE INDEX ON {schema}.rule_hourly (bucket_start);
CREATE TABLE {schema}.rule_hourly_default PARTITION OF {schema}.rule_hourly DEFAULT;
COMMENT ON TABLE {schema}.rule_hourly_default IS 'Rows of hours for which no monthly partition could be made.';
COMMENT ON TABLE {schema}.rule_hourly IS 'Each rule, group and hour: the number its gravest level looks at, second by second. The mean is sum(value_sum) / sum(known_seconds). Rows with is_final = false are provisional.';
COMMENT ON COLUMN {schema}.rule_hourly.document IS 'Document that declares the rule, a key.';
COMMENT ON COLUMN {schema}.rule_hourly.rule IS 'Rule or objective inside the document, a key.';
COMMENT ON COLUMN {schema}.rule_hourly.label_key IS 'labels as one text, a key: equal for equal labels.';
COMMENT ON COLUMN {schema}.rule_hourly.bucket_start IS 'Start of the hour, which is [bucket_start, bucket_start + 1 hour) in UTC.';
COMMENT ON COLUMN {schema}.rule_hourly.labels IS 'Group labels; {} for a rule without groups. Groups beyond the limit are _OTHER, with the shard that counted them.';
COMMENT ON COLUMN {schema}.rule_hourly.service IS 'Service the rule speaks for; null when it names none.';
COMMENT ON COLUMN {schema}.rule_hourly.kind IS 'As in slo_breach.';
COMMENT ON COLUMN {schema}.rule_hourly.unit IS 'Unit of value_min, value_max and value_sum.';
COMMENT ON COLUMN {schema}.rule_hourly.value_min IS 'Smallest value of the seconds that have one, in unit; null when none has.';
COMMENT ON COLUMN {schema}.rule_hourly.value_max IS 'Largest value, in unit; null when no second has one.';
COMMENT ON COLUMN {schema}.rule_hourly.value_sum IS 'Exact sum of the values of the seconds, in unit; over known_seconds it is the mean. Null when no second has one.';
COMMENT ON COLUMN {schema}.rule_hourly.known_seconds IS 'Seconds of the hour that have a value, 3600 at most.';
COMMENT ON COLUMN {schema}.rule_hourly.level_seconds IS 'Level -> seconds for which it was crossed.';
COMMENT ON COLUMN {schema}.rule_hourly.revision IS '0 until the row is corrected; grows by one with each correction by late events.';
COMMENT ON COLUMN {schema}.rule_hourly.version IS 'Offset in the partials log that made the row; the larger one wins.';
COMMENT ON COLUMN {schema}.rule_hourly.is_final IS 'The watermark has passed the end of the hour; never goes back.';
COMMENT ON COLUMN {schema}.rule_hourly.complete IS 'False: input was lost and declared so; values may be wrong.';
COMMENT ON COLUMN {schema}.rule_hourly.watermark IS 'Event time up to which the source was complete; null before the first.';
COMMENT ON COLUMN {schema}.rule_hourly.updated_at IS 'Database clock when the row was last written.';
