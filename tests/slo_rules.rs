//! Cases about rules of every kind, and what `explain` predicts against what the engine then does.

use std::collections::BTreeMap;

use plimsoll::config::{Document, embedded_files, parse_rules};
use plimsoll::core::alert::{AlertRule, Composite, Feed, Lag, LagUnit, Level, Part, RuleKind, Side};
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::objective::{Indicator, Method, Objective, Period};
use plimsoll::core::output::Transition;
use plimsoll::core::rules::Rules;
use plimsoll::core::source::Quantile;
use plimsoll::slo::case::Observed;
use plimsoll::slo::compare::compare;
use plimsoll::slo::explain::{Reaction, explain};
use plimsoll::slo::finding::{Lint, Weight};
use plimsoll::slo::rehearsal::rehearse;
use plimsoll::slo::{cases, check, traffic};

const DAY_S: i64 = 86_400;
/// Where `+0s` is: 2025-01-01T00:00:00Z.
const START_S: i64 = 1_735_689_600;

/// The shipped rules with one more, made from `platform/error-rate`, under `test/rule`.
fn rules_with(change: impl FnOnce(&mut AlertRule)) -> Rules {
    let mut rules = parse_rules(&embedded_files().rules).unwrap();
    let mut rule = rules.rule("platform/error-rate").unwrap().clone();
    (rule.document, rule.name, rule.hold_s) = ("test".into(), "rule".into(), 60);
    change(&mut rule);
    rules.alerts.push(rule);
    rules
}

fn level(name: &str, threshold_billionths: i64, threshold_text: &str, window_s: i64) -> Level {
    Level {
        name: name.into(),
        severity: 0,
        side: Side::Above,
        threshold_billionths,
        threshold_text: threshold_text.into(),
        window_s,
        short_window_s: None,
        for_s: 0,
        min_events: 0,
        min_bad: 0,
        min_coverage_billionths: 0,
        over: None,
    }
}

fn tier(name: &str, severity: usize, tenths: i64, window_s: i64, short_s: i64) -> Level {
    let factor = format!("{}.{}", tenths / 10, tenths % 10);
    Level { severity, short_window_s: Some(short_s), ..level(name, tenths * 100_000_000, &factor, window_s) }
}

/// The tiers of a period of 30 days.
fn tiers() -> [Level; 5] {
    [
        tier("flash", 0, 864, 300, 30),
        tier("fast", 0, 144, 3_600, 300),
        tier("medium", 1, 60, 6 * 3_600, 1_800),
        tier("slow", 2, 30, DAY_S, 7_200),
        tier("drift", 3, 10, 3 * DAY_S, 6 * 3_600),
    ]
}

fn objective(target_billionths: i64) -> Objective {
    Objective {
        slo: "test".into(),
        name: "rule".into(),
        target_billionths,
        period: Period::Rolling { length_s: 30 * DAY_S },
        method: Method::Occurrences,
        indicator: Indicator::Events,
    }
}

fn burning(levels: Vec<Level>, target_billionths: i64) -> Rules {
    rules_with(|rule| {
        rule.kind = RuleKind::BurnRate;
        rule.objective = Some(objective(target_billionths));
        rule.levels = levels;
    })
}

/// Plays the one case of `text`.
fn play(rules: &Rules, text: &str) -> (bool, Vec<Observed>) {
    let document = Document { path: "case.yaml".into(), text: text.into() };
    let cases = cases(&document, rules).unwrap_or_else(|wrong| panic!("{wrong}"));
    let observed = rehearse(&cases[0]).unwrap().observed;
    (compare(&cases[0], &observed).is_equal(), observed)
}

#[track_caller]
fn assert_passes(rules: &Rules, text: &str) {
    let (passes, observed) = play(rules, text);
    assert!(passes, "{observed:#?}");
}

