//! From what each level of a rule says second by second to episodes.
//!
//! - A second is named by its end.
//! - Each level stands for itself. Unknown seconds neither count nor break a run. It is on from the second at which it
//!   crossed at each known second of a span of `for` until the second at which it was clear at each known second of a
//!   span of `hold`. A lingering second breaks both kinds of run and begins none.
//! - An episode lasts while any level is on. Its level is the gravest that is on (in its last second, when it ended).
//! - When every level is unknown over a span of `no_data_after`, all begins afresh.
//! - `onset` is the first second of the oldest crossing run of any level at the second of opening, `recovered` the
//!   first second of the clear run that ended it, or of the unknown one.
//! - The worst value is that of any level that knew one, from the second of opening to the last before it ended; bad
//!   events are those of the seconds from the onset to the end.

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

/// An episode and what is told beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Judged {
    pub episode: Episode,
    pub opened_s: i64,
    pub worst_billionths: i128,
    pub bad_total: u64,
}

/// What a level says of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Crosses,
    /// No longer, but not clear of it.
    Lingers,
    Clear,
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Second {
    pub end_s: i64,
    /// By level, gravest first.
    pub says: Vec<Says>,
    /// The worst of the levels that are known.
    pub value_billionths: Option<i128>,
    /// Bad events of this one second.
    pub bad: u64,
}

/// How long a rule waits.
pub struct Patience {
    /// Name and `for` of each level, gravest first.
    pub levels: Vec<(String, i64)>,
    pub hold_s: i64,
    pub no_data_after_s: i64,
    /// Whether a larger value is the worse one.
    pub more_is_worse: bool,
}

/// The episodes of one group, from all its seconds in order.
pub fn episodes(group: &[(String, String)], seconds: &[Second], patience: &Patience) -> Vec<Judged> {
    stretches(seconds, patience.no_data_after_s)
        .into_iter()
        .flat_map(|stretch| stretch_episodes(group, stretch, patience))
        .collect()
}

fn is_silent(second: &Second) -> bool {
    second.says.iter().all(|says| *says == Says::Unknown)
}

/// Cuts the seconds where nothing was known over a span of `no_data_after_s`; the cut ends the stretch before it.
fn stretches(mut seconds: &[Second], no_data_after_s: i64) -> Vec<&[Second]> {
    let mut stretches = Vec::new();
    let mut unknown = 0;
    let mut at = 0;
    while at < seconds.len() {
        unknown = if is_silent(&seconds[at]) { unknown + 1 } else { 0 };
        at += 1;
        if unknown > no_data_after_s {
            stretches.push(&seconds[..at]);
            seconds = &seconds[at..];
            at = 0;
        }
    }
    stretches.push(seconds);
    stretches
}

/// A time during which a level was on.
struct On {
    level: usize,
    from_s: i64,
    /// The second it was off again, and the first of the run that put it off.
    off: Option<(i64, i64)>,
}

fn stretch_episodes(group: &[(String, String)], stretch: &[Second], patience: &Patience) -> Vec<Judged> {
    let known = |level: usize| -> Vec<(i64, Says)> {
        let says = stretch.iter().map(|second| (second.end_s, second.says[level]));
        says.filter(|(_, says)| *says != Says::Unknown).collect()
    };
    let levels: Vec<Vec<(i64, Says)>> = (0..patience.levels.len()).map(known).collect();
    let mut ons: Vec<On> = Vec::new();
    for (level, known) in levels.iter().enumerate() {
        ons.extend(times_on(level, known, patience.levels[level].1, patience.hold_s));
    }
    let is_on = |on: &On, second: i64| on.from_s <= second && on.off.is_none_or(|(off_s, _)| second < off_s);
    let gravest = |second| ons.iter().filter(|on| is_on(on, second)).map(|on| on.level).min();
    let onset = |second: i64| levels.iter().filter_map(|known| run_began(known, second)).min();
    let judged = |onset_s, opened_s, level: usize, end: End| {
        let last_s = match end {
            End::Open => i64::MAX,
            End::Recovered { resolved_s, .. } | End::NoData { resolved_s, .. } => resolved_s,
        };
        let during = |from_s, to_s| stretch.iter().filter(move |s| (from_s..=to_s).contains(&s.end_s));
        let values = || during(opened_s, last_s - 1).filter_map(|second| second.value_billionths);
        let worst = if patience.more_is_worse { values().max() } else { values().min() };
        let level = patience.levels[level].0.clone();
        Judged {
            episode: Episode { group: group.to_vec(), onset_s, end, level },
            opened_s,
            worst_billionths: worst.unwrap_or(0),
            bad_total: during(onset_s, last_s).map(|second| second.bad).sum(),
        }
    };
    let mut episodes = Vec::new();
    let mut open: Option<(i64, i64)> = None;
    for Second { end_s: second, .. } in stretch {
        match (open, gravest(*second)) {
            (None, Some(_)) => open = onset(*second).map(|onset_s| (onset_s, *second)),
            (Some((onset_s, opened_s)), None) => {
                let ended = ons.iter().filter_map(|on| on.off).filter(|(off_s, _)| off_s == second);
                let recovered_s = ended.map(|(_, recovered_s)| recovered_s).max().expect("one ended it");
                let level = gravest(second - 1).expect("it was open");
                let end = End::Recovered { recovered_s, resolved_s: *second };
                episodes.push(judged(onset_s, opened_s, level, end));
                open = None;
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
    if let (Some((onset_s, opened_s)), Some(last)) = (open, stretch.last()) {
        let unknown = stretch.iter().rev().take_while(|second| is_silent(second)).count() as i64;
        let recovered_s = last.end_s + 1 - unknown;
        let end = match unknown > patience.no_data_after_s {
            true => End::NoData { recovered_s, resolved_s: last.end_s },
            false => End::Open,
        };
        let level = gravest(last.end_s).expect("it is open");
        episodes.push(judged(onset_s, opened_s, level, end));
    }
    episodes
}

/// The times a level is on, from its known seconds. A run of n seconds spans n - 1 from its first to its last.
fn times_on(level: usize, known: &[(i64, Says)], for_s: i64, hold_s: i64) -> Vec<On> {
    let mut ons: Vec<On> = Vec::new();
    for run in known.chunk_by(|a, b| a.1 == b.1) {
        let is_on = ons.last().is_some_and(|on| on.off.is_none());
        let reached = |span_s: i64| run.get(span_s as usize).map(|(second, _)| *second);
        match (run[0].1, is_on) {
            (Says::Crosses, false) => {
                ons.extend(reached(for_s).map(|from_s| On { level, from_s, off: None }));
            }
            (Says::Clear, true) => {
                let last = ons.last_mut().expect("one is on");
                last.off = reached(hold_s).map(|off_s| (off_s, run[0].0));
            }
            (Says::Crosses, true) | (Says::Clear, false) | (Says::Lingers | Says::Unknown, _) => {}
        }
    }
    ons
}

/// The first second of the crossing run a level is in at `second`; unknown seconds do not end a run.
fn run_began(known: &[(i64, Says)], second: i64) -> Option<i64> {
    let until = known.partition_point(|(at_s, _)| *at_s <= second);
    let run = known[..until].iter().rev().take_while(|(_, says)| *says == Says::Crosses);
    run.last().map(|(at_s, _)| *at_s)
}
