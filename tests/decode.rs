//! Records of the shipped topics and of no topic at all, through the decoder.

use plimsoll::core::event::{Event, Invalid, Reason, Value};
use plimsoll::core::source::{Bounds, EventTime, Field, FieldKind, Format, Source, TimestampForm};
use plimsoll::decode::Decoder;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn source(fields: Vec<Field>) -> Source {
    let event_time = EventTime {
        slot: 0,
        out_of_order_us: 2_000_000,
        lateness_us: 7_200_000_000,
        idle_after_us: 5_000_000,
        max_ahead_us: 60_000_000,
    };
    Source {
        name: "request-log".into(),
        topic: "request-log".into(),
        optional: false,
        format: Format::Json,
        event_time,
        fields,
        rollups: Vec::new(),
    }
}

fn field(path: &str, kind: FieldKind, optional: bool) -> Field {
    let path: Vec<String> = path.split('.').map(str::to_owned).collect();
    Field { name: path.concat(), path, kind, optional, unit: String::new() }
}

fn text() -> FieldKind {
    FieldKind::String { max_length: Some(256), upper: false, map: BTreeMap::new() }
}

fn upper() -> FieldKind {
    FieldKind::String { max_length: None, upper: true, map: BTreeMap::new() }
}

fn integer(min: i64, max: i64) -> FieldKind {
    FieldKind::Integer(Bounds { min, max })
}

fn decimal(scale: u8, min: i64) -> FieldKind {
    FieldKind::Decimal { scale, bounds: Bounds { min, max: i64::MAX } }
}

const TS: usize = 0;
const METHOD: usize = 3;
const REGION: usize = 4;
const STATUS: usize = 5;
const DURATION: usize = 6;
const BYTES: usize = 7;

/// The request log, with two members in an inner object and a flag.
fn request_log() -> Source {
    source(vec![
        field("ts", FieldKind::Timestamp(TimestampForm::Rfc3339), false),
        field("service", text(), false),
        field("route", text(), false),
        field("method", upper(), false),
        field("region", text(), true),
        field("status", integer(0, 599), false),
        field("duration_ms", decimal(3, 0), false),
        field("bytes", FieldKind::Integer(Bounds::NONE), true),
        field("user_id", text(), true),
        field("client.tls.resumed", FieldKind::Boolean, true),
        field("client.name", text(), true),
    ])
}

const GOOD: &str = r#"{"ts":"2025-10-31T02:00:00.123456789Z","service":"api","route":"/v1/prices/{id}","method":"get","region":"eu-west","status":200,"duration_ms":12.3455,"bytes":5120,"user_id":"u-123456","trace_id":"4bf92f3577b34da6"}"#;

fn decode(record: &str) -> Result<Event, Invalid> {
    let mut event = Event::default();
    Decoder::new(&request_log()).decode(Some(record.as_bytes()), &mut event)?;
    Ok(event)
}

/// `GOOD` with the value of one member replaced.
fn with(name: &str, value: &str) -> String {
    let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(GOOD).unwrap();
    record.insert(name.into(), "PLACE".into());
    serde_json::to_string(&record).unwrap().replace("\"PLACE\"", value)
}

fn without(name: &str) -> String {
    let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(GOOD).unwrap();
    assert!(record.remove(name).is_some());
    serde_json::to_string(&record).unwrap()
}

#[track_caller]
fn refused(record: &str) -> (Reason, String) {
    match decode(record) {
        Ok(_) => panic!("decoded {record}"),
        Err(invalid) => (invalid.reason, invalid.detail),
    }
}

#[track_caller]
fn number(record: &str, slot: usize) -> Option<i64> {
    decode(record).unwrap_or_else(|invalid| panic!("{record}: {invalid:?}")).number(slot)
}

