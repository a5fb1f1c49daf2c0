//! Random rules about random traffic, and what becomes of them: all of it follows from one seed.

use std::collections::BTreeMap;

use super::evaluation::evaluate;
use super::hits::{Ask, BILLION, By, Feed, Hit, SEVERITIES, SOURCES, What, Which, arrivals, rules_of};
use super::oracle::Level;
use super::simulation::{Chance, Ingest, Setup};
use super::story::{Story, stories};
use super::workload::{SECOND_US, START_US};

pub const HOSTS: [&str; 3] = ["ash", "elm", "oak"];

/// Longest time between two flushes or deliveries, beside what events themselves are late.
const DELAY_S: i64 = 120;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub setup: Setup,
    pub asks: Vec<Ask>,
    pub hits: Vec<Hit>,
    pub span_s: i64,
    pub step_s: i64,
    pub out_of_order_s: i64,
    pub idle_after_s: i64,
    pub disorder: Disorder,
}

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disorder {
    /// At once.
    None,
    /// Within `out_of_order`.
    Expected,
    /// Some of them later than that, but soon enough to correct breaches.
    Late,
    /// For a while one partition hands out nothing, and then all at once.
    Held,
}

/// What a run has said.
pub struct Played {
    /// By `document/rule`.
    pub told: BTreeMap<String, Story>,
    /// The second up to which all was judged for good.
    pub until_s: i64,
}

impl Scenario {
    pub fn random(seed: u64) -> Scenario {
        let mut chance = Chance::new(seed);
        let chance = &mut chance;
        let (workers, shards, partitions) = chance.pick(&[(1, 1, 1), (1, 2, 2), (2, 3, 3), (3, 2, 4)]);
        let long = chance.percent(6);
        let span_s = if long { 2_400 } else { 250 } + chance.below(350) as i64;
        let mut asks: Vec<Ask> = Vec::new();
        for _ in 0..1 + chance.below(3) {
            let name = format!("rule-{}", asks.len());
            asks.push(ask(chance, name, long));
        }
        let correct_within_s = asks.iter().map(|ask| ask.correct_within_s).min().expect("a rule");
        let mut scenario = Scenario {
            setup: Setup { seed, workers, shards, partitions, mishaps: workers > 1 },
            asks,
            hits: Vec::new(),
            span_s,
            step_s: if long { 30 } else { chance.pick(&[2, 6, 6]) },
            out_of_order_s: chance.pick(&[0, 1, 2, 5]),
            idle_after_s: chance.pick(&[2, 3, 5]),
            disorder: chance.pick(&[
                Disorder::None,
                Disorder::Expected,
                Disorder::Late,
                Disorder::Late,
                Disorder::Held,
            ]),
        };
        scenario.hits = scenario.traffic(chance, long, correct_within_s - DELAY_S);
        scenario
    }

    /// Whether the order of arrival changes nothing: what is told beside an episode is then the oracle's too.
    pub fn is_calm(&self) -> bool {
        self.setup.workers == 1 && matches!(self.disorder, Disorder::None | Disorder::Expected)
    }

    /// Whether what is judged early is judged right.
    pub fn is_in_order(&self) -> bool {
        self.setup.partitions == 1 && self.disorder == Disorder::None
    }

    /// Each host of each source is quiet, busy, slow or broken for a while, then something else.
    fn traffic(&self, chance: &mut Chance, sparse: bool, late_max_s: i64) -> Vec<Hit> {
        // Before this nothing was read: every partition may be late, but not later than what came first.
        let first = |source| hit(source, 0, START_US);
        let mut hits: Vec<Hit> = (0..SOURCES.len()).map(first).collect();
        let length_s = if sparse { 600 } else { 120 };
        for source in 0..SOURCES.len() {
            for host in HOSTS {
                let mut from_s = chance.below(60) as i64;
                while from_s < self.span_s {
                    let to_s = (from_s + 3 + chance.below(length_s) as i64).min(self.span_s);
                    self.phase(chance, sparse, from_s..to_s, &hit_of(source, host), &mut hits);
                    from_s = to_s;
                }
            }
        }
        self.delay(chance, late_max_s, &mut hits);
        hits
    }

    fn phase(
        &self,
        chance: &mut Chance,
        sparse: bool,
        seconds: std::ops::Range<i64>,
        like: &Hit,
        hits: &mut Vec<Hit>,
    ) {
        let rates = if sparse { [0, 0, 1, 1, 2, 5] } else { [0, 0, 2, 5, 10, 25] };
        let per_ten_s = chance.pick(&rates);
        let bad_percent = chance.pick(&[0, 0, 2, 10, 30, 60, 100]);
        let slow_percent = chance.pick(&[0, 0, 5, 30, 100]);
        let only = chance.pick(&[None, None, Some(0), Some(1)]);
        for second in seconds {
            for _ in 0..(per_ten_s + chance.below(10)) / 10 {
                let within_us = chance.pick(&[0, 0, 1]) * chance.below(1_000_000) as i64;
                let state = match chance.percent(bad_percent) {
                    true => chance.pick(&[500, 503]),
                    false => chance.pick(&[200, 200, 200, 404]),
                };
                let slow = chance.percent(slow_percent);
                let took_us = match slow {
                    true => Some(chance.pick(&[200_001, 300_000, 1_000_000, 4_321_987])),
                    false => chance.pick(&[None, Some(0), Some(50_000), Some(100_000), Some(200_000)]),
                };
                let any = chance.below(self.setup.partitions.into()) as u32;
                let partition = only.map_or(any, |at: u32| at.min(self.setup.partitions - 1));
                let at_us = START_US + second * SECOND_US + within_us;
                hits.push(Hit { partition, at_us, arrives_us: at_us, state, took_us, ..like.clone() });
            }
        }
    }

