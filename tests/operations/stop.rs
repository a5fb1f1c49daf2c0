//! SIGTERM and restart.

use std::time::Duration;

use crate::facts::{assert_all_stored, eventually};
use crate::records::workload;
use crate::support::{Deployment, Replica, Settings};

const EVENTS: usize = 12_000;

fn stop(replica: &mut Replica) {
    let before = replica.log().matches("grace is over").count();
    let status = replica.terminate(Duration::from_secs(5));
    let log = replica.log();
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(log.matches("grace is over").count(), before, "{log}");
}

#[test]
fn a_stop_commits_and_a_restart_under_the_same_name_goes_on() {
    let deployment = Deployment::start(3, &Settings::default());
    let mut records = workload(EVENTS as u64, 3);
    let mut raw = deployment.produce(records.by_ref().take(EVENTS / 3));
    let mut replicas = [deployment.replica("one", &[])];
    eventually("partials are written", Duration::from_secs(40), &mut replicas[0], |_| {
        (deployment.end_offsets("plimsoll-partials") > 0).then_some(())
    });
    stop(&mut replicas[0]);

    raw.extend(deployment.produce(records.by_ref().take(EVENTS / 3)));
    replicas[0] = deployment.replica("one", &[]);
    assert_all_stored(&deployment, &raw, &mut replicas);
    stop(&mut replicas[0]);

    raw.extend(deployment.produce(records));
    replicas[0] = deployment.replica("one", &[]);
    assert_all_stored(&deployment, &raw, &mut replicas);
    // A checkpoint stands for all that was committed when the one before stopped.
    let log = replicas[0].log();
    let last: Vec<&str> = log.lines().filter(|line| line.contains("shard restored")).collect();
    for line in &last[last.len() - 4..] {
        assert!(line.contains("replay=0"), "{line}");
    }
    stop(&mut replicas[0]);
}

/// A worker that waits for something outside must not hold up the others, nor the orchestrator.
#[test]
fn a_stop_waits_for_no_database() {
    let deployment = Deployment::start(3, &Settings::default());
    let mut records = workload(EVENTS as u64, 3);
    let mut raw = deployment.produce(records.by_ref().take(EVENTS / 2));
    let mut replicas = [deployment.replica("one", &[])];
    assert_all_stored(&deployment, &raw, &mut replicas);

    let mut client = deployment.client();
    let mut locked = client.transaction().unwrap();
    locked.batch_execute("lock table plimsoll.kafka_offset in access exclusive mode").unwrap();
    raw.extend(deployment.produce(records));
    eventually("the store waits", Duration::from_secs(40), &mut replicas[0], |_| {
        let waits = "select count(*) > 0 from pg_locks where not granted and relation = $1::text::regclass";
        let waits: bool = locked.query_one(waits, &[&"plimsoll.kafka_offset"]).unwrap().get(0);
        waits.then_some(())
    });
    let status = replicas[0].terminate(Duration::from_secs(5));
    let log = replicas[0].log();
    assert!(status.success(), "{status}\n{log}");
    assert!(log.contains("grace is over") && log.contains("left=\"store\""), "{log}");

    locked.rollback().unwrap();
    replicas[0] = deployment.replica("one", &[]);
    assert_all_stored(&deployment, &raw, &mut replicas);
    stop(&mut replicas[0]);
}
