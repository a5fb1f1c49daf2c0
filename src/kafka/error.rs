//! What can go wrong with Kafka, as far as callers must tell it apart.

use std::time::Duration;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::TopicPartition;

/// A failed operation on Kafka.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum KafkaError {
    #[error(
        "no Kafka broker answered at {brokers} within {waited:?}: {reason}; \
         check `kafka.brokers`, the network, and TLS or SASL properties"
    )]
    Unreachable { brokers: String, waited: Duration, reason: String },
    #[error("Kafka client configuration: {reason}; check `kafka.properties`")]
    Configuration { reason: String },
    #[error(
        "{what}: the topic does not exist or may not be described; create it with `plimsoll topics create`"
    )]
    UnknownTopic { what: String },
    #[error("{what}: access denied; {mend}")]
    Denied { what: String, mend: &'static str },
    #[error("{action} gave no answer within {waited:?}; the broker may be overloaded or away")]
    TimedOut { action: String, waited: Duration },
    #[error("partition {partition}: {reason}")]
    Partition { partition: TopicPartition, reason: String },
    /// The group has another member with the same `group.instance.id`; this process must exit.
    #[error("{}", instance_fenced(.reason))]
    InstanceFenced { reason: String },
    /// The client can no longer be used; open a new one.
    #[error("{action}: the Kafka client failed for good: {reason}")]
    Fatal { action: String, reason: String },
    #[error("{action}: {reason}")]
    Failed { action: String, reason: String },
}

impl KafkaError {
    /// Whether the same call may succeed later without anyone mending anything.
    pub fn is_transient(&self) -> bool {
        match self {
            KafkaError::Unreachable { .. } | KafkaError::TimedOut { .. } => true,
            KafkaError::Configuration { .. }
            | KafkaError::UnknownTopic { .. }
            | KafkaError::Denied { .. }
            | KafkaError::Partition { .. }
            | KafkaError::InstanceFenced { .. }
            | KafkaError::Fatal { .. }
            | KafkaError::Failed { .. } => false,
        }
    }
}

/// Why a transaction did not commit, by what the caller has to do next.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CommitError {
    /// The transaction was aborted and no reader will see it. The writer is ready for the next `begin`.
    /// The group may have moved on (new generation, member gone): serve the reader's events, then reposition. Also when
    /// its broker speaks of a fenced instance: it says so of a member that is just joining anew under its own name too,
    /// and of a twin the reader hears with its next heartbeat.
    #[error("transaction aborted: {reason}")]
    Aborted { reason: String },
    /// Another producer used this transactional id, or the broker gave up waiting and raised the epoch (a pause
    /// longer than `transaction.timeout.ms` looks like this). While still the owner of the partitions:
    /// `recreate`, read the committed offsets, reposition.
    #[error("producer fenced: {reason}")]
    Fenced { reason: String },
    /// No answer within the bound. With `in_doubt` the transaction may be committed or not:
    /// in any case `recreate`, read the committed offsets and go on from those.
    #[error("broker unavailable (outcome {}): {reason}", if *.in_doubt { "unknown" } else { "not committed" })]
    Unavailable { in_doubt: bool, reason: String },
    /// A right is missing, or was taken away: exit, for only a person can grant it.
    #[error("{what}: access denied; {mend}")]
    Denied { what: String, mend: &'static str },
    /// Nothing a new producer can mend: a broken configuration, a record that no topic takes.
    #[error("transaction failed for good: {reason}")]
    Fatal { reason: String },
}

/// A broker that fails over may take a member for the ghost of its own earlier connection, so both are said.
fn instance_fenced(reason: &str) -> String {
    format!(
        "the group has another member under this instance name ({reason}). If another process runs under the name, \
         give every replica its own `instance`. If none does, the other was this replica itself before a fault of \
         the broker, and its restart mends that"
    )
}

pub(super) fn failed(action: &str) -> impl FnOnce(ClientError) -> KafkaError {
    let action = action.to_owned();
    move |error| match error.rdkafka_error_code() {
        Some(code) => failed_with(&action, code),
        None => KafkaError::Failed { action, reason: error.to_string() },
    }
}

pub(super) fn failed_with(action: &str, code: Code) -> KafkaError {
    match classify(code) {
        Kind::UnknownTopic => KafkaError::UnknownTopic { what: action.to_owned() },
        Kind::Denied => KafkaError::Denied { what: action.to_owned(), mend: grant(code) },
        Kind::InstanceFenced => KafkaError::InstanceFenced { reason: code.to_string() },
        Kind::Passing | Kind::Other => {
            KafkaError::Failed { action: action.to_owned(), reason: code.to_string() }
        }
    }
}

/// Whether waiting alone mends this: brokers restart, coordinators move, transactions end.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(classify(code), Kind::Passing)
}

