//! Input topics that grow.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

use crate::facts::{assert_all_stored, expected};
use crate::records::workload;
use crate::support::{Deployment, Settings};

const EVENTS: usize = 6_000;
const BEFORE: u32 = 2;
const AFTER: u32 = 4;

/// The replica has asked after the topics for a while by then, and goes on without a restart.
#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    let deployment = Deployment::start(BEFORE, &Settings::default());
    let mut records = workload(EVENTS as u64, AFTER);
    let first = records.by_ref().take(EVENTS / 3).filter(|record| record.partition < BEFORE);
    let mut raw = deployment.produce(first);
    let mut replicas = [deployment.replica("one", &[])];
    let (_, counts) = expected(&deployment, &raw);
    deployment.wait_for_counts(&counts, &mut replicas, Duration::from_secs(60));

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", deployment.connection.brokers()).create().unwrap();
    let topics = ["commodity-prices", "ml-predictions", "request-log"];
    let more = topics.map(|topic| NewPartitions::new(topic, AFTER as usize));
    let added = runtime.block_on(admin.create_partitions(&more, &AdminOptions::new())).unwrap();
    assert!(added.iter().all(Result::is_ok), "{added:?}");
    raw.extend(deployment.produce(records));
    assert_all_stored(&deployment, &raw, &mut replicas);
    let [mut replica] = replicas;
    assert!(replica.terminate(Duration::from_secs(5)).success(), "{}", replica.log());
}
