//! What goes wrong, in which order: all of it follows from a seed.

use std::fmt;

/// Faults that take more than one process, or something that is not ours, and how often each comes at least.
const OTHERS: [Fault; 14] = [
    Fault::KillEveryone,
    Fault::Zombie(0),
    Fault::BrokerRestart(0),
    Fault::BrokerPause(0),
    Fault::PostgresKill,
    Fault::PostgresCut,
    Fault::PostgresStall,
    Fault::PostgresSlow,
    Fault::DiskFull,
    Fault::Truncation(0),
    Fault::MorePartitions,
    Fault::RollingUpgrade,
    Fault::Terminate(0),
    Fault::DoubleKill(0),
];

/// Numbers choose a victim; they are taken modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of one replica, restarted at once under its name.
    Kill(u64),
    /// The same twice, the second time while it comes up.
    DoubleKill(u64),
    KillEveryone,
    /// SIGTERM, and a restart.
    Terminate(u64),
    /// SIGSTOP beyond the session timeout, then SIGCONT.
    Zombie(u64),
    BrokerRestart(u64),
    BrokerPause(u64),
    /// `kill -9` of the server and all its backends.
    PostgresKill,
    PostgresCut,
    PostgresStall,
    PostgresSlow,
    DiskFull,
    /// Input records deleted before a stopped ingest read them.
    Truncation(u64),
    MorePartitions,
    /// Another set of rules, and every replica restarted, one by one.
    RollingUpgrade,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill(_) => "kill -9 of one replica",
            Fault::DoubleKill(_) => "kill -9 of one, again while it comes up",
            Fault::KillEveryone => "kill -9 of every replica at once",
            Fault::Terminate(_) => "SIGTERM of one replica",
            Fault::Zombie(_) => "SIGSTOP beyond the session, SIGCONT",
            Fault::BrokerRestart(_) => "kill -9 and restart of a broker",
            Fault::BrokerPause(_) => "pause of a broker",
            Fault::PostgresKill => "kill -9 of Postgres",
            Fault::PostgresCut => "connections to Postgres cut",
            Fault::PostgresStall => "connections to Postgres stalled",
            Fault::PostgresSlow => "connections to Postgres slowed",
            Fault::DiskFull => "disk full for Postgres",
            Fault::Truncation(_) => "input truncated under the reader",
            Fault::MorePartitions => "partitions added to an input",
            Fault::RollingUpgrade => "rolling upgrade with other rules",
        }
    }

    fn with_victim(self, victim: u64) -> Fault {
        match self {
            Fault::Kill(_) => Fault::Kill(victim),
            Fault::DoubleKill(_) => Fault::DoubleKill(victim),
            Fault::Terminate(_) => Fault::Terminate(victim),
            Fault::Zombie(_) => Fault::Zombie(victim),
            Fault::BrokerRestart(_) => Fault::BrokerRestart(victim),
            Fault::BrokerPause(_) => Fault::BrokerPause(victim),
            Fault::Truncation(_) => Fault::Truncation(victim),
            Fault::KillEveryone
            | Fault::PostgresKill
            | Fault::PostgresCut
            | Fault::PostgresStall
            | Fault::PostgresSlow
            | Fault::DiskFull
            | Fault::MorePartitions
            | Fault::RollingUpgrade => self,
        }
    }
}

/// A fault, and how long after the one before it was overcome.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub fault: Fault,
    pub after_ms: u64,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} ms: {:?}", self.after_ms, self.fault)
    }
}

/// `kills` single kills and each other fault `others` times, shuffled. `only`: faults whose name contains it.
pub fn plan(seed: u64, kills: u64, others: u64, only: Option<&str>) -> Vec<Planned> {
    let mut chance = Chance(seed);
    let mut faults = vec![Fault::Kill(0); kills as usize];
    faults.extend(OTHERS.iter().flat_map(|fault| vec![*fault; others as usize]));
    if let Some(only) = only {
        faults.retain(|fault| fault.name().contains(only));
    }
    for at in (1..faults.len()).rev() {
        faults.swap(at, chance.below(at as u64 + 1) as usize);
    }
    let planned = |fault: Fault| {
        let victim = chance.below(1 << 16);
        Planned { fault: fault.with_victim(victim), after_ms: chance.below(1_500) }
    };
    faults.into_iter().map(planned).collect()
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}
