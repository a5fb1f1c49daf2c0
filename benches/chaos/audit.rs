//! Whether all that came out is what an independent recomputation of the raw topics finds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use plimsoll::kafka::{Admin, EndOf, TopicPartition};

use super::cluster::read_input;
use super::lag::partitions;
use super::oracle::{self, Episode, Expected, RatioLevel, RatioRule, RawRecord, compare, ratio_episodes};
use super::story::{Story, is_open, read_output, text};
use super::support::{INPUTS, TABLES};
use super::trial::Trial;

const LIMIT: Duration = Duration::from_secs(300);
const ASK: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(200);

/// Figures of one trial, and everything that is wrong.
#[derive(Default)]
pub struct Findings {
    pub records: usize,
    pub rows: usize,
    pub dead_letters: usize,
    pub breaches: usize,
    pub episodes: usize,
    pub gaps: usize,
    /// What `plimsoll verify` compared: hours that lost records are not among it.
    pub verified: u64,
    pub wrong: Vec<String>,
}

struct Truth {
    expected: Expected,
    /// Of the rule `errors`.
    episodes: Vec<Episode>,
    records: usize,
}

/// The load has stopped, and every replica runs.
pub fn audit(trial: &mut Trial) -> Findings {
    let mut findings = Findings { gaps: trial.lost.len(), ..Findings::default() };
    let ended_s = trial.load.now_us() / 1_000_000;
    let truth = recount(trial, ended_s + 60);
    findings.records = truth.records;
    findings.rows = truth.expected.rows.len();
    findings.dead_letters = truth.expected.dead_letters.len();
    findings.episodes = truth.episodes.len();
    if let Err(problem) = settle(trial, &truth, ended_s + 60) {
        findings.wrong.push(problem);
    }
    if let Err(differences) = compare(&truth.expected.rows, &trial.deployment.all_rows()) {
        findings.wrong.push(differences);
    }
    findings.wrong.extend(dead_letters(trial, &truth.expected));
    findings.wrong.extend(gaps(trial));
    let story = Story::of(&read_output(&trial.deployment.connection, "slo-breaches"));
    findings.breaches = story.records;
    let told = story.episodes("errors");
    if told != truth.episodes {
        findings.wrong.push(difference(&truth.episodes, &told));
    }
    findings.wrong.extend(stored_breaches(trial, &story));
    findings.wrong.extend(story.wrong);
    match verify(trial, ended_s) {
        Ok(rows) => findings.verified = rows,
        Err(problem) => findings.wrong.push(problem),
    }
    findings
}

/// Rows that `plimsoll verify` found right.
fn verify(trial: &Trial, ended_s: i64) -> Result<u64, String> {
    let hour_s = ended_s - ended_s.rem_euclid(3_600);
    let [from, to] = [hour_s - 3_600, hour_s + 3_600].map(|at_s| oracle::rfc3339(at_s * 1_000_000));
    let said = trial.deployment.command(&["verify", "--format", "json", "--from", &from, "--to", &to]);
    let text = String::from_utf8_lossy(&said.stdout);
    if !said.status.success() {
        return Err(format!(
            "plimsoll verify: {}: {text}{}",
            said.status,
            String::from_utf8_lossy(&said.stderr)
        ));
    }
    let report: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    report["rows"].as_u64().ok_or_else(|| format!("no rows in {text}"))
}

/// One topic at a time: the raw records of all would not fit into memory.
fn recount(trial: &Trial, until_s: i64) -> Truth {
    let admin = Admin::open(&trial.deployment.connection).unwrap();
    let mut truth = Truth {
        expected: Expected { rows: Vec::new(), dead_letters: Vec::new() },
        episodes: Vec::new(),
        records: 0,
    };
    for topic in INPUTS {
        let mut raw: Vec<RawRecord> =
            trial.archive.iter().filter(|record| record.topic == topic).cloned().collect();
        let all = partitions(&admin, &[topic]);
        for (partition, end) in admin.offsets(&all, EndOf::LatestCommitted, ASK).unwrap() {
            let from = trial.begins.get(&partition).copied().unwrap_or(0);
            raw.extend(read_input(&trial.deployment.connection, &partition, from, end));
        }
        // Truncated twice, a partition was archived from where it began the second time: lost ranges are in neither.
        truth.records += raw.len();
        if topic == "request-log" {
            truth.episodes = ratio_episodes(&raw, &errors(), until_s);
        }
        let expected = oracle::expect(&raw);
        truth.expected.rows.extend(expected.rows);
        truth.expected.dead_letters.extend(expected.dead_letters);
    }
    truth.episodes.sort();
    truth
}

