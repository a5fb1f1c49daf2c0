//! The places where burn rates and windows go wrong, each with its seconds reckoned by hand. Seconds count from the
//! first event; a second is named by its end.

use std::ops::Range;

use super::asks::{Ask, By, DOCUMENT, Feed, Promise, What};
use super::evaluation::evaluate;
use super::hits::{BILLION, Hit, Which, arrivals, rules_of};
use super::oracle::{Calendar, Clocks, End, Judged, Level, Period, Unit, wall_of};
use super::scenario::{Disorder, Played, Scenario, hit};
use super::simulation::{Ingest, Setup};
use super::story::stories;
use super::workload::{SECOND_US, START_US};

const SETUP: Setup = Setup { seed: 1, workers: 1, shards: 1, partitions: 1, mishaps: false };

/// Above, at once, however few events.
fn level(name: &str, threshold_millis: i128, window_s: i64) -> Level {
    Level {
        name: name.into(),
        above: true,
        threshold_billionths: threshold_millis * BILLION / 1000,
        window_s,
        short_window_s: None,
        for_s: 0,
        min_events: 0,
        min_bad: 0,
        min_coverage_billionths: 0,
    }
}

fn tier(name: &str, factor_millis: i128, window_s: i64, short_s: i64) -> Level {
    Level { short_window_s: Some(short_s), ..level(name, factor_millis, window_s) }
}

fn ask(what: What, levels: Vec<Level>, hold_s: i64) -> Ask {
    let feeds = vec![Feed { source: 0, filter: Which::All, bad: Which::Failed }];
    let name = "rule".into();
    Ask { name, what, feeds, by: Vec::new(), levels, hold_s, no_data_after_s: 600, correct_within_s: 180 }
}

fn burn(target_millis: i64, levels: Vec<Level>, hold_s: i64) -> Ask {
    ask(What::Burn(Promise::of(target_millis * 1_000_000)), levels, hold_s)
}

/// COUNT of failed hits.
fn failed(levels: Vec<Level>, hold_s: i64) -> Ask {
    let feeds = vec![Feed { source: 0, filter: Which::Failed, bad: Which::None }];
    Ask { feeds, ..ask(What::Count, levels, hold_s) }
}

fn at(second: i64, state: i64) -> Hit {
    Hit { state, ..hit(0, 0, START_US + second * SECOND_US) }
}

/// So many a second, of which the first `bad` fail.
fn steady(seconds: Range<i64>, each: usize, bad: usize) -> impl Iterator<Item = Hit> {
    let one = move |second| (0..each).map(move |n| at(second, if n < bad { 500 } else { 200 }));
    seconds.flat_map(one)
}

/// What the shards say until a few seconds after `span_s`; the oracle must say the same.
fn play(ask: &Ask, hits: Vec<Hit>, span_s: i64) -> Played {
    play_idle_after(2, ask, hits, span_s)
}

fn play_idle_after(idle_after_s: i64, ask: &Ask, hits: Vec<Hit>, span_s: i64) -> Played {
    let scenario = Scenario {
        setup: SETUP,
        asks: vec![ask.clone()],
        hits,
        samples: Vec::new(),
        maintenance: Vec::new(),
        span_s,
        step_s: if span_s > 600 { 30 } else { 1 },
        out_of_order_s: 1,
        idle_after_s,
        disorder: Disorder::None,
    };
    let played = scenario.play();
    let told = played.told.get(&format!("{DOCUMENT}/rule")).map(|story| story.episodes());
    let expected = scenario.world(&played).expected(ask);
    let expected: Vec<_> = expected.into_iter().map(|judged| judged.episode).collect();
    assert_eq!(told.unwrap_or_default(), expected, "core, then oracle");
    played
}

/// The episodes in words.
fn told(ask: &Ask, hits: Vec<Hit>, span_s: i64) -> Vec<String> {
    in_words(&play(ask, hits, span_s))
}

fn in_words(played: &Played) -> Vec<String> {
    let story = played.told.get(&format!("{DOCUMENT}/rule"));
    story.map(|story| story.judged().iter().map(words).collect()).unwrap_or_default()
}

