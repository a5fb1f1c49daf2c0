//! Properties passed through to librdkafka, but for those that the guarantees rest on.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostics, Place, Problem};
use super::reader::{Mapping, scalar};
use super::settings::Secret;
use super::yaml::Node;

/// Why Plimsoll sets a property itself. None: the property is the operator's.
fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "enable.auto.commit"
        | "auto.commit.enable"
        | "auto.commit.interval.ms"
        | "enable.auto.offset.store" => {
            Some("offsets are committed with the output that is made of them, in one transaction")
        }
        "isolation.level" => Some("records of aborted transactions must never be read"),
        "transactional.id" | "transaction.timeout.ms" => {
            Some("it is made of `application`, `instance` and the worker, so that a stale owner is fenced")
        }
        "enable.idempotence"
        | "acks"
        | "request.required.acks"
        | "max.in.flight"
        | "max.in.flight.requests.per.connection"
        | "retries"
        | "message.send.max.retries" => {
            Some("transactions write each record exactly once and in order only with Plimsoll's own value")
        }
        "group.id" | "group.instance.id" => Some("it is made of `application`, `instance` and the role"),
        "partition.assignment.strategy" | "group.protocol" => {
            Some("each role hands its partitions over in the way its state needs")
        }
        "auto.offset.reset" => Some("offsets never jump in silence: a lost range is declared, not skipped"),
        "partitioner" => Some("a key must go to one partition, whichever replica writes it"),
        "bootstrap.servers" | "metadata.broker.list" => Some("the brokers stand in `kafka.brokers`"),
        _ => None,
    }
}

fn check(name: &str) -> Result<(), Problem> {
    match reserved(name) {
        None => Ok(()),
        Some(why) => {
            let message = format!("`{name}` cannot be set here: {why}");
            Err(Problem::new(message, "remove the line"))
        }
    }
}

/// The mapping `kafka.properties`. Values are never shown.
pub fn from_yaml(node: &Node, diagnostics: &mut Diagnostics) -> BTreeMap<String, Secret> {
    let entries = Mapping::of_any_keys(node, diagnostics).map_or(&[][..], |mapping| mapping.entries);
    let mut properties = BTreeMap::new();
    for entry in entries {
        let value = check(&entry.key).and_then(|()| scalar(&entry.value));
        if let Some(value) = diagnostics.accept(&entry.place, value) {
            properties.insert(entry.key.clone(), Secret::new(value));
        }
    }
    properties
}

/// A file of `name=value` lines, as Kafka's own tools take it. Values are never shown.
pub fn from_file(file: &str, text: &str, diagnostics: &mut Diagnostics) -> BTreeMap<String, Secret> {
    let mut properties = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let place = Place { file: file.into(), line: index + 1 };
        let no_value = || Problem::new("a line without `=`", "write `name=value`; comments start with #");
        let Some((name, value)) = diagnostics.accept(&place, line.split_once('=').ok_or_else(no_value))
        else {
            continue;
        };
        let name = name.trim_end();
        if diagnostics.accept(&place, check(name)).is_some() {
            properties.insert(name.to_owned(), Secret::new(value.trim_start()));
        }
    }
    properties
}
