//! The breaches that were told: no id twice, and each episode as its lifecycle allows.
//!
//! Of a breach only its id and how its episode stands are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::kafka::{Admin, Connection, KafkaError, read_to_end};

use super::difference::{Difference, Differences};
use super::topic::beginnings;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreachTally {
    pub records: u64,
    pub episodes: u64,
    pub open: u64,
}

/// Of a record, what its place in the story depends on.
#[derive(Clone, Debug, Deserialize)]
pub struct Told {
    alert_key: String,
    episode_id: String,
    revision: u64,
    transition: String,
    resolved_at: Option<String>,
    /// What one record of the log made is told together.
    version: i64,
}

impl Told {
    fn is_open(&self) -> bool {
        self.resolved_at.is_none() && self.transition != "RETRACTED"
    }
}

/// How an episode stood when it was last told.
#[derive(Debug)]
struct Last {
    revision: u64,
    transition: String,
    is_open: bool,
}

/// One topic, read in the order of each partition.
#[derive(Debug, Default)]
pub struct Breaches {
    ids: BTreeSet<String>,
    /// By alert and episode.
    episodes: BTreeMap<String, BTreeMap<String, Last>>,
    /// The version that was last told of an alert.
    versions: BTreeMap<String, i64>,
    /// The oldest records are gone, and with them how some episodes opened.
    is_cut: bool,
    records: u64,
}

/// Reads the whole topic.
pub fn read_breaches(
    connection: &Connection,
    admin: &Admin,
    topic: &str,
    ask: Duration,
    differences: &mut Differences,
) -> Result<BreachTally, KafkaError> {
    let starts = beginnings(admin, topic, ask)?;
    let mut breaches = Breaches { is_cut: starts.iter().any(|(_, first)| *first > 0), ..Breaches::default() };
    read_to_end(connection, admin, &starts, ask, |record| {
        let id = record.headers().find(|(name, _)| *name == "ce_id").and_then(|(_, value)| value);
        let id = id.map(|id| String::from_utf8_lossy(id).into_owned());
        let heard = match serde_json::from_slice(record.payload.unwrap_or_default()) {
            Ok(told) => breaches.hear(id, record.key.unwrap_or_default(), &told),
            Err(error) => vec![("record".to_owned(), "a breach".to_owned(), error.to_string())],
        };
        let place = format!("{topic}[{}], offset {}", record.partition, record.offset);
        for (column, expected, found) in heard {
            let row = String::new();
            differences.push(Difference { place: place.clone(), row, column, expected, found });
        }
    })?;
    for (alert_key, expected, found) in breaches.still_open() {
        let (place, column) = (topic.to_owned(), "open episodes".to_owned());
        differences.push(Difference { place, row: alert_key, column, expected, found });
    }
    Ok(breaches.tally())
}

/// Column, what was expected, what was found.
type Wrong = (String, String, String);

