//! `plimsoll verify` says that all is right where the oracle says so, and finds whatever is made wrong afterwards.

mod oracle;
#[allow(dead_code)] // made for other tests, which use more of it
#[path = "support/outputs.rs"]
mod outputs;
mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use oracle::{RawRecord, rfc3339};
use plimsoll::core::output::{Output, Transition};
use plimsoll::generate::{PerTopic, Volume, Workload, WorkloadOptions};
use plimsoll::kafka::{Admin, TopicPartition, TransactionalWriter, WriterRecord};
use plimsoll::roles::wall_clock_us;
use serde_json::{Value, json};
use support::{Deployment, Settings, TABLES};

const HOUR_US: i64 = 3_600_000_000;
const HOURS: i64 = 5;
const LIMIT: Duration = Duration::from_secs(120);

/// Hours that are over but young enough to be live, so that every one of them is finished.
fn workload(start_us: i64) -> WorkloadOptions {
    WorkloadOptions {
        seed: 23,
        start_us,
        span_us: HOURS * HOUR_US - 60_000_000,
        volume: Volume::Events(30_000),
        partitions: PerTopic { prices: 3, predictions: 3, requests: 3 },
        late_share: 0.02,
        late_max_us: 60_000_000,
        bad_share: 0.01,
        ..WorkloadOptions::default()
    }
}

struct Verified {
    code: i32,
    report: Value,
}

impl Verified {
    /// Place, row, column, expected and found of each difference.
    fn differences(&self) -> Vec<[&str; 5]> {
        let all = self.report["differences"].as_array().unwrap().iter();
        let fields = ["place", "row", "column", "expected", "found"];
        all.map(|difference| fields.map(|field| difference[field].as_str().unwrap())).collect()
    }

    /// The sum of a figure over all tables and places.
    fn sum(&self, figure: &str) -> u64 {
        let sources = self.report["sources"].as_array().unwrap().iter();
        let tables = sources.flat_map(|source| source["tables"].as_array().unwrap());
        tables.map(|table| table[figure].as_u64().unwrap()).sum()
    }
}

