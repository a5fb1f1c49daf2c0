use std::thread;

use plimsoll::store::{OffsetMove, StoreError};

use crate::fixtures::*;

#[test]
fn offsets_move_with_the_rows() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    assert_eq!(feed.store.claim(ROWS, 0).unwrap(), None);
    feed.write([row("/a", HOUR, 1, 1), row("/b", HOUR, 1, 1)]);
    assert_eq!(feed.store.claim(ROWS, 0).unwrap(), Some(2));
    assert_eq!(feed.store.claim(ROWS, 1).unwrap(), None);
}

#[test]
fn a_fenced_writer_leaves_nothing_behind() {
    let bench = Bench::migrated();
    let mut stale = Feed::new(bench.store(), ROWS);
    let mut owner = Feed::new(bench.store(), ROWS);
    stale.write([row("/a", HOUR, 1, 1)]);
    owner.next = owner.store.claim(ROWS, 0).unwrap();
    owner.write([row("/a", HOUR, 2, 2), row("/b", HOUR, 2, 2)]);

    // One of its two partitions has been taken: neither may move.
    let mut batch = stale.batch([row("/stale", HOUR, 9, 9)]);
    batch.moves.insert(0, OffsetMove { topic: TOTALS.into(), partition: 4, expected: None, next: 8 });
    let error = stale.store.write(&batch, &stale.routes).unwrap_err();
    let StoreError::Fenced { topic, partition, expected, found } = error else { panic!("{error:?}") };
    assert_eq!((topic.as_str(), partition, expected, found), (ROWS, 0, Some(1), Some(3)));
    assert_eq!(stale.store.claim(TOTALS, 4).unwrap(), None);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM request_log_hourly WHERE route = '/stale'"), 0);

    // A writer that thinks itself the first, and one whose offsets were lost, are fenced too.
    stale.next = None;
    let batch = stale.batch((0..9).map(|_| row("/stale", HOUR, 9, 9)));
    assert!(matches!(
        stale.store.write(&batch, &stale.routes),
        Err(StoreError::Fenced { found: Some(3), .. })
    ));
    let mut batch = stale.batch([row("/stale", HOUR, 9, 9)]);
    batch.moves[0] = OffsetMove { topic: TOTALS.into(), partition: 0, expected: Some(5), next: 6 };
    assert!(matches!(stale.store.write(&batch, &stale.routes), Err(StoreError::Fenced { found: None, .. })));
    // Offsets never go back.
    owner.next = Some(3);
    let mut batch = owner.batch([row("/stale", HOUR, 9, 9)]);
    batch.moves[0].next = 2;
    assert!(matches!(owner.store.write(&batch, &owner.routes), Err(StoreError::Fenced { .. })));
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM request_log_hourly WHERE route = '/stale'"), 0);
}

#[test]
fn a_batch_sent_twice_is_stored_once() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), LETTERS);
    let batch = feed.batch_of(vec![letter(0, "BAD_TIMESTAMP", 0)]);
    assert!(!feed.write_batch(&batch).already_stored);
    assert!(feed.write_batch(&batch).already_stored);
    assert_eq!(bench.value::<i64>("SELECT count FROM dead_letter_hourly"), 1);
}

#[test]
fn of_two_first_writers_the_slower_is_fenced() {
    let bench = Bench::migrated();
    let mut other = bench.sql();
    let mut faster = other.transaction().unwrap();
    faster
        .execute("INSERT INTO kafka_offset (topic, partition, next_offset) VALUES ($1, 0, 9)", &[&ROWS])
        .unwrap();
    let error = thread::scope(|scope| {
        let slower = scope.spawn(|| {
            let mut feed = Feed::new(bench.store(), ROWS);
            let batch = feed.batch([row("/a", HOUR, 1, 1)]);
            feed.store.write(&batch, &feed.routes).unwrap_err()
        });
        bench.await_waiting("kafka_offset");
        faster.commit().unwrap();
        slower.join().unwrap()
    });
    assert!(matches!(error, StoreError::Fenced { partition: 0, .. }), "{error:?}");
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM request_log_hourly"), 0);
}

#[test]
fn a_stale_owner_waits_for_the_new_one_and_is_fenced() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    feed.write([row("/a", HOUR, 1, 1)]);
    let mut other = bench.sql();
    let mut owner = other.transaction().unwrap();
    owner.execute("UPDATE kafka_offset SET next_offset = 5", &[]).unwrap();
    let error = thread::scope(|scope| {
        let stale = scope.spawn(|| {
            let batch = feed.batch([row("/a", HOUR, 2, 2)]);
            feed.store.write(&batch, &feed.routes).unwrap_err()
        });
        bench.await_waiting("kafka_offset");
        owner.commit().unwrap();
        stale.join().unwrap()
    });
    assert!(matches!(error, StoreError::Fenced { found: Some(5), .. }), "{error:?}");
}
