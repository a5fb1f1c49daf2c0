//! P3: the same log makes the same outputs, whatever crashes in between.

use plimsoll::core::expr::Condition;
use plimsoll::core::rules::Rules;
use plimsoll::core::shard::Shard;
use plimsoll::core::shard::checkpoint::{ChangelogRecord, Checkpointer, Restore};
use plimsoll::core::source::{Aggregate, Column};
use plimsoll::generate::{PerTopic, Volume, WorkloadOptions};
use plimsoll::wire::output::OutputRecord;
use std::collections::BTreeMap;

use super::asks::{Ask, By, Feed, What};
use super::evaluation::{Evaluator, OPTIONS, evaluate};
use super::hits::{BILLION, Hit, Which, arrivals, rules_of};
use super::oracle::Level;
use super::scenario::hit;
use super::simulation::{Chance, Ingest, Setup};
use super::workload::{HOUR_US, MINUTE_US, SECOND_US, START_US, generated, with_alerts};

/// Few events make an answer, so that sparse groups open and close, are forgotten and come back.
const ALERTS: &str = r#"
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: test}
spec:
  defaults: {source: request-log, window: 10m, hold: 1m}
  rules:
    - name: by-route
      kind: RATIO
      bad: "status != 200"
      group_by: [service, route]
      group_limit: 500
      warning: {above: 5%}
    - name: overall
      kind: RATIO
      bad: "status != 200"
      warning: {above: 15%, for: 1m}
      critical: {above: 40%, window: 2m}
"#;

/// A log of five hours, with rules that change and change back: hours are finished and dropped on the way.
fn log(seed: u64) -> Vec<Vec<u8>> {
    let rules = with_alerts(ALERTS);
    let per_topic = PerTopic { prices: 2, predictions: 2, requests: 2 };
    let arrivals = generated(WorkloadOptions {
        seed,
        start_us: START_US,
        span_us: 5 * HOUR_US,
        volume: Volume::Events(700),
        shares: PerTopic { prices: 0.1, predictions: 0.1, requests: 0.8 },
        partitions: per_topic,
        late_share: 0.05,
        users: 50,
        ..WorkloadOptions::default()
    });
    let setup = Setup { seed, workers: 2, shards: 1, partitions: 2, mishaps: true };
    let mut ingest = Ingest::new(setup, rules.clone(), &arrivals, START_US);
    for version in [changed(&rules), rules] {
        let until_us = ingest.now_us + 100 * MINUTE_US;
        ingest.run(until_us, 4 * MINUTE_US);
        ingest.apply_rules(version);
        for worker in 0..2 {
            ingest.adopt(worker);
            ingest.run(ingest.now_us + 10 * MINUTE_US, 3 * MINUTE_US);
        }
    }
    ingest.run(START_US + 5 * HOUR_US, 4 * MINUTE_US);
    ingest.settle(START_US + 7 * HOUR_US);
    ingest.logs.remove(0)
}

/// A column more, a threshold less.
fn changed(rules: &Rules) -> Rules {
    let mut rules = rules.clone();
    let requests = rules.sources.iter_mut().find(|source| source.name == "request-log").expect("it ships");
    let column = Column { name: "again_count".into(), aggregate: Aggregate::Count(Condition::True) };
    requests.rollups[0].columns.push(column);
    rules.alerts[0].levels[0].threshold_billionths /= 2;
    rules
}

/// The changelog as compaction leaves it.
#[derive(Default)]
struct Changelog(BTreeMap<Vec<u8>, Vec<u8>>);

