//! A whole deployment in one thread: the real fold, shard, checkpoints and restore around models of Kafka and Postgres.
//!
//! A seed draws the traffic and a list of actions: steps of processes, kills, twins under one name, members taken for
//! dead, answers that get lost, transactions whose ends arrive partition by partition. After each of them `audit`
//! looks at all that was committed; in the end everything is counted by hand. A seed that fails is shrunk to the
//! actions that matter, and says how to run it again.
//!
//! `PLIMSOLL_TEST_SEED=0-999999 cargo test --release --test simulation` runs a million.

mod action;
mod audit;
mod broker;
mod bug;
mod chance;
mod database;
mod evaluate;
mod group;
mod ingest;
#[path = "../oracle/mod.rs"]
mod oracle;
mod process;
mod rules;
mod shrink;
mod store;
#[expect(dead_code, reason = "only what was announced counts here, not what is told beside")]
#[path = "../pipeline/story.rs"]
mod story;
mod traffic;
mod world;

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use action::{Action, schedule};
use bug::Bug;
use chance::Chance;
use world::{NAMES, World};

/// Names the one seed to run, or the first and the last.
const SEED: &str = "PLIMSOLL_TEST_SEED";
const SEEDS: RangeInclusive<u64> = 0..=1_999;
/// A planted mistake is found within so many seeds.
const SEEDS_TO_FIND: u64 = 2_000;

/// Runs the actions and lets all come to rest.
fn run(seed: u64, actions: &[Action], bug: Option<Bug>) -> Result<(), String> {
    let mut world = World::new(seed, bug);
    actions.iter().try_for_each(|action| world.act(*action))?;
    world.settle(&mut Chance::new(!seed))
}

fn actions(seed: u64) -> Vec<Action> {
    schedule(&mut Chance::new(seed ^ 0x5eed), NAMES.len() as u64)
}

/// What is wrong with a seed, with the fewest actions that show it.
fn explain(seed: u64, bug: Option<Bug>) -> String {
    let all = actions(seed);
    let least = shrink::shrink(all.clone(), |fewer| run(seed, fewer, bug).is_err());
    let wrong = run(seed, &least, bug).expect_err("it failed before");
    let steps: Vec<String> = least.iter().map(|action| format!("  {action:?}")).collect();
    format!(
        "seed {seed}: {wrong}\n{} of {} actions show it:\n{}\nagain: {SEED}={seed} cargo test --test simulation",
        least.len(),
        all.len(),
        steps.join("\n"),
    )
}

/// Runs seeds on all cores until one fails; gives the first that did.
fn first_failure(seeds: RangeInclusive<u64>, bug: Option<Bug>) -> Option<u64> {
    let (next, failed) = (AtomicU64::new(*seeds.start()), Mutex::new(None));
    let (stop, began) = (AtomicBool::new(false), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > *seeds.end() {
                        return;
                    }
                    if seed % 10_000 == 9_999 {
                        let done = seed - seeds.start();
                        let rate = done as f64 / began.elapsed().as_secs_f64();
                        eprintln!("{done} seeds, {rate:.0} a second");
                    }
                    if run(seed, &actions(seed), bug).is_err() {
                        stop.store(true, Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap();
                        *failed = Some(failed.map_or(seed, |before: u64| before.min(seed)));
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

#[test]
fn whatever_happens_the_answer_is_the_same() {
    let seeds = std::env::var(SEED).map_or(SEEDS, |text| {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        first.parse().expect("a number")..=last.parse().expect("a number")
    });
    let (count, began) = (seeds.end() - seeds.start() + 1, Instant::now());
    if let Some(seed) = first_failure(seeds, None) {
        panic!("{}", explain(seed, None));
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{count} seeds in {seconds:.1} s, {:.0} a second, no violation", count as f64 / seconds);
}

#[test]
fn every_planted_mistake_is_found() {
    for bug in Bug::ALL {
        let began = Instant::now();
        let found = first_failure(0..=SEEDS_TO_FIND, Some(bug));
        let seed = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        let wrong = run(seed, &actions(seed), Some(bug)).expect_err("it was found");
        println!(
            "{bug:?}: seed {seed} after {:.1} s: {}",
            began.elapsed().as_secs_f64(),
            wrong.lines().next().unwrap_or("")
        );
    }
}
