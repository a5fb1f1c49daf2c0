//! Several members, and a broker that stands still.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll::kafka::{
    CommitError, Committed, Connection, GroupReader, KafkaError, ReaderEvent, ReaderOptions, Start,
    TopicPartition, TransactionalWriter, WriterRecord, read_whole,
};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::{
    WAIT, Way, append, at, connect, create, fill, mark, next_event, options, plain_producer, shared, unique,
    until,
};

/// Reads `input` and writes, in transactions, which ranges it read to the one partition of `output`.
fn member(connection: &Connection, options: ReaderOptions, output: &str, stop: &AtomicBool) {
    let mut writer = TransactionalWriter::open(connection, &unique("member")).unwrap();
    let mut reader = GroupReader::open(connection, options).unwrap();
    let starts = |committed: Vec<(TopicPartition, Option<Committed>)>| -> Vec<(TopicPartition, Start)> {
        let start = |value: Option<Committed>| value.map_or(Start::Beginning, |value| Start::At(value.next));
        committed.into_iter().map(|(partition, value)| (partition, start(value))).collect()
    };
    let mut failed = false;
    while !stop.load(Ordering::Relaxed) {
        while let Some(event) = reader.next_event().unwrap() {
            match event {
                ReaderEvent::Assigned(partitions) => {
                    let committed = reader.committed(&partitions, WAIT).unwrap();
                    reader.assign(&starts(committed)).unwrap();
                }
                ReaderEvent::Revoked { partitions, .. } => reader.unassign(&partitions).unwrap(),
                ReaderEvent::OffsetLost { .. } => panic!("{event:?}"),
            }
        }
        if failed {
            match writer.prove_coordinator(&mark(), &reader.group_metadata().unwrap()) {
                Ok(()) => {}
                Err(CommitError::Aborted { .. }) => continue,
                Err(CommitError::Fenced { .. } | CommitError::Unavailable { .. }) => {
                    writer.recreate().unwrap();
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            let committed = reader.committed(&reader.assignment(), WAIT).unwrap();
            reader.reposition(&starts(committed)).unwrap();
            failed = false;
        }
        let mut ranges: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        reader
            .read(Duration::from_millis(20), 300, |record| {
                ranges.entry(record.partition).or_insert((record.offset, record.offset)).1 =
                    record.offset + 1;
            })
            .unwrap();
        if ranges.is_empty() {
            continue;
        }
        let topic: Arc<str> = reader.assignment()[0].topic.clone();
        let outcome = (|| {
            writer.begin()?;
            for (partition, (from, next)) in &ranges {
                let payload = format!("{partition} {from} {next}");
                let payload = Some(payload.as_bytes());
                writer.send(WriterRecord {
                    topic: output,
                    partition: Some(0),
                    payload,
                    ..WriterRecord::default()
                })?;
            }
            let next: Vec<_> = ranges
                .iter()
                .map(|(partition, range)| (TopicPartition::new(topic.clone(), *partition), at(range.1, "")))
                .collect();
            writer.commit(&next, &reader.group_metadata().unwrap())
        })();
        match outcome {
            Ok(()) => {}
            Err(CommitError::Aborted { reason }) => {
                eprintln!("aborted: {reason}");
                failed = true;
            }
            Err(CommitError::Fenced { .. } | CommitError::Unavailable { .. }) => {
                writer.recreate().unwrap();
                failed = true;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The next offset of each partition by the ranges in `output`, which must join up in the order of the log.
fn committed_ranges(connection: &Connection, output: &str, partitions: usize) -> Vec<i64> {
    let mut next = vec![0i64; partitions];
    read_whole(connection, output, 0, WAIT, |offset, _, value| {
        let text = std::str::from_utf8(value.unwrap()).unwrap();
        let numbers: Vec<i64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        let expected = &mut next[numbers[0] as usize];
        assert_eq!(numbers[1], *expected, "partition {} at {offset}", numbers[0]);
        *expected = numbers[2];
    })
    .unwrap();
    next
}

/// Stops members when a test ends, also by a panic: nobody else would, and their threads are waited for.
struct StopAtEnd<'a>(&'a [AtomicBool]);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
    }
}

fn members_come_and_go(way: Way) {
    let (connection, _running) = connect();
    let (input, output) = (create(&connection, "input", 6), create(&connection, "output", 1));
    let group = unique("group");
    let stops = [(); 3].map(|()| AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stops);
        let start = |stop| {
            let (connection, options, output) = (&connection, options(&group, &input, way), &output);
            scope.spawn(move || member(connection, options, output, stop))
        };
        let load = scope.spawn(|| {
            let producer = plain_producer(&connection);
            for n in 0..100 {
                append(&producer, &input, 6, n * 20, (n + 1) * 20);
                thread::sleep(Duration::from_millis(40));
            }
        });
        let first = start(&stops[0]);
        thread::sleep(Duration::from_millis(1_000));
        let _second = start(&stops[1]);
        thread::sleep(Duration::from_millis(1_500));
        stops[0].store(true, Ordering::Relaxed);
        first.join().unwrap();
        let _third = start(&stops[2]);
        load.join().unwrap();
        until(|| committed_ranges(&connection, &output, 6) == [2_000; 6]);
    });
}

#[test]
fn members_come_and_go_eagerly_without_gap_or_overlap() {
    members_come_and_go(Way::Direct);
}

#[test]
fn members_come_and_go_through_the_queue_without_gap_or_overlap() {
    members_come_and_go(Way::Queued);
}

#[test]
fn members_come_and_go_cooperatively_without_gap_or_overlap() {
    members_come_and_go(Way::Cooperative);
}

#[test]
fn a_broker_that_stands_still_for_two_seconds_costs_nothing() {
    stands_still(Way::Direct);
    stands_still(Way::Cooperative);
}

fn stands_still(way: Way) {
    let shared = shared();
    let (connection, guard) = connect();
    let (input, output) = (create(&connection, "input", 2), create(&connection, "output", 1));
    fill(&connection, &input, 2, 20_000);
    drop(guard);
    let stop = [AtomicBool::new(false)];
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let _alone = shared.running.write().unwrap_or_else(|error| error.into_inner());
        let options = options(&unique("group"), &input, way);
        scope.spawn(|| member(&connection, options, &output, &stop[0]));
        // In the middle of the work, whatever the member does just then.
        until(|| committed_ranges(&connection, &output, 2).iter().sum::<i64>() > 0);
        shared.broker.lock().unwrap().pause().unwrap();
        thread::sleep(Duration::from_secs(2));
        shared.broker.lock().unwrap().resume().unwrap();
        until(|| committed_ranges(&connection, &output, 2) == [20_000; 2]);
    });
}

