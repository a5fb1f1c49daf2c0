//! Pauses between tries of what failed.

use std::time::Duration;

use super::Stop;

/// Each pause is twice the one before, up to a cap; a success starts over. Jitter keeps replicas that failed together
/// from coming back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { first, cap, next: first }
    }

    /// How long to wait now: half of what has grown so far, and up to as much again by chance.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.cap);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Waits, but not longer than until the process is to end.
    pub fn wait(&mut self, stop: &Stop) {
        stop.wait(self.pause());
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const FIRST: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(2);

    #[test]
    fn pauses_grow_to_the_cap_and_differ() {
        let mut backoff = Backoff::new(FIRST, CAP);
        for whole_ms in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let whole = Duration::from_millis(whole_ms);
            let pauses: Vec<Duration> = (0..20).map(|_| backoff.clone().pause()).collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{whole:?} {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
            backoff.pause();
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn the_end_of_the_process_ends_a_pause() {
        let stop = Stop::default();
        let mut backoff = Backoff::new(Duration::from_secs(600), Duration::from_secs(600));
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| backoff.wait(&stop));
            stop.raise();
        });
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
