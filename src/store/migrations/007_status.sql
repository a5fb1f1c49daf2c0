CREATE TABLE {schema}.slo_status (
  document text NOT NULL,
  rule text NOT NULL,
  label_key text NOT NULL,
  labels jsonb NOT NULL,
  service text,
  kind text NOT NULL,
  unit text NOT NULL,
  evaluated_at timestamptz NOT NULL,
  level text,
  value numeric,
  good bigint NOT NULL,
  bad bigint NOT NULL,
  total bigint NOT NULL,
  coverage numeric NOT NULL,
  budget_period_s bigint,
  budget_remaining_ratio numeric,
  budget_exhausts_at timestamptz,
  version bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (document, rule, label_key)
) WITH (fillfactor = 80);
CREATE INDEX ON {schema}.slo_status (level) WHERE level IS NOT NULL;
COMMENT ON TABLE {schema}.slo_status IS 'How each rule and objective stands for each group. A row whose evaluated_at is old belongs to a group without data, or to a rule that is gone.';
COMMENT ON COLUMN {schema}.slo_status.document IS 'Document that declares the rule, a key; for an objective its SLO.';
COMMENT ON COLUMN {schema}.slo_status.rule IS 'Rule or objective inside the document, a key.';
COMMENT ON COLUMN {schema}.slo_status.label_key IS 'labels as one text, a key: equal for equal labels.';
COMMENT ON COLUMN {schema}.slo_status.labels IS 'Group labels; {} for a rule without groups. Groups beyond the limit are _OTHER, with the shard that counted them.';
COMMENT ON COLUMN {schema}.slo_status.service IS 'Service the rule speaks for; null when it names none.';
COMMENT ON COLUMN {schema}.slo_status.kind IS 'As in slo_breach.';
COMMENT ON COLUMN {schema}.slo_status.unit IS 'Unit of value.';
COMMENT ON COLUMN {schema}.slo_status.evaluated_at IS 'Second of event time that was judged.';
COMMENT ON COLUMN {schema}.slo_status.level IS 'Gravest level crossed; null: all is well.';
COMMENT ON COLUMN {schema}.slo_status.value IS 'The number the gravest level looks at, in unit; null when it is unknown.';
COMMENT ON COLUMN {schema}.slo_status.good IS 'Good events of the objective''s period; 0 for rules of no objective.';
COMMENT ON COLUMN {schema}.slo_status.bad IS 'Bad events, likewise.';
COMMENT ON COLUMN {schema}.slo_status.total IS 'good + bad.';
COMMENT ON COLUMN {schema}.slo_status.coverage IS 'Share of the period since the rule began to count, 0 to 1.';
COMMENT ON COLUMN {schema}.slo_status.budget_period_s IS 'Length of the objective''s period in seconds; null without an error budget.';
COMMENT ON COLUMN {schema}.slo_status.budget_remaining_ratio IS 'Share of the error budget left: 1 untouched, below 0 overspent; null without an error budget.';
COMMENT ON COLUMN {schema}.slo_status.budget_exhausts_at IS 'When the budget is gone if errors go on as in the shortest window crossed; null when it would not run out.';
COMMENT ON COLUMN {schema}.slo_status.version IS 'Offset in the partials log that made the row; the larger one wins.';
COMMENT ON COLUMN {schema}.slo_status.updated_at IS 'Database clock when the row was last written.';
