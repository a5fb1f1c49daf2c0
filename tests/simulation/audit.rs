//! What must hold whatever has happened.
//!
//! Every transaction that commits is looked at: what a shard says in it is, record for record, what a shard that never
//! crashed makes of the committed log (P3), of which offsets never go back (P5), whose watermark follows the slowest
//! partition, and whose windows add up (P4). At the end everything is counted by hand from the raw records (P1, P2),
//! and the breaches are told the way a subscriber may rely on (P6).

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use plimsoll::core::output::Output;
use plimsoll::core::partial::LogRecord;
use plimsoll::core::shard::Shard;
use plimsoll::wire::output::{OutputRecord, OutputTopics, TopicNames};
use plimsoll::wire::partial;
use serde_json::Value;

use super::broker::{Broker, Payload, Topic, Transaction};
use super::group::Role;
use super::process::Outside;
use super::rules::{OPTIONS, OUT_OF_ORDER_US, PLAN, SETTINGS, SHARDS};
use super::story::stories;
use super::traffic::{Hour, PARTITIONS, SECOND_US, Traffic};

/// Series, and bytes in one record, that are never exceeded.
const MOST_SERIES: usize = 11;
const MOST_BYTES: usize = 512 << 10;
/// Longer than any window, hold or silence of a rule.
const QUIET_US: i64 = 120 * SECOND_US;

#[derive(Default)]
pub struct Audit {
    /// Decided transactions looked at.
    looked: usize,
    offsets: BTreeMap<(Role, i32), i64>,
    shards: BTreeMap<i32, Reference>,
    /// Everything each shard has said.
    said: BTreeMap<i32, Vec<OutputRecord>>,
    ce_ids: BTreeSet<Vec<u8>>,
}

/// A shard that never crashes, applied to what was committed.
struct Reference {
    number: i32,
    shard: Shard,
    /// The offset to apply next.
    next: i64,
    topics: OutputTopics,
    /// By source partition: offsets folded and whether it idles.
    partitions: BTreeMap<i32, (i64, bool)>,
    /// By source partition: log time of the newest clock that said so.
    silent_us: BTreeMap<i32, i64>,
    highest_us: i64,
}

impl Audit {
    /// Looks at what has been decided since it last did.
    pub fn look(&mut self, outside: &Outside) -> Result<(), String> {
        while let Some(&at) = outside.broker.decided.get(self.looked) {
            self.looked += 1;
            let transaction = outside.broker.transaction(at);
            for (role, partition, committed) in &transaction.offsets {
                let before = self.offsets.insert((*role, *partition), committed.next);
                if before.is_some_and(|before| before > committed.next) {
                    return Err(format!(
                        "P5: {role:?} went back from {before:?} to {committed:?} on {partition}"
                    ));
                }
            }
            match transaction.by.role {
                Role::Evaluate => self.evaluated(outside, transaction)?,
                Role::Ingest => sizes(&outside.broker, transaction)?,
                Role::Store => {}
            }
        }
        Ok(())
    }

    /// What the shards said in a transaction is what they had to say.
    fn evaluated(&mut self, outside: &Outside, transaction: &Transaction) -> Result<(), String> {
        let payload = |&(place, at): &_| outside.broker.payload(place, at);
        let payloads = || transaction.entries.iter().filter_map(payload);
        for (_, shard, committed) in &transaction.offsets {
            let reference = self.shards.entry(*shard).or_insert_with(|| Reference::new(*shard));
            let expected = reference.up_to(committed.next, outside)?;
            let said = payloads().filter_map(|payload| match payload {
                Payload::Output(by, record) if by == shard => Some(record),
                _ => None,
            });
            let said: Vec<&OutputRecord> = said.collect();
            if let Some(at) =
                (0..said.len().max(expected.len())).find(|&at| said.get(at).copied() != expected.get(at))
            {
                let [said, expected] = [said.get(at).copied(), expected.get(at)].map(shown);
                return Err(format!(
                    "P3: shard {shard} up to {}: said {said}, should say {expected}",
                    committed.next
                ));
            }
            for record in &expected {
                let id = record.headers.iter().find(|(name, _)| *name == "ce_id");
                if let Some((_, id)) = id.filter(|_| &*record.topic == "breaches")
                    && !self.ce_ids.insert(id.clone())
                {
                    return Err(format!("P6: {} came twice", String::from_utf8_lossy(id)));
                }
            }
            self.said.entry(*shard).or_default().extend(expected);
        }
        Ok(())
    }

