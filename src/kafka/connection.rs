//! Where the brokers are and how clients talk to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::KafkaError;
use crate::config::settings::{KafkaSettings, Secret};

/// Largest record before compression. What a topic takes is its own `max.message.bytes`, of whole batches after
/// compression: the broker knows, and says so.
pub const RECORD_MAX_BYTES: usize = 16 << 20;

/// A partition that is newly assigned, resumed or repositioned joins the next fetch, so it waits for the one under way:
/// no longer than this.
const FETCH_WAIT: Duration = Duration::from_millis(50);
/// A fetch that gathers waits no longer once there is so much. Each names every partition, however little it brings.
const WORTH_A_FETCH_BYTES: i32 = 64 << 10;
/// Of one answer, and of what it has of one partition.
const ANSWER_BYTES: i32 = 2 << 20;
const PARTITION_BYTES: i32 = 256 << 10;

/// How much a broker sends at once, and how long it may wait for that.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchLimits {
    pub min_bytes: i32,
    pub wait: Duration,
    pub answer_bytes: i32,
    pub partition_bytes: i32,
}

impl FetchLimits {
    /// `gather`: how long the broker may hold back an answer that is not worth it yet; zero: it answers as soon as it
    /// has a byte.
    pub fn gathering(gather: Duration) -> FetchLimits {
        let (min_bytes, wait) = match gather.is_zero() {
            true => (1, FETCH_WAIT),
            false => (WORTH_A_FETCH_BYTES, gather),
        };
        FetchLimits { min_bytes, wait, answer_bytes: ANSWER_BYTES, partition_bytes: PARTITION_BYTES }
    }
}

/// What every client is made from.
#[derive(Clone)]
pub struct Connection {
    brokers: String,
    connect_timeout: Duration,
    /// The operator's librdkafka properties.
    properties: BTreeMap<String, Secret>,
}

/// Properties Plimsoll's guarantees rest on: the operator's values for these are not used.
const GUARANTEED: [&str; 15] = [
    "auto.offset.reset",
    "bootstrap.servers",
    "client.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "transactional.id",
];

/// Beginnings of librdkafka's properties that say how records are to be fetched.
const FETCHING: [&str; 13] = [
    "broker.address",
    "check.crcs",
    "client.dns",
    "client.rack",
    "fetch.",
    "https.",
    "max.partition.fetch",
    "queued.",
    "receive.",
    "sasl.",
    "security.",
    "socket.",
    "ssl.",
];

impl Connection {
    pub fn new(settings: &KafkaSettings) -> Connection {
        let mut properties = settings.properties.clone();
        for name in GUARANTEED {
            if properties.remove(name).is_some() {
                tracing::warn!(property = name, "kafka property ignored: plimsoll sets it itself");
            }
        }
        Connection {
            brokers: settings.brokers.clone(),
            connect_timeout: settings.connect_timeout,
            properties,
        }
    }

    /// Plain text to `brokers` with everything else default; `connect_timeout` 30 s.
    pub fn to_brokers(brokers: &str) -> Connection {
        Connection {
            brokers: brokers.to_owned(),
            connect_timeout: Duration::from_secs(30),
            properties: BTreeMap::new(),
        }
    }

    /// With one more librdkafka property, which wins over Plimsoll's own default.
    pub fn with_property(mut self, name: &str, value: &str) -> Connection {
        self.properties.insert(name.to_owned(), Secret::new(value));
        self
    }

