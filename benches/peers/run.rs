//! One system over the whole backlog, and what it cost.

use std::fmt;
use std::time::{Duration, Instant};

use super::answer::{Answer, Rows};
use super::measure::raw::RawRun;
use super::measure::{cpu_s, peak_kib};

/// Asking Plimsoll makes it write out all its metrics: at fifty times a second that was a twentieth of what it took.
const LOOK: Duration = Duration::from_millis(250);
/// Reading the outputs takes the broker's core some time.
const LOOK_AT_ROWS: Duration = Duration::from_millis(300);
const TELL: Duration = Duration::from_secs(5);
/// Nobody that works is slower.
const LEAST_RECORDS_A_SECOND: f64 = 10_000.0;
const START_LIMIT: Duration = Duration::from_secs(120);

/// A system that is being measured.
pub trait Peer {
    fn name(&self) -> &str;
    fn pid(&self) -> u32;
    fn assert_running(&mut self);
    /// Records behind it; where it has several steps, the mean over them.
    fn progress(&mut self) -> f64;
    /// The rows it has written so far, committed ones only.
    fn rows(&self) -> Rows;
    /// Waits until it is done with what is no part of the answer but of its job.
    fn finish(&mut self) {}
}

/// Once over all records.
#[derive(Clone, Copy)]
pub struct Pass {
    pub records: f64,
    pub cpu_s: f64,
    /// From the first record to the last row.
    pub took_s: f64,
    pub peak_kib: u64,
}

impl Pass {
    pub fn of_consumer(records: u64, raw: &RawRun) -> Pass {
        Pass { records: records as f64, cpu_s: raw.cpu_s, took_s: raw.took_s, peak_kib: raw.peak_kib }
    }

    pub fn ns(&self) -> f64 {
        self.cpu_s / self.records * 1e9
    }

    pub fn rate(&self) -> f64 {
        self.records / self.took_s
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.peak_kib / 1024;
        write!(f, "{:.0} ns a record, {:.0} records a second, {mib} MiB", self.ns(), self.rate())
    }
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    cpu_s: f64,
    records: f64,
}

impl Mark {
    fn now(peer: &mut dyn Peer) -> Mark {
        peer.assert_running();
        let records = peer.progress();
        Mark { at: Instant::now(), cpu_s: cpu_s(peer.pid()), records }
    }
}

/// Waits for the whole answer, and fails when it is not the right one. What the process had used before it began this pass
/// is left out.
pub fn measured(peer: &mut dyn Peer, before_s: f64, answer: &Answer) -> Pass {
    let began = first_mark(peer, |mark| mark.records > 0.0, Instant::now() + START_LIMIT, answer);
    let limit =
        began.at + START_LIMIT + Duration::from_secs_f64(answer.records as f64 / LEAST_RECORDS_A_SECOND);
    // Records that are no event are behind a system as soon as it has read them.
    let mut end = first_mark(peer, |mark| mark.records >= answer.events as f64, limit, answer);
    while peer.rows().events() != answer.events {
        assert!(Instant::now() < limit, "{} has not written all rows: {}", peer.name(), peer.rows().events());
        std::thread::sleep(LOOK_AT_ROWS);
        end = Mark::now(peer);
    }
    peer.finish();
    let cpu_s = cpu_s(peer.pid()) - before_s;
    if let Err(differences) = answer.check(&peer.rows()) {
        panic!("{}'s answer is wrong, so its run is void:\n{differences}", peer.name());
    }
    Pass {
        records: answer.records as f64,
        cpu_s,
        took_s: (end.at - began.at).as_secs_f64(),
        peak_kib: peak_kib(peer.pid()),
    }
}

fn first_mark(peer: &mut dyn Peer, is_it: impl Fn(&Mark) -> bool, limit: Instant, answer: &Answer) -> Mark {
    let mut told = Instant::now();
    loop {
        let mark = Mark::now(peer);
        if is_it(&mark) {
            return mark;
        }
        let behind = format!("{:.0} of {} records", mark.records, answer.records);
        assert!(mark.at < limit, "{} is too slow: {behind}", peer.name());
        if told.elapsed() > TELL {
            told = Instant::now();
            eprintln!("{}: {behind}, {:.1} s of CPU", peer.name(), mark.cpu_s);
        }
        std::thread::sleep(LOOK);
    }
}
