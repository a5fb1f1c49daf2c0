//! A source's watermark, front and log time, from the clocks of its partitions.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::partial::Clock;
use super::source::EventTime;
use super::span::Spans;
use super::time::HOUR_US;

/// What a shard knows of one source's progress. All of it comes from the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceClock {
    partitions: BTreeMap<i32, PartitionClock>,
    /// Partitions the topic has; the watermark waits for all of them.
    expected: u32,
    /// Smallest event time ever folded.
    first_us: Option<i64>,
    watermark_us: Option<i64>,
    front_us: Option<i64>,
    /// Whether all partitions went idle on live data, so that log time moves the watermark. Latched until an event.
    live: Option<bool>,
    /// Event times that may miss events because offsets were lost, oldest first.
    gaps: Vec<Hole>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PartitionClock {
    topic: u64,
    next: i64,
    max_event_us: Option<i64>,
    idle: bool,
    lag: u64,
    late: u64,
    log_time_us: i64,
    rules: i64,
    spans: Spans,
}

/// A declared gap in event time; open until the partition's next event tells how far it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hole {
    partition: i32,
    from_us: i64,
    to_us: Option<i64>,
}

/// The log contradicts itself: nothing after it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockViolation {
    #[error(
        "source {source_name} partition {partition}: the log has offsets folded to {expected}, the next clock begins \
         at {found}: records were lost or folded twice"
    )]
    Discontinuity { source_name: String, partition: i32, expected: i64, found: i64 },
    #[error(
        "source {source_name}: its topic was deleted and created again, so offsets have a new meaning and its hours \
         cannot go on. Start over beside the old state: a new `kafka.application`, `topics.prefix` and `postgres.schema`"
    )]
    Recreated { source_name: String },
}

impl SourceClock {
    /// Takes one partition's clock. Declared gaps become holes in event time; true when the holes changed.
    pub fn take(
        &mut self,
        name: &str,
        clock: &Clock,
        log_time_us: i64,
        rules: i64,
        time: &EventTime,
    ) -> Result<bool, ClockViolation> {
        let mut holes_changed = clock.gap.is_some();
        let events = clock.records - clock.dead_letters.min(clock.records);
        let known = self.partitions.get(&clock.partition);
        if let Some(known) = known {
            if known.topic != clock.topic {
                return Err(ClockViolation::Recreated { source_name: name.into() });
            }
            if known.next != clock.from {
                return Err(ClockViolation::Discontinuity {
                    source_name: name.into(),
                    partition: clock.partition,
                    expected: known.next,
                    found: clock.from,
                });
            }
        }
        let before_us = known.and_then(|known| known.max_event_us);
        if clock.gap.is_some() {
            let from_us = before_us.map_or(i64::MIN, |before| before - time.lateness_us);
            self.gaps.push(Hole { partition: clock.partition, from_us, to_us: None });
        }
        if events > 0 {
            let open = self.gaps.iter_mut().filter(|h| h.partition == clock.partition && h.to_us.is_none());
            for hole in open {
                hole.to_us = clock.max_event_us;
                holes_changed = true;
            }
        }
        let late = known.map_or(0, |known| known.late) + clock.late;
        // Only a new event ends idleness, folded or known to wait: a new owner does not know how long it has been quiet.
        let stays_idle = events == 0 && clock.lag == 0 && known.is_some_and(|known| known.idle);
        let idle = clock.idle || stays_idle;
        let log_time_us = match known {
            // Nor does it know yet that it still is: silence lasts as long as somebody has looked.
            Some(known) if stays_idle && !clock.idle => known.log_time_us,
            Some(known) => known.log_time_us.max(log_time_us),
            None => log_time_us,
        };
        let mut spans = match self.partitions.get_mut(&clock.partition) {
            Some(known) => std::mem::take(&mut known.spans),
            None => Spans::default(),
        };
        if let (Some(first_us), Some(last_us)) = (clock.min_event_us, clock.max_event_us) {
            spans.add(log_time_us, clock.from, clock.to, first_us, last_us);
        }
        if events > 0 && self.live.take() == Some(false) {
            // A replay goes on: what is next on the other partitions may lie hours behind this one's, so each holds
            // back until its own clock says again that nothing came.
            self.partitions.values_mut().for_each(|partition| partition.idle = false);
        }
        self.expected = self.expected.max(clock.partitions);
        self.first_us = match (self.first_us, clock.min_event_us) {
            (Some(first_us), Some(us)) => Some(first_us.min(us)),
            (first_us, us) => first_us.or(us),
        };
        self.partitions.insert(
            clock.partition,
            PartitionClock {
                topic: clock.topic,
                next: clock.to,
                max_event_us: clock.max_event_us.max(before_us),
                idle,
                lag: clock.lag,
                late,
                log_time_us,
                rules,
                spans,
            },
        );
        Ok(holes_changed)
    }

