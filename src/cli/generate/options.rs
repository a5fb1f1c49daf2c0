//! What the arguments ask for, or everything that is wrong with them.

use std::path::PathBuf;

use plimsoll::config::written_duration_us;
use plimsoll::generate::{Incident, PerTopic, Volume, WorkloadOptions};

use super::incident;
use super::{Failure, GenerateArgs};
use crate::cli::pace::Speed;

const HOUR_US: i64 = 3_600_000_000;
/// A live feed without an end ends here, if nobody ends it before.
const YEAR_US: i64 = 365 * 24 * HOUR_US;
const RATE: f64 = 7_000.0;
const FILE_PARTITIONS: u32 = 3;

/// A workload, where it goes and how fast.
#[derive(Debug)]
pub struct Plan {
    pub speed: Speed,
    pub output: Option<PathBuf>,
    /// Live, until somebody ends it.
    pub endless: bool,
    start_us: Option<i64>,
    /// Starts at 0, and so do its incidents.
    workload: WorkloadOptions,
}

impl Plan {
    /// The workload when it begins now. Without `--start` a live one does; a faster one ends now instead, for nothing
    /// may happen in the future.
    pub fn workload(&self, now_us: i64) -> WorkloadOptions {
        let live = matches!(self.speed, Speed::Times(times) if times <= 1.0);
        let start_us = match self.start_us {
            Some(start_us) => start_us,
            None if live => now_us,
            None => now_us - self.workload.span_us,
        };
        let later = |incident: &Incident| incident::later(incident.clone(), start_us);
        WorkloadOptions {
            start_us,
            incidents: self.workload.incidents.iter().map(later).collect(),
            ..self.workload.clone()
        }
    }
}

/// Reads the arguments.
pub fn plan(args: &GenerateArgs, now_us: i64) -> Result<Plan, Failure> {
    let mut mistakes = Mistakes::default();
    let start_us = mistakes.read("--start", args.start.as_deref(), start);
    let speed = mistakes.read("--speed", args.speed.as_deref(), speed);
    let live = args.start.is_none() && args.output.is_none();
    let speed = speed.unwrap_or(if live { Speed::Times(1.0) } else { Speed::Max });
    let endless = live
        && args.span.is_none()
        && args.events.is_none()
        && matches!(speed, Speed::Times(times) if times <= 1.0);
    let (volume, span_us) = size(args, endless, &mut mistakes);
    let defaults = WorkloadOptions::default();
    let workload = WorkloadOptions {
        seed: mistakes.read("--seed", args.seed.as_deref(), number).unwrap_or(defaults.seed),
        start_us: 0,
        span_us,
        volume,
        partitions: partitions(args, &mut mistakes),
        late_share: mistakes
            .read("--late-share", args.late_share.as_deref(), share)
            .unwrap_or(defaults.late_share),
        bad_share: mistakes
            .read("--bad-share", args.bad_share.as_deref(), share)
            .unwrap_or(defaults.bad_share),
        daily_wave: args.daily_wave,
        users: mistakes.read("--users", args.users.as_deref(), at_least_one).unwrap_or(defaults.users),
        distinct_times: args.distinct_times,
        incidents: incidents(args, span_us, &mut mistakes),
        ..defaults
    };
    let plan = Plan { speed, output: args.output.clone(), endless, start_us, workload };
    // What concerns several options at once; a single wrong one would only be told twice.
    if mistakes.0.is_empty() {
        plan.workload(now_us).check().unwrap_or_else(|error| mistakes.0.push(error.to_string()));
    }
    if mistakes.0.is_empty() { Ok(plan) } else { Err(Failure::usage(mistakes.0.join("\n"))) }
}

/// Two of rate, events and span say all; the third follows.
fn size(args: &GenerateArgs, endless: bool, mistakes: &mut Mistakes) -> (Volume, i64) {
    let rate = mistakes.read("--rate", args.rate.as_deref(), rate);
    let events = mistakes.read("--events", args.events.as_deref(), at_least_one);
    let span_us = mistakes.read("--span", args.span.as_deref(), span);
    if args.rate.is_some() && args.events.is_some() && args.span.is_some() {
        mistakes.0.push("--rate, --events and --span: any two of them say all; leave one out".to_owned());
    }
    match (rate, events, span_us) {
        (_, Some(events), Some(span_us)) => (Volume::Events(events), span_us),
        (rate, Some(events), None) => {
            // `as` saturates; a span beyond all years is told by the workload's own check.
            let span_us = events as f64 / rate.unwrap_or(RATE) * 1e6;
            (Volume::Events(events), (span_us.ceil() as i64).max(1))
        }
        (rate, None, span_us) => {
            let default_us = if endless { YEAR_US } else { HOUR_US };
            (Volume::PerSecond(rate.unwrap_or(RATE)), span_us.unwrap_or(default_us))
        }
    }
}

fn partitions(args: &GenerateArgs, mistakes: &mut Mistakes) -> PerTopic<u32> {
    let given = mistakes.read("--partitions", args.partitions.as_deref(), at_least_one);
    if args.partitions.is_some() && args.output.is_none() {
        mistakes.0.push(
            "--partitions: Kafka says itself how many its topics have; leave it out, or write a file with --output"
                .to_owned(),
        );
    }
    let all = given.map_or(FILE_PARTITIONS, |given| u32::try_from(given).unwrap_or(u32::MAX));
    if all > 10_000 {
        mistakes.0.push(format!("--partitions {all}: that is no topic; 1 to 10000"));
        return PerTopic { prices: 1, predictions: 1, requests: 1 };
    }
    PerTopic { prices: all, predictions: all, requests: all }
}

fn incidents(args: &GenerateArgs, span_us: i64, mistakes: &mut Mistakes) -> Vec<Incident> {
    let mut incidents = Vec::new();
    for text in &args.incident {
        match incident::parse(text) {
            Ok(incident) if incident::times(&incident).0 >= span_us => mistakes.0.push(format!(
                "--incident {text}: it would begin after the end; --span, or what follows from --events and \
                 --rate, must be longer"
            )),
            Ok(incident) => incidents.push(incident),
            Err(mistake) => mistakes.0.push(mistake),
        }
    }
    incidents
}

#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn read<T>(
        &mut self,
        option: &str,
        text: Option<&str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.0.push(format!("{option}: {problem}"));
                None
            }
        }
    }
}

fn start(text: &str) -> Result<i64, String> {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(at.as_microsecond()),
        Err(_) => Err(format!(
            "`{text}` is no RFC 3339 time; write it like `2025-10-31T02:00:00Z` or `2025-10-31T04:00:00+02:00`"
        )),
    }
}

fn span(text: &str) -> Result<i64, String> {
    match written_duration_us(text)? {
        0 => Err("a span of nothing holds no event; write it like `1h`".to_owned()),
        us => Ok(us),
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.strip_suffix('x').unwrap_or(text).parse();
    match times {
        Ok(times) if times > 0.0 && times <= 1e6 => Ok(Speed::Times(times)),
        _ => Err(format!(
            "`{text}` is no speed; write event seconds a wall second, as in `1` or `60`, up to 1000000, or `max`"
        )),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err(format!(
            "`{text}` is no rate; write events a second of event time, as in `7000` or `0.5`, up to 1000000000"
        )),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no whole number from 0 up"))
}

fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("`{text}` is no whole number from 1 up")),
    }
}

/// `5%` or `0.05`.
pub fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    match share {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("`{text}` is no share; write it like `5%` or `0.05`, from 0% to 100%")),
    }
}
