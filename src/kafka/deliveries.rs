//! What librdkafka's own threads say of a producer's records, kept until the writer asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::connection::log_line;

/// The first failed delivery of a transaction, and the client's last words. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Deliveries {
    failure: Arc<Mutex<Option<Failure>>>,
    last_error: Arc<Mutex<Option<String>>>,
    refusal: Arc<Mutex<Option<String>>>,
}

/// Why a record was not delivered.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// `None`: it may be delivered the next time.
    pub(super) code: Option<Code>,
}

impl Failure {
    pub(super) fn passing(reason: String) -> Failure {
        Failure { reason, code: None }
    }
}

/// librdkafka tells which partition a transaction may not hold in its log only, under this name.
const ADDING: &str = "ADDPARTS";
const REFUSED: &str = "Failed to add partition";

impl Deliveries {
    pub(super) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    pub(super) fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    /// Which partition the open transaction was not allowed to write to.
    pub(super) fn refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }

    pub(super) fn forget(&self) {
        *lock(&self.failure) = None;
        *lock(&self.refusal) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding these, and what they hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == ADDING
            && let Some(at) = message.find(REFUSED)
        {
            lock(&self.refusal).get_or_insert_with(|| message[at..].to_owned());
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "producer error");
        *lock(&self.last_error) = Some(reason.to_owned());
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code();
        // Purged records are what an abort leaves, not why it came to that.
        if matches!(code, Some(Code::PurgeQueue | Code::PurgeInflight)) {
            return;
        }
        let mend = match code {
            Some(Code::MessageSizeTooLarge) => "; raise the topic's max.message.bytes",
            _ => "",
        };
        let (topic, partition) = (message.topic(), message.partition());
        let reason = format!("a record for {topic}[{partition}]: {error}{mend}");
        lock(&self.failure).get_or_insert(Failure { reason, code });
    }
}