impl Changelog {
    fn write(&mut self, slice: Vec<ChangelogRecord>) {
        for ChangelogRecord { key, value } in slice {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    fn restore(&self) -> (Evaluator, Checkpointer) {
        let mut restore = Restore::default();
        self.0.iter().for_each(|(key, value)| restore.take(key, Some(value)));
        let (shard, checkpointer) = restore.finish(0, OPTIONS).expect("a changelog that reads");
        (Evaluator::new(shard.unwrap_or_else(|| Shard::new(0, OPTIONS))), checkpointer)
    }

    /// What counts of each entry, once a cycle is whole: keys end with a slot, values begin with format and cycle.
    fn state(&self) -> BTreeMap<&[u8], &[u8]> {
        let mut newest: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for (key, value) in &self.0 {
            let known = newest.entry(&key[..key.len() - 1]).or_insert(value);
            if known[1..9] < value[1..9] {
                *known = value;
            }
        }
        newest.retain(|_, value| value.len() > 9);
        newest.into_iter().map(|(key, value)| (key, &value[9..])).collect()
    }
}

/// Finishes the cycle that is being written, then writes another one whole.
fn checkpoint(evaluator: &mut Evaluator, checkpointer: &mut Checkpointer, changelog: &mut Changelog) {
    for _ in 0..2 {
        checkpointer.begin(&mut evaluator.shard).expect("a state that encodes");
        while checkpointer.is_writing() {
            changelog.write(checkpointer.next_slice(1 << 20).expect("a state that encodes"));
        }
    }
}

#[test]
fn the_same_log_says_the_same_to_the_byte() {
    let log = log(1);
    let once = evaluate(std::slice::from_ref(&log));
    assert!(once[0].len() > 500);
    assert!(once == evaluate(std::slice::from_ref(&log)), "P3: a replay differs");
}

#[test]
fn crashes_change_nothing() {
    let log = log(2);
    let mut whole = Evaluator::new(Shard::new(0, OPTIONS));
    let expected: Vec<Vec<OutputRecord>> =
        (0..).zip(&log).map(|(offset, record)| whole.apply(offset, record)).collect();
    let mut expected_state = Changelog::default();
    checkpoint(&mut whole, &mut Checkpointer::default(), &mut expected_state);
    let (mut crashes, mut restored) = (0, 0);
    for seed in 1..=3 {
        let mut chance = Chance::new(seed);
        let mut changelog = Changelog::default();
        let (mut evaluator, mut checkpointer) = changelog.restore();
        let (slice_bytes, slices) = chance.pick(&[(1, 60), (300, 8), (2_000, 2), (100_000, 2)]);
        loop {
            let offset = (evaluator.shard.version() + 1) as usize;
            let Some(record) = log.get(offset) else { break };
            let said = evaluator.apply(offset as i64, record);
            assert!(
                said == expected[offset],
                "P3: seed {seed}, offset {offset}: said otherwise after a crash"
            );
            if chance.percent(20) {
                checkpointer.begin(&mut evaluator.shard).expect("a state that encodes");
            }
            for _ in 0..chance.below(slices) {
                changelog.write(checkpointer.next_slice(slice_bytes).expect("a state that encodes"));
            }
            while chance.percent(8) {
                (evaluator, checkpointer) = changelog.restore();
                crashes += 1;
                restored += u32::from(evaluator.shard.version() > 0);
                for _ in 0..chance.below(10) {
                    changelog.write(checkpointer.next_slice(slice_bytes).expect("a state that encodes"));
                }
            }
        }
        checkpoint(&mut evaluator, &mut checkpointer, &mut changelog);
        let (state, wanted) = (changelog.state(), expected_state.state());
        let differing: Vec<_> =
            wanted.keys().chain(state.keys()).filter(|k| wanted.get(*k) != state.get(*k)).collect();
        assert!(
            differing.is_empty(),
            "P3: seed {seed}: {} of {} entries differ",
            differing.len(),
            wanted.len()
        );
        assert_eq!(evaluator.shard.open_episodes(), whole.shard.open_episodes());
    }
    assert!(crashes > 20 && restored > 20, "{crashes} crashes, {restored} restored a checkpoint");
}

/// Rules that fill more than one record; and one on how long hits took, whose counts of a host do the same.
fn large_rules() -> Rules {
    let level = Level {
        name: "high".into(),
        above: true,
        threshold_billionths: 200 * BILLION,
        window_s: 60,
        short_window_s: None,
        for_s: 0,
        min_events: 0,
        min_bad: 0,
        min_coverage_billionths: 0,
    };
    let took = Ask {
        name: "took".into(),
        what: What::Took(900_000),
        feeds: vec![Feed { source: 0, filter: Which::All, bad: Which::None }],
        by: vec![By::Host],
        levels: vec![level],
        hold_s: 5,
        no_data_after_s: 30,
        correct_within_s: 600,
    };
    let lag = |at: usize| Ask {
        name: format!("lag-{at:03}"),
        what: What::Lag { in_messages: true },
        by: Vec::new(),
        ..took.clone()
    };
    // Each keeps the values of what it counts.
    let took =
        [Which::All, Which::NotMissing, Which::On("ash")].into_iter().enumerate().map(|(at, filter)| {
            let feeds = vec![Feed { filter, ..took.feeds[0] }];
            Ask { name: format!("took-{at}"), feeds, ..took.clone() }
        });
    let asks: Vec<Ask> = (0..100).map(lag).chain(took).collect();
    let mut rules = rules_of(&asks, SECOND_US, 2 * SECOND_US);
    rules.alerts.iter_mut().for_each(|rule| rule.summary = Some("{value}".repeat(500)));
    rules
}

/// One host is busy for a while and then gone, another goes on.
fn large_log() -> Vec<Vec<u8>> {
    let took = |second: i64, n: i64| {
        let at_us = START_US + second * SECOND_US;
        let took_us = 1_000 + (second * 7_919 + n * 104_729) % 399_000;
        Hit { took_us: Some(took_us), ..hit(0, 0, at_us) }
    };
    let busy = (0..700).flat_map(|second| (0..250).map(move |n| took(second, n)));
    let other = (0..1_700).step_by(5).map(|second| Hit { host: "elm", ..took(second, 0) });
    let hits: Vec<Hit> = busy.chain(other).collect();
    let setup = Setup { seed: 1, workers: 1, shards: 1, partitions: 1, mishaps: false };
    let mut ingest = Ingest::new(setup, large_rules(), &arrivals(&hits), START_US);
    ingest.run(START_US + 1_700 * SECOND_US, 60 * SECOND_US);
    ingest.catch_up();
    ingest.logs.remove(0)
}

/// Pieces are written, counted, cut short by a crash, overwritten by fewer, and swept away as whole entries are.
#[test]
fn crashes_change_nothing_of_what_is_cut_into_pieces() {
    let log = large_log();
    let mut whole = Evaluator::new(Shard::new(0, OPTIONS));
    let expected: Vec<Vec<OutputRecord>> =
        (0..).zip(&log).map(|(offset, record)| whole.apply(offset, record)).collect();
    let (mut restored, mut most) = (0, 0);
    for seed in 1..=1 {
        let mut chance = Chance::new(seed);
        let mut changelog = Changelog::default();
        let (mut evaluator, mut checkpointer) = changelog.restore();
        loop {
            let offset = (evaluator.shard.version() + 1) as usize;
            let Some(record) = log.get(offset) else { break };
            let said = evaluator.apply(offset as i64, record);
            assert!(said == expected[offset], "P3: seed {seed}, offset {offset}: said otherwise");
            if chance.percent(50) {
                checkpointer.begin(&mut evaluator.shard).expect("a state that encodes");
            }
            for _ in 0..chance.below(10) {
                changelog.write(checkpointer.next_slice(1).expect("a state that encodes"));
            }
            most = most.max(changelog.0.len());
            if chance.percent(15) {
                (evaluator, checkpointer) = changelog.restore();
                restored += u32::from(evaluator.shard.version() > 0);
            }
        }
        checkpoint(&mut evaluator, &mut checkpointer, &mut changelog);
        let (again, _) = changelog.restore();
        assert_eq!(again.shard.version(), evaluator.shard.version());
        // The rules, and the host that goes on: in either slot.
        assert!(most >= 9 && changelog.0.len() < 7, "{} of {most} records left", changelog.0.len());
    }
    assert!(restored > 3, "{restored} restored a checkpoint");
}
