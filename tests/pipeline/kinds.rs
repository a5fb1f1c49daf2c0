//! Every kind of rule against the oracle: random rules about random traffic.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use super::hits::{Ask, DOCUMENT, What};
use super::oracle::{End, Episode, Judged};
use super::scenario::Scenario;
use super::story::Story;

const SCENARIOS: u64 = 240;
/// Names the one seed to run.
const SEED: &str = "PLIMSOLL_TEST_SEED";

/// What all scenarios together were about.
#[derive(Default)]
struct Seen {
    /// By kind and end.
    episodes: BTreeMap<(&'static str, &'static str), usize>,
    transitions: BTreeMap<String, usize>,
    beside: usize,
}

#[test]
fn episodes_of_every_kind_are_the_oracles() {
    let alone: Option<u64> = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a number"));
    let mut seen = Seen::default();
    let mut wrong = Vec::new();
    for seed in alone.map_or(1..=SCENARIOS, |seed| seed..=seed) {
        wrong.extend(check(seed, &mut seen));
        // A few are enough to begin with.
        if wrong.len() >= 3 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    if alone.is_some() {
        return;
    }
    for kind in ["RATIO", "QUANTILE", "FRESHNESS", "COUNT", "RATE", "ABSENCE", "BURN_RATE"] {
        let found = |end| seen.episodes.get(&(kind, end)).copied().unwrap_or(0);
        assert!(found("recovered") > 40, "{kind}: {:?}", seen.episodes);
        // Where there is always an answer there is no silence.
        assert!(found("no data") > 5 || kind == "ABSENCE", "{kind}: {:?}", seen.episodes);
        assert!(found("open") > 0, "{kind}: {:?}", seen.episodes);
    }
    for transition in ["OPENED", "UPDATED", "RESOLVED", "RETRACTED"] {
        assert!(seen.transitions.get(transition).is_some_and(|n| *n > 10), "{:?}", seen.transitions);
    }
    assert!(seen.beside > 100, "{}", seen.beside);
}

/// What is wrong with the rules of one scenario.
fn check(seed: u64, seen: &mut Seen) -> Vec<String> {
    let scenario = Scenario::random(seed);
    let mut all_wrong = Vec::new();
    let Ok(played) = catch_unwind(|| scenario.play()) else {
        return vec![format!("{SEED}={seed}: it said what may not be said, see above")];
    };
    for ask in &scenario.asks {
        let story = played.told.get(&format!("{DOCUMENT}/{}", ask.name));
        let told = story.map(Story::judged).unwrap_or_default();
        let expected = ask.expected(&scenario.hits, played.until_s);
        if let Some(wrong) = difference(&scenario, ask, &told, &expected) {
            all_wrong.push(format!(
                "{SEED}={seed}, judged until {}: {wrong}\ntold\n{}\nof {ask:?}\nin {} hits, {:?}, {:?}",
                played.until_s,
                story.map(Story::all_told).unwrap_or_default(),
                scenario.hits.len(),
                scenario.setup,
                scenario.disorder,
            ));
        }
        let beside = expected.iter().filter(|judged| is_told_beside(&scenario, judged)).count();
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
    let waits = matches!(ask.what, What::Rate | What::Absence);
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
    match ask.what {
        What::Ratio => "RATIO",
        What::Took(_) => "QUANTILE",
        What::Freshness(_) => "FRESHNESS",
        What::Count => "COUNT",
        What::Rate => "RATE",
        What::Absence => "ABSENCE",
        What::Burn { .. } => "BURN_RATE",
    }
}

fn end(episode: &Episode) -> &'static str {
    match episode.end {
        End::Open => "open",
        End::Recovered { .. } => "recovered",
        End::NoData { .. } => "no data",
    }
}
