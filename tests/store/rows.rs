use plimsoll::store::StoreError;
use serde_json::json;

use crate::fixtures::*;

#[test]
fn every_column_comes_through() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let written = feed.write([row("/pay", HOUR, 7, 5)]);
    assert_eq!((written.rows, written.stale, written.invalid.len()), (1, 0, 0));
    let stored: String = bench.value("SELECT row_to_json(r)::text FROM request_log_hourly r");
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let expected = row("/pay", HOUR, 7, 5);
    for (name, sent) in expected.as_object().unwrap() {
        let got = &stored[name];
        let same = match name.as_str() {
            "bytes_sum" => true, // Beyond a float; its exact text follows.
            "unique_users_hll" => got == "\\x00ff7f",
            "latency_ms_hdr" => got == "\\x1c8493140000",
            _ if name.ends_with("_at") || name == "bucket_start" => same_time(sent, got),
            // Decimals travel as texts and stand in the table as numbers.
            _ if got.is_number() => {
                let number = |text: &str| text.parse::<f64>().ok();
                sent.as_str().map_or_else(|| number(&sent.to_string()), number) == number(&got.to_string())
            }
            _ => got == sent,
        };
        assert!(same, "{name}: sent {sent}, stored {got}");
    }
    let sum: String = bench.value("SELECT bytes_sum::text FROM request_log_hourly");
    assert_eq!(sum, "123456789012345678901");
}

fn same_time(sent: &serde_json::Value, got: &serde_json::Value) -> bool {
    match (sent.as_str(), got.as_str()) {
        (Some(sent), Some(got)) => {
            sent.parse::<jiff::Timestamp>().unwrap() == got.parse::<jiff::Timestamp>().unwrap()
        }
        (None, None) => true,
        _ => false,
    }
}

#[test]
fn the_newest_version_wins() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let count = || bench.value::<i64>("SELECT event_count FROM request_log_hourly");
    feed.write([row("/pay", HOUR, 10, 100)]);
    assert_eq!(feed.write([row("/pay", HOUR, 9, 90)]).stale, 1);
    assert_eq!(count(), 100);
    assert_eq!(feed.write([row("/pay", HOUR, 10, 91)]).stale, 1);
    assert_eq!(count(), 100);
    // Within one batch, in any order; the same moment may be written differently.
    let written = feed.write([
        row("/pay", HOUR, 12, 120),
        row("/pay", "2025-10-31T03:00:00+01:00", 13, 130),
        row("/pay", HOUR, 11, 110),
    ]);
    assert_eq!((written.rows, written.stale), (1, 2));
    assert_eq!(count(), 130);
}

#[test]
fn other_rows_of_shards_are_rows_of_their_own() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let other = |shard: i64| with(row("_OTHER", HOUR, 1, 1), json!({"service": "_OTHER", "shard": shard}));
    assert_eq!(feed.write([other(0), other(1), other(0)]).rows, 2);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM request_log_hourly"), 2);
}

#[test]
fn final_never_goes_back() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let is_final = |route: &str| {
        bench.value::<bool>(&format!("SELECT is_final FROM request_log_hourly WHERE route = '{route}'"))
    };
    let finished = |route, version| with(row(route, HOUR, version, 1), json!({"is_final": true}));
    feed.write([row("/a", HOUR, 1, 1)]);
    assert!(!is_final("/a"));
    feed.write([finished("/a", 2)]);
    feed.write([row("/a", HOUR, 3, 7)]);
    assert!(is_final("/a"));
    assert_eq!(bench.value::<i64>("SELECT event_count FROM request_log_hourly"), 7);
    feed.write([finished("/b", 1), row("/b", HOUR, 2, 1)]);
    assert!(is_final("/b"));
}