    /// Moves watermark and front as far as the clocks allow; neither ever goes back.
    pub fn advance(&mut self, time: &EventTime) {
        if !self.complete() {
            return;
        }
        let active = || self.partitions.values().filter(|p| !p.idle);
        let (front_us, watermark_us) = if active().next().is_some() {
            // A partition that has had no event yet and is not known to be idle holds everything back.
            let front_us = active().map(|p| p.max_event_us).min().flatten();
            (front_us, front_us.map(|front| front - time.out_of_order_us))
        } else {
            let log_us = self.log_time_us();
            let newest_us = self.partitions.values().filter_map(|p| p.max_event_us).max();
            let live = *self.live.get_or_insert_with(|| match (newest_us, log_us) {
                (Some(newest), Some(log)) => newest >= log - time.lateness_us,
                _ => false,
            });
            // A replay has no clock but its data: silence finishes what its newest event leaves behind, nothing more.
            let at_us = if live { log_us } else { newest_us };
            let quiet_us = at_us.map(|at_us| at_us - time.out_of_order_us);
            (quiet_us, quiet_us)
        };
        self.front_us = self.front_us.max(front_us);
        self.watermark_us = self.watermark_us.max(watermark_us);
    }

    /// Nothing is left to read, and its time stands still: it never had an event, or had its last one long ago.
    pub fn is_asleep(&self) -> bool {
        self.complete() && self.live == Some(false)
    }

    fn complete(&self) -> bool {
        self.expected > 0 && self.partitions.len() >= self.expected as usize
    }

    pub fn watermark_us(&self) -> Option<i64> {
        self.watermark_us
    }

    /// Smallest event time that every partition with data has reached.
    pub fn front_us(&self) -> Option<i64> {
        self.front_us
    }

    /// The smallest over the partitions: none of them has been seen later than this.
    pub fn log_time_us(&self) -> Option<i64> {
        if self.complete() { self.partitions.values().map(|p| p.log_time_us).min() } else { None }
    }

    pub fn lag(&self) -> u64 {
        self.partitions.values().map(|p| p.lag).sum()
    }

    pub fn late(&self) -> u64 {
        self.partitions.values().map(|p| p.late).sum()
    }

    /// For each partition the offsets that hold every event of `[start_us, end_us)`, as far as a day back.
    pub fn offsets(&self, start_us: i64, end_us: i64) -> impl Iterator<Item = (i32, i64, i64)> {
        self.partitions.iter().filter_map(move |(&partition, clock)| {
            let (from, to) = clock.spans.offsets(start_us, end_us)?;
            Some((partition, from, to))
        })
    }

    /// Smallest event time ever folded: what lies before was not read.
    pub fn first_us(&self) -> Option<i64> {
        self.first_us
    }

    /// Largest event time of any partition.
    pub fn newest_us(&self) -> Option<i64> {
        self.partitions.values().filter_map(|p| p.max_event_us).max()
    }

    /// Oldest version of the rules that a partition is still folded by.
    pub fn rules(&self) -> Option<i64> {
        if self.complete() { self.partitions.values().map(|p| p.rules).min() } else { None }
    }

    /// False when a declared gap may have cost the hour events.
    pub fn hour_is_complete(&self, hour_us: i64) -> bool {
        let touches = |h: &Hole| h.from_us < hour_us + HOUR_US && h.to_us.is_none_or(|to| hour_us <= to);
        !self.gaps.iter().any(touches)
    }

