//! The workload is what it says: the same for the same seed, late and bad in the shares asked for, each bad record
//! bad for the reason it names, and incidents where they were put.

mod oracle;

use std::collections::{BTreeMap, BTreeSet};

use oracle::{Event, RawRecord, Request, Verdict};
use plimsoll::generate::file::{FileError, read_file, write_file};
use plimsoll::generate::{
    Bad, Generated, Incident, Kind, OptionsError, PerTopic, Topic, Volume, Workload, WorkloadOptions,
};

const MINUTE_US: i64 = 60_000_000;

fn options(events: u64) -> WorkloadOptions {
    WorkloadOptions { volume: Volume::Events(events), ..WorkloadOptions::default() }
}

fn generate(options: WorkloadOptions) -> Vec<Generated> {
    Workload::new(options).unwrap().collect()
}

/// The records as a broker would hold them, with an offset each.
fn produced(records: &[Generated]) -> Vec<RawRecord> {
    let mut next: BTreeMap<(&str, u32), i64> = BTreeMap::new();
    let raw = |record: &Generated| {
        let offset = next.entry((record.topic, record.partition)).or_default();
        *offset += 1;
        RawRecord {
            topic: record.topic.to_owned(),
            partition: record.partition,
            offset: *offset - 1,
            timestamp_ms: record.timestamp_ms,
            payload: record.payload.clone(),
        }
    };
    records.iter().map(raw).collect()
}

/// The oracle's verdict beside each record.
fn judged(records: &[Generated]) -> Vec<(&Generated, Verdict)> {
    let mut verdicts = BTreeMap::new();
    for verdict in oracle::judge(&produced(records)) {
        let place = match &verdict {
            Verdict::Accepted(accepted) => (topic_of(&accepted.event), accepted.partition, accepted.offset),
            Verdict::Dead(letter) => (topic_named(&letter.topic), letter.partition, letter.offset),
        };
        assert!(verdicts.insert(place, verdict).is_none());
    }
    let places = produced(records);
    let pair = |(record, raw): (_, &RawRecord)| {
        let place = (topic_named(&raw.topic), raw.partition, raw.offset);
        (record, verdicts.remove(&place).expect("a verdict for each record"))
    };
    records.iter().zip(&places).map(pair).collect()
}

fn topic_named(name: &str) -> Topic {
    Topic::from_name(name).expect("one of the three")
}

