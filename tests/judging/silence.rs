//! Nothing comes: what is seen of it, and when.

use plimsoll::core::alert::{RuleKind, Side};
use plimsoll::core::expr::Condition;
use plimsoll::core::output::Output;

use crate::world::{BILLION, World, feed, level, rule, whole};

fn absence(window_s: i64) -> World {
    let level = whole(level(Side::Above, window_s * BILLION, window_s));
    let feeds = vec![feed("request-log", Condition::True)];
    World::new(vec![rule("stopped", RuleKind::Absence, feeds, level)])
}

/// The last event lies in second 99: 45 s of silence are over at 145, which the watermark passes 2 s later.
#[test]
fn a_source_that_stops_is_absent_after_the_threshold_and_back_with_the_next_event() {
    let mut world = absence(45);
    for at_s in 0..300 {
        if !(100..200).contains(&at_s) {
            world.requests(at_s, 200, 3);
        }
        world.tick();
        let opened = !world.told("test/stopped").is_empty();
        // 1 s until the second is over, 2 s out of order.
        assert_eq!(opened, at_s >= 146, "after second {at_s}: {:?}", world.told("test/stopped"));
    }
    let told = world.told("test/stopped");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], ("OPENED", "critical".into(), 145));
    // Second 200 has events, so 201 is the first second judged that is not silent; it has to hold for 10 s.
    assert_eq!(told[1], ("RESOLVED", "critical".into(), 211));
    let resolved = world.breaches().last().unwrap();
    assert_eq!(resolved.worst_value_billionths, 100 * BILLION);
}

#[test]
fn silence_shorter_than_the_threshold_is_no_absence() {
    let mut world = absence(45);
    for at_s in 0..200 {
        if !(100..144).contains(&at_s) {
            world.requests(at_s, 200, 1);
        }
        world.tick();
    }
    assert_eq!(world.told("test/stopped"), []);
}

#[test]
fn a_source_that_never_spoke_is_not_missed() {
    let mut world = absence(45);
    (0..200).for_each(|_| world.tick());
    assert_eq!(world.told("test/stopped"), []);
}

/// A long threshold looks further back than panes of a second are kept for other rules.
#[test]
fn an_hour_of_silence_is_found_to_the_second() {
    let mut world = absence(3_600);
    for at_s in 0..7_400 {
        if at_s < 3_000 {
            world.requests(at_s, 200, 1);
        }
        world.tick();
    }
    assert_eq!(world.told("test/stopped"), [("OPENED", "critical".into(), 6_600)]);
}

/// Nobody ingests: no clock, no time, no transition, no heartbeat.
#[test]
fn without_ingest_nothing_is_said_at_all() {
    let mut world = absence(45);
    for at_s in 0..100 {
        world.requests(at_s, 200, 1);
        world.tick();
    }
    let before = world.outputs.len();
    world.now_s += 10_000;
    assert_eq!(world.outputs.len(), before);
    assert!(world.outputs.iter().any(|output| matches!(output, Output::Heartbeat(_))));
}
