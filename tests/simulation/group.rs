//! A model of consumer groups with static members: generations, rebalances that every member has to join, and members
//! that are taken for dead.

use std::collections::{BTreeMap, BTreeSet};

use super::broker::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Ingest,
    Evaluate,
    Store,
}

/// A name that stays over restarts, of a group's member and of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub role: Role,
    pub number: u8,
}

/// What a member hears when it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    /// Join again.
    Rebalance,
    Assigned {
        generation: u32,
        partitions: BTreeSet<i32>,
    },
    /// The group has gone on without it.
    Lost,
    /// Another process has its name.
    Fenced,
}

#[derive(Default)]
pub struct Groups(BTreeMap<Role, Group>);

#[derive(Default)]
struct Group {
    generation: u32,
    rebalancing: bool,
    members: BTreeMap<Member, State>,
}

struct State {
    incarnation: u64,
    /// Has joined the rebalance under way.
    joined: bool,
    /// What it said it holds when it joined, then what it was given.
    owned: BTreeSet<i32>,
    generation: u32,
    seen_us: i64,
}

/// A member silent for longer is taken for dead.
const SESSION_US: i64 = 10_000_000;

fn partitions_of(role: Role) -> i32 {
    match role {
        Role::Ingest => super::traffic::PARTITIONS,
        // Outputs are spread over as many.
        Role::Evaluate | Role::Store => super::rules::SHARDS,
    }
}

impl Groups {
    /// A process comes under a name. A known name takes over what it was given, without a rebalance: if it died between
    /// giving up a partition and joining again, that one is nobody's until the next rebalance.
    pub fn join(&mut self, member: Member, incarnation: u64, now_us: i64) {
        let group = self.0.entry(member.role).or_default();
        if let Some(state) = group.members.get_mut(&member)
            && !group.rebalancing
        {
            (state.incarnation, state.generation, state.seen_us) = (incarnation, 0, now_us);
            return;
        }
        let owned = BTreeSet::new();
        let state = State { incarnation, joined: true, owned, generation: 0, seen_us: now_us };
        group.members.insert(member, state);
        group.rebalance(Some(member));
    }

    /// Joins the rebalance under way, or begins one; the member still holds `owned`.
    pub fn rejoin(&mut self, member: Member, incarnation: u64, owned: &BTreeSet<i32>) {
        let Some(group) = self.0.get_mut(&member.role) else { return };
        let Some(state) = group.members.get_mut(&member).filter(|s| s.incarnation == incarnation) else {
            return;
        };
        state.owned = owned.clone();
        group.rebalance(Some(member));
    }

    pub fn poll(&mut self, member: Member, incarnation: u64, now_us: i64) -> Heard {
        let Some(group) = self.0.get_mut(&member.role) else { return Heard::Lost };
        let Some(state) = group.members.get_mut(&member) else { return Heard::Lost };
        if state.incarnation != incarnation {
            return Heard::Fenced;
        }
        state.seen_us = now_us;
        if group.rebalancing {
            return if state.joined { Heard::Nothing } else { Heard::Rebalance };
        }
        if state.generation == group.generation {
            return Heard::Nothing;
        }
        state.generation = group.generation;
        Heard::Assigned { generation: group.generation, partitions: state.owned.clone() }
    }

    /// Whether the group takes offsets from the member.
    pub fn admits(&self, member: Member, incarnation: u64, generation: u32) -> Result<(), Refusal> {
        let group = self.0.get(&member.role).ok_or(Refusal::Generation)?;
        match group.members.get(&member) {
            Some(state) if state.incarnation != incarnation => Err(Refusal::Fenced),
            Some(_) if group.generation == generation => Ok(()),
            Some(_) | None => Err(Refusal::Generation),
        }
    }

    pub fn kick(&mut self, member: Member) {
        if let Some(group) = self.0.get_mut(&member.role)
            && group.members.remove(&member).is_some()
        {
            group.rebalance(None);
        }
    }

    /// Takes members for dead that have been silent for too long.
    pub fn expire(&mut self, now_us: i64) {
        for group in self.0.values_mut() {
            let before = group.members.len();
            group.members.retain(|_, state| now_us - state.seen_us <= SESSION_US);
            if group.members.len() < before {
                group.rebalance(None);
            }
        }
    }

    /// All were down for longer than a session.
    pub fn forget(&mut self) {
        for group in self.0.values_mut() {
            group.members.clear();
            group.rebalancing = false;
        }
    }

    /// Nobody is taken for dead over a time that only the test has skipped.
    pub fn stay(&mut self, now_us: i64) {
        let states = self.0.values_mut().flat_map(|group| group.members.values_mut());
        states.for_each(|state| state.seen_us = now_us);
    }
}

impl Group {
    /// `by` has joined; None when a member is gone. Ends when all have joined.
    fn rebalance(&mut self, by: Option<Member>) {
        if !self.rebalancing {
            self.rebalancing = true;
            self.members.values_mut().for_each(|state| state.joined = false);
        }
        if let Some(state) = by.and_then(|by| self.members.get_mut(&by)) {
            state.joined = true;
        }
        if self.members.values().all(|state| state.joined) {
            self.rebalancing = false;
            self.generation += 1;
            self.assign();
        }
    }

    /// Every member gets its share, but for what another one still holds: that comes once it is given up.
    fn assign(&mut self) {
        let Some(role) = self.members.keys().next().map(|member| member.role) else { return };
        let count = self.members.len() as i32;
        // Whoever comes or goes moves partitions about, not only its own.
        let turn: i32 = self.members.keys().map(|member| i32::from(member.number)).sum();
        let held: BTreeMap<i32, Member> =
            self.members.iter().flat_map(|(member, s)| s.owned.iter().map(|p| (*p, *member))).collect();
        for (at, (member, state)) in (0..).zip(&mut self.members) {
            let share = (0..partitions_of(role)).filter(|p| (p + turn) % count == at);
            let free = |p: &i32| held.get(p).is_none_or(|holder| holder == member);
            state.owned = share.filter(free).collect();
        }
    }
}
