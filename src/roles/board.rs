//! The rules in force, as the topic has them: followed by one thread, read by every worker.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{RoleError, Stop};
use crate::config::settings::Settings;
use crate::core::rules::Rules;
use crate::http::{Component, Health, State};
use crate::kafka::{
    Connection, Follower, KafkaError, TopicPartition, TransactionalWriter, WriterRecord, read_whole,
};
use crate::wire::rules::{KEY, RulesError, RulesRecord};

const STALL: Duration = Duration::from_secs(20);
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// The newest rules and their version. Clones show the same board.
#[derive(Clone, Debug)]
pub struct RulesBoard {
    version: Arc<AtomicI64>,
    rules: Arc<Mutex<Arc<Rules>>>,
}

impl RulesBoard {
    pub fn new(version: i64, rules: Rules) -> RulesBoard {
        RulesBoard {
            version: Arc::new(AtomicI64::new(version)),
            rules: Arc::new(Mutex::new(Arc::new(rules))),
        }
    }

    /// Cheap enough for every turn of a loop.
    pub fn version(&self) -> i64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn current(&self) -> (i64, Arc<Rules>) {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version(), Arc::clone(&rules))
    }

    fn show(&self, version: i64, rules: Rules) {
        let mut shown = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if version > self.version() {
            *shown = Arc::new(rules);
            self.version.store(version, Ordering::Release);
        }
    }
}

/// Why the rules in force cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("the rules could not be written: {0}")]
    Write(#[from] crate::kafka::CommitError),
}

/// What the rules topic says: its newest record with its version, and the offset to follow on from.
#[derive(Debug)]
pub struct InForce {
    pub newest: Option<(i64, RulesRecord)>,
    pub end: i64,
}

pub fn read(connection: &Connection, topic: &str) -> Result<InForce, BoardError> {
    let mut newest: Option<(i64, Vec<u8>)> = None;
    let end = read_whole(connection, topic, 0, STALL, |offset, key, value| {
        if key == KEY {
            newest = value.map(|value| (offset, value.to_vec()));
        }
    })?;
    let newest = match newest {
        Some((version, bytes)) => Some((version, RulesRecord::decode(&bytes)?)),
        None => None,
    };
    Ok(InForce { newest, end })
}

/// Puts rules in force. Their version is the offset they get.
pub fn apply(connection: &Connection, settings: &Settings, record: &RulesRecord) -> Result<(), BoardError> {
    let topic = settings.topics.full_name(&settings.topics.rules);
    let id = format!("{}-rules-{}", settings.kafka.application, settings.instance);
    let value = record.encode()?;
    let mut writer = TransactionalWriter::open(connection, &id)?;
    writer.begin()?;
    writer.send(WriterRecord {
        topic: &topic,
        partition: Some(0),
        key: Some(KEY),
        payload: Some(&value),
        ..WriterRecord::default()
    })?;
    writer.commit_records()?;
    Ok(())
}

/// Follows the topic until stopped and shows what it says.
pub fn follow(
    board: &RulesBoard,
    connection: &Connection,
    topic: &str,
    from: i64,
    health: &Health,
    stop: &Stop,
) -> Result<(), RoleError> {
    let mut follower = Follower::open(connection, TopicPartition::new(topic, 0), from)?;
    health.set(Component::Rules, State::Ready);
    while !stop.wait(FOLLOW_EVERY) {
        health.beat(Component::Rules);
        let polled = follower.poll_new(|record| {
            if record.key != Some(KEY) {
                return;
            }
            match record.payload.map(RulesRecord::decode) {
                Some(Ok(new)) => {
                    tracing::info!(version = record.offset, "rules adopted");
                    board.show(record.offset, new.rules);
                    health.set(Component::Rules, State::Ready);
                }
                Some(Err(error)) => {
                    tracing::error!(version = record.offset, %error, "new rules cannot be used, the old ones stay");
                    health.set(Component::Rules, State::Degraded(error.to_string()));
                }
                None => {}
            }
        });
        match polled {
            Ok(_) => {}
            // Nothing would come any more, and nobody would know.
            Err(error @ KafkaError::Denied { .. }) => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "following the rules"),
        }
    }
    Ok(())
}
