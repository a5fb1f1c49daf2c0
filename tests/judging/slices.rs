//! Objectives that count slices of time.

use plimsoll::core::alert::{AlertRule, Level, RuleKind, Side};
use plimsoll::core::objective::{EmptySlice, Method};
use plimsoll::core::output::{Output, SloHour};

use crate::world::{BILLION, World, feed, level, objective, rule, status_at_least};

const MINUTE_S: i64 = 60;

fn uptime(empty: EmptySlice, factor: i64) -> AlertRule {
    let method = Method::Timeslices { slice_s: MINUTE_S, target_billionths: 950_000_000, empty };
    let tier = Level { short_window_s: Some(300), ..level(Side::Above, factor * BILLION, 3_600) };
    AlertRule {
        objective: Some(objective(900_000_000, 86_400, method)),
        ..rule("uptime", RuleKind::BurnRate, vec![feed("request-log", status_at_least(500))], tier)
    }
}

fn hours(world: &World) -> Vec<&SloHour> {
    let outputs = world.outputs.iter();
    outputs
        .filter_map(|output| if let Output::SloHour(hour) = output { Some(&**hour) } else { None })
        .collect()
}

/// Ten a second, so one bad second in a minute is 1/60: up. Six of sixty are a tenth: down.
#[test]
fn a_minute_is_down_when_too_many_of_its_requests_fail() {
    let mut world = World::new(vec![uptime(EmptySlice::Bad, 2)]);
    for at_s in 0..2 * 3_600 + 5 {
        let minute = at_s / MINUTE_S;
        // Minutes 30 to 44 are down, every fifth has a single bad second.
        let bad = (30..45).contains(&minute) && at_s % 10 == 0 || minute % 5 == 0 && at_s % 60 == 7;
        world.requests(at_s, if bad { 500 } else { 200 }, 10);
        world.tick();
    }
    let [first, second] = hours(&world)[..] else { panic!("two hours") };
    assert_eq!(
        (first.slice_bad_billionths, first.slice_good_billionths),
        (15 * 1_000_000_000, 45 * 1_000_000_000)
    );
    assert_eq!((second.slice_bad_billionths, second.slice_good_billionths), (0, 60 * 1_000_000_000));
    assert_eq!(
        (first.total, first.bad),
        (36_000, (15 * 6 + 12) * 10),
        "a bad second of minutes 30, 35, 40 is not among the six"
    );
    // A tenth may be down and the factor is 2: a fifth of the minutes in the hour, here of those since the start. At
    // minute 38 it is 8 of 38 (0.2105), and all of the last five.
    let told = world.told("test/uptime");
    assert_eq!(told[0], ("OPENED", "critical".into(), 38 * MINUTE_S));
    // The last five minutes burn below 0.9 x 2 once fewer than 0.18 of them are down: none. Minute 44 is no longer wholly
    // within them from ten seconds into its fifth successor on; and 10 s of hold.
    assert_eq!(told[1], ("RESOLVED", "critical".into(), 49 * MINUTE_S + 10 + 10));
}

#[test]
fn an_empty_minute_is_what_the_document_says() {
    for (empty, bad, good) in
        [(EmptySlice::Bad, 20, 40), (EmptySlice::Good, 0, 60), (EmptySlice::Skipped, 0, 40)]
    {
        let mut world = World::new(vec![uptime(empty, 100)]);
        for at_s in 0..3_605 {
            if !(20..40).contains(&(at_s / MINUTE_S)) {
                world.requests(at_s, 200, 1);
            }
            world.tick();
        }
        let [hour] = hours(&world)[..] else { panic!("one hour") };
        let expected = (bad * 1_000_000_000, good * 1_000_000_000);
        assert_eq!((hour.slice_bad_billionths, hour.slice_good_billionths), expected, "{empty:?}");
    }
}

/// Late events make a bad minute good: the hour is told again, with the next revision.
#[test]
fn late_events_correct_slices_and_hours() {
    let mut world = World::new(vec![uptime(EmptySlice::Bad, 100)]);
    for at_s in 0..4_000 {
        world.requests(at_s, 200, 1);
        if at_s / MINUTE_S == 59 && at_s % 10 == 0 {
            world.requests(at_s, 500, 1);
        }
        if at_s == 3_800 {
            world.requests(3_590, 200, 100);
        }
        world.tick();
    }
    let [before, after] = hours(&world)[..] else { panic!("told twice: {}", hours(&world).len()) };
    assert_eq!((before.slice_bad_billionths, before.stamp.revision, before.total), (1_000_000_000, 0, 3_606));
    assert_eq!((after.slice_bad_billionths, after.stamp.revision, after.total), (0, 1, 3_706));
    assert!(before.stamp.is_final && after.stamp.is_final);
}

/// The first event so far is in second 130; one of second 65 makes minutes 2 and 3 whole.
#[test]
fn slices_begin_with_the_first_event_even_when_it_comes_late() {
    let mut world = World::new(vec![uptime(EmptySlice::Bad, 100)]);
    for at_s in 0..3_605 {
        if at_s >= 130 {
            world.requests(at_s, 200, 1);
        }
        if at_s == 300 {
            world.requests(65, 200, 1);
        }
        world.tick();
    }
    let [hour] = hours(&world)[..] else { panic!("one hour") };
    assert_eq!((hour.slice_bad_billionths, hour.slice_good_billionths), (0, 58 * 1_000_000_000));
}

/// Slices are corrected for as long as breaches are, a quarter of an hour; the seconds they were made of are gone then.
#[test]
fn events_later_than_breaches_are_corrected_leave_slices_as_they_are() {
    let mut world = World::new(vec![uptime(EmptySlice::Bad, 100)]);
    for at_s in 0..4_000 {
        world.requests(at_s, 200, 1);
        if at_s == 3_800 {
            world.requests(1_000, 500, 10);
        }
        world.tick();
    }
    let [before, after] = hours(&world)[..] else { panic!("told twice: {}", hours(&world).len()) };
    assert_eq!((before.total, after.total), (3_600, 3_610));
    assert_eq!((after.slice_bad_billionths, after.slice_good_billionths), (0, 60 * 1_000_000_000));
}

/// An event of second 1,000 comes at 7,000; nothing else after 3,000.
#[test]
fn hours_are_corrected_for_two_hours_and_silent_ones_are_not_told() {
    let mut world = World::new(vec![uptime(EmptySlice::Skipped, 100)]);
    for at_s in 0..7_300 {
        if at_s < 3_000 {
            world.requests(at_s, 200, 1);
        }
        if at_s == 7_000 {
            world.requests(1_000, 200, 5);
        }
        world.tick();
    }
    let told: Vec<_> = hours(&world).iter().map(|hour| (hour.stamp.revision, hour.total)).collect();
    assert_eq!(told, [(0, 3_000), (1, 3_005)]);
}
