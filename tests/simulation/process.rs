//! A process: what all roles do alike. It takes one step at a time, so that anything may happen between two of them.

use std::collections::BTreeSet;

use super::broker::{Broker, Refusal};
use super::bug::Bug;
use super::database::Database;
use super::evaluate::Evaluate;
use super::group::{Heard, Member, Role};
use super::ingest::Ingest;
use super::store::Store;
use super::traffic::Traffic;

/// Everything outside a process.
pub struct Outside {
    pub now_us: i64,
    pub traffic: Traffic,
    pub broker: Broker,
    pub database: Database,
    pub bug: Option<Bug>,
}

pub struct Process {
    pub membership: Membership,
    role: Part,
    /// The next answer gets lost, after the deed or before it.
    lose: Option<bool>,
    /// How far its wall clock is off.
    skew_us: i64,
}

enum Part {
    Ingest(Box<Ingest>),
    Evaluate(Box<Evaluate>),
    Store(Store),
}

/// A process as its group knows it.
pub struct Membership {
    pub member: Member,
    pub incarnation: u64,
    pub generation: u32,
    pub owned: BTreeSet<i32>,
    joined: bool,
}

/// Whether a process is still there after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Goes,
    Ends,
}

pub type Step = Result<Life, String>;

/// One call of the broker: what it answered, or nothing.
pub enum Answer {
    Done,
    Refused(Refusal),
    /// It may have been done.
    Lost,
}

/// A step as a process takes it.
pub struct Turn<'a> {
    pub outside: &'a mut Outside,
    pub dice: u32,
    /// By the process's own clock.
    pub wall_us: i64,
    pub lose: &'a mut Option<bool>,
}

impl Turn<'_> {
    /// Calls the broker; its answer may get lost on the way, or the call.
    pub fn call(&mut self, deed: impl FnOnce(&mut Outside) -> Result<(), Refusal>) -> Answer {
        match self.lose.take() {
            Some(false) => Answer::Lost,
            Some(true) => {
                let _ = deed(self.outside);
                Answer::Lost
            }
            None => deed(self.outside).map_or_else(Answer::Refused, |()| Answer::Done),
        }
    }
}

impl Process {
    pub fn start(member: Member, incarnation: u64, outside: &Outside) -> Process {
        // Clocks are off by up to a second, each by its own.
        let skew_us = (incarnation as i64 * 700_001) % 2_000_000 - 1_000_000;
        let role = match member.role {
            Role::Ingest => Part::Ingest(Box::new(Ingest::new(incarnation))),
            Role::Evaluate => Part::Evaluate(Box::new(Evaluate::new(outside.now_us))),
            Role::Store => Part::Store(Store::default()),
        };
        let membership =
            Membership { member, incarnation, generation: 0, owned: BTreeSet::new(), joined: false };
        Process { membership, role, lose: None, skew_us }
    }

    pub fn lose(&mut self, done: bool) {
        self.lose = Some(done);
    }

    pub fn go(&mut self, dice: u32, outside: &mut Outside) -> Step {
        let wall_us = outside.now_us + self.skew_us;
        let mut turn = Turn { outside, dice, wall_us, lose: &mut self.lose };
        let membership = &mut self.membership;
        match &mut self.role {
            Part::Ingest(ingest) => ingest.go(membership, &mut turn),
            Part::Evaluate(evaluate) => evaluate.go(membership, &mut turn),
            Part::Store(store) => store.go(membership, &mut turn),
        }
    }
}

impl Membership {
    /// Asks the group; joins it when it is not a member.
    pub fn poll(&mut self, outside: &mut Outside) -> Heard {
        let now_us = outside.now_us;
        if !self.joined {
            outside.broker.groups.join(self.member, self.incarnation, now_us);
            self.joined = true;
        }
        let heard = outside.broker.groups.poll(self.member, self.incarnation, now_us);
        self.joined &= heard != Heard::Lost;
        heard
    }

    pub fn rejoin(&self, outside: &mut Outside) {
        outside.broker.groups.rejoin(self.member, self.incarnation, &self.owned);
    }
}
