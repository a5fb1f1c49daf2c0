//! The way of a record from its bytes to a shard, as one worker and one shard go it: no broker, one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll::config::{Overrides, Surroundings, embedded};
use plimsoll::core::aggregate::Position;
use plimsoll::core::event::Event;
use plimsoll::core::fold::{Assigned, Fold};
use plimsoll::core::output::Output;
use plimsoll::core::partial::{Clock, Delta, LogRecord};
use plimsoll::core::plan::Plan;
use plimsoll::core::rules::Rules;
use plimsoll::core::shard::{Shard, ShardOptions};
use plimsoll::decode::Decoder;
use plimsoll::wire::partial::{self, FlushHead, encode_flush};

use crate::traffic::{Request, START_US, Slots, Traffic};

const SECOND_US: i64 = 1_000_000;
/// `limits.partial`, as it ships.
const PARTIAL_BYTES: usize = 512 << 10;
/// What glibc's allocator takes for each block beside what was asked for: a head of 8 bytes, and 8 on average to round up.
const BLOCK_BYTES: i64 = 16;
/// As they ship.
const OPTIONS: ShardOptions =
    ShardOptions { provisional_every_s: 300, heartbeat_every_s: 10, rows_per_record: 256 };

/// The rules that ship, of which only `request-log` is left, without its tables and rules.
pub fn bare_rules() -> Rules {
    let surroundings = Surroundings { host_name: "bench".into(), cores: 1 };
    let mut rules = embedded(&BTreeMap::new(), &surroundings, &Overrides::default()).unwrap().rules;
    rules.sources.retain(|source| source.name == "request-log");
    rules.sources[0].rollups.clear();
    rules.alerts.clear();
    rules
}

/// The same with `request_log_hourly` as it ships, but for its limit.
pub fn table_rules(limit: u32) -> Rules {
    let surroundings = Surroundings { host_name: "bench".into(), cores: 1 };
    let shipped = embedded(&BTreeMap::new(), &surroundings, &Overrides::default()).unwrap().rules;
    let mut table = shipped.source("request-log").unwrap().rollups[0].clone();
    table.limit = limit;
    let mut rules = bare_rules();
    rules.sources[0].rollups.push(table);
    rules
}

/// Time taken and what went through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Decode, fold, flush and encode.
    pub ingest: Duration,
    /// Decode partials and apply.
    pub shard: Duration,
    pub records: u64,
    pub deltas: u64,
    pub partial_bytes: u64,
}

impl Spent {
    pub fn ingest_ns(&self) -> f64 {
        self.ingest.as_secs_f64() * 1e9 / self.records as f64
    }

    pub fn shard_ns(&self) -> f64 {
        self.shard.as_secs_f64() * 1e9 / self.records as f64
    }
}

pub struct Path {
    plan: Arc<Plan>,
    slots: Slots,
    decoder: Decoder,
    fold: Fold,
    event: Event,
    pub shard: Shard,
    outputs: Vec<Output>,
    /// Next offset of the one partition that is read, and of the partials.
    next: i64,
    version: i64,
    newest_us: i64,
    pub spent: Spent,
    /// Whether what the shard allocates is counted, which costs time.
    pub counts_memory: bool,
    /// What the shard holds, with the allocator's own share.
    pub shard_bytes: i64,
}

impl Path {
    pub fn new(rules: Rules) -> Path {
        let plan = Arc::new(Plan::compile(0, Arc::new(rules)).unwrap());
        let source = &plan.rules.sources[0];
        let mut path = Path {
            slots: Slots::of(source),
            decoder: Decoder::new(source),
            fold: Fold::new(Arc::clone(&plan), 1),
            event: Event::default(),
            shard: Shard::new(0, OPTIONS),
            outputs: Vec::new(),
            next: 0,
            version: 1,
            newest_us: 0,
            spent: Spent::default(),
            counts_memory: false,
            shard_bytes: 0,
            plan,
        };
        let spec = LogRecord::Spec { version: 0, rules: Arc::clone(&path.plan.rules) };
        path.shard.apply(0, spec, &mut path.outputs).unwrap();
        path.assign();
        path
    }

    fn assign(&mut self) {
        let max_event_us = (self.newest_us > 0).then_some(self.newest_us);
        let assigned = Assigned { partitions: 1, topic: 0, next: self.next, max_event_us };
        self.fold.assign((0, 0), assigned, self.newest_us);
    }

    pub fn projections(&self) -> usize {
        self.plan.projections.len()
    }

