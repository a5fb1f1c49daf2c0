//! Evaluate around the real shard, its checkpoints and its restore: what fails is said again, as long as it is ours.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll::core::partial::LogRecord;
use plimsoll::core::shard::checkpoint::Restore;
use plimsoll::roles::shard_slot::ShardSlot;
use plimsoll::wire::partial;

use super::broker::{Committed, Payload, Place, Refusal, Topic};
use super::bug::Bug;
use super::group::{Heard, Role};
use super::process::{Answer, Life, Membership, Outside, Step, Turn};
use super::rules::{OPTIONS, PLAN, SETTINGS};

pub struct Evaluate {
    slots: BTreeMap<i32, ShardSlot>,
    /// When the process began, by a clock of its own and by the simulation's.
    origin: (Instant, i64),
    epoch: Option<u32>,
    /// A transaction may have been committed though nobody said so.
    in_doubt: bool,
    phase: Phase,
}

enum Phase {
    Running,
    /// A transaction failed: the same is said again.
    Retrying,
    TakingOver,
    Committing {
        records: VecDeque<(Place, Payload)>,
        offsets: Vec<(i32, Committed)>,
        sent: bool,
        /// Shards are to be given up afterwards, whatever comes of it.
        leaving: Option<BTreeSet<i32>>,
    },
}

const CHECKPOINT_EVERY: Duration = Duration::from_secs(4);
/// A slice holds one record or a few, so that a cycle takes many transactions.
const SLICE_BYTES: usize = 200;

impl Evaluate {
    pub fn new(now_us: i64) -> Evaluate {
        let origin = (Instant::now(), now_us);
        Evaluate { slots: BTreeMap::new(), origin, epoch: None, in_doubt: false, phase: Phase::Running }
    }

    pub fn go(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        let Some(epoch) = self.epoch else {
            self.epoch = turn.outside.broker.init(membership.member).ok();
            return Ok(Life::Goes);
        };
        if self.in_doubt {
            self.find_out(membership, turn);
            return Ok(Life::Goes);
        }
        match self.phase {
            Phase::Running => self.run(membership, turn),
            Phase::Retrying => match self.poll(membership, turn)? {
                Life::Ends => Ok(Life::Ends),
                Life::Goes => {
                    if matches!(self.phase, Phase::Retrying) {
                        self.begin(turn, None);
                    }
                    Ok(Life::Goes)
                }
            },
            Phase::TakingOver => self.take_over(membership, turn),
            Phase::Committing { .. } => self.commit_on(membership, epoch, turn),
        }
    }

    fn run(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        match turn.dice % 8 {
            0 | 1 => self.poll(membership, turn),
            2..6 => self.read(turn),
            _ => {
                let now = self.now(turn);
                for slot in self.slots.values_mut() {
                    slot.checkpoint_if_due(CHECKPOINT_EVERY, now).map_err(|error| error.to_string())?;
                    slot.cut_slice(SLICE_BYTES).expect("a state that encodes");
                }
                self.begin(turn, None);
                Ok(Life::Goes)
            }
        }
    }

    fn now(&self, turn: &Turn<'_>) -> Instant {
        let (origin, began_us) = self.origin;
        origin + Duration::from_micros((turn.outside.now_us - began_us) as u64)
    }

    fn poll(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        match membership.poll(turn.outside) {
            Heard::Nothing => {}
            // Nothing is given up before the group says what.
            Heard::Rebalance => membership.rejoin(turn.outside),
            Heard::Lost => {
                self.slots.clear();
                membership.owned.clear();
                self.phase = Phase::Running;
            }
            Heard::Assigned { generation, partitions } => {
                membership.generation = generation;
                let leaving: BTreeSet<i32> = membership.owned.difference(&partitions).copied().collect();
                let retrying = matches!(self.phase, Phase::Retrying);
                membership.owned.extend(&partitions);
                if leaving.is_empty() {
                    self.phase = Phase::TakingOver;
                } else if retrying || !self.begin(turn, Some(leaving.clone())) {
                    self.leave(membership, &leaving, turn.outside);
                }
            }
            Heard::Fenced => return Ok(Life::Ends),
        }
        Ok(Life::Goes)
    }

