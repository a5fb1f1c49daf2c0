//! Every kind of rule against the oracle: random rules about random traffic.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::panic::catch_unwind;

use plimsoll::core::rules::Maintenance;

use super::asks::{Ask, DOCUMENT, Promise, What};
use super::oracle::{End, Episode, Good, Judged, Period};
use super::scenario::Scenario;
use super::story::Story;

/// Names the one seed to run, or the first and the last, as in `1000-2999`.
const SEED: &str = "PLIMSOLL_TEST_SEED";

/// What all scenarios together were about.
#[derive(Default)]
struct Seen {
    /// By kind and end.
    episodes: BTreeMap<(&'static str, &'static str), usize>,
    transitions: BTreeMap<String, usize>,
    beside: usize,
    suppressed: usize,
}

/// What was seen of so many scenarios; None when some of them were asked for.
fn run(scenarios: u64, scenario: impl Fn(u64) -> Scenario) -> Option<Seen> {
    let asked: Option<RangeInclusive<u64>> = std::env::var(SEED).ok().map(|seeds| {
        let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
        first.parse().expect("a number")..=last.parse().expect("a number")
    });
    let mut seen = Seen::default();
    let mut wrong = Vec::new();
    for seed in asked.clone().unwrap_or(1..=scenarios) {
        wrong.extend(check(seed, &scenario(seed), &mut seen));
        // A few are enough to begin with.
        if wrong.len() >= 3 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    asked.is_none().then_some(seen)
}

impl Seen {
    fn has_ends(&self, kind: &'static str, least: &[(&'static str, usize)]) {
        for (end, least) in least {
            let found = self.episodes.get(&(kind, *end)).copied().unwrap_or(0);
            assert!(found >= *least, "{kind} {end}: {:?}", self.episodes);
        }
    }

    fn has_transitions(&self, retracted: usize) {
        for (transition, least) in
            [("OPENED", 11), ("UPDATED", 11), ("RESOLVED", 11), ("RETRACTED", retracted)]
        {
            assert!(self.transitions.get(transition).is_some_and(|n| *n >= least), "{:?}", self.transitions);
        }
        assert!(self.beside > 40, "{}", self.beside);
    }
}

#[test]
fn episodes_of_every_kind_are_the_oracles() {
    let Some(seen) = run(240, Scenario::plain) else { return };
    for kind in ["RATIO", "QUANTILE", "FRESHNESS", "COUNT", "RATE", "BURN_RATE"] {
        seen.has_ends(kind, &[("recovered", 41), ("no data", 6), ("open", 1)]);
    }
    // Where there is always an answer there is no silence.
    seen.has_ends("ABSENCE", &[("recovered", 41), ("open", 1)]);
    seen.has_transitions(11);
}

#[test]
fn episodes_of_budgets_and_slices_are_the_oracles() {
    let Some(seen) = run(200, Scenario::of_promises) else { return };
    for kind in ["BUDGET", "BUDGET of slices", "BURN_RATE of slices", "ABSENCE of both", "COUNT of both"] {
        seen.has_ends(kind, &[("recovered", 6), ("open", 1)]);
    }
    seen.has_ends("BURN_RATE of slices", &[("no data", 6)]);
    // These seldom come to an end.
    for kind in ["BUDGET of a calendar", "BURN_RATE of rates"] {
        seen.has_ends(kind, &[("recovered", 2), ("open", 1)]);
    }
    seen.has_transitions(1);
    assert!(seen.suppressed > 40, "{}", seen.suppressed);
}

#[test]
fn episodes_of_scores_and_lags_are_the_oracles() {
    let Some(seen) = run(120, Scenario::of_scores) else { return };
    for kind in ["COMPOSITE", "LAG"] {
        seen.has_ends(kind, &[("recovered", 60), ("no data", 5), ("open", 1)]);
    }
    for kind in ["BURN_RATE of scores", "BURN_RATE of lags"] {
        seen.has_ends(kind, &[("recovered", 1), ("open", 1)]);
    }
    seen.has_transitions(11);
    assert!(seen.suppressed > 100, "{}", seen.suppressed);
}

/// What is wrong with the rules of one scenario.
fn check(seed: u64, scenario: &Scenario, seen: &mut Seen) -> Vec<String> {
    let mut all_wrong = Vec::new();
    let Ok(played) = catch_unwind(|| scenario.play()) else {
        return vec![format!("{SEED}={seed}: it said what may not be said, see above")];
    };
    let world = scenario.world(&played);
    for ask in &scenario.asks {
        let story = played.told.get(&format!("{DOCUMENT}/{}", ask.name));
        let told = story.map(Story::judged).unwrap_or_default();
        let expected = world.expected(ask);
        if let Some(wrong) = difference(scenario, ask, &told, &expected) {
            all_wrong.push(format!(
                "{SEED}={seed}, judged until {:?}: {wrong}\ntold\n{}\nof {ask:?}\nin {} hits, {:?}, {:?}",
                world.until_s(ask),
                story.map(Story::all_told).unwrap_or_default(),
                scenario.hits.len(),
                scenario.setup,
                scenario.disorder,
            ));
        }
        for (episode, names) in story.map(Story::suppressed).unwrap_or_default() {
            seen.suppressed += usize::from(!names.is_empty());
            let expected = suppressed_by(&scenario.maintenance, &episode);
            if names != expected {
                all_wrong.push(format!("{SEED}={seed}: {names:?} and not {expected:?} of {episode:?}"));
            }
        }
        let beside = expected.iter().filter(|judged| is_told_beside(scenario, judged)).count();
        seen.beside += beside;
        for judged in &expected {
            *seen.episodes.entry((kind(ask), end(&judged.episode))).or_default() += 1;
        }
        for (transition, count) in story.map(|story| &story.transitions).into_iter().flatten() {
            *seen.transitions.entry(transition.clone()).or_default() += count;
        }
    }
    all_wrong
}

