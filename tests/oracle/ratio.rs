//! RATIO rules over the request log, judged second by second with all the data at hand.
//!
//! - A second is named by its end: second `s` judges the window `[floor((s - length) / pane) x pane, s)`.
//! - Each level stands for itself. With fewer events than `min_events`, or none, it is unknown, and unknown seconds
//!   neither count nor break a run. It is on from the second at which it crossed at each known second of a span of
//!   `for` until the second at which it did not at each known second of a span of `hold`.
//! - An episode lasts while any level is on. Its level is the gravest that is on (in its last second, when it ended).
//! - When every level is unknown over a span of `no_data_after`, all begins afresh.
//! - `onset` is the first second of the oldest crossing run of any level at the second of opening, `recovered` the
//!   first second of the not crossing run that ended it, or of the unknown one.

use std::collections::BTreeMap;

use super::RawRecord;
use super::decode::{Event, Request};
use super::log::{Verdict, judge};

pub struct RatioRule {
    /// Fields of the request log: service, route, method, region.
    pub group_by: Vec<&'static str>,
    pub bad: fn(&Request) -> bool,
    /// Gravest first.
    pub levels: Vec<RatioLevel>,
    pub hold_s: u64,
    /// An open episode that is unknown this long ends.
    pub no_data_after_s: u64,
}