    fn leave(&mut self, membership: &mut Membership, leaving: &BTreeSet<i32>, outside: &mut Outside) {
        leaving.iter().for_each(|partition| {
            self.slots.remove(partition);
            membership.owned.remove(partition);
        });
        membership.rejoin(outside);
        self.phase = Phase::TakingOver;
    }

    /// Restores what it has got; waits while transactions of an owner before are open.
    fn take_over(&mut self, membership: &Membership, turn: &mut Turn<'_>) -> Step {
        let now = self.now(turn);
        for &partition in &membership.owned {
            if self.slots.contains_key(&partition) {
                continue;
            }
            let broker = &turn.outside.broker;
            let (Ok(committed), Ok(changelog)) = (
                broker.committed(Role::Evaluate, partition),
                broker.read_whole((Topic::Changelog, partition)),
            ) else {
                return Ok(Life::Goes);
            };
            let mut restore = Restore::default();
            for payload in changelog {
                if let Payload::Change(change) = payload {
                    restore.take(&change.key, change.value.as_deref());
                }
            }
            let restored = restore.finish(partition as u32, OPTIONS).map_err(|error| error.to_string())?;
            let committed = committed.map(|committed| committed.next);
            let slot = ShardSlot::new(partition, restored, committed, OPTIONS, now);
            self.slots.insert(partition, slot.map_err(|error| error.to_string())?);
        }
        self.phase = Phase::Running;
        Ok(Life::Goes)
    }

    /// Applies what one shard's log has next; now and then what it has applied before.
    fn read(&mut self, turn: &mut Turn<'_>) -> Step {
        let choice = turn.dice as usize / 8 % self.slots.len().max(1);
        let Some((&partition, slot)) = self.slots.iter_mut().nth(choice) else { return Ok(Life::Goes) };
        let again = if turn.dice & 0x700 == 0 { 2 } else { 0 };
        let (records, _) = turn.outside.broker.read(
            (Topic::Partials, partition),
            (slot.next() - again).max(0),
            1 + (turn.dice as usize >> 12) % 12,
        );
        for (offset, payload) in records {
            let Payload::Partial(bytes) = payload else { continue };
            let record = partial::decode(bytes).map_err(|error| error.to_string())?;
            slot.apply(&SETTINGS, offset, record, 0)
                .map_err(|violation| format!("shard {partition}, offset {offset}: {violation}"))?;
        }
        Ok(Life::Goes)
    }

    /// Begins a transaction of all that is pending; false when nothing is.
    fn begin(&mut self, turn: &mut Turn<'_>, leaving: Option<BTreeSet<i32>>) -> bool {
        let mut records = VecDeque::new();
        let mut offsets = Vec::new();
        for slot in self.slots.values().filter(|slot| slot.is_pending()) {
            let output = |record: &_| {
                let record: &plimsoll::wire::output::OutputRecord = record;
                let partition = i32::from(record.key.iter().fold(0u8, |sum, byte| sum ^ byte) & 1);
                ((Topic::Outputs, partition), Payload::Output(slot.partition, record.clone()))
            };
            records.extend(slot.outputs().iter().map(output));
            for change in slot.slice() {
                let place = (Topic::Changelog, slot.partition);
                match turn.outside.bug {
                    Some(Bug::TornCheckpoint) => {
                        turn.outside.broker.send_plainly(place, Payload::Change(change.clone()));
                    }
                    _ => records.push_back((place, Payload::Change(change.clone()))),
                }
            }
            offsets.push((slot.partition, Committed { next: slot.commits(), metadata: String::new() }));
        }
        if offsets.is_empty() {
            self.phase = Phase::Running;
            return false;
        }
        self.phase = Phase::Committing { records, offsets, sent: false, leaving };
        true
    }