/// Who does not look for its events for so long has left.
fn impatient(connection: &Connection) -> Connection {
    connection.clone().with_property("max.poll.interval.ms", "6000")
}

fn take_all(reader: &mut GroupReader) -> Vec<TopicPartition> {
    let ReaderEvent::Assigned(partitions) = next_event(reader) else { panic!() };
    let starts: Vec<_> = partitions.iter().map(|p| (p.clone(), Start::Beginning)).collect();
    reader.assign(&starts).unwrap();
    partitions
}

/// Whether the group has given its partitions to its members.
fn is_settled(connection: &Connection, group: &str) -> bool {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", connection.brokers()).create().unwrap();
    // While its coordinator loads there is no answer.
    let Ok(groups) = client.fetch_group_list(Some(group), WAIT) else { return false };
    groups.groups().iter().any(|group| group.state() == "Stable")
}

#[test]
fn who_closes_before_it_looked_at_what_it_was_given_does_not_wait_for_ever() {
    let (connection, _running) = connect();
    let topic = create(&connection, "input", 4);
    for way in Way::ALL {
        let group = unique("group");
        let mut options = options(&group, &topic, way);
        options.instance = Some("one".to_owned());
        let reader = GroupReader::open(&connection, options.clone()).unwrap();
        until(|| is_settled(&connection, &group));
        let (closed, told) = mpsc::channel();
        thread::spawn(move || {
            reader.close();
            closed.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(5)).unwrap();
        // Nor is the name lost, nor what it stands for.
        let mut reader = GroupReader::open(&connection, options).unwrap();
        assert_eq!(take_all(&mut reader).len(), 4);
    }
}

#[test]
fn who_was_left_out_of_the_group_is_not_told_where_it_stands() {
    let (connection, _running) = connect();
    let topic = create(&connection, "input", 2);
    let group = unique("group");
    let open = |connection| GroupReader::open(connection, options(&group, &topic, Way::Direct)).unwrap();
    let slow = impatient(&connection);
    let mut one = open(&slow);
    let partitions = take_all(&mut one);
    let mut writer = TransactionalWriter::open(&connection, &unique("writer")).unwrap();
    writer.prove_coordinator(&mark(), &one.group_metadata().unwrap()).unwrap();
    let mark = [mark()];
    let nothing = vec![(mark[0].clone(), None)];
    assert_eq!(one.committed(&mark, WAIT).unwrap(), nothing, "the mark itself is not committed");

    let mut two = open(&connection);
    assert_eq!(take_all(&mut two), partitions, "the other one has left");
    let error = writer.prove_coordinator(&mark[0], &one.group_metadata().unwrap()).unwrap_err();
    assert!(matches!(error, CommitError::Aborted { .. }), "{error:?}");
    // The writer goes on, for whoever is a member.
    writer.prove_coordinator(&mark[0], &two.group_metadata().unwrap()).unwrap();
}

#[test]
fn who_comes_back_under_its_own_name_is_not_its_own_twin() {
    let (connection, _running) = connect();
    let topic = create(&connection, "input", 2);
    let mut options = options(&unique("group"), &topic, Way::Direct);
    options.instance = Some("one".to_owned());
    let mut one = GroupReader::open(&impatient(&connection), options).unwrap();
    let partitions = take_all(&mut one);
    let mut writer = TransactionalWriter::open(&connection, &unique("writer")).unwrap();
    // It gives up its membership for want of a look, while its broker knows the name under the old one still.
    let deadline = Instant::now() + WAIT;
    let error = loop {
        assert!(Instant::now() < deadline, "it never left");
        match writer.prove_coordinator(&mark(), &one.group_metadata().unwrap()) {
            Ok(()) => thread::sleep(Duration::from_millis(50)),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("transaction aborted") && error.contains("fenced"), "{error}");
    let lost = ReaderEvent::Revoked { partitions: partitions.clone(), lost: true };
    assert_eq!(next_event(&mut one), lost);
    one.unassign(&partitions).unwrap();
    assert_eq!(take_all(&mut one), partitions);
    writer.prove_coordinator(&mark(), &one.group_metadata().unwrap()).unwrap();
}

#[test]
fn a_static_member_comes_back_to_its_partitions_at_once() {
    let (connection, _running) = connect();
    let topic = create(&connection, "input", 4);
    let group = unique("group");
    let open = |instance: &str| {
        let mut options = options(&group, &topic, Way::Direct);
        options.instance = Some(instance.to_owned());
        GroupReader::open(&connection, options).unwrap()
    };
    let assigned = |reader: &mut GroupReader| loop {
        match next_event(reader) {
            ReaderEvent::Assigned(partitions) => {
                let starts: Vec<_> = partitions.iter().map(|p| (p.clone(), Start::Beginning)).collect();
                reader.assign(&starts).unwrap();
                break partitions;
            }
            ReaderEvent::Revoked { partitions, .. } => reader.unassign(&partitions).unwrap(),
            event @ ReaderEvent::OffsetLost { .. } => panic!("{event:?}"),
        }
    };
    let mut one = open("one");
    assert_eq!(assigned(&mut one).len(), 4);
    let mut two = open("two");
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| assigned(&mut one));
        let second = assigned(&mut two);
        (first.join().unwrap(), second)
    });
    assert_eq!((first.len(), second.len()), (2, 2));
    two.close();
    let started = Instant::now();
    let mut two = open("two");
    assert_eq!(assigned(&mut two), second);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // The other one was not disturbed.
    assert_eq!(one.next_event().unwrap(), None);
    assert_eq!(one.assignment(), first);

    // A second process under the same name: the first must learn it and may commit nothing.
    let mut usurper = open("one");
    assert_eq!(assigned(&mut usurper), first);
    let mut writer = TransactionalWriter::open(&connection, &unique("writer")).unwrap();
    writer.begin().unwrap();
    let offsets = [(first[0].clone(), at(1, ""))];
    let error = writer.commit(&offsets, &one.group_metadata().unwrap()).unwrap_err();
    assert!(matches!(error, CommitError::Aborted { .. }), "{error:?}");
    let deadline = Instant::now() + WAIT;
    let error = loop {
        match one.next_event() {
            Ok(_) => assert!(Instant::now() < deadline, "nobody told it"),
            Err(error) => break error,
        }
        one.read(Duration::from_millis(5), 1, |_| ()).unwrap();
    };
    assert!(matches!(error, KafkaError::InstanceFenced { .. }), "{error:?}");
}