    /// Forgets holes in hours that are gone.
    pub fn forget_holes_before(&mut self, at_us: i64) {
        self.gaps.retain(|hole| hole.to_us.is_none_or(|to| to >= at_us));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: EventTime =
        EventTime { slot: 0, out_of_order_us: 2, lateness_us: 100, idle_after_us: 5, max_ahead_us: 60 };

    fn clock(partition: i32, from: i64, to: i64, max_event_us: Option<i64>, idle: bool) -> Clock {
        let records = (to - from) as u64;
        Clock {
            source: 0,
            partition,
            partitions: 2,
            topic: 1,
            from,
            to,
            records,
            dead_letters: 0,
            late: 0,
            shard_events: 0,
            max_event_us,
            min_event_us: None,
            idle,
            lag: 0,
            gap: None,
        }
    }

    fn take(source: &mut SourceClock, clock: Clock, log_us: i64) {
        source.take("s", &clock, log_us, 0, &TIME).unwrap();
        source.advance(&TIME);
    }

    #[test]
    fn waits_for_every_partition_and_follows_the_slowest() {
        let mut source = SourceClock::default();
        take(&mut source, clock(0, 0, 5, Some(1_000), false), 1_000);
        assert_eq!(source.watermark_us(), None);
        take(&mut source, clock(1, 0, 5, Some(900), false), 1_000);
        assert_eq!((source.watermark_us(), source.front_us()), (Some(898), Some(900)));
        take(&mut source, clock(1, 5, 6, Some(2_000), false), 1_001);
        assert_eq!(source.watermark_us(), Some(998));
    }

    #[test]
    fn an_idle_partition_holds_nothing_back_and_a_new_owner_does_not_wake_it() {
        let mut source = SourceClock::default();
        take(&mut source, clock(0, 0, 5, Some(1_000), false), 1_000);
        take(&mut source, clock(1, 0, 0, None, true), 1_000);
        assert_eq!(source.watermark_us(), Some(998));
        take(&mut source, clock(1, 0, 0, None, false), 1_001);
        take(&mut source, clock(0, 5, 6, Some(1_100), false), 1_001);
        assert_eq!(source.watermark_us(), Some(1_098));
        take(&mut source, clock(1, 0, 1, Some(1_050), false), 1_002);
        take(&mut source, clock(0, 6, 7, Some(1_200), false), 1_002);
        assert_eq!(source.watermark_us(), Some(1_098), "never back, though partition 1 is at 1,048");
    }

    #[test]
    fn what_waits_to_be_read_ends_idleness() {
        let mut source = SourceClock::default();
        take(&mut source, clock(0, 0, 5, Some(1_000), false), 1_000);
        take(&mut source, clock(1, 0, 5, Some(1_000), true), 1_000);
        take(&mut source, Clock { lag: 3, ..clock(1, 5, 5, Some(1_000), false) }, 1_020);
        take(&mut source, clock(0, 5, 6, Some(1_020), false), 1_020);
        assert_eq!(source.watermark_us(), Some(998), "three events of partition 1 are yet to come");
        take(&mut source, clock(1, 5, 8, Some(1_015), false), 1_021);
        assert_eq!(source.watermark_us(), Some(1_013));
    }

    #[test]
    fn silence_lasts_no_longer_than_somebody_has_looked() {
        let mut source = SourceClock::default();
        for (log_us, idle) in [(1_000, false), (1_010, true)] {
            take(&mut source, clock(0, 5, 5, Some(1_000), idle), log_us);
            take(&mut source, clock(1, 5, 5, Some(1_000), idle), log_us);
        }
        assert_eq!(source.watermark_us(), Some(1_008));
        // A new owner, much later: what came meanwhile is not read yet.
        take(&mut source, clock(0, 5, 5, Some(1_000), false), 9_000);
        take(&mut source, clock(1, 5, 5, Some(1_000), false), 9_000);
        assert_eq!(source.watermark_us(), Some(1_008));
        take(&mut source, clock(0, 5, 5, Some(1_000), true), 9_005);
        take(&mut source, clock(1, 5, 5, Some(1_000), true), 9_005);
        assert_eq!(source.watermark_us(), Some(9_003), "now it knows that nothing did");
    }

    #[test]
    fn log_time_moves_a_quiet_live_source_but_not_a_replay() {
        for (log_us, expected) in [(1_050, Some(1_048)), (9_000, Some(998))] {
            let mut source = SourceClock::default();
            take(&mut source, clock(0, 0, 5, Some(1_000), false), log_us);
            take(&mut source, clock(1, 0, 5, Some(1_000), false), log_us);
            take(&mut source, clock(0, 5, 5, Some(1_000), true), log_us);
            take(&mut source, clock(1, 5, 5, Some(1_000), true), log_us);
            assert_eq!(source.watermark_us(), expected);
            take(&mut source, clock(0, 5, 5, Some(1_000), true), log_us + 500);
            assert_eq!(source.watermark_us(), expected, "log time is the smallest over the partitions");
            take(&mut source, clock(1, 5, 5, Some(1_000), true), log_us + 500);
            assert_eq!(source.watermark_us(), expected.map(|e| if e == 998 { 998 } else { e + 500 }));
        }
    }

    #[test]
    fn a_replay_that_falls_silent_has_come_as_far_as_its_newest_event() {
        let mut source = SourceClock::default();
        take(&mut source, clock(0, 0, 5, Some(1_000), false), 9_000);
        take(&mut source, clock(1, 0, 0, None, false), 9_000);
        assert_eq!(source.watermark_us(), None);
        take(&mut source, clock(0, 5, 5, Some(1_000), true), 9_001);
        take(&mut source, clock(1, 0, 0, None, true), 9_001);
        assert_eq!(source.watermark_us(), Some(998), "an empty partition holds nothing back");
    }

    #[test]
    fn a_source_sleeps_when_nothing_is_left_to_read_and_no_time_goes_on() {
        for (newest_us, asleep) in [(None, true), (Some(1_000), true), (Some(8_950), false)] {
            let mut source = SourceClock::default();
            let events = i64::from(newest_us.is_some());
            take(&mut source, clock(0, 0, events, newest_us, true), 9_000);
            assert!(!source.is_asleep(), "partition 1 is yet to tell");
            take(&mut source, clock(1, 0, 0, None, true), 9_000);
            assert_eq!(source.is_asleep(), asleep, "{newest_us:?}");
            take(&mut source, clock(1, 0, 1, Some(9_001), false), 9_001);
            assert!(!source.is_asleep(), "an event wakes it");
        }
    }

    #[test]
    fn a_replay_that_goes_on_waits_for_the_partitions_that_slept() {
        let mut source = SourceClock::default();
        for partition in 0..2 {
            take(&mut source, clock(partition, 0, 5, Some(1_000), false), 9_000);
            take(&mut source, clock(partition, 5, 5, Some(1_000), true), 9_001);
        }
        take(&mut source, clock(0, 5, 8, Some(3_000), false), 9_002);
        assert_eq!(source.watermark_us(), Some(998), "partition 1 may go on where it stood");
        take(&mut source, clock(1, 5, 6, Some(1_001), false), 9_003);
        assert_eq!(source.watermark_us(), Some(999));
        take(&mut source, clock(1, 6, 6, Some(1_001), true), 9_009);
        assert_eq!(source.watermark_us(), Some(2_998), "now it is known to have nothing");
    }

    #[test]
    fn offsets_that_do_not_join_up_are_a_violation() {
        let mut source = SourceClock::default();
        take(&mut source, clock(0, 0, 5, Some(1_000), false), 1_000);
        for from in [4, 6] {
            let error = source.clone().take("s", &clock(0, from, 7, Some(1_000), false), 1_000, 0, &TIME);
            assert!(matches!(error, Err(ClockViolation::Discontinuity { expected: 5, .. })));
        }
    }

    #[test]
    fn a_declared_gap_marks_hours_until_the_next_event() {
        let mut source = SourceClock::default();
        take(&mut source, clock(0, 0, 5, Some(HOUR_US * 10), false), 0);
        let mut lost = clock(0, 5, 9, Some(HOUR_US * 10), false);
        (lost.gap, lost.records) = (Some(super::super::partial::Gap { from: 5, to: 9 }), 0);
        take(&mut source, lost, 0);
        assert!(source.hour_is_complete(HOUR_US * 8));
        assert!(!source.hour_is_complete(HOUR_US * 9) && !source.hour_is_complete(HOUR_US * 50));
        take(&mut source, clock(0, 9, 10, Some(HOUR_US * 12 + 1), false), 0);
        assert!(!source.hour_is_complete(HOUR_US * 12) && source.hour_is_complete(HOUR_US * 13));
    }
}
