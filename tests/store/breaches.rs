use plimsoll::store::Written;
use serde_json::{Value, json};

use crate::fixtures::*;

const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn breach(opened_at: &str, revision: i64, transition: &str) -> Value {
    let resolved = matches!(transition, "RESOLVED" | "RETRACTED");
    json!({
        "alert_key": KEY, "episode_id": format!("{KEY}/{opened_at}"), "revision": revision,
        "transition": transition, "resolve_reason": if resolved { json!("RECOVERED") } else { json!(null) },
        "severity": "critical", "priority": "P0", "previous_severity": null, "slo": null, "service": "shop",
        "rule": {"document": "shop-alerts", "name": "errors", "kind": "RATIO", "op": "above",
                 "threshold": "5%", "unit": "ratio"},
        "labels": {"route": "/pay"},
        "windows": [{"name": "critical", "duration_s": 60, "start": "2025-10-31T02:58:00Z",
                     "end": "2025-10-31T02:59:00Z", "good": 80, "bad": 20, "total": 100, "sli": "0.8",
                     "coverage": "1"}],
        "onset_at": "2025-10-31T02:59:00.000000Z", "opened_at": opened_at, "recovered_at": null,
        "resolved_at": if resolved { json!("2025-10-31T03:10:00.000000Z") } else { json!(null) },
        "evaluated_at": "2025-10-31T03:00:00.000000Z", "worst_value": "0.213456789", "bad_total": 20 + revision,
        "stale": false, "completeness": {"watermark": "2025-10-31T02:59:58.000000Z", "lag_events": 3,
                                         "late_events": 1, "is_final": false},
        "summary": "5xx of /pay above 5%", "runbook_url": null, "spec_hash": "0123456789abcdef", "version": 77,
    })
}

const OPENED: &str = "2025-10-31T03:00:00.000000Z";

fn state(bench: &Bench) -> (String, i32, i64) {
    let row = bench.sql().query_one("SELECT status, revision, bad_total FROM slo_breach", &[]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn start() -> (Bench, Feed) {
    let bench = Bench::migrated();
    let feed = Feed::new(bench.store(), BREACHES);
    (bench, feed)
}

#[test]
fn an_episode_is_one_row_and_each_transition_is_kept() {
    let (bench, mut feed) = start();
    assert_eq!(feed.write([breach(OPENED, 0, "OPENED")]).transitions, 1);
    assert_eq!(state(&bench), ("OPEN".into(), 0, 20));
    feed.write([breach(OPENED, 2, "RESOLVED"), breach(OPENED, 1, "UPDATED")]);
    assert_eq!(state(&bench), ("RESOLVED".into(), 2, 22));
    // An old transition changes nothing any more, one stored before is not stored again.
    let written = feed.write([breach(OPENED, 1, "UPDATED"), breach(OPENED, 2, "UPDATED")]);
    assert_eq!(written, Written::default());
    assert_eq!(state(&bench), ("RESOLVED".into(), 2, 22));
    // Late data speak of an episode that stays resolved, then take it back.
    let late = with(breach(OPENED, 3, "UPDATED"), json!({"resolved_at": "2025-10-31T03:10:00.000000Z"}));
    feed.write([late]);
    assert_eq!(state(&bench).0, "RESOLVED");
    feed.write([breach(OPENED, 4, "RETRACTED")]);
    assert_eq!(state(&bench), ("RETRACTED".into(), 4, 24));
    let transitions: String =
        bench.value("SELECT string_agg(transition, ' ' ORDER BY revision) FROM slo_breach_event");
    assert_eq!(transitions, "OPENED UPDATED RESOLVED UPDATED RETRACTED");
}

#[test]
fn the_record_fills_the_row() {
    let (bench, mut feed) = start();
    feed.write([breach(OPENED, 0, "OPENED")]);
    let row = &feed.store.breaches(10).unwrap()[0];
    let expected = [
        ("document", "shop-alerts"),
        ("rule", "errors"),
        ("kind", "RATIO"),
        ("op", "above"),
        ("threshold", "5%"),
        ("unit", "ratio"),
        ("severity", "critical"),
        ("priority", "P0"),
        ("previous_severity", ""),
        ("service", "shop"),
        ("labels", r#"{"route": "/pay"}"#),
        ("bucket_start", "2025-10-31 02:00:00+00"),
        ("onset_at", "2025-10-31 02:59:00+00"),
        ("opened_at", "2025-10-31 03:00:00+00"),
        ("resolved_at", ""),
        ("worst_value", "0.213456789"),
        ("stale", "f"),
        ("is_final", "f"),
        ("watermark", "2025-10-31 02:59:58+00"),
        ("lag_events", "3"),
        ("late_events", "1"),
        ("spec_hash", "0123456789abcdef"),
        ("version", "77"),
    ];
    for (name, value) in expected {
        assert!(row.contains(&(name.into(), value.into())), "{name} is not {value}: {row:?}");
    }
    let total: i32 = bench.value("SELECT (record->'windows'->0->>'total')::int FROM slo_breach_event");
    assert_eq!(total, 100);
    // Joins with the hourly rows.
    let mut rows = Feed::new(bench.store(), ROWS);
    rows.write([row_of_the_route()]);
    let joined = "SELECT count(*) FROM slo_breach b JOIN request_log r \
                  ON r.bucket_start = b.bucket_start AND r.route = b.labels->>'route'";
    assert_eq!(bench.value::<i64>(joined), 1);
}

fn row_of_the_route() -> Value {
    row("/pay", HOUR, 1, 1)
}

#[test]
fn two_episodes_of_one_alert_are_two_rows() {
    let (bench, mut feed) = start();
    let again = "2025-10-31T05:00:00.000000Z";
    feed.write([breach(OPENED, 0, "OPENED"), breach(OPENED, 1, "RESOLVED"), breach(again, 0, "OPENED")]);
    let open: String = bench.value("SELECT episode_id FROM slo_breach WHERE status = 'OPEN'");
    assert_eq!(open, format!("{KEY}/{again}"));
    let rows = feed.store.breaches(1).unwrap();
    assert!(rows.len() == 1 && rows[0].contains(&("episode_id".into(), open)));
}

#[test]
fn a_bad_transition_is_passed_over_whole() {
    let (bench, mut feed) = start();
    let written = feed.write([
        breach(OPENED, 0, "OPENED"),
        with(breach(OPENED, 1, "UPDATED"), json!({"transition": "IMPROVED"})),
        // Good for the one table, not for the other: it may be in neither.
        with(breach(OPENED, 2, "UPDATED"), json!({"priority": null})),
        json!({}),
        breach(OPENED, 3, "UPDATED"),
    ]);
    assert_eq!(written.transitions, 2);
    assert_eq!(written.invalid.iter().map(|i| i.offset).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(state(&bench).1, 3);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM slo_breach_event"), 2);
}