    /// Decodes and folds records in JSON.
    pub fn take(&mut self, records: &[(i64, Vec<u8>)]) {
        let began = Instant::now();
        for (at_us, json) in records {
            self.decoder.decode(Some(json), &mut self.event).unwrap();
            self.fold_event(*at_us);
        }
        self.spent.ingest += began.elapsed();
        self.spent.records += records.len() as u64;
    }

    /// Folds a request that need not be decoded.
    pub fn take_decoded(&mut self, traffic: &Traffic, request: &Request) {
        traffic.event(request, &self.slots, &mut self.event);
        self.fold_event(request.at_us);
    }

    fn fold_event(&mut self, at_us: i64) {
        let position = Position { partition: 0, offset: self.next, timestamp_us: at_us };
        self.fold.event((0, 0), position, at_us, &mut self.event).unwrap();
        self.next += 1;
        self.newest_us = self.newest_us.max(at_us);
    }

    /// Deltas that wait for the next flush, and events in them.
    pub fn pending(&mut self) -> (usize, u64) {
        self.fold.pending()
    }

    pub fn flush(&mut self) {
        let began = Instant::now();
        let flush = self.fold.flush(true);
        self.spent.deltas += flush.deltas[0].len() as u64;
        let partials = encode(&flush.deltas[0], &flush.clocks[0], self.newest_us);
        drop(flush);
        self.spent.ingest += began.elapsed();
        self.apply(&partials);
    }

    fn apply(&mut self, partials: &[Vec<u8>]) {
        self.spent.partial_bytes += partials.iter().map(|record| record.len() as u64).sum::<u64>();
        let mut spent = Duration::ZERO;
        let mut apply = || {
            let began = Instant::now();
            for record in partials {
                let record = partial::decode(record).unwrap();
                self.shard.apply(self.version, record, &mut self.outputs).unwrap();
                self.version += 1;
            }
            spent = began.elapsed();
            // The writer would take them.
            self.outputs.clear();
        };
        if self.counts_memory {
            let grown = allocation_counter::measure(apply);
            self.shard_bytes += grown.bytes_current + BLOCK_BYTES * grown.count_current;
        } else {
            apply();
        }
        self.spent.shard += spent;
    }

    /// Goes on as if each second had brought what `seconds` have, one after the other, without folding it again: so a
    /// window of days fills in seconds.
    pub fn repeat(&mut self, seconds: &[(Vec<Delta>, u64)], from_s: i64, to_s: i64, stride_s: i64) {
        let mut at_s = from_s;
        while at_s < to_s {
            let until_s = to_s.min(at_s + stride_s);
            let (mut deltas, mut records) = (Vec::new(), 0);
            for second in at_s..until_s {
                let (of_second, count) = &seconds[second as usize % seconds.len()];
                deltas.extend(of_second.iter().map(|delta| Delta { pane: second, ..delta.clone() }));
                records += count;
            }
            let clock = self.clock(at_s * SECOND_US, until_s * SECOND_US - 1, records as i64);
            let partials = encode(&deltas, &[clock], self.newest_us);
            drop(deltas);
            self.apply(&partials);
            at_s = until_s;
        }
        self.fold.clear();
        self.assign();
    }

    fn clock(&mut self, min_event_us: i64, max_event_us: i64, records: i64) -> Clock {
        let from = self.next;
        self.next += records;
        self.newest_us = max_event_us;
        Clock {
            source: 0,
            partition: 0,
            partitions: 1,
            topic: 0,
            from,
            to: self.next,
            records: records as u64,
            dead_letters: 0,
            late: 0,
            shard_events: 0,
            max_event_us: Some(max_event_us),
            min_event_us: Some(min_event_us),
            idle: false,
            lag: 0,
            gap: None,
        }
    }

    /// What a second brings, folded and not applied, for [`Path::repeat`]. Nothing else may be pending.
    pub fn folded_second(&mut self, traffic: &mut Traffic, records: u64) -> (Vec<Delta>, u64) {
        let (next, newest_us) = (self.next, self.newest_us);
        for _ in 0..records {
            let mut request = traffic.next();
            request.at_us = START_US;
            self.take_decoded(traffic, &request);
        }
        let deltas = self.fold.flush(false).deltas.swap_remove(0);
        self.fold.clear();
        (self.next, self.newest_us) = (next, newest_us);
        self.assign();
        (deltas, records)
    }
}

fn encode(deltas: &[Delta], clocks: &[Clock], log_time_us: i64) -> Vec<Vec<u8>> {
    let head = FlushHead { rules: 0, worker: 0, log_time_us };
    encode_flush(head, deltas, clocks, PARTIAL_BYTES).unwrap()
}

/// What the process has in memory, by the kernel's count: now, and at most so far.
pub fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
}
