//! What needs no broker: reasons, lateness, and rows beside rows.

use std::ops::Range;

use serde_json::{Map, Value as Json, json};

use super::difference::Differences;
use super::event::{Value, decode};
use super::figure::Happened;
use super::letters::Letters;
use super::log::{Log, Verdict};
use super::place::{Outcome, Place, Table};
use super::rows::Rows;
use crate::config::{Document, parse_rules};
use crate::core::source::Source;
use crate::core::time::{HOUR_US, rfc3339};

const SOURCE: &str = r#"apiVersion: openslo/v1
kind: DataSource
metadata: {name: orders}
spec:
  type: KafkaStream
  connectionDetails:
    topic: orders
    format: json
    event_time: {field: ts, out_of_order: 2s, lateness: 1h, idle_after: 5s, max_ahead: 60s}
    fields:
      ts: {type: timestamp}
      shop: {path: at.shop, type: string, max_length: 8, upper: true}
      amount: {type: decimal, scale: 2, min: 0}
      items: {type: integer, optional: true}
      paid: {type: boolean, optional: true}
    rollups:
      - table: orders_hourly
        by: [shop]
        limit: 2
        columns:
          paid_count: {count: "paid && items > 1"}
          amount_sum: {sum: amount}
          largest: {max: amount}
          items_counts: {count_by: items, limit: 2}
"#;

/// 2025-10-31T02:00:00Z.
const START_US: i64 = 1_761_876_000_000_000;
const SECOND_US: i64 = 1_000_000;
const MOST_BYTES: usize = 200;

fn source() -> Source {
    let document = Document { path: "orders.yaml".into(), text: SOURCE.into() };
    parse_rules(&[document]).unwrap().sources.remove(0)
}

