//! Which records of a partition are wanted, and when each arrived.

use std::ops::Range;

/// So many records in a row beyond the end and the partition is done with. One alone may lie about its time, and so may
/// a transaction's marker, by which the broker would look the end up.
const BEYOND: u32 = 1_000;

#[derive(Debug)]
pub struct Gate {
    times_us: Range<i64>,
    begun: bool,
    beyond: u32,
    /// The newest timestamp so far: time that never goes back.
    arrival_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    No,
    /// It arrived at this microsecond.
    At(i64),
    /// Neither this one nor any after it.
    Never,
}

impl Gate {
    pub fn new(times_us: Range<i64>) -> Gate {
        Gate { arrival_us: times_us.start, times_us, begun: false, beyond: 0 }
    }

    /// Asked of each record in the order of the log; asking twice of one that is wanted changes nothing.
    pub fn ask(&mut self, timestamp_us: Option<i64>) -> Wanted {
        // A record without a timestamp is as old as the one before it.
        let timestamp_us = timestamp_us.unwrap_or(self.arrival_us);
        // Once it has begun, an old timestamp is one that came late.
        self.begun |= timestamp_us >= self.times_us.start;
        if timestamp_us >= self.times_us.end {
            self.beyond += 1;
            return if self.beyond < BEYOND { Wanted::No } else { Wanted::Never };
        }
        if !self.begun {
            return Wanted::No;
        }
        self.beyond = 0;
        self.arrival_us = self.arrival_us.max(timestamp_us);
        Wanted::At(self.arrival_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_times_is_wanted_and_what_came_late_in_it() {
        let mut gate = Gate::new(10..20);
        let asked = [8, 10, 9, 15, 25, 12, 19].map(|at_us| gate.ask(Some(at_us)));
        let (no, at) = (Wanted::No, Wanted::At);
        assert_eq!(asked, [no, at(10), at(10), at(15), no, at(15), at(19)]);
        assert_eq!([gate.ask(Some(19)), gate.ask(None)], [at(19), at(19)]);
    }

    #[test]
    fn it_ends_when_nothing_but_later_records_come() {
        let mut gate = Gate::new(10..20);
        let all: Vec<Wanted> = (0..BEYOND).map(|_| gate.ask(Some(20))).collect();
        assert_eq!((all[0], all.last().copied()), (Wanted::No, Some(Wanted::Never)));
        let mut gate = Gate::new(10..20);
        let all = (0..2 * BEYOND).map(|n| gate.ask(Some(if n % 2 == 0 { 25 } else { 15 })));
        assert_eq!(all.filter(|wanted| *wanted == Wanted::At(15)).count() as u32, BEYOND);
    }
}
