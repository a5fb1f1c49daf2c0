//! Records of the past, from a file or from Kafka, in the order of their timestamps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plimsoll::config::settings::KafkaSettings;
use plimsoll::core::time::{MILLI_US, SECOND_US, rfc3339, second_of};
use plimsoll::generate::file::{FileError, read_file};
use plimsoll::kafka::{Admin, Connection, EndOf, Stretch, StretchRecord, TopicPartition};
use plimsoll::slo::backtest::{Record, Starts};

use crate::cli::Failure;

const ASK: Duration = Duration::from_secs(30);
const STALL: Duration = Duration::from_secs(30);

/// What the rules read.
pub struct Wanted {
    /// Topics; true for those that may be missing.
    pub topics: BTreeMap<String, bool>,
    /// Seconds before the first that counts.
    pub warm_up_s: i64,
    /// And after the last, until all that happened before it is final.
    pub held_s: i64,
}

pub struct Records {
    /// No earlier record is read.
    pub begin_s: i64,
    /// The first and the last second that count.
    pub span_s: (i64, i64),
    pub starts: Starts,
    /// Records there are, about.
    pub expected: u64,
    from: From,
}

enum From {
    File { path: PathBuf },
    Kafka { connection: Connection, stretches: Vec<(TopicPartition, i64, i64)> },
}

impl Records {
    /// Looks through the file once, for its times and partitions.
    pub fn of_file(
        path: &Path,
        wanted: &Wanted,
        (from_s, to_s): (Option<i64>, Option<i64>),
    ) -> Result<Records, Failure> {
        // A topic without records is one that has fallen silent.
        let mut starts: Starts = wanted.topics.keys().map(|topic| (topic.clone(), vec![0])).collect();
        let (mut expected, mut first_ms, mut last_ms) = (0, None, i64::MIN);
        for record in read_file(path).map_err(unreadable)? {
            let record = record.map_err(unreadable)?;
            let Some(partitions) = starts.get_mut(&record.topic) else { continue };
            partitions.resize(partitions.len().max(record.partition as usize + 1), 0);
            first_ms.get_or_insert(record.timestamp_ms);
            last_ms = last_ms.max(record.timestamp_ms);
            expected += 1;
        }
        let Some(first_ms) = first_ms else {
            let read = wanted.topics.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(format_args!(
                "{}: no record of the topics that the rules read: {read}",
                path.display()
            )));
        };
        let first_s = second_of(first_ms * MILLI_US);
        let last_s = second_of(last_ms * MILLI_US) + 1;
        let span_s = (from_s.unwrap_or(first_s), to_s.unwrap_or(last_s));
        if span_s.1 <= span_s.0 {
            return Err(Failure::usage(format_args!(
                "{}: its records are of {} to {}, which --from and --to leave out",
                path.display(),
                rfc3339(first_s * SECOND_US),
                rfc3339(last_s * SECOND_US)
            )));
        }
        let begin_s = from_s.map_or(first_s, |from_s| from_s - wanted.warm_up_s);
        Ok(Records { begin_s, span_s, starts, expected, from: From::File { path: path.to_owned() } })
    }

    /// Asks the broker where the time begins and ends in each partition.
    pub fn of_kafka(
        settings: &KafkaSettings,
        wanted: &Wanted,
        (from_s, to_s): (i64, i64),
    ) -> Result<Records, Failure> {
        let connection = Connection::new(settings);
        connection.check(settings.connect_timeout)?;
        let admin = Admin::open(&connection)?;
        let partitions = partitions(&admin, &wanted.topics)?;
        let begin_s = from_s - wanted.warm_up_s;
        let last_s = to_s + wanted.held_s;
        let ends = admin.offsets(&partitions, EndOf::LatestCommitted, ASK)?;
        let from = admin.offsets_at(&partitions, begin_s * 1_000, ASK)?;
        let to = admin.offsets_at(&partitions, last_s * 1_000, ASK)?;
        let (mut starts, mut stretches) = (Starts::new(), Vec::new());
        for (((partition, end), (_, from)), (_, to)) in ends.into_iter().zip(from).zip(to) {
            let to = to.unwrap_or(end);
            let from = from.unwrap_or(end).min(to);
            starts.entry(partition.topic.to_string()).or_default().push(from);
            stretches.push((partition, from, to));
        }
        let expected = stretches.iter().map(|(_, from, to)| u64::try_from(to - from).unwrap_or(0)).sum();
        let from = From::Kafka { connection, stretches };
        Ok(Records { begin_s, span_s: (from_s, to_s), starts, expected, from })
    }

    /// Gives each record before `until_us` to `take`.
    pub fn each(
        self,
        until_us: i64,
        take: impl FnMut(&Record<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let times_us = self.begin_s * SECOND_US..until_us;
        match self.from {
            From::File { path } => each_of_file(&path, self.starts, times_us, take),
            From::Kafka { connection, stretches } => each_of_kafka(&connection, stretches, times_us, take),
        }
    }
}

