//! Ingest around the real fold: fetches that arrive later, flushes in transactions that can stop anywhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use plimsoll::core::aggregate::Position;
use plimsoll::core::event::{Event, Invalid};
use plimsoll::core::fold::{Assigned, Fold};
use plimsoll::decode::Decoder;
use plimsoll::wire::offset::OffsetMetadata;
use plimsoll::wire::partial::{FlushHead, encode_flush, encode_spec};

use super::broker::{Committed, Payload, Place, Refusal, Topic};
use super::bug::Bug;
use super::group::{Heard, Role};
use super::process::{Answer, Life, Membership, Step, Turn};
use super::rules::{PLAN, SHARDS};
use super::traffic::PARTITIONS;

pub struct Ingest {
    worker: u32,
    fold: Fold,
    decoder: Decoder,
    event: Event,
    letters: Vec<(i32, i64, &'static str)>,
    /// Records on their way: partition, first offset and the offset after the last.
    fetched: VecDeque<(i32, usize, usize)>,
    spec_written: bool,
    epoch: Option<u32>,
    phase: Phase,
}

enum Phase {
    Running,
    /// The broker is asked where the group stands.
    TakingOver,
    Flushing {
        records: VecDeque<(Place, Payload)>,
        offsets: Vec<(i32, Committed)>,
        sent: bool,
        /// Partitions are to be given up afterwards.
        leaving: bool,
    },
}

impl Ingest {
    pub fn new(incarnation: u64) -> Ingest {
        Ingest {
            worker: incarnation as u32,
            fold: Fold::new(Arc::clone(&PLAN), SHARDS as u32),
            decoder: Decoder::new(&PLAN.rules.sources[0]),
            event: Event::default(),
            letters: Vec::new(),
            fetched: VecDeque::new(),
            spec_written: false,
            epoch: None,
            phase: Phase::Running,
        }
    }

    pub fn go(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        let Some(epoch) = self.epoch else {
            self.epoch = turn.outside.broker.init(membership.member).ok();
            return Ok(Life::Goes);
        };
        match self.phase {
            Phase::Running => self.run(membership, turn),
            Phase::TakingOver => {
                self.take_over(membership, turn);
                Ok(Life::Goes)
            }
            Phase::Flushing { .. } => self.flush_on(membership, epoch, turn),
        }
    }

    fn run(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        match turn.dice % 8 {
            0 | 1 => return self.poll(membership, turn),
            2 | 3 => self.fetch(turn),
            4 | 5 => self.fold(turn),
            6 => self.observe(turn),
            _ => {
                self.flush(turn, turn.dice & 64 != 0, false);
            }
        }
        Ok(Life::Goes)
    }

    fn poll(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        match membership.poll(turn.outside) {
            Heard::Nothing => {}
            // All is given up, but what is pending is flushed before.
            Heard::Rebalance => {
                if !self.flush(turn, false, true) {
                    self.leave(membership, turn);
                }
            }
            Heard::Lost => {
                self.discard();
                membership.owned.clear();
            }
            Heard::Assigned { generation, partitions } => {
                (membership.generation, membership.owned) = (generation, partitions);
                self.discard();
                self.phase = Phase::TakingOver;
            }
            Heard::Fenced => return Ok(Life::Ends),
        }
        Ok(Life::Goes)
    }

    fn leave(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) {
        self.discard();
        membership.owned = BTreeSet::new();
        membership.rejoin(turn.outside);
    }

    fn discard(&mut self) {
        self.fold.clear();
        self.letters.clear();
        self.fetched.clear();
    }

