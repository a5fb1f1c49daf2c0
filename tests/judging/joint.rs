//! Rules over several sources, lags and scores.

use plimsoll::core::alert::{AlertRule, Composite, Feed, Lag, LagUnit, Part, RuleKind, Side};
use plimsoll::core::expr::Condition;

use crate::world::{BILLION, START_S, World, feed, level, rule, status_at_least, whole};

fn predictions(world: &mut World, at_s: i64, count: u64) {
    for n in 0..count {
        world.event("ml-predictions", at_s, n, &[("inference", 5_000)], &[("model", "m")]);
    }
}

/// 60 and 40 a second make 100; from second 100 on 60 and 20 do not.
#[test]
fn a_rate_adds_up_its_sources_and_waits_for_the_slowest() {
    let level = whole(level(Side::Below, 90 * BILLION, 10));
    let feeds = vec![feed("request-log", Condition::True), feed("ml-predictions", Condition::True)];
    let mut world = World::new(vec![rule("throughput", RuleKind::Rate, feeds, level)]);
    for at_s in 0..300 {
        world.requests(at_s, 200, 60);
        predictions(&mut world, at_s, if (100..200).contains(&at_s) { 20 } else { 40 });
        world.tick();
    }
    // At 105, five of the ten seconds have 80: exactly 90, which is not below. At 106 it is 88.
    // At 205 it is 90 again and 95 counts as well: not below from 205 on, for 10 s.
    let expected = [("OPENED", "critical".to_owned(), 106), ("RESOLVED", "critical".to_owned(), 215)];
    assert_eq!(world.told("test/throughput"), expected);
    assert_eq!(world.breaches().next().unwrap().windows[0].value_billionths, Some(88 * BILLION));
    assert_eq!(world.breaches().last().unwrap().worst_value_billionths, 80 * BILLION);
}

/// No event of it ever came, so it has no time of its own: it counts 0.
#[test]
fn a_rate_does_not_wait_for_a_source_that_never_spoke() {
    let level = whole(level(Side::Below, 90 * BILLION, 10));
    let feeds = vec![feed("request-log", Condition::True), feed("ml-predictions", Condition::True)];
    let mut world = World::new(vec![rule("throughput", RuleKind::Rate, feeds, level)]);
    for at_s in 0..300 {
        world.requests(at_s, 200, if (100..200).contains(&at_s) { 80 } else { 100 });
        world.tick();
    }
    // The seconds are those of the rate of two sources.
    let expected = [("OPENED", "critical".to_owned(), 106), ("RESOLVED", "critical".to_owned(), 215)];
    assert_eq!(world.told("test/throughput"), expected);
    let watermark_us = world.breaches().next().unwrap().completeness.watermark_us;
    assert!(watermark_us.is_some());
}

fn lag_rule(unit: LagUnit, threshold: i64) -> AlertRule {
    let lag = Lag { consumer_group: Some("consumer".into()), unit };
    let kind = RuleKind::Lag { source: "request-log".into(), lag };
    rule("lag", kind, Vec::new(), level(Side::Above, threshold * BILLION, 1))
}

#[test]
fn a_lag_is_judged_by_its_samples_in_log_time() {
    for (unit, threshold) in [(LagUnit::Seconds, 30), (LagUnit::Messages, 3_000)] {
        let mut world = World::new(vec![lag_rule(unit, threshold)]);
        for at_s in 0..200 {
            world.requests(at_s, 200, 1);
            // It grows a second a second from 50 to 100, then the consumer catches up.
            let behind_s = if (50..100).contains(&at_s) { at_s - 50 } else { 0 };
            world.lag("consumer", behind_s as u64 * 100, behind_s);
            world.tick();
        }
        // The sample of second 81 says 31; it stands at the end of that second.
        let expected = [("OPENED", "critical".to_owned(), 82), ("RESOLVED", "critical".to_owned(), 111)];
        assert_eq!(world.told("test/lag"), expected, "{unit:?}");
    }
}

#[test]
fn samples_that_stop_make_a_lag_unknown() {
    let mut world = World::new(vec![lag_rule(LagUnit::Seconds, 30)]);
    for at_s in 0..1_200 {
        world.requests(at_s, 200, 1);
        if at_s < 100 {
            world.lag("consumer", 100, 60);
        }
        world.tick();
    }
    // Without a sample there is no log time either: nothing resolves on a guess.
    assert_eq!(world.told("test/lag"), [("OPENED", "critical".into(), 1)]);
}

/// Partition 0 is last heard of in second 49: what it owes is known up to 79, whatever the other one says.
#[test]
fn one_partition_that_nobody_speaks_of_makes_a_lag_unknown() {
    let mut world = World::new(vec![AlertRule { no_data_after_s: 5, ..lag_rule(LagUnit::Messages, 3_000) }]);
    for at_s in 0..200 {
        world.requests(at_s, 200, 1);
        if at_s < 50 {
            world.lag_of("consumer", 0, 4_000, 60);
        }
        world.lag_of("consumer", 1, 0, 0);
        world.tick();
    }
    // Unknown from 80 on, which is a span of 5 s at 85.
    assert_eq!(
        world.told("test/lag"),
        [("OPENED", "critical".into(), 1), ("RESOLVED", "critical".into(), 85)]
    );
}