/// All partitions of the topics, in the order of their numbers.
fn partitions(admin: &Admin, topics: &BTreeMap<String, bool>) -> Result<Vec<TopicPartition>, Failure> {
    let names: Vec<&str> = topics.keys().map(String::as_str).collect();
    let infos = admin.describe(&names, ASK)?;
    let missing: Vec<&str> = infos
        .iter()
        .filter(|info| !info.exists && topics.get(&info.name) == Some(&false))
        .map(|info| info.name.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(Failure::usage(format_args!(
            "missing on the broker: {}\n  help: see --brokers; a source that may be missing says `optional: true`",
            missing.join(", ")
        )));
    }
    let of = |name: &str, count: u32| {
        let name: Arc<str> = name.into();
        // A broker has far fewer partitions than 2^31.
        (0..count as i32).map(move |partition| TopicPartition::new(name.clone(), partition))
    };
    Ok(infos.iter().flat_map(|info| of(&info.name, info.partitions)).collect())
}

/// The lines stand in the order of arrival; offsets follow from it.
fn each_of_file(
    path: &Path,
    mut offsets: Starts,
    times_us: Range<i64>,
    mut take: impl FnMut(&Record<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for record in read_file(path).map_err(unreadable)? {
        let record = record.map_err(unreadable)?;
        let timestamp_us = record.timestamp_ms * MILLI_US;
        let of_topic = offsets.get_mut(&record.topic);
        let Some(next) = of_topic.and_then(|offsets| offsets.get_mut(record.partition as usize)) else {
            continue;
        };
        if !times_us.contains(&timestamp_us) {
            continue;
        }
        take(&Record {
            topic: &record.topic,
            partition: record.partition as i32,
            offset: *next,
            timestamp_us,
            payload: Some(&record.payload),
        })?;
        *next += 1;
    }
    Ok(())
}

/// Merges the partitions, so that they come as they arrived and no watermark runs ahead.
fn each_of_kafka(
    connection: &Connection,
    stretches: Vec<(TopicPartition, i64, i64)>,
    times_us: Range<i64>,
    mut take: impl FnMut(&Record<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let open = |(partition, from, to): (TopicPartition, i64, i64)| {
        Ok((partition.clone(), Stretch::open(connection, partition, from, to)?))
    };
    let mut stretches = stretches.into_iter().map(open).collect::<Result<Vec<_>, Failure>>()?;
    let mut heads: Vec<Option<StretchRecord>> = Vec::new();
    let mut due = BinaryHeap::new();
    for (at, (_, stretch)) in stretches.iter_mut().enumerate() {
        let head = stretch.next_record(STALL)?;
        due.extend(head.as_ref().map(|head| Reverse((timestamp_us(head, times_us.start), at))));
        heads.push(head);
    }
    while let Some(Reverse((arrival_us, at))) = due.pop() {
        let (partition, stretch) = &mut stretches[at];
        let Some(head) = heads[at].take() else { continue };
        if arrival_us < times_us.end {
            take(&Record {
                topic: &partition.topic,
                partition: partition.partition,
                offset: head.offset,
                timestamp_us: timestamp_us(&head, arrival_us),
                payload: head.payload.as_deref(),
            })?;
        }
        heads[at] = stretch.next_record(STALL)?;
        due.extend(heads[at].as_ref().map(|head| Reverse((timestamp_us(head, arrival_us), at))));
    }
    Ok(())
}

/// A record without a timestamp is as old as the one before it.
fn timestamp_us(record: &StretchRecord, before_us: i64) -> i64 {
    record.timestamp_ms.map_or(before_us, |ms| ms.saturating_mul(MILLI_US))
}

fn unreadable(error: FileError) -> Failure {
    Failure::usage(format_args!("--input: {error}"))
}