/// A trouble of `percent` bad events as `explain` foretells it against what comes: the answers must agree up to the
/// pane at the beginning of the window.
fn foretold(level: Level, rules: &Rules, percent: i64) {
    let explained = explain(rules, rules.rule("test/rule").unwrap());
    let of_percent = |reaction: &&Reaction| reaction.bad_billionths == percent * 10_000_000;
    let reaction = explained.levels[0].reactions.iter().find(of_percent).unwrap();
    let short_s = level.short_window_s.unwrap_or(level.window_s);
    let before_s = level.window_s + level.window_s / 30 + 60;
    let during_s = reaction.fires_after_s.unwrap_or(600) * 11 / 10 + short_s * 11 / 10 + 60;
    let (end_s, after_s) = (before_s + during_s, short_s + short_s / 30 + 120);
    // Events a minute; those of a long window need not be many.
    let rate = if level.window_s < DAY_S { 600 } else { 60 };
    let (good, bad) = (rate * (100 - percent) / 100, rate * percent / 100);
    let good = match good {
        0 => String::new(),
        good => format!(
            "      - {{at: +{before_s}s, for: {during_s}s, rate: {good}/m, fields: {{status: 200}}}}\n"
        ),
    };
    let text = format!(
        "tests:
  - name: trouble
    rule: test/rule
    step: 10s
    events:
      - {{at: +0s, for: {before_s}s, rate: {rate}/m, fields: {{status: 200}}}}
{good}      - {{at: +{before_s}s, for: {during_s}s, rate: {bad}/m, fields: {{status: 500}}}}
      - {{at: +{end_s}s, for: {after_s}s, rate: {rate}/m, fields: {{status: 200}}}}
    expect: []
"
    );
    let (_, observed) = play(rules, &text);
    let came: Vec<(Transition, i64)> =
        observed.iter().map(|came| (came.transition, came.at_s - START_S - before_s)).collect();
    let name = format!("{} at {percent} %: {came:?} against {reaction:?}", level.name);
    let (Some(fires_s), Some(resolves_s)) = (reaction.fires_after_s, reaction.resolves_after_s) else {
        return assert!(came.is_empty(), "{name}");
    };
    let [(Transition::Opened, opened_s), (Transition::Resolved, resolved_s)] = came[..] else {
        panic!("{name}")
    };
    assert!((fires_s..=fires_s * 31 / 30 + 2).contains(&opened_s), "{name}");
    // The last counts are waited for.
    let resolved_s = resolved_s - during_s + explained.out_of_order_s;
    assert!((resolves_s - 1..=resolves_s + short_s / 30 + 2).contains(&resolved_s), "{name}");
}

#[test]
fn the_table_of_burn_rates_is_what_the_engine_does() {
    for tier in tiers() {
        let rules = burning(vec![tier.clone()], 999_000_000);
        foretold(tier.clone(), &rules, 100);
        if tier.window_s < DAY_S {
            // Ten times what 99.9 % allows; a flash takes more than that.
            foretold(tier, &rules, 1);
        }
    }
}

#[test]
fn explain_reproduces_the_table_of_burn_rates() {
    let rules = burning(tiers().to_vec(), 999_000_000);
    let explained = explain(&rules, rules.rule("test/rule").unwrap());
    let all_bad = explained.levels.iter().map(|level| &level.reactions[0]);
    let told: Vec<_> = all_bad.map(|r| (r.fires_after_s.unwrap(), r.resolves_after_s.unwrap())).collect();
    // Seconds to detect; reset of the short window plus 60 s of hold and 2 s of out_of_order.
    assert_eq!(told, [(26, 90), (52, 359), (130, 1_853), (260, 7_243), (260, 21_643)]);
    let text = explained.to_string();
    let promise =
        "99.9 % of the events are good over any 30 d; the error budget is 0.1 %, 43 min 12 s of full outage";
    assert!(text.contains(promise), "{text}");
    let fires = "errors come at least 14.4 times as fast as allowed, over 1 h and over 5 min";
    assert!(text.contains(fires), "{text}");
}

#[test]
fn ratios_and_quantiles_answer_as_explained() {
    for (percent, window_s) in [(100, 45), (10, 300), (50, 1_800)] {
        let level = level("critical", 50_000_000, "5%", window_s);
        foretold(level.clone(), &rules_with(|rule| rule.levels = vec![level]), percent);
    }
}

/// p95 of the duration above 200 ms for a minute.
#[test]
fn a_quantile_fires_on_exact_counts() {
    let rules = rules_with(|rule| {
        let duration = 6;
        rule.kind = RuleKind::Quantile { of: duration, quantile: Quantile { millionths: 950_000 } };
        rule.feeds[0].bad = Condition::never();
        let over = Atom::Number { slot: duration, op: Comparison::Greater, constant: 200_000 };
        let over = Some(Condition::Atom(over));
        rule.levels = vec![Level { over, for_s: 60, ..level("critical", 200_000_000_000, "200ms", 100) }];
    });
    assert_eq!(rules.source("request-log").unwrap().fields[6].name, "duration");
    assert_passes(
        &rules,
        "tests:
  - name: six slow ones in a hundred
    rule: test/rule
    events:
      - {at: +0s,   for: 200s, rate: 1/s, fields: {duration: 200}}
      - {at: +200s, for: 60s, rate: 1/s, fields: {duration: 200.001}}
      - {at: +260s, for: 300s, rate: 1/s, fields: {duration: 12.5}}
    expect:
      - {at: +266s, transition: OPENED, onset: +206s}
      - {at: +415s, transition: RESOLVED}
",
    );
}

