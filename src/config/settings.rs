//! `plimsoll.yaml`: where Kafka and Postgres are, limits and intervals.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Everything that is not rules. Defaults are those of an empty file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub kafka: KafkaSettings,
    pub topics: TopicSettings,
    pub postgres: PostgresSettings,
    pub http: HttpSettings,
    pub limits: Limits,
    pub intervals: Intervals,
    /// Name of the cluster in `ce_source`.
    pub cluster: String,
    /// Stable name of this replica; by default the host's name.
    pub instance: String,
    /// Workers for each role; by default the cores this process may use, at least one.
    pub workers: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Prefix of the consumer groups and transactional ids.
    pub application: String,
    /// Passed through to librdkafka as they are; they win over Plimsoll's own, but for those its guarantees rest on.
    pub properties: BTreeMap<String, Secret>,
    /// How long start-up waits for a broker.
    pub connect_timeout: Duration,
    /// Static membership: a restart under the same name takes its partitions back at once.
    pub static_membership: bool,
    /// Events are fetched past librdkafka's queues, where nothing in `properties` is about how.
    pub direct_fetch: bool,
}

/// Names and sizes of Plimsoll's own topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Stands before the name of every topic Plimsoll writes, not before the inputs.
    pub prefix: String,
    pub rules: String,
    pub partials: String,
    pub changelog: String,
    pub dead_letters: String,
    pub breaches: String,
    pub breach_state: String,
    pub slo_hourly: String,
    pub rule_hourly: String,
    pub slo_status: String,
    /// Partitions of partials and changelog: the most evaluate workers that can share the work.
    pub internal_partitions: u32,
    /// Partitions of the topics others read.
    pub output_partitions: u32,
    pub replication_factor: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// `postgres://user:password@host/database`; None: no store role can run.
    pub url: Option<Secret>,
    pub schema: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    pub address: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Larger input records go to the dead letters.
    pub record_bytes: usize,
    /// Largest record written to an internal partition.
    pub partial_bytes: usize,
    /// Most bytes of checkpoint in one transaction.
    pub checkpoint_slice_bytes: usize,
    /// Deltas an ingest worker holds before it flushes early.
    pub deltas: usize,
    /// Rows a shard finishes for each record it applies.
    pub rows_per_record: usize,
    /// Sampled dead letters kept in Postgres for each topic and hour.
    pub dead_letter_samples: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// From when something can be judged to the flush that tells it, and the least between two flushes.
    pub flush: Duration,
    /// The longest anything waits for its flush; under lag, also for its deltas to fill.
    pub flush_max: Duration,
    /// Ingest writes every clock about this often, and more seldom while events wait.
    pub clock: Duration,
    /// Evaluate commits at least this often; at once when a transition is pending.
    pub commit: Duration,
    /// Pause between two full checkpoints, at most.
    pub checkpoint: Duration,
    /// Provisional rows of unfinished hours.
    pub provisional: Duration,
    pub heartbeat: Duration,
    /// SIGTERM to exit: a worker that is not done by then is left behind, and its open transaction aborts.
    pub shutdown: Duration,
}

/// A text that never shows in logs or `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl TopicSettings {
    /// The topic as it is called on the broker.
    pub fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
