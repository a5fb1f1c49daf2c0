use std::thread;

use plimsoll::store::{OffsetMove, StoredRecord};

use crate::fixtures::*;

#[test]
fn letters_are_counted_and_the_first_are_kept() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), LETTERS);
    let mut second_hour = letter(7, "TOO_LATE", 0);
    second_hour.timestamp_ms += 3_600_000;
    let mut records: Vec<StoredRecord> = (0..7).map(|n| letter(n, "TOO_LATE", n)).collect();
    records.push(second_hour);
    records.push(letter(8, "WRONG_TYPE", 8));
    let (first, second) = records.split_at(2);
    for batch in [first, second] {
        let batch = feed.batch_of(batch.to_vec());
        assert_eq!(feed.write_batch(&batch).dead_letters, batch.records.len() as u64);
    }
    let mut sql = bench.sql();
    let counts: Vec<(String, String, i64)> = sql
        .query("SELECT reason, bucket_start::text, count FROM dead_letter_hourly ORDER BY 1, 2", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let expected = [
        ("TOO_LATE", "2025-10-31 02:00:00+00", 7),
        ("TOO_LATE", "2025-10-31 03:00:00+00", 1),
        ("WRONG_TYPE", "2025-10-31 02:00:00+00", 1),
    ];
    assert_eq!(counts, expected.map(|(reason, hour, n)| (reason.to_owned(), hour.to_owned(), n)));
    let kept: Vec<i64> = sql
        .query("SELECT letter_offset FROM dead_letter ORDER BY 1", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(kept, [0, 1, 2, 7, 8]);
    let row = sql
        .query_one(
            "SELECT topic, partition, \"offset\", detail, value FROM dead_letter WHERE letter_offset = 1",
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1), row.get::<_, i64>(2)), ("request-log", 5, 1));
    assert_eq!(row.get::<_, &str>(3), "ts: not a \u{fffd} time");
    assert_eq!(row.get::<_, &[u8]>(4), b"\xff\x00raw");
}

#[test]
fn letters_without_their_headers_are_invalid() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), LETTERS);
    let mut from_a_shard = letter(2, "HOUR_GONE", 0);
    from_a_shard.headers.retain(|(name, _)| name != "partition" && name != "offset");
    from_a_shard.value = None;
    let mut ancient = letter(3, "TOO_LATE", 0);
    ancient.timestamp_ms = i64::MIN;
    let mut huge = letter(4, "TOO_LARGE", 0);
    huge.value = Some(vec![0; 1_000_000]);
    let mut beginning = letter(5, "CUT", 0);
    beginning.headers.push(("original_bytes".into(), b"5000000".to_vec()));
    let batch = feed.batch_of(vec![record(LETTERS, 1, "x"), from_a_shard, ancient, huge, beginning]);
    let written = feed.write_batch(&batch);
    assert_eq!(written.dead_letters, 3);
    assert_eq!(written.invalid.iter().map(|i| i.offset).collect::<Vec<_>>(), [1, 3]);
    let sizes = "SELECT length(value) || ' of ' || value_bytes FROM dead_letter WHERE reason = 'TOO_LARGE'";
    assert_eq!(bench.value::<String>(sizes), "65536 of 1000000");
    let original = "SELECT value_bytes FROM dead_letter WHERE reason = 'CUT'";
    assert_eq!(bench.value::<i64>(original), 5_000_000, "the letter has its beginning only");
    assert!(bench.value::<bool>("SELECT \"offset\" IS NULL FROM dead_letter WHERE reason = 'HOUR_GONE'"));
}

#[test]
fn old_samples_go_when_new_ones_come() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), LETTERS);
    let at = |offset, days: i64| {
        let mut letter = letter(offset, "TOO_LATE", 0);
        letter.timestamp_ms += days * 86_400_000;
        letter
    };
    for (offset, days) in [(0, 0), (1, 10), (2, 15)] {
        let batch = feed.batch_of(vec![at(offset, days)]);
        feed.write_batch(&batch);
    }
    assert_eq!(bench.value::<i64>("SELECT min(letter_offset) FROM dead_letter"), 1);
    assert_eq!(bench.value::<i64>("SELECT sum(count)::bigint FROM dead_letter_hourly"), 3);
}

#[test]
fn writers_of_several_partitions_share_counts_and_samples() {
    let bench = Bench::migrated();
    let reasons = ["A", "B", "C", "D"];
    thread::scope(|scope| {
        for partition in 0..4_i32 {
            let bench = &bench;
            scope.spawn(move || {
                let mut feed = Feed::new(bench.store(), LETTERS);
                for round in 0..20 {
                    // Each writer meets the reasons in another order.
                    let letter = |n: i64| {
                        let reason = reasons[(n + i64::from(partition)) as usize % reasons.len()];
                        StoredRecord { partition, ..letter(round * 4 + n, reason, n) }
                    };
                    let mut batch = feed.batch_of((0..4).map(letter).collect());
                    batch.moves = vec![OffsetMove { partition, ..batch.moves[0].clone() }];
                    feed.write_batch(&batch);
                }
            });
        }
    });
    assert_eq!(bench.value::<i64>("SELECT min(count) FROM dead_letter_hourly"), 80);
    assert_eq!(bench.value::<i64>("SELECT max(count) FROM dead_letter_hourly"), 80);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM dead_letter"), 4 * i64::from(SAMPLES));
}
