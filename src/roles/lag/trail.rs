//! Which offsets of a partition carry which timestamps, as ingest read them: the age of a record without asking the
//! broker for it.

use std::collections::VecDeque;

use crate::core::fold::PartitionId;

/// Spans kept of a partition: an hour in which there are records every second. They take 86 KB.
const SPANS_MAX: usize = 3_600;
const SECOND_MS: i64 = 1_000;

/// Records read one after the other, with timestamps less than a second from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offsets of the first and the last record.
    pub first: i64,
    pub last: i64,
    /// Of the first, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// What a group has still to read of a partition, as far as ingest has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oldest {
    /// Timestamp of the oldest record, to a second.
    At { timestamp_ms: i64 },
    /// No record: at most markers of transactions.
    Nothing,
    /// Ingest began later, has forgotten, or is not there yet.
    Unseen,
}

/// The records of one partition, from the offset on where ingest began.
#[derive(Debug)]
pub struct Trail {
    /// Every record from here on is in a span.
    from: i64,
    /// Next offset to read, markers passed.
    position: i64,
    spans: VecDeque<Span>,
}

impl Trail {
    pub fn new(from: i64) -> Trail {
        Trail { from, position: from, spans: VecDeque::new() }
    }

    /// Whether reading on at `next` leaves no hole.
    pub fn joins(&self, next: i64) -> bool {
        (self.from..=self.position).contains(&next)
    }

    /// Adds what was read; records known already are passed over.
    pub fn read(&mut self, span: Span) {
        let known = self.spans.back().map_or(self.from, |newest| newest.last + 1);
        if span.last < known {
            return;
        }
        self.position = self.position.max(span.last + 1);
        if let Some(newest) = self.spans.back_mut()
            && newest.takes(span.timestamp_ms)
        {
            newest.last = span.last;
            return;
        }
        if self.spans.len() == SPANS_MAX
            && let Some(oldest) = self.spans.pop_front()
        {
            self.from = oldest.last + 1;
        }
        self.spans.push_back(Span { first: span.first.max(known), ..span });
    }

    /// `position` is where reading stands, behind markers and aborted records.
    pub fn passed(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// The oldest record of `from..end`.
    pub fn oldest(&self, from: i64, end: i64) -> Oldest {
        if from >= end {
            return Oldest::Nothing;
        }
        if from < self.from {
            return Oldest::Unseen;
        }
        let at = self.spans.partition_point(|span| span.last < from);
        match self.spans.get(at) {
            Some(span) => Oldest::At { timestamp_ms: span.timestamp_ms },
            None if self.position >= end => Oldest::Nothing,
            None => Oldest::Unseen,
        }
    }
}

impl Span {
    /// Timestamps that go back a little begin no span of their own: producers are never quite in step.
    fn takes(&self, timestamp_ms: i64) -> bool {
        timestamp_ms.div_euclid(SECOND_MS) <= self.timestamp_ms.div_euclid(SECOND_MS)
            && timestamp_ms > self.timestamp_ms - SECOND_MS
    }
}

/// What a worker has read since it last wrote its trails: one span for each stretch of one partition and second.
#[derive(Debug, Default)]
pub struct Stretches(Vec<(PartitionId, Span)>);

impl Stretches {
    /// Called for every record, so it does no more than compare and remember.
    pub fn note(&mut self, id: PartitionId, offset: i64, timestamp_ms: i64) {
        let second = timestamp_ms.div_euclid(SECOND_MS);
        match self.0.last_mut() {
            Some((known, span)) if *known == id && span.timestamp_ms.div_euclid(SECOND_MS) == second => {
                span.last = offset;
            }
            _ => self.0.push((id, Span { first: offset, last: offset, timestamp_ms })),
        }
    }