    /// Goes on where the group stands; waits while a dead owner's transaction holds that back.
    fn take_over(&mut self, membership: &Membership, turn: &mut Turn<'_>) {
        let broker = &turn.outside.broker;
        let ask = |&partition: &i32| Ok((partition, broker.committed(Role::Ingest, partition)?));
        let committed: Result<Vec<_>, Refusal> = membership.owned.iter().map(ask).collect();
        let Ok(committed) = committed else { return };
        self.discard();
        for (partition, committed) in committed {
            let (next, metadata) = committed.map_or((0, String::new()), |c| (c.next, c.metadata));
            let max_event_us = OffsetMetadata::decode(&metadata).expect("what was committed").max_event_us;
            let assigned = Assigned { partitions: PARTITIONS as u32, topic: 7, next, max_event_us };
            self.fold.assign((0, partition), assigned, turn.wall_us);
        }
        self.observe(turn);
        self.phase = Phase::Running;
    }

    /// Asks for records; they arrive when they arrive.
    fn fetch(&mut self, turn: &mut Turn<'_>) {
        for (_, partition) in self.fold.partitions().collect::<Vec<_>>() {
            let next = self.fold.next((0, partition)).expect("assigned") as usize;
            let there = turn.outside.traffic.there(partition, turn.outside.now_us).max(next);
            let most = 1 + turn.dice as usize / 8 % 20;
            if there > next && !self.fetched.iter().any(|(on_its_way, ..)| *on_its_way == partition) {
                self.fetched.push_back((partition, next, there.min(next + most)));
            }
        }
    }

    /// Folds what arrives next. Now and then it arrives once more.
    fn fold(&mut self, turn: &mut Turn<'_>) {
        let Some((partition, from, to)) = self.fetched.pop_front() else { return };
        if turn.dice & 0x300 == 0 {
            self.fetched.push_front((partition, from, to));
        }
        // A hole would be one in what was read.
        if self.fold.next((0, partition)).is_none_or(|next| (next as usize) < from) {
            return;
        }
        let sent = &turn.outside.traffic.0[partition as usize];
        for (offset, sent) in (from as i64..).zip(&sent[from..to]) {
            if !self.fold.wants((0, partition), offset) {
                continue;
            }
            let position = Position { partition, offset, timestamp_us: sent.at_us };
            let folded = match self.decoder.decode(Some(&sent.payload), &mut self.event) {
                Ok(()) => {
                    self.fold.event((0, partition), position, turn.wall_us.max(sent.at_us), &mut self.event)
                }
                Err(invalid) => {
                    self.fold.reject((0, partition), offset, turn.wall_us);
                    Err(invalid)
                }
            };
            match folded {
                Ok(folded) if folded.late && turn.outside.bug == Some(Bug::LateTwice) => {
                    let _ = self.decoder.decode(Some(&sent.payload), &mut self.event);
                    let _ = self.fold.event((0, partition), position, turn.wall_us, &mut self.event);
                }
                Ok(_) => {}
                Err(Invalid { reason, .. }) => self.letters.push((partition, offset, reason.name())),
            }
        }
    }

    /// The broker says where the partitions end.
    fn observe(&mut self, turn: &mut Turn<'_>) {
        for id in self.fold.partitions().collect::<Vec<_>>() {
            let there = turn.outside.traffic.there(id.1, turn.outside.now_us) as i64;
            let lag = there - self.fold.next(id).expect("assigned").min(there);
            self.fold.observe_end(id, lag as u64, turn.wall_us);
        }
    }

