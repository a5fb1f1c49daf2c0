//! Our partitions <-> librdkafka's lists of them.

use std::sync::Arc;

use rdkafka::error::{IsError, KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::error::failed;
use super::{Committed, KafkaError, Start, TopicPartition, admin_ffi};

pub(super) fn partition_list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let mut topics: Vec<Arc<str>> = Vec::new();
    let mut partitions = Vec::with_capacity(list.count());
    for element in list.elements() {
        let topic = match topics.iter().find(|topic| &***topic == element.topic()) {
            Some(topic) => topic.clone(),
            None => {
                topics.push(element.topic().into());
                topics[topics.len() - 1].clone()
            }
        };
        partitions.push(TopicPartition { topic, partition: element.partition() });
    }
    partitions
}

pub(super) fn start_list(starts: &[(TopicPartition, Start)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(starts.len());
    for (partition, start) in starts {
        add_start(&mut list, partition, *start)?;
    }
    Ok(list)
}

pub(super) fn add_start(
    list: &mut TopicPartitionList,
    partition: &TopicPartition,
    start: Start,
) -> Result<(), KafkaError> {
    let offset = match start {
        Start::Beginning => Offset::Beginning,
        Start::At(offset) => Offset::Offset(offset),
    };
    // Fails for a negative offset only.
    list.add_partition_offset(&partition.topic, partition.partition, offset)
        .map_err(failed(&format!("starting {partition} at {start:?}")))
}

/// The list of a commit; `metadata` goes along with each offset.
pub(super) fn commit_list(
    offsets: &[(TopicPartition, Committed)],
) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, committed) in offsets {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(committed.next))?;
        element.set_metadata(&committed.metadata);
    }
    Ok(list)
}

/// What the broker said about each of `partitions`, in their order, or the first error code.
pub(super) fn committed_of(
    partitions: &[TopicPartition],
    list: &TopicPartitionList,
) -> Result<Vec<(TopicPartition, Option<Committed>)>, Code> {
    let elements = admin_ffi::elements(list);
    let mut committed = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let element = elements
            .iter()
            .find(|element| element.partition == partition.partition && element.topic == *partition.topic)
            .ok_or(Code::UnknownPartition)?;
        if element.error.is_error() {
            return Err(element.error.into());
        }
        // Negative: the group has committed nothing for it.
        let value = (element.offset >= 0).then(|| Committed {
            next: element.offset,
            metadata: String::from_utf8_lossy(&element.metadata).into_owned(),
        });
        committed.push((partition.clone(), value));
    }
    Ok(committed)
}
