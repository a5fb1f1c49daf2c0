//! How far the stages are behind, as Kafka and Postgres tell it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plimsoll::kafka::{Admin, EndOf, GroupOffsets, KafkaError, TopicPartition};
use plimsoll::local::cluster::LocalCluster;

use super::support::{Deployment, INPUTS};

const ASK: Duration = Duration::from_secs(3);
/// Nothing that waits is older: what is under way in a healthy pipeline, up to a second for its flush, is no lag.
const UNDER_WAY: Duration = Duration::from_millis(1_500);
/// Rows are written every two seconds: what is written this long after a fault shows whether they are stored.
const WRITTEN: Duration = Duration::from_secs(2);
/// One that is written all the time.
const OUTPUT: &str = "hourly-request-log";

/// Where partitions ended at a time.
struct Ends {
    at: Instant,
    offsets: BTreeMap<TopicPartition, i64>,
}

pub struct Lag {
    admin: Admin,
    ingest: GroupOffsets,
    evaluate: GroupOffsets,
    inputs: Vec<TopicPartition>,
    partials: Vec<TopicPartition>,
    outputs: Vec<TopicPartition>,
    history: Vec<Ends>,
    store: Option<postgres::Client>,
    url: String,
    /// Why the last look was a no.
    pub why: String,
}

impl Lag {
    pub fn watch(deployment: &Deployment<LocalCluster>) -> Lag {
        let group =
            |role: &str| GroupOffsets::open(&deployment.connection, &format!("plimsoll-{role}")).unwrap();
        let admin = Admin::open(&deployment.connection).unwrap();
        Lag {
            inputs: partitions(&admin, &INPUTS),
            partials: partitions(&admin, &["plimsoll-partials"]),
            outputs: partitions(&admin, &[OUTPUT]),
            admin,
            ingest: group("ingest"),
            evaluate: group("evaluate"),
            history: Vec::new(),
            store: None,
            url: deployment.postgres.url(),
            why: String::new(),
        }
    }

    /// Inputs may have more partitions now.
    pub fn look_again(&mut self) {
        self.inputs = partitions(&self.admin, &INPUTS);
        self.history.clear();
    }

    /// What was seen so far does not count any more.
    pub fn begin(&mut self) {
        self.history.clear();
    }

    /// Whether ingest and evaluate are at the end of what came since the beginning. No answer is a no.
    pub fn is_judged(&mut self) -> bool {
        let waits = self.waits().unwrap_or_else(|error| Some(error.to_string()));
        self.why = waits.unwrap_or_default();
        self.why.is_empty()
    }

    /// What keeps it from being so.
    fn waits(&mut self) -> Result<Option<String>, KafkaError> {
        let at = Instant::now();
        let all = [&self.inputs[..], &self.partials, &self.outputs].concat();
        let offsets = self.admin.offsets(&all, EndOf::LatestCommitted, ASK)?.into_iter().collect();
        self.history.push(Ends { at, offsets });
        let Some(before) = self.history.iter().rev().find(|ends| at - ends.at >= UNDER_WAY) else {
            return Ok(Some("too early to tell".to_owned()));
        };
        for (group, partitions) in [(&self.ingest, &self.inputs), (&self.evaluate, &self.partials)] {
            for (partition, committed) in group.committed(partitions, ASK)? {
                let next = committed.map_or(0, |committed| committed.next);
                let end = before.offsets.get(&partition).copied().unwrap_or(0);
                if next < end {
                    return Ok(Some(format!("{partition} is read up to {next} of {end}")));
                }
            }
        }
        Ok(None)
    }

    /// Whether Postgres holds what was written since the beginning.
    pub fn is_stored(&mut self) -> bool {
        if self.store.is_none() {
            self.store = postgres::Client::connect(&self.url, postgres::NoTls).ok();
        }
        let Some(store) = &mut self.store else { return false };
        let query = "select partition, next_offset from plimsoll.kafka_offset where topic = $1";
        let Ok(rows) = store.query(query, &[&OUTPUT]) else {
            self.store = None;
            return false;
        };
        let next: BTreeMap<i32, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let Some(began) = self.history.first().map(|ends| ends.at) else { return false };
        let Some(written) = self.history.iter().find(|ends| ends.at - began >= WRITTEN) else { return false };
        // The end lies behind the marker of the last transaction, which no record follows yet.
        let stored = |p: &TopicPartition| {
            next.get(&p.partition).copied().unwrap_or(0) + 1 >= written.offsets.get(p).copied().unwrap_or(0)
        };
        self.outputs.iter().all(stored)
    }

    /// Where the group of ingest stands in a partition.
    pub fn ingested(&self, partition: &TopicPartition) -> i64 {
        let committed =
            self.ingest.committed(std::slice::from_ref(partition), Duration::from_secs(30)).unwrap();
        committed[0].1.as_ref().map_or(0, |committed| committed.next)
    }
}

pub fn partitions(admin: &Admin, topics: &[&str]) -> Vec<TopicPartition> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match admin.describe(topics, ASK) {
            Ok(described) => {
                let of = |info: plimsoll::kafka::TopicInfo| {
                    (0..info.partitions as i32).map(move |p| TopicPartition::new(info.name.as_str(), p))
                };
                return described.into_iter().flat_map(of).collect();
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}
