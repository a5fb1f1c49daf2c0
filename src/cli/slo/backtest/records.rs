//! Where the records of the past are: in a file or in Kafka.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll::config::settings::KafkaSettings;
use plimsoll::core::time::{MILLI_US, SECOND_US, second_of};
use plimsoll::generate::file::FileReader;
use plimsoll::kafka::{Admin, Connection, EndOf, TopicPartition};
use plimsoll::slo::backtest::Starts;

use super::share::{FileShare, KafkaShare, Share, deal, named, unreadable};
use crate::cli::Failure;

const ASK: Duration = Duration::from_secs(30);

/// Topics that the rules read; true for those that may be missing.
pub type Topics = BTreeMap<String, bool>;

pub enum Records {
    File(RecordFile),
    Kafka { connection: Connection, admin: Box<Admin>, partitions: Vec<TopicPartition> },
}

/// What looking through a file once has told.
pub struct RecordFile {
    path: PathBuf,
    /// Records in each partition.
    counts: BTreeMap<String, Vec<u64>>,
    /// The first second of its records and the last.
    pub first_s: i64,
    pub last_s: i64,
}

/// Records that are ready to be read.
pub struct Opened {
    pub shares: Vec<Share>,
    pub starts: Starts,
    /// Records there are, about.
    pub expected: u64,
}

impl Records {
    pub fn of_kafka(settings: &KafkaSettings, topics: &Topics) -> Result<Records, Failure> {
        let connection = Connection::new(settings);
        connection.check(settings.connect_timeout)?;
        let admin = Box::new(Admin::open(&connection)?);
        let partitions = partitions(&admin, topics)?;
        Ok(Records::Kafka { connection, admin, partitions })
    }

    /// Opens what arrived in `times_s` for `workers` threads at most.
    pub fn open(&self, times_s: Range<i64>, workers: usize) -> Result<Opened, Failure> {
        let times_us = times_s.start.saturating_mul(SECOND_US)..times_s.end.saturating_mul(SECOND_US);
        match self {
            Records::File(file) => file.open(&times_us, workers),
            Records::Kafka { connection, admin, partitions } => {
                let ends = admin.offsets(partitions, EndOf::LatestCommitted, ASK)?;
                let from = admin.offsets_at(partitions, times_s.start.saturating_mul(1_000), ASK)?;
                // Only to know about how many there are: see `Gate`.
                let to = admin.offsets_at(partitions, times_s.end.saturating_mul(1_000), ASK)?;
                let (mut starts, mut wanted) = (Starts::new(), Vec::new());
                for (((partition, end), (_, from)), (_, to)) in ends.into_iter().zip(from).zip(to) {
                    let from = from.map_or(end, |from| from.min(end));
                    let about = u64::try_from(to.unwrap_or(end) - from).unwrap_or(0);
                    starts.entry(partition.topic.to_string()).or_default().push(from);
                    wanted.push(((partition, from..end), about));
                }
                let expected = wanted.iter().map(|(_, about)| about).sum();
                let shares = deal(wanted, workers).into_iter();
                let open =
                    |wanted: Vec<_>| Ok(Share::Kafka(KafkaShare::open(connection, &wanted, &times_us)?));
                Ok(Opened { shares: shares.map(open).collect::<Result<_, Failure>>()?, starts, expected })
            }
        }
    }
}

impl RecordFile {
    /// Looks through the file once, for its times and partitions.
    pub fn look(path: &Path, topics: &Topics) -> Result<RecordFile, Failure> {
        // A topic without records is one that has fallen silent.
        let mut counts: BTreeMap<String, Vec<u64>> =
            topics.keys().map(|topic| (topic.clone(), vec![0])).collect();
        let (mut first_ms, mut last_ms) = (None, i64::MIN);
        let mut reader = FileReader::open(path).map_err(unreadable)?;
        while let Some(line) = reader.next_line().map_err(unreadable)? {
            let Some(of_topic) = counts.get_mut(&*line.topic) else { continue };
            let partition = line.partition as usize;
            of_topic.resize(of_topic.len().max(partition + 1), 0);
            of_topic[partition] += 1;
            first_ms.get_or_insert(line.timestamp_ms);
            last_ms = last_ms.max(line.timestamp_ms);
        }
        let Some(first_ms) = first_ms else {
            let read = topics.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(format_args!(
                "{}: no record of the topics that the rules read: {read}",
                path.display()
            )));
        };
        let (first_s, last_s) = (second_of(first_ms * MILLI_US), second_of(last_ms * MILLI_US) + 1);
        Ok(RecordFile { path: path.to_owned(), counts, first_s, last_s })
    }

    fn open(&self, times_us: &Range<i64>, workers: usize) -> Result<Opened, Failure> {
        let parts = self.counts.iter().flat_map(|(topic, counts)| {
            named(topic, counts.len()).zip(counts).map(|(partition, count)| (partition, *count))
        });
        let parts: Vec<(TopicPartition, u64)> = parts.collect();
        let expected = parts.iter().map(|(_, count)| count).sum();
        let open = |partitions| Ok(Share::File(FileShare::open(&self.path, partitions, times_us)?));
        let shares = deal(parts, workers).into_iter().map(open).collect::<Result<_, Failure>>()?;
        let starts = self.counts.iter().map(|(topic, counts)| (topic.clone(), vec![0; counts.len()]));
        Ok(Opened { shares, starts: starts.collect(), expected })
    }
}

/// All partitions of the topics, in the order of their numbers.
fn partitions(admin: &Admin, topics: &Topics) -> Result<Vec<TopicPartition>, Failure> {
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
    Ok(infos.iter().flat_map(|info| named(&info.name, info.partitions as usize)).collect())
}
