//! More keys than a table keeps.

use plimsoll::core::key::OTHER;
use std::collections::{BTreeMap, BTreeSet};

use super::evaluation::{evaluate, of_topic};
use super::simulation::{Ingest, Setup};
use super::workload::{HOUR_US, MINUTE_US, SECOND_US, START_US, Sent, requests, shipped};
use serde_json::Value;

const LIMIT: u32 = 5;

/// Latest row of each key and hour of the series table: (service or `_OTHER`, shard, hour) -> events.
fn series(ingest: &Ingest) -> BTreeMap<(String, i64, String), u64> {
    let outputs = evaluate(&ingest.logs);
    let mut latest = BTreeMap::new();
    for record in of_topic(&outputs, "hourly-request-log") {
        let row: Value = serde_json::from_slice(&record.value).expect("a row is JSON");
        let text = |column: &str| row[column].as_str().expect("text").to_owned();
        let shard = row["shard"].as_i64().expect("a shard");
        let is_other = [text("service"), text("route"), text("method")].iter().all(|value| value == OTHER);
        assert_eq!(shard >= 0, is_other, "only what is folded belongs to a shard");
        latest.insert(
            (text("service"), shard, text("bucket_start")),
            row["event_count"].as_u64().expect("a count"),
        );
    }
    latest
}

#[test]
fn keys_beyond_the_limit_are_counted_together_and_old_ones_keep_their_place() {
    let mut sent = Vec::new();
    let mut send = |at_us: i64, service: u32| {
        let service = format!("service-{service:03}");
        sent.push(Sent { at_us, event_us: at_us, partition: service.len() as u32 % 2, service, status: 200 });
    };
    // The first hour belongs to a few; then a hundred others come first.
    (0..600i64).for_each(|n| send(START_US + n * SECOND_US, n as u32 % 4));
    let second_hour_us = START_US + HOUR_US;
    (0..2_000i64).for_each(|n| send(second_hour_us + n * SECOND_US / 2, 100 + n as u32 % 100));
    (0..600i64).for_each(|n| send(second_hour_us + 20 * MINUTE_US + n * SECOND_US, n as u32 % 4));
    let records = sent.len() as u64;
    let mut rules = shipped();
    let source = rules.sources.iter_mut().find(|source| source.name == "request-log").expect("it ships");
    source.rollups[0].limit = LIMIT;
    for shards in [1, 3] {
        let setup = Setup { seed: 5, workers: 2, shards, partitions: 2, mishaps: true };
        let mut ingest = Ingest::new(setup, rules.clone(), &requests(sent.clone()), START_US);
        ingest.run(second_hour_us + 31 * MINUTE_US, 20 * SECOND_US);
        ingest.settle(second_hour_us + HOUR_US);
        let series = series(&ingest);
        assert_eq!(series.values().sum::<u64>(), records, "P1: {series:#?}");
        let second_hour = series.iter().filter(|((_, _, hour), _)| hour.contains("T03:"));
        let second_hour: BTreeMap<&str, u64> =
            second_hour.map(|((service, ..), events)| (service.as_str(), *events)).collect();
        for old in 0..4 {
            assert_eq!(second_hour.get(&*format!("service-{old:03}")), Some(&150), "it keeps its place");
        }
        let named: BTreeSet<&str> = second_hour.keys().copied().filter(|service| *service != OTHER).collect();
        assert!(named.len() <= (LIMIT * shards) as usize && named.len() > 4, "{named:?}");
        assert!(second_hour[OTHER] > 0);
    }
}