    /// Begins a transaction of all that is pending; false when nothing is.
    fn flush(&mut self, turn: &mut Turn<'_>, every_clock: bool, leaving: bool) -> bool {
        let mut flush = self.fold.flush(every_clock);
        if flush.offsets.is_empty() {
            return false;
        }
        if turn.outside.bug == Some(Bug::FastestWatermark) {
            let fastest_us = flush.clocks.iter().flatten().filter_map(|clock| clock.max_event_us).max();
            flush.clocks.iter_mut().flatten().for_each(|clock| clock.max_event_us = fastest_us);
        }
        let head = FlushHead { rules: PLAN.version, worker: self.worker, log_time_us: turn.wall_us };
        let bytes = if turn.dice & 128 == 0 { 300 } else { 512 << 10 };
        let mut records = VecDeque::new();
        for (shard, (deltas, clocks)) in (0..).zip(flush.deltas.iter().zip(&flush.clocks)) {
            let spec = (!self.spec_written).then(|| encode_spec(PLAN.version, &PLAN.rules).expect("rules"));
            let encoded = encode_flush(head, deltas, clocks, bytes).expect("a flush that encodes");
            let of_shard = spec.into_iter().chain(encoded);
            records.extend(of_shard.map(|bytes| ((Topic::Partials, shard), Payload::Partial(bytes))));
        }
        let letter = |&(partition, offset, reason): &_| {
            ((Topic::Letters, 0), Payload::Letter(partition, offset, reason))
        };
        records.extend(self.letters.iter().map(letter));
        let offset = |folded: &plimsoll::core::fold::FoldedOffset| {
            let metadata = OffsetMetadata { max_event_us: folded.max_event_us }.encode();
            (folded.partition.1, Committed { next: folded.next, metadata })
        };
        let offsets = flush.offsets.iter().map(offset).collect();
        self.phase = Phase::Flushing { records, offsets, sent: false, leaving };
        true
    }

    /// One step of the transaction.
    fn flush_on(&mut self, membership: &mut Membership, epoch: u32, turn: &mut Turn<'_>) -> Step {
        let Phase::Flushing { records, offsets, sent, leaving } = &mut self.phase else {
            return Ok(Life::Goes);
        };
        let (by, leaving) = (membership.member, *leaving);
        let me = (by, membership.incarnation);
        if !records.is_empty() {
            let (now_us, most) = (turn.outside.now_us, 1 + turn.dice as usize % 40);
            let some: Vec<(Place, Payload)> = records.drain(..most.min(records.len())).collect();
            match turn.call(|o| o.broker.send(by, epoch, some.iter().cloned(), now_us)) {
                Answer::Done => {}
                Answer::Refused(Refusal::Concurrent) => {
                    some.into_iter().rev().for_each(|record| records.push_front(record));
                }
                Answer::Refused(_) | Answer::Lost => self.failed(membership, turn, leaving),
            }
            return Ok(Life::Goes);
        }
        if !*sent {
            *sent = true;
            let (generation, now_us) = (membership.generation, turn.outside.now_us);
            if turn.outside.bug == Some(Bug::OffsetsOutside) {
                turn.outside.broker.commit_plainly(Role::Ingest, offsets);
                return Ok(Life::Goes);
            }
            match turn.call(|o| o.broker.send_offsets(me, epoch, generation, offsets, now_us)) {
                Answer::Done => {}
                Answer::Refused(Refusal::Generation) => {
                    turn.outside.broker.abort(by, epoch);
                    self.start_over(membership, turn, leaving);
                }
                Answer::Refused(_) | Answer::Lost => self.failed(membership, turn, leaving),
            }
            return Ok(Life::Goes);
        }
        match turn.call(|o| o.broker.commit(by, epoch)) {
            Answer::Done => {
                self.spec_written = true;
                self.letters.clear();
                self.phase = Phase::Running;
                if leaving {
                    self.leave(membership, turn);
                }
            }
            Answer::Refused(_) | Answer::Lost => self.failed(membership, turn, leaving),
        }
        Ok(Life::Goes)
    }

    /// The producer cannot be trusted any more: it begins anew.
    fn failed(&mut self, membership: &mut Membership, turn: &mut Turn<'_>, leaving: bool) {
        self.epoch = None;
        self.start_over(membership, turn, leaving);
    }

    fn start_over(&mut self, membership: &mut Membership, turn: &mut Turn<'_>, leaving: bool) {
        self.discard();
        self.phase = Phase::TakingOver;
        if leaving {
            self.phase = Phase::Running;
            self.leave(membership, turn);
        }
    }
}

/// Where partitions stand, for what is checked at the end.
pub fn committed(broker: &super::broker::Broker) -> BTreeMap<i32, i64> {
    let of = |partition| broker.committed(Role::Ingest, partition).ok().flatten().map_or(0, |c| c.next);
    (0..PARTITIONS).map(|partition| (partition, of(partition))).collect()
}