    /// With another bound for waiting at start-up.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Connection {
        self.connect_timeout = timeout;
        self
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Waits until a broker answers, at most `timeout`; the error names the address tried.
    pub fn check(&self, timeout: Duration) -> Result<(), KafkaError> {
        let context = LogContext::default();
        let client: BaseConsumer<LogContext> = self.client(&[], &[], context.clone())?;
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // One look-up may give up early (a refused connection), so it is repeated until the time is up.
            let reason = match client.fetch_metadata(None, left.min(Duration::from_secs(5))) {
                Ok(metadata) if !metadata.brokers().is_empty() => return Ok(()),
                Ok(_) => "the answer names no broker".to_owned(),
                Err(error) => error.to_string(),
            };
            // Serves the log and error callbacks, which know more than the look-up does.
            let _ = client.poll(left.min(Duration::from_millis(50)));
            if Instant::now() >= deadline {
                let reason = context.last_error().unwrap_or(reason);
                return Err(KafkaError::Unreachable {
                    brokers: self.brokers.clone(),
                    waited: timeout,
                    reason,
                });
            }
        }
    }

    /// A client with `defaults` below and `fixed` above the operator's own properties.
    pub(super) fn client<T, C>(
        &self,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
        context: C,
    ) -> Result<T, KafkaError>
    where
        C: ClientContext,
        T: FromClientConfigAndContext<C>,
    {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        // Back within a second after a broker's restart; librdkafka's own limit is 10 s.
        config.set("reconnect.backoff.max.ms", "1000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value.reveal());
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config
            .create_with_context(context)
            .map_err(|error| KafkaError::Configuration { reason: error.to_string() })
    }

    /// Whether brokers may be fetched from without librdkafka: nothing the operator set is about how that is done.
    pub(super) fn lets_fetch_directly(&self) -> bool {
        let concerned = self.properties.keys().find(|name| {
            FETCHING.iter().any(|about| name.starts_with(about))
                && !(*name == "security.protocol"
                    && self.properties[*name].reveal().eq_ignore_ascii_case("plaintext"))
        });
        if let Some(property) = concerned {
            tracing::info!(property, "events are fetched through librdkafka, for the sake of this property");
        }
        concerned.is_none()
    }

    /// Settings of everything that reads through librdkafka. `gather` as for [`FetchLimits::gathering`].
    pub(super) fn consumer<C: ConsumerContext>(
        &self,
        gather: Duration,
        fixed: &[(&str, &str)],
        context: C,
    ) -> Result<BaseConsumer<C>, KafkaError> {
        let limits = FetchLimits::gathering(gather);
        let wait_ms = limits.wait.as_millis().max(1).to_string();
        let [min, answer, partition] =
            [limits.min_bytes, limits.answer_bytes, limits.partition_bytes].map(|bytes| bytes.to_string());
        let defaults = [
            ("fetch.min.bytes", min.as_str()),
            ("fetch.wait.max.ms", wait_ms.as_str()),
            // How long fetching rests after the queue was full; the default of 1 s would show in every replay.
            ("fetch.queue.backoff.ms", "5"),
            // All partitions of a reader share one queue, so these bound its memory as a whole. With four times as much
            // ingest reads no faster, and its peak is twice to three times as large.
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.max.bytes", answer.as_str()),
            ("fetch.message.max.bytes", partition.as_str()),
            // Partitions added to a topic are found no sooner; the default is 5 min.
            ("topic.metadata.refresh.interval.ms", "30000"),
        ];
        let mut all = vec![
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "false"),
            ("isolation.level", "read_committed"),
            // An offset that is gone is told, never jumped over.
            ("auto.offset.reset", "error"),
        ];
        all.extend_from_slice(fixed);
        self.client(&defaults, &all, context)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// Routes librdkafka's log to `tracing` and remembers the last error's reason.
#[derive(Clone, Default)]
pub(super) struct LogContext {
    last_error: Arc<Mutex<Option<String>>>,
}

impl LogContext {
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "client error");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ConsumerContext for LogContext {}

impl ProducerContext for LogContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

/// librdkafka mends most of what it calls errors by itself, so those are warnings here.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_address_when_nobody_answers() {
        let port = crate::local::cache::free_port().unwrap();
        let address = format!("127.0.0.1:{port}");
        let started = Instant::now();
        let error = Connection::to_brokers(&address).check(Duration::from_millis(700)).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(error.is_transient());
        assert!(error.to_string().contains(&address), "{error}");
    }

    #[test]
    fn what_is_set_about_fetching_is_left_to_the_client() {
        let lets = |name: &str, value: &str| {
            Connection::to_brokers("127.0.0.1:1").with_property(name, value).lets_fetch_directly()
        };
        for (name, value) in [("linger.ms", "5"), ("security.protocol", "PLAINTEXT"), ("debug", "cgrp")] {
            assert!(lets(name, value), "{name}");
        }
        let concerned =
            ["security.protocol", "sasl.mechanism", "ssl.ca.location", "client.rack", "fetch.max.bytes"];
        for name in concerned {
            assert!(!lets(name, "ssl"), "{name}");
        }
    }

    #[test]
    fn a_property_librdkafka_does_not_know_is_a_configuration_error() {
        let connection = Connection::to_brokers("127.0.0.1:1").with_property("no.such.property", "1");
        let error = connection.check(Duration::from_millis(10)).unwrap_err();
        assert!(matches!(error, KafkaError::Configuration { .. }), "{error:?}");
        assert!(error.to_string().contains("no.such.property"), "{error}");
    }
}
