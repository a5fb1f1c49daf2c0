//! Records, transactions and offsets of single readers and writers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plimsoll::kafka::{
    Admin, CommitError, Connection, EndOf, Follower, GroupReader, KafkaError, ReaderEvent, Start,
    TopicPartition, TopicSpec, TransactionalWriter, WriterRecord, read_to_end, read_whole,
};
use rdkafka::mocking::MockCluster;

use crate::support::{WAIT, Way, at, connect, create, fill, next_event, offsets, options, read_from, unique};

#[test]
fn a_hundred_thousand_records_arrive_once_and_in_order() {
    let (connection, _running) = connect();
    let topic = create(&connection, "bulk", 4);
    fill(&connection, &topic, 4, 25_000);
    for way in Way::ALL {
        arrive_once_and_in_order(read_from(&connection, &topic, way, Start::Beginning), &topic);
    }
}

fn arrive_once_and_in_order(mut reader: GroupReader, topic: &str) {
    let mut next = [0i64; 4];
    let started = Instant::now();
    let mut reads = 0;
    while next.iter().sum::<i64>() < 100_000 {
        assert!(started.elapsed() < WAIT, "{next:?}");
        assert_eq!(reader.next_event().unwrap(), None);
        reads += 1;
        reader
            .read(Duration::from_millis(20), 5_000, |record| {
                let expected = &mut next[record.partition as usize];
                assert_eq!((record.topic, record.offset), (topic, *expected));
                assert_eq!(record.payload, Some(format!("{}/{expected}", record.partition).as_bytes()));
                assert_eq!((record.key, record.timestamp_ms), (Some(&[7u8][..]), Some(*expected + 1)));
                *expected += 1;
            })
            .unwrap();
    }
    eprintln!("100,000 records in {:?}, {reads} reads", started.elapsed());
    let mut position = reader.position().unwrap();
    position.sort();
    let wanted: Vec<_> = (0..4).map(|p| (TopicPartition::new(topic, p), Some(25_000))).collect();
    assert_eq!(position, wanted);
}

#[test]
fn offsets_and_their_metadata_commit_with_the_records() {
    let (connection, _running) = connect();
    let (input, output) = (create(&connection, "input", 2), create(&connection, "output", 1));
    fill(&connection, &input, 2, 10);
    let group = unique("group");
    let mut reader = GroupReader::open(&connection, options(&group, &input, Way::Direct)).unwrap();
    let ReaderEvent::Assigned(partitions) = next_event(&mut reader) else { panic!() };
    assert_eq!(partitions.len(), 2);
    let none: Vec<_> = partitions.iter().map(|partition| (partition.clone(), None)).collect();
    assert_eq!(reader.committed(&partitions, WAIT).unwrap(), none);
    reader
        .assign(&[(partitions[0].clone(), Start::At(4)), (partitions[1].clone(), Start::Beginning)])
        .unwrap();

    let mut writer = TransactionalWriter::open(&connection, &unique("writer")).unwrap();
    writer.begin().unwrap();
    writer
        .send(WriterRecord {
            topic: &output,
            key: Some(b"k"),
            payload: None,
            headers: &[("reason", b"TOO_LATE"), ("detail", b"")],
            timestamp_ms: Some(1234),
            ..WriterRecord::default()
        })
        .unwrap();
    let largest = "1761876000000000 \u{e4}";
    writer.commit(&[(partitions[0].clone(), at(7, largest))], &reader.group_metadata().unwrap()).unwrap();
    let expected = vec![(partitions[0].clone(), Some(at(7, largest))), (partitions[1].clone(), None)];
    assert_eq!(reader.committed(&partitions, WAIT).unwrap(), expected);

    let mut reader = read_from(&connection, &output, Way::Cooperative, Start::Beginning);
    let mut seen = 0;
    while seen == 0 {
        assert_eq!(reader.next_event().unwrap(), None);
        seen += reader
            .read(Duration::from_millis(50), 10, |record| {
                assert_eq!(
                    (record.key, record.payload, record.timestamp_ms),
                    (Some(&b"k"[..]), None, Some(1234))
                );
                let headers: Vec<_> = record.headers().collect();
                assert_eq!(headers, [("reason", Some(&b"TOO_LATE"[..])), ("detail", Some(&b""[..]))]);
            })
            .unwrap();
    }
}

