-- Offsets live beside the rows they stand for and move in the same transaction.
CREATE TABLE {schema}.kafka_offset (
  topic text NOT NULL,
  partition int NOT NULL,
  next_offset bigint NOT NULL CHECK (next_offset >= 0),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE {schema}.kafka_offset IS 'Where the store goes on reading each partition. Every record before it is in these tables.';
COMMENT ON COLUMN {schema}.kafka_offset.topic IS 'Kafka topic.';
COMMENT ON COLUMN {schema}.kafka_offset.partition IS 'Kafka partition.';
COMMENT ON COLUMN {schema}.kafka_offset.next_offset IS 'Offset of the next record to store.';
COMMENT ON COLUMN {schema}.kafka_offset.updated_at IS 'Database clock of the last move.';
