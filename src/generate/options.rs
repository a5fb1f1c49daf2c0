//! What a workload is asked to be.

use thiserror::Error;

/// The longest a record may be delayed: below the sources' lateness of 2 h, so that none is dropped as too late.
pub const LATE_LIMIT_US: i64 = 110 * 60 * 1_000_000;

/// Least room between two arrivals, in microseconds, when event times must be distinct.
pub const DISTINCT_GAP_US: i64 = 64;

/// Where workloads end: bad event times of 2099 must be too far ahead of any arrival.
const YEAR_2098_US: i64 = 4_039_372_800_000_000;

/// How the daily wave swings around its mean: from 0.4 at 02:00 UTC to 1.6 at 14:00 UTC.
pub const WAVE_AMPLITUDE: f64 = 0.6;

/// The three feeds of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Prices,
    Predictions,
    Requests,
}

impl Topic {
    pub const ALL: [Topic; 3] = [Topic::Prices, Topic::Predictions, Topic::Requests];

    /// The topic's name on the broker.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Prices => "commodity-prices",
            Topic::Predictions => "ml-predictions",
            Topic::Requests => "request-log",
        }
    }

    /// The feed whose topic is called `name`.
    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// One value for each feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerTopic<T> {
    pub prices: T,
    pub predictions: T,
    pub requests: T,
}

impl<T> PerTopic<T> {
    pub fn get(&self, topic: Topic) -> &T {
        match topic {
            Topic::Prices => &self.prices,
            Topic::Predictions => &self.predictions,
            Topic::Requests => &self.requests,
        }
    }

    pub fn get_mut(&mut self, topic: Topic) -> &mut T {
        match topic {
            Topic::Prices => &mut self.prices,
            Topic::Predictions => &mut self.predictions,
            Topic::Requests => &mut self.requests,
        }
    }
}

/// How many records: in all, or for each second of event time. What a silent feed holds back is not made up for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Volume {
    Events(u64),
    PerSecond(f64),
}

/// Trouble on purpose, by event time, `to_us` exclusive.
#[derive(Clone, Debug, PartialEq)]
pub enum Incident {
    /// `share` (0 to 1) of the requests, of one service or all, fail: 5xx, or now and then 0, 408 or 499.
    ErrorSpike { from_us: i64, to_us: i64, share: f64, service: Option<String> },
    /// Inference of one model takes `factor` times as long.
    SlowModel { from_us: i64, to_us: i64, model: String, factor: f64 },
    /// Nothing of a topic arrives, and no record of it has its event time inside.
    SilentFeed { from_us: i64, to_us: i64, topic: Topic },
}

/// The defaults are an hour of the platform's usual day: 7,000 records a second, 1 % late, 0.1 % bad.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadOptions {
    pub seed: u64,
    /// Event time of the first record, in microseconds since 1970.
    pub start_us: i64,
    /// Event time covered, in microseconds; no event time is outside `[start_us, start_us + span_us)`.
    pub span_us: i64,
    pub volume: Volume,
    /// Partitions of each topic, at least 1.
    pub partitions: PerTopic<u32>,
    /// Weights of the topics; they need not add up to 1.
    pub shares: PerTopic<f64>,
    /// Share (0 to 1) of records delayed by 3 s to `late_max_us`. One whose partition has seen nothing newer
    /// meanwhile is late by the clock only, and counts as good.
    pub late_share: f64,
    /// Longest delay in microseconds, from 4 s to 110 min.
    pub late_max_us: i64,
    /// Share (0 to 1) of records that are no event, of the kinds of [`Bad`](super::Bad) in equal parts.
    pub bad_share: f64,
    /// Traffic follows the sun: 40 % of the mean at 02:00 UTC, 160 % at 14:00 UTC.
    pub daily_wave: bool,
    /// Users that send requests, Zipf distributed, at least 1.
    pub users: u64,
    /// No two records of the workload have the same event time, so the first and last price of an hour do not
    /// hang on the partition they came by. Needs 64 us between arrivals.
    pub distinct_times: bool,
    pub incidents: Vec<Incident>,
}

impl Default for WorkloadOptions {
    fn default() -> Self {
        WorkloadOptions {
            seed: 1,
            start_us: 1_761_876_000_000_000, // 2025-10-31T02:00:00Z
            span_us: 3_600_000_000,
            volume: Volume::PerSecond(7_000.0),
            partitions: PerTopic { prices: 3, predictions: 3, requests: 3 },
            shares: PerTopic { prices: 0.3, predictions: 0.2, requests: 0.5 },
            late_share: 0.01,
            late_max_us: 600_000_000,
            bad_share: 0.001,
            daily_wave: false,
            users: 20_000,
            distinct_times: false,
            incidents: Vec::new(),
        }
    }
}

