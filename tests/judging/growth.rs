//! What only grows is told with the event that crosses the line, however much of its second is left.

use plimsoll::core::alert::{Feed, RuleKind, Side};
use plimsoll::core::expr::Condition;

use crate::world::{BILLION, World, feed, level, rule, status_at_least};

#[test]
fn a_count_opens_within_the_second_and_a_ratio_when_it_is_over() {
    let feeds = |bad| vec![feed("request-log", bad)];
    let failures = status_at_least(500);
    let mut world = World::new(vec![
        rule("count", RuleKind::Count, feeds(Condition::True), level(Side::Above, 3 * BILLION, 10)),
        rule("ratio", RuleKind::Ratio, feeds(failures), level(Side::Above, BILLION / 10, 10)),
    ]);
    world.requests(0, 200, 1);
    world.tick();
    world.requests(1, 500, 2);
    world.flush_within();
    assert_eq!(world.told("test/count"), [], "three are not more than three");
    world.requests(1, 500, 1);
    world.flush_within();
    let opened = ("OPENED", "critical".to_owned(), 2);
    assert_eq!(world.told("test/count"), std::slice::from_ref(&opened));
    assert_eq!(world.told("test/ratio"), []);
    // More of the same is no news.
    world.requests(1, 500, 5);
    world.flush_within();
    world.tick();
    world.requests(2, 200, 1);
    world.tick();
    assert_eq!(world.told("test/count"), std::slice::from_ref(&opened));
    assert_eq!(world.told("test/ratio"), [opened]);
}

#[test]
fn a_count_over_two_sources_opens_within_the_second() {
    let feeds = ["request-log", "ml-predictions"].map(|source| feed(source, Condition::True)).to_vec();
    let mut world =
        World::new(vec![rule("count", RuleKind::Count, feeds, level(Side::Above, 4 * BILLION, 10))]);
    let predict = |world: &mut World, at_s| {
        let texts = [("model", "load"), ("model_version", "1")];
        world.event("ml-predictions", at_s, 0, &[("prediction", 1), ("inference", 1)], &texts);
    };
    world.requests(0, 200, 1);
    predict(&mut world, 0);
    world.tick();
    world.requests(1, 200, 1);
    predict(&mut world, 1);
    world.flush_within();
    assert_eq!(world.told("test/count"), [], "four are not more than four");
    // Both sources have come to this second already.
    world.requests(1, 200, 1);
    world.flush_within();
    assert_eq!(world.told("test/count"), [("OPENED", "critical".to_owned(), 2)]);
}

#[test]
fn what_may_cross_a_line_at_once_is_known_until_it_is_told() {
    let failures = Feed { filter: status_at_least(500), ..feed("request-log", Condition::True) };
    let mut world =
        World::new(vec![rule("count", RuleKind::Count, vec![failures], level(Side::Above, 0, 10))]);
    world.requests(0, 200, 1);
    assert!(!world.has_grown(), "it counts nowhere");
    world.requests(0, 500, 1);
    assert!(world.has_grown());
    world.flush_within();
    assert!(!world.has_grown());
}

/// Only the newest event of a partition ends a second there.
#[test]
fn a_second_is_over_with_the_first_event_of_the_next() {
    let feeds = vec![feed("request-log", Condition::True)];
    let mut world = World::new(vec![rule("count", RuleKind::Count, feeds, level(Side::Above, 0, 10))]);
    world.requests(5, 200, 1);
    assert!(world.has_turned(), "the first of all");
    world.flush_within();
    world.requests(5, 200, 1);
    world.requests(4, 200, 1);
    assert!(!world.has_turned());
    world.requests(6, 200, 1);
    assert!(world.has_turned());
    world.flush_within();
    assert!(!world.has_turned());
}
