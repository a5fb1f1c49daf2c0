//! Replicas that leave, hang and come back.

use std::time::Duration;

use crate::facts::{assert_all_stored, eventually, expected};
use crate::records::workload;
use crate::support::{Deployment, Settings};

const EVENTS: usize = 12_000;

#[test]
fn one_stops_one_hangs_one_joins_and_every_event_counts_once() {
    let deployment = Deployment::start(4, &Settings::default());
    let mut records = workload(EVENTS as u64, 4);
    let mut raw = deployment.produce(records.by_ref().take(EVENTS / 3));
    let mut leaving = deployment.replica("leaving", &[]);
    let mut hanging = deployment.replica("hanging", &[]);
    for replica in [&mut leaving, &mut hanging] {
        replica.wait_for_log("shard restored", Duration::from_secs(60));
        replica.wait_for_log("ingest partitions assigned", Duration::from_secs(60));
    }
    raw.extend(deployment.produce(records.by_ref().take(EVENTS / 3)));
    assert!(leaving.terminate(Duration::from_secs(5)).success(), "{}", leaving.log());
    hanging.pause();
    let mut joining = [deployment.replica("joining", &[])];
    // Both others are silent, so the group gives all they had to the third.
    let (_, counts) = expected(&deployment, &raw);
    deployment.wait_for_counts(&counts, &mut joining, Duration::from_secs(120));
    joining[0].wait_for_log("shard restored shard=3", Duration::from_secs(20));

    hanging.resume();
    raw.extend(deployment.produce(records));
    // It has lost everything it held. It joins anew, under the name that is still its own, and takes a share.
    eventually("the zombie is ready again", Duration::from_secs(60), &mut hanging, |replica| {
        let (status, _) = replica.get("/readyz");
        let restores = replica.log().matches("shard restored").count();
        (status.contains("200") && restores > 2).then_some(())
    });
    let mut both = [joining.into_iter().next().unwrap(), hanging];
    assert_all_stored(&deployment, &raw, &mut both);
    for replica in &mut both {
        assert!(replica.terminate(Duration::from_secs(5)).success(), "{}", replica.log());
    }
}
