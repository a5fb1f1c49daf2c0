//! Whatever dies, the finished tables hold what an independent recomputation finds.
//!
//! `PLIMSOLL_TEST_EVENTS` sets how many events run through (100,000 by default).

mod oracle;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use oracle::{Expected, RawRecord, compare, without};
use plimsoll::generate::{PerTopic, Volume, Workload, WorkloadOptions};
use support::{Deployment, Settings, TABLES};

const HOUR_US: i64 = 3_600_000_000;

fn events() -> u64 {
    std::env::var("PLIMSOLL_TEST_EVENTS").map_or(100_000, |text| text.parse().unwrap())
}

fn workload(partitions: u32) -> WorkloadOptions {
    WorkloadOptions {
        seed: 7,
        span_us: 3 * HOUR_US,
        volume: Volume::Events(events()),
        partitions: PerTopic { prices: partitions, predictions: partitions, requests: partitions },
        late_share: 0.02,
        bad_share: 0.005,
        ..WorkloadOptions::default()
    }
}

fn counts(expected: &Expected) -> BTreeMap<String, u64> {
    let count =
        |table: &str| expected.table(table).map(|row| row.values["event_count"].as_u64().unwrap()).sum();
    let mut counts: BTreeMap<String, u64> =
        TABLES.iter().map(|table| ((*table).to_owned(), count(table))).collect();
    counts.insert("dead_letter_hourly".into(), expected.dead_letters.len() as u64);
    counts
}

fn check(deployment: &Deployment, raw: &[RawRecord], expected: &Expected) {
    compare(&expected.rows, &deployment.all_rows()).unwrap_or_else(|differences| panic!("{differences}"));
    let mut dead: Vec<_> =
        expected.dead_letters.iter().map(|d| (d.topic.clone(), d.reason.to_owned())).collect();
    dead.sort();
    let mut client = deployment.client();
    let query = "select topic, reason, sum(count)::bigint from plimsoll.dead_letter_hourly group by 1, 2";
    let mut stored = Vec::new();
    for row in client.query(query, &[]).unwrap() {
        let (topic, reason, count): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        stored.extend((0..count).map(|_| (topic.clone(), reason.clone())));
    }
    stored.sort();
    assert_eq!(stored.len(), dead.len());
    assert_eq!(stored, dead);
    assert_eq!(deployment.records("plimsoll-dead-letters").len(), dead.len());
    let requests = raw.iter().filter(|record| record.topic == "request-log").count();
    let dead_requests = dead.iter().filter(|(topic, _)| topic == "request-log").count();
    assert_eq!(counts(expected)["request_log_total_hourly"] as usize + dead_requests, requests, "P1");
}

#[test]
fn a_replica_killed_half_way_and_restarted_loses_and_doubles_nothing() {
    let deployment = Deployment::start(12, &Settings::default());
    let mut records = Workload::new(workload(12)).unwrap();
    let first: Vec<_> = records.by_ref().take(events() as usize / 2).collect();
    let mut raw = deployment.produce(first);
    let mut replicas = [deployment.replica("one", &[]), deployment.replica("two", &[])];
    replicas[1].wait_for_log("shard restored", Duration::from_secs(60));
    raw.extend(deployment.produce(records));
    replicas[1].kill9();
    replicas[1] = deployment.replica("two", &[]);
    deployment.number(&mut raw);
    let expected = oracle::expect(&raw);
    deployment.wait_for_counts(&counts(&expected), &mut replicas, Duration::from_secs(300));
    check(&deployment, &raw, &expected);
    for replica in &mut replicas {
        assert!(replica.terminate(Duration::from_secs(5)).success(), "{}", replica.log());
    }
}

/// Hours that are over but young enough to be live, so that every one of them is finished.
fn recent(partitions: u32) -> WorkloadOptions {
    let now_us = plimsoll::roles::wall_clock_us();
    let start_us = now_us - now_us.rem_euclid(HOUR_US) - 3 * HOUR_US;
    WorkloadOptions {
        start_us,
        // The last hour ends unfinished by events: log time has to finish it.
        span_us: 3 * HOUR_US - 60_000_000,
        volume: Volume::Events(events() / 2),
        distinct_times: true,
        late_max_us: 60_000_000,
        ..workload(partitions)
    }
}

#[test]
fn finished_rows_are_the_same_for_any_number_of_replicas_and_partitions() {
    let mut answers = Vec::new();
    let first = recent(12);
    for (replicas, partitions) in [(1, 12), (2, 3), (3, 12)] {
        let deployment = Deployment::start(partitions, &Settings::default());
        let options = WorkloadOptions { start_us: first.start_us, ..recent(partitions) };
        let mut raw = deployment.produce(Workload::new(options).unwrap());
        let mut replicas: Vec<_> =
            (0..replicas).map(|n| deployment.replica(&format!("replica-{n}"), &[])).collect();
        deployment.number(&mut raw);
        let expected = oracle::expect(&raw);
        deployment.wait_for_counts(&counts(&expected), &mut replicas, Duration::from_secs(300));
        deployment.wait_until_final(&mut replicas, Duration::from_secs(60));
        let rows = deployment.all_rows();
        compare(&expected.rows, &rows).unwrap_or_else(|differences| panic!("{differences}"));
        answers.push(without(&rows, &["late_count"]));
    }
    for answer in &answers[1..] {
        compare(&answers[0], answer).unwrap_or_else(|differences| panic!("{differences}"));
    }
}
