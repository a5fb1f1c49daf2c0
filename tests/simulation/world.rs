//! A whole deployment in one thread: processes, broker and database, moved by a list of actions.

use super::action::Action;
use super::audit::Audit;
use super::broker::{Broker, Topic};
use super::bug::Bug;
use super::chance::Chance;
use super::database::Database;
use super::group::{Member, Role};
use super::ingest::committed;
use super::process::{Life, Outside, Process};
use super::rules::SHARDS;
use super::traffic::{PARTITIONS, SECOND_US, START_US, Traffic};

/// Every name that may run.
pub const NAMES: [Member; 8] = [
    name(Role::Ingest, 0),
    name(Role::Ingest, 1),
    name(Role::Ingest, 2),
    name(Role::Evaluate, 0),
    name(Role::Evaluate, 1),
    name(Role::Evaluate, 2),
    name(Role::Store, 0),
    name(Role::Store, 1),
];

const fn name(role: Role, number: u8) -> Member {
    Member { role, number }
}

/// By then everything has come to rest.
const REST_US: i64 = 120 * SECOND_US;
/// How often everyone has its turn in a second, and the steps of a turn.
const ROUNDS: usize = 6;
const STEPS: usize = 6;

pub struct World {
    pub outside: Outside,
    /// The living.
    processes: Vec<Process>,
    incarnations: u64,
    audit: Audit,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>) -> World {
        let traffic = Traffic::drawn(&mut Chance::new(seed));
        let database = Database::new(bug != Some(Bug::ZombieStore));
        let outside = Outside { now_us: START_US, traffic, broker: Broker::default(), database, bug };
        let mut world = World { outside, processes: Vec::new(), incarnations: 0, audit: Audit::default() };
        // The others come when an action starts them.
        [0, 1, 3, 4, 6].into_iter().for_each(|at| world.start(NAMES[at]));
        world
    }

    fn start(&mut self, member: Member) {
        self.incarnations += 1;
        self.processes.push(Process::start(member, self.incarnations, &self.outside));
    }

    fn lives(&self, member: Member) -> bool {
        self.processes.iter().any(|process| process.membership.member == member)
    }

    /// Does one thing, and looks at all that has become visible by it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Go { process, steps, dice } => {
                for step in 0..u32::from(steps) {
                    self.go(usize::from(process), dice.rotate_left(5 * step))?;
                }
            }
            Action::Wait { ms } => self.wait(i64::from(ms) * 1_000),
            Action::Mark { times, dice } => {
                for time in 0..u32::from(times) {
                    self.outside.broker.mark(dice.rotate_left(time));
                }
            }
            Action::Kill { process } => {
                if usize::from(process) < self.processes.len() {
                    self.processes.remove(usize::from(process));
                }
            }
            Action::Start { name } => {
                let member = NAMES[usize::from(name) % NAMES.len()];
                if !self.lives(member) {
                    self.start(member);
                }
            }
            Action::Twin { name } => {
                let member = NAMES[usize::from(name) % NAMES.len()];
                let alike = self.processes.iter().filter(|process| process.membership.member == member);
                if alike.count() == 1 {
                    self.start(member);
                }
            }
            Action::Expire { name } => {
                self.outside.broker.groups.kick(NAMES[usize::from(name) % NAMES.len()]);
            }
            Action::Lose { process, done } => {
                if let Some(process) = self.processes.get_mut(usize::from(process)) {
                    process.lose(done);
                }
            }
            Action::Compact { dice } => self.outside.broker.compact(dice),
        }
        self.audit.look(&self.outside)
    }

    fn go(&mut self, at: usize, dice: u32) -> Result<(), String> {
        self.wait(1_000);
        let Some(process) = self.processes.get_mut(at) else { return Ok(()) };
        if process.go(dice, &mut self.outside)? == Life::Ends {
            self.processes.remove(at);
        }
        Ok(())
    }

    fn wait(&mut self, us: i64) {
        self.outside.now_us += us;
        self.outside.broker.expire(self.outside.now_us);
        self.outside.broker.groups.expire(self.outside.now_us);
    }

    /// Lets all come to rest: one process of each role begins anew, nothing fails, and time goes on until every hour is
    /// finished.
    ///
    /// # Errors
    /// What is wrong on the way or in the end, or that it does not come to rest.
    pub fn settle(&mut self, chance: &mut Chance) -> Result<(), String> {
        self.processes.clear();
        self.outside.broker.groups.forget();
        let last = [chance.pick(&[0, 1, 2]), chance.pick(&[3, 4, 5]), chance.pick(&[6, 7])];
        last.into_iter().for_each(|at: usize| self.start(NAMES[at]));
        let left_us = self.outside.traffic.last_us() - self.outside.now_us;
        self.outside.now_us += left_us.max(0);
        self.rest(chance)?;
        self.outside.now_us += 4_500 * SECOND_US;
        self.outside.broker.groups.stay(self.outside.now_us);
        self.rest(chance)?;
        self.audit.finish(&self.outside)
    }

    /// Goes on until nothing is left to do and every partition is known to be silent, which makes a live source follow
    /// the clock.
    fn rest(&mut self, chance: &mut Chance) -> Result<(), String> {
        let began_us = self.outside.now_us;
        while self.outside.now_us - began_us < REST_US {
            for _ in 0..ROUNDS {
                self.everyone(chance, true)?;
            }
            self.wait(SECOND_US);
            if self.audit.is_silent_since(began_us) {
                // Ingest would tell its clocks for ever.
                for _ in 0..ROUNDS {
                    self.everyone(chance, false)?;
                }
                if self.is_done() {
                    return Ok(());
                }
            }
        }
        Err(format!("it does not come to rest: {:?}", self.left()))
    }

    fn everyone(&mut self, chance: &mut Chance, ingest: bool) -> Result<(), String> {
        for at in 0..self.processes.len() {
            if !ingest && self.processes[at].membership.member.role == Role::Ingest {
                continue;
            }
            for _ in 0..STEPS {
                self.processes[at].go(chance.any(), &mut self.outside)?;
            }
            while self.outside.broker.mark(chance.any()) {}
        }
        self.audit.look(&self.outside)
    }

    fn is_done(&self) -> bool {
        let (unread, behind, unstored) = self.left();
        unread + behind + unstored == 0
    }

    /// Records not folded, partials not applied and outputs not stored.
    fn left(&self) -> (i64, i64, i64) {
        let Outside { broker, traffic, database, now_us, .. } = &self.outside;
        let unread = (0..PARTITIONS).map(|p| traffic.there(p, *now_us) as i64 - committed(broker)[&p]).sum();
        let behind = |partition: i32| {
            let committed = broker.committed(Role::Evaluate, partition).ok().flatten().map_or(0, |c| c.next);
            broker.read((Topic::Partials, partition), committed, usize::MAX).0.len() as i64
        };
        let unstored = |partition: i32| {
            let next = database.next(partition).unwrap_or(0);
            broker.read((Topic::Outputs, partition), next, usize::MAX).0.len() as i64
        };
        (unread, (0..SHARDS).map(behind).sum(), (0..SHARDS).map(unstored).sum())
    }
}