#[test]
fn an_aborted_transaction_leaves_nothing_and_its_input_is_read_again() {
    let (connection, _running) = connect();
    let (input, output) = (create(&connection, "input", 1), create(&connection, "output", 1));
    fill(&connection, &input, 1, 20_000);
    for way in Way::ALL {
        let mut reader = read_from(&connection, &input, way, Start::Beginning);
        let mut writer = TransactionalWriter::open(&connection, "aborting").unwrap();
        let partition = TopicPartition::new(input.as_str(), 0);
        // Each time most of the topic has been fetched ahead when the reader goes back, or forward.
        for start in [0i64, 700, 0, 15_000, 3] {
            reader.reposition(&[(partition.clone(), Start::At(start))]).unwrap();
            assert_eq!(reader.position().unwrap(), [(partition.clone(), Some(start))]);
            let read = offsets(&mut reader, 2_000);
            assert_eq!(read, (start..start + 2_000).collect::<Vec<_>>());
            assert_eq!(reader.position().unwrap(), [(partition.clone(), Some(start + 2_000))]);
            writer.begin().unwrap();
            writer
                .send(WriterRecord { topic: &output, payload: Some(b"no"), ..WriterRecord::default() })
                .unwrap();
            writer.abort().unwrap();
        }
        writer.begin().unwrap();
        writer
            .send(WriterRecord { topic: &output, payload: Some(b"yes"), ..WriterRecord::default() })
            .unwrap();
        writer.commit_records().unwrap();
    }
    let mut payloads = Vec::new();
    read_whole(&connection, &output, 0, WAIT, |_, _, value| payloads.push(value.unwrap().to_vec())).unwrap();
    assert_eq!(payloads, [b"yes"; 3]);
}

/// Rules of hundreds of objectives are larger than a broker takes, before compression.
#[test]
fn what_compresses_well_may_be_large_and_what_does_not_is_refused_for_good() {
    let (connection, _running) = connect();
    let topic = create(&connection, "large", 1);
    let mut writer = TransactionalWriter::open(&connection, &unique("large")).unwrap();
    let text = "good: status < 500, ".repeat(250_000);
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(3_000_000)
    .collect();
    let record = |payload| WriterRecord { topic: &topic, payload: Some(payload), ..WriterRecord::default() };
    writer.begin().unwrap();
    writer.send(record(&noise)).unwrap();
    match writer.commit_records() {
        Err(CommitError::Fatal { reason }) => assert!(reason.contains("max.message.bytes"), "{reason}"),
        other => panic!("{other:?}"),
    }
    writer.recreate().unwrap();
    writer.begin().unwrap();
    writer.send(record(text.as_bytes())).unwrap();
    writer.commit_records().unwrap();
    let mut lengths = Vec::new();
    read_whole(&connection, &topic, 0, WAIT, |_, _, value| lengths.push(value.unwrap().len())).unwrap();
    assert_eq!(lengths, [text.len()]);
}

#[test]
fn partitions_are_read_together_from_where_each_begins_to_its_end() {
    let (connection, _running) = connect();
    let topic = create(&connection, "together", 4);
    fill(&connection, &topic, 3, 5_000);
    let mut writer = TransactionalWriter::open(&connection, &unique("together")).unwrap();
    writer.begin().unwrap();
    let record = WriterRecord { topic: &topic, partition: Some(2), ..WriterRecord::default() };
    writer.send(WriterRecord { payload: Some(b"last"), headers: &[("why", b"it ends")], ..record }).unwrap();
    writer.commit_records().unwrap();
    let admin = Admin::open(&connection).unwrap();
    let starts = [0, 4_990, 5_000, 0].into_iter().zip(0..);
    let starts: Vec<_> =
        starts.map(|(at, number)| (TopicPartition::new(topic.as_str(), number), at)).collect();
    let (mut next, mut why) = ([0, 4_990, 5_000, 0], Vec::new());
    read_to_end(&connection, &admin, &starts, WAIT, |record| {
        let expected = &mut next[record.partition as usize];
        assert_eq!(record.offset, *expected);
        *expected += 1;
        why.extend(record.headers().map(|(_, value)| value.unwrap().to_vec()));
    })
    .unwrap();
    assert_eq!((next, why), ([5_000, 5_000, 5_001, 0], vec![b"it ends".to_vec()]));
}

