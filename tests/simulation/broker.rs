//! A model of a Kafka cluster: logs, and transactions whose ends reach one partition after the other.
//!
//! It follows the protocol where it is surprising. A commit is decided at once and seen partition by partition; until
//! then readers of committed records stop before it, a group's offsets are unstable, and its producer must wait.
//! A producer that begins anew ends what the one before left open, and fences it. Markers take offsets.

use std::collections::BTreeMap;

use plimsoll::core::shard::checkpoint::ChangelogRecord;
use plimsoll::wire::output::OutputRecord;

use super::group::{Groups, Member, Role};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Partials,
    Changelog,
    Letters,
    Outputs,
}

pub type Place = (Topic, i32);

#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    Partial(Vec<u8>),
    Change(ChangelogRecord),
    /// With the shard that said it.
    Output(i32, OutputRecord),
    /// Partition and offset of the record, and why it is here.
    Letter(i32, i64, &'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub next: i64,
    pub metadata: String,
}

/// Why the broker did not do as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A newer producer of this name, or a newer process of this instance.
    Fenced,
    /// The transaction before has not reached all its partitions.
    Concurrent,
    /// The group has gone on without this member.
    Generation,
    /// Offsets are part of a transaction that has not ended.
    Unstable,
}

#[derive(Default)]
pub struct Broker {
    logs: BTreeMap<Place, Vec<Entry>>,
    transactions: Vec<Transaction>,
    /// Those whose end has not reached everyone.
    unfinished: Vec<usize>,
    /// By transactional id.
    producers: BTreeMap<Member, Producer>,
    offsets: BTreeMap<(Role, i32), Committed>,
    pub groups: Groups,
    /// Transactions that were committed, in the order in which that was decided.
    pub decided: Vec<usize>,
}

struct Entry {
    transaction: Option<usize>,
    what: What,
}

enum What {
    Record(Payload),
    Marker,
    /// Compacted away.
    Gone,
}

#[derive(Default)]
struct Producer {
    epoch: u32,
    transaction: Option<usize>,
}

pub struct Transaction {
    pub by: Member,
    began_us: i64,
    end: Option<End>,
    /// Where its records are, and whether its end has got there.
    places: BTreeMap<Place, bool>,
    pub entries: Vec<(Place, usize)>,
    pub offsets: Vec<(Role, i32, Committed)>,
    offsets_marked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
}

impl Transaction {
    fn is_over(&self) -> bool {
        self.end.is_some() && self.offsets_marked && self.places.values().all(|marked| *marked)
    }
}

/// A transaction open for longer is ended by the cluster.
const TIMEOUT_US: i64 = 3_000_000;

impl Broker {
    /// Begins anew under a name: whoever held it before is fenced. Gives the epoch to write with.
    pub fn init(&mut self, by: Member) -> Result<u32, Refusal> {
        let producer = self.producers.entry(by).or_default();
        if let Some(at) = producer.transaction {
            let transaction = &mut self.transactions[at];
            if transaction.end.is_none() {
                transaction.end = Some(End::Abort);
                producer.epoch += 1;
            }
            if !transaction.is_over() {
                return Err(Refusal::Concurrent);
            }
            producer.transaction = None;
        }
        producer.epoch += 1;
        Ok(producer.epoch)
    }

    /// Appends to partitions, in the producer's transaction; the first record begins it.
    pub fn send(
        &mut self,
        by: Member,
        epoch: u32,
        records: impl Iterator<Item = (Place, Payload)>,
        now_us: i64,
    ) -> Result<(), Refusal> {
        let at = self.open(by, epoch, now_us)?;
        records.for_each(|(place, payload)| self.append(place, Some(at), payload));
        Ok(())
    }

    /// Appends what everyone sees at once.
    pub fn send_plainly(&mut self, place: Place, payload: Payload) {
        self.append(place, None, payload);
    }

    fn append(&mut self, place: Place, transaction: Option<usize>, payload: Payload) {
        let log = self.logs.entry(place).or_default();
        if let Some(at) = transaction {
            self.transactions[at].places.entry(place).or_insert(false);
            self.transactions[at].entries.push((place, log.len()));
        }
        log.push(Entry { transaction, what: What::Record(payload) });
    }

