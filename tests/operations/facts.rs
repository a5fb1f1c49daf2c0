//! What Kafka, Postgres and a replica's pages say, and waiting for it.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use plimsoll::kafka::{Admin, EndOf, Follower, Record, TopicPartition};
use serde_json::Value;

use crate::oracle::{self, Expected, RawRecord};
use crate::records::SECOND_US;
use crate::support::{Deployment, Replica, TABLES};

const ASK: Duration = Duration::from_secs(20);

/// Asks until there is an answer; fails with `what` and the replica's log when `limit` has passed or the replica ended.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    replica: &mut Replica,
    mut ask: impl FnMut(&mut Replica) -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask(replica) {
            return answer;
        }
        replica.assert_running();
        if Instant::now() >= deadline {
            let (_, parts) = replica.get("/readyz");
            panic!("not after {limit:?}: {what}\n{parts}\n{}", replica.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All rows of one hour of a table, summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    pub events: i64,
    pub late: i64,
    pub revision: i32,
    pub is_final: bool,
}

/// The hour of a table that begins at `hour_us`; None while it has no row.
pub fn hour(deployment: &Deployment, table: &str, hour_us: i64) -> Option<Hour> {
    let query = format!(
        "select sum(event_count)::bigint, sum(late_count)::bigint, max(revision)::int, bool_and(is_final) \
         from plimsoll.{table} where bucket_start = to_timestamp($1::bigint::double precision) having count(*) > 0"
    );
    // Before the first migration there is no table.
    let row = deployment.client().query_opt(&query, &[&(hour_us / 1_000_000)]).ok()??;
    Some(Hour { events: row.get(0), late: row.get(1), revision: row.get(2), is_final: row.get(3) })
}

/// Dead letters in Kafka by reason.
pub fn dead_letters(deployment: &Deployment) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for letter in records(deployment, "plimsoll-dead-letters") {
        *counts.entry(letter.headers["reason"].clone()).or_default() += 1;
    }
    counts
}

/// A committed record with its headers.
#[derive(Clone, Debug)]
pub struct Told {
    pub key: String,
    pub value: Value,
    pub headers: BTreeMap<String, String>,
}

impl Told {
    fn of(record: &Record<'_>) -> Told {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header =
            |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), text(value.unwrap_or_default()));
        Told {
            key: text(record.key.unwrap_or_default()),
            value: record.payload.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default(),
            headers: record.headers().map(header).collect(),
        }
    }
}

/// A read_committed subscriber of one topic, from its beginning.
pub struct Subscriber {
    followers: Vec<Follower>,
    told: Vec<Told>,
}

impl Subscriber {
    pub fn open(deployment: &Deployment, topic: &str) -> Subscriber {
        let follow = |p| Follower::open(&deployment.connection, p, 0).unwrap();
        Subscriber {
            followers: partitions(deployment, topic).into_iter().map(follow).collect(),
            told: Vec::new(),
        }
    }

    /// All that has come so far, in order within each partition.
    pub fn told(&mut self) -> &[Told] {
        for follower in &mut self.followers {
            follower.poll_new(|record| self.told.push(Told::of(&record))).unwrap();
        }
        &self.told
    }
}

fn partitions(deployment: &Deployment, topic: &str) -> Vec<TopicPartition> {
    let admin = Admin::open(&deployment.connection).unwrap();
    let count = admin.describe(&[topic], ASK).unwrap()[0].partitions as i32;
    (0..count).map(|p| TopicPartition::new(topic, p)).collect()
}

/// The committed records of a topic, in order within each partition.
pub fn records(deployment: &Deployment, topic: &str) -> Vec<Told> {
    let admin = Admin::open(&deployment.connection).unwrap();
    let all = partitions(deployment, topic);
    let mut told = Vec::new();
    for (partition, end) in admin.offsets(&all, EndOf::LatestCommitted, ASK).unwrap() {
        // How many there are: markers take offsets too, so the end alone does not tell when all have come.
        let mut expected = 0;
        let mut count = |_: i64, _: &[u8], _: Option<&[u8]>| expected += 1;
        plimsoll::kafka::read_whole(&deployment.connection, topic, partition.partition, ASK, &mut count)
            .unwrap();
        let mut follower = Follower::open(&deployment.connection, partition, 0).unwrap();
        let mut seen = 0;
        let deadline = Instant::now() + ASK;
        while seen < expected {
            assert!(Instant::now() < deadline, "{seen} of {expected} records of {topic} up to {end}");
            seen += follower.poll_new(|record| told.push(Told::of(&record))).unwrap();
        }
    }
    told
}

/// The newest heartbeat of each shard among the records of `slo-breach-state`.
pub fn heartbeats(told: &[Told]) -> BTreeMap<u64, Value> {
    told.iter().filter_map(|told| Some((told.value["shard"].as_u64()?, told.value.clone()))).collect()
}

/// Seconds since 1970 of a time in a record.
pub fn second_of(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_microsecond().div_euclid(SECOND_US)
}

/// Waits until all four shards have judged a source up to `second` and have said so in `slo-breach-state`.
pub fn wait_until_judged(state: &mut Subscriber, replica: &mut Replica, source: &str, second: i64) {
    eventually("all is judged", Duration::from_secs(60), replica, |_| {
        let beats = heartbeats(state.told());
        let is_past =
            |beat: &Value| beat["watermarks"][source].as_str().is_some_and(|at| second_of(at) >= second);
        (beats.len() == 4 && beats.values().all(is_past)).then_some(())
    });
}

/// Samples of the metrics page whose name begins with `name`, by their full name with labels.
pub fn samples(replica: &mut Replica, name: &str) -> BTreeMap<String, f64> {
    let (status, page) = replica.get("/metrics");
    assert!(status.contains("200"), "{status}");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    page.lines().filter(|line| line.starts_with(name)).filter_map(sample).collect()
}

/// What all tables should hold once all of `raw` has passed through.
pub fn expected(deployment: &Deployment, raw: &[RawRecord]) -> (Expected, BTreeMap<String, u64>) {
    let mut raw = raw.to_vec();
    deployment.number(&mut raw);
    let expected = oracle::expect(&raw);
    let count =
        |table: &str| expected.table(table).map(|row| row.values["event_count"].as_u64().unwrap()).sum();
    let mut counts: BTreeMap<String, u64> =
        TABLES.iter().map(|table| ((*table).to_owned(), count(table))).collect();
    counts.insert("dead_letter_hourly".into(), expected.dead_letters.len() as u64);
    (expected, counts)
}

/// Waits until everything is stored, then compares every row with the oracle's.
pub fn assert_all_stored(deployment: &Deployment, raw: &[RawRecord], replicas: &mut [Replica]) {
    let (expected, counts) = expected(deployment, raw);
    deployment.wait_for_counts(&counts, replicas, Duration::from_secs(90));
    oracle::compare(&expected.rows, &deployment.all_rows())
        .unwrap_or_else(|differences| panic!("{differences}"));
    let letters: usize = dead_letters(deployment).values().sum();
    assert_eq!(letters, expected.dead_letters.len());
}

/// Standard error of a command that must end with `code`.
pub fn refused(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// Standard output of a command that must succeed.
pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
