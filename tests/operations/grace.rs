//! What would be too much: bad records, huge ones, too many keys, one key only, a reader that stands still. Each ends in
//! a state that is told and counted, and in bounded memory.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::generate::Generated;
use plimsoll::kafka::{Admin, TransactionalWriter, WriterRecord};

use crate::facts::{done, eventually, records, samples};
use crate::oracle::rfc3339;
use crate::records::{HOUR_US, SECOND_US, hour_of, now_us, record, request};
use crate::start::edit;
use crate::support::{Deployment, Replica, Settings};

/// Events that come after silence has ended their hour revise its rows, at most once a minute.
const LIMIT: Duration = Duration::from_secs(90);
const ASK: Duration = Duration::from_secs(20);
/// `limits.record`, and what the topic of the dead letters takes.
const RECORD_BYTES: usize = 1 << 20;
const LETTER_BYTES: usize = 1_048_588;
const INPUT_BYTES: usize = 16_000_000;
/// Of the series of requests, in each of four shards.
const SERIES: usize = 5;
const SHARDS: usize = 4;
const BACKLOG: usize = 120_000;
const BACKLOG_BYTES: usize = 360_000_000;
/// Three queues of 16 MB, what is under way to Kafka, and the process itself.
const MEMORY_BYTES: f64 = 280e6;

#[test]
fn what_cannot_be_counted_or_named_is_told_and_the_rest_goes_on() {
    let deployment = Deployment::start(2, &Settings::default());
    edit(&deployment, "sources/request-log.yaml", "limit: 20000", &format!("limit: {SERIES}"));
    take_large_requests(&deployment);
    let mut replica = deployment.replica("one", &[]);
    // Over, but so young that silence ends its hour.
    let at_us = hour_of(now_us()) - HOUR_US / 2;
    let mut letters = Letters::new();
    let mut events = bad_records_are_letters(&deployment, &mut replica, at_us, &mut letters);
    events +=
        huge_records_are_letters_of_their_beginning(&deployment, &mut replica, at_us, events, &mut letters);
    keys_beyond_the_limit_are_counted_together(&deployment, &mut replica, at_us, events, &letters);
    verify_finds_all(&deployment, &mut replica, at_us);
    a_newer_release_pauses_one_shard(&deployment, &mut replica);
    assert!(replica.terminate(Duration::from_secs(5)).success(), "{}", replica.log());
}

/// The input takes larger records than anything Plimsoll writes to.
fn take_large_requests(deployment: &Deployment) {
    let size = format!("max.message.bytes={INPUT_BYTES}");
    let of_topic =
        ["--alter", "--entity-type", "topics", "--entity-name", "request-log", "--add-config", &size];
    deployment.kafka.tool("kafka.admin.ConfigCommand", &of_topic).unwrap();
    let admin = Admin::open(&deployment.connection).unwrap();
    let config = admin.config(&["request-log", "plimsoll-dead-letters"], ASK).unwrap();
    assert_eq!(config[0]["max.message.bytes"], INPUT_BYTES.to_string());
    assert_eq!(config[1]["max.message.bytes"], LETTER_BYTES.to_string());
}

/// Waits until so many requests are rows, and so many letters of each reason are counted everywhere.
fn wait_for(deployment: &Deployment, replica: &mut Replica, events: u64, letters: &Letters) {
    let mut client = deployment.client();
    eventually("requests are rows and the others letters", LIMIT, replica, |_| {
        let query = "select coalesce(sum(event_count), 0)::bigint from plimsoll.request_log_total_hourly";
        let stored: i64 = client.query_one(query, &[]).ok()?.get(0);
        let query = "select reason, sum(count)::bigint from plimsoll.dead_letter_hourly group by 1";
        let rows = client.query(query, &[]).ok()?;
        let found: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let told = found.iter().map(|(reason, count)| (reason.as_str(), *count as u64)).collect();
        (stored as u64 == events && letters == &told).then_some(())
    });
    for (reason, count) in letters {
        let name = format!("plimsoll_dead_letters_total{{source=\"request-log\",reason=\"{reason}\"}}");
        let sample = samples(replica, &name);
        assert_eq!(sample.values().sum::<f64>(), *count as f64, "{sample:?}");
    }
    let (status, page) = replica.get("/readyz");
    assert!(status.contains("200") && !page.contains("degraded"), "{page}");
}

