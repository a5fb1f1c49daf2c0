//! Every metric Plimsoll shows, in one place.
//!
//! Methods that name labels hand out a handle; a loop takes its handles once, because finding one costs a lock.

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::labels::*;
use super::process::Process;
use crate::core::event::Reason;
use crate::core::output::Transition;

/// A gauge of seconds.
type SecondsGauge = Gauge<f64, AtomicU64>;

/// Upper ends of the buckets of flushes and commits, in seconds.
const COMMIT_BUCKETS_S: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper ends of the buckets of restores, in seconds.
const RESTORE_BUCKETS_S: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];

/// Cheap to clone; all clones count into the same metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    messages_read: Family<SourceLabels, Counter>,
    read_bytes: Family<SourceLabels, Counter>,
    late_events: Family<SourceLabels, Counter>,
    dead_letters: Family<DeadLetterLabels, Counter>,
    lag_messages: Family<SourceWorkerLabels, Gauge>,
    lag_seconds: Family<SourceWorkerLabels, SecondsGauge>,
    group_lag_messages: Family<GroupSourceLabels, Gauge>,
    group_lag_seconds: Family<GroupSourceLabels, SecondsGauge>,
    group_lag_failures: Family<GroupLabels, Counter>,
    watermark_delay_seconds: Family<SourceShardLabels, SecondsGauge>,
    flush_seconds: Family<RoleLabels, Histogram>,
    commit_seconds: Family<RoleLabels, Histogram>,
    transactions_aborted: Family<AbortLabels, Counter>,
    rebalances: Family<RoleLabels, Counter>,
    rows_written: Family<TableLabels, Counter>,
    breaches: Family<TransitionLabels, Counter>,
    series: Family<TableShardLabels, Gauge>,
    series_limit: Family<TableLabels, Gauge>,
    other_events: Family<TableLabels, Counter>,
    invariant_violations: Family<InvariantLabels, Counter>,
    shards_owned: Family<WorkerLabels, Gauge>,
    shards_paused: Family<WorkerLabels, Gauge>,
    restore_seconds: Histogram,
    restore_bytes: Counter,
    checkpoint_bytes: Counter,
    store: StoreMetrics,
}

/// What an ingest worker counts for one source.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    pub messages_read: Counter,
    pub read_bytes: Counter,
    pub late_events: Counter,
}

/// What was read at once: a counter that all threads share is not for every record.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceTally {
    pub messages: u64,
    pub bytes: u64,
    /// Events late by the source's `out_of_order`.
    pub late: u64,
}

impl SourceMetrics {
    pub fn count(&self, tally: SourceTally) {
        self.messages_read.inc_by(tally.messages);
        self.read_bytes.inc_by(tally.bytes);
        self.late_events.inc_by(tally.late);
    }
}

/// How far one worker is behind on its partitions of one source.
#[derive(Clone, Debug)]
pub struct LagMetrics {
    pub messages: Gauge,
    pub seconds: SecondsGauge,
}

impl LagMetrics {
    /// The partitions go elsewhere.
    pub fn clear(&self) {
        self.messages.set(0);
        self.seconds.set(0.0);
    }
}

