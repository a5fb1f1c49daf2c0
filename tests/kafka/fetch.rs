//! What is fetched past librdkafka is what librdkafka reads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plimsoll::kafka::{
    Admin, Connection, GroupReader, ReaderEvent, Start, TopicPartition, TopicSpec, TransactionalWriter,
    WriterRecord,
};
use plimsoll::local::Jit;
use plimsoll::local::cluster::LocalCluster;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::support::{
    WAIT, Way, append, connect, create, fill, offsets, plain_producer, read_from, shared, unique,
};

type Headers = Vec<(String, Option<Vec<u8>>)>;
type Seen = (i32, i64, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, Headers);

/// Reads until a record's payload is `last`, never more than `max` records at once.
fn read_all(mut reader: GroupReader, max: usize, last: &[u8]) -> Vec<Seen> {
    let (mut seen, deadline) = (Vec::new(), Instant::now() + WAIT);
    let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    loop {
        assert!(Instant::now() < deadline, "{} records and not the last", seen.len());
        assert_eq!(reader.next_event().unwrap(), None);
        let before = seen.len();
        reader
            .read(Duration::from_millis(20), max, |record| {
                let headers = record.headers().map(|(name, value)| (name.to_owned(), bytes(value))).collect();
                let (key, payload) = (bytes(record.key), bytes(record.payload));
                seen.push((record.partition, record.offset, record.timestamp_ms, key, payload, headers));
            })
            .unwrap();
        assert!(seen.len() - before <= max);
        if seen.iter().any(|record: &Seen| record.4.as_deref() == Some(last)) {
            return seen;
        }
    }
}

fn producer(connection: &Connection, compression: &str) -> ThreadedProducer<DefaultProducerContext> {
    ClientConfig::new()
        .set("bootstrap.servers", connection.brokers())
        .set("enable.idempotence", "true")
        .set("compression.type", compression)
        .set("linger.ms", "20")
        .set("batch.size", "65536")
        .create()
        .unwrap()
}

