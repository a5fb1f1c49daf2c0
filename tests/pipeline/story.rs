//! The breach topic as a subscriber follows it.

use plimsoll::wire::output::OutputRecord;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::oracle::{End, Episode, Judged};

/// Everything said about the breaches of one rule, checked record by record (P6).
#[derive(Default)]
pub struct Story {
    /// Last record of each episode, by alert key and opening.
    latest: BTreeMap<(String, String), Value>,
    /// As the compacted topic has it, by alert key.
    state: BTreeMap<String, Value>,
    identities: BTreeSet<(String, String, u64)>,
    /// Alert key and the gist of each record, for people.
    told: Vec<(String, String)>,
    ce_ids: BTreeSet<Vec<u8>>,
    pub transitions: BTreeMap<String, usize>,
}

/// The stories of all rules, by `document/rule`.
pub fn stories(outputs: &[Vec<OutputRecord>]) -> BTreeMap<String, Story> {
    let mut stories: BTreeMap<String, Story> = BTreeMap::new();
    for shard in outputs {
        let breaches = shard.iter().filter(|r| r.topic.starts_with("breach") && !r.key.starts_with(b"heart"));
        let told: Vec<(&OutputRecord, Value)> =
            breaches.map(|r| (r, serde_json::from_slice(&r.value).expect("a breach is JSON"))).collect();
        // What one record of the log makes is committed together.
        for together in told.chunk_by(|a, b| a.1["version"] == b.1["version"]) {
            for (record, breach) in together {
                stories.entry(rule_of(breach)).or_default().hear(record, breach.clone());
            }
            for (_, breach) in together {
                stories[&rule_of(breach)].check_alert(&text(breach, "alert_key"));
            }
        }
    }
    stories
}

fn rule_of(breach: &Value) -> String {
    format!("{}/{}", text(&breach["rule"], "document"), text(&breach["rule"], "name"))
}

impl Story {
    fn hear(&mut self, record: &OutputRecord, breach: Value) {
        assert_eq!(record.key, text(&breach, "alert_key").as_bytes());
        if &*record.topic == "breach-state" {
            self.state.insert(text(&breach, "alert_key"), breach);
            return;
        }
        let (_, id) = record.headers.iter().find(|(name, _)| *name == "ce_id").expect("a CloudEvent");
        let told = self.told_of(&text(&breach, "alert_key"));
        assert!(self.ce_ids.insert(id.clone()), "P6: an id came twice: {}\n{told}", gist(&breach));
        let transition = text(&breach, "transition");
        let revision = breach["revision"].as_u64().expect("a revision");
        let key = (text(&breach, "alert_key"), text(&breach, "opened_at"));
        *self.transitions.entry(transition.clone()).or_default() += 1;
        let identity = (key.0.clone(), key.1.clone(), revision);
        assert!(self.identities.insert(identity), "P6: an identity came twice: {breach}");
        self.told.push((key.0.clone(), gist(&breach)));
        let before = self.latest.get(&key);
        let may_follow = match (before.map(|before| text(before, "transition")).as_deref(), &*transition) {
            (None, "OPENED") => revision == 0,
            (Some("RETRACTED"), "OPENED") => true,
            (Some("OPENED" | "UPDATED" | "RESOLVED"), "UPDATED" | "RETRACTED") => true,
            (Some("OPENED" | "UPDATED"), "RESOLVED") => is_open(before.expect("just seen")),
            _ => false,
        };
        assert!(may_follow, "P6: {breach} after {before:?}");
        let last = before.map_or(0, |before| before["revision"].as_u64().expect("a revision") + 1);
        assert_eq!(revision, last, "P6: revisions are counted: {breach}");
        assert!(transition != "RESOLVED" || !is_open(&breach), "resolved when? {breach}");
        self.latest.insert(key, breach);
    }

    /// One episode is open at most, and the compacted topic shows it.
    fn check_alert(&self, alert_key: &str) {
        let of_alert = self.latest.iter().filter(|((key, _), _)| key == alert_key);
        let open: Vec<&Value> = of_alert.map(|(_, last)| last).filter(|last| is_open(last)).collect();
        assert!(open.len() <= 1, "P6: {} open at once after\n{}", open.len(), self.told_of(alert_key));
        let state = self.state.get(alert_key).filter(|state| is_open(state));
        let shown = state.map(|state| (&state["opened_at"], &state["revision"]));
        let wanted = open.first().map(|last| (&last["opened_at"], &last["revision"]));
        assert_eq!(
            shown,
            wanted,
            "the state of an alert is that of its open episode\n{}",
            self.told_of(alert_key)
        );
    }

