//! What the group tells a member, kept until the member's own thread asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::TopicPartition;
use super::connection::log_line;

/// A rebalance as librdkafka reports it; it goes on once it is answered.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assigned(Vec<TopicPartition>),
    Revoked { partitions: Vec<TopicPartition>, lost: bool },
}

/// The callbacks of a group consumer. They run inside `poll`, so they only note what happened: taking the reader's
/// locks or calling the consumer from here would deadlock.
#[derive(Clone, Default)]
pub(super) struct GroupContext(Arc<Noted>);

#[derive(Default)]
struct Noted {
    rebalances: Mutex<VecDeque<Rebalance>>,
    last_error: Mutex<Option<String>>,
    served: AtomicU64,
    /// Nobody will ask any more.
    alone: AtomicBool,
    closing: AtomicBool,
}

/// In which librdkafka closes that had nothing to wait for.
const CLOSES_WITHIN: Duration = Duration::from_millis(20);

impl GroupContext {
    pub(super) fn pop(&self) -> Option<Rebalance> {
        lock(&self.0.rebalances).pop_front()
    }

    /// The reason librdkafka gave with the last error.
    pub(super) fn last_error(&self) -> Option<String> {
        lock(&self.0.last_error).clone()
    }

    /// How many callbacks have run.
    pub(super) fn served(&self) -> u64 {
        self.0.served.load(Ordering::Relaxed)
    }

    /// From now on rebalances are answered in the callback, with whatever librdkafka proposes.
    pub(super) fn answer_alone(&self) {
        self.0.alone.store(true, Ordering::Relaxed);
    }

    /// From now on the group is left.
    pub(super) fn closing(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }

    /// Who closes in the middle of an eager rebalance is taken by librdkafka to have answered it. It then closes without
    /// waiting, and an answer that comes after that is never heard of again: the caller would wait for ever.
    fn is_taken_for_answered(&self, consumer: &BaseConsumer<GroupContext>, assigned: bool) -> bool {
        if !self.0.closing.load(Ordering::Relaxed) {
            return false;
        }
        // What closing itself revokes looks the same, but for that one it does wait.
        let until = Instant::now() + CLOSES_WITHIN;
        while !assigned && !consumer.closed() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        assigned || consumer.closed()
    }

    fn note(&self) {
        self.0.served.fetch_add(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding these, and what they hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.note();
        log_line(level, facility, message);
    }

    fn stats_raw(&self, _statistics: &[u8]) {
        self.note();
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "consumer error");
        *lock(&self.0.last_error) = Some(reason.to_owned());
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<GroupContext>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        self.note();
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.0.alone.load(Ordering::Relaxed) {
            let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
            if !cooperative && self.is_taken_for_answered(consumer, assigned) {
                return;
            }
            // An error means that closing has overtaken this rebalance.
            let _ = match (assigned, cooperative) {
                (true, true) => consumer.incremental_assign(list),
                (true, false) => consumer.assign(list),
                (false, true) => consumer.incremental_unassign(list),
                (false, false) => consumer.unassign(),
            };
            return;
        }
        let partitions = super::list::partitions_of(list);
        lock(&self.0.rebalances).push_back(if assigned {
            Rebalance::Assigned(partitions)
        } else {
            Rebalance::Revoked { partitions, lost: consumer.assignment_lost() }
        });
    }

    fn commit_callback(&self, _result: Result<(), ClientError>, _offsets: &TopicPartitionList) {
        self.note();
    }
}
