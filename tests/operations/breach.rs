//! A breach from its first bad request to the row that analysts read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll::generate::Generated;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::facts::{Told, eventually, records};
use crate::records::{SECOND_US, now_us, request};
use crate::support::{Deployment, Settings};

const LIMIT: Duration = Duration::from_secs(60);

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ten requests a second on both partitions, for the seconds `from..to` around `at_us`.
fn requests(at_us: i64, from: i64, to: i64, status: u16) -> Vec<Generated> {
    let at = |tenth: i64| request((tenth % 2) as u32, at_us + tenth * SECOND_US / 10, "shop", status);
    (from * 10..to * 10).map(at).collect()
}

/// Breaches by key, each key in the order of its partition.
pub fn by_key(told: &[Told]) -> BTreeMap<String, Vec<&Told>> {
    let mut keys: BTreeMap<String, Vec<&Told>> = BTreeMap::new();
    for breach in told {
        keys.entry(breach.key.clone()).or_default().push(breach);
    }
    keys
}

fn transitions(told: &[&Told]) -> Vec<String> {
    told.iter().map(|breach| breach.value["transition"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_error_spike_opens_and_resolves_exactly_once_everywhere() {
    let more = "cluster: test\nintervals: {provisional: 2s, checkpoint: 2s, heartbeat: 1s}\n";
    let deployment = Deployment::start(2, &Settings { more, ..Settings::default() });
    let rules = "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {name: platform, labels: {team: web}}\n\
        spec:\n  service: platform\n  defaults: {source: request-log, hold: 3s, min_events: 20}\n  rules:\n    \
        - {name: errors, kind: RATIO, bad: \"status >= 500\", window: 10s, high: {above: 50%}}\n    \
        - {name: errors-by-service, kind: RATIO, bad: \"status >= 500\", window: 10s, group_by: [service], group_limit: 10, \
        high: {above: 50%}}\n";
    deployment.write_only_rules(rules);
    let mut replica = deployment.replica("one", &[]);
    replica.wait_for_log("ingest partitions assigned", LIMIT);

    let at = now_us();
    deployment.produce(requests(at, -30, -15, 200).into_iter().chain(requests(at, -15, 0, 500)));
    let platform = sha256(r#"["platform","errors",[]]"#);
    let by_service = sha256(r#"["platform","errors-by-service",[["service","shop"]]]"#);
    eventually("both rules open", LIMIT, &mut replica, |_| {
        let told = records(&deployment, "slo-breaches");
        (told.len() >= 2).then_some(())
    });
    assert_open(&deployment, 2);
    // A crash in the middle of an episode: nothing may be said twice.
    replica.kill9();
    let mut replica = deployment.replica("one", &[]);
    // Event time has to go on after the spike, and so it does in good requests.
    let now = now_us();
    deployment.produce(requests(at, 0, (now - at) / SECOND_US + 1, 200));
    let mut next = (now - at) / SECOND_US + 1;
    let told = eventually("both rules resolve", LIMIT, &mut replica, |_| {
        let told = records(&deployment, "slo-breaches");
        let resolved = told.iter().filter(|breach| breach.value["transition"] == "RESOLVED").count();
        if resolved < 2 && at + next * SECOND_US < now_us() {
            deployment.produce(requests(at, next, next + 1, 200));
            next += 1;
        }
        (resolved >= 2).then_some(told)
    });

    let keys = by_key(&told);
    assert_eq!(keys.keys().collect::<BTreeSet<_>>(), [&platform, &by_service].into());
    for (key, told) in &keys {
        assert_eq!(transitions(told), ["OPENED", "RESOLVED"], "{told:#?}");
        for (revision, breach) in told.iter().enumerate() {
            let value = &breach.value;
            assert_eq!(value["alert_key"], **key);
            assert_eq!(value["revision"], revision);
            assert_eq!((&value["severity"], &value["priority"]), (&"high".into(), &"P1".into()));
            assert_eq!(value["episode_id"], format!("{key}/{}", value["opened_at"].as_str().unwrap()));
            assert_eq!(value["labels"]["team"], "web");
            assert_eq!(value["rule"]["threshold"], "50%");
            assert_eq!(value["stale"], false);
            assert_headers(breach);
        }
        let (opened, resolved) = (&told[0].value, &told[1].value);
        assert_eq!(opened["episode_id"], resolved["episode_id"]);
        let window = &opened["windows"][0];
        assert!(window["bad"].as_u64() > window["good"].as_u64(), "{window}");
        // From the second in which more than half of the window had failed: the sixth of fifteen.
        let bad = resolved["bad_total"].as_u64().unwrap();
        assert!((80..=120).contains(&bad), "{bad}");
        assert_eq!(resolved["resolve_reason"], "RECOVERED");
        assert!(resolved["recovered_at"].as_str() < resolved["resolved_at"].as_str());
    }
    let ids: BTreeSet<&str> = told.iter().map(|breach| breach.headers["ce_id"].as_str()).collect();
    assert_eq!(ids.len(), told.len());

    assert_latest_state(&deployment, &told);
    assert_open(&deployment, 0);
    assert_stored(&deployment, &mut replica, &told);
}

/// `slo status` says so, and its exit code.
fn assert_open(deployment: &Deployment, count: usize) {
    let output = deployment.command(&["slo", "status", "platform", "--format", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let open = status["open"].as_array().unwrap();
    assert_eq!((open.len(), output.status.code()), (count, Some(i32::from(count > 0))), "{status}");
    assert!(open.iter().all(|breach| breach["transition"] == "OPENED" && breach["resolved_at"].is_null()));
}

fn assert_headers(breach: &Told) {
    let value = &breach.value;
    let header = |name: &str| breach.headers[name].as_str();
    let kind = value["transition"].as_str().unwrap().to_lowercase();
    let rule = format!("platform/{}", value["rule"]["name"].as_str().unwrap());
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_type", &format!("dev.plimsoll.slo.breach.{kind}.v1")),
        ("ce_source", "/plimsoll/test"),
        ("ce_subject", &rule),
        ("ce_time", value["evaluated_at"].as_str().unwrap()),
        ("ce_correlationid", value["episode_id"].as_str().unwrap()),
        ("ce_partitionkey", value["alert_key"].as_str().unwrap()),
        ("ce_severitynumber", "17"),
        ("ce_severitytext", "ERROR"),
        ("content-type", "application/json"),
    ];
    for (name, text) in expected {
        assert_eq!(header(name), text, "{name}");
    }
    assert!(header("ce_recordedtime").ends_with('Z'));
    assert_eq!(header("ce_id").len(), 64);
}

/// The compacted topic ends with each key's latest, beside the heartbeats of all four shards.
pub fn assert_latest_state(deployment: &Deployment, told: &[Told]) {
    let mut latest = BTreeMap::new();
    for record in records(deployment, "slo-breach-state") {
        latest.insert(record.key.clone(), record);
    }
    for (key, told) in by_key(told) {
        let last = told.last().unwrap();
        assert_eq!(latest[&key].value, last.value);
        assert_eq!(latest[&key].headers, last.headers);
    }
    for shard in 0..4 {
        let heartbeat = &latest[&format!("heartbeat/{shard}")].value;
        assert_eq!(heartbeat["shard"], shard);
        assert!(heartbeat["log_time"].is_string() && heartbeat["open_episodes"].is_u64(), "{heartbeat}");
    }
}

fn assert_stored(deployment: &Deployment, replica: &mut crate::support::Replica, told: &[Told]) {
    let mut client = deployment.client();
    let stored = eventually("the episodes are stored", LIMIT, replica, |_| {
        let query = "select alert_key, status, revision, resolved_at is not null from plimsoll.slo_breach";
        let rows = client.query(query, &[]).ok()?;
        let rows: Vec<(String, String, i32, bool)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        (rows.len() == 2 && rows.iter().all(|row| row.1 == "RESOLVED")).then_some(rows)
    });
    assert!(stored.iter().all(|(.., revision, resolved)| *revision == 1 && *resolved), "{stored:?}");
    let query = "select episode_id, revision, transition from plimsoll.slo_breach_event";
    let events: BTreeSet<(String, i32, String)> =
        client.query(query, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let expected = told.iter().map(|breach| {
        let value = &breach.value;
        (text(&value["episode_id"]), value["revision"].as_i64().unwrap() as i32, text(&value["transition"]))
    });
    assert_eq!(events, expected.collect());
}