fn words(judged: &Judged) -> String {
    let since = |at_s: i64| at_s - START_US / SECOND_US;
    let end = match judged.episode.end {
        End::Open => "open".into(),
        End::Recovered { recovered_s, resolved_s } => {
            format!("recovered {}, resolved {}", since(recovered_s), since(resolved_s))
        }
        End::NoData { recovered_s, resolved_s } => {
            format!("no data since {}, resolved {}", since(recovered_s), since(resolved_s))
        }
    };
    let (onset_s, opened_s) = (since(judged.episode.onset_s), since(judged.opened_s));
    format!("{} from {onset_s}, opened {opened_s}, {end}", judged.episode.level)
}

#[test]
fn a_window_ends_before_the_second_that_names_it() {
    let hits = || vec![at(0, 200), at(105, 500)];
    let rule = |window_s| failed(vec![level("high", 0, window_s)], 0);
    assert_eq!(told(&rule(1), hits(), 120), ["high from 106, opened 106, recovered 107, resolved 107"]);
    assert_eq!(told(&rule(10), hits(), 120), ["high from 106, opened 106, recovered 116, resolved 116"]);
    // Panes of ten seconds from 300 s on: the last window with second 105 begins at 100 and ends at 409.
    assert_eq!(told(&rule(299), hits(), 420), ["high from 106, opened 106, recovered 405, resolved 405"]);
    assert_eq!(told(&rule(300), hits(), 420), ["high from 106, opened 106, recovered 410, resolved 410"]);
}

#[test]
fn for_and_hold_are_spans_between_the_first_second_and_the_last() {
    let failing = |seconds: Range<i64>| steady(0..60, 1, 0).chain(steady(seconds, 1, 1)).collect();
    let rule = failed(vec![Level { for_s: 5, ..level("high", 0, 1) }], 3);
    assert_eq!(told(&rule, failing(10..15), 60), Vec::<String>::new(), "11 to 15 is a span of four");
    assert_eq!(told(&rule, failing(10..16), 60), ["high from 11, opened 16, recovered 17, resolved 20"]);
}

#[test]
fn a_threshold_reached_is_not_crossed_but_a_factor_is() {
    let half = || steady(0..30, 2, 1).collect();
    let ratio = |millis| ask(What::Ratio, vec![level("high", millis, 10)], 0);
    assert_eq!(told(&ratio(500), half(), 20), Vec::<String>::new());
    assert_eq!(told(&ratio(499), half(), 20), ["high from 1, opened 1, open"]);
    let below = Level { above: false, ..level("high", 500, 10) };
    assert_eq!(told(&ask(What::Ratio, vec![below], 0), half(), 20), Vec::<String>::new());
    let burns = |factor| burn(900, vec![tier("high", factor, 60, 5)], 0);
    assert_eq!(told(&burns(5_000), half(), 20), ["high from 1, opened 1, open"]);
    assert_eq!(told(&burns(5_001), half(), 20), Vec::<String>::new());
}

#[test]
fn an_empty_short_window_is_no_recovery_but_unknown_and_in_the_end_no_data() {
    let rule = Ask { no_data_after_s: 20, ..burn(900, vec![tier("critical", 2_000, 60, 5)], 3) };
    let hits: Vec<Hit> = steady(0..10, 1, 1).collect();
    // Second 9 is in the short window up to 14.
    let said = "critical from 1, opened 1, no data since 15, resolved 35";
    assert_eq!(told(&rule, hits.clone(), 60), [said]);
    // One event is an answer: the silence begins anew behind it.
    let again = hits.into_iter().chain([at(30, 500)]).collect();
    let said = "critical from 1, opened 1, no data since 36, resolved 56";
    assert_eq!(told(&rule, again, 60), [said]);
}

#[test]
fn a_long_window_full_of_failures_does_not_keep_the_alert_open() {
    let hits = steady(0..30, 1, 1).chain(steady(30..80, 1, 0)).collect();
    let rule = burn(900, vec![tier("critical", 2_000, 60, 5)], 3);
    // One in five burns at 2 until 34; at 38 the long window still burns at 7.9.
    assert_eq!(told(&rule, hits, 80), ["critical from 1, opened 1, recovered 35, resolved 38"]);
}

#[test]
fn nine_tenths_of_the_factor_in_the_short_window_are_not_yet_clear() {
    let hits = steady(0..30, 20, 10).chain(steady(30..40, 20, 9)).chain(steady(40..60, 20, 8)).collect();
    let rule = burn(500, vec![tier("high", 1_000, 30, 1)], 3);
    assert_eq!(told(&rule, hits, 60), ["high from 1, opened 1, recovered 41, resolved 44"]);
}

