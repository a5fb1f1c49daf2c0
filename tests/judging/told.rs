//! What is told beside the transitions: hours, statuses, evidence, maintenance.

use std::collections::BTreeMap;

use plimsoll::core::alert::{AlertRule, Feed, Level, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::objective::Method;
use plimsoll::core::output::{Output, RuleHour, Status, UpdateReason};
use plimsoll::core::rules::{Maintenance, Rules};
use plimsoll::core::source::Quantile;

use crate::world::{
    BILLION, SECOND_US, START_S, World, feed, level, objective, rule, sources, status_at_least,
};

fn failing() -> AlertRule {
    let feeds = vec![feed("request-log", status_at_least(500))];
    rule("failing", RuleKind::Ratio, feeds, level(Side::Above, BILLION / 10, 10))
}

/// Ten a second, half of them bad from 100 to 160 and the last minute of the hour.
fn run(world: &mut World, seconds: i64) {
    for at_s in 0..seconds {
        let bad = if (100..160).contains(&at_s) || (3_540..3_600).contains(&at_s) { 5 } else { 0 };
        world.requests(at_s, 500, bad);
        world.requests(at_s, 200, 10 - bad);
        world.tick();
    }
}

fn rule_hours(world: &World) -> Vec<&RuleHour> {
    let outputs = world.outputs.iter();
    outputs
        .filter_map(|output| if let Output::RuleHour(hour) = output { Some(&**hour) } else { None })
        .collect()
}

#[test]
fn an_hour_of_a_rule_tells_its_values_and_how_long_it_was_crossed() {
    let mut world = World::new(vec![failing()]);
    run(&mut world, 3_650);
    let [hour] = rule_hours(&world)[..] else { panic!("one hour") };
    let values = hour.values.unwrap();
    assert_eq!((values.min_billionths, values.max_billionths), (0, BILLION / 2));
    // Each bad second is in ten windows, a twentieth each: 60 x 10 x 0.05, less what slides into the next hour.
    let after: i128 = (1..10).map(|n: i128| n * 50_000_000).sum();
    assert_eq!(values.sum_billionths, 2 * 30_000_000_000 - after);
    assert_eq!(hour.known_seconds, 3_600);
    // Above 10 % with three seconds in the window: from 103 to 167, and 10 s of hold; again from 3543 on.
    let crossed = (167 + 10 - 103 + 1) + (3_600 - 3_543 + 1);
    assert_eq!(hour.level_seconds, [("critical".to_owned(), crossed)]);
    assert!(hour.stamp.is_final && hour.stamp.complete);
}

#[test]
fn late_events_tell_the_hour_of_a_rule_again() {
    let mut world = World::new(vec![failing()]);
    run(&mut world, 3_650);
    world.requests(3_599, 500, 50);
    run_on(&mut world, 3_650, 3_700);
    let hours = rule_hours(&world);
    assert_eq!(hours.iter().map(|hour| hour.stamp.revision).collect::<Vec<_>>(), [0, 1]);
    assert!(hours[1].values.unwrap().max_billionths > BILLION / 2);
}

fn run_on(world: &mut World, from_s: i64, to_s: i64) {
    for at_s in from_s..to_s {
        world.requests(at_s, 200, 10);
        world.tick();
    }
}

/// As long as hourly tables are: by the lateness of the source.
#[test]
fn hours_of_an_objective_are_told_again_as_long_as_events_may_be_late() {
    let slo = AlertRule {
        objective: Some(objective(990_000_000, 3_600, Method::Occurrences)),
        kind: RuleKind::BurnRate,
        ..failing()
    };
    let mut rules = Rules { alerts: vec![slo], ..sources() };
    let source = rules.sources.iter_mut().find(|source| source.name == "request-log").unwrap();
    source.event_time.lateness_us = 6 * 3_600 * SECOND_US;
    let mut world = World::of(rules);
    for at_s in 0..5 * 3_600 {
        if at_s % 60 == 0 {
            world.requests(at_s, 200, 1);
        }
        if at_s == 17_000 {
            world.requests(100, 500, 7);
        }
        world.tick();
    }
    let first = world.outputs.iter().filter_map(|output| match output {
        Output::SloHour(hour) if hour.hour_us == START_S * SECOND_US => Some((hour.bad, hour.total)),
        _ => None,
    });
    assert_eq!(first.collect::<Vec<_>>(), [(0, 60), (7, 67)]);
}

#[test]
fn a_status_is_told_once_a_minute() {
    let slo = AlertRule {
        objective: Some(objective(990_000_000, 3_600, Method::Occurrences)),
        kind: RuleKind::BurnRate,
        ..failing()
    };
    let mut world = World::new(vec![slo]);
    run(&mut world, 400);
    let statuses: Vec<&Status> = world
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Status(status) => Some(&**status),
            _ => None,
        })
        .collect();
    let at: Vec<i64> = statuses.iter().map(|status| (status.at_s - START_S) / 60).collect();
    assert_eq!(at[1..], [0, 1, 2, 3, 4, 5, 6], "one at once, then one a minute");
    let last = statuses.last().unwrap();
    assert_eq!((last.bad, last.total), (300, 3_600));
    assert!(last.budget.as_ref().unwrap().remaining_billionths < 0, "300 bad, 36 allowed");
}