/// The rule of that name, as the oracle writes it.
fn errors() -> RatioRule {
    let level = |name, percent: u128| RatioLevel {
        name,
        above_billionths: percent * 10_000_000,
        window_s: 10,
        pane_s: 1,
        for_s: 0,
        min_events: 20,
    };
    RatioRule {
        group_by: vec!["service"],
        bad: |request| request.status >= 500,
        levels: vec![level("critical", 40), level("warning", 20)],
        hold_s: 5,
        no_data_after_s: 20,
    }
}

/// Waits until Postgres holds every event, every hour is final, and all is judged up to `until_s`.
fn settle(trial: &mut Trial, truth: &Truth, until_s: i64) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &truth.expected.rows {
        let table = TABLES.iter().find(|table| **table == row.table).expect("a shipped table");
        *wanted.entry(table).or_default() += row.values["event_count"].as_u64().expect("a count");
    }
    wanted.insert("dead_letter_hourly", truth.expected.dead_letters.len() as u64);
    let mut client = trial.deployment.client();
    loop {
        trial.fleet.tend(&trial.deployment);
        let mut found = BTreeMap::new();
        let mut provisional = 0i64;
        for table in wanted.keys() {
            let (column, open) = match *table {
                "dead_letter_hourly" => ("count", "0"),
                _ => ("event_count", "count(*) filter (where not is_final)"),
            };
            let query =
                format!("select coalesce(sum({column}), 0)::bigint, ({open})::bigint from plimsoll.{table}");
            let row = client.query_one(&query, &[]).map_err(|error| error.to_string())?;
            found.insert(*table, row.get::<_, i64>(0) as u64);
            provisional += row.get::<_, i64>(1);
        }
        let judged_s = judged_s(trial);
        let is_over = found == wanted && provisional == 0 && judged_s >= Some(until_s);
        if is_over && breaches_stored(trial, &mut client) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "after {LIMIT:?}: {found:?} events stored of {wanted:?}, {provisional} rows provisional, judged up to \
                 {judged_s:?} of {until_s}\n{}",
                trial.fleet.keep()
            ));
        }
        std::thread::sleep(STEP);
    }
}

fn breaches_stored(trial: &Trial, client: &mut postgres::Client) -> bool {
    let published = trial.deployment.records("slo-breaches").len() as i64;
    let query = "select count(*) from plimsoll.slo_breach_event";
    client.query_one(query, &[]).is_ok_and(|row| row.get::<_, i64>(0) == published)
}

/// The second of request-log up to which every shard has judged.
fn judged_s(trial: &Trial) -> Option<i64> {
    let mut beats: BTreeMap<Vec<u8>, Option<i64>> = BTreeMap::new();
    for (_, _, key, value) in trial.deployment.records("slo-breach-state") {
        if key.starts_with(b"heartbeat/") {
            let value: serde_json::Value = serde_json::from_slice(&value?).ok()?;
            let at = value["watermarks"]["request-log"].as_str();
            beats.insert(key, at.and_then(|at| Some(at.parse::<jiff::Timestamp>().ok()?.as_second())));
        }
    }
    if beats.len() < 6 { None } else { beats.into_values().min()? }
}

