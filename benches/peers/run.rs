//! One system over the whole backlog, and what it cost.

use std::time::{Duration, Instant};

use super::answer::{Answer, Rows};
use super::measure::raw::RawRun;
use super::measure::{cpu_s, peak_kib};

const LOOK: Duration = Duration::from_millis(20);
/// Reading the outputs takes the broker's core some time.
const LOOK_AT_ROWS: Duration = Duration::from_millis(300);
const TELL: Duration = Duration::from_secs(5);
/// Nobody that works is slower.
const LEAST_RECORDS_A_SECOND: f64 = 2_000.0;
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

pub struct Run {
    pub records: f64,
    pub cpu_s: f64,
    pub took_s: f64,
    /// From where half of the records were behind it.
    pub second_records: f64,
    pub second_cpu_s: f64,
    pub second_took_s: f64,
    pub peak_kib: u64,
}

impl Run {
    /// A consumer has no warm-up; its second half is as its first.
    pub fn of_consumer(records: u64, raw: &RawRun) -> Run {
        let records = records as f64;
        let (second_records, second_cpu_s, second_took_s) =
            (records / 2.0, raw.cpu_s / 2.0, raw.took_s / 2.0);
        let (cpu_s, took_s, peak_kib) = (raw.cpu_s, raw.took_s, raw.peak_kib);
        Run { records, cpu_s, took_s, second_records, second_cpu_s, second_took_s, peak_kib }
    }

    pub fn ns(&self) -> f64 {
        self.cpu_s / self.records * 1e9
    }

    pub fn second_ns(&self) -> f64 {
        self.second_cpu_s / self.second_records * 1e9
    }

    pub fn told(&self) -> String {
        format!(
            "{:.0} ns a record, {:.0} ns in the second half, {:.0} records a second, {:.0} in the second half, {} MiB",
            self.ns(),
            self.second_ns(),
            self.records / self.took_s,
            self.second_records / self.second_took_s,
            self.peak_kib / 1024
        )
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

/// Waits for the whole answer, and fails when it is not the right one.
pub fn measured(peer: &mut dyn Peer, answer: &Answer) -> Run {
    let began = first_mark(peer, |mark| mark.records > 0.0, began_limit(), answer);
    let limit = began.at + Duration::from_secs_f64(answer.records as f64 / LEAST_RECORDS_A_SECOND);
    let half = first_mark(peer, |mark| mark.records >= answer.records as f64 / 2.0, limit, answer);
    // Records that are no event are behind a system as soon as it has read them.
    let mut end = first_mark(peer, |mark| mark.records >= answer.events as f64, limit, answer);
    while peer.rows().events() != answer.events {
        assert!(Instant::now() < limit, "{} has not written all rows: {}", peer.name(), peer.rows().events());
        std::thread::sleep(LOOK_AT_ROWS);
        end = Mark::now(peer);
    }
    peer.finish();
    let cpu_s = cpu_s(peer.pid());
    if let Err(differences) = answer.check(&peer.rows()) {
        panic!("{}'s answer is wrong, so its run is void:\n{differences}", peer.name());
    }
    Run {
        records: answer.records as f64,
        cpu_s,
        took_s: (end.at - began.at).as_secs_f64(),
        second_records: answer.records as f64 - half.records,
        second_cpu_s: cpu_s - half.cpu_s,
        second_took_s: (end.at - half.at).as_secs_f64(),
        peak_kib: peak_kib(peer.pid()),
    }
}

fn began_limit() -> Instant {
    Instant::now() + START_LIMIT
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
