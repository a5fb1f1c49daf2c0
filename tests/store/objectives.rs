//! Hours and statuses of objectives and rules, from what a shard says to what analysts read.

use plimsoll::core::output::{Output, RuleHour, SloHour, Status};
use plimsoll::store::Written;
use serde_json::{Value, json};

use crate::fixtures::*;
use crate::outputs::{self, HOUR_S, rule_hour, slo_hour, status};

const HOUR: i64 = 3_600;

fn slo(hour: SloHour) -> Value {
    outputs::value(Output::SloHour(Box::new(hour)))
}

fn rule(hour: RuleHour) -> Value {
    outputs::value(Output::RuleHour(Box::new(hour)))
}

fn state(status: Status) -> Value {
    outputs::value(Output::Status(Box::new(status)))
}

fn feed(topic: &'static str) -> (Bench, Feed) {
    let bench = Bench::migrated();
    let feed = Feed::new(bench.store(), topic);
    (bench, feed)
}

/// Every column of the only row of `table`, but the database's own clock.
fn only_row(bench: &Bench, table: &str) -> Value {
    let text: String = bench.value(&format!("SELECT (to_jsonb(r) - 'updated_at')::text FROM \"{table}\" r"));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn an_hour_of_an_objective_comes_through() {
    let (bench, mut feed) = feed(SLO_HOURLY);
    let sliced = SloHour {
        slice_good_billionths: 58_500_000_000,
        slice_bad_billionths: 1_500_000_001,
        slice_s: 60,
        ..slo_hour("/pay", HOUR_S, 7, 20)
    };
    assert_eq!(feed.write([slo(sliced)]).rows, 1);
    let mut row = only_row(&bench, "slo_hourly");
    // Numbers of jsonb are exact; those of the test's JSON are not.
    let exact = "SELECT slice_good || ' ' || slice_bad || ' ' || target FROM slo_hourly";
    assert_eq!(bench.value::<String>(exact), "58.500000000 1.500000001 0.999000000");
    for name in ["slice_good", "slice_bad", "target"] {
        row.as_object_mut().unwrap().remove(name);
    }
    let expected = json!({
        "slo": "checkout-fast", "objective": "fast", "label_key": r#"{"route": "/pay", "region": "eu"}"#,
        "bucket_start": "2025-10-31T02:00:00+00:00", "labels": {"region": "eu", "route": "/pay"},
        "service": "checkout", "good": 980, "bad": 20, "total": 1000, "slice_s": 60, "revision": 0, "version": 7,
        "is_final": false, "complete": true, "watermark": "2025-10-31T02:01:00+00:00",
    });
    assert_eq!(row, expected);
}

#[test]
fn an_hour_of_a_rule_comes_through() {
    let (bench, mut feed) = feed(RULE_HOURLY);
    let silent = RuleHour { values: None, known_seconds: 0, ..rule_hour(HOUR_S + HOUR, 8) };
    assert_eq!(feed.write([rule(rule_hour(HOUR_S, 7)), rule(silent)]).rows, 2);
    let exact = "SELECT value_min || ' ' || value_max || ' ' || value_sum FROM rule_hourly ORDER BY bucket_start LIMIT 1";
    assert_eq!(bench.value::<String>(exact), "-0.000000001 0.050000000 123456789012345678.901234567");
    let seconds = "SELECT (level_seconds->>'warning')::int + known_seconds::int FROM rule_hourly \
                   WHERE document = 'platform' AND rule = 'error-rate' AND labels = '{}' AND value_sum IS NOT NULL";
    assert_eq!(bench.value::<i32>(seconds), 61 + 3_500);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM rule_hourly WHERE value_sum IS NULL"), 1);
}

#[test]
fn the_newest_version_of_an_hour_wins_and_final_never_goes_back() {
    let (bench, mut feed) = feed(SLO_HOURLY);
    let hour = |version, bad| slo_hour("/pay", HOUR_S, version, bad);
    let bad = || bench.value::<i64>("SELECT bad FROM slo_hourly");
    feed.write([slo(hour(10, 1))]);
    assert_eq!(feed.write([slo(hour(9, 2)), slo(hour(10, 3))]), Written { stale: 2, ..Written::default() });
    assert_eq!(bad(), 1);
    let mut finished = hour(12, 4);
    finished.stamp.is_final = true;
    let mut corrected = hour(13, 5);
    corrected.stamp.revision = 1;
    let written = feed.write([slo(corrected), slo(finished), slo(hour(11, 6))]);
    assert_eq!((written.rows, written.stale), (1, 2));
    let row = only_row(&bench, "slo_hourly");
    assert_eq!((&row["bad"], &row["revision"], &row["is_final"]), (&json!(5), &json!(1), &json!(true)));
    assert_eq!(feed.write([slo(hour(14, 7))]).rows, 1);
    let row = only_row(&bench, "slo_hourly");
    assert_eq!((&row["bad"], &row["is_final"]), (&json!(7), &json!(true)));
}

#[test]
fn what_is_read_again_changes_nothing() {
    let bench = Bench::migrated();
    let batches: [(&'static str, Vec<Value>); 3] = [
        (SLO_HOURLY, vec![slo(slo_hour("/a", HOUR_S, 1, 1)), slo(slo_hour("/b", HOUR_S, 2, 2))]),
        (RULE_HOURLY, vec![rule(rule_hour(HOUR_S, 1)), rule(rule_hour(HOUR_S, 3))]),
        (SLO_STATUS, vec![state(status(HOUR_S, 1)), state(status(HOUR_S + 60, 4))]),
    ];
    let contents = || {
        let tables = ["slo_hourly", "rule_hourly", "slo_status"];
        tables.map(|table| {
            bench.value::<String>(&format!(
                "SELECT coalesce(json_agg(r ORDER BY label_key), '[]')::text FROM {table} r"
            ))
        })
    };
    for (topic, values) in batches {
        let mut feed = Feed::new(bench.store(), topic);
        assert!(feed.write(&values).rows > 0);
        let before = contents();
        // As after the loss of the offsets: only their versions tell that the records have been seen.
        assert_eq!(feed.write(&values).rows, 0);
        assert_eq!(contents(), before);
    }
}

#[test]
fn hours_are_kept_by_month() {
    let (bench, mut feed) = feed(SLO_HOURLY);
    feed.write([slo(slo_hour("/a", HOUR_S, 1, 1))]);
    let place = "SELECT c.relname::text FROM slo_hourly r JOIN pg_class c ON c.oid = r.tableoid";
    assert_eq!(bench.value::<String>(place), "slo_hourly_2025_10");
    // What had to go to DEFAULT leaves it with the next migration.
    bench.sql().execute("UPDATE slo_hourly SET bucket_start = '2031-05-01 00:00Z'", &[]).unwrap();
    assert_eq!(bench.value::<String>(place), "slo_hourly_default");
    let done = bench.store().migrate(&rules()).unwrap();
    assert_eq!(done, ["moved rows out of DEFAULT into slo_hourly_2031_05"]);
}

#[test]
fn a_status_is_the_latest_of_its_group() {
    let (bench, mut feed) = feed(SLO_STATUS);
    let well = Status { level: None, value_billionths: None, budget: None, ..status(HOUR_S + 120, 9) };
    let other = Status { group: vec![("route".into(), "/cart".into())], ..status(HOUR_S, 9) };
    feed.write([state(well), state(status(HOUR_S + 60, 8)), state(other)]);
    let query = "SELECT string_agg(concat_ws(' ', label_key, to_char(evaluated_at, 'MI'), coalesce(level, 'well'), \
                 value, bad, coverage, budget_period_s, budget_remaining_ratio, budget_exhausts_at), '; ' ORDER BY label_key) \
                 FROM slo_status";
    assert_eq!(
        bench.value::<String>(query),
        r#"{"route": "/cart"} 00 fast 14.500000000 1000 0.250000000 2592000 -0.250000000 2025-11-01 02:00:00+00; "#
            .to_owned()
            + r#"{"route": "/pay"} 02 well 1000 0.250000000"#
    );
    assert_eq!(feed.write([state(status(HOUR_S + 180, 9))]).stale, 1);
    assert_eq!(feed.write([state(status(HOUR_S + 180, 10))]).rows, 1);
}

#[test]
fn a_bad_record_is_passed_over() {
    let (bench, mut feed) = feed(SLO_HOURLY);
    let good = slo(slo_hour("/a", HOUR_S, 1, 1));
    let bad = [
        with(good.clone(), json!({"target": null})),
        with(good.clone(), json!({"labels": null})),
        with(good.clone(), json!({"bucket_start": "soon"})),
        with(good.clone(), json!({"bad": u64::MAX})),
    ];
    let written = feed.write(bad.into_iter().chain([good]));
    assert_eq!((written.rows, written.invalid.len()), (1, 4), "{:?}", written.invalid);
    let mut statuses = Feed::new(bench.store(), SLO_STATUS);
    assert_eq!(statuses.write(["[]".to_owned(), "{".to_owned(), "{}".to_owned()]).invalid.len(), 3);
}

#[test]
fn days_add_hours_up() {
    let (bench, mut feed) = feed(SLO_HOURLY);
    let sliced = |hour_s, version| SloHour {
        objective: "sliced".into(),
        slice_good_billionths: 59_250_000_000,
        slice_bad_billionths: 750_000_000,
        slice_s: 60,
        ..slo_hour("/a", hour_s, version, 500)
    };
    let mut last = slo_hour("/a", HOUR_S + 21 * HOUR, 3, 9);
    last.target_billionths = 990_000_000;
    last.stamp.is_final = true;
    feed.write(
        [
            slo_hour("/a", HOUR_S, 1, 1),
            last,
            // The next UTC day.
            slo_hour("/a", HOUR_S + 22 * HOUR, 4, 100),
            slo_hour("/b", HOUR_S, 2, 5),
            sliced(HOUR_S, 5),
            sliced(HOUR_S + HOUR, 6),
        ]
        .map(slo),
    );
    let query = "SELECT string_agg(concat_ws(' ', objective, labels->>'route', to_char(day, 'DD'), good, bad, total, \
                 trim_scale(target), trim_scale(sli), trim_scale(bad_allowed), round(budget_spent_ratio, 6), hours, \
                 is_final), E'\\n' ORDER BY objective, labels->>'route', day) FROM slo_daily";
    let expected = "fast /a 31 1990 10 2000 0.99 0.995 11 0.909091 2 f\n\
                    fast /a 01 900 100 1000 0.999 0.9 1 100.000000 1 f\n\
                    fast /b 31 995 5 1000 0.999 0.995 1 5.000000 1 f\n\
                    sliced /a 31 1000 1000 2000 0.999 0.9875 0.12 12.500000 2 f";
    assert_eq!(bench.value::<String>(query), expected);
}