fn dead_letters(trial: &Trial, expected: &Expected) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut wanted: BTreeMap<(String, String, String, String), i64> = BTreeMap::new();
    let mut hours: BTreeMap<(String, String), i64> = BTreeMap::new();
    for letter in &expected.dead_letters {
        let place = (letter.partition.to_string(), letter.offset.to_string());
        *wanted.entry((letter.topic.clone(), place.0, place.1, letter.reason.to_owned())).or_default() += 1;
        *hours.entry((letter.topic.clone(), letter.reason.to_owned())).or_default() += 1;
    }
    let mut found = BTreeMap::new();
    for told in read_output(&trial.deployment.connection, "plimsoll-dead-letters") {
        let header = |name: &str| told.headers.get(name).cloned().unwrap_or_default();
        *found
            .entry((header("topic"), header("partition"), header("offset"), header("reason")))
            .or_default() += 1;
    }
    if found != wanted {
        let lacking: Vec<_> =
            wanted.iter().filter(|(place, count)| found.get(*place) != Some(count)).collect();
        let more: Vec<_> = found.iter().filter(|(place, count)| wanted.get(*place) != Some(count)).collect();
        wrong.push(format!(
            "dead letters: {} of the oracle's differ, as {:?}; {} of the topic's, as {:?}",
            lacking.len(),
            lacking.first(),
            more.len(),
            more.first()
        ));
    }
    let query = "select topic, reason, sum(count)::bigint from plimsoll.dead_letter_hourly group by 1, 2";
    let rows = trial.deployment.client().query(query, &[]).unwrap();
    let stored: BTreeMap<(String, String), i64> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    if stored != hours {
        wrong.push(format!("dead letters by reason in Postgres: {stored:?}, not {hours:?}"));
    }
    wrong
}

/// Each lost range was declared as it is, nothing else was, and rows say so exactly where they must.
fn gaps(trial: &Trial) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut declared = BTreeSet::new();
    for (_, log) in trial.fleet.logs() {
        for line in log.lines().filter(|line| line.contains("gap declared")) {
            let field = |name: &str| {
                let rest = line.split(&format!("{name}=")).nth(1)?;
                rest.split_whitespace().next().map(str::to_owned)
            };
            declared.insert((field("partition"), field("from"), field("to")));
        }
    }
    let text = |(partition, from, to): &(TopicPartition, i64, i64)| {
        (Some(partition.to_string()), Some(from.to_string()), Some(to.to_string()))
    };
    let lost: BTreeSet<_> = trial.lost.iter().map(text).collect();
    if declared != lost {
        wrong.push(format!("gaps declared: {declared:?}, lost: {lost:?}"));
    }
    let mut client = trial.deployment.client();
    for table in TABLES {
        let query = format!("select count(*) from plimsoll.{table} where not complete");
        let incomplete: i64 = client.query_one(&query, &[]).unwrap().get(0);
        let is_touched = table.starts_with("request_log") && !trial.lost.is_empty();
        if (incomplete > 0) != is_touched {
            wrong.push(format!("{table}: {incomplete} rows are incomplete, {} gaps", trial.lost.len()));
        }
    }
    wrong
}

/// `slo_breach` holds each episode's last state, `slo_breach_event` every transition.
fn stored_breaches(trial: &Trial, story: &Story) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut client = trial.deployment.client();
    let status = |last: &serde_json::Value| match (is_open(last), last["transition"] == "RETRACTED") {
        (_, true) => "RETRACTED",
        (true, false) => "OPEN",
        (false, false) => "RESOLVED",
    };
    let wanted: BTreeSet<(String, i64, String, String)> = story
        .latest
        .iter()
        .map(|(id, last)| {
            let revision = last["revision"].as_i64().expect("a revision");
            (id.clone(), revision, status(last).to_owned(), text(last, "severity"))
        })
        .collect();
    let query = "select episode_id, revision::bigint, status, severity from plimsoll.slo_breach";
    let rows = client.query(query, &[]).unwrap();
    let found: BTreeSet<(String, i64, String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    if found != wanted {
        let lacking = wanted.difference(&found).next();
        wrong.push(format!("slo_breach differs: {lacking:?} against {:?}", found.difference(&wanted).next()));
    }
    let query = "select count(*) from plimsoll.slo_breach_event";
    let events: i64 = client.query_one(query, &[]).unwrap().get(0);
    if events != story.records as i64 {
        wrong.push(format!("slo_breach_event holds {events} transitions of {}", story.records));
    }
    wrong
}

fn difference(wanted: &[Episode], found: &[Episode]) -> String {
    let lacking: Vec<_> = wanted.iter().filter(|episode| !found.contains(episode)).collect();
    let more: Vec<_> = found.iter().filter(|episode| !wanted.contains(episode)).collect();
    format!(
        "episodes: of {} the oracle finds {} were not told: {:#?}\n{} were told that it does not find: {:#?}",
        wanted.len(),
        lacking.len(),
        lacking.iter().take(5).collect::<Vec<_>>(),
        more.len(),
        more.iter().take(5).collect::<Vec<_>>()
    )
}
