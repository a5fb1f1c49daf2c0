//! The oracle itself, on cases small enough to reckon by hand.

mod oracle;

use oracle::{
    Accepted, DeadLetter, End, Event, Expected, Histogram, RatioLevel, RatioRule, RawRecord, Request,
    Rounded, Verdict, bin_of, compare, decode, distinct, expect, judge, ratio_episodes, row_of_record,
    scaled, without,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// 2025-10-31T02:00:00Z
const HOUR_MS: i64 = 1_761_876_000_000;

fn record(topic: &str, partition: u32, offset: i64, timestamp_ms: i64, payload: &str) -> RawRecord {
    RawRecord { topic: topic.into(), partition, offset, timestamp_ms, payload: payload.into() }
}

fn request(offset: i64, at_ms: i64, fields: &str) -> RawRecord {
    let payload = format!(
        r#"{{"ts":"{}","service":"web","route":"/","method":"get","duration_ms":1,{fields}}}"#,
        oracle::rfc3339(at_ms * 1000)
    );
    record("request-log", 0, offset, at_ms, &payload)
}

fn only_row<'a>(expected: &'a Expected, table: &'a str) -> &'a Value {
    let rows: Vec<_> = expected.table(table).collect();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    &rows[0].values
}

fn reason(topic: &str, payload: &str) -> &'static str {
    match decode(topic, HOUR_MS, payload.as_bytes()) {
        Ok(event) => panic!("{payload} is an event: {event:?}"),
        Err(reason) => reason,
    }
}

fn decoded_request(payload: &str) -> Request {
    match decode("request-log", HOUR_MS, payload.as_bytes()) {
        Ok(Event::Request(request)) => request,
        other => panic!("{payload}: {other:?}"),
    }
}

#[test]
fn decimals_round_half_to_even_from_their_text() {
    let cases = [
        ("2000.50", 6, Rounded::Exact(2_000_500_000)),
        ("0.0000005", 6, Rounded::Inexact(0)),
        ("0.0000015", 6, Rounded::Inexact(2)),
        ("0.0000025", 6, Rounded::Inexact(2)),
        ("0.00000250001", 6, Rounded::Inexact(3)),
        ("-1.0005", 3, Rounded::Inexact(-1000)),
        ("-1.0015", 3, Rounded::Inexact(-1002)),
        ("200.0", 0, Rounded::Exact(200)),
        ("2e2", 0, Rounded::Exact(200)),
        ("2.5E-1", 3, Rounded::Exact(250)),
        ("9.99", 0, Rounded::Inexact(10)),
        ("0.04", 1, Rounded::Inexact(0)),
        ("0.06", 1, Rounded::Inexact(1)),
        ("0.006", 1, Rounded::Inexact(0)),
        ("1e-999999999999999999999", 3, Rounded::Inexact(0)),
        ("1e999999999999999999999", 3, Rounded::TooLarge),
        ("0e999999999999999999999", 3, Rounded::Exact(0)),
    ];
    for (text, scale, wanted) in cases {
        assert_eq!(scaled(text, scale), wanted, "{text}");
    }
}