/// A share of failures scored from 0 % (1) to 50 % (0), weight 3, and a count of slow ones from 0 (1) to 10 (0).
fn score() -> World {
    let failed = rule(
        "failed",
        RuleKind::Ratio,
        vec![feed("request-log", status_at_least(500))],
        level(Side::Above, BILLION, 300),
    );
    let seen = rule(
        "seen",
        RuleKind::Count,
        vec![feed("ml-predictions", Condition::never())],
        level(Side::Above, 1_000 * BILLION, 20),
    );
    let part = |rule: &str, weight: u64, full, zero| Part {
        rule: rule.into(),
        weight_millionths: weight * 1_000_000,
        full_billionths: full,
        zero_billionths: zero,
    };
    let composite = Composite {
        parts: vec![part("test/failed", 3, 0, BILLION / 2), part("test/seen", 1, 0, 10 * BILLION)],
        min_weight_billionths: BILLION / 2,
    };
    let score =
        rule("score", RuleKind::Composite(composite), Vec::new(), level(Side::Below, BILLION * 8 / 10, 10));
    World::new(vec![failed, seen, score])
}

#[test]
fn a_score_is_the_weighted_mean_of_its_parts_over_its_own_window() {
    let mut world = score();
    for at_s in 0..200 {
        world.requests(at_s, 200, 9);
        // From 50 to 100 one in four fails.
        world.requests(at_s, if (50..100).contains(&at_s) { 500 } else { 200 }, 3);
        if at_s == 0 {
            predictions(&mut world, at_s, 1);
        }
        world.tick();
    }
    // k bad seconds of the ten: a share of k/40, a part of 1 - k/20, a score of (3 - 3k/20 + 1)/4 = 1 - 3k/80. It is below
    // 0.8 from k = 6 on (0.775), at 56. Back at 5 of ten, at 105: not below for ten seconds at 115.
    let expected = [("OPENED", "critical".to_owned(), 56), ("RESOLVED", "critical".to_owned(), 115)];
    assert_eq!(world.told("test/score"), expected);
    let opened = world.breaches().find(|breach| breach.rule == "score").unwrap();
    assert_eq!(opened.windows[0].value_billionths, Some(775_000_000));
    assert_eq!(world.breaches().last().unwrap().worst_value_billionths, 625_000_000);
}

/// Nothing was ever seen, which is a count of 0, and no reason to wait.
#[test]
fn a_score_goes_on_beside_a_source_that_never_had_an_event() {
    let mut world = score();
    for at_s in 0..200 {
        world.requests(at_s, 200, 9);
        world.requests(at_s, if (50..100).contains(&at_s) { 500 } else { 200 }, 3);
        world.tick();
    }
    let expected = [("OPENED", "critical".to_owned(), 56), ("RESOLVED", "critical".to_owned(), 115)];
    assert_eq!(world.told("test/score"), expected, "seconds as above");
}

/// The share of failures, weight 3, and a lag from 0 s (1) to 60 s (0), weight 1, of which the last is heard at 100.
#[test]
fn a_score_goes_on_without_a_lag_that_nobody_speaks_of() {
    let failed = vec![feed("request-log", status_at_least(500))];
    let failed = rule("failed", RuleKind::Ratio, failed, level(Side::Above, BILLION, 300));
    let part = |rule: &str, weight: u64, zero| Part {
        rule: rule.into(),
        weight_millionths: weight * 1_000_000,
        full_billionths: 0,
        zero_billionths: zero,
    };
    let parts = vec![part("test/failed", 3, BILLION / 2), part("test/lag", 1, 60 * BILLION)];
    let composite = Composite { parts, min_weight_billionths: BILLION / 2 };
    let below = level(Side::Below, BILLION * 8 / 10, 10);
    let score = rule("score", RuleKind::Composite(composite), Vec::new(), below);
    let mut world = World::new(vec![failed, lag_rule(LagUnit::Seconds, 30), score]);
    for at_s in 0..300 {
        world.requests(at_s, if (200..250).contains(&at_s) { 500 } else { 200 }, 10);
        if at_s < 100 {
            world.lag("consumer", 0, 0);
        }
        world.tick();
    }
    // k bad seconds of the ten: a share of k/10, a score of 1 - k/5. At 202 it is 0.6, and at 259 it is 0.8 again.
    let expected = [("OPENED", "critical".to_owned(), 202), ("RESOLVED", "critical".to_owned(), 269)];
    assert_eq!(world.told("test/score"), expected);
}

