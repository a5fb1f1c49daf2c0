//! Some of the partitions of a backtest, read by one thread in the order of their timestamps.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::core::time::MILLI_US;
use plimsoll::generate::file::{FileError, FileReader};
use plimsoll::kafka::{Connection, KafkaError, Stretch, TopicPartition};
use plimsoll::slo::backtest::Record;

use super::gate::{Gate, Wanted};
use crate::cli::Failure;

const STALL: Duration = Duration::from_secs(30);

pub enum Share {
    File(FileShare),
    Kafka(KafkaShare),
}

impl Share {
    pub fn partitions(&self) -> Vec<TopicPartition> {
        match self {
            Share::File(file) => file.partitions.iter().map(|(partition, ..)| partition.clone()).collect(),
            Share::Kafka(kafka) => kafka.parts.iter().map(|part| part.partition.clone()).collect(),
        }
    }

    /// Arrival of the first record, which stays the first.
    pub fn first_us(&mut self) -> Result<Option<i64>, Failure> {
        match self {
            Share::File(file) => Ok(file.peek()?.map(|head| head.arrival_us)),
            Share::Kafka(kafka) => kafka.first_us(),
        }
    }

    /// Gives each record that arrived before `end_us`, and when it did, to `take`. Within a partition they come in the
    /// order of the log. False when there are no more.
    pub fn before(&mut self, end_us: i64, take: impl FnMut(&Record<'_>, i64)) -> Result<bool, Failure> {
        match self {
            Share::File(file) => file.before(end_us, take),
            Share::Kafka(kafka) => kafka.before(end_us, take),
        }
    }
}

/// The lines of a file stand in the order of arrival; offsets follow from it.
pub struct FileShare {
    reader: FileReader,
    /// By topic and number, where the partition stands in `partitions`.
    places: BTreeMap<String, Vec<Option<usize>>>,
    /// With the offset of its next record.
    partitions: Vec<(TopicPartition, i64, Gate)>,
    head: Option<Head>,
    payload: Vec<u8>,
}

/// The line that was read last and is still to be given.
#[derive(Clone, Copy)]
struct Head {
    place: usize,
    timestamp_us: i64,
    arrival_us: i64,
}

impl FileShare {
    pub fn open(
        path: &Path,
        partitions: Vec<TopicPartition>,
        times_us: &Range<i64>,
    ) -> Result<FileShare, Failure> {
        let mut places: BTreeMap<String, Vec<Option<usize>>> = BTreeMap::new();
        for (place, partition) in partitions.iter().enumerate() {
            let of_topic = places.entry(partition.topic.to_string()).or_default();
            let number = usize::try_from(partition.partition).unwrap_or(0);
            of_topic.resize(of_topic.len().max(number + 1), None);
            of_topic[number] = Some(place);
        }
        let begin = |partition| (partition, 0, Gate::new(times_us.clone()));
        Ok(FileShare {
            reader: FileReader::open(path).map_err(unreadable)?,
            places,
            partitions: partitions.into_iter().map(begin).collect(),
            head: None,
            payload: Vec::new(),
        })
    }

    fn before(&mut self, end_us: i64, mut take: impl FnMut(&Record<'_>, i64)) -> Result<bool, Failure> {
        while let Some(Head { place, timestamp_us, arrival_us }) = self.peek()? {
            if arrival_us >= end_us {
                return Ok(true);
            }
            let (partition, next, _) = &mut self.partitions[place];
            let TopicPartition { topic, partition } = partition;
            let (partition, payload) = (*partition, Some(self.payload.as_slice()));
            take(&Record { topic, partition, offset: *next, timestamp_us, payload }, arrival_us);
            *next += 1;
            self.head = None;
        }
        Ok(false)
    }

    fn peek(&mut self) -> Result<Option<Head>, Failure> {
        while self.head.is_none() {
            let Some(line) = self.reader.next_line().map_err(unreadable)? else { return Ok(None) };
            let place = self.places.get(&*line.topic).and_then(|places| places.get(line.partition as usize));
            let Some(place) = place.copied().flatten() else { continue };
            let timestamp_us = line.timestamp_ms.saturating_mul(MILLI_US);
            let Wanted::At(arrival_us) = self.partitions[place].2.ask(Some(timestamp_us)) else { continue };
            if let Err(detail) = line.payload_into(&mut self.payload) {
                return Err(unreadable(self.reader.wrong(detail)));
            }
            self.head = Some(Head { place, timestamp_us, arrival_us });
        }
        Ok(self.head)
    }
}

pub struct KafkaShare {
    parts: Vec<Part>,
}

struct Part {
    partition: TopicPartition,
    gate: Gate,
    /// None: it was read to its end.
    stretch: Option<Stretch>,
}

impl KafkaShare {
    pub fn open(
        connection: &Connection,
        wanted: &[(TopicPartition, Range<i64>)],
        times_us: &Range<i64>,
    ) -> Result<KafkaShare, KafkaError> {
        let stretches = Stretch::open_all(connection, wanted)?;
        let part = |((partition, _), stretch): (&(TopicPartition, Range<i64>), Stretch)| Part {
            partition: partition.clone(),
            gate: Gate::new(times_us.clone()),
            stretch: Some(stretch),
        };
        Ok(KafkaShare { parts: wanted.iter().zip(stretches).map(part).collect() })
    }

