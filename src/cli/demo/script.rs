//! What happens in the demo, and when, in event time.

use std::net::SocketAddr;
use std::time::Duration;

use plimsoll::config::written_duration_us;
use plimsoll::generate::{Incident, PerTopic, Volume, WorkloadOptions};

use super::DemoArgs;
use crate::cli::Failure;
use crate::cli::pace::Speed;

const SECOND_US: f64 = 1e6;
const MINUTE_US: i64 = 60_000_000;
const YEAR_US: i64 = 365 * 24 * 60 * MINUTE_US;
/// So that the end of an hour lies inside, and the spike well before its end.
const LEAST_SPAN_US: i64 = 70 * MINUTE_US;
/// Below, one service sends too few requests a minute for its rule to judge.
const LEAST_EVENT_RATE: f64 = 10.0;
/// How long requests fail. The breach ends when the 5 min window is clean again and the hold of 5 min has passed.
const SPIKE_US: i64 = 8 * MINUTE_US;
pub const SPIKE_SERVICE: &str = "prices-api";
const SLOW_MODEL: &str = "random-forest-oil";

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// How long the past is told.
    pub traffic: Duration,
    /// End after it; else go on live until somebody ends it.
    pub ends: bool,
    /// Events a wall second.
    pub rate: f64,
    /// Event seconds a wall second.
    pub speed: f64,
    pub http: Option<SocketAddr>,
}

impl Script {
    pub fn read(args: &DemoArgs) -> Result<Script, Failure> {
        let mut mistakes = Vec::new();
        let mut number = |option: &str, text: &str, most: f64| match text.parse::<f64>() {
            Ok(number) if number > 0.0 && number <= most => number,
            _ => {
                mistakes.push(format!("{option}: `{text}` is no number above 0 and up to {most}"));
                0.0
            }
        };
        let rate = number("--rate", &args.rate, 1e6);
        let speed = number("--speed", &args.speed, 1e5);
        let traffic = match written_duration_us(args.run_for.as_deref().unwrap_or("60s")) {
            Ok(us) => Duration::from_micros(us.unsigned_abs()),
            Err(problem) => {
                mistakes.push(format!("--for: {problem}"));
                Duration::ZERO
            }
        };
        let http = args.http.as_deref().and_then(|text| match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                mistakes.push(format!("--http: `{text}` is no address; write it like `127.0.0.1:8080`"));
                None
            }
        });
        let script = Script { traffic, ends: args.run_for.is_some(), rate, speed, http };
        if mistakes.is_empty() {
            mistakes.extend(script.too_little());
        }
        if mistakes.is_empty() { Ok(script) } else { Err(Failure::usage(mistakes.join("\n"))) }
    }

    fn too_little(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.span_us() < LEAST_SPAN_US {
            let minutes = self.span_us() / MINUTE_US;
            let speed = (LEAST_SPAN_US as f64 / SECOND_US / self.traffic.as_secs_f64().max(1e-6)).ceil();
            mistakes.push(format!(
                "--speed {} tells {minutes} min of event time, and an hour must end inside: give at least --speed \
                 {speed}, or a longer --for",
                self.speed
            ));
        }
        if self.rate / self.speed < LEAST_EVENT_RATE {
            mistakes.push(format!(
                "--rate {} at --speed {} is too thin for the rules to judge: give at least --rate {}",
                self.rate,
                self.speed,
                (LEAST_EVENT_RATE * self.speed).ceil()
            ));
        }
        mistakes
    }

    pub fn span_us(&self) -> i64 {
        // Bounded: a duration in microseconds that fits, times at most 10^5, saturates at worst.
        (self.traffic.as_secs_f64() * self.speed * SECOND_US) as i64
    }

    pub fn pace(&self) -> Speed {
        Speed::Times(self.speed)
    }

    /// The past hours, told faster than they went by; the last event happens when the telling ends.
    pub fn history(&self, now_us: i64, partitions: u32) -> WorkloadOptions {
        let span_us = self.span_us();
        let told_in_us = i64::try_from(self.traffic.as_micros()).unwrap_or(i64::MAX);
        let start_us = now_us.saturating_add(told_in_us).saturating_sub(span_us);
        let spike_us = start_us + span_us / 5;
        let incidents = vec![
            Incident::ErrorSpike {
                from_us: spike_us,
                to_us: spike_us + SPIKE_US,
                share: 0.3,
                service: Some(SPIKE_SERVICE.to_owned()),
            },
            Incident::SlowModel {
                from_us: start_us + span_us / 2,
                to_us: start_us + span_us * 3 / 4,
                model: SLOW_MODEL.to_owned(),
                factor: 6.0,
            },
        ];
        WorkloadOptions {
            start_us,
            span_us,
            volume: Volume::PerSecond(self.rate / self.speed),
            incidents,
            ..base(partitions)
        }
    }

    /// What happens as it is sent, from now on.
    pub fn live(&self, now_us: i64, partitions: u32) -> WorkloadOptions {
        WorkloadOptions {
            seed: 2,
            start_us: now_us,
            span_us: YEAR_US,
            volume: Volume::PerSecond(self.rate),
            ..base(partitions)
        }
    }
}

fn base(partitions: u32) -> WorkloadOptions {
    let partitions = PerTopic { prices: partitions, predictions: partitions, requests: partitions };
    WorkloadOptions { partitions, ..WorkloadOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(run_for: &str, rate: &str, speed: &str) -> Result<Script, String> {
        let args = DemoArgs {
            run_for: Some(run_for.into()),
            rate: rate.into(),
            speed: speed.into(),
            http: Some("127.0.0.1:0".into()),
        };
        Script::read(&args).map_err(|failure| failure.text)
    }

    #[test]
    fn nothing_happens_in_the_future() {
        let script = read("60s", "7000", "240").unwrap();
        let now_us = 1_761_876_000_000_000;
        let history = script.history(now_us, 4);
        assert_eq!(history.check(), Ok(()));
        assert_eq!(history.start_us + history.span_us, now_us + 60_000_000);
        assert_eq!(history.span_us, 4 * 60 * MINUTE_US);
        assert_eq!(script.live(now_us, 4).check(), Ok(()));
    }

    #[test]
    fn what_would_show_nothing_is_refused() {
        assert!(read("20s", "7000", "60").unwrap_err().contains("at least --speed 210"));
        assert!(read("60s", "100", "240").unwrap_err().contains("at least --rate 2400"));
        let error = read("60", "-1", "fast").unwrap_err();
        assert_eq!(error.lines().count(), 3, "{error}");
    }
}
