//! Where in a partition the events of a stretch of time lie: for whoever wants to see the events behind a number.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use super::time::SECOND_US;

/// Log time one span takes up while it is young, and how many there are before they grow into coarser ones.
const FINE_US: i64 = 15 * SECOND_US;
const FINE_MAX: usize = 40;
/// The same for old spans: a day of them.
const COARSE_US: i64 = 30 * 60 * SECOND_US;
const COARSE_MAX: usize = 48;

/// Offsets folded by log time, with the event times found there. About a day's worth, in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    /// Oldest first.
    coarse: VecDeque<Span>,
    fine: VecDeque<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    /// Log time of its first flush.
    log_us: i64,
    from: i64,
    to: i64,
    /// Event times in it lie within, both inclusive.
    first_us: i64,
    last_us: i64,
}

impl Spans {
    /// Notes that `[from, to)` was folded and holds event times from `first_us` to at most `last_us`.
    pub fn add(&mut self, log_us: i64, from: i64, to: i64, first_us: i64, last_us: i64) {
        let span = Span { log_us, from, to, first_us, last_us };
        grow(&mut self.fine, span, FINE_US);
        if self.fine.len() > FINE_MAX
            && let Some(oldest) = self.fine.pop_front()
        {
            grow(&mut self.coarse, oldest, COARSE_US);
        }
        if self.coarse.len() > COARSE_MAX {
            self.coarse.pop_front();
        }
    }

    /// The smallest `[from, to)` known to hold every event of `[start_us, end_us)`.
    pub fn offsets(&self, start_us: i64, end_us: i64) -> Option<(i64, i64)> {
        let meets = |span: &&Span| span.first_us < end_us && start_us <= span.last_us;
        let spans = || self.coarse.iter().chain(&self.fine).filter(meets);
        Some((spans().map(|span| span.from).min()?, spans().map(|span| span.to).max()?))
    }
}

/// Adds to the newest span, or begins another when that has had its time.
fn grow(spans: &mut VecDeque<Span>, span: Span, length_us: i64) {
    match spans.back_mut().filter(|newest| span.log_us < newest.log_us + length_us) {
        Some(newest) => {
            newest.to = span.to;
            newest.first_us = newest.first_us.min(span.first_us);
            newest.last_us = newest.last_us.max(span.last_us);
        }
        None => spans.push_back(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_a_time_lies_in_the_offsets_given() {
        let mut spans = Spans::default();
        // One flush a second, ten records each, event times a second behind.
        for second in 0..40_000 {
            let at_us = second * SECOND_US;
            spans.add(at_us, second * 10, second * 10 + 10, at_us - 2 * SECOND_US, at_us - SECOND_US);
        }
        assert!(spans.fine.len() <= FINE_MAX && spans.coarse.len() <= COARSE_MAX);
        for (start, end) in [(39_990, 39_999), (39_500, 39_700), (10_000, 10_300)] {
            let (from, to) = spans.offsets(start * SECOND_US, end * SECOND_US).unwrap();
            assert!(from <= (start + 1) * 10 && to >= (end + 1) * 10, "{start}..{end}: {from}..{to}");
        }
        let (from, to) = spans.offsets(39_990 * SECOND_US, 39_995 * SECOND_US).unwrap();
        assert!(to - from <= 500, "{from}..{to}");
        assert_eq!(spans.offsets(50_000 * SECOND_US, 50_001 * SECOND_US), None);
    }

    #[test]
    fn a_span_reaches_from_its_earliest_event_to_its_latest() {
        let mut spans = Spans::default();
        spans.add(0, 0, 10, 100, 200);
        spans.add(SECOND_US, 10, 20, 50, 60);
        assert_eq!(spans.offsets(50, 51), Some((0, 20)));
        assert_eq!((spans.offsets(0, 50), spans.offsets(200, 300)), (None, Some((0, 20))));
        assert_eq!(spans.offsets(201, 300), None);
    }

    #[test]
    fn a_day_of_spans_is_kept() {
        let mut spans = Spans::default();
        for minute in 0..3_000 {
            let at_us = 60 * minute * SECOND_US;
            spans.add(at_us, minute, minute + 1, at_us, at_us);
        }
        assert_eq!((spans.coarse.len(), spans.fine.len()), (COARSE_MAX, FINE_MAX));
        assert_eq!(spans.offsets(0, 60 * 1_000 * SECOND_US), None);
        assert!(spans.offsets(60 * 1_600 * SECOND_US, 60 * 1_601 * SECOND_US).is_some());
    }
}