    /// Whether every shard has heard that all partitions were silent after `at_us`, clocks off by a second or not.
    pub fn is_silent_since(&self, at_us: i64) -> bool {
        let heard = |reference: &Reference| {
            reference.silent_us.values().filter(|silent_us| **silent_us > at_us + SECOND_US).count()
        };
        self.shards.len() == SHARDS as usize && self.shards.values().all(|r| heard(r) == PARTITIONS as usize)
    }

    /// Counts everything by hand.
    pub fn finish(&self, outside: &Outside) -> Result<(), String> {
        let Outside { traffic, broker, database, .. } = outside;
        rows(traffic, &database.rows)?;
        let (letters, _) = broker.read((Topic::Letters, 0), 0, usize::MAX);
        let letter = |(_, payload): (i64, &Payload)| match payload {
            Payload::Letter(partition, offset, reason) => Some((*partition, *offset, *reason)),
            Payload::Partial(_) | Payload::Change(_) | Payload::Output(..) => None,
        };
        let mut letters: Vec<_> = letters.into_iter().filter_map(letter).collect();
        letters.sort_unstable();
        if letters != traffic.dead() {
            return Err(format!("P1: dead letters {letters:?}, should be {:?}", traffic.dead()));
        }
        self.episodes(traffic)?;
        let told = self.said.values().flatten().filter(|record| &*record.topic == "breaches").count();
        if told != database.transitions.len() {
            return Err(format!("P6: {told} transitions told, {} stored", database.transitions.len()));
        }
        Ok(())
    }

    fn episodes(&self, traffic: &Traffic) -> Result<(), String> {
        let outputs: Vec<Vec<OutputRecord>> = self.said.values().cloned().collect();
        let told = catch_unwind(AssertUnwindSafe(|| stories(&outputs)));
        let told =
            told.map_err(|panic| *panic.downcast::<String>().unwrap_or_else(|_| Box::from("P6".to_owned())))?;
        let watermark_us = self.shards.values().map(|reference| reference.highest_us).min().unwrap_or(0);
        // Long after the last event nothing changes any more.
        let until_us = watermark_us.min(traffic.last_us() + QUIET_US);
        for (rule, expected) in traffic.episodes(until_us.div_euclid(SECOND_US)) {
            let expected: Vec<_> = expected.into_iter().map(|judged| judged.episode).collect();
            let found = told.get(rule).map(|story| story.episodes()).unwrap_or_default();
            if found != expected {
                let told = told.get(rule).map(|story| story.all_told()).unwrap_or_default();
                return Err(format!("{rule}: found {found:#?}, should be {expected:#?}\n{told}"));
            }
        }
        Ok(())
    }
}

impl Reference {
    fn new(shard: i32) -> Reference {
        let topics = &SETTINGS.topics;
        let names = TopicNames {
            breaches: &topics.breaches,
            breach_state: &topics.breach_state,
            slo_hourly: &topics.slo_hourly,
            rule_hourly: &topics.rule_hourly,
            slo_status: &topics.slo_status,
            dead_letters: &topics.dead_letters,
        };
        Reference {
            number: shard,
            shard: Shard::new(shard as u32, OPTIONS),
            next: 0,
            topics: OutputTopics::new(&PLAN.rules, &names, &SETTINGS.cluster, |name| topics.full_name(name)),
            partitions: BTreeMap::new(),
            silent_us: BTreeMap::new(),
            highest_us: i64::MIN,
        }
    }

    /// All that is said from where it stands up to the offset `end`.
    fn up_to(&mut self, end: i64, outside: &Outside) -> Result<Vec<OutputRecord>, String> {
        let mut said = Vec::new();
        let number = self.number;
        let (records, _) = outside.broker.read((Topic::Partials, number), self.next, usize::MAX);
        for (offset, payload) in records.into_iter().take_while(|(offset, _)| *offset < end) {
            let Payload::Partial(bytes) = payload else { continue };
            let record = partial::decode(bytes).map_err(|error| error.to_string())?;
            self.note(&record);
            let mut outputs = Vec::new();
            self.shard
                .apply(offset, record, &mut outputs)
                .map_err(|violation| format!("shard {number}, offset {offset}: {violation}"))?;
            self.check(&outputs, &outside.traffic)?;
            said.extend(outputs.iter().flat_map(|output| self.topics.encode(output, 0)));
        }
        self.next = end.max(self.next);
        Ok(said)
    }