#[test]
fn a_second_writer_fences_the_first_until_that_is_recreated() {
    let (connection, _running) = connect();
    let topic = create(&connection, "output", 1);
    let id = unique("writer");
    let write = |writer: &mut TransactionalWriter| -> Result<(), CommitError> {
        writer.begin()?;
        writer.send(WriterRecord { topic: &topic, payload: Some(b"x"), ..WriterRecord::default() })?;
        writer.commit_records()
    };
    let mut first = TransactionalWriter::open(&connection, &id).unwrap();
    write(&mut first).unwrap();
    let mut second = TransactionalWriter::open(&connection, &id).unwrap();
    let error = write(&mut first).unwrap_err();
    assert!(matches!(error, CommitError::Fenced { .. }), "{error:?}");
    write(&mut second).unwrap();
    first.recreate().unwrap();
    write(&mut first).unwrap();
    let error = write(&mut second).unwrap_err();
    assert!(matches!(error, CommitError::Fenced { .. }), "{error:?}");
    let mut count = 0;
    read_whole(&connection, &topic, 0, WAIT, |_, _, _| count += 1).unwrap();
    assert_eq!(count, 3);
}

#[test]
fn a_lost_offset_is_told_and_reading_goes_on_where_the_caller_says() {
    let (connection, _running) = connect();
    let topic = create(&connection, "trimmed", 1);
    fill(&connection, &topic, 1, 100);
    let partition = TopicPartition::new(topic.as_str(), 0);
    let admin = Admin::open(&connection).unwrap();
    admin.delete_records(&[(partition.clone(), 50)], WAIT).unwrap();
    let one = std::slice::from_ref(&partition);
    assert_eq!(admin.offsets(one, EndOf::Earliest, WAIT).unwrap(), [(partition.clone(), 50)]);
    assert_eq!(admin.offsets(one, EndOf::LatestCommitted, WAIT).unwrap(), [(partition.clone(), 100)]);
    for way in Way::ALL {
        let mut reader = read_from(&connection, &topic, way, Start::At(10));
        let lost = ReaderEvent::OffsetLost { partition: partition.clone(), wanted: 10 };
        assert_eq!(next_event(&mut reader), lost);
        assert_eq!(reader.position().unwrap(), [(partition.clone(), Some(10))]);
        reader.reposition(&[(partition.clone(), Start::At(50))]).unwrap();
        assert_eq!(offsets(&mut reader, 50), (50..100).collect::<Vec<_>>());
    }
}

#[test]
fn a_compacted_topic_is_read_to_its_end_past_trailing_markers_and_then_followed() {
    let (connection, _running) = connect();
    let topic = create(&connection, "table", 1);
    let mut writer = TransactionalWriter::open(&connection, &unique("writer")).unwrap();
    let mut all = Vec::new();
    let empty =
        read_whole(&connection, &topic, 0, WAIT, |_, _, _| panic!("a record in an empty topic")).unwrap();
    assert_eq!(empty, 0);
    for (key, value, commit) in
        [("a", Some("1"), true), ("b", Some("2"), true), ("a", None, true), ("c", Some("3"), false)]
    {
        writer.begin().unwrap();
        let record = WriterRecord {
            topic: &topic,
            key: Some(key.as_bytes()),
            payload: value.map(str::as_bytes),
            ..WriterRecord::default()
        };
        writer.send(record).unwrap();
        if commit { writer.commit_records().unwrap() } else { writer.abort().unwrap() }
    }
    // Four records, four markers; the last six offsets hold only one committed record.
    let end = read_whole(&connection, &topic, 0, WAIT, |offset, key, value| {
        all.push((offset, key.to_vec(), value.map(<[u8]>::to_vec)));
    })
    .unwrap();
    assert_eq!(end, 8);
    let expected = vec![
        (0, b"a".to_vec(), Some(b"1".to_vec())),
        (2, b"b".to_vec(), Some(b"2".to_vec())),
        (4, b"a".to_vec(), None),
    ];
    assert_eq!(all, expected);

    let partition = TopicPartition::new(topic.as_str(), 0);
    let mut follower = Follower::open(&connection, partition, end).unwrap();
    assert_eq!(follower.poll_new(|_| panic!("nothing is new")).unwrap(), 0);
    writer.begin().unwrap();
    writer
        .send(WriterRecord { topic: &topic, key: Some(b"d"), payload: Some(b"4"), ..WriterRecord::default() })
        .unwrap();
    writer.commit_records().unwrap();
    let deadline = Instant::now() + WAIT;
    let mut seen = Vec::new();
    while seen.is_empty() {
        assert!(Instant::now() < deadline);
        follower.poll_new(|record| seen.push((record.offset, record.key.unwrap().to_vec()))).unwrap();
    }
    assert_eq!(seen, [(8, b"d".to_vec())]);
}

