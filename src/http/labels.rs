//! Label sets of the metrics. Each is a closed struct, so a series cannot gain a label by accident.

use prometheus_client::encoding::EncodeLabelSet;

/// The stages of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Ingest,
    Evaluate,
    Store,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Evaluate => "evaluate",
            Role::Store => "store",
        }
    }
}

/// Why a transaction was given up. Its records are read or sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AbortCause {
    /// Another producer took over the transactional id, or a broker pause looked like it.
    Fenced,
    /// Partitions were lost while it was open.
    Rebalance,
    /// It outlived `transaction.timeout.ms`, or a broker did not answer in time.
    Timeout,
    /// Any other error of a broker.
    Broker,
}

impl AbortCause {
    /// Every cause beside the role whose transaction it is.
    pub fn of(role: Role) -> [(Role, AbortCause); 4] {
        [AbortCause::Fenced, AbortCause::Rebalance, AbortCause::Timeout, AbortCause::Broker]
            .map(|cause| (role, cause))
    }

    pub fn name(self) -> &'static str {
        match self {
            AbortCause::Fenced => "fenced",
            AbortCause::Rebalance => "rebalance",
            AbortCause::Timeout => "timeout",
            AbortCause::Broker => "broker",
        }
    }
}

/// What must hold whatever happens; the ids are those of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// P1: every record is in one hour of one key of each rollup, in the dead letters or in a declared gap.
    Conservation,
    /// P2: finished rows do not depend on replicas, flushes or interleaving.
    Commutative,
    /// P3: the same log gives the same state and outputs.
    Deterministic,
    /// P4: good and bad make the total, cells make the events.
    CountsAgree,
    /// P5: watermarks, versions and offsets never go back.
    Monotonic,
    /// P6: episodes open first, and only once at a time.
    Episodes,
    /// P7: series, keys, panes, queues and messages have limits.
    Bounded,
}

impl Invariant {
    pub const ALL: [Invariant; 7] = [
        Invariant::Conservation,
        Invariant::Commutative,
        Invariant::Deterministic,
        Invariant::CountsAgree,
        Invariant::Monotonic,
        Invariant::Episodes,
        Invariant::Bounded,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Invariant::Conservation => "P1",
            Invariant::Commutative => "P2",
            Invariant::Deterministic => "P3",
            Invariant::CountsAgree => "P4",
            Invariant::Monotonic => "P5",
            Invariant::Episodes => "P6",
            Invariant::Bounded => "P7",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SourceLabels {
    pub source: String,
}

/// A worker sees only its own partitions of a source; the sum over workers and replicas is the source's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SourceWorkerLabels {
    pub source: String,
    pub worker: u32,
}

/// A process sees only the partitions it reads; the sum over replicas is the group's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GroupSourceLabels {
    pub group: String,
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GroupLabels {
    pub group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SourceShardLabels {
    pub source: String,
    pub shard: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DeadLetterLabels {
    pub source: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RoleLabels {
    pub role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AbortLabels {
    pub role: &'static str,
    pub cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TableLabels {
    pub table: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TableShardLabels {
    pub table: String,
    pub shard: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TransitionLabels {
    pub transition: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct InvariantLabels {
    pub invariant: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WorkerLabels {
    pub worker: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VersionLabels {
    pub version: &'static str,
}