    /// Follows the source's partitions on its own.
    fn note(&mut self, record: &LogRecord) {
        let LogRecord::Partial(partial) = record else { return };
        for clock in &partial.clocks {
            let known = self.partitions.get(&clock.partition).is_some_and(|(_, idle)| *idle);
            let stays = known && clock.records == clock.dead_letters && clock.lag == 0;
            self.partitions.insert(clock.partition, (clock.to, clock.idle || stays));
            if clock.idle {
                self.silent_us.insert(clock.partition, partial.log_time_us);
            }
        }
    }

    fn check(&mut self, outputs: &[Output], traffic: &Traffic) -> Result<(), String> {
        for output in outputs {
            if let Output::Breach(breach) = output
                && let Some(window) = breach.windows.iter().find(|w| w.good + w.bad != w.total)
            {
                return Err(format!("P4: {window:?} does not add up"));
            }
        }
        if let Some((table, series, _)) = self.shard.series().find(|(_, series, _)| *series > MOST_SERIES) {
            return Err(format!("P7: {series} series in {table}"));
        }
        let found_us = self.shard.sources().find_map(|(_, clock)| clock.watermark_us());
        let Some(found_us) = found_us else { return Ok(()) };
        if found_us < self.highest_us {
            return Err(format!("P5: the watermark went back from {} to {found_us}", self.highest_us));
        }
        let newest_us = |(partition, (to, _)): (&i32, &(i64, bool))| match *to {
            0 => i64::MIN / 2,
            to => traffic.0[*partition as usize][to as usize - 1].newest_us.unwrap_or(i64::MIN / 2),
        };
        // When all idle it follows log time.
        let awake = self.partitions.iter().filter(|(_, (_, idle))| !idle).map(newest_us);
        let slowest_us = awake.min().map(|slowest_us| slowest_us - OUT_OF_ORDER_US);
        if let Some(slowest_us) =
            slowest_us.filter(|slowest_us| found_us > (*slowest_us).max(self.highest_us))
        {
            let ahead_us = found_us - slowest_us;
            return Err(format!("P2: the watermark is {ahead_us} us ahead of the slowest partition"));
        }
        self.highest_us = found_us;
        Ok(())
    }
}

/// No record is larger than what is allowed.
fn sizes(broker: &Broker, transaction: &Transaction) -> Result<(), String> {
    let bytes = |payload: &Payload| if let Payload::Partial(bytes) = payload { bytes.len() } else { 0 };
    let largest =
        transaction.entries.iter().filter_map(|&(place, at)| broker.payload(place, at)).map(bytes).max();
    match largest {
        Some(largest) if largest > MOST_BYTES => Err(format!("P7: a record of {largest} bytes")),
        Some(_) | None => Ok(()),
    }
}

/// Every hour in Postgres is final and is the count by hand.
fn rows(traffic: &Traffic, rows: &BTreeMap<(String, Vec<u8>), Value>) -> Result<(), String> {
    let number =
        |row: &Value, column: &str| row[column].as_u64().or_else(|| row[column].as_str()?.parse().ok());
    let mut found = BTreeMap::new();
    for ((_, key), row) in rows.iter().filter(|((topic, _), _)| topic.ends_with("hourly-requests")) {
        let service = row["service"].as_str().ok_or(format!("no service: {row}"))?;
        let start: jiff::Timestamp =
            row["bucket_start"].as_str().and_then(|at| at.parse().ok()).ok_or("no hour")?;
        let column = |name| number(row, name).ok_or(format!("{name} of {row}"));
        let hour = Hour {
            events: column("event_count")?,
            failed: column("error_count")?,
            bytes: column("bytes_sum")?,
        };
        if row["is_final"] != true || row["complete"] != true {
            return Err(format!("P2: {} is not finished: {row}", String::from_utf8_lossy(key)));
        }
        found.insert((service.to_owned(), start.as_microsecond()), hour);
    }
    let expected = traffic.hours();
    match found == expected {
        true => Ok(()),
        false => Err(format!("P1: the rows are {found:#?}, should be {expected:#?}")),
    }
}

fn shown(record: Option<&OutputRecord>) -> String {
    record.map_or("nothing".into(), |record| {
        format!(
            "{} {}: {}",
            record.topic,
            String::from_utf8_lossy(&record.key),
            String::from_utf8_lossy(&record.value)
        )
    })
}

const _: () = assert!(SHARDS == 2, "outputs are spread over two partitions, as are the shards");
