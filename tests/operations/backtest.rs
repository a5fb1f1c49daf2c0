//! A backtest over the topics of a running system says what that system said.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll::generate::Generated;
use serde_json::Value;

use crate::facts::{done, eventually, records, samples};
use crate::records::{SECOND_US, arrived, now_us, request};
use crate::support::{Deployment, Replica, Settings};

const LIMIT: Duration = Duration::from_secs(60);
/// What late events change is taken in every so many seconds of log time.
const GATHERED_S: i64 = 10;

const RULES: &str = "apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: platform, labels: {team: web}}
spec:
  service: platform
  defaults: {source: request-log, hold: 2s, min_events: 20}
  rules:
    - {name: errors, kind: RATIO, bad: \"status >= 500\", window: 5s, high: {above: 50%}, critical: {above: 80%}}
    - {name: errors-by-service, kind: RATIO, bad: \"status >= 500\", window: 5s, group_by: [service], group_limit: 10, high: {above: 50%}}
";

/// Ten requests in the second that begins `second` after `at_us`, on both partitions.
fn requests(at_us: i64, second: i64, status: u16) -> Vec<Generated> {
    let at = |tenth: i64| at_us + second * SECOND_US + tenth * SECOND_US / 10;
    (0..10).map(|tenth| request((tenth % 2) as u32, at(tenth), "shop", status)).collect()
}

/// What is sent in a second: six seconds of errors, then three that forty good requests make harmless when these come
/// late, in a second of their own.
fn sent(at_us: i64, second: i64) -> Vec<Generated> {
    match second {
        6..12 | 18..21 => requests(at_us, second, 503),
        32 => {
            let late = (18..21).flat_map(|second| requests(at_us, second, 200));
            late.map(|late| arrived(late, at_us + second * SECOND_US)).collect()
        }
        _ => requests(at_us, second, 200),
    }
}

/// Sends second after second, a second apart: live, but for a shift of whole tens of seconds.
fn live(deployment: &Deployment, replica: &mut Replica, at_us: i64, seconds: i64) -> usize {
    let (mut all, began_us) = (0, now_us());
    for second in 0..seconds {
        let due_us = began_us + second * SECOND_US;
        std::thread::sleep(Duration::from_micros(u64::try_from(due_us - now_us()).unwrap_or(0)));
        let sent = sent(at_us, second);
        all += sent.len();
        deployment.produce(sent);
        eventually("a second is read", LIMIT, replica, |replica| {
            let read = samples(replica, "plimsoll_source_messages_read_total");
            (read.values().sum::<f64>() == all as f64).then_some(())
        });
    }
    std::thread::sleep(Duration::from_secs(1));
    all
}

/// Second, transition, rule and labels.
type Told = (i64, String, String, String);

/// In the order of time.
fn told<'a>(all: impl Iterator<Item = [&'a Value; 4]>) -> Vec<Told> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let at_s = |value: &Value| text(value).parse::<Timestamp>().unwrap().as_second();
    let mut told: Vec<_> = all
        .map(|[at, transition, rule, labels]| (at_s(at), text(transition), text(rule), labels.to_string()))
        .collect();
    told.sort();
    told
}

/// Equal, but for when it was that late events took something back: each shard takes them in at seconds of its own.
fn assert_told_alike(past: Vec<Told>, lived: Vec<Told>, context: &str) {
    let is_late = |told: &Told| told.1 == "RETRACTED";
    let [past, lived] = [past, lived].map(|all| {
        let (mut late, rest): (Vec<Told>, Vec<Told>) = all.into_iter().partition(is_late);
        late.sort_by(|a, b| (&a.2, &a.3, a.0).cmp(&(&b.2, &b.3, b.0)));
        (late, rest)
    });
    assert_eq!(past.1, lived.1, "{context}");
    let names = |late: &[Told]| late.iter().map(|told| (told.2.clone(), told.3.clone())).collect::<Vec<_>>();
    assert_eq!(names(&past.0), names(&lived.0), "{context}");
    for (past, lived) in past.0.iter().zip(&lived.0) {
        assert!((past.0 - lived.0).abs() <= GATHERED_S, "{past:?} for {lived:?}: {context}");
    }
}

#[test]
fn the_past_is_told_as_it_was() {
    let deployment = Deployment::start(2, &Settings::default());
    deployment.write_only_rules(RULES);
    let mut replica = deployment.replica("one", &[]);
    replica.wait_for_log("ingest partitions assigned", LIMIT);
    let at_us = (now_us() / SECOND_US - 600) * SECOND_US;
    live(&deployment, &mut replica, at_us, 45);
    let breaches = records(&deployment, "slo-breaches");
    let live = told(breaches.iter().map(|breach| {
        let value = &breach.value;
        let at = match value["transition"].as_str() {
            Some("OPENED") => &value["opened_at"],
            Some("RESOLVED") => &value["resolved_at"],
            _ => &value["evaluated_at"],
        };
        [at, &value["transition"], &value["rule"]["name"], &value["labels"]]
    }));
    let count = |transition: &str| live.iter().filter(|told| told.1 == transition).count();
    assert_eq!(["OPENED", "RESOLVED", "RETRACTED"].map(count), [4, 4, 2], "{live:#?}");
    assert!(count("UPDATED") >= 1, "{live:#?}");

    let second_s = |second: i64| at_us / SECOND_US + second;
    let moment = |second: i64| Timestamp::from_second(second_s(second)).unwrap().to_string();
    // All of it; from within an episode to within the next; an end at which late events are still to come.
    for (from, to, begin, end) in [(0, 60, 0, 45), (10, 20, 3, 45), (15, 24, 8, 45)] {
        let span = ["--from", &moment(from), "--to", &moment(to)];
        let command = [&["slo", "backtest", "--format", "json"], &span[..]].concat();
        let said = done(&deployment.command(&command));
        let report: Value = serde_json::from_str(&said).unwrap();
        let version = &report["versions"][0];
        let transitions = version["transitions"].as_array().unwrap();
        let named = |one: &Value| Value::from(one["rule"].as_str().unwrap().trim_start_matches("platform/"));
        let names: Vec<Value> = transitions.iter().map(named).collect();
        let parts = transitions.iter().zip(&names);
        let past = told(parts.map(|(one, name)| [&one["at"], &one["transition"], name, &one["labels"]]));
        let lived = live.iter().filter(|told| (second_s(from)..=second_s(to)).contains(&told.0));
        assert_told_alike(past, lived.cloned().collect(), &format!("{from} to {to}: {said}"));
        // From a window and a hold before --from on, and as long as late events may change something.
        let sent: usize = (begin..end).map(|second| sent(at_us, second).len()).sum();
        assert_eq!((&version["records"], &version["first_record"]), (&sent.into(), &moment(begin).into()));
    }
}
