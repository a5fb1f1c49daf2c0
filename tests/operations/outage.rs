//! Silence of one source, of one partition, of everything, and of ingest itself: what opens, when, and what ends.
//!
//! The events are live, for silence is judged by the clock: five a second of every partition, each sent when it happens.
//! Outages begin and end at whole seconds, so the seconds judged are exact however busy the machine is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use plimsoll::generate::Generated;
use plimsoll::kafka::{Connection, PlainProducer};

use crate::facts::{
    Subscriber, Told, eventually, heartbeats, records, samples, second_of, wait_until_judged,
};
use crate::records::{SECOND_US, now_us, prediction, price, request};
use crate::start::edit;
use crate::support::{Deployment, INPUTS, Replica, Settings};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: u32 = 2;
const IDLE_AFTER_S: i64 = 3;
const LONGEST_WINDOW_S: i64 = 6;
/// Events a second of one partition.
const RATE: i64 = 5;

const RULES: &str = "
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: platform}
spec:
  defaults: {hold: 2s, window: 5s}
  rules:
    - {name: prices-stopped,      kind: ABSENCE, source: commodity-prices, critical: {above: 6s}}
    - {name: predictions-stopped, kind: ABSENCE, source: ml-predictions,   critical: {above: 6s}}
    - {name: requests-stopped,    kind: ABSENCE, source: request-log,      critical: {above: 6s}}
    - {name: requests-gone,       kind: ABSENCE, source: request-log,      critical: {above: 16s}}
    - {name: errors, kind: RATIO, source: request-log, bad: \"status >= 500\", min_events: 5, no_data_after: 1s,
       critical: {above: 20%}}
    - {name: throughput, kind: RATE, sources: [commodity-prices, ml-predictions, request-log], warning: {below: 12/s}}
";