fn topic_of(event: &Event) -> Topic {
    match event {
        Event::Price(_) => Topic::Prices,
        Event::Prediction(_) => Topic::Predictions,
        Event::Request(_) => Topic::Requests,
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let first = generate(options(5_000));
    assert_eq!(first.len(), 5_000);
    assert_eq!(first, generate(options(5_000)));
    let other = generate(WorkloadOptions { seed: 2, ..options(5_000) });
    assert!(first.iter().zip(&other).filter(|(a, b)| a.payload == b.payload).count() < 5);
}

#[test]
fn the_oracle_says_of_each_record_what_its_kind_says() {
    for distinct_times in [false, true] {
        let records =
            generate(WorkloadOptions { bad_share: 0.2, late_share: 0.05, distinct_times, ..options(30_000) });
        let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
        for (record, verdict) in judged(&records) {
            *seen.entry(record.kind).or_default() += 1;
            let payload = String::from_utf8_lossy(&record.payload);
            match (record.kind, &verdict) {
                (Kind::Good, Verdict::Accepted(accepted)) => assert!(!accepted.late, "{payload}"),
                (Kind::Late, Verdict::Accepted(accepted)) => assert!(accepted.late, "{payload}"),
                (Kind::Bad(bad), Verdict::Dead(letter)) => {
                    assert_eq!(letter.reason, bad.reason().name(), "{bad:?} {payload}");
                }
                (kind, verdict) => panic!("{kind:?}, but {verdict:?}: {payload}"),
            }
        }
        for bad in Bad::ALL {
            let count = seen[&Kind::Bad(bad)];
            assert!((850..1150).contains(&count), "{bad:?}: {count} of 30000 x 0.2 / 6");
        }
    }
}

#[test]
fn late_and_bad_come_in_the_shares_asked_for() {
    let late_share = 0.03;
    let records = generate(WorkloadOptions { late_share, bad_share: 0.01, ..options(100_000) });
    let count = |test: fn(&Generated) -> bool| records.iter().filter(|record| test(record)).count();
    let late = share(count(|r| r.kind == Kind::Late), records.len());
    let bad = share(count(|r| matches!(r.kind, Kind::Bad(_))), records.len());
    assert!((0.027..0.031).contains(&late), "{late}");
    assert!((0.009..0.011).contains(&bad), "{bad}");
    for topic in Topic::ALL {
        let named = records.iter().filter(|record| record.topic == topic.name()).count();
        let wanted = *WorkloadOptions::default().shares.get(topic);
        assert!((share(named, records.len()) - wanted).abs() < 0.01, "{topic:?} {named}");
    }
    let none = generate(WorkloadOptions { late_share: 0.0, bad_share: 0.0, ..options(20_000) });
    assert!(none.iter().all(|record| record.kind == Kind::Good));
}

#[test]
fn kafka_timestamps_are_event_time_or_arrival() {
    let records = generate(WorkloadOptions { late_share: 0.1, ..options(20_000) });
    let span = WorkloadOptions::default();
    let mut late_by_ms = Vec::new();
    for (record, verdict) in judged(&records) {
        let Verdict::Accepted(accepted) = verdict else { continue };
        let event_us = accepted.event.event_us();
        assert!((span.start_us..span.start_us + span.span_us).contains(&event_us));
        let behind_ms = record.timestamp_ms - event_us.div_euclid(1000);
        match record.kind {
            Kind::Late => late_by_ms.push(behind_ms),
            _ => assert!(behind_ms == 0 || behind_ms >= 3_000, "{behind_ms}"),
        }
    }
    let (least, most) = (late_by_ms.iter().min().unwrap(), late_by_ms.iter().max().unwrap());
    assert!(*least >= 2_000 && *most > 300_000 && *most <= 601_000, "{least} {most}");
}

#[test]
fn partitions_change_where_a_record_stands_and_nothing_else() {
    let spread = |partitions| PerTopic { prices: partitions, predictions: partitions, requests: partitions };
    let of = |partitions| generate(WorkloadOptions { partitions: spread(partitions), ..options(10_000) });
    let (one, seven) = (of(1), of(7));
    for (a, b) in one.iter().zip(&seven) {
        assert_eq!(
            (a.topic, a.timestamp_ms, &a.key, &a.payload),
            (b.topic, b.timestamp_ms, &b.key, &b.payload)
        );
    }
    for topic in Topic::ALL {
        let of_topic = seven.iter().filter(|record| record.topic == topic.name());
        let used: BTreeSet<u32> = of_topic.map(|record| record.partition).collect();
        assert_eq!(used, (0..7).collect(), "{topic:?}");
    }
    let mut by_key = BTreeMap::new();
    for record in seven.iter().filter(|record| record.key.is_some()) {
        assert_eq!(*by_key.entry(&record.key).or_insert(record.partition), record.partition);
    }
}

#[test]
fn distinct_times_are_distinct_when_events_stand_close() {
    let dense = WorkloadOptions {
        span_us: 100_000 * 64,
        late_max_us: 4_000_000,
        late_share: 0.3,
        distinct_times: true,
        ..options(100_000)
    };
    let mut times = BTreeSet::new();
    let mut late = 0;
    for (record, verdict) in judged(&generate(dense)) {
        if let Verdict::Accepted(accepted) = verdict {
            assert!(times.insert(accepted.event.event_us()), "{:?} twice", accepted.event);
        }
        late += usize::from(record.kind == Kind::Late);
    }
    assert!(late > 2_000, "{late}");
}

#[test]
fn distinct_times_make_rows_the_same_over_any_partitions() {
    let spread = |partitions| PerTopic { prices: partitions, predictions: partitions, requests: partitions };
    let of = |partitions| {
        let many = WorkloadOptions {
            span_us: 150 * MINUTE_US,
            distinct_times: true,
            late_share: 0.2,
            daily_wave: true,
            ..options(20_000)
        };
        generate(WorkloadOptions { partitions: spread(partitions), ..many })
    };
    // Lateness is a matter of the partition; all else must not be.
    let rows =
        |partitions| oracle::without(&oracle::expect(&produced(&of(partitions))).rows, &["late_count"]);
    let one = rows(1);
    assert!(one.len() > 100, "{}", one.len());
    oracle::compare(&one, &rows(5)).unwrap();
}

fn requests(records: &[Generated]) -> Vec<Request> {
    let of = |verdict| match verdict {
        Verdict::Accepted(oracle::Accepted { event: Event::Request(request), .. }) => Some(request),
        _ => None,
    };
    judged(records).into_iter().filter_map(|(_, verdict)| of(verdict)).collect()
}

#[test]
fn an_error_spike_is_seen_where_it_was_put() {
    let base = options(50_000);
    let (from_us, to_us) = (base.start_us + 20 * MINUTE_US, base.start_us + 30 * MINUTE_US);
    let service = Some("prices-api".to_owned());
    let spike = Incident::ErrorSpike { from_us, to_us, share: 0.4, service };
    let quiet = requests(&generate(base.clone()));
    let spiked = requests(&generate(WorkloadOptions { incidents: vec![spike], ..base }));
    let failed = |requests: &[Request], inside: bool| {
        let here = requests
            .iter()
            .filter(|r| ((from_us..to_us).contains(&r.event_us) && r.service == "prices-api") == inside);
        let here: Vec<_> = here.collect();
        share(here.iter().filter(|r| r.failed()).count(), here.len())
    };
    assert!((0.36..0.44).contains(&failed(&spiked, true)), "{}", failed(&spiked, true));
    assert!(failed(&quiet, true) < 0.01, "{}", failed(&quiet, true));
    assert_eq!(failed(&quiet, false), failed(&spiked, false), "nothing else changes");
}

#[test]
fn an_error_spike_is_one_episode_for_the_oracle() {
    let base = options(150_000);
    let (from_us, to_us) = (base.start_us + 20 * MINUTE_US, base.start_us + 25 * MINUTE_US);
    let spike = Incident::ErrorSpike { from_us, to_us, share: 0.3, service: None };
    let until_s = (base.start_us + base.span_us) / 1_000_000;
    let records = generate(WorkloadOptions { incidents: vec![spike], ..base });
    let level = |name, above_billionths, window_s, pane_s| oracle::RatioLevel {
        name,
        above_billionths,
        window_s,
        pane_s,
        for_s: 0,
        min_events: 100,
    };
    let rule = oracle::RatioRule {
        group_by: vec![],
        bad: Request::failed,
        levels: vec![level("critical", 50_000_000, 45, 1), level("warning", 10_000_000, 300, 10)],
        hold_s: 300,
        no_data_after_s: 900,
    };
    let meanwhile = oracle::ratio_episodes(&produced(&records), &rule, to_us / 1_000_000);
    assert_eq!(meanwhile[0].level, "critical");
    let episodes = oracle::ratio_episodes(&produced(&records), &rule, until_s);
    assert_eq!(episodes.len(), 1, "{episodes:#?}");
    assert_eq!(episodes[0].level, "warning", "the longer window recovers last");
    let onset_after_s = episodes[0].onset_s - from_us / 1_000_000;
    assert!((0..20).contains(&onset_after_s), "{onset_after_s}");
    let oracle::End::Recovered { recovered_s, resolved_s } = episodes[0].end else {
        panic!("{episodes:#?}");
    };
    let recovered_after_s = recovered_s - to_us / 1_000_000;
    assert!((200..310).contains(&recovered_after_s), "{recovered_after_s}");
    assert_eq!(resolved_s - recovered_s, 300);
}

#[test]
fn a_slow_model_takes_longer() {
    let base = options(40_000);
    let (from_us, to_us) = (base.start_us, base.start_us + 30 * MINUTE_US);
    let model = "random-forest-oil".to_owned();
    let incident = Incident::SlowModel { from_us, to_us, model: model.clone(), factor: 10.0 };
    let records = generate(WorkloadOptions { incidents: vec![incident], ..base });
    let mut medians = BTreeMap::new();
    for (_, verdict) in judged(&records) {
        if let Verdict::Accepted(oracle::Accepted { event: Event::Prediction(p), .. }) = verdict {
            medians.entry((p.model == model, p.event_us < to_us)).or_insert_with(Vec::new).push(p.inference);
        }
    }
    let mut median = |slow_model, inside| {
        let values: &mut Vec<i128> = medians.get_mut(&(slow_model, inside)).unwrap();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let (slow, usual) = (median(true, true), median(true, false));
    assert!((8 * usual..12 * usual).contains(&slow), "{slow} {usual}");
    assert!((median(false, true) - median(false, false)).abs() < 2_000);
}

#[test]
fn a_silent_feed_is_silent() {
    let base = WorkloadOptions { late_share: 0.1, ..options(30_000) };
    let (from_us, to_us) = (base.start_us + 20 * MINUTE_US, base.start_us + 40 * MINUTE_US);
    let silent = Incident::SilentFeed { from_us, to_us, topic: Topic::Prices };
    let records = generate(WorkloadOptions { incidents: vec![silent], ..base });
    let mut inside = BTreeMap::new();
    for (record, verdict) in judged(&records) {
        let arrived = (from_us / 1000..to_us / 1000).contains(&record.timestamp_ms);
        let happened = match verdict {
            Verdict::Accepted(accepted) => (from_us..to_us).contains(&accepted.event.event_us()),
            Verdict::Dead(_) => false,
        };
        *inside.entry(record.topic).or_insert(0) += usize::from(arrived || happened);
    }
    assert_eq!(inside["commodity-prices"], 0);
    assert!(inside["request-log"] > 4_000 && records.len() < 28_000, "{inside:?}");
}

#[test]
fn all_the_blemishes_are_there() {
    let records = generate(options(50_000));
    let text = |record: &Generated| String::from_utf8_lossy(&record.payload).into_owned();
    let of = |topic: Topic| -> Vec<String> {
        records.iter().filter(|record| record.topic == topic.name()).map(text).collect()
    };
    let all: Vec<String> = Topic::ALL.into_iter().flat_map(of).collect();
    let requests = of(Topic::Requests);
    for blemish in ["+02:00\"", "-05:00\"", "+00:00\"", ":null", "\": "] {
        assert!(all.iter().any(|text| text.contains(blemish)), "{blemish}");
    }
    for blemish in ["\"status\":200.0,", "\\/api", "\"method\":\"get\"", "\"host\":", "/märkte/öl"] {
        assert!(requests.iter().any(|text| text.contains(blemish)), "{blemish}");
    }
    let without = |field: &str| requests.iter().filter(|text| !text.contains(field)).count();
    for optional in ["\"region\"", "\"bytes\"", "\"user_id\"", "\"trace_id\""] {
        assert!(without(optional) > requests.len() / 50, "{optional}");
    }
}

#[test]
fn a_file_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let records = generate(WorkloadOptions { bad_share: 0.1, ..options(500) });
    assert_eq!(write_file(&path, records.clone()).unwrap(), 500);
    let read: Vec<_> = read_file(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 500);
    for (wrote, read) in records.iter().zip(&read) {
        assert_eq!(
            (wrote.topic, wrote.partition, wrote.timestamp_ms),
            (&*read.topic, read.partition, read.timestamp_ms)
        );
        assert_eq!((&wrote.key, &wrote.payload), (&read.key, &read.payload));
    }
    std::fs::write(&path, "{\"topic\":\"t\"}\n").unwrap();
    let error = read_file(&path).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, FileError::Line { line: 1, .. }), "{error}");
    assert!(read_file(&folder.path().join("none")).is_err());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refused = |options: WorkloadOptions| match Workload::new(options) {
        Ok(_) => panic!("not refused"),
        Err(error) => error,
    };
    let base = WorkloadOptions::default;
    assert_eq!(refused(WorkloadOptions { span_us: 0, ..base() }), OptionsError::Span(0));
    assert_eq!(refused(WorkloadOptions { start_us: i64::MAX, ..base() }), OptionsError::Years);
    assert!(matches!(refused(WorkloadOptions { bad_share: f64::NAN, ..base() }), OptionsError::Share { .. }));
    assert_eq!(
        refused(WorkloadOptions { late_max_us: 7_200_000_000, ..base() }),
        OptionsError::LateMax(7_200_000_000)
    );
    assert!(matches!(
        refused(WorkloadOptions { distinct_times: true, volume: Volume::PerSecond(50_000.0), ..base() }),
        OptionsError::TooDense { .. }
    ));
    let no_requests = PerTopic { requests: 0, ..base().partitions };
    assert_eq!(
        refused(WorkloadOptions { partitions: no_requests, ..base() }),
        OptionsError::Partitions("request-log")
    );
    let nothing = PerTopic { prices: 0.0, predictions: 0.0, requests: 0.0 };
    assert_eq!(refused(WorkloadOptions { shares: nothing, ..base() }), OptionsError::TopicShares);
    let backwards = Incident::SilentFeed { from_us: 2, to_us: 1, topic: Topic::Prices };
    assert!(matches!(
        refused(WorkloadOptions { incidents: vec![backwards], ..base() }),
        OptionsError::Incident { .. }
    ));
    assert_eq!(generate(WorkloadOptions { volume: Volume::Events(0), ..base() }), []);
}
