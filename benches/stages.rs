//! `cargo bench --bench stages`: what each stage costs a message, one thread, no broker; all that ships is counted and judged.
//!
//! A second of 7,000 messages is decoded, folded and written as partials; a minute of such seconds is applied to shards.

#[path = "../tests/hot/mod.rs"]
mod hot;

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use hot::{Hot, SHARDS, records};
use plimsoll::core::fold::Flush;
use plimsoll::core::partial::LogRecord;
use plimsoll::core::shard::{Shard, ShardOptions};
use plimsoll::wire::partial::{self, FlushHead, encode_flush};

const MINUTE: u64 = 60;
const PARTIAL_BYTES: usize = 512 << 10;

fn main() {
    divan::main();
}

#[divan::bench]
fn decode(bencher: Bencher) {
    let (mut hot, records) = (Hot::new(), records(1));
    let places = hot.places(&records);
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| hot.decode(&records, &places));
}

#[divan::bench]
fn decode_and_fold(bencher: Bencher) {
    let (mut hot, records) = (Hot::new(), records(1));
    let places = hot.places(&records);
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| {
        hot.take(&records, &places);
        hot.flush()
    });
}

#[divan::bench]
fn write_partials(bencher: Bencher) {
    let (mut hot, records) = (Hot::new(), records(1));
    let places = hot.places(&records);
    hot.take(&records, &places);
    let flush = hot.flush();
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| encode(&flush, 0));
}

#[divan::bench]
fn read_partials(bencher: Bencher) {
    let (mut hot, records) = (Hot::new(), records(1));
    let places = hot.places(&records);
    hot.take(&records, &places);
    let partials = encode(&hot.flush(), 0).concat();
    let read = |record: &Vec<u8>| partial::decode(record).unwrap();
    bencher
        .counter(ItemsCount::new(records.len()))
        .bench_local(|| partials.iter().map(read).collect::<Vec<LogRecord>>());
}

/// All shards, with their judging; reading the partials is not counted.
#[divan::bench(sample_count = 10)]
fn apply_a_minute(bencher: Bencher) {
    let (mut hot, records) = (Hot::new(), records(MINUTE));
    let places = hot.places(&records);
    // By second and shard.
    let mut minute: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
    for (records, places) in records.chunks(7_000).zip(places.chunks(7_000)) {
        hot.take(records, places);
        minute.push(encode(&hot.flush(), records[0].arrival_us + 1_000_000));
    }
    let of_shard = |shard: usize| -> Vec<LogRecord> {
        minute
            .iter()
            .flat_map(|second| &second[shard])
            .map(|record| partial::decode(record).unwrap())
            .collect()
    };
    let read = || (0..SHARDS as usize).map(of_shard).collect::<Vec<_>>();
    let options = ShardOptions { provisional_every_s: 300, heartbeat_every_s: 10, rows_per_record: 256 };
    let rules = Arc::clone(&hot.plan.rules);
    bencher.counter(ItemsCount::new(records.len())).with_inputs(read).bench_local_values(|shards| {
        let mut outputs = Vec::new();
        for (id, records) in (0..).zip(shards) {
            let mut shard = Shard::new(id, options);
            shard.apply(0, LogRecord::Spec { version: 0, rules: Arc::clone(&rules) }, &mut outputs).unwrap();
            for (offset, record) in (1..).zip(records) {
                shard.apply(offset, record, &mut outputs).unwrap();
            }
        }
        outputs.len()
    });
}

/// Records of each shard.
fn encode(flush: &Flush, log_time_us: i64) -> Vec<Vec<Vec<u8>>> {
    let head = FlushHead { rules: 0, worker: 0, log_time_us };
    let of_shard = flush.deltas.iter().zip(&flush.clocks);
    of_shard.map(|(deltas, clocks)| encode_flush(head, deltas, clocks, PARTIAL_BYTES).unwrap()).collect()
}
