//! The same rules put to the oracle in its own terms, with all the hits and samples there are.

use std::collections::BTreeMap;

use super::asks::{Ask, By, What};
use super::hits::{Hit, Taken};
use super::oracle::{Happened, Heard, Judged, Kind, Part, Rule, Sample, judge_group};
use super::workload::SECOND_US;

/// A lag not heard of for longer holds no score back.
const LAG_SILENT_S: i64 = 30;

/// All there was to hear of.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub asks: &'a [Ask],
    pub hits: &'a [Hit],
    /// Samples that were told.
    pub samples: &'a [Taken],
    /// The second up to which events were judged for good.
    pub until_s: i64,
}

type Group = Vec<(String, String)>;

impl World<'_> {
    /// The episodes the oracle finds; sorted.
    pub fn expected(&self, ask: &Ask) -> Vec<Judged> {
        let Some(until_s) = self.until_s(ask) else { return Vec::new() };
        let rule = self.rule(ask);
        let mut judged = Vec::new();
        for (group, heard) in self.groups(ask) {
            judged.extend(judge_group(&rule, &group, &heard, until_s));
        }
        judged.sort();
        judged
    }

    /// Lags are judged in the time of their samples. A score waits for lags, but not for those that nobody speaks of.
    pub fn until_s(&self, ask: &Ask) -> Option<i64> {
        let leaves = self.leaves(ask);
        let (lags, events): (Vec<&Ask>, Vec<&Ask>) = leaves.into_iter().partition(|ask| ask.is_of_lag());
        let newest_s = |ask: &&Ask| {
            let of_source = self.samples.iter().filter(|taken| taken.source == ask.feeds[0].source);
            of_source.map(|taken| taken.sample.second + 1).max()
        };
        let lag_s = lags.iter().filter_map(newest_s).min();
        match lag_s {
            Some(lag_s) if events.is_empty() => Some(lag_s),
            Some(lag_s) if lag_s + LAG_SILENT_S >= self.until_s => Some(lag_s.min(self.until_s)),
            Some(_) | None => (!events.is_empty()).then_some(self.until_s),
        }
    }

    fn ask(&self, name: &str) -> &Ask {
        self.asks.iter().find(|ask| ask.name == name).expect("a part is asked for")
    }

    /// The rules without parts it is made of.
    fn leaves<'s>(&'s self, ask: &'s Ask) -> Vec<&'s Ask> {
        match &ask.parts()[..] {
            [] => vec![ask],
            parts => parts.iter().flat_map(|name| self.leaves(self.ask(name))).collect(),
        }
    }

    fn rule(&self, ask: &Ask) -> Rule {
        Rule {
            kind: match &ask.what {
                What::Ratio => Kind::Ratio,
                What::Took(millionths) => {
                    Kind::Quantile { millionths: *millionths as usize, step_billionths: 1_000_000 }
                }
                What::Freshness(millionths) => {
                    Kind::Quantile { millionths: *millionths as usize, step_billionths: 1_000 }
                }
                What::Count => Kind::Count,
                What::Rate => Kind::Rate,
                What::Absence => Kind::Absence,
                What::Burn(promise) => Kind::BurnRate { allowed_billionths: promise.allowed_billionths() },
                What::Budget(promise) => Kind::Budget {
                    allowed_billionths: promise.allowed_billionths(),
                    period: promise.period.clone(),
                },
                What::Lag { in_messages } => Kind::Lag { in_messages: *in_messages },
                What::Score { min_weight_billionths, .. } => {
                    Kind::Score { min_weight_billionths: *min_weight_billionths }
                }
            },
            levels: ask.levels.clone(),
            hold_s: ask.hold_s,
            no_data_after_s: ask.no_data_after_s,
            whole_s: self.whole_s(ask),
            slices: ask.promise().and_then(|promise| promise.slices.clone()),
        }
    }

    /// The first second of the source that began last.
    fn whole_s(&self, ask: &Ask) -> i64 {
        let first_s = |source| {
            let hits = self.hits.iter().filter(|hit| hit.source == source);
            hits.map(Hit::second).min().expect("every source has a hit")
        };
        let feeds = self.leaves(ask).into_iter().flat_map(|ask| &ask.feeds);
        feeds.map(|feed| first_s(feed.source)).max().expect("a source")
    }

    /// What each group hears of. All but hits have none.
    fn groups(&self, ask: &Ask) -> BTreeMap<Group, Heard> {
        let hits: BTreeMap<Group, Vec<Happened>> = match ask.parts().is_empty() && !ask.is_of_lag() {
            true => self.happened(ask),
            false => return BTreeMap::from([(Group::new(), self.heard(ask))]),
        };
        hits.into_iter().map(|(group, events)| (group, Heard::Events(events))).collect()
    }

    /// What a rule without groups hears of.
    fn heard(&self, ask: &Ask) -> Heard {
        if ask.is_of_lag() {
            let of_source = self.samples.iter().filter(|taken| taken.source == ask.feeds[0].source);
            let mut samples: Vec<Sample> = of_source.map(|taken| taken.sample).collect();
            samples.sort_by_key(|sample| sample.second);
            return Heard::Samples(samples);
        }
        let part = |name: &str, weight, full_billionths, zero_billionths| {
            let ask = self.ask(name);
            Part { rule: self.rule(ask), heard: self.heard(ask), weight, full_billionths, zero_billionths }
        };
        match (&ask.what, &ask.parts()[..]) {
            (What::Score { parts, .. }, _) => Heard::Parts(
                parts
                    .iter()
                    .map(|of| {
                        let (full, zero) = (of.full_billionths.into(), of.zero_billionths.into());
                        part(&of.name, of.weight_millionths.into(), full, zero)
                    })
                    .collect(),
            ),
            (_, [score]) => Heard::Parts(vec![part(score, 1, 1, 0)]),
            (_, _) => {
                Heard::Events(self.happened(ask).remove(&Group::new()).expect("every source has a hit"))
            }
        }
    }

    fn happened(&self, ask: &Ask) -> BTreeMap<Group, Vec<Happened>> {
        let mut groups: BTreeMap<Group, Vec<Happened>> = BTreeMap::new();
        for hit in self.hits {
            for feed in ask.feeds.iter().filter(|feed| feed.source == hit.source) {
                let (has_value, value_billionths) = match ask.what {
                    What::Took(_) => {
                        (hit.took_us.is_some(), i128::from(hit.took_us.unwrap_or(0)) * 1_000_000)
                    }
                    What::Freshness(_) => (true, i128::from(hit.age_us()) * 1_000),
                    _ => (true, 0),
                };
                let counts = has_value && feed.filter.holds(hit);
                let bad = counts && feed.bad.holds(hit);
                let happened = Happened { second: hit.second(), counts, bad, value_billionths };
                groups.entry(group(ask, hit)).or_default().push(happened);
            }
        }
        groups.values_mut().for_each(|events| events.sort_by_key(|event| event.second));
        groups
    }
}

impl Hit {
    fn second(&self) -> i64 {
        self.at_us.div_euclid(SECOND_US)
    }
}

/// Two hits are of one group when these are equal.
fn group(ask: &Ask, hit: &Hit) -> Group {
    let label = |by: &By| match by {
        By::Host => ("host".to_owned(), hit.host.to_owned()),
        By::State => ("state".to_owned(), hit.state.to_string()),
    };
    let mut group: Group = ask.by.iter().map(label).collect();
    group.sort();
    group
}