/// Options that describe no workload.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OptionsError {
    #[error("span_us is {0}; event time must cover more than 0 microseconds")]
    Span(i64),
    #[error("the workload leaves the years 1970 to 2097; choose start_us and span_us inside them")]
    Years,
    #[error("{name} is {value}; it must be between 0 and 1")]
    Share { name: &'static str, value: f64 },
    #[error("the shares of the topics must be 0 or more, and one of them more than 0")]
    TopicShares,
    #[error("topic {0} has no partition; give it at least 1")]
    Partitions(&'static str),
    #[error("a rate of {0} records a second is no rate; it must be 0 or more and finite")]
    Rate(f64),
    #[error("late_max_us is {0}; it must be between 4 s and 110 min, in microseconds")]
    LateMax(i64),
    #[error("users is 0; give at least 1")]
    Users,
    #[error(
        "{events} records in {span_us} us stand too close for distinct event times; leave {DISTINCT_GAP_US} us each"
    )]
    TooDense { events: u64, span_us: i64 },
    #[error("an incident ends at {to_us}, not after its start at {from_us}")]
    Incident { from_us: i64, to_us: i64 },
    #[error("a slow model's factor is {0}; it must be more than 0 and at most 1000")]
    Factor(f64),
}

impl WorkloadOptions {
    /// Records asked for, before silent feeds hold any back.
    pub fn events(&self) -> u64 {
        match self.volume {
            Volume::Events(events) => events,
            // `as` saturates, and the rate has been checked to be finite and not negative.
            Volume::PerSecond(rate) => (rate * self.span_us as f64 / 1e6).round() as u64,
        }
    }

    /// Says what is wrong with the options, if anything.
    pub fn check(&self) -> Result<(), OptionsError> {
        if self.span_us <= 0 {
            return Err(OptionsError::Span(self.span_us));
        }
        let end = self.start_us.checked_add(self.span_us);
        if self.start_us < 0 || end.is_none_or(|end| end > YEAR_2098_US) {
            return Err(OptionsError::Years);
        }
        for (name, value) in [("late_share", self.late_share), ("bad_share", self.bad_share)] {
            check_share(name, value)?;
        }
        let shares = Topic::ALL.map(|topic| *self.shares.get(topic));
        if shares.iter().any(|share| !share.is_finite() || *share < 0.0) || shares.iter().sum::<f64>() <= 0.0
        {
            return Err(OptionsError::TopicShares);
        }
        if let Some(topic) = Topic::ALL.into_iter().find(|topic| *self.partitions.get(*topic) == 0) {
            return Err(OptionsError::Partitions(topic.name()));
        }
        if let Volume::PerSecond(rate) = self.volume
            && (!rate.is_finite() || rate < 0.0)
        {
            return Err(OptionsError::Rate(rate));
        }
        if !(4_000_000..=LATE_LIMIT_US).contains(&self.late_max_us) {
            return Err(OptionsError::LateMax(self.late_max_us));
        }
        if self.users == 0 {
            return Err(OptionsError::Users);
        }
        self.check_density()?;
        self.incidents.iter().try_for_each(check_incident)
    }

    fn check_density(&self) -> Result<(), OptionsError> {
        let densest = if self.daily_wave { 1.0 + WAVE_AMPLITUDE } else { 1.0 };
        // A short span at the peak of the wave is evenly dense, so this asks for more than it must; never for less.
        let room = self.span_us as f64 / densest / (self.events().max(1) as f64);
        if self.distinct_times && room < DISTINCT_GAP_US as f64 {
            return Err(OptionsError::TooDense { events: self.events(), span_us: self.span_us });
        }
        Ok(())
    }
}

fn check_share(name: &'static str, value: f64) -> Result<(), OptionsError> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(OptionsError::Share { name, value }) }
}

fn check_incident(incident: &Incident) -> Result<(), OptionsError> {
    let (from_us, to_us) = match incident {
        Incident::ErrorSpike { from_us, to_us, share, .. } => {
            check_share("the share of an error spike", *share)?;
            (*from_us, *to_us)
        }
        Incident::SlowModel { from_us, to_us, factor, .. } => {
            if !(*factor > 0.0 && *factor <= 1000.0) {
                return Err(OptionsError::Factor(*factor));
            }
            (*from_us, *to_us)
        }
        Incident::SilentFeed { from_us, to_us, .. } => (*from_us, *to_us),
    };
    if from_us < to_us { Ok(()) } else { Err(OptionsError::Incident { from_us, to_us }) }
}
