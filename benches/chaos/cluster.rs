//! Three brokers, and what only an operator asks of them.

use std::time::{Duration, Instant};

use plimsoll::kafka::{Connection, Follower, TopicPartition};
use plimsoll::local::Jit;
use plimsoll::local::cluster::LocalCluster;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::oracle::RawRecord;
use super::support::{Deployment, Settings};

pub const SERVERS: usize = 3;
pub const INPUT_PARTITIONS: u32 = 12;
const ASK: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(180);

/// Everything on three brokers, each record on all of them, written when two have it.
pub fn deploy(more: &'static str) -> Deployment<LocalCluster> {
    let brokers = || {
        let cluster = LocalCluster::start(SERVERS, Jit::Full).unwrap();
        let connection = Connection::to_brokers(cluster.brokers());
        (cluster, connection)
    };
    let settings = Settings { internal_partitions: 6, workers: 1, more };
    Deployment::on(brokers, SERVERS as u16, INPUT_PARTITIONS, &settings)
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "chaos");
    config
}

/// Waits until every replica of every partition is in sync: another broker may go then.
pub fn wait_in_sync(brokers: &str) {
    let consumer: BaseConsumer = client(brokers).create().unwrap();
    let deadline = Instant::now() + LIMIT;
    loop {
        let lacking = match consumer.fetch_metadata(None, ASK) {
            Err(error) => error.to_string(),
            Ok(metadata) => {
                let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
                let lacking = partitions.filter(|p| p.isr().len() < p.replicas().len()).count();
                match (lacking, metadata.brokers().len()) {
                    (0, SERVERS) => return,
                    (lacking, brokers) => {
                        format!("{lacking} partitions lack a replica, {brokers} brokers are there")
                    }
                }
            }
        };
        assert!(Instant::now() < deadline, "not in sync after {LIMIT:?}: {lacking}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Gives a topic so many partitions in all.
pub fn set_partitions(brokers: &str, topic: &str, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().unwrap();
    let more = [NewPartitions::new(topic, count)];
    let options = AdminOptions::new().request_timeout(Some(ASK));
    let results = runtime.block_on(admin.create_partitions(&more, &options)).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// The records of an input partition from `from` up to and without `to`; inputs hold no markers.
pub fn read_input(connection: &Connection, partition: &TopicPartition, from: i64, to: i64) -> Vec<RawRecord> {
    let mut records = Vec::with_capacity((to - from).max(0) as usize);
    let mut follower = Follower::open(connection, partition.clone(), from).unwrap();
    let mut next = from;
    let deadline = Instant::now() + LIMIT;
    while next < to {
        assert!(Instant::now() < deadline, "{partition} is read up to {next} of {to} only");
        let before = next;
        follower
            .poll_new(|record| {
                next = record.offset + 1;
                if record.offset < to {
                    records.push(RawRecord {
                        topic: record.topic.to_owned(),
                        partition: record.partition as u32,
                        offset: record.offset,
                        timestamp_ms: record.timestamp_ms.unwrap(),
                        payload: record.payload.unwrap_or_default().to_vec(),
                    });
                }
            })
            .unwrap();
        if next == before {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    records
}
