//! Raw records to rows, on several threads. No record is kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::core::source::Source;
use crate::core::time::MILLI_US;
use crate::kafka::{Connection, KafkaError, Stretch};

use super::difference::{Difference, Differences};
use super::figure::Happened;
use super::input::Input;
use super::letters::{Letter, Letters, record_name};
use super::log::{Log, Verdict};
use super::rows::Rows;
use super::{Failed, Show};

const STALL: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
/// Records between two words about progress.
const TOLD_EVERY: u64 = 1_000;

/// What is the same for all partitions of a source.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    pub connection: &'a Connection,
    pub source: &'a Source,
    pub hours: &'a Range<i64>,
    pub letters: &'a Letters,
    /// Larger records are none.
    pub most_bytes: usize,
    pub shards: u32,
}

/// Where the records that were read have gone.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub read: u64,
    /// Events of the range.
    pub counted: u64,
    /// Events of other hours.
    pub elsewhere: u64,
    /// Dead letters by reason.
    pub dead: BTreeMap<String, u64>,
}

pub struct Recomputed {
    /// One for each rollup.
    pub tables: Vec<Rows>,
    pub tally: Tally,
    pub differences: Differences,
}

/// How far the threads have come, for people.
#[derive(Default)]
struct Seen {
    records: AtomicU64,
    at_us: AtomicI64,
}

/// Reads all `inputs`. `before` records were read already, for `show`.
pub fn recompute(
    work: Work<'_>,
    inputs: Vec<Input>,
    workers: usize,
    differences: &Differences,
    before: u64,
    show: &mut Show<'_>,
) -> Result<Recomputed, Failed> {
    let seen = Seen::default();
    let parts: Vec<Result<Recomputed, KafkaError>> = thread::scope(|scope| {
        let start = |hand: Vec<Input>| {
            let empty = Recomputed::empty(work, differences.like());
            let seen = &seen;
            scope.spawn(move || empty.read(work, &hand, seen))
        };
        let running: Vec<_> = deal(inputs, workers).into_iter().map(start).collect();
        while running.iter().any(|worker| !worker.is_finished()) {
            show(before + seen.records.load(Ordering::Relaxed), seen.at_us.load(Ordering::Relaxed));
            thread::sleep(LOOK);
        }
        let ended = running.into_iter().map(|worker| worker.join().map_err(|_| Failed::Thread));
        ended.collect::<Result<Vec<_>, Failed>>()
    })?;
    let mut all = Recomputed::empty(work, differences.like());
    for part in parts {
        all.merge(work.source, part?);
    }
    Ok(all)
}

/// Deals them out so that each hand has about as many records.
fn deal(mut inputs: Vec<Input>, workers: usize) -> Vec<Vec<Input>> {
    let records = |input: &Input| input.offsets.end - input.offsets.start;
    inputs.sort_by_key(|input| std::cmp::Reverse(records(input)));
    let mut hands: Vec<(i64, Vec<Input>)> = (0..workers.max(1)).map(|_| (0, Vec::new())).collect();
    for input in inputs {
        if let Some((held, hand)) = hands.iter_mut().min_by_key(|(held, _)| *held) {
            *held += records(&input);
            hand.push(input);
        }
    }
    hands.into_iter().map(|(_, hand)| hand).collect()
}

impl Recomputed {
    fn empty(work: Work<'_>, differences: Differences) -> Recomputed {
        let tables = work.source.rollups.iter().map(|rollup| Rows::new(rollup, work.shards)).collect();
        Recomputed { tables, tally: Tally::default(), differences }
    }

    fn merge(&mut self, source: &Source, other: Recomputed) {
        for ((table, other), rollup) in self.tables.iter_mut().zip(other.tables).zip(&source.rollups) {
            table.merge(rollup, other);
        }
        self.tally.merge(&other.tally);
        self.differences.extend(other.differences);
    }

    /// One partition after the other, each in the order of its log.
    fn read(mut self, work: Work<'_>, inputs: &[Input], seen: &Seen) -> Result<Recomputed, KafkaError> {
        let wanted: Vec<_> =
            inputs.iter().map(|input| (input.partition.clone(), input.offsets.clone())).collect();
        for (input, mut stretch) in inputs.iter().zip(Stretch::open_all(work.connection, &wanted)?) {
            self.partition(work, input, &mut stretch, seen)?;
        }
        Ok(self)
    }

