//! Random rules.

use plimsoll::core::rules::Maintenance;

use super::asks::{Ask, By, Feed, Promise, Scored, What};
use super::hits::{BILLION, SEVERITIES, Which};
use super::oracle::{Calendar, Clocks, Counts, Empty, Good, Level, Period, Slices, Unit, wall_of};
use super::simulation::Chance;
use super::workload::{SECOND_US, START_US};

/// One to three rules that count events.
pub fn plain_asks(chance: &mut Chance, long: bool) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for _ in 0..1 + chance.below(3) {
        let name = format!("rule-{}", asks.len());
        asks.push(ask(chance, name, long));
    }
    asks
}

/// One or two rules on budgets, on slices of time, or on counts over both sources.
pub fn promises(chance: &mut Chance, span_s: i64, long: bool) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for _ in 0..1 + chance.below(2) {
        let name = format!("rule-{}", asks.len());
        let (what, above) = match chance.below(6) {
            0 | 1 => (What::Budget(promise(chance, span_s)), false),
            2 | 3 => (What::Burn(sliced(chance, Good::Events)), true),
            _ => {
                asks.push(over_both(chance, name, long));
                continue;
            }
        };
        let on = on_events(chance);
        asks.push(with_levels(chance, name, what, on, above, long));
    }
    asks
}

/// One or two scores with their parts, or rules on lags where there may be any.
pub fn scores(chance: &mut Chance, span_s: i64, long: bool, with_lags: bool) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for _ in 0..1 + chance.below(2) {
        let name = format!("rule-{}", asks.len());
        match with_lags && chance.percent(50) {
            true => asks.push(of_lag(chance, name, long)),
            false => asks.extend(score(chance, &name, (span_s, long), with_lags)),
        }
    }
    asks
}

/// A quarter of the scenario each: for all, for one host, and for services that no rule has.
pub fn maintenance(chance: &mut Chance, span_s: i64) -> Vec<Maintenance> {
    let mut one = |name: &str, services: &[&str], hosts: &[&str]| {
        let from_s = START_US / SECOND_US + chance.below(span_s as u64) as i64;
        Maintenance {
            name: name.into(),
            from_s,
            to_s: from_s + span_s / 4,
            services: services.iter().map(|service| (*service).to_owned()).collect(),
            labels: hosts.iter().map(|host| ("host".to_owned(), (*host).to_owned())).collect(),
        }
    };
    vec![one("all", &[], &[]), one("elm", &[], &["elm"]), one("others", &["nobody"], &[])]
}

fn on_events(chance: &mut Chance) -> (Vec<Feed>, &'static [By]) {
    let feed = Feed {
        source: chance.below(2) as usize,
        filter: chance.pick(&[Which::All, Which::All, Which::On("elm"), Which::NotMissing]),
        bad: chance.pick(&[Which::Failed, Which::Failed, Which::Slow, Which::Missing]),
    };
    let by: &[By] = chance.pick(&[&[], &[], &[By::Host], &[By::Host], &[By::Host, By::State]]);
    (vec![feed], by)
}

/// COUNT, ABSENCE, or slices of a rate, over both sources.
fn over_both(chance: &mut Chance, name: String, long: bool) -> Ask {
    let per_second = |chance: &mut Chance| chance.pick(&[100, 500, 1_000, 3_000]) * BILLION / 1_000;
    let (what, above) = match chance.below(4) {
        0 | 1 => (What::Count, chance.percent(50)),
        2 => (What::Absence, true),
        _ => {
            let at_least_billionths = per_second(chance);
            (What::Burn(sliced(chance, Good::Rate { at_least_billionths })), true)
        }
    };
    let filter = chance.pick(&[Which::All, Which::On("elm"), Which::NotMissing]);
    let feed = |source| Feed { source, filter, bad: Which::None };
    with_levels(chance, name, what, (vec![feed(0), feed(1)], &[]), above, long)
}

fn of_lag(chance: &mut Chance, name: String, long: bool) -> Ask {
    if chance.percent(65) {
        return lag(chance, name, long);
    }
    let at_most_billionths = chance.pick(&[0, 2, 10, 40]) * BILLION / 2;
    let good = Good::Lag { in_messages: chance.percent(50), at_most_billionths };
    let what = What::Burn(sliced(chance, good));
    let feeds = vec![lag_feed(chance)];
    with_levels(chance, name, what, (feeds, &[]), true, long)
}

fn lag(chance: &mut Chance, name: String, long: bool) -> Ask {
    let what = What::Lag { in_messages: chance.percent(50) };
    let feeds = vec![lag_feed(chance)];
    with_levels(chance, name, what, (feeds, &[]), true, long)
}

fn lag_feed(chance: &mut Chance) -> Feed {
    Feed { source: chance.below(2) as usize, filter: Which::All, bad: Which::None }
}