    pub fn drain(&mut self) -> impl Iterator<Item = (PartitionId, Span)> {
        self.0.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trail of these (offset, timestamp), read in one batch.
    fn trail(from: i64, records: &[(i64, i64)]) -> Trail {
        let mut trail = Trail::new(from);
        let mut stretches = Stretches::default();
        for &(offset, timestamp_ms) in records {
            stretches.note((0, 0), offset, timestamp_ms);
        }
        stretches.drain().for_each(|(_, span)| trail.read(span));
        trail
    }

    fn at(timestamp_ms: i64) -> Oldest {
        Oldest::At { timestamp_ms }
    }

    #[test]
    fn the_age_of_every_record_is_known_to_a_second() {
        let records: Vec<(i64, i64)> = (0..5_000).map(|n| (100 + n, 60_000 + n * 37)).collect();
        let trail = trail(100, &records);
        assert_eq!(trail.spans.len(), 5_000 * 37 / 1_000);
        for &(offset, timestamp_ms) in &records {
            let Oldest::At { timestamp_ms: found } = trail.oldest(offset, 5_100) else { panic!("{offset}") };
            assert!((0..1_000).contains(&(timestamp_ms - found)), "{offset}: {found} for {timestamp_ms}");
        }
        assert_eq!(trail.oldest(99, 5_100), Oldest::Unseen, "before ingest began");
    }

    #[test]
    fn holes_are_no_records() {
        // A transaction of two, its marker at 12, an hour of silence, and one more with a marker at 14.
        let mut trail = trail(10, &[(10, 5_000), (11, 5_001), (13, 3_605_000)]);
        assert_eq!(trail.oldest(11, 15), at(5_000));
        assert_eq!(trail.oldest(12, 15), at(3_605_000), "not the record before the marker");
        assert_eq!(trail.oldest(14, 15), Oldest::Unseen, "who knows what lies there");
        trail.passed(15);
        assert_eq!(trail.oldest(14, 15), Oldest::Nothing);
        assert_eq!(trail.oldest(14, 16), Oldest::Unseen, "ingest is not there yet");
        assert_eq!(trail.oldest(15, 15), Oldest::Nothing);
    }

    #[test]
    fn timestamps_that_go_back_and_forth_stay_within_a_second() {
        let jitter: Vec<(i64, i64)> = (0..100).map(|n| (n, 9_990 + n * 20 - n % 2 * 35)).collect();
        let trail = trail(0, &jitter);
        assert!(trail.spans.len() <= 4, "{:?}", trail.spans);
        for &(offset, timestamp_ms) in &jitter {
            let Oldest::At { timestamp_ms: found } = trail.oldest(offset, 100) else { panic!("{offset}") };
            assert!((timestamp_ms - found).abs() < 1_000);
        }
        // A clock that was wrong by years spoils nothing after it.
        let trail = self::trail(0, &[(0, 1_000), (1, 99_000_000), (2, 1_500), (3, 2_500)]);
        assert_eq!([0, 1, 2, 3].map(|from| trail.oldest(from, 4)), [1_000, 99_000_000, 1_500, 2_500].map(at));
    }

    #[test]
    fn what_is_read_again_changes_nothing() {
        let mut trail = trail(0, &[(0, 0), (1, 1_000), (2, 2_000)]);
        assert!(trail.joins(1) && trail.joins(3) && !trail.joins(4));
        trail.read(Span { first: 1, last: 1, timestamp_ms: 1_000 });
        trail.read(Span { first: 2, last: 4, timestamp_ms: 2_100 });
        assert_eq!(trail.spans.len(), 3);
        assert_eq!(trail.oldest(4, 5), at(2_000));
    }

    #[test]
    fn an_hour_is_kept() {
        let records: Vec<(i64, i64)> = (0..3_700).map(|n| (n, n * 1_000)).collect();
        let trail = trail(0, &records);
        assert_eq!(trail.spans.len(), SPANS_MAX);
        assert_eq!(trail.oldest(99, 3_700), Oldest::Unseen);
        assert_eq!(trail.oldest(100, 3_700), at(100_000));
        assert!(!trail.joins(99));
    }
}