/// Requests are read two thousand seconds behind: the lag of that time is still known. It is 60 s from 50 to 99.
#[test]
fn a_score_of_the_past_is_made_of_the_lags_of_that_time() {
    let failed = vec![feed("request-log", status_at_least(500))];
    let failed = rule("failed", RuleKind::Ratio, failed, level(Side::Above, BILLION, 300));
    let part = |rule: &str, zero| Part {
        rule: rule.into(),
        weight_millionths: 1_000_000,
        full_billionths: 0,
        zero_billionths: zero,
    };
    let parts = vec![part("test/failed", BILLION / 2), part("test/lag", 60 * BILLION)];
    let composite = Composite { parts, min_weight_billionths: BILLION };
    let below = level(Side::Below, BILLION * 8 / 10, 10);
    let score = rule("score", RuleKind::Composite(composite), Vec::new(), below);
    let mut world = World::new(vec![failed, lag_rule(LagUnit::Seconds, 100), score]);
    for now_s in 0..2_200 {
        world.lag("consumer", 0, if (50..100).contains(&now_s) { 60 } else { 0 });
        if now_s >= 2_000 {
            world.requests(now_s - 2_000, 200, 1);
        }
        world.tick();
    }
    // The sample of a second stands at its end.
    let expected = [("OPENED", "critical".to_owned(), 51), ("RESOLVED", "critical".to_owned(), 111)];
    assert_eq!(world.told("test/score"), expected);
}

/// The heavier part is silent: what is left weighs a quarter, which is too little to score.
#[test]
fn a_score_of_too_little_is_none() {
    let mut world = score();
    for at_s in 0..200 {
        if at_s < 20 {
            world.requests(at_s, 200, 10);
        }
        predictions(&mut world, at_s, 100);
        world.tick();
    }
    let told = world.told("test/score");
    // A part of 0 beside one of 1: (3 + 0) / 4 = 0.75 while requests are in the window, then nothing is known.
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "OPENED");
}

/// A COUNT over 300 s that itself is corrected for a minute, and a score of it that is corrected for a quarter of an
/// hour. Five failed from 600 to 604: a score of a half, which is not below. The sixth comes 800 s late.
#[test]
fn a_score_is_corrected_by_more_than_its_part_is() {
    let failed = feed("request-log", status_at_least(500));
    let count = AlertRule {
        correct_within_s: 60,
        ..rule(
            "failed",
            RuleKind::Count,
            vec![Feed { filter: status_at_least(500), bad: Condition::never(), ..failed }],
            level(Side::Above, 100 * BILLION, 300),
        )
    };
    let part = Part {
        rule: "test/failed".into(),
        weight_millionths: 1_000_000,
        full_billionths: 0,
        zero_billionths: 10 * BILLION,
    };
    let composite = Composite { parts: vec![part], min_weight_billionths: BILLION / 2 };
    let below = level(Side::Below, BILLION / 2, 10);
    let score = rule("score", RuleKind::Composite(composite), Vec::new(), below);
    let mut world = World::new(vec![count, score]);
    for at_s in 0..1_450 {
        world.requests(at_s, 200, 1);
        world.requests(at_s, 500, u64::from((600..605).contains(&at_s)));
        if at_s == 1_400 {
            world.requests(603, 500, 1);
        }
        world.tick();
    }
    // All six from 605 to 909, whose window begins at 600, and 10 s of hold.
    let seconds: Vec<_> =
        world.breaches().map(|b| (b.onset_s - START_S, b.resolved_s.map(|s| s - START_S))).collect();
    assert_eq!(seconds, [(605, None), (605, Some(920))]);
}

/// One part counts in a topic that is not there: a count of 0, which holds nothing back.
#[test]
fn a_score_does_without_an_optional_topic() {
    let crashes = rule(
        "crashes",
        RuleKind::Count,
        vec![feed("platform-events", Condition::never())],
        level(Side::Above, 3 * BILLION, 300),
    );
    let failed = rule(
        "failed",
        RuleKind::Ratio,
        vec![feed("request-log", status_at_least(500))],
        level(Side::Above, BILLION, 300),
    );
    let part = |rule: &str, full, zero| Part {
        rule: rule.into(),
        weight_millionths: 1_000_000,
        full_billionths: full,
        zero_billionths: zero,
    };
    let parts = vec![part("test/crashes", 0, 6 * BILLION), part("test/failed", 0, BILLION)];
    let composite = Composite { parts, min_weight_billionths: BILLION / 2 };
    let health =
        rule("health", RuleKind::Composite(composite), Vec::new(), level(Side::Below, BILLION * 9 / 10, 10));
    let mut world = World::without("platform-events", vec![crashes, failed, health]);
    for at_s in 0..100 {
        world.requests(at_s, if at_s >= 50 { 500 } else { 200 }, 10);
        world.tick();
    }
    // k bad seconds of ten are a score of 1 - k/20: exactly 0.9 at two, below at three.
    assert_eq!(world.told("test/health"), [("OPENED", "critical".into(), 53)]);
}