/// A score, its parts, and now and then an objective for it.
fn score(chance: &mut Chance, name: &str, (span_s, long): (i64, bool), with_lags: bool) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    let mut parts: Vec<Scored> = Vec::new();
    for at in 0..2 + chance.below(3) {
        let part = part(chance, format!("{name}-{at}"), (span_s, long), with_lags);
        parts.push(scored(chance, &part));
        asks.push(part);
    }
    let min_weight_billionths = BILLION * chance.pick(&[0, 50, 50, 80, 100]) / 100;
    let what = What::Score { parts, min_weight_billionths };
    let above = chance.percent(30);
    asks.push(with_levels(chance, name.to_owned(), what, (Vec::new(), &[]), above, long));
    if chance.percent(30) {
        let at_least_billionths = BILLION * chance.pick(&[25, 50, 75, 90]) / 100;
        let promise = sliced(chance, Good::Score { at_least_billionths });
        let what = What::Burn(Promise { score: Some(name.to_owned()), ..promise });
        asks.push(with_levels(chance, format!("{name}-slo"), what, (Vec::new(), &[]), true, long));
    }
    asks
}

fn part(chance: &mut Chance, name: String, (span_s, long): (i64, bool), with_lags: bool) -> Ask {
    match chance.below(if with_lags { 8 } else { 7 }) {
        0..=4 => Ask { by: Vec::new(), ..ask(chance, name, long) },
        5 => {
            let what = What::Budget(Promise { slices: None, ..promise(chance, span_s) });
            let (feeds, _) = on_events(chance);
            with_levels(chance, name, what, (feeds, &[]), false, long)
        }
        6 => Ask { what: What::Count, ..over_both(chance, name, long) },
        _ => lag(chance, name, long),
    }
}

fn scored(chance: &mut Chance, ask: &Ask) -> Scored {
    // Thousandths at which it scores 1 and 0.
    let lines: &[(i64, i64)] = match ask.what {
        What::Ratio => &[(0, 500), (0, 1_000), (900, 100)],
        What::Took(_) => &[(50_000, 300_000), (100_000, 1_000_000)],
        What::Freshness(_) => &[(0, 1_000), (0, 20_000)],
        What::Count => &[(0, 20_000), (50_000, 0)],
        What::Rate => &[(1_000, 0), (0, 3_000)],
        What::Absence => &[(0, 10_000), (5_000, 60_000)],
        What::Burn(_) => &[(0, 2_000), (1_000, 5_000)],
        What::Budget(_) => &[(1_000, 0), (1_000, -1_000)],
        What::Lag { .. } => &[(0, 10_000), (3_000, 60_000)],
        What::Score { .. } => panic!("a score is no part"),
    };
    let (full, zero) = chance.pick(lines);
    Scored {
        name: ask.name.clone(),
        weight_millionths: chance.pick(&[1_000_000, 1_000_000, 3_000_000, 500_000, 333_333]),
        full_billionths: full * 1_000_000,
        zero_billionths: zero * 1_000_000,
    }
}

/// An objective over a period, which now and then is one of the calendar's and ends within the scenario.
fn promise(chance: &mut Chance, span_s: i64) -> Promise {
    let promise = match chance.percent(40) {
        true => sliced(chance, Good::Events),
        false => Promise::of(target_billionths(chance)),
    };
    let period = match chance.percent(50) {
        true => Period::Rolling { length_s: chance.pick(&[30, 60, 299, 300, 600, 1_800]) },
        false => Period::Calendar(calendar(chance, span_s)),
    };
    Promise { period, ..promise }
}

fn calendar(chance: &mut Chance, span_s: i64) -> Calendar {
    let within_s =
        |chance: &mut Chance| START_US / SECOND_US + 60 * chance.below(span_s.unsigned_abs() / 60 + 1) as i64;
    let shift_s = within_s(chance);
    let offsets: [&[(i64, i64)]; 5] = [
        &[(0, 0)],
        &[(0, 20_700)],
        &[(0, -18_000), (shift_s, -14_400)],
        &[(0, 7_200), (shift_s, 3_600)],
        &[(0, 37_800), (shift_s, 39_600)],
    ];
    let clocks = Clocks(chance.pick(&offsets).to_vec());
    let turns_s = within_s(chance);
    let shown = wall_of(turns_s + clocks.offset_s(turns_s));
    Calendar::new(shown, chance.pick(&[Unit::Hour, Unit::Hour, Unit::Day]), 1, clocks)
}

fn sliced(chance: &mut Chance, good: Good) -> Promise {
    let target_billionths = i128::from(chance.pick(&[500_000_000, 900_000_000, 999_000_000, 1_000_000_000]));
    let counts = match good {
        Good::Events if chance.percent(50) => Counts::Share,
        Good::Rate { .. } => Counts::Whole { target_billionths: BILLION },
        Good::Events | Good::Lag { .. } | Good::Score { .. } => Counts::Whole { target_billionths },
    };
    let slice_s = chance.pick(&[10, 15, 20, 30, 60]);
    let empty = chance.pick(&[Empty::Good, Empty::Bad, Empty::Skipped]);
    let slices = Some(Slices { slice_s, counts, empty, good });
    Promise { slices, ..Promise::of(self::target_billionths(chance)) }
}