    fn delay(&self, chance: &mut Chance, late_max_s: i64, hits: &mut [Hit]) {
        let halves = |chance: &mut Chance, seconds: i64| {
            chance.below(2 * seconds.max(1) as u64) as i64 * SECOND_US / 2
        };
        let late_percent = chance.pick(&[1, 2, 8]);
        let held_from_us = START_US + chance.below(self.span_s as u64) as i64 * SECOND_US;
        let held_until_us = held_from_us + late_max_s.min(60) * SECOND_US;
        for hit in hits.iter_mut().skip(SOURCES.len()) {
            let out_of_order_us = self.out_of_order_s * SECOND_US;
            let expected = |chance: &mut Chance| match chance.percent(30) && out_of_order_us > 0 {
                true => chance.below(out_of_order_us as u64) as i64,
                false => 0,
            };
            let held = (held_from_us..held_until_us).contains(&hit.at_us) && hit.partition == 0;
            hit.arrives_us += match self.disorder {
                Disorder::None => 0,
                Disorder::Late if chance.percent(late_percent) => halves(chance, late_max_s),
                Disorder::Held if held => held_until_us - hit.at_us,
                Disorder::Expected | Disorder::Late | Disorder::Held => expected(chance),
            };
        }
    }

    /// Lets the workers fold it all and the shards judge it, until every partition idles.
    pub fn play(&self) -> Played {
        let rules = rules_of(&self.asks, self.out_of_order_s * SECOND_US, self.idle_after_s * SECOND_US);
        let mut ingest = Ingest::new(self.setup, rules, &arrivals(&self.hits), START_US);
        let last_us = self.hits.iter().map(|hit| hit.arrives_us).max().expect("a hit");
        let until_us = last_us.max(START_US + self.span_s * SECOND_US) + SECOND_US;
        while ingest.now_us < until_us {
            ingest.run(until_us.min(ingest.now_us + 10 * self.step_s * SECOND_US), self.step_s * SECOND_US);
            ingest.deliver();
        }
        ingest.catch_up();
        assert!(ingest.dead_letters.is_empty());
        let told = stories(&evaluate(&ingest.logs));
        // All partitions idle, so time goes on with the clock on the wall.
        Played { told, until_s: (ingest.now_us - self.out_of_order_s * SECOND_US).div_euclid(SECOND_US) }
    }
}

/// A good and quick hit that arrives when it happens.
pub fn hit(source: usize, partition: u32, at_us: i64) -> Hit {
    let host = HOSTS[0];
    Hit { source, partition, at_us, arrives_us: at_us, host, state: 200, took_us: Some(100_000) }
}

fn hit_of(source: usize, host: &'static str) -> Hit {
    Hit { host, ..hit(source, 0, START_US) }
}

fn ask(chance: &mut Chance, name: String, long: bool) -> Ask {
    let what = match chance.below(7) {
        0 => What::Ratio,
        1 => What::Took(chance.pick(&[500_000, 900_000, 950_000, 999_000])),
        2 => What::Freshness(chance.pick(&[500_000, 900_000, 990_000])),
        3 => What::Count,
        4 => What::Rate,
        5 => What::Absence,
        _ => What::Burn { target_billionths: chance.pick(&[500_000_000, 900_000_000, 990_000_000]) },
    };
    let source = chance.below(2) as usize;
    let filter = chance.pick(&[Which::All, Which::All, Which::On("elm"), Which::NotMissing]);
    let bad = match what {
        What::Ratio | What::Burn { .. } => {
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
        What::Absence | What::Burn { .. } => true,
    };
    let count = chance.pick(&[1, 1, 2, 3]);
    let levels = SEVERITIES.iter().take(count).map(|name| level(chance, what, above, name, long)).collect();
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

fn level(chance: &mut Chance, what: What, above: bool, name: &str, long: bool) -> Level {
    let millionths = |value: i128| value * 1_000;
    let threshold_billionths = match what {
        What::Ratio => millionths(chance.pick(&[0, 50_000, 200_000, 333_333, 500_000, 900_000])),
        What::Took(_) => chance.pick(&[50, 100, 200, 300]) * BILLION,
        What::Freshness(_) => chance.pick(&[0, 1, 2, 5, 20]) * BILLION / 2,
        What::Count => chance.pick(&[0, 1, 3, 10, 50]) * BILLION,
        What::Rate => millionths(chance.pick(&[0, 50_000, 100_000, 500_000, 1_000_000, 2_000_000])),
        What::Absence => 0,
        What::Burn { .. } => chance.pick(&[1, 2, 5, 9]) * BILLION / 2,
    };
    let window_s = match long {
        true => chance.pick(&[60, 299, 600, 1_799, 1_800, 1_805, 3_600]),
        false => chance.pick(&[1, 2, 5, 10, 30, 45, 60, 299, 300, 304]),
    };
    let (window_s, short_window_s) = match what {
        What::Burn { .. } => {
            let long_s = window_s.max(30);
            (long_s, Some((long_s / chance.pick(&[4, 10, 12])).max(1)))
        }
        What::Absence => (window_s.max(5), None),
        _ => (window_s, None),
    };
    let counts = !matches!(what, What::Absence);
    Level {
        name: name.into(),
        above,
        threshold_billionths: if counts { threshold_billionths } else { i128::from(window_s) * BILLION },
        window_s,
        short_window_s,
        for_s: chance.pick(&[0, 0, 0, 1, 3, 10, 30]),
        min_events: if counts { chance.pick(&[0, 0, 1, 5, 20]) } else { 0 },
        min_bad: if above && counts { chance.pick(&[0, 0, 1, 3]) } else { 0 },
        min_coverage_billionths: chance.pick(&[0, 0, 500_000_000, BILLION]),
    }
}
