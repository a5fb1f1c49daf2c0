//! Rules with every kind of column, records of them, and a schema for each test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll::config::settings::{Limits, TopicSettings};
use plimsoll::core::alert::Severities;
use plimsoll::core::expr::Condition;
use plimsoll::core::rules::Rules;
use plimsoll::core::source::*;
use plimsoll::local::postgres::LocalPostgres;
use plimsoll::store::{Batch, OffsetMove, Routes, Store, StoredRecord, Written};
use postgres::types::FromSqlOwned;
use postgres::{Client, NoTls};
use serde_json::{Value, json};

pub const ROWS: &str = "hourly-request-log";
pub const TOTALS: &str = "hourly-request-log-total";
pub const BREACHES: &str = "slo-breaches";
pub const SLO_HOURLY: &str = "slo-hourly";
pub const RULE_HOURLY: &str = "rule-hourly";
pub const SLO_STATUS: &str = "slo-status";
pub const LETTERS: &str = "plimsoll-dead-letters";
pub const SAMPLES: u32 = 3;

/// One server for all tests that run at the moment; the last one stops it.
static SERVER: Mutex<Weak<LocalPostgres>> = Mutex::new(Weak::new());
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// A schema of one's own on the shared server.
pub struct Bench {
    pub server: Arc<LocalPostgres>,
    pub schema: String,
}

impl Bench {
    pub fn new() -> Bench {
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| Arc::new(LocalPostgres::start().unwrap()));
        *shared = Arc::downgrade(&server);
        Bench { server, schema: format!("Plimsoll {}", SCHEMAS.fetch_add(1, Ordering::Relaxed)) }
    }

    /// With the schema made for `rules()`.
    pub fn migrated() -> Bench {
        let bench = Bench::new();
        bench.store().migrate(&rules()).unwrap();
        bench
    }

    pub fn store(&self) -> Store {
        Store::connect(&self.server.url(), &self.schema).unwrap()
    }

    /// A plain session in the schema.
    pub fn sql(&self) -> Client {
        sql(&self.server, &self.schema)
    }

    /// Waits until a session waits for a lock in a statement on this schema's `table`.
    pub fn await_waiting(&self, table: &str) {
        let query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND position($1 IN query) > 0 AND position($2 IN query) > 0)";
        let mut sql = self.sql();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !sql.query_one(query, &[&self.schema, &table]).unwrap().get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "nobody waits for {table}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn value<T: FromSqlOwned>(&self, query: &str) -> T {
        self.sql().query_one(query, &[]).unwrap().get(0)
    }
}

pub fn sql(server: &LocalPostgres, schema: &str) -> Client {
    let mut client = Client::connect(&server.url(), NoTls).unwrap();
    client.batch_execute(&format!("SET search_path = \"{schema}\", public; SET timezone = 'UTC'")).unwrap();
    client
}

pub fn routes() -> Routes {
    routes_of(&rules())
}

pub fn routes_of(rules: &Rules) -> Routes {
    let topics = TopicSettings {
        prefix: String::new(),
        rules: "plimsoll-rules".into(),
        partials: "plimsoll-partials".into(),
        changelog: "plimsoll-changelog".into(),
        dead_letters: LETTERS.into(),
        breaches: BREACHES.into(),
        breach_state: "slo-breach-state".into(),
        slo_hourly: SLO_HOURLY.into(),
        rule_hourly: RULE_HOURLY.into(),
        slo_status: SLO_STATUS.into(),
        internal_partitions: 12,
        output_partitions: 12,
        replication_factor: 1,
    };
    let limits = Limits {
        record_bytes: 1 << 20,
        partial_bytes: 512 << 10,
        checkpoint_slice_bytes: 1 << 20,
        deltas: 100_000,
        rows_per_record: 200,
        dead_letter_samples: SAMPLES,
    };
    Routes::new(rules, &topics, &limits)
}