#[test]
fn a_good_record_is_its_fields() {
    let event = decode(GOOD).unwrap();
    let texts = [1, 2, METHOD, REGION, 8].map(|slot| event.value(slot));
    let expected = ["api", "/v1/prices/{id}", "GET", "eu-west", "u-123456"].map(Value::Text);
    assert_eq!(texts, expected);
    let numbers = [TS, STATUS, DURATION, BYTES].map(|slot| event.number(slot));
    assert_eq!(numbers, [Some(1_761_876_000_123_456), Some(200), Some(12_346), Some(5_120)]);
    assert_eq!([event.value(9), event.value(10)], [Value::Absent; 2]);
}

#[test]
fn an_event_keeps_nothing_of_the_record_before() {
    let decoder = Decoder::new(&request_log());
    let mut event = Event::default();
    decoder.decode(Some(GOOD.as_bytes()), &mut event).unwrap();
    decoder.decode(Some(without("region").as_bytes()), &mut event).unwrap();
    assert_eq!((event.value(REGION), event.value(METHOD)), (Value::Absent, Value::Text("GET")));
}

#[test]
fn members_in_inner_objects_are_found() {
    let event =
        decode(&with("client", r#"{"x":[{"tls":1}],"tls":{"resumed":true,"v":"1.3"},"name":"curl"}"#))
            .unwrap();
    assert_eq!((event.value(9), event.value(10)), (Value::Number(1), Value::Text("curl")));
    let event = decode(&with("client", r#"{"tls":null,"name":null}"#)).unwrap();
    assert_eq!((event.value(9), event.value(10)), (Value::Absent, Value::Absent));
    let (reason, detail) = refused(&with("client", r#"{"tls":[true]}"#));
    assert_eq!(reason, Reason::WrongType);
    assert_eq!(
        detail,
        "field clienttlsresumed (at client.tls.resumed): expected an object around it, found [true]"
    );
}

#[test]
fn the_last_of_equal_names_wins() {
    let first = |member: &str| GOOD.replacen('{', &format!("{{{member},"), 1);
    assert_eq!(number(&first(r#""status":404"#), STATUS), Some(200));
    assert_eq!(number(&first(r#""status":"bad""#), STATUS), Some(200), "a wrong one before does no harm");
    let last = |member: &str| format!("{},{member}}}", &GOOD[..GOOD.len() - 1]);
    assert_eq!(number(&last(r#""status":503"#), STATUS), Some(503));
    assert_eq!(number(&last(r#""st\u0061tus":503"#), STATUS), Some(503), "a name is its text");
    assert_eq!(number(&last(r#""bytes":null"#), BYTES), None);
    assert_eq!(refused(&last(r#""status":null"#)).0, Reason::MissingField);
    assert_eq!(refused(&last(r#""status":"x""#)).0, Reason::WrongType);
    let inner = last(r#""client":{"name":"a","tls":{"resumed":1}},"client":{"tls":{"resumed":false}}"#);
    let event = decode(&inner).unwrap();
    assert_eq!(
        (event.value(9), event.value(10)),
        (Value::Number(0), Value::Absent),
        "an object replaces whole"
    );
    assert_eq!(decode(&last(r#""client":5,"client":null"#)).unwrap().value(10), Value::Absent);
}

#[test]
fn numbers_follow_their_text() {
    assert_eq!(number(&with("status", "200.0"), STATUS), Some(200));
    assert_eq!(number(&with("status", "2e2"), STATUS), Some(200));
    assert_eq!(number(&with("status", "-0"), STATUS), Some(0));
    assert_eq!(number(&with("bytes", "9223372036854775807"), BYTES), Some(i64::MAX));
    assert_eq!(number(&with("duration_ms", "0.0005"), DURATION), Some(0));
    assert_eq!(number(&with("duration_ms", "-0.0005"), DURATION), Some(0), "rounded first, then bounded");
    assert_eq!(number(&with("duration_ms", "2.5E-3"), DURATION), Some(2));
    assert_eq!(
        number(&with("duration_ms", "9007199254740993.001"), DURATION),
        Some(9_007_199_254_740_993_001)
    );
    let cases = [
        ("status", "200.5", Reason::WrongType),
        ("status", "\"200\"", Reason::WrongType),
        ("status", "true", Reason::WrongType),
        ("status", "[200]", Reason::WrongType),
        ("status", "600", Reason::OutOfRange),
        ("status", "-1", Reason::OutOfRange),
        ("status", "1e300", Reason::OutOfRange),
        ("bytes", "9223372036854775808", Reason::OutOfRange),
        ("duration_ms", "-0.0006", Reason::OutOfRange),
        ("duration_ms", "9223372036854775.808", Reason::OutOfRange),
        ("duration_ms", "\"1\"", Reason::WrongType),
    ];
    for (name, value, reason) in cases {
        assert_eq!(refused(&with(name, value)).0, reason, "{name} {value}");
    }
}

#[test]
fn texts_and_absence() {
    assert_eq!(decode(&with("region", "\"\"")).unwrap().value(REGION), Value::Text(""), "empty is present");
    assert_eq!(decode(&with("region", "null")).unwrap().value(REGION), Value::Absent);
    let escaped = decode(&with("region", r#""a\"\n\u00e9\ud83d\ude00""#)).unwrap();
    assert_eq!(escaped.value(REGION), Value::Text("a\"\né😀"));
    let half = refused(&with("region", r#""half \ud83d""#));
    let detail = "field region: expected text without half a surrogate pair, found \"half \\ud83d\"";
    assert_eq!(half, (Reason::NotDecodable, detail.to_owned()));
    let cases = [
        (without("service"), Reason::MissingField),
        (with("service", "null"), Reason::MissingField),
        (with("service", "\"\""), Reason::MissingField),
        (with("service", "7"), Reason::WrongType),
        (with("service", "{}"), Reason::WrongType),
        (with("region", "false"), Reason::WrongType),
        (with("region", &format!("\"{}\"", "x".repeat(257))), Reason::OutOfRange),
        (with("region", r#""a\u0000b""#), Reason::OutOfRange),
        (with("client", r#"{"tls":{"resumed":1}}"#), Reason::WrongType),
        (with("client", r#"{"tls":{"resumed":"true"}}"#), Reason::WrongType),
    ];
    for (record, reason) in cases {
        assert_eq!(refused(&record).0, reason, "{record}");
    }
}

#[test]
fn timestamps_are_right_or_bad() {
    assert_eq!(number(&with("ts", "\"2099-01-01T00:00:00Z\""), TS), Some(4_070_908_800_000_000));
    let wrong = ["1761876000", "true", "{}", "\"\"", "\"2025-10-31\"", "\"1969-12-31T23:59:59.9999999Z\""];
    for value in wrong {
        let (reason, detail) = refused(&with("ts", value));
        assert_eq!(reason, Reason::BadTimestamp, "{value}");
        assert!(detail.starts_with("field ts: expected an RFC 3339 time"), "{detail}");
    }
    assert_eq!(refused(&with("ts", "null")).0, Reason::MissingField);
    assert_eq!(
        refused(&without("ts")),
        (Reason::MissingField, "field ts: expected a value, found none".into())
    );
}

#[test]
fn epochs_are_numbers_only() {
    let decoder = |form| Decoder::new(&source(vec![field("t", FieldKind::Timestamp(form), true)]));
    let mut event = Event::default();
    let mut at = |form, value: &str| {
        let record = format!("{{\"t\":{value}}}");
        decoder(form)
            .decode(Some(record.as_bytes()), &mut event)
            .map(|()| event.number(0))
            .map_err(|i| i.reason)
    };
    let expected = Ok(Some(1_761_876_000_123_456));
    assert_eq!(at(TimestampForm::EpochSeconds, "1761876000.123456789"), expected);
    assert_eq!(at(TimestampForm::EpochMillis, "1.7618760001234567e12"), expected);
    assert_eq!(at(TimestampForm::EpochNanos, "1761876000123456789"), expected);
    for value in ["\"1761876000\"", "-1", "32503680000", "1e30", "[]"] {
        assert_eq!(at(TimestampForm::EpochSeconds, value), Err(Reason::BadTimestamp), "{value}");
    }
    assert_eq!(
        at(TimestampForm::EpochSeconds, "null"),
        Err(Reason::MissingField),
        "event time is never optional"
    );
}

#[test]
fn what_is_no_json_object_is_not_decodable() {
    let nested = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let cut = &GOOD[..GOOD.len() - 1];
    let trailing = format!("{GOOD} x");
    let cases: [&[u8]; 12] = [
        b"",
        b" ",
        b"null",
        b"[1]",
        b"\"{}\"",
        b"{",
        b"{\"ts\":}",
        b"{'ts':1}",
        b"{\"ts\":\"\xff\"}",
        b"\xef\xbb\xbf{}",
        cut.as_bytes(),
        trailing.as_bytes(),
    ];
    let decoder = Decoder::new(&request_log());
    let mut event = Event::default();
    for payload in cases {
        let invalid = decoder.decode(Some(payload), &mut event).unwrap_err();
        assert_eq!(invalid.reason, Reason::NotDecodable, "{}", String::from_utf8_lossy(payload));
        assert!(invalid.detail.chars().count() < 250, "{}", invalid.detail);
    }
    assert_eq!(decoder.decode(None, &mut event).unwrap_err().reason, Reason::NotDecodable);
    assert_eq!(refused(&nested).0, Reason::NotDecodable);
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert!(decode(&with("extra", &deep)).is_ok(), "an undeclared member may be anything");
    assert_eq!(refused(&with("region", &deep)).0, Reason::WrongType);
    let objects = format!("{}1{}", "{\"client\":".repeat(100_000), "}".repeat(100_000));
    assert!(decode(&with("client", &objects)).is_ok());
}

#[test]
fn one_reason_however_the_record_is_ordered() {
    let one = r#"{"status":"x","service":7,"ts":"2025-10-31T02:00:00Z","route":"/","method":"GET"}"#;
    let two = r#"{"method":"GET","route":"/","ts":"2025-10-31T02:00:00Z","service":7,"status":"x"}"#;
    assert_eq!(refused(one), refused(two));
    assert_eq!(refused(one).1, "field service: expected a string, found 7");
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut event = Event::default();
        let _ = Decoder::new(&request_log()).decode(Some(&bytes), &mut event);
    }

    #[test]
    fn a_damaged_record_is_decoded_or_refused(at in 0..GOOD.len(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let mut event = Event::default();
        let result = Decoder::new(&request_log()).decode(Some(&bytes), &mut event);
        prop_assert!(!cut || result.is_err());
    }

    #[test]
    fn any_json_string_comes_back(text in "[^\0]{1,60}") {
        let written = serde_json::to_string(&text).unwrap();
        let event = decode(&with("region", &written)).unwrap();
        prop_assert_eq!(event.value(REGION), Value::Text(&text));
    }
}

#[test]
fn a_good_record_allocates_nothing() {
    let decoder = Decoder::new(&request_log());
    let mut event = Event::default();
    let record = with("method", "\"GET\"");
    decoder.decode(Some(record.as_bytes()), &mut event).unwrap();
    let again = allocation_counter::measure(|| decoder.decode(Some(record.as_bytes()), &mut event).unwrap());
    assert_eq!(again.count_total, 0);
    let escaped = with("region", r#""a\nb""#);
    let escapes =
        allocation_counter::measure(|| decoder.decode(Some(escaped.as_bytes()), &mut event).unwrap());
    assert_ne!(escapes.count_total, 0, "the counter counts");
}