/// What the store counts.
#[derive(Clone, Debug, Default)]
pub struct StoreMetrics {
    pub batches: Counter,
    pub rows: Counter,
    pub retries: Counter,
    /// Age of the oldest output record not yet in Postgres.
    pub behind_seconds: SecondsGauge,
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let plimsoll = registry.sub_registry_with_prefix("plimsoll");
        let version = VersionLabels { version: env!("CARGO_PKG_VERSION") };
        plimsoll.register("build", "Version of this process", Info::new(version));
        let commit_histograms: fn() -> Histogram = || Histogram::new(COMMIT_BUCKETS_S);
        let mut add = Register(plimsoll);
        let shared = Shared {
            messages_read: add.counted("source_messages_read", "Records read from the topic of a source"),
            read_bytes: add.sized("source_read_bytes", "Bytes of the keys and values of these records"),
            late_events: add
                .counted("source_late_events", "Events older than out_of_order, counted all the same"),
            dead_letters: add
                .counted("dead_letters", "Records that are no events of their source, by reason"),
            lag_messages: add
                .counted("source_lag_messages", "Records not yet read, over the partitions of a worker"),
            lag_seconds: add.timed("source_lag", "Age of the oldest record not yet read", Family::default()),
            group_lag_messages: add.counted(
                "consumer_group_lag_messages",
                "Messages a watched group has not committed, over the partitions this process reads",
            ),
            group_lag_seconds: add.timed(
                "consumer_group_lag",
                "Age of the oldest of these messages",
                Family::default(),
            ),
            group_lag_failures: add.counted(
                "consumer_group_lag_failures",
                "Times the broker did not say how far a watched group is",
            ),
            watermark_delay_seconds: add.timed(
                "source_watermark_delay",
                "Log time minus watermark of a source in a shard",
                Family::default(),
            ),
            flush_seconds: add.timed(
                "flush",
                "Time to encode and send the records of one flush",
                Family::new_with_constructor(commit_histograms),
            ),
            commit_seconds: add.timed(
                "commit",
                "Time from asking for a commit to its answer",
                Family::new_with_constructor(commit_histograms),
            ),
            transactions_aborted: add.counted("transactions_aborted", "Transactions given up and done again"),
            rebalances: add.counted("rebalances", "Times the consumer group spread its partitions anew"),
            rows_written: add.counted("rows_written", "Hourly rows written to Kafka, provisional ones too"),
            breaches: add.counted("breaches", "Breach records written to Kafka, by transition"),
            series: add.counted("series", "Keys of the current hour in a shard"),
            series_limit: add
                .counted("series_limit", "Most keys an hour may have in a shard; more fold into _OTHER"),
            other_events: add.counted("other_events", "Events of keys beyond the limit, folded into _OTHER"),
            invariant_violations: add.counted("invariant_violations", "Times an invariant was found broken"),
            shards_owned: add.counted("shards_owned", "Shards an evaluate worker holds now"),
            shards_paused: add
                .counted("shards_paused", "Of these, shards that met a record of a newer release and wait"),
            restore_seconds: add.timed(
                "restore",
                "From being given a shard to applying its next record",
                Histogram::new(RESTORE_BUCKETS_S),
            ),
            restore_bytes: add.sized("restore_bytes", "Bytes of checkpoints read to restore shards"),
            checkpoint_bytes: add.sized("checkpoint_bytes", "Bytes of checkpoints written"),
            store: StoreMetrics {
                batches: add.counted("store_batches", "Database transactions of the store that committed"),
                rows: add.counted("store_rows", "Rows these transactions wrote"),
                retries: add.counted("store_retries", "Database transactions tried again"),
                behind_seconds: add.timed(
                    "store_behind",
                    "Age of the oldest output record not yet in Postgres",
                    SecondsGauge::default(),
                ),
            },
            registry,
        };
        let metrics = Metrics { shared: Arc::new(shared) };
        metrics.show_zeros();
        metrics
    }

    /// A series that first appears as 1 is no increase to Prometheus, so those that page start at 0.
    fn show_zeros(&self) {
        for invariant in Invariant::ALL {
            self.invariant_violations(invariant);
        }
        for (role, cause) in [Role::Ingest, Role::Evaluate].into_iter().flat_map(AbortCause::of) {
            self.transactions_aborted(role, cause);
        }
        for transition in
            [Transition::Opened, Transition::Updated, Transition::Resolved, Transition::Retracted]
        {
            self.breaches(transition);
        }
    }

    pub fn source(&self, source: &str) -> SourceMetrics {
        for reason in Reason::ALL {
            self.dead_letters(source, reason);
        }
        let labels = SourceLabels { source: source.to_owned() };
        SourceMetrics {
            messages_read: self.shared.messages_read.get_or_create_owned(&labels),
            read_bytes: self.shared.read_bytes.get_or_create_owned(&labels),
            late_events: self.shared.late_events.get_or_create_owned(&labels),
        }
    }

    pub fn dead_letters(&self, source: &str, reason: Reason) -> Counter {
        let labels = DeadLetterLabels { source: source.to_owned(), reason: reason.name() };
        self.shared.dead_letters.get_or_create_owned(&labels)
    }

    pub fn lag(&self, source: &str, worker: u32) -> LagMetrics {
        let labels = SourceWorkerLabels { source: source.to_owned(), worker };
        LagMetrics {
            messages: self.shared.lag_messages.get_or_create_owned(&labels),
            seconds: self.shared.lag_seconds.get_or_create_owned(&labels),
        }
    }

    pub fn group_lag(&self, group: &str, source: &str) -> LagMetrics {
        let labels = GroupSourceLabels { group: group.to_owned(), source: source.to_owned() };
        LagMetrics {
            messages: self.shared.group_lag_messages.get_or_create_owned(&labels),
            seconds: self.shared.group_lag_seconds.get_or_create_owned(&labels),
        }
    }

    /// Takes it off the page: it is not known, or not watched any more.
    pub fn forget_group_lag(&self, group: &str, source: &str) {
        let labels = GroupSourceLabels { group: group.to_owned(), source: source.to_owned() };
        self.shared.group_lag_messages.remove(&labels);
        self.shared.group_lag_seconds.remove(&labels);
    }

    pub fn group_lag_failures(&self, group: &str) -> Counter {
        self.shared.group_lag_failures.get_or_create_owned(&GroupLabels { group: group.to_owned() })
    }

    pub fn watermark_delay_seconds(&self, source: &str, shard: u32) -> SecondsGauge {
        let labels = SourceShardLabels { source: source.to_owned(), shard };
        self.shared.watermark_delay_seconds.get_or_create_owned(&labels)
    }

    pub fn flush_seconds(&self, role: Role) -> Histogram {
        self.shared.flush_seconds.get_or_create_owned(&RoleLabels { role: role.name() })
    }

    pub fn commit_seconds(&self, role: Role) -> Histogram {
        self.shared.commit_seconds.get_or_create_owned(&RoleLabels { role: role.name() })
    }

    pub fn transactions_aborted(&self, role: Role, cause: AbortCause) -> Counter {
        let labels = AbortLabels { role: role.name(), cause: cause.name() };
        self.shared.transactions_aborted.get_or_create_owned(&labels)
    }

    pub fn rebalances(&self, role: Role) -> Counter {
        self.shared.rebalances.get_or_create_owned(&RoleLabels { role: role.name() })
    }

    pub fn rows_written(&self, table: &str) -> Counter {
        self.shared.rows_written.get_or_create_owned(&TableLabels { table: table.to_owned() })
    }

    pub fn breaches(&self, transition: Transition) -> Counter {
        self.shared.breaches.get_or_create_owned(&TransitionLabels { transition: transition.name() })
    }

    pub fn series(&self, table: &str, shard: u32) -> Gauge {
        let labels = TableShardLabels { table: table.to_owned(), shard };
        self.shared.series.get_or_create_owned(&labels)
    }

    pub fn series_limit(&self, table: &str) -> Gauge {
        self.shared.series_limit.get_or_create_owned(&TableLabels { table: table.to_owned() })
    }

    pub fn other_events(&self, table: &str) -> Counter {
        self.shared.other_events.get_or_create_owned(&TableLabels { table: table.to_owned() })
    }

    pub fn invariant_violations(&self, invariant: Invariant) -> Counter {
        self.shared.invariant_violations.get_or_create_owned(&InvariantLabels { invariant: invariant.id() })
    }

    pub fn shards_owned(&self, worker: u32) -> Gauge {
        self.shared.shards_owned.get_or_create_owned(&WorkerLabels { worker })
    }

    pub fn shards_paused(&self, worker: u32) -> Gauge {
        self.shared.shards_paused.get_or_create_owned(&WorkerLabels { worker })
    }

    /// Takes what is said of `shard` off the page, for it went to another worker or replica.
    pub fn forget_shard<'a>(
        &self,
        shard: u32,
        sources: impl IntoIterator<Item = &'a str>,
        tables: impl IntoIterator<Item = &'a str>,
    ) {
        for source in sources {
            let labels = SourceShardLabels { source: source.to_owned(), shard };
            self.shared.watermark_delay_seconds.remove(&labels);
        }
        for table in tables {
            self.shared.series.remove(&TableShardLabels { table: table.to_owned(), shard });
        }
    }

    pub fn restore_seconds(&self) -> &Histogram {
        &self.shared.restore_seconds
    }

    pub fn restore_bytes(&self) -> &Counter {
        &self.shared.restore_bytes
    }

    pub fn checkpoint_bytes(&self) -> &Counter {
        &self.shared.checkpoint_bytes
    }

    pub fn store(&self) -> &StoreMetrics {
        &self.shared.store
    }

    /// The page of `/metrics`, in the OpenMetrics text format.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.shared.registry)?;
        Ok(page)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// Registers a metric and hands it back. Counters get `_total` and units their suffix from the format itself.
struct Register<'r>(&'r mut Registry);

impl Register<'_> {
    fn counted<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn timed<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    fn sized<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        let stem = name.strip_suffix("_bytes").unwrap_or(name);
        self.0.register_with_unit(stem, help, Unit::Bytes, metric.clone());
        metric
    }
}
