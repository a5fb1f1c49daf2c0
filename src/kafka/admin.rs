//! Questions about topics and offsets, asked on a client of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{IsError, KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::admin_ffi::{self, AdminFailure, Handle};
use super::connection::LogContext;
use super::error::{failed, failed_with, is_passing};
use super::{Connection, KafkaError, TopicPartition};

/// A topic as the broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    /// Base64 of the topic's UUID: changes when a topic is deleted and created again. Empty where the broker gives
    /// none (the in-process demo broker).
    pub id: String,
    /// 0 when it does not exist.
    pub partitions: u32,
    pub exists: bool,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: u32,
    pub replication_factor: u16,
    pub config: BTreeMap<String, String>,
}

/// Which end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOf {
    /// The oldest offset the broker still has.
    Earliest,
    /// What read_committed readers can reach: the last stable offset.
    LatestCommitted,
    /// The end of the log, open transactions and all.
    LatestUncommitted,
}

/// New topics are there when so many answers in a row know them.
const SEEN: u32 = 10;
/// Pause before a question is asked again, and the least time an answer gets.
const AGAIN: Duration = Duration::from_millis(20);
const SHORTEST_ASK: Duration = Duration::from_millis(100);

/// An administrative client. It has no group and no partitions, so its questions never wait behind a fetch.
///
/// Its methods block and, like all of this module, must not be called from an async task.
pub struct Admin {
    client: AdminClient<LogContext>,
    brokers: String,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    pub fn open(connection: &Connection) -> Result<Admin, KafkaError> {
        let client = connection.client(&[("retry.backoff.ms", "20")], &[], LogContext::default())?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                KafkaError::Failed {
                    action: "starting the admin client".to_owned(),
                    reason: error.to_string(),
                }
            })?;
        Ok(Admin { client, brokers: connection.brokers().to_owned(), runtime })
    }

    /// One entry for each name, in the same order; a missing topic has `exists == false`.
    pub fn describe(&self, topics: &[&str], timeout: Duration) -> Result<Vec<TopicInfo>, KafkaError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        if self.is_mock(timeout) {
            return self.describe_by_metadata(topics, timeout);
        }
        let described = admin_ffi::describe_topics(Handle::of(self.client.inner()), topics, timeout)
            .map_err(|failure| self.failure("describing topics", timeout, failure))?;
        topics
            .iter()
            .map(|name| {
                let missing =
                    TopicInfo { name: (*name).to_owned(), id: String::new(), partitions: 0, exists: false };
                let Some(found) = described.iter().find(|found| found.name == *name) else {
                    return Ok(missing);
                };
                match found.error {
                    Code::NoError => Ok(TopicInfo {
                        id: found.id.clone(),
                        partitions: u32::try_from(found.partitions).unwrap_or(u32::MAX),
                        exists: true,
                        ..missing
                    }),
                    Code::UnknownTopicOrPartition | Code::UnknownTopic => Ok(missing),
                    code => Err(failed_with(&format!("describing topic `{name}`"), code)),
                }
            })
            .collect()
    }

    /// librdkafka's in-process broker answers neither DescribeTopics nor CreateTopics nor DescribeConfigs; its cluster
    /// id tells.
    fn is_mock(&self, timeout: Duration) -> bool {
        self.client.inner().fetch_cluster_id(timeout).is_some_and(|id| id.starts_with("mockCluster"))
    }

    fn describe_by_metadata(&self, topics: &[&str], timeout: Duration) -> Result<Vec<TopicInfo>, KafkaError> {
        // All topics: asking for one by name would create it there.
        let metadata =
            self.client.inner().fetch_metadata(None, timeout).map_err(failed("describing topics"))?;
        Ok(topics
            .iter()
            .map(|name| {
                let found = metadata.topics().iter().find(|topic| topic.name() == *name);
                let partitions = found.map_or(0, |topic| topic.partitions().len());
                TopicInfo {
                    name: (*name).to_owned(),
                    id: String::new(),
                    partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
                    exists: partitions > 0,
                }
            })
            .collect())
    }

    /// Creates what is missing and waits until it can be described; existing topics are left as they are.
    /// Returns the names it created.
    pub fn create(&self, specs: &[TopicSpec], timeout: Duration) -> Result<Vec<String>, KafkaError> {
        let deadline = Instant::now() + timeout;
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let known = self.describe(&names, timeout)?;
        let missing: Vec<&TopicSpec> =
            specs.iter().zip(&known).filter(|(_, info)| !info.exists).map(|(spec, _)| spec).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let topics: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|spec| {
                let replicas = TopicReplication::Fixed(i32::from(spec.replication_factor));
                let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
                let topic = NewTopic::new(&spec.name, partitions, replicas);
                spec.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
            })
            .collect();
        let results = self
            .runtime
            .block_on(self.client.create_topics(&topics, &options(timeout)))
            .map_err(failed("creating topics"))?;
        let mut created = Vec::new();
        for result in results {
            match result {
                Ok(name) => created.push(name),
                Err((_, Code::TopicAlreadyExists)) => {} // somebody was quicker
                Err((name, code)) => return Err(failed_with(&format!("creating topic `{name}`"), code)),
            }
        }
        // The controller knows them at once, each broker a little later, and any broker may answer.
        let mut seen = 0;
        while seen < SEEN {
            let lacks = self.describe(&names, timeout)?.iter().any(|info| !info.exists);
            seen = if lacks { 0 } else { seen + 1 };
            if Instant::now() >= deadline {
                return Err(KafkaError::TimedOut { action: "creating topics".to_owned(), waited: timeout });
            }
            std::thread::sleep(AGAIN);
        }
        Ok(created)
    }

    /// The configuration of each topic (`cleanup.policy`, `retention.ms`, ...), in the same order; empty where the broker
    /// gives none (the in-process demo broker).
    pub fn config(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<BTreeMap<String, String>>, KafkaError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        if self.is_mock(timeout) {
            return Ok(vec![BTreeMap::new(); topics.len()]);
        }
        let resources: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let results = self
            .runtime
            .block_on(self.client.describe_configs(&resources, &options(timeout)))
            .map_err(|error| match error {
                ClientError::AdminOp(code) => unanswered("reading topic configurations", code, timeout),
                error => failed("reading topic configurations")(error),
            })?;
        topics
            .iter()
            .zip(results)
            .map(|(name, result)| match result {
                Ok(resource) => Ok(resource
                    .entries
                    .into_iter()
                    .filter_map(|entry| entry.value.map(|value| (entry.name, value)))
                    .collect()),
                Err(code) => {
                    Err(unanswered(&format!("reading the configuration of `{name}`"), code, timeout))
                }
            })
            .collect()
    }

    /// One request for all partitions; the answer is in the same order.
    pub fn offsets(
        &self,
        partitions: &[TopicPartition],
        end: EndOf,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>, KafkaError> {
        let (at, read_committed) = match end {
            EndOf::Earliest => (Offset::Beginning, true),
            EndOf::LatestCommitted => (Offset::End, true),
            EndOf::LatestUncommitted => (Offset::End, false),
        };
        self.list_offsets(partitions, at, read_committed, timeout)
    }

    /// The first offset of each partition whose record is not older than `timestamp_ms` (since 1970); None where all
    /// are. One request for all partitions; the answer is in the same order.
    pub fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        timestamp_ms: i64,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, Option<i64>)>, KafkaError> {
        // Negative numbers ask for something else.
        let at = Offset::Offset(timestamp_ms.max(0));
        let found = self.list_offsets(partitions, at, true, timeout)?;
        Ok(found.into_iter().map(|(partition, at)| (partition, (at >= 0).then_some(at))).collect())
    }

    fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        at: Offset,
        read_committed: bool,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>, KafkaError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition_offset(&partition.topic, partition.partition, at)
                .map_err(failed("listing offsets"))?;
        }
        let handle = Handle::of(self.client.inner());
        let deadline = Instant::now() + timeout;
        let found = loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(SHORTEST_ASK);
            let found = admin_ffi::list_offsets(handle, &list, read_committed, left)
                .map_err(|failure| self.failure(&listing_offsets(partitions), timeout, failure))?;
            // A topic just created, or a leader that moves: the broker knows better in a moment.
            let passing =
                |found: &&admin_ffi::Element| found.error.is_error() && is_passing(found.error.into());
            let moved: BTreeSet<&str> =
                found.iter().filter(passing).map(|found| found.topic.as_str()).collect();
            if moved.is_empty() || Instant::now() >= deadline {
                break found;
            }
            // The client keeps asking the leader it knows, under an epoch long over, until it is told to look.
            for topic in moved {
                // An error means that the next round asks in vain as well.
                let _ = self.client.inner().fetch_metadata(Some(topic), left);
            }
            std::thread::sleep(AGAIN);
        };
        partitions
            .iter()
            .map(|partition| {
                let action = || format!("listing the offsets of {partition}");
                let element = found
                    .iter()
                    .find(|found| found.partition == partition.partition && found.topic == *partition.topic)
                    .ok_or_else(|| failed_with(&action(), Code::UnknownPartition))?;
                match element.error.is_error().then(|| element.error.into()) {
                    None => Ok((partition.clone(), element.offset)),
                    Some(code) => Err(unanswered(&action(), code, timeout)),
                }
            })
            .collect()
    }

    /// Drops the records before these offsets (Plimsoll itself never does; operators and tests do).
    pub fn delete_records(
        &self,
        before: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(before.len());
        for (partition, offset) in before {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
                .map_err(failed("deleting records"))?;
        }
        let result = self
            .runtime
            .block_on(self.client.delete_records(&list, &options(timeout)))
            .map_err(failed("deleting records"))?;
        match admin_ffi::elements(&result).iter().find(|element| element.error.is_error()) {
            None => Ok(()),
            Some(element) => {
                let action = format!("deleting records of {}[{}]", element.topic, element.partition);
                Err(failed_with(&action, element.error.into()))
            }
        }
    }

    fn failure(&self, action: &str, waited: Duration, (code, reason): AdminFailure) -> KafkaError {
        match is_passing(code) {
            true => KafkaError::Unreachable {
                brokers: self.brokers.clone(),
                waited,
                reason: format!("{action}: {reason}"),
            },
            false => failed_with(action, code),
        }
    }
}

/// Transient where it passes: who can wait longer may ask again.
fn unanswered(action: &str, code: Code, waited: Duration) -> KafkaError {
    match is_passing(code) {
        true => KafkaError::TimedOut { action: format!("{action} ({code})"), waited },
        false => failed_with(action, code),
    }
}

/// ListOffsets fails as a whole for one missing topic and does not say which.
fn listing_offsets(partitions: &[TopicPartition]) -> String {
    let topics: BTreeSet<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
    format!("listing the offsets of {}", Vec::from_iter(topics).join(", "))
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}