/// A table with every SQL type, and one without key columns.
pub fn rules() -> Rules {
    let field = |name: &str, kind: FieldKind, unit: &str| Field {
        name: name.into(),
        path: vec![name.into()],
        kind,
        optional: true,
        unit: unit.into(),
    };
    let text = || FieldKind::String { max_length: None, upper: false, map: Default::default() };
    let fields = vec![
        field("ts", FieldKind::Timestamp(TimestampForm::Rfc3339), ""),
        field("service", text(), ""),
        field("route", text(), ""),
        field("duration", FieldKind::Decimal { scale: 3, bounds: Bounds::NONE }, "ms"),
        field("bytes", FieldKind::Integer(Bounds::NONE), "B"),
        field("status", FieldKind::Integer(Bounds::NONE), ""),
        field("user_id", text(), ""),
    ];
    let quantiles = || vec![Quantile { millionths: 500_000 }, Quantile { millionths: 990_000 }];
    let column = |name: &str, aggregate| Column { name: name.into(), aggregate };
    let by_series = vec![
        column("failed_count", Aggregate::Count(Condition::True)),
        column("bytes_sum", Aggregate::Sum(4)),
        column("bytes_max", Aggregate::Max(4)),
        column("status_counts", Aggregate::CountBy { slot: 5, limit: 64 }),
        column("unique_users", Aggregate::Distinct(6)),
        column("latency_ms", Aggregate::Histogram { slot: 3, quantiles: quantiles() }),
        column("duration", Aggregate::Ohlc(3)),
    ];
    let total = vec![
        column("requests_per_s", Aggregate::Peak { every_us: 1_000_000, distinct: None }),
        column("freshness_ms", Aggregate::Freshness { quantiles: quantiles() }),
    ];
    let event_time = EventTime {
        slot: 0,
        out_of_order_us: 2_000_000,
        lateness_us: 7_200_000_000,
        idle_after_us: 5_000_000,
        max_ahead_us: 60_000_000,
    };
    let rollup = |table: &str, by, columns| Rollup { table: table.into(), by, limit: 100, columns };
    let source = Source {
        name: "request-log".into(),
        topic: "request-log".into(),
        optional: false,
        format: Format::Json,
        event_time,
        fields,
        rollups: vec![
            rollup("request_log_hourly", vec![1, 2], by_series),
            rollup("request_log_total_hourly", vec![], total),
        ],
    };
    Rules {
        sources: vec![source],
        alerts: vec![],
        severities: Severities { levels: vec![] },
        services: vec![],
        maintenance: vec![],
    }
}

pub const HOUR: &str = "2025-10-31T02:00:00.000000Z";

/// A full row of `request_log_hourly`, as the engine writes it.
pub fn row(route: &str, bucket_start: &str, version: i64, event_count: u64) -> Value {
    json!({
        "service": "shop", "route": route, "shard": -1, "bucket_start": bucket_start,
        "event_count": event_count, "late_count": 0, "revision": 0, "version": version,
        "is_final": false, "complete": true, "watermark": null,
        "failed_count": 1, "bytes_sum": "123456789012345678901", "bytes_max": null,
        "status_counts": {"200": event_count, "": 2},
        "unique_users": 3, "unique_users_hll": "AP9/",
        "latency_ms_count": 3, "latency_ms_min": "0.100", "latency_ms_max": "1.000", "latency_ms_sum": "1.300",
        "latency_ms_p50": "0.200", "latency_ms_p99": "1.000",
        "latency_ms_bins": [100, 200, 506], "latency_ms_counts": [1, 1, 1], "latency_ms_hdr": "HISTFAAA",
        "duration_open": "0.1", "duration_high": "1.0", "duration_low": "0.1", "duration_close": "0.2",
        "duration_open_at": "2025-10-31T02:00:00.000001Z", "duration_high_at": "2025-10-31T02:00:01.000000Z",
        "duration_low_at": null, "duration_close_at": "2025-10-31T02:59:59.999999Z",
    })
}

pub fn with(mut row: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

pub fn record(topic: &str, offset: i64, value: impl ToString) -> StoredRecord {
    StoredRecord {
        topic: topic.into(),
        partition: 0,
        offset,
        timestamp_ms: 1_761_876_000_000,
        key: b"key".to_vec(),
        value: Some(value.to_string().into_bytes()),
        headers: vec![],
    }
}

/// Partition 0 of one topic, fed batch by batch.
pub struct Feed {
    pub store: Store,
    pub routes: Routes,
    pub topic: &'static str,
    pub next: Option<i64>,
}

impl Feed {
    pub fn new(store: Store, topic: &'static str) -> Feed {
        Feed { store, routes: routes(), topic, next: None }
    }

    pub fn batch<V: ToString>(&self, values: impl IntoIterator<Item = V>) -> Batch {
        let offsets = self.next.unwrap_or(0)..;
        let record = |(offset, value): (i64, V)| record(self.topic, offset, value);
        self.batch_of(offsets.zip(values).map(record).collect())
    }

    pub fn batch_of(&self, records: Vec<StoredRecord>) -> Batch {
        let next = records.last().map_or(0, |last| last.offset + 1);
        let topic = self.topic.to_owned();
        Batch { moves: vec![OffsetMove { topic, partition: 0, expected: self.next, next }], records }
    }

    pub fn write<V: ToString>(&mut self, values: impl IntoIterator<Item = V>) -> Written {
        let batch = self.batch(values);
        self.write_batch(&batch)
    }

    pub fn write_batch(&mut self, batch: &Batch) -> Written {
        let written = self.store.write(batch, &self.routes).unwrap();
        self.next = Some(batch.moves[0].next);
        written
    }
}

/// A dead letter at `offset` of its topic that came from `source_offset` of `request-log`, partition 5.
pub fn letter(offset: i64, reason: &str, source_offset: i64) -> StoredRecord {
    let headers = [
        ("topic", "request-log".to_owned()),
        ("partition", "5".to_owned()),
        ("offset", source_offset.to_string()),
        ("reason", reason.to_owned()),
        ("detail", "ts: not a \0 time".to_owned()),
    ];
    StoredRecord {
        value: Some(b"\xff\x00raw".to_vec()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).to_vec(),
        ..record(LETTERS, offset, "")
    }
}