/// Bytes of a request, as JSON, with these members beside its time and its place.
fn with(at_us: i64, members: &str) -> Vec<u8> {
    let ts = rfc3339(at_us);
    format!(r#"{{"ts":"{ts}","route":"/","method":"GET",{members}}}"#).into_bytes()
}

/// The same, filled up to so many bytes.
fn filled(at_us: i64, bytes: usize) -> Vec<u8> {
    let good = |more: &str| {
        let members = r#""service":"shop","status":200,"duration_ms":1,"more":"#;
        with(at_us, &format!("{members}\"{more}\""))
    };
    good(&"x".repeat(bytes - good("").len()))
}

/// Bytes that no compression makes fewer of.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

type Letters = BTreeMap<&'static str, u64>;

/// Each among good ones of the same partition. Gives how many events there were.
fn bad_records_are_letters(
    deployment: &Deployment,
    replica: &mut Replica,
    at_us: i64,
    letters: &mut Letters,
) -> u64 {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let good = r#""service":"shop","status":200,"duration_ms":1"#;
    let mut not_utf8 = with(at_us, good);
    let place = not_utf8.iter().position(|byte| *byte == b's').unwrap();
    not_utf8[place] = 0xc3;
    let bad: [(Vec<u8>, &'static str); 12] = [
        (vec![0xff, 0x00, 0xfe, b'{'], "NOT_DECODABLE"),
        (Vec::new(), "NOT_DECODABLE"),
        (b"null".to_vec(), "NOT_DECODABLE"),
        (deep.clone().into_bytes(), "NOT_DECODABLE"),
        (not_utf8, "NOT_DECODABLE"),
        (with(at_us, &good.replace(r#""shop""#, &deep)), "WRONG_TYPE"),
        (with(at_us, &good.replace(r#""shop""#, "7")), "WRONG_TYPE"),
        (with(at_us, &good.replace("200", r#""ok""#)), "WRONG_TYPE"),
        (with(at_us, &good.replace("200", "700")), "OUT_OF_RANGE"),
        (with(at_us, &good.replace(":1", ":1e999999999")), "OUT_OF_RANGE"),
        (with(at_us, r#""service":"shop","status":200"#), "MISSING_FIELD"),
        (format!(r#"{{"ts":"yesterday","route":"/","method":"GET",{good}}}"#).into_bytes(), "BAD_TIMESTAMP"),
    ];
    // Nobody declared that member, so nobody looks into it.
    let mut sent = vec![record("request-log", 0, at_us, with(at_us, &format!(r#"{good},"more":{deep}"#)))];
    let mut events = 1;
    for (payload, reason) in bad {
        *letters.entry(reason).or_default() += 1;
        sent.push(record("request-log", 0, at_us, payload));
        sent.push(request(0, at_us, "shop", 200));
        events += 1;
    }
    deployment.produce(sent);
    wait_for(deployment, replica, events, letters);
    events
}

/// One as large as may be, and larger ones. Gives how many of them are events.
fn huge_records_are_letters_of_their_beginning(
    deployment: &Deployment,
    replica: &mut Replica,
    at_us: i64,
    before: u64,
    letters: &mut Letters,
) -> u64 {
    let of = |payload: Vec<u8>| record("request-log", 1, at_us, payload);
    let huge = noise(5_000_000);
    let key = Some(huge[..1_500_000].to_vec());
    deployment.produce([
        of(filled(at_us, RECORD_BYTES)),
        of(filled(at_us, RECORD_BYTES + 1)),
        of(huge[..RECORD_BYTES].to_vec()),
        of(huge.clone()),
        Generated { key, ..of(b"nothing".to_vec()) },
        request(1, at_us, "shop", 200),
    ]);
    *letters.entry("TOO_LARGE").or_default() += 2;
    *letters.entry("NOT_DECODABLE").or_default() += 2;
    wait_for(deployment, replica, before + 2, letters);

    let told = records(deployment, "plimsoll-dead-letters");
    let kept = deployment.records("plimsoll-dead-letters");
    assert_eq!(told.len(), kept.len());
    let mut lengths = Vec::new();
    for (told, (_, _, key, value)) in told.iter().zip(&kept) {
        let length = |header: &str| told.headers.get(header).map(|bytes| bytes.parse::<usize>().unwrap());
        let value = value.as_deref().unwrap_or_default();
        assert!(key.len() + value.len() < LETTER_BYTES);
        let cut = (length("original_bytes"), length("original_key_bytes"));
        if cut != (None, None) {
            assert!(key.len() + value.len() > LETTER_BYTES - 5_000, "as much as the topic takes");
            lengths.push(cut);
        }
        if told.headers["reason"] == "TOO_LARGE" && cut.0 == Some(5_000_000) {
            assert!(huge.starts_with(value), "its beginning");
        }
    }
    lengths.sort_unstable();
    let value = |bytes| (Some(bytes), None);
    let expected = [(None, Some(1_500_000)), value(RECORD_BYTES), value(RECORD_BYTES + 1), value(5_000_000)];
    assert_eq!(lengths, expected);
    let query = "select max(value_bytes) from plimsoll.dead_letter";
    assert_eq!(deployment.client().query_one(query, &[]).unwrap().get::<_, i64>(0), 5_000_000);
    2
}

/// Ten times as many services as there is room for.
fn keys_beyond_the_limit_are_counted_together(
    deployment: &Deployment,
    replica: &mut Replica,
    at_us: i64,
    before: u64,
    letters: &Letters,
) {
    let services = 10 * SERIES * SHARDS;
    let events = 5 * services as u64;
    let of = |n: u64| request(0, at_us, &format!("service-{}", n as usize % services), 200);
    deployment.produce((0..events).map(of));
    wait_for(deployment, replica, before + events, letters);
    let query = "select service = '_OTHER', count(*), sum(event_count)::bigint \
                 from plimsoll.request_log_hourly group by 1 order by 1";
    let counted = eventually("series and the rest add up", LIMIT, replica, |_| {
        let rows = deployment.client().query(query, &[]).unwrap();
        let of = |row: &postgres::Row| (row.get(0), row.get::<_, i64>(1), row.get::<_, i64>(2) as u64);
        let rows: Vec<(bool, i64, u64)> = rows.iter().map(of).collect();
        let sum: u64 = rows.iter().map(|(.., events)| events).sum();
        (sum == before + events).then_some(rows)
    });
    let [(false, named, _), (true, _, other)] = counted[..] else { panic!("{counted:?}") };
    assert!(named as usize <= SERIES * SHARDS, "{counted:?}");
    assert!(other > events / 2, "{counted:?}");
    eventually("the page counts the same", LIMIT, replica, |replica| {
        let page = samples(replica, "plimsoll_other_events_total{table=\"request_log_hourly\"}");
        (page.values().sum::<f64>() == other as f64).then_some(())
    });
    let series = samples(replica, "plimsoll_series{table=\"request_log_hourly\"");
    // And `_OTHER` itself.
    assert!(series.values().all(|series| *series <= SERIES as f64 + 1.0), "{series:?}");
}

/// Once the hour is over by the stream, another way of counting finds the same: also the letters that were cut.
fn verify_finds_all(deployment: &Deployment, replica: &mut Replica, at_us: i64) {
    deployment.wait_until_final(std::slice::from_mut(replica), LIMIT);
    let (from, to) = (rfc3339(hour_of(at_us)), rfc3339(hour_of(at_us) + HOUR_US));
    let report = done(&deployment.command(&["verify", "--from", &from, "--to", &to]));
    assert!(report.contains("request-log"), "{report}");
}

fn a_newer_release_pauses_one_shard(deployment: &Deployment, replica: &mut Replica) {
    let mut writer = TransactionalWriter::open(&deployment.connection, "test-newer").unwrap();
    writer.begin().unwrap();
    let newer = Some(&[99, 1, 0][..]);
    let record =
        WriterRecord { topic: "plimsoll-partials", partition: Some(2), payload: newer, ..Default::default() };
    writer.send(record).unwrap();
    writer.commit_records().unwrap();
    let why = eventually("the shard is paused", LIMIT, replica, |replica| {
        let (status, page) = replica.get("/readyz");
        assert!(status.contains("200"), "the others go on\n{page}");
        page.lines().find(|line| line.contains("shard 2 is paused")).map(str::to_owned)
    });
    assert!(why.contains("wire version 99") && why.contains("upgrade this replica"), "{why}");
    let paused = samples(replica, "plimsoll_shards_paused");
    assert_eq!(paused.values().sum::<f64>(), 1.0, "{paused:?}");

    let now = now_us();
    deployment.produce((0..100).map(|n| request(0, now, &format!("service-{n}"), 200)));
    eventually("other shards have rows of this hour", LIMIT, replica, |_| {
        let query = "select coalesce(sum(event_count), 0)::bigint from plimsoll.request_log_hourly \
                     where bucket_start = to_timestamp($1::bigint::double precision)";
        let hour_s = hour_of(now) / SECOND_US;
        let stored: i64 = deployment.client().query_one(query, &[&hour_s]).unwrap().get(0);
        (stored > 0).then_some(())
    });
}

/// All the load on one key of one partition, half of it bad, while Postgres is away: a backlog many times larger than
/// what the process may hold of it.
#[test]
fn one_key_takes_all_the_load_and_nothing_piles_up_in_memory() {
    let mut deployment = Deployment::start(2, &Settings::default());
    let mut replica = deployment.replica("one", &[]);
    eventually("it runs", LIMIT, &mut replica, |replica| {
        (replica.get("/readyz").0.contains("200")).then_some(())
    });
    deployment.postgres.stop().unwrap();
    let at_us = hour_of(now_us()) - HOUR_US / 2;
    let (good, mut bad) = (filled(at_us, BACKLOG_BYTES / BACKLOG), noise(BACKLOG_BYTES / BACKLOG));
    bad[0] = b'x';
    let of = |n: usize| {
        let payload = if n.is_multiple_of(2) { good.clone() } else { bad.clone() };
        Generated { key: Some(b"shop".to_vec()), ..record("request-log", 0, at_us, payload) }
    };
    deployment.produce((0..BACKLOG).map(of));

    let mut most = 0.0f64;
    let mut memory = |replica: &mut Replica| {
        most =
            samples(replica, "process_resident_memory_bytes").values().fold(most, |most, now| most.max(*now));
    };
    eventually("ingest has read all", LIMIT, &mut replica, |replica| {
        memory(replica);
        let read = samples(replica, "plimsoll_source_messages_read_total{source=\"request-log\"}");
        let lag = samples(replica, "plimsoll_source_lag_messages{source=\"request-log\"");
        let is_all = read.values().sum::<f64>() == BACKLOG as f64 && lag.values().all(|lag| *lag == 0.0);
        is_all.then_some(())
    });
    eventually("the store waits", LIMIT, &mut replica, |replica| {
        memory(replica);
        replica.get("/readyz").1.contains("store: degraded").then_some(())
    });
    deployment.postgres.start_again().unwrap();
    let half = BACKLOG as u64 / 2;
    let mut client = deployment.client();
    eventually("all is stored", LIMIT, &mut replica, |replica| {
        memory(replica);
        let sum =
            |column: &str, table: &str| format!("(select coalesce(sum({column}), 0) from plimsoll.{table})");
        let (rows, letters) = (sum("event_count", "request_log_hourly"), sum("count", "dead_letter_hourly"));
        let row = client.query_one(&format!("select {rows}::bigint, {letters}::bigint"), &[]).ok()?;
        ((row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64) == (half, half)).then_some(())
    });
    eprintln!("at most {:.0} MB for a backlog of {} MB", most / 1e6, BACKLOG_BYTES / 1_000_000);
    assert!(most < MEMORY_BYTES, "{most} bytes");
    assert!(replica.terminate(Duration::from_secs(5)).success(), "{}", replica.log());
}