fn verify(deployment: &Deployment, arguments: &[&str]) -> Verified {
    let output = deployment.command(&[&["verify", "--format", "json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    Verified { code: output.status.code().unwrap(), report }
}

fn write(deployment: &Deployment, topic: &str, record: WriterRecord<'_>) {
    let mut writer = TransactionalWriter::open(&deployment.connection, "test-meddler").unwrap();
    writer.begin().unwrap();
    writer.send(WriterRecord { topic, ..record }).unwrap();
    writer.commit_records().unwrap();
}

/// Tells of an episode's opening, as a shard would.
fn write_breach(deployment: &Deployment) {
    let breach = outputs::breach(outputs::HOUR_S, 0, Transition::Opened);
    let record = outputs::record(Output::Breach(Box::new(breach)));
    let headers: Vec<(&str, &[u8])> =
        record.headers.iter().map(|(name, text)| (*name, text.as_slice())).collect();
    let (key, payload) = (Some(record.key.as_slice()), Some(record.value.as_slice()));
    write(
        deployment,
        "slo-breaches",
        WriterRecord { partition: Some(0), key, payload, headers: &headers, ..WriterRecord::default() },
    );
}

#[test]
fn all_is_right_until_somebody_meddles() {
    let deployment = Deployment::start(3, &Settings::default());
    let now_us = wall_clock_us();
    let end_us = now_us - now_us.rem_euclid(HOUR_US);
    let start_us = end_us - HOURS * HOUR_US;
    let mut raw = deployment.produce(Workload::new(workload(start_us)).unwrap());
    let mut replicas = [deployment.replica("one", &[])];
    deployment.number(&mut raw);
    let expected = oracle::expect(&raw);
    let count =
        |table: &str| expected.table(table).map(|row| row.values["event_count"].as_u64().unwrap()).sum();
    let mut counts: BTreeMap<String, u64> =
        TABLES.iter().map(|table| ((*table).to_owned(), count(table))).collect();
    counts.insert("dead_letter_hourly".into(), expected.dead_letters.len() as u64);
    deployment.wait_for_counts(&counts, &mut replicas, LIMIT);
    deployment.wait_until_final(&mut replicas, LIMIT);
    assert!(replicas[0].terminate(Duration::from_secs(10)).success(), "{}", replicas[0].log());
    oracle::compare(&expected.rows, &deployment.all_rows())
        .unwrap_or_else(|differences| panic!("{differences}"));
    write_breach(&deployment);

    let (from, to) = (rfc3339(start_us), rfc3339(end_us));
    let range = ["--from", &from, "--to", &to];
    let all = verify(&deployment, &range);
    assert_eq!((all.code, all.differences().len()), (0, 0), "{}", all.report);
    assert!(all.report["sources"].as_array().unwrap().iter().all(|source| source["waiting_for_ingest"] == 0));
    // In Postgres and in the topics.
    assert_eq!(all.sum("equal"), 2 * expected.rows.len() as u64, "{}", all.report);
    assert_eq!(all.sum("not_final") + all.sum("incomplete") + all.sum("with_hour_gone"), 0);
    let of_sources = |figure: &str| {
        let sources = all.report["sources"].as_array().unwrap().iter();
        sources.map(|source| source[figure].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(of_sources("records"), raw.len() as u64);
    assert_eq!(of_sources("events"), (raw.len() - expected.dead_letters.len()) as u64);
    assert_eq!(all.report["breaches"]["records"], deployment.records("slo-breaches").len());
    let reasons: BTreeMap<&str, u64> =
        expected.dead_letters.iter().fold(BTreeMap::new(), |mut all, letter| {
            *all.entry(letter.reason).or_default() += 1;
            all
        });
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for source in all.report["sources"].as_array().unwrap() {
        for (reason, count) in source["dead_letters"].as_object().unwrap() {
            *found.entry(reason).or_default() += count.as_u64().unwrap();
        }
    }
    assert_eq!(found, reasons);

    // Hours of the middle need records before and after them.
    let (second, third) = (rfc3339(start_us + 2 * HOUR_US), rfc3339(start_us + 3 * HOUR_US));
    let one_hour = verify(&deployment, &["--from", &second, "--to", &third, "--source", "request-log"]);
    assert_eq!(one_hour.code, 0, "{}", one_hour.report);
    let of_hour = expected.rows.iter().filter(|row| row.hour_us == start_us + 2 * HOUR_US);
    let of_hour = of_hour.filter(|row| row.table.starts_with("request_log")).count();
    assert_eq!(one_hour.sum("equal"), 2 * of_hour as u64);
    // Without a range: the hours that no late event can change any more.
    let settled = verify(&deployment, &[]);
    assert_eq!((settled.code, &settled.report["from"]), (0, &from.replace(".000000", "").into()));
    assert!(settled.sum("equal") > 0 && settled.sum("not_final") == 0, "{}", settled.report);

    forget(&deployment, &raw, &range, start_us);
    let is_dead = |offset: i64| {
        let mut letters = expected.dead_letters.iter();
        letters.any(|letter| (&*letter.topic, letter.partition, letter.offset) == ("request-log", 1, offset))
    };
    let mut of_partition =
        raw.iter().filter(|record| (&*record.topic, record.partition) == ("request-log", 1));
    let event = of_partition.find(|record| !is_dead(record.offset)).unwrap();
    meddle(&deployment, &range, start_us, event.offset);
    refuse(&deployment);
}

/// Records deleted from one partition: what they may have been part of is left out, and said.
fn forget(deployment: &Deployment, raw: &[RawRecord], range: &[&str], start_us: i64) {
    let old_ms = (start_us + 2 * HOUR_US + HOUR_US / 6) / 1_000;
    let is_kept = |record: &&RawRecord| {
        (&*record.topic, record.partition) == ("ml-predictions", 0) && record.timestamp_ms >= old_ms
    };
    let first = raw.iter().find(is_kept).unwrap();
    let partition = TopicPartition::new("ml-predictions", 0);
    let admin = Admin::open(&deployment.connection).unwrap();
    admin.delete_records(&[(partition, first.offset)], LIMIT).unwrap();
    let rest = verify(deployment, &[range, &["--source", "ml-predictions"]].concat());
    assert_eq!(rest.code, 0, "{}", rest.report);
    let third = rfc3339(start_us + 3 * HOUR_US).replace(".000000", "");
    let source = &rest.report["sources"][0];
    assert_eq!((&source["from"], rest.sum("equal") > 0), (&Value::from(third.clone()), true));
    assert_eq!(source["note"], format!("its topic holds hours from {third} on"));
    let (from, to) = (rfc3339(start_us), rfc3339(start_us + 2 * HOUR_US));
    let none = deployment.command(&["verify", "--from", &from, "--to", &to, "--source", "ml-predictions"]);
    assert_eq!(none.status.code(), Some(64), "nothing can be compared");
    assert!(String::from_utf8_lossy(&none.stdout).contains("does not hold these hours any more"));
}

/// One wrong after the other, each found beside those before.
fn meddle(deployment: &Deployment, range: &[&str], start_us: i64, event_offset: i64) {
    let mut client = deployment.client();
    let hour = &rfc3339(start_us + HOUR_US).replace(".000000", "");
    let at = format!("bucket_start = '{hour}'");
    let sum = format!("select bytes_sum::text from plimsoll.request_log_total_hourly where {at}");
    let right: String = client.query_one(&sum, &[]).unwrap().get(0);
    let raise = |by: i64| {
        format!("update plimsoll.request_log_total_hourly set bytes_sum = bytes_sum + {by} where {at}")
    };
    client.batch_execute(&raise(1)).unwrap();
    let one = verify(deployment, range);
    let wrong: String = client.query_one(&sum, &[]).unwrap().get(0);
    let tampered = [
        "request_log_total_hourly",
        &format!("[] {hour}"),
        "bytes_sum",
        &format!("{right:?}"),
        &format!("{wrong:?}"),
    ];
    assert_eq!((one.code, one.differences()), (65, vec![tampered]), "{}", one.report);
    assert_eq!(one.sum("different"), 1);
    // Of an hour that lost input and says so nothing is expected, nor of one that is not final.
    for flag in ["complete", "is_final"] {
        let set = |to| format!("update plimsoll.request_log_total_hourly set {flag} = {to} where {at}");
        client.batch_execute(&set(false)).unwrap();
        let excused = verify(deployment, range);
        assert_eq!((excused.code, excused.sum("incomplete") + excused.sum("not_final")), (0, 1));
        client.batch_execute(&set(true)).unwrap();
    }

    let gone = client
        .query_one(
            &format!(
                "delete from plimsoll.request_log_region_hourly where region = \
                 (select max(region) from plimsoll.request_log_region_hourly where {at}) and {at} \
                 returning region, event_count"
            ),
            &[],
        )
        .unwrap();
    let (region, events): (String, i64) = (gone.get(0), gone.get(1));
    let two = verify(deployment, range);
    let row = format!("[{region}] {hour}");
    let events = format!("a row of {events} events");
    let deleted = ["request_log_region_hourly", &row, "row", &events, "no such row"];
    assert_eq!((two.code, two.differences()), (65, vec![deleted, tampered]), "{}", two.report);

    let topic = "hourly-request-log-total";
    let told = deployment.records(topic).into_iter().rfind(|(.., value)| {
        let row: Value = serde_json::from_slice(value.as_ref().unwrap()).unwrap();
        row["is_final"] == true
            && row["bucket_start"].as_str().unwrap().starts_with(hour.trim_end_matches('Z'))
    });
    let (partition, _, key, value) = told.unwrap();
    let mut row: Value = serde_json::from_slice(&value.unwrap()).unwrap();
    let count = row["event_count"].as_u64().unwrap();
    row["event_count"] = json!(count - 1);
    let payload = row.to_string().into_bytes();
    let record = WriterRecord {
        partition: Some(partition),
        key: Some(&key),
        payload: Some(&payload),
        ..WriterRecord::default()
    };
    write(deployment, topic, record);
    let three = verify(deployment, range);
    let row = format!("[] {hour}");
    let (right, wrong) = (count.to_string(), (count - 1).to_string());
    let told_wrong = [topic, &row, "event_count", &right, &wrong];
    assert_eq!(
        (three.code, three.differences()),
        (65, vec![deleted, tampered, told_wrong]),
        "{}",
        three.report
    );

    write_breach(deployment);
    let four = verify(deployment, range);
    let breach: Vec<_> =
        four.differences().into_iter().filter(|d| d[0].starts_with("slo-breaches[0]")).collect();
    assert_eq!(breach.iter().map(|d| d[2]).collect::<Vec<_>>(), ["ce_id", "transition", "revision"]);
    assert!(breach[0][4].ends_with(" again"), "{}", four.report);

    let offset = event_offset.to_string();
    let headers: [(&str, &[u8]); 4] = [
        ("topic", b"request-log"),
        ("partition", b"1"),
        ("offset", offset.as_bytes()),
        ("reason", b"TOO_LATE"),
    ];
    let letter = WriterRecord { partition: Some(0), headers: &headers, ..WriterRecord::default() };
    write(deployment, "plimsoll-dead-letters", letter);
    let five = verify(deployment, &[range, &["--differences", "1"]].concat());
    assert_eq!(five.report["difference_count"], 7, "{}", five.report);
    let [place, _, column, expected, found] = five.differences()[0];
    assert!(place.starts_with(&format!("request-log[1], offset {offset}, of ")), "{place}");
    assert_eq!((column, expected, found), ("dead letter", "none, it is an event", "TOO_LATE"));
    assert_eq!(five.differences().len(), 1);
    let text = deployment.command(&[&["verify", "--differences", "3"], range].concat());
    assert_eq!(text.status.code(), Some(65));
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("\nand 4 more; --differences shows them\n\n7 differences, "), "{text}");
}

fn refuse(deployment: &Deployment) {
    let said = |arguments: &[&str], code: i32| {
        let output = deployment.command(&[&["verify"], arguments].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    };
    let text = said(&["--from", "2025-10-31T02:30:00Z", "--to", "tomorrow"], 64);
    assert!(
        text.contains("rows are of whole ones: `2025-10-31T02:00:00Z`") && text.contains("--to: `tomorrow`")
    );
    assert!(said(&["--source", "request-logs"], 64).contains("did you mean `request-log`?"));
    said(&["--brokers", "127.0.0.1:1"], 69);
    said(&["--database-url", "postgres://nobody@127.0.0.1:1/none"], 69);
}

/// Where there is no deployment: what is asked for is checked before anything is reached.
#[test]
fn a_range_ends_after_it_begins() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["verify", "--from", "2025-10-31T02:00:00Z", "--to", "2025-10-31T02:00:00Z"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--to is not after --from"));
}