#[test]
fn counts_silence_and_lags_can_be_tested() {
    let counting = |kind: RuleKind, level: Level| {
        rules_with(|rule| {
            rule.kind = kind;
            rule.feeds[0].bad = Condition::never();
            rule.levels = vec![level];
        })
    };
    assert_passes(
        &counting(RuleKind::Count, level("critical", 3_000_000_000, "3", 300)),
        "tests:
  - name: the fourth opens at once
    rule: test/rule
    events: [{at: +0s, for: 40s, count: 4}]
    expect: [{at: +31s, transition: OPENED, said: +31s}]
",
    );
    assert_passes(
        &counting(RuleKind::Absence, level("critical", 45_000_000_000, "45s", 45)),
        "tests:
  - name: silence is seen once every partition is idle
    rule: test/rule
    partitions: 3
    until: +200s
    events:
      - {at: +0s, for: 60s, rate: 3/s, partition: 2}
      - {at: +150s, for: 1s, rate: 1/s}
    expect:
      - {at: +105s, transition: OPENED, said: +107s}
",
    );
    let lag = Lag { consumer_group: Some("billing".into()), unit: LagUnit::Seconds };
    let rules = rules_with(|rule| {
        rule.kind = RuleKind::Lag { source: "request-log".into(), lag };
        rule.feeds.clear();
        rule.levels = vec![Level { for_s: 10, ..level("critical", 30_000_000_000, "30s", 1) }];
    });
    assert_passes(
        &rules,
        "tests:
  - name: a lag that lasts
    rule: test/rule
    lag:
      - {at: +0s,  for: 60s, behind: 30s}
      - {at: +60s, for: 60s, behind: 31s, messages: 7}
      - {at: +120s, for: 90s}
    expect:
      - {at: +71s, transition: OPENED, onset: +61s}
      - {at: +181s, transition: RESOLVED}
",
    );
}

#[test]
fn check_knows_what_a_tier_can_reach() {
    let found = |levels: Vec<Level>, target: i64| -> BTreeMap<String, (Lint, Weight)> {
        let findings = check(&burning(levels, target), &[]);
        findings.into_iter().map(|found| (found.subject, (found.lint, found.weight))).collect()
    };
    let mut enough = tiers().to_vec();
    enough.iter_mut().for_each(|level| level.min_bad = 5);
    assert_eq!(found(enough.clone(), 999_000_000), BTreeMap::new());
    // 90 %: errors burn at most ten times too fast.
    let unreachable = (Lint::UnreachableFactor, Weight::Error);
    let reached = found(enough.clone(), 900_000_000);
    assert_eq!((reached["test/rule: flash"], reached["test/rule: fast"]), (unreachable, unreachable));
    assert_eq!(reached["test/rule: medium"], (Lint::TooSlow, Weight::Warning), "60 % of 6 h must fail");
    let slow = Level { min_bad: 5, ..tier("slow", 2, 7, DAY_S, 7_200) };
    assert_eq!(found(vec![slow], 999_000_000)["test/rule: slow"], (Lint::BurnBelowOne, Weight::Warning));
    let nervous = tier("fast", 0, 144, 3_600, 300);
    assert_eq!(
        found(vec![nervous], 999_000_000)["test/rule: fast"],
        (Lint::OneEventDecides, Weight::Warning)
    );
}

