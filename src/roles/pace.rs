//! When ingest flushes: as soon as it makes a difference, and not before.
//!
//! A flush is a transaction over all shards. Between two of them nothing new can be said but of what only grows, or when a
//! second is over; so all other events wait for one of those. Under lag nothing is told in time anyway, and the longest
//! wait makes the most of each delta.

use std::time::{Duration, Instant};

const SHORTEST_WAIT: Duration = Duration::from_millis(1);

pub struct Pace {
    flush: Duration,
    flush_max: Duration,
    flushed: Instant,
    /// Since when a second has been over in some partition of which the shards have not heard.
    turned: Option<Instant>,
}

/// What waits for the next flush.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub events: u64,
    pub has_grown: bool,
    /// A second is over in all partitions, or in some.
    pub has_passed: bool,
    pub has_turned: bool,
    /// More is waiting on the broker than usual.
    pub is_behind: bool,
}

impl Pace {
    pub fn new(flush: Duration, flush_max: Duration, now: Instant) -> Pace {
        Pace { flush, flush_max, flushed: now, turned: None }
    }

    pub fn is_due(&mut self, pending: Pending, now: Instant) -> bool {
        self.look(pending, now);
        self.due(pending) <= now
    }

    /// How long a reader may wait for a record.
    pub fn wait(&mut self, pending: Pending, now: Instant) -> Duration {
        self.look(pending, now);
        self.due(pending).saturating_duration_since(now).clamp(SHORTEST_WAIT, self.flush.max(SHORTEST_WAIT))
    }

    pub fn flushed(&mut self, now: Instant) {
        (self.flushed, self.turned) = (now, None);
    }

    fn look(&mut self, pending: Pending, now: Instant) {
        if pending.has_turned {
            self.turned.get_or_insert(now);
        }
    }

    fn due(&self, pending: Pending) -> Instant {
        let soonest = self.flushed + self.flush;
        if pending.is_behind {
            return self.flushed + self.flush_max;
        }
        if pending.has_grown || pending.has_passed {
            return soonest;
        }
        // The others are about to end it too, but for those that seldom have an event.
        let turned = self.turned.map(|turned| turned + 2 * self.flush);
        turned.unwrap_or(self.flushed + self.flush_max).max(soonest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Duration = Duration::from_millis(50);
    const FLUSH_MAX: Duration = Duration::from_secs(1);
    const NOTHING: Pending =
        Pending { events: 1_000, has_grown: false, has_passed: false, has_turned: false, is_behind: false };

    /// Milliseconds after the last flush at which `pending`, seen at `seen_ms`, is flushed.
    fn due_ms(pending: Pending, seen_ms: u64) -> u64 {
        let began = Instant::now();
        let mut pace = Pace::new(FLUSH, FLUSH_MAX, began);
        let at = |ms| began + Duration::from_millis(ms);
        (seen_ms..=5_000).find(|&ms| pace.is_due(pending, at(ms))).unwrap()
    }

    #[test]
    fn what_cannot_be_judged_yet_waits() {
        assert_eq!(due_ms(NOTHING, 0), 1_000);
    }

    #[test]
    fn what_only_grows_goes_at_once_but_not_more_often_than_flushes_come() {
        let grown = Pending { has_grown: true, ..NOTHING };
        assert_eq!((due_ms(grown, 10), due_ms(grown, 300)), (50, 300));
    }

    #[test]
    fn a_second_that_is_over_everywhere_goes_at_once_too() {
        let passed = Pending { has_passed: true, has_turned: true, ..NOTHING };
        assert_eq!((due_ms(passed, 10), due_ms(passed, 300)), (50, 300));
    }

    #[test]
    fn a_second_that_is_over_waits_for_the_other_partitions() {
        let turned = Pending { has_turned: true, ..NOTHING };
        assert_eq!((due_ms(turned, 0), due_ms(turned, 300)), (100, 400));
    }

    #[test]
    fn under_lag_a_flush_waits_as_long_as_any() {
        let behind =
            Pending { is_behind: true, has_turned: true, has_passed: true, has_grown: true, ..NOTHING };
        assert_eq!(due_ms(behind, 0), 1_000);
    }

    #[test]
    fn a_flush_begins_anew() {
        let began = Instant::now();
        let mut pace = Pace::new(FLUSH, FLUSH_MAX, began);
        let at = |ms| began + Duration::from_millis(ms);
        assert_eq!(pace.wait(NOTHING, at(0)), FLUSH, "groups and clocks are looked at meanwhile");
        assert!(!pace.is_due(Pending { has_turned: true, ..NOTHING }, at(60)));
        assert!(pace.is_due(NOTHING, at(160)), "the second stays over");
        pace.flushed(at(160));
        assert!(!pace.is_due(NOTHING, at(1_159)));
        assert!(pace.is_due(NOTHING, at(1_160)));
        assert_eq!(pace.wait(NOTHING, at(1_160)), SHORTEST_WAIT, "it must not spin");
    }
}
