//! Evaluate in memory: logs through shards to the records that others read.

use plimsoll::core::output::Output;
use plimsoll::core::rules::Rules;
use plimsoll::core::shard::{Shard, ShardOptions};
use plimsoll::wire::output::{OutputRecord, OutputTopics, TopicNames};
use plimsoll::wire::partial;
use serde_json::Value;
use std::collections::BTreeMap;

use super::oracle::{Row, row_of_record};

pub const OPTIONS: ShardOptions =
    ShardOptions { provisional_every_s: 300, heartbeat_every_s: 10, rows_per_record: 20 };

/// A shard and the names its outputs go by.
pub struct Evaluator {
    pub shard: Shard,
    topics: Option<(i64, OutputTopics)>,
}

impl Evaluator {
    pub fn new(shard: Shard) -> Evaluator {
        Evaluator { shard, topics: None }
    }

    /// What one record of the log makes.
    pub fn apply(&mut self, offset: i64, record: &[u8]) -> Vec<OutputRecord> {
        let record = partial::decode(record).expect("what ingest wrote");
        let mut outputs = Vec::new();
        self.shard.apply(offset, record, &mut outputs).unwrap_or_else(|violation| panic!("{violation}"));
        let Some((version, rules)) = self.shard.rules() else { return Vec::new() };
        if self.topics.as_ref().is_none_or(|(known, _)| *known != version) {
            self.topics = Some((version, topics(rules)));
        }
        let (_, topics) = self.topics.as_ref().expect("just made");
        outputs.iter().flat_map(|output: &Output| topics.encode(output, 0)).collect()
    }
}

fn topics(rules: &Rules) -> OutputTopics {
    let names = TopicNames {
        breaches: "breaches",
        breach_state: "breach-state",
        slo_hourly: "slo-hourly",
        rule_hourly: "rule-hourly",
        slo_status: "slo-status",
        dead_letters: "dead-letters",
    };
    OutputTopics::new(rules, &names, "test", str::to_owned)
}

/// All that the shards say, shard after shard.
pub fn evaluate(logs: &[Vec<Vec<u8>>]) -> Vec<Vec<OutputRecord>> {
    let one = |(id, log): (usize, &Vec<Vec<u8>>)| {
        let mut evaluator = Evaluator::new(Shard::new(id as u32, OPTIONS));
        (0..).zip(log).flat_map(|(offset, record)| evaluator.apply(offset, record)).collect()
    };
    logs.iter().enumerate().map(one).collect()
}

/// The hourly tables as a reader of the compacted topics has them. On the way it checks that versions grow, that
/// revisions do not fall, and that what is final stays so.
pub fn tables(outputs: &[Vec<OutputRecord>], rules: &Rules) -> Vec<Row> {
    let names: BTreeMap<String, &str> = rules
        .sources
        .iter()
        .flat_map(|source| source.rollups.iter().map(|rollup| (rollup.topic(), rollup.table.as_str())))
        .collect();
    let mut latest: BTreeMap<(&str, &[u8]), Row> = BTreeMap::new();
    for record in outputs.iter().flatten() {
        let Some(table) = names.get(&*record.topic) else { continue };
        let row = row_of_record(table, &record.key, &record.value).unwrap_or_else(|wrong| panic!("{wrong}"));
        if let Some(before) = latest.get(&(*table, record.key.as_slice())) {
            let number = |row: &Row, column: &str| row.values[column].as_i64().expect("a number");
            let (old, new) = (before, &row);
            assert!(number(new, "version") > number(old, "version"), "P5: {old:?} then {new:?}");
            let was_final = old.values["is_final"] == Value::Bool(true);
            assert!(!was_final || new.values["is_final"] == Value::Bool(true), "P5: {old:?} then {new:?}");
            let grown = number(new, "revision") - number(old, "revision");
            assert_eq!(grown, i64::from(was_final), "a revision for each row after the final one: {new:?}");
        }
        latest.insert((table, &record.key), row);
    }
    latest.into_values().collect()
}

/// Records of one topic, by shard.
pub fn of_topic<'a>(
    outputs: &'a [Vec<OutputRecord>],
    topic: &str,
) -> impl Iterator<Item = &'a OutputRecord> + use<'a> {
    let topic = topic.to_owned();
    outputs.iter().flatten().filter(move |record| *record.topic == *topic)
}