#[test]
fn little_traffic_is_told_from_the_hours_of_a_week() {
    let told = |rules: &Rules, quiet: u64| -> Vec<(String, String)> {
        // A week in which 20 hours saw so few events.
        let hours = (0..168).map(|hour| if hour < 20 { quiet } else { 100_000 }).collect();
        let findings = traffic(rules, &[], &BTreeMap::from([("request-log".to_owned(), hours)]));
        findings.into_iter().map(|found| (found.subject, found.message)).collect()
    };
    let shipped = parse_rules(&embedded_files().rules).unwrap();
    assert_eq!(told(&shipped, 8_000), [], "100 events in 45 s are 8,000 an hour");
    let no_answer = "in 20 of 168 hours 45 s held fewer than 100 events, and it had no answer";
    assert_eq!(told(&shipped, 7_999), [("platform/error-rate: critical".into(), no_answer.into())]);
    let one_fires = "in 20 of 168 hours 1 h held fewer than 70 events, and a single failure fires it";
    let fast = burning(vec![tier("fast", 0, 144, 3_600, 300)], 999_000_000);
    let told = told(&fast, 69);
    assert_eq!(told.last(), Some(&("test/rule: fast".into(), one_fires.into())));
}

/// The request log and the prices together, at least 20 a second.
fn throughput() -> Rules {
    rules_with(|rule| {
        rule.kind = RuleKind::Rate;
        rule.feeds[0].bad = Condition::never();
        rule.feeds.push(Feed { source: "commodity-prices".into(), ..rule.feeds[0].clone() });
        // Before the first minute is whole there is no answer.
        let floor = level("high", 20_000_000_000, "20/s", 60);
        rule.levels = vec![Level { side: Side::Below, min_coverage_billionths: 1_000_000_000, ..floor }];
    })
}

#[test]
fn sources_add_up_and_none_may_be_forgotten() {
    let text = "tests:
  - name: the prices stop
    rule: test/rule
    events:
      - {at: +0s, for: 10m, rate: 15/s, source: request-log}
      - {at: +0s, for: 5m,  rate: 10/s, source: commodity-prices}
      - {at: +10m, for: 5m, rate: 20/s, source: request-log}
    expect:
      - {at: +331s, transition: OPENED, said: +334s}
      - {at: +720s, transition: RESOLVED}
";
    assert_passes(&throughput(), text);
    let without = text.lines().filter(|line| !line.contains("commodity")).collect::<Vec<_>>().join("\n");
    let wrong = cases(&Document { path: "case.yaml".into(), text: without }, &throughput()).unwrap_err();
    assert!(wrong.to_string().contains("`commodity-prices` has no events"), "{wrong}");
}

#[test]
fn every_kind_is_explained_in_words() {
    let told = |change: &dyn Fn(&mut AlertRule)| {
        let rules = rules_with(|rule| change(rule));
        explain(&rules, rules.rule("test/rule").unwrap()).to_string()
    };
    let rules = throughput();
    let rate = explain(&rules, rules.rule("test/rule").unwrap()).to_string();
    assert!(rate.contains("high (critical, P0)  less than 20/s over 1 min"), "{rate}");
    assert!(rate.contains("source     commodity-prices"), "{rate}");
    let lag = told(&|rule| {
        let lag = Lag { consumer_group: Some("billing".into()), unit: LagUnit::Seconds };
        rule.kind = RuleKind::Lag { source: "request-log".into(), lag };
        rule.feeds.clear();
        rule.levels = vec![Level { for_s: 5, ..level("critical", 30_000_000_000, "30s", 1) }];
    });
    assert!(
        lag.contains("the consumer group billing is more than 30s behind on request-log, for 5 s on end"),
        "{lag}"
    );
    assert!(lag.contains("it keeps no counts of its own") && lag.contains("  6 s  "), "{lag}");
    let health = told(&|rule| {
        let part = Part {
            rule: "platform/error-rate".into(),
            weight_millionths: 500_000,
            full_billionths: 0,
            zero_billionths: 50_000_000,
        };
        rule.kind = RuleKind::Composite(Composite { parts: vec![part], min_weight_billionths: 0 });
        rule.feeds.clear();
        rule.levels = vec![Level { side: Side::Below, ..level("warning", 950_000_000, "95%", 45) }];
    });
    assert!(health.contains("0.5 x platform/error-rate (0 is good, 0.05 is bad)"), "{health}");
    assert!(
        health.contains("the score is below 95%") && health.contains("53 s"),
        "its parts hold it back: {health}"
    );
    let budget = told(&|rule| {
        rule.kind = RuleKind::Budget;
        rule.objective = Some(objective(995_000_000));
        rule.levels.clear();
    });
    assert!(budget.contains("the error budget is 0.5 %, 3 h 36 min of full outage"), "{budget}");
    assert!(budget.contains("It raises no alerts") && !budget.contains("It resolves"), "{budget}");
}