#[test]
fn a_window_must_be_covered_before_it_may_fire() {
    let covered = |share: i128| {
        let tier = tier("warning", 2_000, 60, 5);
        burn(900, vec![Level { min_coverage_billionths: share * BILLION / 100, ..tier }], 0)
    };
    let hits = || steady(0..90, 1, 1).collect();
    assert_eq!(told(&covered(100), hits(), 90), ["warning from 60, opened 60, open"]);
    assert_eq!(told(&covered(50), hits(), 90), ["warning from 30, opened 30, open"]);
    assert_eq!(told(&covered(0), hits(), 90), ["warning from 1, opened 1, open"]);
}

#[test]
fn tiers_escalate_and_fall_within_one_episode() {
    let phases = [(0..120, 3), (120..150, 10), (150..200, 3), (200..230, 0)];
    let hits = phases.into_iter().flat_map(|(seconds, bad)| steady(seconds, 10, bad)).collect();
    let fast = tier("critical", 5_000, 60, 5);
    let medium = tier("warning", 2_000, 120, 10);
    let rule = burn(900, vec![fast, medium], 10);
    // The fast one reaches half of an hour's worth at 138 (180 + 7 x 18 >= 300 of 600), its short window holds 22 of 50
    // at 154, and it falls at 164. The short window of the other holds 18 of 100 at 204, which lingers, and 15 at 205.
    let played = play(&rule, hits, 230);
    let story = &played.told["asked/rule"];
    let said: Vec<String> = story.judged().iter().map(words).collect();
    assert_eq!(said, ["warning from 1, opened 1, recovered 205, resolved 215"]);
    let steps = story.said();
    let steps: Vec<(&str, &str)> =
        steps.iter().map(|(what, level)| (what.as_str(), level.as_str())).collect();
    let expected =
        [("OPENED", "warning"), ("UPDATED", "critical"), ("UPDATED", "warning"), ("RESOLVED", "warning")];
    assert_eq!(steps, expected);
}

#[test]
fn one_failure_in_little_traffic_is_no_burn_where_two_are_asked_for() {
    let hits = || (0..30).map(|minute| at(minute * 60, if [10, 11].contains(&minute) { 500 } else { 200 }));
    let rule = |min_bad| burn(999, vec![Level { min_bad, ..tier("critical", 14_400, 3_600, 300) }], 60);
    // The short window, in panes of ten seconds, lets go of second 660 at 970.
    let two = "critical from 661, opened 661, recovered 970, resolved 1030";
    assert_eq!(told(&rule(2), hits().collect(), 1_800), [two]);
    let one = "critical from 601, opened 601, recovered 970, resolved 1030";
    assert_eq!(told(&rule(1), hits().collect(), 1_800), [one]);
}

#[test]
fn silence_is_counted_from_the_last_event_of_a_group_however_long() {
    let quiet = |threshold_s: i64, hold_s| {
        let level = level("high", i128::from(threshold_s) * 1000, threshold_s);
        ask(What::Absence, vec![level], hold_s)
    };
    let gap = steady(0..50, 1, 0).chain(steady(100..130, 1, 0)).collect();
    assert_eq!(told(&quiet(30, 5), gap, 130), ["high from 80, opened 80, recovered 101, resolved 106"]);
    // Longer than seconds are kept.
    let long = steady(0..50, 1, 0).collect();
    assert_eq!(told(&quiet(1_200, 0), long, 1_300), ["high from 1250, opened 1250, open"]);
    // A host that comes later was not absent before.
    let elm = |hit: Hit| Hit { host: "elm", ..hit };
    let later = steady(0..130, 1, 0).chain(steady(60..130, 1, 0).map(elm)).collect();
    let by_host = Ask { by: vec![By::Host], ..quiet(30, 0) };
    assert_eq!(told(&by_host, later, 130), Vec::<String>::new());
}