/// A transition, and the second of its opening, recovery and resolution.
type Step = (&'static str, i64, Option<i64>, Option<i64>);

#[test]
fn silence_opens_what_it_should_and_an_absent_ingest_opens_and_ends_nothing() {
    let more = "intervals: {provisional: 2s, checkpoint: 2s, heartbeat: 1s}\n";
    let deployment = Deployment::start(PARTITIONS, &Settings { more, ..Settings::default() });
    for topic in INPUTS {
        let times = (
            "out_of_order: 2s, lateness: 2h, idle_after: 5s",
            "out_of_order: 1s, lateness: 2h, idle_after: 3s",
        );
        edit(&deployment, &format!("sources/{topic}.yaml"), times.0, times.1);
    }
    deployment.write_only_rules(RULES);
    let mut ingest = deployment.replica("ingest", &["--role", "ingest"]);
    ingest.wait_for_log("ingest partitions assigned", LIMIT);
    let mut evaluate = deployment.replica("evaluate", &["--role", "evaluate"]);
    let begun_s = now_us().div_euclid(SECOND_US);
    let traffic = Traffic::start(&deployment.connection, begun_s - LONGEST_WINDOW_S);
    let mut watched = Watched {
        breaches: Subscriber::open(&deployment, "slo-breaches"),
        state: Subscriber::open(&deployment, "slo-breach-state"),
        expected: BTreeMap::new(),
    };
    for source in INPUTS {
        wait_until_judged(&mut watched.state, &mut evaluate, source, begun_s);
    }

    let (silent_s, back_s) = part_falls_silent(&mut watched, &traffic, &mut ingest, &mut evaluate);
    // 5 (5 - k) failures of 5 (5 - k) + 10 k requests, k s after all is well again: 3 s are a quarter, 4 s are 5 of 45.
    watched.expect("errors", ("RESOLVED", silent_s + 2, Some(back_s + 4), Some(back_s + 6)));
    // From the second judged after the first price.
    watched.expect("prices-stopped", ("RESOLVED", silent_s + 6, Some(back_s + 1), Some(back_s + 3)));
    watched.wait(&mut evaluate);

    let silent_s = all_fall_silent(&mut watched, &traffic, &mut evaluate);
    ingest.kill9();
    let back_s = traffic.change(|script, now_s| script.speak("request-log", now_s));
    assert!(back_s < silent_s + 14, "too slow a machine to tell 16 s of silence from less");
    eventually("the silence would be too long by now", LIMIT, &mut evaluate, |_| {
        (now_us() > (silent_s + 18) * SECOND_US).then_some(())
    });
    watched.assert_nothing_else();
    // What happened while nobody read is what counts, not how late it is read: the requests were never gone for 16 s.
    let mut ingest = deployment.replica("ingest", &["--role", "ingest"]);
    watched.expect("requests-stopped", ("RESOLVED", silent_s + 6, Some(back_s + 1), Some(back_s + 3)));
    watched.wait(&mut evaluate);
    wait_until_judged(&mut watched.state, &mut evaluate, "request-log", silent_s + 18);
    watched.assert_told(&records(&deployment, "slo-breaches"));
    for replica in [&mut ingest, &mut evaluate] {
        assert!(replica.terminate(Duration::from_secs(5)).success(), "{}", replica.log());
    }
}

/// Prices stop, and so does one of two partitions of the requests while those of the other fail. Then ingest stands still,
/// and meanwhile all is well again. Gives the first second of the silence and the first one after it.
fn part_falls_silent(
    watched: &mut Watched,
    traffic: &Traffic,
    ingest: &mut Replica,
    evaluate: &mut Replica,
) -> (i64, i64) {
    let silent_s = traffic.change(|script, now_s| {
        script.silence("commodity-prices", 0, now_s);
        script.silence("commodity-prices", 1, now_s);
        script.silence("request-log", 1, now_s);
        script.failing.push((now_s, i64::MAX));
    });
    // 5 of 45 failed after a second, 10 of 40 after two.
    watched.expect("errors", ("OPENED", silent_s + 2, None, None));
    watched.expect("prices-stopped", ("OPENED", silent_s + 6, None, None));
    let told = watched.wait(evaluate);
    // The silent partition was waited for, and no longer than it takes to know that it is silent.
    let errors = told.iter().find(|told| told.value["rule"]["name"] == "errors").unwrap();
    let recorded_us = errors.headers["ce_recordedtime"].parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let last_us = silent_s * SECOND_US - SECOND_US / RATE;
    assert!(recorded_us >= last_us + IDLE_AFTER_S * SECOND_US, "{errors:#?}");

    ingest.pause();
    let back_s = traffic.change(|script, now_s| {
        script.speak("commodity-prices", now_s);
        script.speak("request-log", now_s);
    });
    let frozen = heartbeats(watched.state.told());
    eventually("evaluate says how long it has heard nothing", LIMIT, evaluate, |replica| {
        let delays = samples(replica, "plimsoll_source_watermark_delay_seconds");
        (delays.len() == 3 * 4 && delays.values().all(|delay| *delay > 8.0)).then_some(())
    });
    watched.assert_nothing_else();
    // A subscriber tells "nothing is wrong" from "nobody looks" by these.
    for (shard, beat) in heartbeats(watched.state.told()) {
        let log_s = second_of(beat["log_time"].as_str().unwrap());
        assert!(log_s <= second_of(frozen[&shard]["log_time"].as_str().unwrap()) + 1, "{beat} {frozen:?}");
    }
    ingest.resume();
    (silent_s, back_s)
}

/// Two seconds of failures, then nothing from anywhere. Gives the first second of the silence.
fn all_fall_silent(watched: &mut Watched, traffic: &Traffic, evaluate: &mut Replica) -> i64 {
    let failing_s = traffic.change(|script, now_s| {
        script.failing.push((now_s, i64::MAX));
        for topic in INPUTS {
            (0..PARTITIONS).for_each(|partition| script.silence(topic, partition, now_s + 2));
        }
    });
    let silent_s = failing_s + 2;
    // 20 of 50 failed. From 5 s of silence on there is nothing to judge, for longer than a second at the sixth.
    watched.expect("errors", ("OPENED", silent_s, None, None));
    watched.expect("errors", ("RESOLVED", silent_s, Some(silent_s + 5), Some(silent_s + 6)));
    // 60 events are left of 5 s after three of silence, 30 after four.
    watched.expect("throughput", ("OPENED", silent_s + 4, None, None));
    for rule in ["prices-stopped", "predictions-stopped", "requests-stopped"] {
        watched.expect(rule, ("OPENED", silent_s + 6, None, None));
    }
    let told = watched.wait(evaluate);
    let timed_out = told.iter().filter(|told| told.value["resolve_reason"] == "NO_DATA_TIMEOUT");
    assert_eq!(timed_out.map(rule).collect::<Vec<_>>(), ["errors"]);
    silent_s
}

fn rule(told: &Told) -> String {
    told.value["rule"]["name"].as_str().unwrap().to_owned()
}

/// What has been told, against all that should have been.
struct Watched {
    breaches: Subscriber,
    state: Subscriber,
    expected: BTreeMap<String, Vec<Step>>,
}

impl Watched {
    /// A rule is to say this next.
    fn expect(&mut self, rule: &str, step: Step) {
        self.expected.entry(rule.to_owned()).or_default().push(step);
    }

    /// Waits until as much has been told as is expected, and gives it: then all of it must be as expected.
    fn wait(&mut self, replica: &mut Replica) -> Vec<Told> {
        let count = self.expected.values().flatten().count();
        eventually("all transitions that should be", LIMIT, replica, |_| {
            (self.breaches.told().len() >= count).then_some(())
        });
        self.assert_nothing_else();
        self.breaches.told().to_vec()
    }

    fn assert_nothing_else(&mut self) {
        let told = self.breaches.told().to_vec();
        self.assert_told(&told);
    }

    /// `told` is what is expected and nothing else, each transition once.
    fn assert_told(&self, told: &[Told]) {
        let mut found: BTreeMap<String, Vec<Step>> = BTreeMap::new();
        for told in told {
            found.entry(rule(told)).or_default().push(step(told));
        }
        assert_eq!(found, self.expected, "{told:#?}");
        let ids: BTreeSet<&str> = told.iter().map(|told| told.headers["ce_id"].as_str()).collect();
        assert_eq!(ids.len(), told.len());
    }
}

fn step(told: &Told) -> Step {
    let at = |name: &str| told.value[name].as_str().map(second_of);
    let transitions = ["OPENED", "UPDATED", "RESOLVED", "RETRACTED"];
    let transition = transitions.into_iter().find(|word| told.value["transition"] == *word).unwrap();
    (transition, at("opened_at").unwrap(), at("recovered_at"), at("resolved_at"))
}

/// Live events of all partitions, sent by a thread of its own until this is dropped.
struct Traffic {
    script: Arc<Mutex<Script>>,
    thread: Option<JoinHandle<()>>,
}

/// Which seconds hold what. Nothing is said of a second that has begun.
#[derive(Default)]
struct Script {
    /// Topic, partition, and the seconds `[from, to)` without events.
    silent: Vec<(&'static str, u32, i64, i64)>,
    /// Seconds `[from, to)` in which requests fail.
    failing: Vec<(i64, i64)>,
    is_over: bool,
}

impl Script {
    fn silence(&mut self, topic: &'static str, partition: u32, from_s: i64) {
        self.silent.push((topic, partition, from_s, i64::MAX));
    }

    /// Ends the silence of all partitions of a topic, and with it the failures.
    fn speak(&mut self, topic: &str, from_s: i64) {
        for (_, _, _, to_s) in
            self.silent.iter_mut().filter(|silence| silence.0 == topic && silence.3 == i64::MAX)
        {
            *to_s = from_s;
        }
        for (_, to_s) in self.failing.iter_mut().filter(|failing| failing.1 == i64::MAX) {
            *to_s = from_s;
        }
    }

    /// The event of a partition at `at_us`.
    fn event(&self, topic: &'static str, partition: u32, at_us: i64) -> Option<Generated> {
        let second = at_us.div_euclid(SECOND_US);
        let is_silent = |silence: &&(&str, u32, i64, i64)| {
            (silence.0, silence.1) == (topic, partition) && (silence.2..silence.3).contains(&second)
        };
        if self.silent.iter().any(|silence| is_silent(&silence)) {
            return None;
        }
        let fails = self.failing.iter().any(|(from_s, to_s)| (*from_s..*to_s).contains(&second));
        Some(match topic {
            "commodity-prices" => price(partition, at_us),
            "ml-predictions" => prediction(partition, at_us),
            _ => request(partition, at_us, "shop", if fails { 500 } else { 200 }),
        })
    }
}

impl Traffic {
    /// From `from_s` on, at once what is past by now.
    fn start(connection: &Connection, from_s: i64) -> Traffic {
        let producer = PlainProducer::open(connection, "test-traffic").unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let of_thread = Arc::clone(&script);
        let every_us = SECOND_US / RATE;
        let mut next_us = from_s * SECOND_US;
        let thread = std::thread::spawn(move || {
            loop {
                let script = of_thread.lock().unwrap();
                if script.is_over {
                    return;
                }
                while next_us <= now_us() {
                    let all = INPUTS.iter().flat_map(|topic| (0..PARTITIONS).map(move |p| (*topic, p)));
                    for record in all.filter_map(|(topic, partition)| script.event(topic, partition, next_us))
                    {
                        let partition = record.partition as i32;
                        producer
                            .send(record.topic, partition, None, &record.payload, record.timestamp_ms)
                            .unwrap();
                    }
                    next_us += every_us;
                }
                drop(script);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Traffic { script, thread: Some(thread) }
    }

    /// Changes what happens from the next second on, which it is given and gives.
    fn change(&self, change: impl FnOnce(&mut Script, i64)) -> i64 {
        let mut script = self.script.lock().unwrap();
        let next_s = now_us().div_euclid(SECOND_US) + 1;
        change(&mut script, next_s);
        next_s
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Ok(mut script) = self.script.lock() {
            script.is_over = true;
        }
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