#[test]
fn reasons_are_those_of_the_contract() {
    let price = |fields: &str| {
        reason("commodity-prices", &format!(r#"{{"timestamp":"2025-10-31T02:00:00Z",{fields}}}"#))
    };
    assert_eq!(reason("commodity-prices", r#"{"price":1"#), "NOT_DECODABLE");
    assert_eq!(reason("commodity-prices", ""), "NOT_DECODABLE");
    assert_eq!(reason("commodity-prices", "[]"), "NOT_DECODABLE");
    assert_eq!(price(r#""commodity":"Gold""#), "MISSING_FIELD");
    assert_eq!(price(r#""commodity":null,"price":1"#), "MISSING_FIELD");
    assert_eq!(price(r#""commodity":"","price":1"#), "OUT_OF_RANGE");
    assert_eq!(price(r#""commodity":"Gold","price":"1""#), "WRONG_TYPE");
    assert_eq!(price(r#""commodity":"Gold","price":0"#), "OUT_OF_RANGE");
    assert_eq!(price(r#""commodity":"Gold","price":0.0000004"#), "OUT_OF_RANGE");
    assert_eq!(price(r#""commodity":"Gold","price":1,"volume":-1"#), "OUT_OF_RANGE");
    assert_eq!(price(r#""commodity":"Gold","price":1e30"#), "OUT_OF_RANGE");
    let at = |time: &str| {
        reason("commodity-prices", &format!(r#"{{"timestamp":{time},"commodity":"Gold","price":1}}"#))
    };
    for bad in [r#""yesterday""#, r#""2025-02-30T00:00:00Z""#, r#""2025-10-31""#, r#""2025-10-31T02:00:00""#]
    {
        assert_eq!(at(bad), "BAD_TIMESTAMP", "{bad}");
    }
    assert_eq!(at("5"), "WRONG_TYPE");
    assert_eq!(at(r#""2025-10-31T02:01:00.000001Z""#), "TOO_FAR_AHEAD");
    assert_eq!(
        at(r#""2025-09-01T00:00:00Z""#),
        "OUT_OF_RANGE",
        "fifty days do not fit the freshness histogram"
    );
}

#[test]
fn requests_decode_by_the_words_of_the_contract() {
    let request = decoded_request(
        r#"{"ts":"2025-10-31T04:00:00.1234569+02:00","service":"w","route":"\/a","method":"get","status":1,"status":200.0,
            "duration_ms":0.0005,"bytes":null,"user_id":""}"#,
    );
    assert_eq!(request.event_us, HOUR_MS * 1000 + 123_456, "floored");
    assert_eq!((request.route.as_str(), request.method.as_str()), ("/a", "GET"));
    assert_eq!((request.status, request.duration, request.bytes), (200, 0, None), "the last status wins");
    assert_eq!(request.user_id.as_deref(), Some(""), "an empty text is present");
    let fraction = r#"{"ts":"2025-10-31T02:00:00Z","service":"w","route":"/","method":"GET","status":200.5,"duration_ms":1}"#;
    assert_eq!(reason("request-log", fraction), "WRONG_TYPE");
    let far = fraction.replace("200.5", "200").replace(":1}", ":4398046511.104}");
    assert_eq!(reason("request-log", &far), "OUT_OF_RANGE");
    assert_eq!(decoded_request(&far.replace("1.104", "1.103")).duration, (1 << 42) - 1);
}

#[test]
fn lateness_is_judged_on_the_partition() {
    let at = |offset, since_ms| request(offset, HOUR_MS + since_ms, r#""status":200"#);
    let two_hours_ms = 7_200_000;
    // Offsets, not the order of the slice, are the order of the log.
    let mut records = vec![
        at(5, 10_000 - 2_000 - two_hours_ms - 1),
        at(4, 10_000 - 2_000 - two_hours_ms),
        at(3, 10_000 - 2_001),
        at(2, 10_000 - 2_000),
        at(1, 10_000),
        at(0, 5_000),
    ];
    records.push(RawRecord { partition: 1, ..at(0, 0) });
    let late: Vec<Result<bool, DeadLetter>> = judge(&records)
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Accepted(Accepted { late, .. }) => Ok(late),
            Verdict::Dead(letter) => Err(letter),
        })
        .collect();
    let too_late = DeadLetter { topic: "request-log".into(), partition: 0, offset: 5, reason: "TOO_LATE" };
    assert_eq!(late, [Ok(false), Ok(false), Ok(false), Ok(true), Ok(true), Err(too_late), Ok(false)]);
}

#[test]
fn a_far_future_event_moves_no_clock() {
    let far = r#"{"ts":"2099-01-01T00:00:00Z","service":"w","route":"/","method":"GET","status":200,"duration_ms":1}"#;
    let records = [record("request-log", 0, 0, HOUR_MS, far), request(1, HOUR_MS, r#""status":200"#)];
    let expected = expect(&records);
    assert_eq!(expected.dead_letters.len(), 1);
    assert_eq!(only_row(&expected, "request_log_total_hourly")["late_count"], 0);
}

#[test]
fn prices_of_an_hour() {
    let price = |partition, offset, at: &str, rest: &str| {
        let payload =
            format!(r#"{{"timestamp":"2025-10-31T02:{at}Z","commodity":"Gold","currency":"USD",{rest}}}"#);
        record("commodity-prices", partition, offset, HOUR_MS + 1_800_000, &payload)
    };
    let records = [
        price(1, 0, "10:00", r#""price":12.5,"volume":2,"source":"CME""#),
        price(0, 7, "10:00", r#""price":11,"volume":0.5,"source":"CME""#),
        price(0, 8, "20:00.5", r#""price":12.5"#),
        price(1, 1, "20:00.5", r#""price":10.000001"#),
    ];
    let expected = expect(&records);
    let row = only_row(&expected, "commodity_prices_hourly");
    let wanted = json!({
        "commodity": "Gold", "currency": "USD", "unit": "", "region": "",
        "bucket_start": "2025-10-31T02:00:00.000000Z", "event_count": 4, "late_count": 0,
        "price_open": "11.000000", "price_high": "12.500000", "price_low": "10.000001", "price_close": "10.000001",
        "price_open_at": "2025-10-31T02:10:00.000000Z", "price_high_at": "2025-10-31T02:10:00.000000Z",
        "price_low_at": "2025-10-31T02:20:00.500000Z", "price_close_at": "2025-10-31T02:20:00.500000Z",
        "price_sum": "46.000001", "volume_sum": "2.500000", "price_volume_sum": "30.500000000000",
        "source_counts": {"": 2, "CME": 2},
        "age_ms_count": 4, "age_ms_min": "599500.000", "age_ms_max": "1200000.000", "age_ms_sum": "3599000.000",
        "age_ms_p50": "599785.471", "age_ms_p99": "1200000.000",
        "age_ms_bins": [2958, 3087], "age_ms_counts": [2, 2],
        "age_ms_hdr": row["age_ms_hdr"],
    });
    for (column, value) in wanted.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column}");
    }
    assert_eq!(row.as_object().unwrap().len(), wanted.as_object().unwrap().len());
}

#[test]
fn predictions_of_an_hour() {
    let prediction = |offset, rest: &str| {
        let payload = format!(r#"{{"ts":"2025-10-31T02:30:00Z","model":"m","model_version":"1",{rest}}}"#);
        record("ml-predictions", 0, offset, HOUR_MS + 1_800_000, &payload)
    };
    let records = [
        prediction(0, r#""prediction":-1.5,"inference_ms":20,"confidence":0.9,"correct":true"#),
        prediction(1, r#""prediction":2,"inference_ms":30.5,"correct":false"#),
        prediction(2, r#""prediction":0,"inference_ms":0,"error":"""#),
    ];
    let expected = expect(&records);
    let row = only_row(&expected, "ml_predictions_hourly");
    let wanted = json!({
        "error_count": 1, "labelled_count": 2, "correct_count": 1,
        "prediction_sum": "0.500000", "prediction_min": "-1.500000", "prediction_max": "2.000000",
        "inference_ms_count": 3, "inference_ms_min": "0.000", "inference_ms_sum": "50.500",
        "inference_ms_p50": "20.015", "inference_ms_p95": "30.500",
        "confidence_count": 1, "confidence_p05": "0.900000",
    });
    for (column, value) in wanted.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column}");
    }
}

#[test]
fn requests_of_an_hour() {
    let records = [
        request(0, HOUR_MS + 100, r#""status":200,"user_id":"a","bytes":10,"region":"eu""#),
        request(1, HOUR_MS + 200, r#""status":404,"user_id":"a","bytes":5"#),
        request(2, HOUR_MS + 1_000, r#""status":503,"user_id":"b""#),
        request(3, HOUR_MS + 1_999, r#""status":0"#),
        request(4, HOUR_MS + 300_000, r#""status":499,"user_id":"c""#),
        request(5, HOUR_MS + 3_600_000, r#""status":200"#),
    ];
    let expected = expect(&records);
    let total: Vec<_> = expected.table("request_log_total_hourly").map(|row| &row.values).collect();
    let wanted = json!({
        "event_count": 5, "error_4xx_count": 2, "error_5xx_count": 1, "failed_count": 3, "bytes_sum": "15",
        "unique_users": 3, "requests_per_s_max": 2, "requests_per_s_max_at": "2025-10-31T02:00:00.000000Z",
        "active_users_max": 2, "active_users_max_at": "2025-10-31T02:00:00.000000Z",
        "latency_ms_count": 5, "latency_ms_p999": "1.000", "latency_ms_bins": [506], "latency_ms_counts": [5],
    });
    for (column, value) in wanted.as_object().unwrap() {
        assert_eq!(&total[0][column], value, "{column}");
    }
    let second = json!({"event_count": 1, "active_users_max": 0, "active_users_max_at": null, "unique_users_hll": "EY1/"});
    for (column, value) in second.as_object().unwrap() {
        assert_eq!(&total[1][column], value, "{column}");
    }
    let series: Vec<_> = expected.table("request_log_hourly").collect();
    assert_eq!(series[0].key, ["web", "/", "GET"]);
    assert_eq!(series[0].values["status_counts"], json!({"0": 1, "200": 1, "404": 1, "499": 1, "503": 1}));
    assert_eq!(series[0].values["bytes_count"], 2);
    let regions: Vec<_> =
        expected.table("request_log_region_hourly").map(|row| row.key[0].as_str()).collect();
    assert_eq!(regions, ["", "", "eu"]);
}

/// `hist_bin_high` as the SQL has it.
fn bin_high(bin: u64) -> u64 {
    if bin < 256 { bin } else { ((129 + (bin & 127)) << ((bin >> 7) - 1)) - 1 }
}

#[test]
fn bins_are_those_of_the_sql() {
    let mut low = 0;
    for bin in 0..=4607 {
        let high = bin_high(bin);
        assert_eq!((bin_of(low), bin_of(high)), (bin, bin), "{low}..={high}");
        low = high + 1;
    }
    assert_eq!(low, 1 << 42, "the bins meet and end with the range");
}

#[test]
fn histograms_encode_as_the_library_does() {
    // What hdrhistogram's own V2 serializer writes for these values and bounds.
    let known = [
        (vec![], HDR_EMPTY),
        (vec![0, 0, 3], HDR_SMALL),
        (vec![1, 2047, 2048, 74_239, 1_000_000, 1_000_000, (1 << 42) - 1], HDR_WIDE),
    ];
    for (values, bytes) in known {
        let hex: String = Histogram::of(values).hdr().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, bytes);
    }
}
const HDR_EMPTY: &str = "1c8493130000000100000000000000030000000000000001000003ffffffffff3ff000000000000000";
const HDR_SMALL: &str =
    "1c8493130000000300000000000000030000000000000001000003ffffffffff3ff0000000000000040302";
const HDR_WIDE: &str = "1c8493130000001000000000000000030000000000000001000003ffffffffff3ff00000000000000002f91f02028b5202b13c04b9e10202";

#[test]
fn quantiles_are_ranks() {
    let hundred = Histogram::of(1..=100);
    let of = |millionths| hundred.quantile(millionths).unwrap();
    assert_eq!((of(500_000), of(950_000), of(999_000), of(10_000), of(10_001)), (50, 95, 100, 1, 2));
    // 10,000 to 10,007 cannot be told apart with three digits: the highest of them, but never above the largest.
    assert_eq!(Histogram::of([10_000, 20_000]).quantile(500_000), Some(10_007));
    assert_eq!(Histogram::of([10_000]).quantile(500_000), Some(10_000));
    assert_eq!(Histogram::of([]).quantile(500_000), None);
}

#[test]
fn distinct_counts_are_those_of_postgresql_hll() {
    // ceil(hll_cardinality) and SHA-256 of hll_add_agg(hll_hash_text('u' || i), 13, 5, -1, 1) for i from 0, by
    // postgresql-hll 2.17: explicit, sparse and dense.
    let known = [
        (1, 1, "1683352885bf906e91cdac1073812cc9d9f977b486806ce607fa894727101f24"),
        (640, 640, "7ef65a8f177876268fbeee1e6e522d05865acad3b0a4ef1dd7c14d07dc3d18f9"),
        (641, 640, "e055340f482005fe122e6a7f7f77990727e299961be74e173e99d0c10243e8ac"),
        (2330, 2315, "40d31c869fcb7c3726545e4506d9a4e0fc55ef3d8bdad84d2f1e1876ded78c5a"),
        (5000, 5026, "26c18adfb81793684a05ffe78516e9bba0ccaa897e8d8b776e8a392be07f9aa2"),
        (200_000, 200_486, "99af8ac320720ae60ad2f5c7b2e25701a94ef8ad479fe0f7173f1d9e4db5e450"),
    ];
    let users: Vec<String> = (0..200_000).map(|user| format!("u{user}")).collect();
    for (count, estimate, digest) in known {
        let (found, bytes) = distinct(users[..count].iter().map(String::as_str));
        let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((found, hex.as_str()), (estimate, digest), "{count}");
    }
    assert_eq!(distinct([]), (0, vec![0x11, 0x8d, 0x7f]), "as hll_empty(13, 5, -1, 1)");
}

#[test]
fn differences_are_named() {
    let expected = expect(&[request(0, HOUR_MS, r#""status":200"#)]).rows;
    compare(&expected, &expected).unwrap();
    let mut other = expected.clone();
    other[0].values["event_count"] = json!(2);
    other[0].values["revision"] = json!(3);
    other.pop();
    let text = compare(&expected, &other).unwrap_err();
    assert!(text.contains("2 differences"), "{text}");
    assert!(text.contains("event_count: expected 1, found 2"), "{text}");
    assert!(text.contains("request_log_total_hourly [] 2025-10-31T02:00:00.000000Z: no such row"), "{text}");
    let counts = ["event_count"];
    compare(&without(&expected[..2], &counts), &without(&other, &counts)).unwrap();
}

#[test]
fn output_records_become_rows() {
    let expected = expect(&[request(0, HOUR_MS, r#""status":200,"region":"eu""#)]).rows;
    let region = expected.iter().find(|row| row.table == "request_log_region_hourly").unwrap();
    let key = br#"["eu","2025-10-31T02:00:00Z"]"#;
    let read = row_of_record(&region.table, key, region.values.to_string().as_bytes()).unwrap();
    assert_eq!(&read, region);
    assert!(row_of_record("t", b"[]", b"{}").is_err());
}

/// Ten requests in each second from `from` to `to`; of them `bad` fail.
fn traffic(records: &mut Vec<RawRecord>, from: i64, to: i64, bad: usize) {
    for second in from..to {
        for one in 0..10 {
            let status = if one < bad { 500 } else { 200 };
            let at_ms = HOUR_MS + second * 1000 + one as i64 * 50;
            records.push(request(records.len() as i64, at_ms, &format!(r#""status":{status}"#)));
        }
    }
}

fn rule(for_s: u64, min_events: u64) -> RatioRule {
    let level = |name, above_billionths, window_s, pane_s| RatioLevel {
        name,
        above_billionths,
        window_s,
        pane_s,
        for_s,
        min_events,
    };
    RatioRule {
        group_by: vec!["service"],
        bad: Request::failed,
        levels: vec![level("critical", 500_000_000, 10, 1), level("warning", 200_000_000, 30, 5)],
        hold_s: 5,
        no_data_after_s: 20,
    }
}

fn seconds(records: &[RawRecord], rule: &RatioRule, until: i64) -> Vec<(i64, String, String)> {
    let hour_s = HOUR_MS / 1000;
    ratio_episodes(records, rule, hour_s + until)
        .into_iter()
        .map(|episode| {
            assert_eq!(episode.group, [("service".to_owned(), "web".to_owned())]);
            let end = match episode.end {
                End::Open => "open".to_owned(),
                End::Recovered { recovered_s, resolved_s } => {
                    format!("recovered {} resolved {}", recovered_s - hour_s, resolved_s - hour_s)
                }
                End::NoData { recovered_s, resolved_s } => {
                    format!("no data {} resolved {}", recovered_s - hour_s, resolved_s - hour_s)
                }
            };
            (episode.onset_s - hour_s, end, episode.level)
        })
        .collect()
}

#[test]
fn ratios_open_and_recover_to_the_second() {
    let mut records = Vec::new();
    traffic(&mut records, 0, 100, 0);
    traffic(&mut records, 100, 120, 10);
    traffic(&mut records, 120, 300, 0);
    // The 30 s window that ends at second 106 begins at floor(76 / 5) x 5 = 75: 60 of 310 are bad, 19.4 %. At 107 it
    // counts 75 to 107: 70 of 320, 21.9 %. The critical window that ends at 106 counts 96 to 106: 60 %, and crosses
    // first; so that is the onset. It is off 5 s after 125 to 130, no longer crossing. The warning is over when at
    // most 20 % of its window is bad: at 145 it counts 115 to 145, 50 of 300, while at 141 to 144 it counts from 110
    // on: 100 of 310 and more.
    let episodes = seconds(&records, &rule(0, 1), 300);
    assert_eq!(episodes, [(106, "recovered 145 resolved 150".to_owned(), "warning".to_owned())]);
}

#[test]
fn a_run_shorter_than_for_opens_nothing() {
    let mut records = Vec::new();
    traffic(&mut records, 0, 100, 0);
    traffic(&mut records, 100, 120, 10);
    traffic(&mut records, 120, 300, 0);
    // Critical crosses from 106 to 124, warning from 107 to 144.
    assert_eq!(seconds(&records, &rule(38, 1), 300), []);
    let opened = seconds(&records, &rule(37, 1), 300);
    assert_eq!(opened, [(107, "recovered 145 resolved 150".to_owned(), "warning".to_owned())]);
    assert_eq!(seconds(&records, &rule(18, 1), 130)[0], (106, "open".to_owned(), "warning".to_owned()));
    let critical = seconds(&records, &rule(18, 1), 127);
    assert_eq!(critical, [(106, "open".to_owned(), "critical".to_owned())]);
}

#[test]
fn too_few_events_say_nothing() {
    let mut records = Vec::new();
    traffic(&mut records, 0, 40, 5);
    // 50 % is above 20 %, not above 50 %. With at least 100 events a window is known from second 10 on.
    let open = seconds(&records, &rule(0, 100), 45);
    assert_eq!(open, [(10, "open".to_owned(), "warning".to_owned())]);
    // Traffic ends with second 40, and with it the critical window's hundred events. The warning's window begins at
    // second 30 until second 64 is judged, then at 35 with only 50 events; 20 s later it is over.
    let ended = seconds(&records, &rule(0, 100), 200);
    assert_eq!(ended, [(10, "no data 65 resolved 85".to_owned(), "warning".to_owned())]);
    assert_eq!(seconds(&records, &rule(0, 1000), 200), []);
}

#[test]
fn groups_are_judged_apart() {
    let mut records = Vec::new();
    traffic(&mut records, 0, 40, 10);
    let other = records.iter().map(|record| RawRecord {
        partition: 1,
        payload: String::from_utf8_lossy(&record.payload)
            .replace("web", "auth")
            .replace("500", "200")
            .into_bytes(),
        ..record.clone()
    });
    let records: Vec<RawRecord> = records.iter().cloned().chain(other.collect::<Vec<_>>()).collect();
    assert_eq!(seconds(&records, &rule(0, 1), 40), [(1, "open".to_owned(), "critical".to_owned())]);
}
