//! What everything is measured against: a consumer that drains one queue in batches and looks at nothing, in a process of
//! its own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll::kafka::{
    Admin, Assignor, Connection, EndOf, GroupReader, ReaderEvent, ReaderOptions, Start, TopicPartition,
};

use super::{children_s, peak_kib, pin};

const ASK: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);
/// The consumer is at its best: it is quicker with a larger queue than the one that is enough for a replica.
const QUEUE: [(&str, &str); 3] = [
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.max.bytes", "16777216"),
    ("fetch.message.max.bytes", "1048576"),
];
/// Brokers, for the process that is the consumer.
const READ: &str = "PLIMSOLL_BENCH_READ";

/// What it took to read all there is.
pub struct RawRun {
    pub cpu_s: f64,
    /// From the first record to the last.
    pub took_s: f64,
    pub peak_kib: u64,
}

/// Where this process was started to be the consumer: reads, and is true.
pub fn is_consumer(topics: &[&str]) -> bool {
    let brokers = std::env::var(READ);
    if let Ok(brokers) = &brokers {
        let mut connection = Connection::to_brokers(brokers);
        for (name, value) in QUEUE {
            connection = connection.with_property(name, value);
        }
        println!("{}", read_all(&connection, topics).as_secs_f64());
    }
    brokers.is_ok()
}

/// Starts this program once more, as the consumer, on the second core.
pub fn run(brokers: &str, cores: usize) -> RawRun {
    let before_s = children_s();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let mut child = child.env(READ, brokers).stdout(Stdio::piped()).spawn().unwrap();
    pin(child.id(), 1, cores);
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(peak_kib(child.id()));
        std::thread::sleep(LOOK);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let took = String::from_utf8(output.stdout).unwrap();
    RawRun { cpu_s: children_s() - before_s, took_s: took.trim().parse().unwrap(), peak_kib: peak }
}

fn read_all(connection: &Connection, topics: &[&str]) -> Duration {
    let admin = Admin::open(connection).unwrap();
    let described = admin.describe(topics, ASK).unwrap();
    let all = described.iter().flat_map(|topic| {
        (0..topic.partitions as i32).map(|partition| TopicPartition::new(topic.name.as_str(), partition))
    });
    let all: Vec<TopicPartition> = all.collect();
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let ends = admin.offsets(&all, EndOf::LatestCommitted, ASK).unwrap();
    let mut left: i64 = ends.iter().map(|(_, end)| end).sum();
    let options = ReaderOptions {
        group: format!("bench-read-{}", std::process::id()),
        instance: None,
        client_id: "bench-read".into(),
        topics,
        assignor: Assignor::EagerRange,
        fetches_directly: false,
        gather: Duration::ZERO,
        session_timeout: Duration::from_secs(10),
    };
    let mut reader = GroupReader::open(connection, options).unwrap();
    let mut began = Instant::now();
    while left > 0 {
        while let Some(event) = reader.next_event().unwrap() {
            match event {
                ReaderEvent::Assigned(partitions) => {
                    let starts: Vec<_> =
                        partitions.into_iter().map(|partition| (partition, Start::At(0))).collect();
                    reader.assign(&starts).unwrap();
                    began = Instant::now();
                }
                event => panic!("{event:?}"),
            }
        }
        left -= reader.read(Duration::from_millis(50), 1_000, |_| {}).unwrap() as i64;
    }
    began.elapsed()
}
