//! Hourly rows and dead letters are what the oracle says, however the work is spread.

use plimsoll::generate::{PerTopic, Volume, WorkloadOptions};
use serde_json::Value;
use std::collections::BTreeMap;

use super::evaluation::{evaluate, tables};
use super::oracle::{Expected, Row, compare, expect, without};
use super::simulation::{Arrival, Ingest, Setup};
use super::workload::{HOUR_US, MINUTE_US, SECOND_US, START_US, generated, raw, shipped};

/// Two and a half hours across hour borders, with late and bad records.
fn options(seed: u64, partitions: u32) -> WorkloadOptions {
    WorkloadOptions {
        seed,
        start_us: START_US + 40 * MINUTE_US,
        span_us: 90 * MINUTE_US,
        volume: Volume::Events(1_500),
        partitions: PerTopic { prices: partitions, predictions: partitions, requests: partitions },
        late_share: 0.03,
        bad_share: 0.02,
        users: 900,
        ..WorkloadOptions::default()
    }
}

fn ingested(setup: Setup, arrivals: &[Arrival]) -> Ingest {
    let mut ingest = Ingest::new(setup, shipped(), arrivals, START_US + 40 * MINUTE_US);
    ingest.run(START_US + 130 * MINUTE_US, 20 * SECOND_US);
    ingest.settle(START_US + 3 * HOUR_US);
    ingest
}

/// The rows of a run; all final.
fn rows_of(ingest: &Ingest) -> Vec<Row> {
    let rows = tables(&evaluate(&ingest.logs), &shipped());
    assert!(rows.iter().all(|row| row.values["is_final"] == Value::Bool(true)), "not all rows are final");
    assert!(rows.iter().all(|row| row.values["complete"] == Value::Bool(true)), "no gap was declared");
    rows
}

/// P1: each record is in one row of each of its topic's tables, or in the dead letters.
fn check_conservation(arrivals: &[Arrival], ingest: &Ingest, rows: &[Row]) {
    let topic_of = |table: &str| match table {
        "commodity_prices_hourly" => "commodity-prices",
        "ml_predictions_hourly" => "ml-predictions",
        _ => "request-log",
    };
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        *counted.entry(&row.table).or_default() += row.values["event_count"].as_u64().expect("a count");
    }
    assert_eq!(counted.len(), 5, "{counted:?}");
    for (table, events) in counted {
        let topic = topic_of(table);
        let dead = ingest.dead_letters.iter().filter(|letter| letter.topic == topic).count() as u64;
        let records = arrivals.iter().filter(|arrival| arrival.record.topic == topic).count() as u64;
        assert_eq!(events + dead, records, "P1: {table}");
    }
}

fn check(seed: u64, setup: Setup, arrivals: &[Arrival], expected: &Expected) -> Ingest {
    let ingest = ingested(setup, arrivals);
    let mut letters = ingest.dead_letters.clone();
    letters.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
    assert_eq!(letters, expected.dead_letters, "seed {seed}, {setup:?}");
    let rows = rows_of(&ingest);
    check_conservation(arrivals, &ingest, &rows);
    compare(&expected.rows, &rows).unwrap_or_else(|text| panic!("seed {seed}, {setup:?}: {text}"));
    ingest
}

#[test]
fn rows_and_dead_letters_are_the_oracles_whatever_the_replicas() {
    let (mut failed, mut handed_over) = (0, 0);
    for seed in 1..=1 {
        let arrivals = generated(options(seed, 3));
        let expected = expect(&raw(&arrivals));
        assert!(expected.dead_letters.len() > 10 && expected.rows.len() > 100);
        for (workers, shards) in [(1, 1), (2, 5), (3, 12), (3, 1), (1, 12)] {
            let setup = Setup { seed, workers, shards, partitions: 3, mishaps: true };
            let ingest = check(seed, setup, &arrivals, &expected);
            failed += ingest.flushes_failed;
            handed_over += ingest.handovers;
        }
    }
    assert!(failed > 50 && handed_over > 30, "{failed} failed transactions, {handed_over} handovers");
}

#[test]
fn the_number_of_partitions_changes_nothing_but_late_counts() {
    let run = |partitions| {
        let options = WorkloadOptions { distinct_times: true, ..options(3, partitions) };
        let arrivals = generated(options);
        let setup = Setup { seed: 3, workers: 2, shards: 5, partitions, mishaps: true };
        let ingest = check(3, setup, &arrivals, &expect(&raw(&arrivals)));
        without(&rows_of(&ingest), &["late_count"])
    };
    compare(&run(3), &run(12)).unwrap_or_else(|text| panic!("{text}"));
}

#[test]
fn late_events_revise_final_rows() {
    for seed in 11..=12 {
        let late_max_us = 100 * MINUTE_US;
        let arrivals = generated(WorkloadOptions { late_share: 0.2, late_max_us, ..options(seed, 2) });
        let setup = Setup { seed, workers: 2, shards: 2, partitions: 2, mishaps: true };
        let ingest = check(seed, setup, &arrivals, &expect(&raw(&arrivals)));
        let revised = rows_of(&ingest).iter().filter(|row| row.values["revision"] != 0).count();
        assert!(revised > 10, "seed {seed}: only {revised} rows were revised");
    }
}
