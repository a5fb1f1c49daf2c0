//! The shared broker, and what every test needs of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use plimsoll::kafka::{
    Admin, Assignor, Committed, Connection, GroupReader, ReaderEvent, ReaderOptions, Start, TopicPartition,
    TopicSpec,
};
use plimsoll::local::kafka::LocalKafka;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

pub const WAIT: Duration = Duration::from_secs(20);

/// A topic that no group reads.
const MARK: &str = "mark";

pub struct Shared {
    pub broker: Mutex<LocalKafka>,
    pub connection: Connection,
    /// Written by the test that stops the broker, read by all others.
    pub running: RwLock<()>,
}

pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let broker = LocalKafka::start().unwrap();
        let connection = Connection::to_brokers(broker.brokers());
        let mark = TopicSpec {
            name: MARK.to_owned(),
            partitions: 1,
            replication_factor: 1,
            config: BTreeMap::new(),
        };
        Admin::open(&connection).unwrap().create(&[mark], WAIT).unwrap();
        Shared { broker: Mutex::new(broker), connection, running: RwLock::new(()) }
    })
}

pub fn connect() -> (Connection, RwLockReadGuard<'static, ()>) {
    let shared = shared();
    (shared.connection.clone(), shared.running.read().unwrap_or_else(|error| error.into_inner()))
}

pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

pub fn create(connection: &Connection, name: &str, partitions: u32) -> String {
    let name = unique(name);
    let spec = TopicSpec { name: name.clone(), partitions, replication_factor: 1, config: BTreeMap::new() };
    let created = Admin::open(connection).unwrap().create(&[spec], WAIT).unwrap();
    assert_eq!(created, std::slice::from_ref(&name));
    name
}

/// A producer without transactions, so that offsets have no holes.
pub fn plain_producer(connection: &Connection) -> ThreadedProducer<DefaultProducerContext> {
    rdkafka::ClientConfig::new()
        .set("bootstrap.servers", connection.brokers())
        .set("enable.idempotence", "true")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .unwrap()
}

/// Writes the records `from..to` of each partition, whose payloads say so.
pub fn append(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partitions: i32,
    from: i64,
    to: i64,
) {
    for n in from..to {
        for partition in 0..partitions {
            let payload = format!("{partition}/{n}");
            let record =
                BaseRecord::to(topic).partition(partition).key(&[7u8]).payload(&payload).timestamp(n + 1);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(WAIT).unwrap();
}

pub fn fill(connection: &Connection, topic: &str, partitions: i32, each: i64) {
    append(&plain_producer(connection), topic, partitions, 0, each);
}

/// How a reader shares partitions and gets at its records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Direct,
    Queued,
    Cooperative,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Direct, Way::Queued, Way::Cooperative];
}

pub fn options(group: &str, topic: &str, way: Way) -> ReaderOptions {
    let assignor = match way {
        Way::Direct | Way::Queued => Assignor::EagerRange,
        Way::Cooperative => Assignor::CooperativeSticky,
    };
    ReaderOptions {
        group: group.to_owned(),
        instance: None,
        client_id: "test".to_owned(),
        topics: vec![topic.to_owned()],
        assignor,
        fetches_directly: way == Way::Direct,
        gather: Duration::ZERO,
        session_timeout: Duration::from_secs(6),
    }
}

pub fn mark() -> TopicPartition {
    TopicPartition::new(MARK, 0)
}

pub fn next_event(reader: &mut GroupReader) -> ReaderEvent {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(event) = reader.next_event().unwrap() {
            return event;
        }
        assert!(Instant::now() < deadline, "no event");
        reader.read(Duration::from_millis(5), 1, |record| panic!("{}", record.offset)).unwrap();
    }
}

/// Opens a reader and assigns everything it is given at `start`.
pub fn read_from(connection: &Connection, topic: &str, way: Way, start: Start) -> GroupReader {
    let mut reader = GroupReader::open(connection, options(&unique("group"), topic, way)).unwrap();
    let ReaderEvent::Assigned(partitions) = next_event(&mut reader) else { panic!("not assigned") };
    let starts: Vec<_> = partitions.into_iter().map(|partition| (partition, start)).collect();
    reader.assign(&starts).unwrap();
    reader
}

/// Reads `count` offsets of one-partition topics.
pub fn offsets(reader: &mut GroupReader, count: usize) -> Vec<i64> {
    let deadline = Instant::now() + WAIT;
    let mut offsets = Vec::new();
    while offsets.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records", offsets.len());
        assert_eq!(reader.next_event().unwrap(), None);
        let left = count - offsets.len();
        reader.read(Duration::from_millis(50), left, |record| offsets.push(record.offset)).unwrap();
    }
    offsets
}

pub fn at(next: i64, metadata: &str) -> Committed {
    Committed { next, metadata: metadata.to_owned() }
}

pub fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to that");
    }
}
