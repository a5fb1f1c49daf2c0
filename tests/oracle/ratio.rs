//! RATIO rules over the request log, judged second by second with all the data at hand.
//!
//! Second `s` judges the window `[floor((s - length) / pane) x pane, s)`. With fewer events than `min_events`, or none,
//! a level is unknown.

use std::collections::BTreeMap;

use super::RawRecord;
use super::decode::{Event, Request};
use super::episodes::{Episode, Patience, Says, Second, episodes};
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

fn group_episodes(
    group: Vec<(String, String)>,
    counts: &Counts,
    rule: &RatioRule,
    until_s: i64,
) -> Vec<Episode> {
    let first_s = *counts.keys().next().expect("a group has an event");
    let says = |second| rule.levels.iter().map(|level| crosses(level, counts, second)).collect();
    let second = |end_s| Second { end_s, says: says(end_s), value_billionths: None, bad: 0 };
    let seconds: Vec<Second> = (first_s + 1..=until_s).map(second).collect();
    let patience = Patience {
        levels: rule.levels.iter().map(|level| (level.name.to_owned(), level.for_s as i64)).collect(),
        hold_s: rule.hold_s as i64,
        no_data_after_s: rule.no_data_after_s as i64,
        more_is_worse: true,
    };
    episodes(&group, &seconds, &patience).into_iter().map(|judged| judged.episode).collect()
}

fn crosses(level: &RatioLevel, counts: &Counts, end: i64) -> Says {
    let start = (end - level.window_s).div_euclid(level.pane_s) * level.pane_s;
    let (mut bad, mut total) = (0, 0);
    for (more_bad, more_total) in counts.range(start..end).map(|(_, counts)| counts) {
        bad += more_bad;
        total += more_total;
    }
    if total == 0 || total < level.min_events {
        return Says::Unknown;
    }
    let above = u128::from(bad) * 1_000_000_000 > level.above_billionths * u128::from(total);
    if above { Says::Crosses } else { Says::Clear }
}