fn ask(chance: &mut Chance, name: String, long: bool) -> Ask {
    let what = match chance.below(7) {
        0 => What::Ratio,
        1 => What::Took(chance.pick(&[500_000, 900_000, 950_000, 999_000])),
        2 => What::Freshness(chance.pick(&[500_000, 900_000, 990_000])),
        3 => What::Count,
        4 => What::Rate,
        5 => What::Absence,
        _ => What::Burn(Promise::of(target_billionths(chance))),
    };
    let source = chance.below(2) as usize;
    let filter = chance.pick(&[Which::All, Which::All, Which::On("elm"), Which::NotMissing]);
    let bad = match what {
        What::Ratio | What::Burn(_) => {
            chance.pick(&[Which::Failed, Which::Failed, Which::Slow, Which::Missing])
        }
        _ => Which::None,
    };
    let feed = Feed { source, filter, bad };
    let joint = what == What::Rate && chance.percent(50);
    let feeds = if joint { vec![feed, Feed { source: 1 - source, ..feed }] } else { vec![feed] };
    let by: &[By] = match joint {
        true => &[],
        false => chance.pick(&[&[], &[], &[By::Host], &[By::Host], &[By::Host, By::State]]),
    };
    let above = match what {
        What::Ratio | What::Took(_) | What::Freshness(_) => chance.percent(80),
        What::Count | What::Rate => chance.percent(50),
        What::Absence | What::Burn(_) => true,
        What::Budget(_) | What::Lag { .. } | What::Score { .. } => panic!("they are drawn elsewhere"),
    };
    with_levels(chance, name, what, (feeds, by), above, long)
}

fn target_billionths(chance: &mut Chance) -> i64 {
    chance.pick(&[500_000_000, 900_000_000, 990_000_000])
}

fn with_levels(
    chance: &mut Chance,
    name: String,
    what: What,
    (feeds, by): (Vec<Feed>, &[By]),
    above: bool,
    long: bool,
) -> Ask {
    let count = chance.pick(&[1, 1, 2, 3]);
    let levels = SEVERITIES.iter().take(count).map(|name| level(chance, &what, above, name, long)).collect();
    Ask {
        name,
        what,
        feeds,
        by: by.to_vec(),
        levels,
        hold_s: chance.pick(&[0, 0, 1, 5, 15, 60]),
        no_data_after_s: chance.pick(&[5, 20, 60, 120]),
        correct_within_s: if long { 900 } else { chance.pick(&[180, 180, 240, 600]) },
    }
}

fn level(chance: &mut Chance, what: &What, above: bool, name: &str, long: bool) -> Level {
    let millionths = |value: i128| value * 1_000;
    let threshold_billionths = match what {
        What::Ratio => millionths(chance.pick(&[0, 50_000, 200_000, 333_333, 500_000, 900_000])),
        What::Took(_) => chance.pick(&[50, 100, 200, 300]) * BILLION,
        What::Freshness(_) => chance.pick(&[0, 1, 2, 5, 20]) * BILLION / 2,
        What::Count => chance.pick(&[0, 1, 3, 10, 50]) * BILLION,
        What::Rate => millionths(chance.pick(&[0, 50_000, 100_000, 500_000, 1_000_000, 2_000_000])),
        What::Absence => 0,
        What::Burn(_) => chance.pick(&[1, 2, 5, 9]) * BILLION / 2,
        What::Budget(_) => millionths(chance.pick(&[-1_000_000, 0, 250_000, 500_000, 900_000, 999_000])),
        What::Lag { in_messages: true } => chance.pick(&[0, 1, 3, 10, 50]) * BILLION,
        What::Lag { in_messages: false } => chance.pick(&[0, 1, 2, 5, 20]) * BILLION / 2,
        What::Score { .. } => millionths(chance.pick(&[0, 100_000, 250_000, 500_000, 750_000, 900_000])),
    };
    let window_s = match long {
        true => chance.pick(&[60, 299, 600, 1_799, 1_800, 1_805, 3_600]),
        false => chance.pick(&[1, 2, 5, 10, 30, 45, 60, 299, 300, 304]),
    };
    let (window_s, short_window_s) = match what {
        What::Burn(_) => {
            let long_s = window_s.max(30);
            (long_s, Some((long_s / chance.pick(&[4, 10, 12])).max(1)))
        }
        What::Absence => (window_s.max(5), None),
        What::Budget(Promise { period: Period::Rolling { length_s }, .. }) => (*length_s, None),
        What::Budget(Promise { period: Period::Calendar(_), .. }) => (7_200, None),
        What::Lag { .. } => (1, None),
        _ => (window_s, None),
    };
    let counts = !matches!(what, What::Absence | What::Lag { .. } | What::Score { .. });
    Level {
        name: name.into(),
        above,
        threshold_billionths: match what {
            What::Absence => i128::from(window_s) * BILLION,
            _ => threshold_billionths,
        },
        window_s,
        short_window_s,
        for_s: chance.pick(&[0, 0, 0, 1, 3, 10, 30]),
        min_events: if counts { chance.pick(&[0, 0, 1, 5, 20]) } else { 0 },
        min_bad: if above && counts { chance.pick(&[0, 0, 1, 3]) } else { 0 },
        min_coverage_billionths: chance.pick(&[0, 0, 500_000_000, BILLION]),
    }
}
