//! When records arrive: evenly, or along the daily wave.

use std::f64::consts::TAU;

use super::options::{WAVE_AMPLITUDE, WorkloadOptions};

const DAY_US: f64 = 86_400_000_000.0;

/// Arrival times in microseconds since 1970, never going back.
pub struct Arrivals {
    start_us: i64,
    span_us: i64,
    events: u64,
    next: u64,
    /// Time since the start of the arrival before, in microseconds.
    last_us: f64,
    wave: Option<Wave>,
}

impl Arrivals {
    /// `options` have been checked.
    pub fn new(options: &WorkloadOptions) -> Arrivals {
        Arrivals {
            start_us: options.start_us,
            span_us: options.span_us,
            events: options.events(),
            next: 0,
            last_us: 0.0,
            wave: options.daily_wave.then(|| Wave::at(options.start_us)),
        }
    }

    pub fn left(&self) -> u64 {
        self.events - self.next
    }

    fn since_start_us(&mut self, index: u64) -> i64 {
        let Some(wave) = &self.wave else {
            // Below the span, so it fits.
            return (i128::from(self.span_us) * i128::from(index) / i128::from(self.events)) as i64;
        };
        let wanted = wave.traffic_until(self.span_us as f64) * index as f64 / self.events as f64;
        // The density is at least 0.4, and the guess is the arrival before: Newton is there in a few steps.
        let mut at = self.last_us;
        for _ in 0..20 {
            let step = (wanted - wave.traffic_until(at)) / wave.density(at);
            at += step;
            if step.abs() < 0.01 {
                break;
            }
        }
        self.last_us = at.clamp(self.last_us, (self.span_us - 1) as f64);
        self.last_us as i64
    }
}

impl Iterator for Arrivals {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        if self.next == self.events {
            return None;
        }
        let at = self.since_start_us(self.next);
        self.next += 1;
        Some(self.start_us + at)
    }
}

/// Density 1 + amplitude x sin, highest at 14:00 UTC.
struct Wave {
    phase: f64,
}

impl Wave {
    fn at(start_us: i64) -> Wave {
        let since_8_00_us = start_us as f64 % DAY_US - DAY_US / 3.0;
        Wave { phase: TAU * since_8_00_us / DAY_US }
    }

    fn density(&self, at_us: f64) -> f64 {
        1.0 + WAVE_AMPLITUDE * (self.phase + TAU * at_us / DAY_US).sin()
    }

    /// The integral of the density from the start.
    fn traffic_until(&self, at_us: f64) -> f64 {
        let swing = self.phase.cos() - (self.phase + TAU * at_us / DAY_US).cos();
        at_us + WAVE_AMPLITUDE * DAY_US / TAU * swing
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Volume;
    use super::*;

    #[test]
    fn the_wave_peaks_at_two_in_the_afternoon() {
        let options = WorkloadOptions {
            start_us: 1_761_868_800_000_000, // 2025-10-31T00:00:00Z
            span_us: 86_400_000_000,
            volume: Volume::Events(24_000),
            daily_wave: true,
            ..WorkloadOptions::default()
        };
        let mut by_hour = [0; 24];
        let mut last = i64::MIN;
        for at in Arrivals::new(&options) {
            assert!(at > last);
            last = at;
            by_hour[((at - options.start_us) / 3_600_000_000) as usize] += 1;
        }
        assert_eq!(by_hour.iter().sum::<i32>(), 24_000);
        assert!((1_580..=1_600).contains(&by_hour[13]), "{by_hour:?}");
        assert!((400..=420).contains(&by_hour[1]), "{by_hour:?}");
    }

    #[test]
    fn without_a_wave_arrivals_are_even() {
        let options =
            WorkloadOptions { volume: Volume::Events(4), span_us: 100, ..WorkloadOptions::default() };
        let since: Vec<i64> = Arrivals::new(&options).map(|at| at - options.start_us).collect();
        assert_eq!(since, [0, 25, 50, 75]);
    }
}