/// An error of a group consumer as a whole. `None`: librdkafka goes on by itself, and its log says so.
pub(super) fn consumer_error(error: &ClientError, reason: String) -> Option<KafkaError> {
    let (code, fatal) = match error {
        ClientError::MessageConsumptionFatal(code) => (*code, true),
        ClientError::MessageConsumption(code) | ClientError::Global(code) => (*code, false),
        _ => return Some(KafkaError::Failed { action: "reading".to_owned(), reason }),
    };
    match classify(code) {
        Kind::InstanceFenced => Some(KafkaError::InstanceFenced { reason }),
        _ if fatal => Some(KafkaError::Fatal { action: "reading".to_owned(), reason }),
        Kind::UnknownTopic => Some(KafkaError::UnknownTopic { what: reason }),
        Kind::Denied => Some(KafkaError::Denied { what: reason, mend: grant(code) }),
        Kind::Passing => None,
        Kind::Other => Some(KafkaError::Failed { action: "reading".to_owned(), reason }),
    }
}

/// An error one partition reports instead of records. `None`: librdkafka goes on by itself.
pub(super) fn partition_error(partition: TopicPartition, code: Code, reason: String) -> Option<KafkaError> {
    match classify(code) {
        Kind::Passing => None,
        Kind::UnknownTopic => Some(KafkaError::UnknownTopic { what: partition.to_string() }),
        Kind::Denied => Some(KafkaError::Denied { what: format!("reading {partition}"), mend: grant(code) }),
        Kind::InstanceFenced | Kind::Other => {
            Some(KafkaError::Partition { partition, reason: format!("{code}: {reason}") })
        }
    }
}

pub(super) fn is_denied(code: Code) -> bool {
    matches!(classify(code), Kind::Denied)
}

/// What a principal lacks that was refused with this code.
pub(super) fn grant(code: Code) -> &'static str {
    match code {
        Code::TopicAuthorizationFailed => {
            "grant this principal on the topic READ where it reads, WRITE where it writes, and DESCRIBE and \
             DESCRIBE_CONFIGS"
        }
        Code::GroupAuthorizationFailed => "grant this principal READ and DESCRIBE on the consumer group",
        Code::TransactionalIdAuthorizationFailed => {
            "grant this principal WRITE and DESCRIBE on the transactional id, or on the prefix `kafka.application`"
        }
        Code::ClusterAuthorizationFailed => "grant this principal the right on the cluster",
        // Nobody knows yet who it is.
        _ => "check the user, the password and the mechanism among the `sasl` properties",
    }
}

enum Kind {
    UnknownTopic,
    Denied,
    InstanceFenced,
    Passing,
    Other,
}

fn classify(code: Code) -> Kind {
    match code {
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::UnknownTopicId
        | Code::InvalidTopic
        | Code::NoEnt => Kind::UnknownTopic,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => Kind::Denied,
        Code::FencedInstanceId => Kind::InstanceFenced,
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::BrokerNotAvailable
        | Code::BrokerDestroy
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::FencedLeaderEpoch // the client's own idea of the leader is old, or too new for this broker
        | Code::UnknownLeaderEpoch
        | Code::LeaderNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::OffsetNotAvailable
        | Code::NetworkException
        | Code::NodeUpdate
        | Code::NotCoordinator
        | Code::NotLeaderForPartition
        | Code::OperationTimedOut
        | Code::PollExceeded // a revocation with `lost` follows
        | Code::RequestTimedOut
        | Code::Resolve
        | Code::TimedOutQueue
        | Code::UnstableOffsetCommit
        | Code::WaitingForCoordinator => Kind::Passing,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_moving_leader_causes_passes_by_itself() {
        let moving = [
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::NotLeaderForPartition,
            Code::OffsetNotAvailable,
            Code::NotEnoughReplicas,
        ];
        for code in moving {
            assert!(is_passing(code), "{code}");
            let read = consumer_error(&ClientError::MessageConsumption(code), "moved".to_owned());
            assert_eq!(read, None, "{code}");
        }
    }

    #[test]
    fn a_fenced_instance_may_be_a_twin_or_a_ghost_of_its_own() {
        let texts = [
            failed_with("reading", Code::FencedInstanceId).to_string(),
            KafkaError::InstanceFenced { reason: "fenced".into() }.to_string(),
        ];
        for text in texts {
            assert!(text.contains("give every replica its own `instance`"), "{text}");
            assert!(text.contains("If none does") && text.contains("its restart mends that"), "{text}");
        }
    }

    #[test]
    fn each_missing_right_is_named() {
        let rights = [
            (Code::TopicAuthorizationFailed, "on the topic READ"),
            (Code::GroupAuthorizationFailed, "on the consumer group"),
            (Code::TransactionalIdAuthorizationFailed, "on the transactional id"),
            (Code::ClusterAuthorizationFailed, "on the cluster"),
            (Code::SaslAuthenticationFailed, "the password"),
        ];
        for (code, right) in rights {
            let error = failed_with("asking", code);
            assert!(matches!(error, KafkaError::Denied { .. }) && !error.is_transient(), "{error:?}");
            assert!(error.to_string().contains(right), "{error}");
        }
    }
}
