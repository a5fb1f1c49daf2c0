//! Postgres may go and come; the rest of the engine does not wait for it.

use std::time::Duration;

use crate::facts::{assert_all_stored, eventually};
use crate::records::workload;
use crate::support::{Deployment, Settings};

const EVENTS: usize = 12_000;

#[test]
fn without_postgres_all_but_the_store_goes_on_and_it_catches_up() {
    let mut deployment = Deployment::start(2, &Settings::default());
    deployment.postgres.stop().unwrap();
    let mut records = workload(EVENTS as u64, 2);
    let mut raw = deployment.produce(records.by_ref().take(EVENTS / 2));
    let mut replicas = [deployment.replica("one", &[])];
    let limit = Duration::from_secs(40);
    eventually("rows on Kafka without Postgres", limit, &mut replicas[0], |_| {
        (deployment.end_offsets("hourly-request-log-total") > 0).then_some(())
    });
    let why = eventually("the store says why it waits", limit, &mut replicas[0], |replica| {
        let (_, page) = replica.get("/readyz");
        page.lines().find(|line| line.starts_with("store: degraded")).map(str::to_owned)
    });
    assert!(why.contains("Postgres cannot be used now") && why.contains("refused"), "{why}");
    deployment.postgres.start_again().unwrap();
    assert_all_stored(&deployment, &raw, &mut replicas);

    // Now it falls while rows are being written: once in good order, once not.
    raw.extend(deployment.produce(records.by_ref().take(EVENTS / 4)));
    deployment.postgres.stop().unwrap();
    deployment.postgres.start_again().unwrap();
    raw.extend(deployment.produce(records));
    deployment.postgres.kill9().unwrap();
    deployment.postgres.start_again().unwrap();
    assert_all_stored(&deployment, &raw, &mut replicas);
    let (status, page) = replicas[0].get("/readyz");
    assert!(status.contains("200") && page.contains("store: ready"), "{status}\n{page}");
}
