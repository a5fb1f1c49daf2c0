//! Which events move time, and when an hour is over.

use plimsoll::core::event::Reason;
use serde_json::Value;

use super::evaluation::{evaluate, tables};
use super::oracle::{Row, compare, expect};
use super::simulation::{Arrival, Ingest, Setup};
use super::workload::{HOUR_US, MINUTE_US, SECOND_US, START_US, Sent, raw, requests, shipped};

const SETUP: Setup = Setup { seed: 1, workers: 1, shards: 1, partitions: 2, mishaps: false };

fn request(at_us: i64, event_us: i64, partition: u32) -> Sent {
    Sent { at_us, event_us, partition, service: "web".into(), status: 200 }
}

/// A request every second for ten minutes from `from_us`, on both partitions or on the first alone.
fn ten_minutes(from_us: i64, partitions: u32) -> Vec<Sent> {
    let each = |second: i64| {
        let at_us = from_us + second * SECOND_US;
        request(at_us, at_us, second as u32 % partitions)
    };
    (0..600).map(each).collect()
}

fn ingested(arrivals: &[Arrival], now_us: i64) -> Ingest {
    Ingest::new(SETUP, shipped(), arrivals, now_us)
}

fn total(ingest: &Ingest) -> Vec<Row> {
    let mut rows = tables(&evaluate(&ingest.logs), &shipped());
    rows.retain(|row| row.table == "request_log_total_hourly");
    rows
}

fn finals(rows: &[Row]) -> Vec<bool> {
    rows.iter().map(|row| row.values["is_final"] == Value::Bool(true)).collect()
}

#[test]
fn an_event_from_2099_and_one_too_late_move_no_clock() {
    let mut sent = ten_minutes(START_US + 3 * HOUR_US, 2);
    let year_2099_us = 4_070_908_800_000_000;
    let at_us = START_US + 3 * HOUR_US + 5 * MINUTE_US;
    sent.extend((0..2).map(|partition| request(at_us, year_2099_us, partition)));
    sent.extend((0..2).map(|partition| request(at_us + 1, at_us - 2 * HOUR_US - 5 * SECOND_US, partition)));
    let arrivals = requests(sent);
    let mut ingest = ingested(&arrivals, START_US + 3 * HOUR_US);
    ingest.run(START_US + 3 * HOUR_US + 10 * MINUTE_US, 10 * SECOND_US);
    ingest.catch_up();
    let expected = expect(&raw(&arrivals));
    let mut reasons: Vec<&str> = ingest.dead_letters.iter().map(|letter| letter.reason).collect();
    reasons.sort_unstable();
    let (far, late) = (Reason::TooFarAhead.name(), Reason::TooLate.name());
    assert_eq!(reasons, [far, far, late, late]);
    assert_eq!(expected.dead_letters.len(), 4);
    ingest.quietly(10, 61 * SECOND_US);
    let rows = total(&ingest);
    assert_eq!(finals(&rows), [false], "the hour goes on");
    compare(&expected.table("request_log_total_hourly").cloned().collect::<Vec<_>>(), &rows).unwrap();
}

#[test]
fn an_empty_partition_holds_nothing_back_once_it_is_known_to_idle() {
    let mut sent = ten_minutes(START_US + 55 * MINUTE_US, 1);
    sent.extend(ten_minutes(START_US + 65 * MINUTE_US, 1));
    let mut ingest = ingested(&requests(sent), START_US + 55 * MINUTE_US);
    ingest.run(START_US + 55 * MINUTE_US + 4 * SECOND_US, SECOND_US);
    ingest.run(START_US + 75 * MINUTE_US, 10 * SECOND_US);
    assert_eq!(finals(&total(&ingest)), [true, false]);
}

#[test]
fn the_wall_clock_finishes_no_hour_of_a_replay() {
    let year_us = 365 * 24 * HOUR_US;
    let past = ten_minutes(START_US, 2);
    let replayed = |sent: &Sent| Sent { at_us: sent.at_us + year_us, ..sent.clone() };
    let mut sent: Vec<Sent> = past.iter().map(replayed).collect();
    // The replay pauses for four hours, then goes on where it was.
    let after = ten_minutes(START_US + 10 * MINUTE_US, 2);
    sent.extend(after.iter().map(replayed).map(|one| Sent { at_us: one.at_us + 4 * HOUR_US, ..one }));
    let arrivals = requests(sent);
    let mut ingest = ingested(&arrivals, START_US + year_us);
    ingest.run(START_US + year_us + 10 * MINUTE_US, 10 * SECOND_US);
    ingest.quietly(10, 6 * SECOND_US);
    ingest.run(START_US + year_us + 4 * HOUR_US, 10 * MINUTE_US);
    assert_eq!(finals(&total(&ingest)), [false]);
    ingest.catch_up();
    ingest.settle(ingest.now_us + HOUR_US);
    let expected: Vec<Row> = expect(&raw(&arrivals)).table("request_log_total_hourly").cloned().collect();
    let rows = total(&ingest);
    compare(&expected, &rows).unwrap();
    assert_eq!(finals(&rows), [false], "only newer events finish the hours of a replay");
    assert!(ingest.dead_letters.is_empty());
}

#[test]
fn log_time_finishes_the_hour_of_a_live_source_that_falls_silent() {
    let arrivals = requests(ten_minutes(START_US + 40 * MINUTE_US, 2));
    let mut ingest = ingested(&arrivals, START_US + 40 * MINUTE_US);
    ingest.run(START_US + 50 * MINUTE_US, 10 * SECOND_US);
    ingest.catch_up();
    ingest.quietly(1, START_US + HOUR_US - ingest.now_us);
    assert_eq!(finals(&total(&ingest)), [false], "two seconds of disorder are waited for");
    ingest.quietly(2, 2 * SECOND_US);
    assert_eq!(finals(&total(&ingest)), [true]);
}
