//! Incidents of every shape, told once: when they open, how they change, when they end, and what late events take back.
//!
//! The events are a day old, so nothing but their own times moves the judging on: all seconds below are exact. They are
//! counted from the first event. Each step brings what a subscriber must see before the next one begins.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll::generate::Generated;

use crate::breach::{assert_latest_state, by_key};
use crate::facts::{Subscriber, Told, eventually, records, second_of, wait_until_judged};
use crate::records::{DAY_US, MINUTE_US, SECOND_US, hour_of, now_us, request};
use crate::support::{Deployment, Replica, Settings};

const LIMIT: Duration = Duration::from_secs(60);

const RULES: &str = "
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: platform}
spec:
  defaults: {source: request-log, window: 10s, hold: 5s}
  rules:
    - {name: errors, kind: RATIO, where: \"service == 'shop'\", bad: \"status >= 500\", min_events: 20,
       critical: {above: 50%}, warning: {above: 10%}}
    - {name: crashes, kind: COUNT, where: \"service == 'jobs'\", critical: {above: 3}}
    - {name: feed-low, kind: RATE, where: \"service == 'feed'\", warning: {below: 5/s}}
    - {name: cron-silent, kind: ABSENCE, where: \"service == 'cron'\", high: {above: 20s}}
    - {name: by-service, kind: RATIO, where: \"service in ['pay', 'mail']\", bad: \"status >= 500\", min_events: 10,
       hold: 20s, group_by: [service], group_limit: 10, high: {above: 20%}}
";

/// A transition, its revision and severity, and the second of its onset, opening, recovery and resolution.
type Step = (&'static str, u64, &'static str, i64, i64, Option<i64>, Option<i64>);

/// What each rule says of the events below, by the arithmetic of its window of 10 s and `hold` of 5 s: an untrue run of
/// 6 s ends what it began in.
const EXPECTED: [(&str, &[Step]); 6] = [
    // From second 60 to 69 all ten of ten a second fail. n s of failures are n/10 of the window: 20 % at 62, 60 % at 66,
    // 50 % again at 75, 10 % at 79.
    (
        "errors",
        &[
            ("OPENED", 0, "warning", 62, 62, None, None),
            ("UPDATED", 1, "critical", 62, 62, None, None),
            ("UPDATED", 2, "warning", 62, 62, None, None),
            ("RESOLVED", 3, "warning", 62, 62, Some(79), Some(84)),
        ],
    ),
    // Seconds 126, 127, 128 and 131 hold one each; four are too many until 126 leaves the window, at 137.
    (
        "crashes",
        &[
            ("OPENED", 0, "critical", 132, 132, None, None),
            ("RESOLVED", 1, "critical", 132, 132, Some(137), Some(142)),
        ],
    ),
    // 8 a second but from 100 to 109. Six seconds of them are 48 in 10 s, at 104 and at 116; seven are 56, at 117.
    (
        "feed-low",
        &[
            ("OPENED", 0, "warning", 104, 104, None, None),
            ("RESOLVED", 1, "warning", 104, 104, Some(117), Some(122)),
        ],
    ),
    // One a second but from 61 to 99, until one of 80 comes late: 19 s are no silence of 20.
    (
        "cron-silent",
        &[
            ("OPENED", 0, "high", 81, 81, None, None),
            ("RESOLVED", 1, "high", 81, 81, Some(101), Some(106)),
            ("RETRACTED", 2, "high", 81, 81, Some(101), Some(106)),
        ],
    ),
    // Ten failures in second 62 beside 10 requests in 10 s are half; with 30 good ones that come late they are 20 %,
    // which is not above 20 %.
    (
        "by-service pay",
        &[
            ("OPENED", 0, "high", 63, 63, None, None),
            ("RESOLVED", 1, "high", 63, 63, Some(73), Some(93)),
            ("RETRACTED", 2, "high", 63, 63, Some(73), Some(93)),
        ],
    ),
    // The same in second 130, and the good ones come while it is open.
    (
        "by-service mail",
        &[("OPENED", 0, "high", 131, 131, None, None), ("RETRACTED", 1, "high", 131, 131, None, None)],
    ),
];

#[test]
fn every_transition_is_told_once_at_its_second_and_late_events_take_back() {
    let more = "intervals: {provisional: 2s, checkpoint: 2s, heartbeat: 1s}\n";
    let deployment = Deployment::start(2, &Settings { more, ..Settings::default() });
    deployment.write_only_rules(RULES);
    let mut replica = deployment.replica("one", &[]);
    replica.wait_for_log("ingest partitions assigned", LIMIT);
    let breaches = Subscriber::open(&deployment, "slo-breaches");
    let mut day = Day { deployment, breaches, base_us: hour_of(now_us() - DAY_US) + 10 * MINUTE_US };

    day.play(0..63);
    day.wait_for(&mut replica, "errors", 1);
    day.play(63..68);
    day.wait_for(&mut replica, "errors", 2);
    day.wait_for(&mut replica, "by-service pay", 1);
    // A crash with two episodes open: nothing may be said twice, and nothing be forgotten.
    replica.kill9();
    replica = day.deployment.replica("one", &[]);
    day.play(68..85);
    day.wait_for(&mut replica, "errors", 3);
    day.wait_for(&mut replica, "cron-silent", 1);
    day.play(85..112);
    for (rule, transitions) in [("errors", 4), ("by-service pay", 2), ("feed-low", 1), ("cron-silent", 2)] {
        day.wait_for(&mut replica, rule, transitions);
    }

    // Two episodes are over when what shows that they never were comes in.
    day.produce((0..30).map(|n| request(0, day.at(62, 30 * n), "pay", 200)).collect());
    day.produce(vec![request(0, day.at(80, 250), "cron", 200)]);
    day.play(112..130);
    for (rule, transitions) in [("by-service pay", 3), ("feed-low", 2), ("cron-silent", 3)] {
        day.wait_for(&mut replica, rule, transitions);
    }

    // A COUNT waits for nothing: partition 0 has not come as far.
    day.produce(vec![request(1, day.at(131, 500), "jobs", 500)]);
    day.wait_for(&mut replica, "crashes", 1);
    day.play(130..138);
    day.wait_for(&mut replica, "by-service mail", 1);
    day.produce((0..30).map(|n| request(0, day.at(130, 30 * n), "mail", 200)).collect());
    day.play(138..158);
    day.wait_for(&mut replica, "by-service mail", 2);
    // What mail would have resolved at is long past in the end, and nothing more was said.
    day.play(158..175);
    let mut state = Subscriber::open(&day.deployment, "slo-breach-state");
    wait_until_judged(&mut state, &mut replica, "request-log", day.second(172));
    day.assert_all();
}

/// A deployment that replays a day-old stretch of requests.
struct Day {
    deployment: Deployment,
    breaches: Subscriber,
    base_us: i64,
}

impl Day {
    fn at(&self, second: i64, millis: i64) -> i64 {
        self.base_us + second * SECOND_US + millis * SECOND_US / 1_000
    }

    /// In seconds since 1970.
    fn second(&self, second: i64) -> i64 {
        self.at(second, 0) / SECOND_US
    }

    fn produce(&self, records: Vec<Generated>) {
        self.deployment.produce(records);
    }

    /// Brings the seconds `from..to` on both partitions alike.
    fn play(&self, seconds: std::ops::Range<i64>) {
        self.produce(seconds.flat_map(|second| self.requests(second)).collect());
    }

    fn requests(&self, second: i64) -> Vec<Generated> {
        let partition = |n: i64| (n % 2) as u32;
        let mut all: Vec<(i64, u32, &str, u16)> = Vec::new();
        let status = if (60..70).contains(&second) { 500 } else { 200 };
        all.extend((0..10).map(|n| (100 * n, partition(n), "shop", status)));
        if !(100..110).contains(&second) {
            all.extend((0..8).map(|n| (100 * n + 10, partition(n), "feed", 200)));
        }
        if !(61..100).contains(&second) {
            all.push((500, 0, "cron", 200));
        }
        if (126..=128).contains(&second) {
            all.push((500, 1, "jobs", 500));
        }
        for (service, fails) in [("pay", 62), ("mail", 130)] {
            all.push((520, 1, service, 200));
            let failures = if second == fails { 10 } else { 0 };
            all.extend((0..failures).map(|n| (600 + n, partition(n), service, 500)));
        }
        all.sort_unstable();
        let at = |(millis, partition, service, status)| {
            request(partition, self.at(second, millis), service, status)
        };
        all.into_iter().map(at).collect()
    }

    fn wait_for(&mut self, replica: &mut Replica, rule: &str, transitions: usize) {
        eventually(&format!("{transitions} transitions of {rule}"), LIMIT, replica, |_| {
            let count = self.breaches.told().iter().filter(|told| name(told) == rule).count();
            (count >= transitions).then_some(())
        });
    }

    fn assert_all(&self) {
        let told = records(&self.deployment, "slo-breaches");
        let mut found: BTreeMap<String, Vec<Step>> = BTreeMap::new();
        for breach in by_key(&told).into_values().flatten() {
            found.entry(name(breach)).or_default().push(self.step(breach));
        }
        let expected = EXPECTED.iter().map(|(rule, steps)| ((*rule).to_owned(), steps.to_vec())).collect();
        assert_eq!(found, expected, "{told:#?}");
        let ids: BTreeSet<&str> = told.iter().map(|breach| breach.headers["ce_id"].as_str()).collect();
        assert_eq!(ids.len(), told.len());
        for breach in &told {
            // Nobody is to be paged for yesterday.
            assert_eq!(breach.value["stale"], true, "{breach:#?}");
        }
        self.assert_counts(&told);
        assert_latest_state(&self.deployment, &told);
    }

    fn step(&self, breach: &Told) -> Step {
        let value = &breach.value;
        let at = |name: &str| value[name].as_str().map(|text| second_of(text) - self.second(0));
        let transitions = ["OPENED", "UPDATED", "RESOLVED", "RETRACTED"];
        let severities = ["critical", "high", "warning", "low"];
        let word =
            |words: &[&'static str], name: &str| *words.iter().find(|word| value[name] == **word).unwrap();
        (
            word(&transitions, "transition"),
            value["revision"].as_u64().unwrap(),
            word(&severities, "severity"),
            at("onset_at").unwrap(),
            at("opened_at").unwrap(),
            at("recovered_at"),
            at("resolved_at"),
        )
    }

    /// The numbers that transitions rest on.
    fn assert_counts(&self, told: &[Told]) {
        let of = |rule: &str, transition: &str| {
            let found = told.iter().find(|told| name(told) == rule && told.value["transition"] == transition);
            &found.unwrap().value
        };
        let crash = of("crashes", "OPENED");
        let window = &crash["windows"][0];
        assert_eq!(
            (window["total"].as_u64(), window["duration_s"].as_i64()),
            (Some(4), Some(10)),
            "{crash:#}"
        );
        let judged_s = second_of(crash["completeness"]["watermark"].as_str().unwrap());
        // Neither partition 0 nor the clock had to go on for it.
        assert_eq!(
            (judged_s, &crash["completeness"]["is_final"]),
            (self.second(127), &false.into()),
            "{crash:#}"
        );
        // Those of second 60 came before the line was crossed.
        assert_eq!(of("errors", "RESOLVED")["bad_total"], 90);
        assert_eq!(of("by-service pay", "RESOLVED")["bad_total"], 10);
        let retracted = of("by-service mail", "RETRACTED");
        assert_eq!(retracted["completeness"]["is_final"], true, "{retracted:#}");
        assert_eq!(retracted["resolve_reason"], serde_json::Value::Null);
    }
}

/// A rule, and the service it speaks of where it has groups.
fn name(breach: &Told) -> String {
    let rule = breach.value["rule"]["name"].as_str().unwrap();
    match breach.value["labels"]["service"].as_str() {
        Some(service) => format!("{rule} {service}"),
        None => rule.to_owned(),
    }
}