pub struct RatioLevel {
    pub name: &'static str,
    /// Share in billionths; strictly above is a crossing.
    pub above_billionths: u128,
    pub window_s: i64,
    pub pane_s: i64,
    pub for_s: u64,
    pub min_events: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Episode {
    /// Sorted by label name.
    pub group: Vec<(String, String)>,
    pub onset_s: i64,
    pub end: End,
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Open,
    Recovered { recovered_s: i64, resolved_s: i64 },
    NoData { recovered_s: i64, resolved_s: i64 },
}

/// The episodes of every group, judged for all seconds up to `until_s`; sorted by group and onset.
pub fn ratio_episodes(records: &[RawRecord], rule: &RatioRule, until_s: i64) -> Vec<Episode> {
    let mut groups: BTreeMap<Vec<(String, String)>, Counts> = BTreeMap::new();
    for verdict in judge(records) {
        let Verdict::Accepted(accepted) = verdict else { continue };
        let Event::Request(request) = accepted.event else { continue };
        let counts = groups.entry(labels(rule, &request)).or_default();
        let (bad, total) = counts.entry(request.event_us.div_euclid(1_000_000)).or_default();
        *bad += u64::from((rule.bad)(&request));
        *total += 1;
    }
    groups.into_iter().flat_map(|(group, counts)| group_episodes(group, &counts, rule, until_s)).collect()
}

/// (bad, total) of each second.
type Counts = BTreeMap<i64, (u64, u64)>;

fn labels(rule: &RatioRule, request: &Request) -> Vec<(String, String)> {
    let value = |field: &str| match field {
        "service" => request.service.clone(),
        "route" => request.route.clone(),
        "method" => request.method.clone(),
        "region" => request.region.clone().unwrap_or_default(),
        other => panic!("the oracle does not group by {other}"),
    };
    let mut labels: Vec<(String, String)> =
        rule.group_by.iter().map(|field| ((*field).to_owned(), value(field))).collect();
    labels.sort();
    labels
}

/// A second and what each level says of it; None is unknown.
type Second = (i64, Vec<Option<bool>>);

fn group_episodes(
    group: Vec<(String, String)>,
    counts: &Counts,
    rule: &RatioRule,
    until_s: i64,
) -> Vec<Episode> {
    let first_s = *counts.keys().next().expect("a group has an event");
    let says = |second| rule.levels.iter().map(|level| crosses(level, counts, second)).collect();
    let verdicts: Vec<Second> = (first_s + 1..=until_s).map(|second| (second, says(second))).collect();
    let mut episodes = Vec::new();
    for stretch in stretches(&verdicts, rule.no_data_after_s) {
        episodes.extend(stretch_episodes(&group, stretch, rule));
    }
    episodes
}

/// Cuts the seconds where nothing was known over a span of `no_data_after_s`; the cut ends the stretch before it.
fn stretches(mut verdicts: &[Second], no_data_after_s: u64) -> Vec<&[Second]> {
    let mut stretches = Vec::new();
    let mut unknown = 0;
    let mut at = 0;
    while at < verdicts.len() {
        unknown = if verdicts[at].1.iter().all(Option::is_none) { unknown + 1 } else { 0 };
        at += 1;
        if unknown > no_data_after_s {
            stretches.push(&verdicts[..at]);
            verdicts = &verdicts[at..];
            at = 0;
        }
    }
    stretches.push(verdicts);
    stretches
}

/// A time during which a level was on.
struct On {
    level: usize,
    from_s: i64,
    /// The second it was off again, and the first of the run that put it off.
    off: Option<(i64, i64)>,
}

fn stretch_episodes(group: &[(String, String)], stretch: &[Second], rule: &RatioRule) -> Vec<Episode> {
    let known = |level: usize| -> Vec<(i64, bool)> {
        stretch.iter().filter_map(|(second, says)| says[level].map(|crosses| (*second, crosses))).collect()
    };
    let levels: Vec<Vec<(i64, bool)>> = (0..rule.levels.len()).map(known).collect();
    let mut ons: Vec<On> = Vec::new();
    for (level, known) in levels.iter().enumerate() {
        ons.extend(times_on(level, known, rule.levels[level].for_s, rule.hold_s));
    }
    let is_on = |on: &On, second: i64| on.from_s <= second && on.off.is_none_or(|(off_s, _)| second < off_s);
    let gravest = |second| ons.iter().filter(|on| is_on(on, second)).map(|on| on.level).min();
    let onset = |second: i64| levels.iter().filter_map(|known| run_began(known, second)).min();
    let mut episodes = Vec::new();
    let mut open: Option<i64> = None;
    let mut push = |onset_s, level: usize, end| {
        let level = rule.levels[level].name.to_owned();
        episodes.push(Episode { group: group.to_vec(), onset_s, end, level });
    };
    let last_s = stretch.last().map(|(second, _)| *second);
    for (second, says) in stretch.iter().map(|(second, says)| (*second, says)) {
        match (open, gravest(second)) {
            (None, Some(_)) => open = onset(second),
            (Some(onset_s), None) => {
                let ended = ons.iter().filter_map(|on| on.off).filter(|(off_s, _)| *off_s == second);
                let recovered_s = ended.map(|(_, recovered_s)| recovered_s).max().expect("one ended it");
                let level = gravest(second - 1).expect("it was open");
                push(onset_s, level, End::Recovered { recovered_s, resolved_s: second });
                open = None;
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        if let (Some(onset_s), true) = (open, Some(second) == last_s) {
            let unknown =
                stretch.iter().rev().take_while(|(_, says)| says.iter().all(Option::is_none)).count();
            let silent = unknown as u64 > rule.no_data_after_s && says.iter().all(Option::is_none);
            let recovered_s = second + 1 - unknown as i64;
            let end = if silent { End::NoData { recovered_s, resolved_s: second } } else { End::Open };
            push(onset_s, gravest(second).expect("it is open"), end);
        }
    }
    episodes
}

/// The times a level is on, from its known seconds. A run of n seconds spans n - 1 from its first to its last.
fn times_on(level: usize, known: &[(i64, bool)], for_s: u64, hold_s: u64) -> Vec<On> {
    let mut ons: Vec<On> = Vec::new();
    for run in known.chunk_by(|a, b| a.1 == b.1) {
        let crosses = run[0].1;
        let on = ons.last().is_some_and(|on| on.off.is_none());
        let reached = |span_s: u64| run.get(span_s as usize).map(|(second, _)| *second);
        match (crosses, on) {
            (true, false) => {
                ons.extend(reached(for_s).map(|from_s| On { level, from_s, off: None }));
            }
            (false, true) => {
                let last = ons.last_mut().expect("one is on");
                last.off = reached(hold_s).map(|off_s| (off_s, run[0].0));
            }
            (true, true) | (false, false) => {}
        }
    }
    ons
}

/// The first second of the crossing run a level is in at `second`; unknown seconds do not end a run.
fn run_began(known: &[(i64, bool)], second: i64) -> Option<i64> {
    let until = known.partition_point(|(at_s, _)| *at_s <= second);
    let run = known[..until].iter().rev().take_while(|(_, crosses)| *crosses);
    run.last().map(|(at_s, _)| *at_s)
}

/// None: too few events to say.
fn crosses(level: &RatioLevel, counts: &Counts, end: i64) -> Option<bool> {
    let start = (end - level.window_s).div_euclid(level.pane_s) * level.pane_s;
    let (mut bad, mut total) = (0, 0);
    for (more_bad, more_total) in counts.range(start..end).map(|(_, counts)| counts) {
        bad += more_bad;
        total += more_total;
    }
    if total == 0 || total < level.min_events {
        return None;
    }
    Some(u128::from(bad) * 1_000_000_000 > level.above_billionths * u128::from(total))
}
