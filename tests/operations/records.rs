//! Hand-made records, and workloads of the generator.

use plimsoll::generate::{Generated, Kind, PerTopic, Volume, Workload, WorkloadOptions};

use crate::oracle::rfc3339;
pub use plimsoll::roles::wall_clock_us as now_us;

pub const SECOND_US: i64 = 1_000_000;
pub const MINUTE_US: i64 = 60 * SECOND_US;
pub const HOUR_US: i64 = 60 * MINUTE_US;
pub const DAY_US: i64 = 24 * HOUR_US;

pub fn hour_of(at_us: i64) -> i64 {
    at_us - at_us.rem_euclid(HOUR_US)
}

/// A request that happened at `at_us`; Kafka had it then.
pub fn request(partition: u32, at_us: i64, service: &str, status: u16) -> Generated {
    let payload = format!(
        r#"{{"ts":"{}","service":"{service}","route":"/","method":"GET","status":{status},"duration_ms":12.5}}"#,
        rfc3339(at_us)
    );
    record("request-log", partition, at_us, payload)
}

pub fn price(partition: u32, at_us: i64) -> Generated {
    let payload = format!(r#"{{"timestamp":"{}","commodity":"gas","price":31.25}}"#, rfc3339(at_us));
    record("commodity-prices", partition, at_us, payload)
}

pub fn prediction(partition: u32, at_us: i64) -> Generated {
    let payload = format!(
        r#"{{"ts":"{}","model":"load","model_version":"1","prediction":1.5,"inference_ms":3}}"#,
        rfc3339(at_us)
    );
    record("ml-predictions", partition, at_us, payload)
}

/// The same record, but Kafka had it at another time than its own.
pub fn arrived(record: Generated, at_us: i64) -> Generated {
    Generated { timestamp_ms: at_us / 1_000, arrival_us: at_us, ..record }
}

/// Any bytes.
pub fn record(topic: &'static str, partition: u32, at_us: i64, payload: impl Into<Vec<u8>>) -> Generated {
    let timestamp_ms = at_us / 1_000;
    let payload = payload.into();
    Generated { topic, partition, key: None, arrival_us: at_us, timestamp_ms, payload, kind: Kind::Good }
}

/// Three hours of all three topics, some of it late or bad.
pub fn workload(events: u64, partitions: u32) -> Workload {
    Workload::new(WorkloadOptions {
        seed: 11,
        span_us: 3 * HOUR_US,
        volume: Volume::Events(events),
        partitions: PerTopic { prices: partitions, predictions: partitions, requests: partitions },
        late_share: 0.02,
        bad_share: 0.005,
        ..WorkloadOptions::default()
    })
    .unwrap()
}
