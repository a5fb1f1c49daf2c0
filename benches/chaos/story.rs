//! What was said about breaches, record by record, as a read_committed subscriber sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use plimsoll::kafka::{Admin, Connection, Follower, Record, read_whole};
use serde_json::Value;

use super::lag::partitions;
use super::oracle::{End, Episode};

const LIMIT: Duration = Duration::from_secs(120);

/// A committed record with its headers.
pub struct Told {
    pub key: String,
    pub value: Value,
    pub headers: BTreeMap<String, String>,
}

impl Told {
    fn of(record: &Record<'_>) -> Told {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header =
            |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), text(value.unwrap_or_default()));
        Told {
            key: text(record.key.unwrap_or_default()),
            value: record.payload.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default(),
            headers: record.headers().map(header).collect(),
        }
    }
}

/// The committed records of a topic, in order within each partition.
pub fn read_output(connection: &Connection, topic: &str) -> Vec<Told> {
    let admin = Admin::open(connection).unwrap();
    let mut told = Vec::new();
    for partition in partitions(&admin, &[topic]) {
        // Markers take offsets too, so the end alone does not tell when all have come.
        let mut last = None;
        let see = |offset: i64, _: &[u8], _: Option<&[u8]>| last = Some(offset);
        read_whole(connection, topic, partition.partition, LIMIT, see).unwrap();
        let Some(last) = last else { continue };
        let mut follower = Follower::open(connection, partition, 0).unwrap();
        let (mut at, deadline) = (-1, Instant::now() + LIMIT);
        while at < last {
            assert!(Instant::now() < deadline, "{topic} is read up to {at} of {last} only");
            follower
                .poll_new(|record| {
                    at = record.offset;
                    told.push(Told::of(&record));
                })
                .unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    told
}

/// All episodes, and what is wrong with how they were told.
#[derive(Default)]
pub struct Story {
    /// Last record of each episode, by its id.
    pub latest: BTreeMap<String, Value>,
    ce_ids: BTreeSet<String>,
    identities: BTreeSet<(String, u64)>,
    open: BTreeMap<String, String>,
    pub wrong: Vec<String>,
    pub records: usize,
}

impl Story {
    pub fn of(told: &[Told]) -> Story {
        let mut story = Story::default();
        told.iter().for_each(|told| story.hear(told));
        story
    }

    fn hear(&mut self, told: &Told) {
        let Told { key, value, headers } = told;
        let (episode, transition) = (text(value, "episode_id"), text(value, "transition"));
        let revision = value["revision"].as_u64().expect("a revision");
        let gist = format!("{transition} {revision} of {episode}");
        self.records += 1;
        if !self.ce_ids.insert(headers["ce_id"].clone()) {
            self.wrong.push(format!("ce_id twice: {gist}"));
        }
        if !self.identities.insert((episode.clone(), revision)) {
            self.wrong.push(format!("identity twice: {gist}"));
        }
        let before = self.latest.get(&episode);
        let may_follow = match (before.map(|before| text(before, "transition")).as_deref(), &*transition) {
            (None, "OPENED") => revision == 0,
            (Some("RETRACTED"), "OPENED") => true,
            (Some("OPENED" | "UPDATED" | "RESOLVED"), "UPDATED" | "RETRACTED") => true,
            (Some("OPENED" | "UPDATED"), "RESOLVED") => before.is_some_and(is_open),
            _ => false,
        };
        let next = before.map_or(0, |before| before["revision"].as_u64().expect("a revision") + 1);
        if !may_follow || revision != next {
            self.wrong.push(format!("{gist} after {:?}", before.map(|before| text(before, "transition"))));
        }
        match (is_open(value), self.open.get(key)) {
            (true, Some(other)) if *other != episode => {
                self.wrong.push(format!("{gist} while {other} is open"));
            }
            (true, _) => {
                self.open.insert(key.clone(), episode.clone());
            }
            (false, Some(other)) if *other == episode => {
                self.open.remove(key);
            }
            (false, _) => {}
        }
        self.latest.insert(episode, value.clone());
    }

    /// Of one rule, what was announced and not taken back.
    pub fn episodes(&self, rule: &str) -> Vec<Episode> {
        let said = self.latest.values().filter(|last| last["rule"]["name"] == rule);
        let said = said.filter(|last| text(last, "transition") != "RETRACTED");
        let mut episodes: Vec<Episode> = said.map(episode).collect();
        episodes.sort();
        episodes
    }
}

pub fn is_open(breach: &Value) -> bool {
    breach["resolved_at"].is_null() && text(breach, "transition") != "RETRACTED"
}

fn episode(breach: &Value) -> Episode {
    let second = |field: &str| text(breach, field).parse::<jiff::Timestamp>().expect("RFC 3339").as_second();
    let (recovered_s, resolved_s) = match breach["resolve_reason"].as_str() {
        None => (0, 0),
        Some(_) => (second("recovered_at"), second("resolved_at")),
    };
    let end = match breach["resolve_reason"].as_str() {
        None => End::Open,
        Some("NO_DATA_TIMEOUT") => End::NoData { recovered_s, resolved_s },
        Some(_) => End::Recovered { recovered_s, resolved_s },
    };
    let labels = breach["labels"].as_object().expect("labels").iter();
    Episode {
        group: labels.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect(),
        onset_s: second("onset_at"),
        end,
        level: text(breach, "severity"),
    }
}

pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}")).to_owned()
}
