//! What a command says when it cannot begin, and with which exit code.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use plimsoll::kafka::{Admin, TopicSpec};

use crate::facts::{done, refused};
use crate::support::{Deployment, Settings};

const ASK: Duration = Duration::from_secs(20);

/// Replaces text in a file of the configuration; it must be there.
pub fn edit(deployment: &Deployment, file: &str, from: &str, to: &str) {
    let path = deployment.folder().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn what_is_wrong_is_said_before_anything_begins() {
    let mut deployment = Deployment::start(2, &Settings::default());
    topics_are_created_once(&deployment);
    three_mistakes_are_told_at_once(&deployment);
    the_http_port_is_taken(&deployment);
    an_input_is_missing(&deployment);
    own_topics_are_missing_or_wrong(&deployment);
    a_broker_is_away(&mut deployment);
}

fn fresh(deployment: &Deployment) {
    deployment.write_config(&Settings::default());
}

fn topics_are_created_once(deployment: &Deployment) {
    assert_eq!(done(&deployment.command(&["topics", "create"])), "");
}

fn three_mistakes_are_told_at_once(deployment: &Deployment) {
    edit(deployment, "sources/request-log.yaml", "status >= 400 && status", "state >= 400 && status");
    edit(deployment, "alerts/platform.yaml", "critical: {above: 5%", "critical: {above: 5 apples");
    edit(deployment, "plimsoll.yaml", "internal_partitions", "internal_partition");
    for command in [&["run"][..], &["rules", "apply"]] {
        let text = refused(&deployment.command(command), 64);
        for place in ["sources/request-log.yaml:29:", "alerts/platform.yaml:16:", "plimsoll.yaml:3:"] {
            assert!(text.contains(place), "{command:?} does not name {place}\n{text}");
        }
    }
    fresh(deployment);
}

fn the_http_port_is_taken(deployment: &Deployment) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    edit(deployment, "plimsoll.yaml", "127.0.0.1:0", &address);
    let text = refused(&deployment.command(&["run"]), 64);
    assert!(text.contains(&address) && text.contains("`http.address`"), "{text}");
    fresh(deployment);
}

fn an_input_is_missing(deployment: &Deployment) {
    edit(deployment, "sources/request-log.yaml", "topic: request-log", "topic: requests");
    let text = refused(&deployment.command(&["run"]), 64);
    assert!(text.contains("topic requests does not exist"), "{text}");
    assert!(text.contains("plimsoll topics create --inputs"), "{text}");
    let created = done(&deployment.command(&["topics", "create", "--inputs", "2"]));
    // The optional source's topic was not there either.
    assert_eq!(created, "created platform-events\ncreated requests\n");
    fresh(deployment);
}

fn own_topics_are_missing_or_wrong(deployment: &Deployment) {
    edit(deployment, "plimsoll.yaml", "internal_partitions: 4", "internal_partitions: 6");
    let text = refused(&deployment.command(&["run"]), 64);
    for topic in ["plimsoll-partials", "plimsoll-changelog"] {
        assert!(text.contains(&format!("topic {topic} has 4 partitions, the settings say 6")), "{text}");
    }
    assert!(text.contains("set topics.internal_partitions to 4 again"), "{text}");

    fresh(deployment);
    edit(deployment, "plimsoll.yaml", "internal_partitions: 4", "prefix: other., internal_partitions: 4");
    let wrong = |name: &str, key: &str, value: &str| TopicSpec {
        name: name.into(),
        partitions: 4,
        replication_factor: 1,
        config: BTreeMap::from([(key.into(), value.into())]),
    };
    let wrong = [
        wrong("other.plimsoll-changelog", "cleanup.policy", "delete"),
        wrong("other.plimsoll-partials", "retention.ms", "60000"),
        wrong("other.plimsoll-dead-letters", "max.message.bytes", "100000"),
    ];
    Admin::open(&deployment.connection).unwrap().create(&wrong, ASK).unwrap();
    let text = refused(&deployment.command(&["run"]), 64);
    assert!(text.contains("topic other.slo-breaches does not exist"), "{text}");
    assert!(text.contains("has retention.ms=60000, needs 86400000 or more"), "{text}");
    assert!(text.contains("help: plimsoll topics create\n"), "{text}");
    assert!(text.contains("has cleanup.policy=delete, needs compact"), "{text}");
    assert!(text.contains("has max.message.bytes=100000, needs 1000000 or more"), "{text}");
    assert!(text.contains("--entity-name other.plimsoll-changelog"), "{text}");
    for command in [["rules", "apply"], ["rules", "show"], ["rules", "diff"]] {
        let text = refused(&deployment.command(&command), 64);
        assert!(text.contains("plimsoll topics create"), "{command:?} {text}");
    }
    fresh(deployment);
}

fn a_broker_is_away(deployment: &mut Deployment) {
    edit(deployment, "plimsoll.yaml", "connect_timeout: 5s", "connect_timeout: 1s");
    deployment.kafka.stop().unwrap();
    let address = deployment.kafka.brokers().to_owned();
    for command in [&["run"][..], &["topics", "create"], &["rules", "apply"], &["rules", "show"]] {
        let began = Instant::now();
        let text = refused(&deployment.command(command), 69);
        assert!(text.contains(&address), "{text}");
        assert!(began.elapsed() < Duration::from_secs(10), "{command:?} took {:?}", began.elapsed());
    }
}