    fn first_us(&mut self) -> Result<Option<i64>, Failure> {
        let mut first_us: Option<i64> = None;
        for part in &mut self.parts {
            // Nothing arrived before the beginning of time: this only looks.
            let mut arrival_us = None;
            part.before(i64::MIN, &mut |_, _| {}, &mut arrival_us)?;
            first_us = [first_us, arrival_us].into_iter().flatten().min();
        }
        Ok(first_us)
    }

    fn before(&mut self, end_us: i64, mut take: impl FnMut(&Record<'_>, i64)) -> Result<bool, Failure> {
        let mut more = false;
        for part in &mut self.parts {
            part.before(end_us, &mut take, &mut None)?;
            more |= part.stretch.is_some();
        }
        Ok(more)
    }
}

impl Part {
    /// `due_us`: when the first record arrived that is left.
    fn before(
        &mut self,
        end_us: i64,
        take: &mut impl FnMut(&Record<'_>, i64),
        due_us: &mut Option<i64>,
    ) -> Result<(), KafkaError> {
        let Part { partition, gate, stretch: open } = self;
        while let Some(stretch) = open {
            let Some(record) = stretch.peek(STALL)? else {
                *open = None;
                break;
            };
            match gate.ask(record.timestamp_ms.map(|ms| ms.saturating_mul(MILLI_US))) {
                Wanted::No => {}
                Wanted::Never => {
                    *open = None;
                    break;
                }
                Wanted::At(arrival_us) if arrival_us >= end_us => {
                    *due_us = Some(arrival_us);
                    break;
                }
                Wanted::At(arrival_us) => {
                    let record = Record {
                        topic: &partition.topic,
                        partition: partition.partition,
                        offset: record.offset,
                        timestamp_us: record
                            .timestamp_ms
                            .map_or(arrival_us, |ms| ms.saturating_mul(MILLI_US)),
                        payload: record.payload,
                    };
                    take(&record, arrival_us);
                }
            }
            stretch.pass();
        }
        Ok(())
    }
}

pub fn unreadable(error: FileError) -> Failure {
    Failure::usage(format_args!("--input: {error}"))
}

/// Deals `parts` out to `count` hands at most, so that each has about as many records to read.
pub fn deal<T>(mut parts: Vec<(T, u64)>, count: usize) -> Vec<Vec<T>> {
    parts.sort_by_key(|(_, records)| std::cmp::Reverse(*records));
    let mut hands: Vec<(u64, Vec<T>)> =
        (0..count.clamp(1, parts.len().max(1))).map(|_| (0, Vec::new())).collect();
    for (part, records) in parts {
        // A partition costs something even when it is empty.
        if let Some((held, hand)) = hands.iter_mut().min_by_key(|(held, _)| *held) {
            *held += records + 1;
            hand.push(part);
        }
    }
    hands.into_iter().map(|(_, hand)| hand).collect()
}

/// The name of a partition of a topic.
pub fn named(topic: &str, partitions: usize) -> impl Iterator<Item = TopicPartition> {
    let topic: Arc<str> = topic.into();
    // A broker has far fewer partitions than 2^31.
    (0..partitions as i32).map(move |partition| TopicPartition::new(topic.clone(), partition))
}