#[test]
fn a_breach_says_where_its_events_are() {
    let mut world = World::new(vec![failing()]);
    run(&mut world, 200);
    let opened = world.breaches().next().unwrap();
    assert_eq!(opened.evaluated_s - START_S, 103);
    let [range] = &opened.evidence.offset_ranges[..] else { panic!("one partition") };
    // The window holds the seconds 93 to 103, offsets 930 to 1030; spans are of 15 s.
    assert!(range.topic == "request-log" && range.partition == 0);
    assert!(range.from <= 930 && range.from >= 600 && range.to >= 1_030, "{range:?}");
    let places: Vec<i64> = opened.evidence.exemplars.iter().map(|exemplar| exemplar.offset).collect();
    // The first five of each of the seconds 100 and 101 are bad, and at most ten are shown.
    assert_eq!(places, [1_000, 1_001, 1_002, 1_003, 1_004, 1_010, 1_011, 1_012, 1_013, 1_014]);
}

#[test]
fn a_breach_of_a_quantile_names_its_slowest_events() {
    let duration = sources().source("request-log").unwrap().slot("duration").unwrap();
    let slow = Condition::Atom(Atom::Number { slot: duration, op: Comparison::Greater, constant: 200_000 });
    let kind = RuleKind::Quantile { of: duration, quantile: Quantile { millionths: 950_000 } };
    let above = Level { over: Some(slow), ..level(Side::Above, 200 * BILLION, 10) };
    let mut world =
        World::new(vec![rule("slow", kind, vec![feed("request-log", Condition::never())], above)]);
    for at_s in 0..30 {
        for n in 0..10 {
            // From the 20th second on one in ten is slow, the slowest of them in the 20th.
            let is_slow = at_s >= 20 && n == 7;
            let took_us = if is_slow { 301_500 - at_s * 10 } else { 150_000 };
            world.event("request-log", at_s, n, &[("status", 200), ("duration", took_us)], &[("route", "/")]);
        }
        world.tick();
    }
    let opened = world.breaches().next().unwrap();
    // p95 of the 110 events of eleven seconds is the 105th of them: six slow ones, up to second 25, are needed.
    assert_eq!(opened.evaluated_s - START_S, 26);
    let shown: Vec<_> =
        opened.evidence.exemplars.iter().map(|shown| (shown.offset, shown.value_billionths)).collect();
    let milliseconds = |us: i64| Some(us * BILLION / 1_000);
    let expected: Vec<_> = (20..26).map(|at_s| (at_s * 10 + 7, milliseconds(301_500 - at_s * 10))).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_breach_of_a_count_names_what_it_counted() {
    let counted = Feed { filter: status_at_least(500), ..feed("request-log", Condition::never()) };
    let mut world =
        World::new(vec![rule("errors", RuleKind::Count, vec![counted], level(Side::Above, 3 * BILLION, 10))]);
    for at_s in 0..20 {
        world.requests(at_s, 200, 2);
        world.requests(at_s, 503, u64::from(at_s >= 15));
        world.tick();
    }
    let opened = world.breaches().next().unwrap();
    let offsets: Vec<i64> = opened.evidence.exemplars.iter().map(|exemplar| exemplar.offset).collect();
    assert_eq!(offsets, [32, 35, 38, 41]);
}

#[test]
fn what_stays_open_is_told_every_five_minutes() {
    let mut world = World::new(vec![failing()]);
    for at_s in 0..1_000 {
        world.requests(at_s, if at_s < 100 { 200 } else { 500 }, 10);
        world.tick();
    }
    let told: Vec<_> = world
        .breaches()
        .map(|b| (b.update_reason.map(UpdateReason::name), b.evaluated_s - START_S, b.revision, b.bad_total))
        .collect();
    // All fail from second 100 on; beyond a tenth of eleven seconds it is with the second of them.
    assert_eq!(
        told,
        [(None, 102, 0, 10), (Some("STILL_OPEN"), 402, 1, 3_010), (Some("STILL_OPEN"), 702, 2, 6_010)]
    );
}

#[test]
fn maintenance_marks_and_hides_nothing() {
    let planned = |name: &str, from_s, services: &[&str]| Maintenance {
        name: name.into(),
        from_s: START_S + from_s,
        to_s: START_S + from_s + 100,
        services: services.iter().map(|service| (*service).to_owned()).collect(),
        labels: BTreeMap::new(),
    };
    let maintenance = vec![
        planned("all", 0, &[]),
        planned("later", 1_000, &[]),
        planned("other", 50, &["ml"]),
        planned("ours", 50, &["platform"]),
    ];
    let mut world = World::of(Rules { alerts: vec![failing()], maintenance, ..sources() });
    run(&mut world, 200);
    let marks: Vec<_> = world.breaches().map(|b| (b.transition.name(), b.suppressed_by.clone())).collect();
    assert_eq!(marks, [("OPENED", vec!["ours".to_owned()]), ("RESOLVED", vec!["ours".to_owned()])]);
}