/// The maintenance that was on at any time from the onset of an ended episode to its end. No rule has a service.
fn suppressed_by(maintenance: &[Maintenance], episode: &Episode) -> Vec<String> {
    let (End::Recovered { resolved_s, .. } | End::NoData { resolved_s, .. }) = episode.end else {
        panic!("it has ended")
    };
    let is_on = |planned: &&Maintenance| {
        let times = planned.from_s..planned.to_s;
        planned.services.is_empty()
            && planned
                .labels
                .iter()
                .all(|(name, value)| episode.group.contains(&(name.clone(), value.clone())))
            && (episode.onset_s..resolved_s).any(|second| times.contains(&second))
    };
    maintenance.iter().filter(is_on).map(|planned| planned.name.clone()).collect()
}

fn difference(scenario: &Scenario, ask: &Ask, told: &[Judged], expected: &[Judged]) -> Option<String> {
    let episodes = |judged: &[Judged]| judged.iter().map(|j| j.episode.clone()).collect::<Vec<Episode>>();
    if episodes(told) != episodes(expected) {
        let only = |these: &[Judged], those: &[Judged]| {
            let others = episodes(those);
            let only = these.iter().filter(|judged| !others.contains(&judged.episode));
            only.map(|judged| format!("  {judged:?}")).collect::<Vec<_>>().join("\n")
        };
        return Some(format!("core alone\n{}\noracle alone\n{}", only(told, expected), only(expected, told)));
    }
    told.iter().zip(expected).find_map(|(told, expected)| {
        let what = wrong_beside(scenario, ask, told, expected)?;
        Some(format!("{what}: {told:?}, not {expected:?}"))
    })
}

/// What is wrong with what was told of an episode that is right.
fn wrong_beside(scenario: &Scenario, ask: &Ask, told: &Judged, expected: &Judged) -> Option<&'static str> {
    let waits = match &ask.what {
        What::Rate | What::Absence | What::Budget(_) | What::Lag { .. } | What::Score { .. } => true,
        What::Burn(promise) => promise.slices.is_some(),
        What::Ratio | What::Took(_) | What::Freshness(_) | What::Count => false,
    };
    if scenario.is_calm() && (waits || scenario.is_in_order()) && told.opened_s != expected.opened_s {
        return Some("opened");
    }
    if !is_told_beside(scenario, expected) {
        return None;
    }
    let off = (told.worst_billionths - expected.worst_billionths).abs();
    // Values of quantiles are read from histograms of three digits, and what is bad depends on the level.
    let is_quantile = matches!(ask.what, What::Took(_) | What::Freshness(_));
    if off > if is_quantile { expected.worst_billionths / 1000 } else { 0 } {
        return Some("worst value");
    }
    let has_one_bad = !is_quantile || ask.levels.len() == 1;
    (has_one_bad && told.bad_total != expected.bad_total).then_some("bad events")
}

/// What is told last holds all of the episode.
fn is_told_beside(scenario: &Scenario, expected: &Judged) -> bool {
    scenario.is_calm() && expected.episode.end != End::Open
}

fn kind(ask: &Ask) -> &'static str {
    let of = |promise: &Promise| promise.slices.as_ref().map(|slices| slices.good);
    match &ask.what {
        What::Ratio => "RATIO",
        What::Took(_) => "QUANTILE",
        What::Freshness(_) => "FRESHNESS",
        What::Count if ask.feeds.len() > 1 => "COUNT of both",
        What::Count => "COUNT",
        What::Rate => "RATE",
        What::Absence if ask.feeds.len() > 1 => "ABSENCE of both",
        What::Absence => "ABSENCE",
        What::Burn(promise) => match of(promise) {
            None => "BURN_RATE",
            Some(Good::Events) => "BURN_RATE of slices",
            Some(Good::Rate { .. }) => "BURN_RATE of rates",
            Some(Good::Lag { .. }) => "BURN_RATE of lags",
            Some(Good::Score { .. }) => "BURN_RATE of scores",
        },
        What::Budget(promise) if of(promise).is_some() => "BUDGET of slices",
        What::Budget(Promise { period: Period::Calendar(_), .. }) => "BUDGET of a calendar",
        What::Budget(_) => "BUDGET",
        What::Lag { .. } => "LAG",
        What::Score { .. } => "COMPOSITE",
    }
}

fn end(episode: &Episode) -> &'static str {
    match episode.end {
        End::Open => "open",
        End::Recovered { .. } => "recovered",
        End::NoData { .. } => "no data",
    }
}