/// Keys, payloads and headers that are there, empty or missing, small and large.
fn write_some(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, at: i64) {
    let text = "payload ".repeat(usize::try_from(at % 90).unwrap());
    let key = format!("key {at}");
    let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0).timestamp(1_000 + at * 7);
    if at % 5 > 0 {
        record = record.payload(&text);
    }
    if at % 3 > 0 {
        record = record.key(&key);
    }
    if at % 4 > 0 {
        let empty = Header { key: "empty", value: None::<&str> };
        let headers = OwnedHeaders::new().insert(Header { key: "ce_type", value: Some(&key) }).insert(empty);
        record = record.headers(headers);
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

#[test]
fn whatever_the_compression_each_way_reads_the_same() {
    let (connection, _running) = connect();
    let mixed = create(&connection, "mixed", 1);
    let appended = TopicSpec {
        name: unique("appended"),
        partitions: 1,
        replication_factor: 1,
        config: BTreeMap::from([("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())]),
    };
    Admin::open(&connection).unwrap().create(std::slice::from_ref(&appended), WAIT).unwrap();
    for topic in [mixed, appended.name] {
        for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let producer = producer(&connection, compression);
            (0..1_500).for_each(|at| write_some(&producer, &topic, at));
            producer.flush(WAIT).unwrap();
        }
        let last = BaseRecord::to(&topic).partition(0).key("k").payload("last");
        let producer = plain_producer(&connection);
        producer.send(last).map_err(|(error, _)| error).unwrap();
        producer.flush(WAIT).unwrap();
        let queued = read_all(read_from(&connection, &topic, Way::Queued, Start::Beginning), 10_000, b"last");
        assert_eq!(queued.len(), 5 * 1_500 + 1);
        for (max, start) in [(7, Start::Beginning), (10_000, Start::At(0)), (100, Start::At(2_222))] {
            let direct = read_all(read_from(&connection, &topic, Way::Direct, start), max, b"last");
            let from = if let Start::At(offset) = start { offset as usize } else { 0 };
            assert!(direct == queued[from..], "{topic}, {max} at once from {start:?}");
        }
    }
}

#[test]
fn what_transactions_aborted_is_read_by_none() {
    let (connection, _running) = connect();
    let topic = create(&connection, "aborted", 1);
    let mut writers = ["one", "two", "three"]
        .map(|name| TransactionalWriter::open(&connection, &unique(&format!("abort-{name}"))).unwrap());
    let mut expected = Vec::new();
    // Transactions overlap, as those of several producers do; some hold nothing but what nobody is to read.
    for round in 0..30 {
        writers.iter_mut().for_each(|writer| writer.begin().unwrap());
        for at in 0..9 {
            let payload = format!("round {round}, {at}");
            let writer = (at + round) % 3;
            let record = WriterRecord {
                topic: &topic,
                partition: Some(0),
                payload: Some(payload.as_bytes()),
                ..WriterRecord::default()
            };
            writers[writer].send(record).unwrap();
            if (round + writer) % 3 == 0 {
                expected.push(payload);
            }
        }
        for (at, writer) in writers.iter_mut().enumerate() {
            match (round + at) % 3 {
                0 => writer.commit_records().unwrap(),
                _ => writer.abort().unwrap(),
            }
        }
    }
    fill(&connection, &topic, 1, 1);
    for way in Way::ALL {
        for max in [2, 1_000] {
            let seen = read_all(read_from(&connection, &topic, way, Start::Beginning), max, b"0/0");
            assert_eq!(seen.last().unwrap().4.as_deref(), Some(&b"0/0"[..]));
            let mut payloads: Vec<String> =
                seen.iter().map(|seen| String::from_utf8(seen.4.clone().unwrap()).unwrap()).collect();
            payloads.pop();
            // What one writer sent is in order; how the writers follow one another is not settled.
            payloads.sort();
            let mut sorted = expected.clone();
            sorted.sort();
            assert_eq!(payloads, sorted, "{way:?}, {max} at once");
            assert!(seen.windows(2).all(|two| two[0].1 < two[1].1));
        }
    }
}

/// An answer holds two megabytes, and these are twelve.
#[test]
fn no_partition_waits_until_the_others_are_read() {
    let (connection, _running) = connect();
    let topic = create(&connection, "fair", 12);
    let producer = producer(&connection, "none");
    let payload = "x".repeat(1_000);
    for at in 0..12_000 {
        let record: BaseRecord<'_, str, str> = BaseRecord::to(&topic).partition(at % 12).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let mut reader = read_from(&connection, &topic, Way::Direct, Start::Beginning);
    let (mut read, deadline) = ([0; 12], Instant::now() + WAIT);
    while read.iter().sum::<i32>() < 6_000 {
        assert!(Instant::now() < deadline, "{read:?}");
        assert_eq!(reader.next_event().unwrap(), None);
        let each = |record: plimsoll::kafka::Record<'_>| read[record.partition as usize] += 1;
        reader.read(Duration::from_millis(20), 100, each).unwrap();
    }
    assert!(read.iter().all(|count| *count >= 200), "{read:?}");
}

#[test]
fn what_is_paused_stands_still_and_goes_on_where_it_was() {
    let (connection, _running) = connect();
    let topic = create(&connection, "paused", 1);
    fill(&connection, &topic, 1, 10);
    let mut reader = read_from(&connection, &topic, Way::Direct, Start::Beginning);
    assert_eq!(offsets(&mut reader, 10), (0..10).collect::<Vec<_>>());
    let partition = [TopicPartition::new(topic.as_str(), 0)];
    reader.pause(&partition).unwrap();
    // The fetch under way may still bring something; the one after it does not.
    std::thread::sleep(Duration::from_millis(200));
    append(&plain_producer(&connection), &topic, 1, 10, 20);
    let mut early = Vec::new();
    for _ in 0..10 {
        reader.read(Duration::from_millis(20), 100, |record| early.push(record.offset)).unwrap();
    }
    assert!(early.is_empty(), "{early:?}");
    reader.resume(&partition).unwrap();
    assert_eq!(offsets(&mut reader, 10), (10..20).collect::<Vec<_>>());
}

#[test]
fn a_broker_that_starts_again_is_read_on() {
    let shared = shared();
    let (connection, guard) = connect();
    let topic = create(&connection, "again", 2);
    fill(&connection, &topic, 2, 1_000);
    drop(guard);
    let _alone = shared.running.write().unwrap_or_else(|error| error.into_inner());
    let mut reader = read_from(&connection, &topic, Way::Direct, Start::Beginning);
    let mut next = [0; 2];
    read_to(&mut reader, &mut next, [1_000; 2]);
    shared.broker.lock().unwrap().stop().unwrap();
    // Nobody answers: that is no error, and nobody waits for long.
    let started = Instant::now();
    reader.read(Duration::from_millis(20), 1, |_| panic!("of whom")).unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    shared.broker.lock().unwrap().restart().unwrap();
    append(&plain_producer(&connection), &topic, 2, 1_000, 2_000);
    read_to(&mut reader, &mut next, [2_000; 2]);
}

/// Reads each partition on from `next`, in order and without a gap. The group may be shared out anew meanwhile, for its
/// coordinator may be what is gone; then reading goes on where it was.
fn read_to<const N: usize>(reader: &mut GroupReader, next: &mut [i64; N], wanted: [i64; N]) {
    let deadline = Instant::now() + WAIT;
    while *next != wanted {
        assert!(Instant::now() < deadline, "{next:?} of {wanted:?}");
        match reader.next_event().unwrap() {
            Some(ReaderEvent::Revoked { partitions, .. }) => reader.unassign(&partitions).unwrap(),
            Some(ReaderEvent::Assigned(partitions)) => {
                let start = |p: TopicPartition| {
                    let at = Start::At(next[p.partition as usize]);
                    (p, at)
                };
                reader.assign(&partitions.into_iter().map(start).collect::<Vec<_>>()).unwrap();
            }
            Some(event) => panic!("{event:?}"),
            None => {}
        }
        let each = |record: plimsoll::kafka::Record<'_>| {
            let expected = &mut next[record.partition as usize];
            assert_eq!(record.offset, *expected);
            *expected += 1;
        };
        reader.read(Duration::from_millis(20), 700, each).unwrap();
    }
}

#[test]
fn the_next_leader_is_read_on() {
    let mut cluster = LocalCluster::start(3, Jit::Quick).unwrap();
    let connection = Connection::to_brokers(cluster.brokers());
    let spec =
        TopicSpec { name: "moving".into(), partitions: 1, replication_factor: 3, config: BTreeMap::new() };
    Admin::open(&connection).unwrap().create(&[spec], WAIT).unwrap();
    fill(&connection, "moving", 1, 5_000);
    let mut reader = read_from(&connection, "moving", Way::Direct, Start::Beginning);
    let mut next = [0];
    read_to(&mut reader, &mut next, [5_000]);
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", connection.brokers()).create().unwrap();
    let leader = || client.fetch_metadata(Some("moving"), WAIT).unwrap().topics()[0].partitions()[0].leader();
    let first = leader();
    cluster.stop(usize::try_from(first).unwrap() - 1).unwrap();
    append(&plain_producer(&connection), "moving", 1, 5_000, 6_000);
    assert_ne!(leader(), first);
    read_to(&mut reader, &mut next, [6_000]);
}

#[test]
fn a_mock_broker_is_read_directly_too() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("demo", 1, 1).unwrap();
    let connection = Connection::to_brokers(&cluster.bootstrap_servers());
    fill(&connection, "demo", 1, 3_000);
    let mut reader = read_from(&connection, "demo", Way::Direct, Start::Beginning);
    assert_eq!(offsets(&mut reader, 3_000), (0..3_000).collect::<Vec<_>>());
}
