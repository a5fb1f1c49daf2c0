use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll::local::postgres::LocalPostgres;
use plimsoll::store::{Store, StoreError};

use crate::fixtures::*;

#[test]
fn a_killed_server_is_unavailable_and_then_goes_on() {
    let mut server = LocalPostgres::start().unwrap();
    let mut store = Store::connect(&server.url(), "plimsoll").unwrap();
    store.migrate(&rules()).unwrap();
    let mut feed = Feed::new(store, ROWS);
    feed.write([row("/a", HOUR, 1, 1)]);
    server.kill9().unwrap();
    let batch = feed.batch([row("/a", HOUR, 2, 2)]);
    for _ in 0..2 {
        let error = feed.store.write(&batch, &feed.routes).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    assert!(matches!(Store::connect(&server.url(), "plimsoll"), Err(StoreError::Unavailable { .. })));
    server.start_again().unwrap();
    assert_eq!(feed.write_batch(&batch).rows, 1);
    server.stop().unwrap();
    assert!(matches!(feed.store.claim(ROWS, 0), Err(StoreError::Unavailable { .. })));
    server.start_again().unwrap();
    assert_eq!(feed.store.claim(ROWS, 0).unwrap(), Some(2));
}

/// Counts that are added up show every batch that was stored twice or not at all.
#[test]
fn crashes_neither_lose_nor_repeat() {
    const BATCHES: i64 = 400;
    let mut server = LocalPostgres::start().unwrap();
    let url = server.url();
    Store::connect(&url, "plimsoll").unwrap().migrate(&rules()).unwrap();
    let written = AtomicI64::new(0);
    let rejected = thread::scope(|scope| {
        let writer = scope.spawn(|| write_batches(&url, BATCHES, &written));
        for kill_after in [50, 150, 300] {
            while written.load(Ordering::Acquire) < kill_after && !writer.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            server.kill9().unwrap();
            server.start_again().unwrap();
        }
        writer.join().unwrap()
    });
    assert!(rejected > 0, "the server was never seen to be away");
    let mut sql = sql(&server, "plimsoll");
    let total: i64 = sql.query_one("SELECT sum(count)::bigint FROM dead_letter_hourly", &[]).unwrap().get(0);
    assert_eq!(total, BATCHES * 3);
}

/// Writes like a role: on `Unavailable` the same batch again. Returns how often that was.
fn write_batches(url: &str, batches: i64, written: &AtomicI64) -> u64 {
    let mut feed = Feed::new(Store::connect(url, "plimsoll").unwrap(), LETTERS);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut rejected = 0;
    for round in 0..batches {
        let batch = feed.batch_of((0..3).map(|n| letter(round * 3 + n, "TOO_LATE", n)).collect());
        loop {
            match feed.store.write(&batch, &feed.routes) {
                Ok(_) => break,
                Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => rejected += 1,
                Err(other) => panic!("{other}"),
            }
        }
        feed.next = Some(batch.moves[0].next);
        written.store(round + 1, Ordering::Release);
    }
    rejected
}