impl Breaches {
    /// Takes the next record of a partition; gives what is wrong with it.
    pub fn hear(&mut self, id: Option<String>, key: &[u8], told: &Told) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut say = |column: &str, expected: &str, found: String| {
            wrong.push((column.to_owned(), expected.to_owned(), found));
        };
        self.records += 1;
        match id {
            None => say("ce_id", "an id", "none".to_owned()),
            Some(id) if self.ids.contains(&id) => say("ce_id", "an id of its own", format!("{id} again")),
            Some(id) => drop(self.ids.insert(id)),
        }
        if key != told.alert_key.as_bytes() {
            say("key", &told.alert_key, String::from_utf8_lossy(key).into_owned());
        }
        // What the record before has made is told in full.
        let is_new = self.versions.get(&told.alert_key).is_some_and(|version| *version != told.version);
        self.versions.insert(told.alert_key.clone(), told.version);
        let episodes = self.episodes.entry(told.alert_key.clone()).or_default();
        let open = episodes.values().filter(|last| last.is_open).count();
        if is_new && open > 1 {
            say("open episodes", "one of an alert at most", open.to_string());
        }
        let before = episodes.get(&told.episode_id);
        let may_follow = match (before.map(|last| last.transition.as_str()), told.transition.as_str()) {
            (None, "OPENED") => told.revision == 0 || self.is_cut,
            (None, "UPDATED" | "RESOLVED" | "RETRACTED") => self.is_cut,
            (Some("RETRACTED"), "OPENED") => true,
            (Some("OPENED" | "UPDATED" | "RESOLVED"), "UPDATED" | "RETRACTED") => true,
            (Some("OPENED" | "UPDATED"), "RESOLVED") => before.is_some_and(|last| last.is_open),
            _ => false,
        };
        let stood = before.map_or("nothing told yet".to_owned(), |last| {
            format!("{} at revision {}", last.transition, last.revision)
        });
        if !may_follow {
            let found = format!("{} at revision {}", told.transition, told.revision);
            say("transition", &format!("one that may follow {stood}"), found);
        }
        if before.is_some_and(|last| told.revision != last.revision + 1) {
            say("revision", &format!("the one after {stood}"), told.revision.to_string());
        }
        if told.transition == "RESOLVED" && told.resolved_at.is_none() {
            say("resolved_at", "a time", "none".to_owned());
        }
        let last =
            Last { revision: told.revision, transition: told.transition.clone(), is_open: told.is_open() };
        episodes.insert(told.episode_id.clone(), last);
        wrong
    }

    /// Alerts with several open episodes when all was told.
    fn still_open(&self) -> Vec<Wrong> {
        let open = |episodes: &BTreeMap<String, Last>| episodes.values().filter(|last| last.is_open).count();
        let many = self.episodes.iter().map(|(alert, episodes)| (alert, open(episodes)));
        many.filter(|(_, open)| *open > 1)
            .map(|(alert, open)| (alert.clone(), "one at most".to_owned(), open.to_string()))
            .collect()
    }

    fn tally(&self) -> BreachTally {
        let all = || self.episodes.values().flat_map(BTreeMap::values);
        BreachTally {
            records: self.records,
            episodes: all().count() as u64,
            open: all().filter(|last| last.is_open).count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns that are wrong, record by record: (id, episode, revision, transition, is over).
    fn heard(is_cut: bool, records: &[(&str, &str, u64, &str, bool)]) -> Vec<Vec<String>> {
        let mut breaches = Breaches { is_cut, ..Breaches::default() };
        let told = |at: usize| {
            let (id, episode, revision, transition, is_over) = records[at];
            let resolved_at = is_over.then(|| "2025-10-31T02:00:00.000000Z".to_owned());
            let (alert_key, episode_id) = ("alert".to_owned(), episode.to_owned());
            let transition = transition.to_owned();
            let version = at as i64;
            let told = Told { alert_key, episode_id, revision, transition, resolved_at, version };
            (id.to_owned(), told)
        };
        let mut hear = |(id, told): (String, Told)| {
            breaches.hear(Some(id), b"alert", &told).into_iter().map(|(column, ..)| column).collect()
        };
        (0..records.len()).map(told).map(&mut hear).collect()
    }

    #[test]
    fn a_whole_life_is_legal() {
        let life = [
            ("1", "a", 0, "OPENED", false),
            ("2", "a", 1, "UPDATED", false),
            ("3", "a", 2, "RESOLVED", true),
            ("4", "a", 3, "UPDATED", true),
            ("5", "a", 4, "RETRACTED", true),
            ("6", "a", 5, "OPENED", false),
            ("7", "a", 6, "RESOLVED", true),
            ("8", "b", 0, "OPENED", false),
        ];
        assert!(heard(false, &life).iter().all(Vec::is_empty), "{:?}", heard(false, &life));
        assert!(heard(true, &life[2..]).iter().all(Vec::is_empty), "its beginning is gone");
        assert_eq!(heard(false, &life[2..3]), [["transition"]]);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let opened = ("1", "a", 0, "OPENED", false);
        let after = |next| heard(false, &[opened, next]).remove(1);
        assert_eq!(after(opened), ["ce_id", "transition", "revision"]);
        assert_eq!(after(("2", "a", 2, "UPDATED", false)), ["revision"]);
        assert_eq!(after(("2", "a", 1, "RESOLVED", false)), ["resolved_at"]);
        let resolved_twice = [opened, ("2", "a", 1, "RESOLVED", true), ("3", "a", 2, "RESOLVED", true)];
        assert_eq!(heard(false, &resolved_twice)[2], ["transition"]);
        let two_open = [opened, ("2", "b", 0, "OPENED", false), ("3", "b", 1, "UPDATED", false)];
        assert_eq!(heard(false, &two_open)[2], ["open episodes"]);
    }
}
