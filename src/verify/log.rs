//! One source partition in the order of its offsets: what is an event, what is late, what is too late.

use crate::core::source::{Aggregate, HISTOGRAM_LIMIT, Source};

use super::event::{Reason, Value, decode};

/// What has been read of a partition.
pub struct Log<'a> {
    source: &'a Source,
    most_bytes: usize,
    /// Largest event time so far.
    newest_us: Option<i64>,
    /// No event that was not read is as late as this.
    unread_us: i64,
    has_freshness: bool,
}

#[derive(Debug, PartialEq)]
pub enum Verdict<'a> {
    Event {
        event: Vec<Value<'a>>,
        at_us: i64,
        /// Kafka timestamp less event time, 0 when negative.
        age_us: i64,
        late: bool,
    },
    Dead(Reason),
    /// It may be too late; what was before it is not known well enough. Never said of an event of the range.
    Undecided,
}

impl<'a> Log<'a> {
    /// `unread_us`: events before the first record that is read all happened earlier; the smallest number when there
    /// are none.
    pub fn new(source: &'a Source, most_bytes: usize, unread_us: i64) -> Log<'a> {
        let is_fresh = |aggregate: &Aggregate| matches!(aggregate, Aggregate::Freshness { .. });
        let mut columns = source.rollups.iter().flat_map(|rollup| &rollup.columns);
        let has_freshness = columns.any(|column| is_fresh(&column.aggregate));
        Log { source, most_bytes, newest_us: None, unread_us, has_freshness }
    }

    /// `is_refused`: it was found too far ahead of the wall clock of ingest, which nobody can look at again.
    pub fn judge<'p>(
        &mut self,
        timestamp_us: i64,
        payload: Option<&'p [u8]>,
        is_refused: bool,
    ) -> Verdict<'p> {
        let event = match decode(self.source, payload, self.most_bytes) {
            Ok(event) => event,
            Err(reason) => return Verdict::Dead(reason),
        };
        let time = &self.source.event_time;
        let at_us = event[time.slot].number().unwrap_or(timestamp_us);
        if is_refused || at_us > timestamp_us.saturating_add(time.max_ahead_us) {
            return Verdict::Dead("TOO_FAR_AHEAD");
        }
        let taken_us = time.out_of_order_us + time.lateness_us;
        if self.newest_us.is_some_and(|newest_us| at_us < newest_us - taken_us) {
            return Verdict::Dead("TOO_LATE");
        }
        let age_us = timestamp_us.saturating_sub(at_us).max(0);
        let is_too_old = self.has_freshness && age_us >= HISTOGRAM_LIMIT;
        let late = self.newest_us.is_some_and(|newest_us| at_us < newest_us - time.out_of_order_us);
        if !is_too_old {
            self.newest_us = self.newest_us.max(Some(at_us));
        }
        if at_us < self.unread_us.saturating_sub(taken_us) {
            return Verdict::Undecided;
        }
        match is_too_old {
            true => Verdict::Dead("OUT_OF_RANGE"),
            false => Verdict::Event { event, at_us, age_us, late },
        }
    }

    /// Nothing that follows can be an event before `to_us` any more: all of them are too late.
    pub fn is_past(&self, to_us: i64) -> bool {
        let time = &self.source.event_time;
        self.newest_us.is_some_and(|newest_us| newest_us >= to_us + time.out_of_order_us + time.lateness_us)
    }

    pub fn newest_us(&self) -> Option<i64> {
        self.newest_us
    }
}
