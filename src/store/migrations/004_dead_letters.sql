CREATE TABLE {schema}.dead_letter_hourly (
  topic text NOT NULL,
  reason text NOT NULL,
  bucket_start timestamptz NOT NULL,
  count bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, reason, bucket_start)
);
CREATE INDEX ON {schema}.dead_letter_hourly (bucket_start);
COMMENT ON TABLE {schema}.dead_letter_hourly IS 'Records that could not be counted, by topic, reason and hour; each exactly once.';
COMMENT ON COLUMN {schema}.dead_letter_hourly.topic IS 'Topic the record came from.';
COMMENT ON COLUMN {schema}.dead_letter_hourly.reason IS 'NOT_DECODABLE, MISSING_FIELD, WRONG_TYPE, OUT_OF_RANGE, BAD_TIMESTAMP, TOO_FAR_AHEAD, TOO_LATE, TOO_LARGE, UNKNOWN_SCHEMA or HOUR_GONE.';
COMMENT ON COLUMN {schema}.dead_letter_hourly.bucket_start IS 'Start of the UTC hour of the Kafka timestamp of the dead letter.';
COMMENT ON COLUMN {schema}.dead_letter_hourly.count IS 'Dead letters.';
COMMENT ON COLUMN {schema}.dead_letter_hourly.updated_at IS 'Database clock when the row was last written.';

CREATE TABLE {schema}.dead_letter (
  letter_partition int NOT NULL,
  letter_offset bigint NOT NULL,
  topic text NOT NULL,
  partition int,
  "offset" bigint,
  reason text NOT NULL,
  detail text NOT NULL,
  kafka_time timestamptz NOT NULL,
  key bytea NOT NULL,
  value bytea NOT NULL,
  value_bytes bigint NOT NULL,
  PRIMARY KEY (letter_partition, letter_offset)
);
CREATE INDEX ON {schema}.dead_letter (kafka_time);
COMMENT ON TABLE {schema}.dead_letter IS 'A sample: the first dead letters of each topic, reason and hour, for 14 days. All of them are in the dead-letter topic.';
COMMENT ON COLUMN {schema}.dead_letter.letter_partition IS 'Partition of the dead-letter topic.';
COMMENT ON COLUMN {schema}.dead_letter.letter_offset IS 'Offset in the dead-letter topic.';
COMMENT ON COLUMN {schema}.dead_letter.topic IS 'Topic the record came from.';
COMMENT ON COLUMN {schema}.dead_letter.partition IS 'Partition the record came from; null when it stands for several.';
COMMENT ON COLUMN {schema}.dead_letter."offset" IS 'Offset the record came from; null when it stands for several.';
COMMENT ON COLUMN {schema}.dead_letter.reason IS 'As in dead_letter_hourly.';
COMMENT ON COLUMN {schema}.dead_letter.detail IS 'What is wrong and where, for the owner of the producer; cut at 1,000 characters.';
COMMENT ON COLUMN {schema}.dead_letter.kafka_time IS 'Kafka timestamp of the dead letter.';
COMMENT ON COLUMN {schema}.dead_letter.key IS 'Original key.';
COMMENT ON COLUMN {schema}.dead_letter.value IS 'Original bytes; cut at 64 KiB.';
COMMENT ON COLUMN {schema}.dead_letter.value_bytes IS 'Length of the original value in bytes.';
