//! A broker that refuses: the process ends at once and says which right is missing, and on what.

use std::time::Duration;

use plimsoll::kafka::Connection;
use plimsoll::local::Jit;
use plimsoll::local::kafka::LocalKafka;

use crate::facts::eventually;
use crate::support::{Deployment, Replica, Settings};

const LIMIT: Duration = Duration::from_secs(40);

/// Everybody may do everything with what no list of rights names.
const AUTHORIZER: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                          allow.everyone.if.no.acl.found=true\n";
const TOOL: &str = "org.apache.kafka.tools.AclCommand";

/// A resource, as the tool's options name it.
type Resource = [&'static str; 2];

/// From now on nobody may do anything else with it.
fn allow_only(deployment: &Deployment, resource: Resource, operations: &[&str]) {
    let mut arguments = vec!["--add", "--force", "--allow-principal", "User:*"];
    operations.iter().for_each(|operation| arguments.extend(["--operation", operation]));
    deployment.kafka.tool(TOOL, &[&arguments[..], &resource].concat()).unwrap();
}

fn allow_all(deployment: &Deployment, resource: Resource) {
    deployment.kafka.tool(TOOL, &[&["--remove", "--force"], &resource[..]].concat()).unwrap();
}

/// The last line it wrote names the resource and the right, and it did not try for ever before.
fn assert_ends_denied(replica: &mut Replica, before: usize, resource: &str, right: &str) {
    let status = replica.wait(LIMIT);
    let log = replica.log().split_off(before);
    assert_eq!(status.code(), Some(69), "{log}");
    let last = log.lines().last().unwrap();
    eprintln!("{last}");
    assert!(
        last.contains(resource) && last.contains("access denied; grant") && last.contains(right),
        "{log}"
    );
    assert!(!log.contains("panicked"), "{log}");
    let tries = log.matches("transaction did not commit").count();
    assert!(tries <= 2, "{tries} tries\n{log}");
}

fn start() -> Deployment {
    let brokers = || {
        let kafka = LocalKafka::start_with(Jit::Quick, AUTHORIZER).unwrap();
        let connection = Connection::to_brokers(kafka.brokers());
        (kafka, connection)
    };
    let more = "intervals: {heartbeat: 1s}\n";
    Deployment::on(brokers, 1, 2, &Settings { more, ..Settings::default() })
}

#[test]
fn a_missing_right_ends_the_process_and_is_named() {
    let deployment = start();
    let missing: [(Resource, &[&str], &str, &str); 4] = [
        (["--topic", "slo-breaches"], &["Alter"], "slo-breaches", "DESCRIBE_CONFIGS"),
        (["--topic", "request-log"], &["Describe"], "request-log", "READ"),
        (["--group", "plimsoll-evaluate"], &["Describe"], "`plimsoll-evaluate`", "READ"),
        (["--transactional-id", "plimsoll-ingest-one-0"], &["Describe"], "`plimsoll-ingest-one-0`", "WRITE"),
    ];
    // Its log goes on over restarts.
    let mut before = 0;
    for (resource, allowed, name, right) in missing {
        allow_only(&deployment, resource, allowed);
        let mut replica = deployment.replica("one", &[]);
        assert_ends_denied(&mut replica, before, name, right);
        before = replica.log().len();
        allow_all(&deployment, resource);
    }
}

#[test]
fn a_right_that_is_taken_away_ends_the_process_and_is_named() {
    let deployment = start();
    let taken: [(Resource, &[&str], &str, &str); 5] = [
        (["--topic", "plimsoll-partials"], &["Read"], "plimsoll-partials", "WRITE"),
        (["--topic", "slo-breach-state"], &["Read"], "slo-breach-state", "WRITE"),
        (["--topic", "plimsoll-rules"], &["Write"], "plimsoll-rules", "READ"),
        (["--group", "plimsoll-ingest"], &["Describe"], "`plimsoll-ingest`", "READ"),
        (
            ["--transactional-id", "plimsoll-evaluate-one-0"],
            &["Describe"],
            "`plimsoll-evaluate-one-0`",
            "WRITE",
        ),
    ];
    let mut before = 0;
    for (resource, allowed, name, right) in taken {
        let mut replica = deployment.replica("one", &[]);
        eventually("it runs", LIMIT, &mut replica, |replica| {
            let is_assigned = replica.log()[before..].contains("ingest partitions assigned");
            (is_assigned && replica.get("/readyz").0.contains("200")).then_some(())
        });
        allow_only(&deployment, resource, allowed);
        assert_ends_denied(&mut replica, before, name, right);
        before = replica.log().len();
        allow_all(&deployment, resource);
    }
}
