//! Ingest in memory: workers that read, fold, flush, fail and hand partitions over, and the logs they leave.

use plimsoll::core::aggregate::Position;
use plimsoll::core::event::{Event, Invalid};
use plimsoll::core::fold::{Assigned, Fold, PartitionId};
use plimsoll::core::partial::LagSample;
use plimsoll::core::plan::{Body, Plan};
use plimsoll::core::rules::Rules;
use plimsoll::decode::Decoder;
use plimsoll::wire::offset::OffsetMetadata;
use plimsoll::wire::partial::{FlushHead, encode_flush, encode_spec};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::asks::CONSUMER;
use super::hits::Taken;
use super::oracle::{DeadLetter, RawRecord};
use super::workload::SECOND_US;

pub struct Chance(ChaCha8Rng);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From 0 up to but not `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    /// True in `percent` of all cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A record and when the broker has it.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at_us: i64,
    pub record: RawRecord,
}

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub seed: u64,
    pub workers: u32,
    pub shards: u32,
    /// Partitions of every input topic.
    pub partitions: u32,
    /// Whether transactions fail and partitions are handed over.
    pub mishaps: bool,
}

pub struct Ingest {
    pub chance: Chance,
    pub now_us: i64,
    setup: Setup,
    versions: Vec<Arc<Plan>>,
    inputs: BTreeMap<PartitionId, Vec<Arrival>>,
    /// Samples of lags yet to come; every clock is told with them.
    samples: VecDeque<Taken>,
    tells_lags: bool,
    /// Next offset and metadata, as the group has them committed.
    committed: BTreeMap<PartitionId, (i64, String)>,
    workers: Vec<Worker>,
    /// Committed records on their way to each shard's log, by worker.
    on_the_way: Vec<Vec<VecDeque<Vec<u8>>>>,
    /// What each shard is a function of.
    pub logs: Vec<Vec<Vec<u8>>>,
    pub dead_letters: Vec<DeadLetter>,
    pub flushes_failed: u32,
    pub handovers: u32,
}

struct Worker {
    id: u32,
    plan: Arc<Plan>,
    decoders: Vec<Decoder>,
    fold: Fold,
    spec_written: bool,
    dead_letters: Vec<DeadLetter>,
}

impl Worker {
    fn new(id: u32, plan: &Arc<Plan>, shards: u32) -> Worker {
        Worker {
            id,
            plan: Arc::clone(plan),
            decoders: plan.rules.sources.iter().map(Decoder::new).collect(),
            fold: Fold::new(Arc::clone(plan), shards),
            spec_written: false,
            dead_letters: Vec::new(),
        }
    }

    fn read(&mut self, id: PartitionId, arrival: &Arrival, now_us: i64, event: &mut Event) {
        let record = &arrival.record;
        let folded = match self.decoders[usize::from(id.0)].decode(Some(&record.payload), event) {
            Ok(()) => {
                let timestamp_us = record.timestamp_ms * 1000;
                let position = Position { partition: id.1, offset: record.offset, timestamp_us };
                self.fold.event(id, position, now_us, event).map(|_| ())
            }
            Err(invalid) => {
                self.fold.reject(id, record.offset, now_us);
                Err(invalid)
            }
        };
        if let Err(Invalid { reason, .. }) = folded {
            let RawRecord { topic, partition, offset, .. } = record.clone();
            self.dead_letters.push(DeadLetter { topic, partition, offset, reason: reason.name() });
        }
    }
}

impl Ingest {
    /// `arrivals` are in the order of their partitions.
    pub fn new(setup: Setup, rules: Rules, arrivals: &[Arrival], now_us: i64) -> Ingest {
        let plan = Arc::new(Plan::compile(0, Arc::new(rules)).expect("rules that compile"));
        let mut inputs = BTreeMap::new();
        for (at, source) in plan.rules.sources.iter().enumerate().filter(|(_, source)| !source.optional) {
            for partition in 0..setup.partitions {
                let here = |a: &&Arrival| a.record.topic == source.topic && a.record.partition == partition;
                let log: Vec<Arrival> = arrivals.iter().filter(here).cloned().collect();
                assert!(log.iter().zip(0..).all(|(arrival, offset)| arrival.record.offset == offset));
                inputs.insert((at as u16, partition as i32), log);
            }
        }
        let shards = setup.shards as usize;
        let mut ingest = Ingest {
            chance: Chance::new(setup.seed),
            now_us,
            setup,
            workers: (0..setup.workers).map(|id| Worker::new(id, &plan, setup.shards)).collect(),
            versions: vec![plan],
            committed: inputs.keys().map(|id| (*id, (0, String::new()))).collect(),
            inputs,
            samples: VecDeque::new(),
            tells_lags: false,
            on_the_way: vec![vec![VecDeque::new(); setup.workers as usize]; shards],
            logs: vec![Vec::new(); shards],
            dead_letters: Vec::new(),
            flushes_failed: 0,
            handovers: 0,
        };
        ingest.hand_over();
        ingest
    }

    /// Takes these samples, sorted by second, as time comes to them.
    pub fn watch_lags(&mut self, samples: &[Taken]) {
        self.samples = samples.iter().copied().collect();
        self.tells_lags = !samples.is_empty();
    }

    /// Goes on to `until_us` in steps of up to `step_us`.
    pub fn run(&mut self, until_us: i64, step_us: i64) {
        while self.now_us < until_us {
            let step_us = 1 + self.chance.below(step_us as u64) as i64;
            self.now_us = (self.now_us + step_us).min(until_us);
            self.step();
        }
    }

    /// Reads what is left, then lets time pass in peace, so that all partitions idle and all rows are written.
    pub fn settle(&mut self, until_us: i64) {
        self.catch_up();
        self.quietly(1, (until_us - self.now_us).max(1));
        self.quietly(20, 61_000_000);
    }

    /// Reads what is left, until all partitions idle.
    pub fn catch_up(&mut self) {
        self.setup.mishaps = false;
        let all = self.inputs.values().flatten().map(|arrival| arrival.at_us).max().unwrap_or(0);
        self.now_us = self.now_us.max(all);
        self.quietly(3, 6_000_000);
    }

    /// Every worker reads all there is and flushes every clock, `steps` times.
    pub fn quietly(&mut self, steps: usize, step_us: i64) {
        for _ in 0..steps {
            self.now_us += step_us;
            for at in 0..self.workers.len() {
                self.read(at, u64::MAX);
                self.flush(at, true);
            }
            self.deliver();
        }
    }

    fn step(&mut self) {
        if self.setup.mishaps && self.chance.percent(3) {
            self.hand_over();
        }
        for _ in 0..self.workers.len() {
            let at = self.chance.below(self.workers.len() as u64) as usize;
            let most = if self.chance.percent(60) { u64::MAX } else { 1 + self.chance.below(20) };
            self.read(at, most);
            if self.chance.percent(70) {
                let every_clock = self.chance.percent(50);
                self.flush(at, every_clock);
            }
        }
        for shard in 0..self.logs.len() {
            for _ in 0..self.chance.below(8) {
                self.deliver_one(shard);
            }
        }
    }

    /// One worker reads up to `most` records of each of its partitions and asks where they end.
    fn read(&mut self, at: usize, most: u64) {
        self.sample();
        let mut event = Event::default();
        let worker = &mut self.workers[at];
        for id in worker.fold.partitions().collect::<Vec<_>>() {
            let next = worker.fold.next(id).expect("assigned") as usize;
            let log = &self.inputs[&id];
            let there = log.partition_point(|arrival| arrival.at_us <= self.now_us).max(next);
            let end = there.min(next.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)));
            for arrival in &log[next..end] {
                worker.read(id, arrival, self.now_us, &mut event);
            }
            worker.fold.observe_end(id, (there - end) as u64, self.now_us);
        }
    }

    /// Every worker samples the lags of its partitions.
    fn sample(&mut self) {
        let now_us = self.now_us;
        let due = self.samples.partition_point(|taken| taken.sample.second * SECOND_US <= now_us);
        let due: Vec<Taken> = self.samples.drain(..due).collect();
        for together in due.chunk_by(|a, b| (a.source, a.sample.second) == (b.source, b.sample.second)) {
            let sample = |Taken { sample, .. }: &Taken| LagSample {
                partition: sample.partition,
                messages: sample.messages as u64,
                behind_us: sample.behind_us,
            };
            let samples: Vec<LagSample> = together.iter().map(sample).collect();
            let Taken { source, sample } = together[0];
            for Worker { plan, fold, .. } in &mut self.workers {
                let is_it = |body: &Body| matches!(body, Body::Lag(Some(group)) if group == CONSUMER);
                let at = plan.projections.iter().position(|p| is_it(&p.body) && p.source == source);
                fold.lag(at.expect("a lag that is watched") as u16, sample.second, &samples);
            }
        }
    }

    fn flush(&mut self, at: usize, every_clock: bool) {
        let fails = self.setup.mishaps && self.chance.percent(5);
        let bytes = self.chance.pick(&[300, 3_000, 512 << 10]);
        let worker = &mut self.workers[at];
        let flush = worker.fold.flush(every_clock || self.tells_lags);
        if flush.offsets.is_empty() {
            return;
        }
        if fails {
            self.flushes_failed += 1;
            let partitions: Vec<PartitionId> = worker.fold.partitions().collect();
            self.assign(at, &partitions);
            return;
        }
        let version = worker.plan.version;
        let head = FlushHead { rules: version, worker: worker.id, log_time_us: self.now_us };
        for (shard, (deltas, clocks)) in flush.deltas.iter().zip(&flush.clocks).enumerate() {
            let on_the_way = &mut self.on_the_way[shard][at];
            if !worker.spec_written {
                on_the_way.push_back(encode_spec(version, &worker.plan.rules).expect("rules that encode"));
            }
            on_the_way.extend(encode_flush(head, deltas, clocks, bytes).expect("a flush that encodes"));
        }
        worker.spec_written = true;
        for offset in &flush.offsets {
            let metadata = OffsetMetadata { max_event_us: offset.max_event_us }.encode();
            self.committed.insert(offset.partition, (offset.next, metadata));
        }
        self.dead_letters.append(&mut worker.dead_letters);
    }

    /// Discards what a worker holds and gives it `partitions` where the group stands.
    fn assign(&mut self, at: usize, partitions: &[PartitionId]) {
        let worker = &mut self.workers[at];
        worker.fold.clear();
        worker.dead_letters.clear();
        for &id in partitions {
            let (next, metadata) = &self.committed[&id];
            let metadata = OffsetMetadata::decode(metadata).expect("what was committed");
            let assigned = Assigned {
                partitions: self.setup.partitions,
                topic: 7,
                next: *next,
                max_event_us: metadata.max_event_us,
            };
            worker.fold.assign(id, assigned, self.now_us);
        }
    }

    /// Spreads the partitions over the workers anew; some of them lose what they hold instead of flushing it.
    pub fn hand_over(&mut self) {
        self.handovers += 1;
        for at in 0..self.workers.len() {
            if self.chance.percent(70) {
                self.flush(at, false);
            }
        }
        // A new owner reads what the one before has committed, so its records come later.
        self.deliver();
        let mut parts: Vec<Vec<PartitionId>> = vec![Vec::new(); self.workers.len()];
        for &id in self.inputs.keys() {
            parts[self.chance.below(self.setup.workers.into()) as usize].push(id);
        }
        for (at, partitions) in parts.iter().enumerate() {
            self.assign(at, partitions);
        }
    }

    /// New rules; workers take them up one by one.
    pub fn apply_rules(&mut self, rules: Rules) {
        let version = self.versions.len() as i64;
        self.versions.push(Arc::new(Plan::compile(version, Arc::new(rules)).expect("rules that compile")));
    }

    /// A worker begins anew with the newest rules; if it has already begun, it flushes first.
    pub fn adopt(&mut self, at: usize) {
        if self.workers[at].spec_written {
            self.flush(at, true);
        }
        let partitions: Vec<PartitionId> = self.workers[at].fold.partitions().collect();
        let newest = self.versions.last().expect("never empty");
        self.workers[at] = Worker::new(self.workers[at].id, newest, self.setup.shards);
        self.assign(at, &partitions);
    }

    fn deliver_one(&mut self, shard: usize) -> bool {
        let waiting: Vec<usize> =
            (0..self.workers.len()).filter(|&at| !self.on_the_way[shard][at].is_empty()).collect();
        if waiting.is_empty() {
            return false;
        }
        let at = self.chance.pick(&waiting);
        self.logs[shard].extend(self.on_the_way[shard][at].pop_front());
        true
    }

    /// All that was committed reaches the logs.
    pub fn deliver(&mut self) {
        for shard in 0..self.logs.len() {
            while self.deliver_one(shard) {}
        }
    }
}
