//! A backtest over the topics of a running system says what that system said.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll::generate::Generated;
use serde_json::Value;

use crate::facts::{done, eventually, records};
use crate::records::{SECOND_US, now_us, request};
use crate::support::{Deployment, Settings};

const LIMIT: Duration = Duration::from_secs(60);

const RULES: &str = "apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: platform, labels: {team: web}}
spec:
  service: platform
  defaults: {source: request-log, hold: 3s, min_events: 20}
  rules:
    - {name: errors, kind: RATIO, bad: \"status >= 500\", window: 10s, high: {above: 50%}}
    - {name: errors-by-service, kind: RATIO, bad: \"status >= 500\", window: 10s, group_by: [service], group_limit: 10, high: {above: 50%}}
";

/// Ten requests a second on both partitions.
fn requests(at_us: i64, from: i64, to: i64, status: u16) -> impl Iterator<Item = Generated> {
    let at = move |tenth: i64| request((tenth % 2) as u32, at_us + tenth * SECOND_US / 10, "shop", status);
    (from * 10..to * 10).map(at)
}

/// Rule, transition, when, and labels.
fn told<'a>(values: impl Iterator<Item = [&'a Value; 4]>) -> Vec<(String, String, i64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let at_s = |value: &Value| text(value).parse::<Timestamp>().unwrap().as_second();
    let mut told: Vec<_> = values
        .map(|[rule, transition, at, labels]| (text(rule), text(transition), at_s(at), labels.to_string()))
        .collect();
    told.sort();
    told
}

#[test]
fn the_past_is_told_as_it_was() {
    let deployment = Deployment::start(2, &Settings::default());
    deployment.write_only_rules(RULES);
    let at_us = (now_us() / SECOND_US - 600) * SECOND_US;
    let first = requests(at_us, 0, 60, 200).chain(requests(at_us, 60, 90, 503));
    let second = requests(at_us, 90, 150, 200).chain(requests(at_us, 150, 157, 503));
    deployment.produce(first.chain(second).chain(requests(at_us, 157, 240, 200)));
    let mut replica = deployment.replica("one", &[]);
    let live = eventually("both rules open and resolve twice", LIMIT, &mut replica, |_| {
        let told = records(&deployment, "slo-breaches");
        (told.len() >= 8).then_some(told)
    });
    let live = told(live.iter().map(|breach| {
        let value = &breach.value;
        let at = match value["transition"].as_str() {
            Some("OPENED") => &value["opened_at"],
            _ => &value["resolved_at"],
        };
        [&value["rule"]["name"], &value["transition"], at, &value["labels"]]
    }));

    let moment = |second: i64| Timestamp::from_microsecond(at_us + second * SECOND_US).unwrap().to_string();
    let (from, to) = (moment(30), moment(230));
    let said =
        done(&deployment.command(&["slo", "backtest", "--from", &from, "--to", &to, "--format", "json"]));
    let report: Value = serde_json::from_str(&said).unwrap();
    let version = &report["versions"][0];
    let transitions = version["transitions"].as_array().unwrap();
    let named = |one: &Value| Value::from(one["rule"].as_str().unwrap().trim_start_matches("platform/"));
    let names: Vec<Value> = transitions.iter().map(named).collect();
    let parts = transitions.iter().zip(&names);
    let past = told(parts.map(|(one, name)| [name, &one["transition"], &one["at"], &one["labels"]]));
    assert_eq!(past, live, "{said}");
    // From a window before --from on, and not from the beginning.
    assert_eq!((&version["records"], &version["first_record"]), (&2_200.into(), &moment(20).into()));
}