    /// Each record about one alert, a line each.
    fn told_of(&self, alert_key: &str) -> String {
        let lines = self.told.iter().filter(|(key, _)| key == alert_key).map(|(_, gist)| gist.as_str());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What was announced and not taken back.
    pub fn episodes(&self) -> Vec<Episode> {
        let said = self.latest.values().filter(|last| text(last, "transition") != "RETRACTED");
        let mut episodes: Vec<Episode> = said.map(episode).collect();
        episodes.sort();
        episodes
    }

    /// The same with what is told beside: when it opened, its worst value and its bad events, as last told.
    pub fn judged(&self) -> Vec<Judged> {
        let said = self.latest.values().filter(|last| text(last, "transition") != "RETRACTED");
        let mut judged: Vec<Judged> = said.map(judged).collect();
        judged.sort();
        judged
    }

    /// The maintenance each ended episode fell in, as last told.
    pub fn suppressed(&self) -> Vec<(Episode, Vec<String>)> {
        let said =
            self.latest.values().filter(|last| text(last, "transition") != "RETRACTED" && !is_open(last));
        let names = |last: &Value| {
            let names = last["suppressed_by"].as_array().expect("names").iter();
            names.map(|name| name.as_str().expect("text").to_owned()).collect()
        };
        let mut suppressed: Vec<_> = said.map(|last| (episode(last), names(last))).collect();
        suppressed.sort();
        suppressed
    }

    /// Each thing said about any alert, a line each, for people.
    pub fn all_told(&self) -> String {
        self.told.iter().map(|(_, gist)| gist.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Transition and severity of each thing said.
    pub fn said(&self) -> Vec<(String, String)> {
        let words = |(_, gist): &(String, String)| {
            let mut words = gist.split(' ').map(str::to_owned);
            (words.nth(1).expect("a transition"), words.nth(1).expect("a severity"))
        };
        self.told.iter().map(words).collect()
    }

    pub fn reasons(&self) -> BTreeSet<String> {
        self.latest.values().filter_map(|last| Some(last["resolve_reason"].as_str()?.to_owned())).collect()
    }
}

fn gist(breach: &Value) -> String {
    let fields =
        ["transition", "severity", "onset_at", "opened_at", "recovered_at", "resolved_at", "evaluated_at"];
    let short = |field| {
        let value = breach[field].as_str().unwrap_or("-");
        value.strip_suffix(".000000Z").and_then(|at| at.split_once('T')).map_or(value, |(_, time)| time)
    };
    let values: Vec<String> = fields.iter().map(|field| format!("{field} {}", short(field))).collect();
    format!("{} revision {} version {}", values.join(" "), breach["revision"], breach["version"])
}

fn is_open(breach: &Value) -> bool {
    breach["resolved_at"].is_null() && text(breach, "transition") != "RETRACTED"
}

fn episode(breach: &Value) -> Episode {
    let labels = breach["labels"].as_object().expect("labels");
    let second = |field: &str| {
        let at: jiff::Timestamp = text(breach, field).parse().expect("RFC 3339");
        at.as_second()
    };
    let end = match breach["resolve_reason"].as_str() {
        None => End::Open,
        Some("RECOVERED") => {
            End::Recovered { recovered_s: second("recovered_at"), resolved_s: second("resolved_at") }
        }
        Some("NO_DATA_TIMEOUT") => {
            End::NoData { recovered_s: second("recovered_at"), resolved_s: second("resolved_at") }
        }
        Some(other) => panic!("{other} is not the end of an episode by its counts: {breach}"),
    };
    Episode {
        group: labels
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
            .collect(),
        onset_s: second("onset_at"),
        end,
        level: text(breach, "severity"),
    }
}

fn judged(breach: &Value) -> Judged {
    let opened_at: jiff::Timestamp = text(breach, "opened_at").parse().expect("RFC 3339");
    Judged {
        episode: episode(breach),
        opened_s: opened_at.as_second(),
        // Nine digits behind the point.
        worst_billionths: text(breach, "worst_value").replace('.', "").parse().expect("a decimal"),
        bad_total: breach["bad_total"].as_u64().expect("a count"),
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}")).to_owned()
}