/// Periods that begin within the panes counts are kept in: at seven past, and at half past once the clocks, put on by
/// half an hour at 600, show it.
#[test]
fn a_period_may_begin_at_any_minute() {
    let start_s = START_US / SECOND_US;
    let rule = |shown_s: i64, clocks: Vec<(i64, i64)>| {
        let calendar = Calendar::new(wall_of(start_s + shown_s), Unit::Hour, 1, Clocks(clocks));
        let promise = Promise { period: Period::Calendar(calendar), ..Promise::of(500_000_000) };
        ask(What::Budget(promise), vec![Level { above: false, ..level("high", 500, 3_600) }], 0)
    };
    let failing = |from_s: i64, to_s: i64| {
        let good = (0..to_s / 20).map(|n| at(20 * n, 200));
        // One comes late, so what was added up before is added up anew.
        let late = Hit { arrives_us: START_US + (to_s - 30) * SECOND_US, ..at(to_s - 60, 200) };
        good.chain(steady(from_s..from_s + 40, 1, 1)).chain([late]).collect::<Vec<Hit>>()
    };
    // More than a quarter of those since the period began are bad up to the end, but no quarter of the hour.
    let said = "high from 431, opened 431, open";
    assert_eq!(told(&rule(420, vec![(0, 0)]), failing(430, 700), 700), [said]);
    let said = "high from 1811, opened 1811, open";
    let clocks = vec![(0, 37_800), (start_s + 600, 39_600)];
    assert_eq!(told(&rule(37_800, clocks), failing(1_810, 3_760), 3_760), [said]);
}

/// At 3,600 the clocks are put back from four to three, so the hour that began at three lasts for two.
#[test]
fn an_hour_that_comes_twice_is_one_period_of_a_budget() {
    let start_s = START_US / SECOND_US;
    let clocks = Clocks(vec![(0, 3_600), (start_s + 3_600, 0)]);
    let period = Period::Calendar(Calendar::new(wall_of(start_s + 3_600), Unit::Hour, 1, clocks));
    let promise = Promise { period, ..Promise::of(500_000_000) };
    let below = Level { above: false, ..level("high", 500, 3_600) };
    // 60 bad of 60 and then one more a minute: of 180 they are two thirds of the budget.
    let hits = steady(0..60, 1, 1).chain((1..121).map(|minute| at(60 * minute, 200))).collect();
    let said = "high from 1, opened 1, recovered 7201, resolved 7201";
    assert_eq!(told(&ask(What::Budget(promise), vec![below], 0), hits, 7_230), [said]);
}

/// Two hits a second, one on each partition, until the second partition stops.
#[test]
fn a_stalled_partition_keeps_an_alert_open_until_it_is_known_to_idle() {
    let each = |second: i64| {
        let state = if (20..40).contains(&second) { 500 } else { 200 };
        let first = at(second, state);
        let other = Hit { partition: 1, ..first.clone() };
        [Some(first), (second < 43).then_some(other)]
    };
    let hits: Vec<Hit> = (0..90).flat_map(each).flatten().collect();
    let rule = ask(What::Ratio, vec![level("high", 500, 10)], 0);
    let rules = rules_of(std::slice::from_ref(&rule), SECOND_US, 20 * SECOND_US);
    let setup = Setup { partitions: 2, ..SETUP };
    let mut ingest = Ingest::new(setup, rules, &arrivals(&hits), START_US);
    let mut told_at = |second: i64| {
        ingest.run(START_US + second * SECOND_US, SECOND_US / 2);
        ingest.quietly(1, 1);
        let story = &stories(&evaluate(&ingest.logs))["asked/rule"];
        story.judged().iter().map(words).collect::<Vec<String>>()
    };
    // 8 of 17 at 46: but up to 62 the second partition might yet bring what it owes.
    assert_eq!(told_at(60), ["high from 26, opened 26, open"]);
    assert_eq!(told_at(70), ["high from 26, opened 26, recovered 46, resolved 46"]);
}

/// One source is read as it happens, the other 400 s behind: longer than the first one's counts are kept for itself.
#[test]
fn a_rule_over_two_sources_waits_for_the_slower_one_with_all_it_needs() {
    let behind = |hit: Hit| Hit { source: 1, arrives_us: hit.at_us + 400 * SECOND_US, ..hit };
    let seconds = || (0..300).chain([1_170]).map(|second| at(second, 200));
    let hits = seconds().chain(seconds().map(behind)).collect();
    let floor = Level { above: false, min_coverage_billionths: BILLION, ..level("high", 1_500, 60) };
    let feeds = [0, 1].map(|source| Feed { source, filter: Which::All, bad: Which::None }).to_vec();
    let rule = Ask { feeds, ..ask(What::Rate, vec![floor], 0) };
    // 88 of the 90 asked for at 316. The slower one is not known to be idle while it is behind.
    assert_eq!(in_words(&play_idle_after(2_000, &rule, hits, 1_600)), ["high from 316, opened 316, open"]);
}