    fn commit_on(&mut self, membership: &mut Membership, epoch: u32, turn: &mut Turn<'_>) -> Step {
        let Phase::Committing { records, offsets, sent, .. } = &mut self.phase else { return Ok(Life::Goes) };
        let (by, now_us) = (membership.member, turn.outside.now_us);
        if !records.is_empty() {
            let (now_us, most) = (turn.outside.now_us, 1 + turn.dice as usize % 40);
            let some: Vec<(Place, Payload)> = records.drain(..most.min(records.len())).collect();
            match turn.call(|o| o.broker.send(by, epoch, some.iter().cloned(), now_us)) {
                Answer::Done => {}
                Answer::Refused(Refusal::Concurrent) => {
                    some.into_iter().rev().for_each(|record| records.push_front(record));
                }
                Answer::Refused(_) | Answer::Lost => self.broken(membership, false, turn.outside),
            }
            return Ok(Life::Goes);
        }
        if !*sent {
            *sent = true;
            let me = (by, membership.incarnation);
            match turn.call(|o| o.broker.send_offsets(me, epoch, membership.generation, offsets, now_us)) {
                Answer::Done => {}
                Answer::Refused(Refusal::Generation) => {
                    turn.outside.broker.abort(by, epoch);
                    self.failed(membership, turn.outside);
                }
                Answer::Refused(_) | Answer::Lost => self.broken(membership, false, turn.outside),
            }
            return Ok(Life::Goes);
        }
        match turn.call(|o| o.broker.commit(by, epoch)) {
            Answer::Done => {
                self.slots.values_mut().filter(|slot| slot.is_pending()).for_each(ShardSlot::committed);
                if !self.leaves(membership, turn.outside) {
                    self.phase = Phase::Running;
                }
            }
            Answer::Refused(_) => self.broken(membership, false, turn.outside),
            Answer::Lost => self.broken(membership, true, turn.outside),
        }
        Ok(Life::Goes)
    }

    /// Gives up what was to be given up after this transaction.
    fn leaves(&mut self, membership: &mut Membership, outside: &mut Outside) -> bool {
        let Phase::Committing { leaving, .. } = &mut self.phase else { return false };
        let Some(leaving) = leaving.take() else { return false };
        self.leave(membership, &leaving, outside);
        true
    }

    fn failed(&mut self, membership: &mut Membership, outside: &mut Outside) {
        if !self.leaves(membership, outside) {
            self.phase = Phase::Retrying;
        }
    }

    /// The producer begins anew.
    fn broken(&mut self, membership: &mut Membership, in_doubt: bool, outside: &mut Outside) {
        self.epoch = None;
        self.in_doubt = in_doubt;
        self.failed(membership, outside);
    }

    /// Asks whether a transaction was committed after all.
    fn find_out(&mut self, membership: &Membership, turn: &mut Turn<'_>) {
        let broker = &turn.outside.broker;
        let ask = |&partition: &i32| Ok((partition, broker.committed(Role::Evaluate, partition)?));
        let committed: Result<Vec<_>, Refusal> = membership.owned.iter().map(ask).collect();
        let Ok(committed) = committed else { return };
        self.in_doubt = false;
        for (partition, committed) in committed {
            if let (Some(slot), Some(committed)) = (self.slots.get_mut(&partition), committed) {
                slot.found_at(committed.next);
            }
        }
    }
}

#[test]
fn part_of_a_checkpoint_in_doubt_is_written_again() {
    let now = Instant::now();
    let mut slot =
        ShardSlot::new(0, Restore::default().finish(0, OPTIONS).unwrap(), None, OPTIONS, now).unwrap();
    let apply = |slot: &mut ShardSlot, offset| {
        let record = LogRecord::Spec { version: offset, rules: Arc::clone(&PLAN.rules) };
        slot.apply(&SETTINGS, offset, record, 0).unwrap();
    };
    apply(&mut slot, 0);
    slot.committed();
    assert!(slot.checkpoint_if_due(Duration::ZERO, now).unwrap());
    slot.cut_slice(usize::MAX).unwrap();
    slot.found_at(1);
    assert!(slot.is_pending(), "the offset stands where it stood before");
    apply(&mut slot, 1);
    slot.found_at(1);
    assert!(slot.is_pending(), "the offset did not move");
    slot.found_at(2);
    assert!(!slot.is_pending());
}
