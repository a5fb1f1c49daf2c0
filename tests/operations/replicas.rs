//! Replicas that leave, hang and come back.

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use plimsoll::kafka::{Assignor, GroupReader, ReaderEvent, ReaderOptions, Start};

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

/// The evaluate worker of a replica called `instance`, as its group sees it.
fn member(deployment: &Deployment, instance: &str) -> GroupReader {
    let member = format!("plimsoll-evaluate-{instance}-0");
    let options = ReaderOptions {
        group: "plimsoll-evaluate".to_owned(),
        instance: Some(member.clone()),
        client_id: member,
        topics: vec!["plimsoll-partials".to_owned()],
        assignor: Assignor::CooperativeSticky,
        fetches_directly: false,
        gather: Duration::ZERO,
        session_timeout: Duration::from_secs(10),
    };
    GroupReader::open(&deployment.connection, options).unwrap()
}

fn next_event(reader: &mut GroupReader) -> ReaderEvent {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(event) = reader.next_event().unwrap() {
            return event;
        }
        assert!(Instant::now() < deadline, "no event");
        reader.read(Duration::from_millis(5), 1, |_| ()).unwrap();
    }
}

/// Who is killed after it was told to give up a shard, and before it joined again, comes back to a settled group in
/// which nobody has that shard.
#[test]
fn a_shard_that_is_nobodys_is_shared_out_again() {
    let deployment = Deployment::start(2, &Settings { internal_partitions: 2, ..Settings::default() });
    let (mut one, mut two) = (member(&deployment, "one"), None);
    loop {
        match next_event(&mut one) {
            ReaderEvent::Assigned(partitions) => {
                let starts: Vec<_> = partitions.into_iter().map(|p| (p, Start::Beginning)).collect();
                one.assign(&starts).unwrap();
                two.get_or_insert_with(|| member(&deployment, "two"));
            }
            ReaderEvent::Revoked { partitions, .. } => {
                assert_eq!(partitions.len(), 1);
                break;
            }
            event @ ReaderEvent::OffsetLost { .. } => panic!("{event:?}"),
        }
    }
    let mut two = two.unwrap();
    assert_eq!(next_event(&mut two), ReaderEvent::Assigned(Vec::new()));
    // As after a kill nobody answers; a drop would.
    let _ghosts = ManuallyDrop::new((one, two));

    let raw = deployment.produce(workload(EVENTS as u64 / 3, 2));
    let mut replicas = ["one", "two"].map(|name| deployment.replica(name, &[]));
    assert_all_stored(&deployment, &raw, &mut replicas);
    assert!(replicas[0].log().contains("shards are nobody's"), "{}", replicas[0].log());
    for replica in &mut replicas {
        assert!(replica.terminate(Duration::from_secs(5)).success(), "{}", replica.log());
    }
}
