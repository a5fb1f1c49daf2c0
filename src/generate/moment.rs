//! An event time, how far behind its arrival it is, and how it is written.

use super::dice::Dice;
use super::json;
use super::options::WorkloadOptions;

/// Share of records that overtake others on the way, by less than the sources' `out_of_order` of 2 s.
const DISORDER_SHARE: f64 = 0.25;
const DISORDER_MAX_US: i64 = 800_000;
const LATE_MIN_US: i64 = 3_000_000;

/// With distinct times an arrival is a multiple of this, and each way of being behind has a remainder of its own.
const LANES: i64 = 32;
/// Remainders 1 to 7 are disorder, 8 to 31 lateness; 0 is on time.
const DISORDER_LANES: i64 = 7;
const LATE_LANES: i64 = LANES - 1 - DISORDER_LANES;

#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Event time as a reader will decode it, in microseconds since 1970.
    pub event_us: i64,
    /// Arrived seconds to minutes after it happened.
    pub delayed: bool,
    style: Style,
}

#[derive(Clone, Copy, Debug)]
struct Style {
    /// Digits behind the second.
    digits: usize,
    /// Digits beyond the microsecond, which a reader floors away.
    nanos: u32,
    /// None is `Z`.
    offset_minutes: Option<i64>,
}

impl Moment {
    /// Uses as much chance whatever comes of it.
    pub fn draw(dice: &mut Dice, options: &WorkloadOptions, arrival_us: i64) -> Moment {
        let delayed = dice.chance(options.late_share);
        let disordered = dice.chance(DISORDER_SHARE);
        let how_far = dice.unit();
        let style = Style::draw(dice, options.distinct_times);
        let lag_us = if delayed {
            LATE_MIN_US.saturating_add(log_uniform(how_far, options.late_max_us - LATE_MIN_US))
        } else if disordered {
            (how_far * DISORDER_MAX_US as f64) as i64
        } else {
            0
        };
        let at = match options.distinct_times {
            true => distinct(options, arrival_us, delayed, disordered, how_far),
            false => style.floor(arrival_us - lag_us),
        };
        // Nothing happens before the workload begins.
        if at < options.start_us {
            let on_time = match options.distinct_times {
                true => distinct(options, arrival_us, false, false, 0.0),
                false => style.floor(arrival_us).max(options.start_us),
            };
            let style = if options.distinct_times { style } else { Style { digits: 6, ..style } };
            return Moment { event_us: on_time, delayed: false, style };
        }
        Moment { event_us: at, delayed, style }
    }

    /// Writes the moment as an RFC 3339 string with its quotes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Style { digits, nanos, offset_minutes } = self.style;
        json::timestamp(out, self.event_us, nanos, digits, offset_minutes);
    }
}

/// From 0 to `max_us`, short ones far more often than long ones.
fn log_uniform(unit: f64, max_us: i64) -> i64 {
    let base = 100_000.0; // a tenth of a second is where the logarithm begins
    (base * ((unit * (1.0 + max_us as f64 / base).ln()).exp() - 1.0)) as i64
}

/// An event time that no other record of the workload has.
fn distinct(
    options: &WorkloadOptions,
    arrival_us: i64,
    delayed: bool,
    disordered: bool,
    how_far: f64,
) -> i64 {
    let since = arrival_us - options.start_us;
    let arrival_us = options.start_us + since - since % LANES;
    let (lane, lag_us) = if delayed {
        let step = (how_far * LATE_LANES as f64) as i64;
        let part = (step + 1) as f64 / LATE_LANES as f64;
        (1 + DISORDER_LANES + step, LATE_MIN_US + log_uniform(part, options.late_max_us - LATE_MIN_US))
    } else if disordered {
        let step = (how_far * DISORDER_LANES as f64) as i64;
        (1 + step, (step + 1) * DISORDER_MAX_US / DISORDER_LANES)
    } else {
        return arrival_us;
    };
    arrival_us - lag_us / LANES * LANES + lane
}

impl Style {
    fn draw(dice: &mut Dice, distinct: bool) -> Style {
        let roll = dice.below(100);
        let digits = match (distinct, roll) {
            (true, 0..80) => 6,
            (true, _) => 9,
            (false, 0..40) => 3,
            (false, 40..80) => 6,
            (false, 80..90) => 9,
            (false, 90..94) => 7,
            (false, 94..97) => 1,
            (false, _) => 0,
        };
        let offset_minutes = match dice.below(100) {
            0..70 => None,
            70..80 => Some(0),
            80..90 => Some(120),
            90..95 => Some(-300),
            _ => Some(330),
        };
        let nanos = if digits > 6 { dice.below(1_000) as u32 } else { 0 };
        Style { digits, nanos, offset_minutes }
    }

    /// What is left of a time when it is written with these digits.
    fn floor(&self, at_us: i64) -> i64 {
        let unit = 10i64.pow(6u32.saturating_sub(self.digits as u32));
        at_us - at_us.rem_euclid(unit)
    }
}