    fn open(&mut self, by: Member, epoch: u32, now_us: i64) -> Result<usize, Refusal> {
        let producer = self.producers.get_mut(&by).filter(|producer| producer.epoch == epoch);
        let producer = producer.ok_or(Refusal::Fenced)?;
        match producer.transaction {
            Some(at) if self.transactions[at].end.is_none() => Ok(at),
            Some(at) if !self.transactions[at].is_over() => Err(Refusal::Concurrent),
            Some(_) | None => {
                producer.transaction = Some(self.transactions.len());
                self.unfinished.push(self.transactions.len());
                self.transactions.push(Transaction {
                    by,
                    began_us: now_us,
                    end: None,
                    places: BTreeMap::new(),
                    entries: Vec::new(),
                    offsets: Vec::new(),
                    offsets_marked: false,
                });
                Ok(self.transactions.len() - 1)
            }
        }
    }

    /// Adds offsets of the group to the transaction, if the group still knows the member.
    pub fn send_offsets(
        &mut self,
        (by, incarnation): (Member, u64),
        epoch: u32,
        generation: u32,
        offsets: &[(i32, Committed)],
        now_us: i64,
    ) -> Result<(), Refusal> {
        let at = self.open(by, epoch, now_us)?;
        self.groups.admits(by, incarnation, generation)?;
        let offsets = offsets.iter().map(|(partition, committed)| (by.role, *partition, committed.clone()));
        self.transactions[at].offsets.extend(offsets);
        Ok(())
    }

    /// Commits offsets at once, in no transaction.
    pub fn commit_plainly(&mut self, role: Role, offsets: &[(i32, Committed)]) {
        self.offsets.extend(offsets.iter().map(|(partition, c)| ((role, *partition), c.clone())));
    }

    pub fn commit(&mut self, by: Member, epoch: u32) -> Result<(), Refusal> {
        let producer = self.producers.get(&by).filter(|producer| producer.epoch == epoch);
        let at = producer.ok_or(Refusal::Fenced)?.transaction;
        if let Some(at) = at.filter(|at| self.transactions[*at].end.is_none()) {
            self.transactions[at].end = Some(End::Commit);
            self.decided.push(at);
        }
        Ok(())
    }

    pub fn abort(&mut self, by: Member, epoch: u32) {
        let producer = self.producers.get(&by).filter(|producer| producer.epoch == epoch);
        if let Some(at) = producer.and_then(|producer| producer.transaction) {
            self.transactions[at].end.get_or_insert(End::Abort);
        }
    }

    /// Ends transactions that were left open, and fences whoever left them.
    pub fn expire(&mut self, now_us: i64) {
        for &at in &self.unfinished {
            let transaction = &mut self.transactions[at];
            if transaction.end.is_none() && now_us - transaction.began_us > TIMEOUT_US {
                transaction.end = Some(End::Abort);
                if let Some(producer) = self.producers.get_mut(&transaction.by) {
                    producer.epoch += 1;
                }
            }
        }
    }

    /// One more partition learns how a transaction has ended; false when all know.
    pub fn mark(&mut self, dice: u32) -> bool {
        let has_end = |at: &usize| self.transactions[*at].end.is_some();
        let ending: Vec<usize> = self.unfinished.iter().copied().filter(has_end).collect();
        let Some(&at) = ending.get(dice as usize % ending.len().max(1)) else { return false };
        let transaction = &mut self.transactions[at];
        let unmarked = transaction.places.iter_mut().filter(|(_, marked)| !**marked);
        let mut unmarked: Vec<(&Place, &mut bool)> = unmarked.collect();
        let choices = unmarked.len() + usize::from(!transaction.offsets_marked);
        let choice = dice as usize / 64 % choices;
        if let Some((place, marked)) = unmarked.get_mut(choice) {
            **marked = true;
            let log = self.logs.entry(**place).or_default();
            log.push(Entry { transaction: Some(at), what: What::Marker });
        } else {
            transaction.offsets_marked = true;
            if transaction.end == Some(End::Commit) {
                for (role, partition, committed) in &transaction.offsets {
                    self.offsets.insert((*role, *partition), committed.clone());
                }
            }
        }
        if transaction.is_over() {
            self.unfinished.retain(|unfinished| *unfinished != at);
        }
        true
    }

