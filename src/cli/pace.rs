//! Sends each record when it is due.

use std::time::{Duration, Instant};

use plimsoll::roles::Stop;

/// Shorter waits cost more in wake-ups than they win in accuracy.
const SHORTEST: Duration = Duration::from_micros(200);
/// The longest a wait goes on without a look at `stop`.
const LONGEST: Duration = Duration::from_millis(50);

/// Event seconds a wall second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as records can be made and taken.
    Max,
    Times(f64),
}

/// Open loop: each record is due at its own time, whatever became of those before. A slow receiver makes records
/// late, never fewer, and how late they were is told.
pub struct Pacer {
    began: Instant,
    start_us: i64,
    speed: Speed,
    behind_max: Duration,
}

impl Pacer {
    /// The record that arrives at `start_us` is due now.
    pub fn new(start_us: i64, speed: Speed) -> Pacer {
        Pacer { began: Instant::now(), start_us, speed, behind_max: Duration::ZERO }
    }

    /// Waits until the record that arrives at `arrival_us` is due; false when `stop` was raised.
    pub fn wait(&mut self, arrival_us: i64, stop: &Stop) -> bool {
        let Speed::Times(times) = self.speed else { return !stop.is_raised() };
        let since_us = (arrival_us - self.start_us).max(0) as f64 / times;
        let due = Duration::from_micros(since_us as u64);
        loop {
            if stop.is_raised() {
                return false;
            }
            let now = self.began.elapsed();
            if now >= due {
                self.behind_max = self.behind_max.max(now - due);
                return true;
            }
            std::thread::sleep((due - now).clamp(SHORTEST, LONGEST));
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The most a record was behind the time it was due; nothing when none is due at a time.
    pub fn behind_max(&self) -> Duration {
        self.behind_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_their_own_time() {
        let mut pacer = Pacer::new(1_000_000, Speed::Times(10.0));
        assert!(pacer.wait(1_500_000, &Stop::default()));
        assert!(pacer.elapsed() >= Duration::from_millis(50));
        // The next one was due at 51 ms and is not put off by what came before.
        std::thread::sleep(Duration::from_millis(20));
        assert!(pacer.wait(1_510_000, &Stop::default()));
        assert!(pacer.behind_max() >= Duration::from_millis(15), "{:?}", pacer.behind_max());
    }

    #[test]
    fn a_stop_ends_the_longest_wait() {
        let stop = Stop::default();
        stop.raise();
        assert!(!Pacer::new(0, Speed::Times(1.0)).wait(1 << 50, &stop));
        assert!(!Pacer::new(0, Speed::Max).wait(0, &stop));
    }
}
