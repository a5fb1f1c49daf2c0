//! Error budgets and burn rates.

use plimsoll::core::alert::{AlertRule, Level, RuleKind, Side};
use plimsoll::core::objective::Method;

use crate::world::{BILLION, World, feed, level, objective, rule, status_at_least};

fn burn(tiers: Vec<Level>) -> AlertRule {
    let feeds = vec![feed("request-log", status_at_least(500))];
    AlertRule {
        objective: Some(objective(990_000_000, 86_400, Method::Occurrences)),
        levels: tiers,
        ..rule("burn", RuleKind::BurnRate, feeds, level(Side::Above, 0, 1))
    }
}

fn tier(name: &str, severity: usize, factor: i64, window_s: i64, short_s: i64) -> Level {
    Level {
        name: name.into(),
        severity,
        short_window_s: Some(short_s),
        ..level(Side::Above, factor * BILLION, window_s)
    }
}

/// Less than half of the budget is left once more than 0.5 % are bad.
#[test]
fn a_budget_is_below_its_share_once_the_bad_ones_say_so() {
    let feeds = vec![feed("request-log", status_at_least(500))];
    let budget = AlertRule {
        objective: Some(objective(990_000_000, 3_600, Method::Occurrences)),
        ..rule("budget", RuleKind::Budget, feeds, level(Side::Below, BILLION / 2, 3_600))
    };
    let mut world = World::new(vec![budget]);
    for at_s in 0..1_000 {
        world.requests(at_s, 200, 9);
        world.requests(at_s, if (100..110).contains(&at_s) { 500 } else { 200 }, 1);
        world.tick();
    }
    // k bad of 10 x (100 + k): 5 of 1050 are 0.476 %, 6 of 1060 are 0.566 %. With 10 in all, 0.5 % is reached again at 2000
    // events, at second 200, and has to hold for 10 s.
    let expected = [("OPENED", "critical".to_owned(), 106), ("RESOLVED", "critical".to_owned(), 210)];
    assert_eq!(world.told("test/budget"), expected);
    let opened = world.breaches().next().unwrap();
    let left = opened.budget.as_ref().unwrap();
    assert_eq!(left.remaining_billionths, BILLION - 566_037_736, "6 of the 10.6 that 1060 events allow");
    // 3,600 s before 106, and back to a whole minute.
    assert_eq!(left.period_s, 3_646);
    assert_eq!(left.exhausts_at_s, None, "6 of the last 1060 are fewer than 1 %");
}

/// One episode: it opens at the medium tier, grows to the fast one, falls back, and ends.
#[test]
fn a_higher_tier_takes_over_and_gives_back_the_same_episode() {
    let mut world = World::new(vec![burn(vec![tier("fast", 0, 20, 60, 10), tier("medium", 1, 5, 120, 20)])]);
    for at_s in 0..700 {
        // 10 % from 200, 50 % from 300, 10 % again from 400, none from 500.
        let bad = match at_s {
            200..300 | 400..500 => 1,
            300..400 => 5,
            _ => 0,
        };
        world.requests(at_s, 500, bad);
        world.requests(at_s, 200, 10 - bad);
        world.tick();
    }
    let told: Vec<_> = world
        .breaches()
        .map(|b| (b.transition.name(), b.level.as_str(), b.previous_level.as_deref()))
        .collect();
    let expected = [
        ("OPENED", "high", None),
        ("UPDATED", "critical", Some("high")),
        ("UPDATED", "high", Some("critical")),
        ("RESOLVED", "high", None),
    ];
    assert_eq!(told, expected);
    let keys: std::collections::BTreeSet<_> = world.breaches().map(|b| (&b.alert_key, b.opened_s)).collect();
    assert_eq!(keys.len(), 1);
    let opened = world.breaches().next().unwrap();
    // 5 % of 120 s are 6 s of full 10 %: 60 of them at 260.
    assert_eq!(opened.evaluated_s - crate::world::START_S, 260);
    assert_eq!((opened.op, opened.windows.len()), ("at_least", 4));
}