    /// Where the group stands; not while a transaction that holds its offsets has not ended.
    pub fn committed(&self, role: Role, partition: i32) -> Result<Option<Committed>, Refusal> {
        let moves = |t: &Transaction| t.offsets.iter().any(|(r, p, _)| (*r, *p) == (role, partition));
        let pending = |t: &Transaction| !t.offsets_marked && t.end != Some(End::Abort) && moves(t);
        if self.unfinished.iter().any(|&at| pending(&self.transactions[at])) {
            return Err(Refusal::Unstable);
        }
        Ok(self.offsets.get(&(role, partition)).cloned())
    }

    /// A transaction by its number, whoever may not see it yet.
    pub fn transaction(&self, at: usize) -> &Transaction {
        &self.transactions[at]
    }

    pub fn payload(&self, place: Place, at: usize) -> Option<&Payload> {
        match &self.logs.get(&place)?.get(at)?.what {
            What::Record(payload) => Some(payload),
            What::Marker | What::Gone => None,
        }
    }

    /// Up to `most` committed records from the offset `from` on, and the offset to go on from.
    pub fn read(&self, place: Place, from: i64, most: usize) -> (Vec<(i64, &Payload)>, i64) {
        let (mut records, mut next) = (Vec::new(), from);
        let log = self.logs.get(&place).map_or(&[][..], Vec::as_slice);
        for (offset, entry) in (0..).zip(log).skip(from as usize) {
            let Some(visible) = self.is_committed(place, entry) else { break };
            if records.len() == most {
                break;
            }
            next = offset + 1;
            if let What::Record(payload) = &entry.what
                && visible
            {
                records.push((offset, payload));
            }
        }
        (records, next)
    }

    /// The whole of a partition, once nothing in it is open.
    pub fn read_whole(&self, place: Place) -> Result<Vec<&Payload>, Refusal> {
        let (records, next) = self.read(place, 0, usize::MAX);
        match next == self.end(place) {
            true => Ok(records.into_iter().map(|(_, payload)| payload).collect()),
            false => Err(Refusal::Unstable),
        }
    }

    pub fn end(&self, place: Place) -> i64 {
        self.logs.get(&place).map_or(0, |log| log.len() as i64)
    }

    /// None: not known yet.
    fn is_committed(&self, place: Place, entry: &Entry) -> Option<bool> {
        let Some(at) = entry.transaction else { return Some(true) };
        let transaction = &self.transactions[at];
        let known = transaction.places.get(&place).copied().unwrap_or(true);
        known.then(|| transaction.end == Some(End::Commit))
    }

    /// Drops what newer records of the same key have replaced, and now and then the tombstones too.
    pub fn compact(&mut self, dice: u32) {
        let partition = (dice % 2) as i32;
        let place = (Topic::Changelog, partition);
        let (_, stable) = self.read(place, 0, usize::MAX);
        let log = self.logs.get(&place).map_or(&[][..], Vec::as_slice);
        let mut newest: BTreeMap<&[u8], usize> = BTreeMap::new();
        let mut gone = Vec::new();
        for (at, entry) in log.iter().enumerate().take(stable as usize) {
            let What::Record(Payload::Change(change)) = &entry.what else { continue };
            if self.is_committed(place, entry) != Some(true) {
                gone.push(at);
            } else if let Some(before) = newest.insert(&change.key, at) {
                gone.push(before);
            }
        }
        let is_grave =
            |at: &usize| matches!(&log[*at].what, What::Record(Payload::Change(c)) if c.value.is_none());
        if dice & 64 != 0 {
            gone.extend(newest.into_values().filter(is_grave));
        }
        let log = self.logs.entry(place).or_default();
        gone.into_iter().for_each(|at| log[at].what = What::Gone);
    }
}