    fn partition(
        &mut self,
        work: Work<'_>,
        input: &Input,
        stretch: &mut Stretch,
        seen: &Seen,
    ) -> Result<(), KafkaError> {
        let number = input.partition.partition;
        let letters = work.letters.of(&work.source.topic, number);
        let mut log = Log::new(work.source, work.most_bytes, input.unread_us);
        let (mut next, mut with_letter, mut untold) = (input.offsets.start, 0, 0);
        let mut timestamp_us = 0;
        while !log.is_past(work.hours.end) {
            let Some(record) = stretch.peek(STALL)? else {
                next = input.offsets.end;
                break;
            };
            let offset = record.offset;
            // A record without a timestamp is as old as the one before it.
            timestamp_us = record.timestamp_ms.map_or(timestamp_us, |ms| ms.saturating_mul(MILLI_US));
            let is_refused = letters.is_some_and(|letters| letters.is_by_wall_clock(offset));
            let letter = letters.map_or(Letter::None, |letters| letters.of(offset));
            with_letter += u64::from(letter != Letter::None);
            let verdict = log.judge(timestamp_us, record.payload, is_refused);
            if let Err((expected, found)) = self.settle(work, &verdict, letter, number, offset) {
                self.differences.push(Difference {
                    place: record_name(&work.source.topic, number, offset, timestamp_us),
                    row: String::new(),
                    column: "dead letter".to_owned(),
                    expected,
                    found,
                });
            }
            next = offset + 1;
            untold += 1;
            if untold == TOLD_EVERY {
                seen.records.fetch_add(std::mem::take(&mut untold), Ordering::Relaxed);
                seen.at_us.fetch_max(log.newest_us().unwrap_or(0), Ordering::Relaxed);
            }
            stretch.pass();
        }
        seen.records.fetch_add(untold, Ordering::Relaxed);
        let written = letters.map_or(0, |letters| letters.count(input.offsets.start..next));
        if written != with_letter {
            self.differences.push(Difference {
                place: format!("{}[{number}]", work.source.topic),
                row: format!("offsets {} to {next}", input.offsets.start),
                column: "dead letters".to_owned(),
                expected: with_letter.to_string(),
                found: format!("{written}, some of offsets without a record"),
            });
        }
        Ok(())
    }

    /// Every record is in an hour or in the dead letters; else says what was expected and what was found.
    fn settle(
        &mut self,
        work: Work<'_>,
        verdict: &Verdict<'_>,
        letter: Letter<'_>,
        partition: i32,
        offset: i64,
    ) -> Result<(), (String, String)> {
        let tally = &mut self.tally;
        tally.read += 1;
        // What is an event has to be in its rows, whatever else was made of it.
        match verdict {
            Verdict::Event { event, at_us, age_us, late } if work.hours.contains(at_us) => {
                tally.counted += 1;
                let happened = Happened { event, at_us: *at_us, partition, offset, age_us: *age_us };
                for (rows, rollup) in self.tables.iter_mut().zip(&work.source.rollups) {
                    rows.add(rollup, &happened, *late);
                }
            }
            Verdict::Event { .. } => tally.elsewhere += 1,
            Verdict::Dead(_) | Verdict::Undecided => {}
        }
        match (verdict, letter) {
            (Verdict::Event { .. }, Letter::None) => Ok(()),
            (Verdict::Undecided, Letter::None) => {
                tally.elsewhere += 1;
                Ok(())
            }
            (Verdict::Dead(reason), Letter::Of(found)) if *reason == found => {
                *tally.dead.entry(found.to_owned()).or_default() += 1;
                Ok(())
            }
            (Verdict::Undecided, Letter::Of(found @ ("TOO_LATE" | "OUT_OF_RANGE"))) => {
                *tally.dead.entry(found.to_owned()).or_default() += 1;
                Ok(())
            }
            (Verdict::Dead(reason), letter) => Err(((*reason).to_owned(), letter.to_string())),
            (Verdict::Event { .. } | Verdict::Undecided, letter) => {
                Err(("none, it is an event".to_owned(), letter.to_string()))
            }
        }
    }
}

impl Tally {
    pub fn merge(&mut self, other: &Tally) {
        self.read += other.read;
        self.counted += other.counted;
        self.elsewhere += other.elsewhere;
        for (reason, letters) in &other.dead {
            *self.dead.entry(reason.clone()).or_default() += letters;
        }
    }
}
