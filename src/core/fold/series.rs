//! The groups an event belongs to, found by the values of all its grouping fields at once.
//!
//! It outlives a flush, but says nothing that the events do not: a group is found anew where it is forgotten.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::gathered::Seen;
use crate::core::event::Event;
use crate::core::key::{Key, pack};
use crate::core::source::Slot;

/// With more series all are forgotten, and so are groups at the next flush.
const SERIES_MAX: usize = 50_000;

/// One source's.
pub(super) struct Series {
    /// All fields that anything groups by.
    slots: Vec<Slot>,
    groups: Vec<Groups>,
    /// Packed values of `slots` -> where its groups begin in `members`.
    known: HashMap<Box<[u8]>, usize, RandomState>,
    /// Of each series its group in every projection.
    members: Vec<Member>,
    packed: Vec<u8>,
}

/// One projection's, by their numbers.
struct Groups {
    grouping: Grouping,
    known: HashMap<Box<[u8]>, u32, RandomState>,
    all: Vec<Group>,
    /// Of each its place in the order of keys; older groups alone may have one.
    ranks: Vec<u32>,
}

/// How a projection divides events into groups, and these over shards.
pub(super) struct Grouping {
    pub by: Vec<Slot>,
    pub spread: u64,
    pub shards: u32,
}

pub(super) struct Group {
    pub key: Key,
    pub shard: u32,
}

/// A group by its number, and where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Member {
    pub group: u32,
    pub shard: u32,
}

impl Series {
    pub fn new(groupings: Vec<Grouping>) -> Series {
        let mut slots: Vec<Slot> =
            groupings.iter().flat_map(|grouping| grouping.by.iter().copied()).collect();
        slots.sort_unstable();
        slots.dedup();
        let groups =
            |grouping| Groups { grouping, known: HashMap::default(), all: Vec::new(), ranks: Vec::new() };
        let groups = groupings.into_iter().map(groups).collect();
        Series { slots, groups, known: HashMap::default(), members: Vec::new(), packed: Vec::new() }
    }

    /// Finds the groups of some events, in `found` for each where its [members](Series::member) are.
    pub fn find(&mut self, seen: &[Seen], found: &mut Vec<usize>) {
        // A flush bounds groups, for each has a delta in it; series are what combinations of them there are.
        if self.known.len() >= SERIES_MAX {
            self.known.clear();
            self.members.clear();
        }
        found.clear();
        found.extend(seen.iter().map(|seen| self.place(&seen.event)));
    }

    /// An event's group in a projection, by its place among the source's.
    pub fn member(&self, found: usize, projection: usize) -> Member {
        self.members[found + projection]
    }

    fn place(&mut self, event: &Event) -> usize {
        self.packed.clear();
        pack(event, &self.slots, &mut self.packed);
        match self.known.get(self.packed.as_slice()) {
            Some(&start) => start,
            None => self.enter(event),
        }
    }

    fn enter(&mut self, event: &Event) -> usize {
        let start = self.members.len();
        self.known.insert(self.packed.as_slice().into(), start);
        for groups in &mut self.groups {
            self.packed.clear();
            pack(event, &groups.grouping.by, &mut self.packed);
            self.members.push(groups.member(&self.packed));
        }
        start
    }

    /// Of each group of a projection its place in the order of keys. Few are new at a flush, so keys are seldom compared.
    pub fn ranks(&mut self, projection: usize) -> &[u32] {
        self.groups[projection].ranks()
    }

    /// A group by the projection's place among the source's, and its number.
    pub fn group(&self, projection: usize, number: u32) -> &Group {
        &self.groups[projection].all[number as usize]
    }

    pub fn forget_if_many(&mut self) {
        if self.groups.iter().all(|groups| groups.all.len() <= SERIES_MAX) {
            return;
        }
        self.known.clear();
        self.members.clear();
        for groups in &mut self.groups {
            groups.known.clear();
            groups.all.clear();
            groups.ranks.clear();
        }
    }
}

impl Groups {
    fn ranks(&mut self) -> &[u32] {
        if self.ranks.len() < self.all.len() {
            let mut sorted: Vec<u32> = (0..self.all.len() as u32).collect();
            sorted.sort_unstable_by(|&a, &b| self.all[a as usize].key.cmp(&self.all[b as usize].key));
            self.ranks.resize(self.all.len(), 0);
            (0..).zip(sorted).for_each(|(rank, group)| self.ranks[group as usize] = rank);
        }
        &self.ranks
    }

    fn member(&mut self, packed: &[u8]) -> Member {
        let group = match self.known.get(packed) {
            Some(&group) => group,
            None => {
                let key = Key::from_packed(packed);
                let shard = Key::shard(packed, self.grouping.spread, self.grouping.shards);
                self.all.push(Group { key, shard });
                let group = self.all.len() as u32 - 1;
                self.known.insert(packed.into(), group);
                group
            }
        };
        Member { group, shard: self.all[group as usize].shard }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(first: &str, second: usize) -> Seen {
        let mut event = Event::default();
        event.clear(2);
        event.set_text(0, first);
        event.set_text(1, &second.to_string());
        Seen { event, ..Seen::default() }
    }

    #[test]
    fn a_series_has_a_group_in_each_projection_and_is_found_anew_when_it_is_forgotten() {
        let by = |by: &[Slot]| Grouping { by: by.to_vec(), spread: 7, shards: 12 };
        let mut series = Series::new(vec![by(&[1, 0]), by(&[0]), by(&[])]);
        for time in 0..2 {
            for number in 0..=SERIES_MAX {
                let name = if number % 2 == 0 { "even" } else { "odd" };
                let mut found = Vec::new();
                series.find(&[seen(name, number)], &mut found);
                let members = [0, 1, 2].map(|projection| series.member(found[0], projection));
                let keys: Vec<&Key> = members
                    .iter()
                    .enumerate()
                    .map(|(at, member)| &series.group(at, member.group).key)
                    .collect();
                let expected = [
                    Key::from_columns(&[&*number.to_string(), name]),
                    Key::from_columns(&[name]),
                    Key::empty(),
                ];
                assert_eq!(keys, expected.iter().collect::<Vec<_>>());
                let shards = expected.map(|key| Key::shard(key.packed(), 7, 12));
                assert_eq!(members.map(|member| member.shard), shards);
                assert!(series.known.len() <= SERIES_MAX && series.members.len() <= 3 * SERIES_MAX);
            }
            assert_eq!(series.ranks(1), [1, 0], "a key's length comes first");
            let counts =
                |series: &Series| series.groups.iter().map(|groups| groups.all.len()).collect::<Vec<_>>();
            assert_eq!(counts(&series), [SERIES_MAX + 1, 2, 1], "time {time}");
            series.forget_if_many();
            assert_eq!(counts(&series), [0; 3]);
        }
        series.find(&[seen("even", 0)], &mut Vec::new());
        series.forget_if_many();
        assert_eq!(series.known.len(), 1, "few are kept");
    }
}