#[test]
fn topics_are_created_once_and_described_with_their_ids() {
    let (connection, _running) = connect();
    let admin = Admin::open(&connection).unwrap();
    let name = unique("described");
    let config = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    let spec = TopicSpec { name: name.clone(), partitions: 3, replication_factor: 1, config };
    assert_eq!(admin.create(std::slice::from_ref(&spec), WAIT).unwrap(), std::slice::from_ref(&name));
    assert_eq!(admin.create(&[spec], WAIT).unwrap(), [""; 0]);
    let described = admin.describe(&[&name, "not-there"], WAIT).unwrap();
    assert_eq!((described[0].partitions, described[0].exists, described[0].id.len()), (3, true, 22));
    assert_eq!((described[1].partitions, described[1].exists), (0, false));
    assert_eq!(admin.config(&[&name], WAIT).unwrap()[0]["cleanup.policy"], "compact");
    let error = admin.offsets(&[TopicPartition::new("not-there", 0)], EndOf::Earliest, WAIT).unwrap_err();
    assert!(matches!(error, KafkaError::UnknownTopic { .. }), "{error:?}");
}

#[test]
fn a_missing_topic_is_an_error_and_an_unanswered_rebalance_does_not_block_closing() {
    let (connection, _running) = connect();
    let mut reader =
        GroupReader::open(&connection, options(&unique("group"), "nowhere", Way::Direct)).unwrap();
    let deadline = Instant::now() + WAIT;
    let error = loop {
        match reader.next_event() {
            Ok(event) => assert_eq!(event, None),
            Err(error) => break error,
        }
        assert!(Instant::now() < deadline);
        reader.read(Duration::from_millis(5), 1, |_| ()).unwrap();
    };
    assert!(matches!(&error, KafkaError::UnknownTopic { what } if what.contains("nowhere")), "{error:?}");

    let topic = create(&connection, "input", 2);
    for way in Way::ALL {
        let group = unique("group");
        let mut first = GroupReader::open(&connection, options(&group, &topic, way)).unwrap();
        let ReaderEvent::Assigned(partitions) = next_event(&mut first) else { panic!() };
        let starts: Vec<_> = partitions.into_iter().map(|p| (p, Start::Beginning)).collect();
        first.assign(&starts).unwrap();
        let mut second = GroupReader::open(&connection, options(&group, &topic, way)).unwrap();
        assert!(matches!(next_event(&mut first), ReaderEvent::Revoked { lost: false, .. }));
        let close = |reader: GroupReader| {
            let started = Instant::now();
            reader.close();
            assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        };
        close(first); // a revocation unanswered
        assert!(matches!(next_event(&mut second), ReaderEvent::Assigned(_)));
        close(second); // an assignment unanswered
    }
}

#[test]
fn a_writer_that_finds_no_broker_says_where_it_looked() {
    let connection = Connection::to_brokers("127.0.0.1:1").with_connect_timeout(Duration::from_millis(600));
    let Err(error) = TransactionalWriter::open(&connection, "nobody") else { panic!("opened") };
    assert!(error.is_transient() && error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn the_demo_broker_describes_topics_without_ids() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("demo", 3, 1).unwrap();
    let connection = Connection::to_brokers(&cluster.bootstrap_servers());
    let described = Admin::open(&connection).unwrap().describe(&["demo", "not-there"], WAIT).unwrap();
    assert_eq!((described[0].partitions, described[0].exists, described[0].id.as_str()), (3, true, ""));
    assert!(!described[1].exists);
    let end = read_whole(&connection, "demo", 0, WAIT, |_, _, _| panic!("it is empty")).unwrap();
    assert_eq!(end, 0);
}