#[test]
fn a_bad_record_does_not_take_the_good_ones_with_it() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let mut values: Vec<String> = (0..100).map(|n| row(&format!("/{n}"), HOUR, 1, 1).to_string()).collect();
    let bad = [
        (3, "{".to_owned(), "EOF while parsing"),
        (10, "[]".to_owned(), "invalid length 0"),
        (11, with(row("/x", HOUR, 1, 1), json!({"event_count": "many"})).to_string(), "bigint"),
        (12, with(row("/x", HOUR, 1, 1), json!({"version": null})).to_string(), "version"),
        (13, with(row("/x", "yesterday", 1, 1), json!({})).to_string(), "bucket_start yesterday"),
        (50, with(row("/x", HOUR, 1, 1), json!({"service": "a\u{0}b"})).to_string(), "\\u0000"),
        (51, with(row("/x", HOUR, 1, 1), json!({"unique_users_hll": "!"})).to_string(), "base64"),
        (52, with(row("/x", HOUR, 1, 1), json!({"latency_ms_bins": [40_000]})).to_string(), "smallint"),
        (53, with(row("/x", HOUR, 1, 1), json!({"bytes_sum": "1,5"})).to_string(), "numeric"),
        (99, format!("{}{}", row("/x", HOUR, 1, 1), "x"), "trailing characters"),
    ];
    for (position, value, _) in &bad {
        values[*position] = value.clone();
    }
    let mut written = feed.write(values);
    assert_eq!((written.rows, written.stale), (90, 0));
    written.invalid.sort_by_key(|invalid| invalid.offset);
    assert_eq!(written.invalid.len(), bad.len());
    for (invalid, (position, _, why)) in written.invalid.iter().zip(&bad) {
        assert_eq!((invalid.topic.as_str(), invalid.partition, invalid.offset), (ROWS, 0, *position as i64));
        assert!(invalid.reason.contains(why), "{invalid}");
    }
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM request_log_hourly"), 90);
    assert_eq!(feed.store.claim(ROWS, 0).unwrap(), Some(100));
}

#[test]
fn nested_beyond_reason_is_a_bad_record_too() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = row("/x", HOUR, 1, 1).to_string().replacen("\"200\":1", &format!("\"200\":{deep}"), 1);
    assert!(deep.len() > 200_000);
    let written = feed.write([deep, row("/pay", HOUR, 1, 1).to_string()]);
    assert_eq!((written.rows, written.invalid.len()), (1, 1));
}

#[test]
fn tombstones_and_strangers_only_move_the_offset() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    feed.write([row("/pay", HOUR, 1, 1)]);
    let mut tombstone = record(ROWS, 1, "");
    tombstone.value = None;
    let batch = feed.batch_of(vec![tombstone, record("hourly-gone", 2, "{}")]);
    let written = feed.write_batch(&batch);
    assert_eq!((written.tombstones, written.unrouted, written.rows), (1, 1, 0));
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM request_log_hourly"), 1);
    assert_eq!(feed.store.claim(ROWS, 0).unwrap(), Some(3));
}

#[test]
fn rows_are_shown_as_text() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let hours = ["2025-10-31T02:00:00Z", "2025-10-31T03:00:00Z", "2025-10-31T04:00:00Z"];
    feed.write(hours.map(|hour| row("/pay", hour, 1, 1)));
    let rows = feed.store.latest_rows("request_log_hourly", 2).unwrap();
    let starts: Vec<&str> =
        rows.iter().flatten().filter(|(name, _)| name == "bucket_start").map(|(_, v)| v.as_str()).collect();
    assert_eq!(starts, ["2025-10-31 04:00:00+00", "2025-10-31 03:00:00+00"]);
    assert!(matches!(feed.store.latest_rows("no_such", 1), Err(StoreError::Schema { .. })));
}

#[test]
fn without_a_schema_it_names_the_command_that_makes_one() {
    let bench = Bench::new();
    let mut store = bench.store();
    let batch = Feed::new(bench.store(), ROWS).batch([row("/pay", HOUR, 1, 1)]);
    for error in [store.claim(ROWS, 0).unwrap_err(), store.write(&batch, &routes()).unwrap_err()] {
        assert!(matches!(error, StoreError::Schema { .. }), "{error:?}");
        assert!(error.to_string().contains("plimsoll db migrate"), "{error}");
    }
}
