//! Random rules about random traffic, and what becomes of them: all of it follows from one seed.

use std::collections::BTreeMap;

use plimsoll::core::rules::Maintenance;

use super::answers::World;
use super::asks::Ask;
use super::evaluation::evaluate;
use super::hits::{Hit, SOURCES, Taken, arrivals, rules_of};
use super::oracle::Sample;
use super::questions::{maintenance, plain_asks, promises, scores};
use super::simulation::{Chance, Ingest, Setup};
use super::story::{Story, stories};
use super::workload::{SECOND_US, START_US};

pub const HOSTS: [&str; 3] = ["ash", "elm", "oak"];

/// As long as this and traffic is sparse.
const LONG_S: i64 = 2_400;
/// Samples go on for so long after the last event.
const IDLING_S: i64 = 30;
/// Longest time between two flushes or deliveries, beside what events themselves are late.
const DELAY_S: i64 = 120;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub setup: Setup,
    pub asks: Vec<Ask>,
    pub hits: Vec<Hit>,
    /// By second.
    pub samples: Vec<Taken>,
    pub maintenance: Vec<Maintenance>,
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
    /// Samples that were told.
    pub samples: usize,
}

impl Scenario {
    /// Rules of every kind that counts events.
    pub fn plain(seed: u64) -> Scenario {
        Scenario::random(seed, (250, 6), |chance, span_s, _| plain_asks(chance, span_s >= LONG_S))
    }

    /// Budgets, slices of time, and what is counted in both sources.
    pub fn of_promises(seed: u64) -> Scenario {
        Scenario::random(seed, (250, 3), |chance, span_s, _| promises(chance, span_s, span_s >= LONG_S))
            .maintained()
    }

    /// Scores and lags. What of a lag is known at a second hangs on the order of the log, unless one worker tells all.
    pub fn of_scores(seed: u64) -> Scenario {
        Scenario::random(seed, (120, 2), |chance, span_s, workers| {
            scores(chance, span_s, span_s >= LONG_S, workers == 1)
        })
        .maintained()
    }

    fn maintained(mut self) -> Scenario {
        let mut chance = Chance::new(self.setup.seed);
        self.samples = self.lags(&mut chance);
        self.maintenance = maintenance(&mut chance, self.span_s);
        self
    }

    /// It lasts `short_s` at least, and in so many of a hundred cases long. `asks` draws rules for a time of so many seconds and for so many workers.
    fn random(
        seed: u64,
        (short_s, long_percent): (i64, u64),
        asks: impl Fn(&mut Chance, i64, u32) -> Vec<Ask>,
    ) -> Scenario {
        let mut chance = Chance::new(seed);
        let chance = &mut chance;
        let (workers, shards, partitions) = chance.pick(&[(1, 1, 1), (1, 2, 2), (2, 3, 3), (3, 2, 4)]);
        let long = chance.percent(long_percent);
        let span_s = if long { LONG_S } else { short_s } + chance.below(350) as i64;
        let asks = asks(chance, span_s, workers);
        let correct_within_s = asks.iter().map(|ask| ask.correct_within_s).min().expect("a rule");
        let mut scenario = Scenario {
            setup: Setup { seed, workers, shards, partitions, mishaps: workers > 1 },
            asks,
            hits: Vec::new(),
            samples: Vec::new(),
            maintenance: Vec::new(),
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

    /// What the oracle is to know of it.
    pub fn world(&self, played: &Played) -> World<'_> {
        let samples = &self.samples[..played.samples];
        World { asks: &self.asks, hits: &self.hits, samples, until_s: played.until_s }
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
        let is_asked =
            |source: &usize| self.asks.iter().flat_map(|ask| &ask.feeds).any(|feed| feed.source == *source);
        for source in (0..SOURCES.len()).filter(is_asked) {
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

    /// Samples of the lags that are watched: a consumer falls behind and catches up, and now and then nobody speaks of
    /// a partition.
    fn lags(&self, chance: &mut Chance) -> Vec<Taken> {
        let watched = |source| self.asks.iter().any(|ask| ask.is_of_lag() && ask.feeds[0].source == source);
        let mut samples = Vec::new();
        for source in (0..SOURCES.len()).filter(|source| watched(*source)) {
            for partition in 0..self.setup.partitions as i32 {
                let mut from_s = chance.below(3) as i64 * chance.below(40) as i64;
                while from_s < self.span_s + IDLING_S {
                    let to_s = from_s + 1 + chance.below(60) as i64;
                    let grows = chance.pick(&[0, 0, 1, 1, 5]);
                    let is_told = chance.percent(80);
                    for second in (from_s..to_s).filter(|_| is_told && chance.percent(90)) {
                        let (messages, behind_us) =
                            (grows * (second - from_s), grows * (second - from_s) * SECOND_US / 2);
                        let second = START_US / SECOND_US + second;
                        let sample = Sample { second, partition, messages, behind_us };
                        samples.push(Taken { source, sample });
                    }
                    from_s = to_s;
                }
            }
        }
        samples.sort_by_key(|taken| (taken.sample.second, taken.source, taken.sample.partition));
        samples
    }

    /// Lets the workers fold it all and the shards judge it, until every partition idles.
    pub fn play(&self) -> Played {
        let mut rules = rules_of(&self.asks, self.out_of_order_s * SECOND_US, self.idle_after_s * SECOND_US);
        rules.maintenance.clone_from(&self.maintenance);
        let mut ingest = Ingest::new(self.setup, rules, &arrivals(&self.hits), START_US);
        ingest.watch_lags(&self.samples);
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
        let until_s = (ingest.now_us - self.out_of_order_s * SECOND_US).div_euclid(SECOND_US);
        let is_told = |taken: &Taken| taken.sample.second * SECOND_US <= ingest.now_us;
        Played { told, until_s, samples: self.samples.partition_point(is_told) }
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