fn record(at_us: i64, shop: &str, amount: &str, items: i64) -> String {
    let ts = rfc3339(at_us);
    format!(r#"{{"ts":"{ts}","at":{{"shop":"{shop}"}},"amount":{amount},"items":{items},"paid":true}}"#)
}

#[test]
fn the_first_field_at_fault_gives_the_reason() {
    let source = source();
    let of =
        |text: &str| decode(&source, Some(text.as_bytes()), MOST_BYTES).map(|event| format!("{event:?}"));
    let with = |rest: &str| format!(r#"{{"ts":"2025-10-31T02:00:00Z",{rest}}}"#);
    let cases = [
        ("[]", "NOT_DECODABLE"),
        ("{} x", "NOT_DECODABLE"),
        ("{}", "MISSING_FIELD"),
        (r#"{"ts":7,"amount":"x"}"#, "BAD_TIMESTAMP"),
        (&with(r#""at":7"#), "WRONG_TYPE"),
        (&with(r#""at":null"#), "MISSING_FIELD"),
        (&with(r#""at":{"shop":""}"#), "MISSING_FIELD"),
        (&with(r#""at":{"shop":"123456789"}"#), "OUT_OF_RANGE"),
        (&with(r#""at":{"shop":"\ud800"}"#), "NOT_DECODABLE"),
        (&with(r#""at":{"shop":"\u0000"}"#), "OUT_OF_RANGE"),
        (&with(r#""at":{"shop":"a"},"amount":-0.01"#), "OUT_OF_RANGE"),
        (&with(r#""at":{"shop":"a"},"amount":1,"items":1.5"#), "WRONG_TYPE"),
        (&with(r#""at":{"shop":"a"},"amount":1,"paid":1"#), "WRONG_TYPE"),
        (&with(&format!(r#""more":"{}""#, "x".repeat(MOST_BYTES))), "TOO_LARGE"),
    ];
    for (text, reason) in cases {
        assert_eq!(of(text), Err(reason), "{text}");
    }
    assert_eq!(decode(&source, None, MOST_BYTES), Err("NOT_DECODABLE"));
    let text = with(r#""amount":7,"at":{"shop":"b"},"\u0061t":{"shop":"stra\u00dfe"},"amount":1.005"#);
    let event = decode(&source, Some(text.as_bytes()), MOST_BYTES).unwrap();
    let shop = Value::Text("STRASSE".into());
    let rest = [Value::Number(100), Value::Absent, Value::Absent];
    assert_eq!(event[1..], [[shop].as_slice(), &rest].concat());
}

#[test]
fn lateness_follows_from_the_log_and_what_was_before_it() {
    let source = source();
    let mut log = Log::new(&source, MOST_BYTES, START_US);
    let mut judge = |second: i64, timestamp_s: i64, is_refused| {
        let text = record(START_US + second * SECOND_US, "a", "1", 1);
        let verdict = log.judge(START_US + timestamp_s * SECOND_US, Some(text.as_bytes()), is_refused);
        match verdict {
            Verdict::Event { late, .. } => format!("late {late}"),
            Verdict::Dead(reason) => reason.to_owned(),
            Verdict::Undecided => "undecided".to_owned(),
        }
    };
    assert_eq!(judge(-3_603, 0, false), "undecided", "something before may have been newer");
    assert_eq!(judge(-3_602, 0, false), "late false", "nothing before may");
    assert_eq!(judge(100, 39, false), "TOO_FAR_AHEAD");
    assert_eq!(judge(5_000, 5_000, true), "TOO_FAR_AHEAD", "and moves no clock");
    assert_eq!(judge(100, 40, false), "late false");
    assert_eq!([judge(98, 100, false), judge(97, 100, false)], ["late false", "late true"]);
    assert_eq!([judge(-3_502, 100, false), judge(-3_503, 100, false)], ["late true", "TOO_LATE"]);
    assert!(log.is_past(START_US - 3_502 * SECOND_US) && !log.is_past(START_US - 3_501 * SECOND_US));
}

/// The rows of an hour, from (shop, amount in hundredths, items).
fn rows(source: &Source, shards: u32, events: &[(&str, i64, i64)]) -> Rows {
    let rollup = &source.rollups[0];
    let mut rows = Rows::new(rollup, shards);
    for (offset, (shop, amount, items)) in (0..).zip(events) {
        let numbers = [*amount, *items, 1].map(Value::Number);
        let [amount, items, paid] = numbers;
        let event = [Value::Number(START_US), Value::Text((*shop).into()), amount, items, paid];
        let happened = Happened { event: &event, at_us: START_US, partition: 0, offset, age_us: 0 };
        rows.add(rollup, &happened, false);
    }
    rows
}

/// A final row; amounts in hundredths.
fn row(shop: &str, events: u64, paid: u64, amount: &str, largest: &str, items: Json) -> Map<String, Json> {
    let row = json!({
        "shop": shop, "bucket_start": rfc3339(START_US), "event_count": events, "late_count": 0, "is_final": true,
        "complete": true, "version": 7, "paid_count": paid, "amount_sum": amount, "largest": largest,
        "items_counts": items,
    });
    row.as_object().unwrap().clone()
}

/// What a place comes to that has these rows, and what differs there.
fn compared(
    rows: &Rows,
    letters: &Letters,
    found: &[(&str, i64, Map<String, Json>)],
) -> (Outcome, Vec<String>) {
    let source = source();
    let hours: Range<i64> = START_US..START_US + HOUR_US;
    let table = Table { source: &source, rollup: &source.rollups[0], rows, letters, hours: &hours };
    let mut place = Place::new(table, "orders_hourly".to_owned());
    for (shop, shard, row) in found {
        place.take(START_US, (vec![(*shop).to_owned()], *shard), row);
    }
    let mut differences = Differences::at_most(100);
    let outcome = place.conclude(Some(START_US), &mut differences);
    assert_eq!(differences.count as usize, differences.first.len());
    let text = |d: &super::Difference| format!("{} {}: {} {}", d.row, d.column, d.expected, d.found);
    (outcome, differences.first.iter().map(text).collect())
}

const EVENTS: [(&str, i64, i64); 4] = [("A", 100, 1), ("A", 250, 2), ("B", 5, 3), ("A", 1, 2)];

#[test]
fn rows_are_compared_column_by_column() {
    let rows = rows(&source(), 1, &EVENTS);
    let a = || ("A", -1, row("A", 3, 2, "3.51", "2.50", json!({"1": 1, "2": 2})));
    let b = || ("B", -1, row("B", 1, 1, "0.05", "0.05", json!({"3": 1})));
    let (outcome, differences) = compared(&rows, &Letters::default(), &[a(), b()]);
    assert_eq!((outcome.equal, outcome.events, differences), (2, 4, vec![]));

    let wrong = ("B", -1, row("B", 1, 0, "0.05", "0.06", json!({"3": 1})));
    let (outcome, differences) = compared(&rows, &Letters::default(), &[a(), wrong.clone()]);
    let hour = "2025-10-31T02:00:00Z";
    let two = [format!("[B] {hour} largest: \"0.05\" \"0.06\""), format!("[B] {hour} paid_count: 1 0")];
    assert_eq!((outcome.equal, outcome.different, differences), (1, 1, two.to_vec()));
    // The newest word of a topic counts.
    let (_, differences) = compared(&rows, &Letters::default(), &[a(), wrong, b()]);
    assert_eq!(differences, [""; 0]);

    let strange = ("C", -1, row("C", 1, 1, "0.05", "0.05", json!({"3": 1})));
    let (_, differences) = compared(&rows, &Letters::default(), &[a(), strange]);
    let missing = format!("[B] {hour} row: a row of 1 events no such row");
    assert_eq!(differences, [missing, format!("[C] {hour} row: no such row a row of 1 events")]);
}

#[test]
fn what_met_an_hour_already_gone_is_taken_off() {
    let rows = rows(&source(), 1, &EVENTS);
    let mut letters = Letters::default();
    let mut gone = |shop: &str, events| {
        letters.gone.insert(("orders_hourly".to_owned(), START_US, vec![shop.to_owned()]), events)
    };
    gone("A", 2);
    gone("B", 1);
    let a = |events| ("A", -1, row("A", events, 0, "1.00", "1.00", json!({"1": 1})));
    let (outcome, differences) = compared(&rows, &letters, &[a(1)]);
    assert_eq!((outcome.with_gone, differences.len()), (2, 0));
    let (_, differences) = compared(&rows, &letters, &[a(2)]);
    assert_eq!(differences, ["[A] 2025-10-31T02:00:00Z event_count: 1 2"]);
}

#[test]
fn beyond_the_limits_sums_are_compared() {
    let mut events = EVENTS.to_vec();
    events.extend([("C", 1_000, 9), ("D", 2_000, 9), ("A", 1, 5)]);
    let a = || ("A", -1, row("A", 4, 3, "3.52", "2.50", json!({"1": 1, "2": 2, "_OTHER": 1})));
    let b = || ("B", -1, row("B", 1, 1, "0.05", "0.05", json!({"3": 1})));
    let other = |amount: &str| ("_OTHER", 1, row("_OTHER", 2, 2, amount, "20.00", json!({"9": 2})));
    // With two shards four keys are told apart here, with one shard two.
    for shards in [2, 1] {
        let rows = rows(&source(), shards, &events);
        let (outcome, differences) = compared(&rows, &Letters::default(), &[a(), b(), other("30.00")]);
        assert_eq!((outcome.by_totals, outcome.events, differences), (1, 7, vec![]));
        let (_, differences) = compared(&rows, &Letters::default(), &[a(), b(), other("30.01")]);
        assert_eq!(differences, ["[all keys] 2025-10-31T02:00:00Z amount_sum: 3357 3358"]);
    }
    let rows = rows(&source(), 2, &events);
    let wrong = ("B", -1, row("B", 1, 1, "0.05", "0.06", json!({"3": 1})));
    let (_, differences) = compared(&rows, &Letters::default(), &[a(), wrong, other("30.00")]);
    assert_eq!(differences, ["[B] 2025-10-31T02:00:00Z largest: \"0.05\" \"0.06\""]);
}
