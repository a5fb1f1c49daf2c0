//! How far consumer groups are behind: what the broker says, and what ingest makes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLockReadGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plimsoll::config::{Overrides, Surroundings, default_settings, embedded};
use plimsoll::core::alert::{AlertRule, Lag, LagUnit, Level, RuleKind, Side};
use plimsoll::core::partial::{DeltaBody, LagSample, LogRecord};
use plimsoll::core::plan::{Body, Plan};
use plimsoll::core::rules::Rules;
use plimsoll::http::{Health, Metrics};
use plimsoll::kafka::{
    Admin, Connection, GroupOffsets, KafkaError, NextRecord, Probe, TopicPartition, TransactionalWriter,
    WriterRecord, read_whole,
};
use plimsoll::roles::board::RulesBoard;
use plimsoll::roles::lag::{LagBoard, Sampler, Span};
use plimsoll::roles::run::{Roles, RunError, run};
use plimsoll::roles::{Context, Stop, topics, wall_clock_us};
use plimsoll::wire::partial;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::support::{WAIT, at, connect, create, plain_producer, unique};

const SECOND_US: i64 = 1_000_000;

fn surroundings() -> Surroundings {
    Surroundings { host_name: "test".into(), cores: 1 }
}

/// The requests of the shipped rules from `topic`, and a LAG rule for each of `groups`.
fn rules(topic: &str, groups: &[Option<&str>], above_s: i64) -> Rules {
    let mut rules =
        embedded(&BTreeMap::new(), &surroundings(), &Overrides::default()).expect("shipped rules").rules;
    rules.sources.retain(|source| source.name == "request-log");
    rules.sources[0].topic = topic.to_owned();
    rules.alerts = groups.iter().enumerate().map(|(at, group)| lag_rule(at, *group, above_s)).collect();
    rules
}

fn lag_rule(at: usize, group: Option<&str>, above_s: i64) -> AlertRule {
    let lag = Lag { consumer_group: group.map(str::to_owned), unit: LagUnit::Seconds };
    let level = Level {
        name: "high".into(),
        severity: 1,
        side: Side::Above,
        threshold_billionths: above_s * 1_000_000_000,
        threshold_text: format!("{above_s}s"),
        window_s: 1,
        short_window_s: None,
        for_s: 0,
        min_events: 0,
        min_bad: 0,
        min_coverage_billionths: 0,
        over: None,
    };
    AlertRule {
        document: "test".into(),
        name: format!("lag-{at}"),
        service: None,
        kind: RuleKind::Lag { source: "request-log".into(), lag },
        feeds: Vec::new(),
        group_limit: 1,
        hold_s: 0,
        no_data_after_s: 3_600,
        correct_within_s: 60,
        levels: vec![level],
        labels: BTreeMap::new(),
        runbook: None,
        summary: None,
        objective: None,
    }
}

/// The id of each group's lag projection, in the order of the rules.
fn projections(rules: &Rules) -> Vec<u64> {
    let plan = Plan::compile(0, Arc::new(rules.clone())).unwrap();
    let lags = plan.projections.iter().filter(|projection| matches!(projection.body, Body::Lag(_)));
    lags.map(|projection| projection.id).collect()
}

/// One record a second until `end_us`, each with a Kafka timestamp of its own.
fn produce(connection: &Connection, topic: &str, partition: i32, end_us: i64, count: i64) {
    let producer = plain_producer(connection);
    for n in 0..count {
        let at_us = end_us - (count - n) * SECOND_US;
        let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).timestamp(at_us / 1_000);
        let payload = payload(at_us);
        producer.send(record.payload(payload.as_bytes())).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

fn payload(at_us: i64) -> String {
    let ts = plimsoll::core::time::rfc3339(at_us);
    format!(r#"{{"ts":"{ts}","service":"shop","route":"/","method":"GET","status":200,"duration_ms":12.5}}"#)
}

/// What another application does after it has read so far.
fn commit(connection: &Connection, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", connection.brokers())
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for &(partition, offset) in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

/// Ingest and evaluate in this process.
struct Running {
    context: Context,
    thread: JoinHandle<Result<(), RunError>>,
    _broker: RwLockReadGuard<'static, ()>,
}

impl Running {
    fn start(connection: Connection, broker: RwLockReadGuard<'static, ()>, rules: Rules) -> Running {
        let mut settings = default_settings(&surroundings());
        settings.kafka.application = unique("app");
        settings.topics.prefix = unique("app.");
        settings.topics.internal_partitions = 3;
        settings.topics.output_partitions = 1;
        settings.topics.replication_factor = 1;
        settings.http.address = ([127, 0, 0, 1], 0).into();
        topics::create(&Admin::open(&connection).unwrap(), &topics::wanted(&settings, &rules)).unwrap();
        let context = Context {
            settings: Arc::new(settings),
            connection,
            metrics: Metrics::new(),
            health: Health::new(),
            board: RulesBoard::new(0, rules),
            lags: LagBoard::default(),
            stop: Stop::default(),
        };
        let inner = context.clone();
        let roles = Roles { ingest: true, evaluate: true, store: false };
        Running { context, thread: thread::spawn(move || run(&inner, roles, None)), _broker: broker }
    }

    /// The newest sample of each partition in the log, with its second, by group in the order of the rules; and the
    /// shards that were told.
    fn told(&self) -> Vec<BTreeMap<i32, (i64, LagSample)>> {
        let Context { settings, board, connection, .. } = &self.context;
        let (version, rules) = board.current();
        let ids = projections(&rules);
        let plan = Plan::compile(version, rules).unwrap();
        let mut told = vec![BTreeMap::new(); ids.len()];
        let partials = settings.topics.full_name(&settings.topics.partials);
        for shard in 0..settings.topics.internal_partitions as i32 {
            read_whole(connection, &partials, shard, WAIT, |_, _, value| {
                let LogRecord::Partial(partial) = partial::decode(value.unwrap()).unwrap() else { return };
                for delta in partial.deltas {
                    let DeltaBody::Lag(samples) = delta.body else { continue };
                    assert!(partial.log_time_us - delta.pane * SECOND_US < 7 * SECOND_US, "stale");
                    let id = plan.projections[usize::from(delta.projection)].id;
                    let group = ids.iter().position(|known| *known == id).unwrap();
                    told[group].extend(samples.iter().map(|s| (s.partition, (delta.pane, *s))));
                }
            })
            .unwrap();
        }
        told
    }

    /// Transitions of the rule's episodes so far.
    fn transitions(&self, rule: &str) -> Vec<String> {
        let Context { settings, connection, .. } = &self.context;
        let breaches = settings.topics.full_name(&settings.topics.breaches);
        let mut transitions = Vec::new();
        read_whole(connection, &breaches, 0, WAIT, |_, _, value| {
            let breach: serde_json::Value = serde_json::from_slice(value.unwrap()).unwrap();
            if breach["rule"]["name"] == rule {
                transitions.push(breach["transition"].as_str().unwrap().to_owned());
            }
        })
        .unwrap();
        transitions
    }

    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + 2 * WAIT;
        while !condition() {
            assert!(!self.thread.is_finished(), "the roles ended by themselves");
            assert!(Instant::now() < deadline, "not in time: {what}\n{:#?}", self.told());
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn stop(self) {
        self.context.stop.raise();
        let stopping = Instant::now();
        self.thread.join().unwrap().unwrap();
        assert!(stopping.elapsed() < Duration::from_secs(3), "{:?}", stopping.elapsed());
    }
}

#[test]
fn a_group_that_stops_half_way_is_as_far_behind_as_its_oldest_message() {
    let (connection, broker) = connect();
    let (topic, group) = (create(&connection, "requests", 2), unique("billing"));
    let end_us = wall_clock_us();
    produce(&connection, &topic, 0, end_us, 200);
    produce(&connection, &topic, 1, end_us, 200);
    commit(&connection, &group, &topic, &[(0, 100), (1, 150)]);
    let running = Running::start(connection.clone(), broker, rules(&topic, &[Some(&group), None], 30));
    running.until("both groups are told", || running.told().iter().all(|told| told.len() == 2));
    running.until("our own group has caught up", || {
        running.told()[1].values().all(|(_, sample)| (sample.messages, sample.behind_us) == (0, 0))
    });
    let told = running.told();
    for (partition, messages) in [(0, 100), (1, 50)] {
        let (second, sample) = told[0][&partition];
        assert_eq!(sample.messages, messages);
        // Message n of the last `messages` is as many seconds old, plus what has passed since.
        let truth_us = (second * SECOND_US - end_us) + messages as i64 * SECOND_US;
        assert!((sample.behind_us - truth_us).abs() < 2 * SECOND_US, "{sample:?}, not {truth_us}");
    }
    running.until("the rule opens", || running.transitions("lag-0") == ["OPENED"]);
    let page = running.context.metrics.text().unwrap();
    let messages =
        format!("plimsoll_consumer_group_lag_messages{{group=\"{group}\",source=\"request-log\"}} 150\n");
    assert!(page.contains(&messages), "{page}");
    assert!(page.contains(&format!("plimsoll_consumer_group_lag_seconds{{group=\"{group}\"")), "{page}");

    commit(&connection, &group, &topic, &[(0, 200), (1, 200)]);
    running.until("the group has everything", || {
        running.told()[0].values().all(|(_, sample)| (sample.messages, sample.behind_us) == (0, 0))
    });
    running.until("the rule resolves", || running.transitions("lag-0") == ["OPENED", "RESOLVED"]);
    assert_eq!(running.transitions("lag-1"), [""; 0]);
    running.stop();
}

#[test]
fn what_ingest_has_not_read_is_looked_up() {
    let (connection, _running) = connect();
    let (topic, group) = (create(&connection, "requests", 3), unique("billing"));
    // In transactions: records 0..50 with a marker at 50, then 51..101 with a marker at 101.
    let end_us = wall_clock_us();
    let mut writer = TransactionalWriter::open(&connection, &unique("writer")).unwrap();
    for half in 0..2 {
        writer.begin().unwrap();
        for (partition, n) in (0..3).flat_map(|p| (0..50).map(move |n| (p, half * 50 + n))) {
            let at_us = end_us - (100 - n) * SECOND_US;
            let payload = payload(at_us);
            writer
                .send(WriterRecord {
                    topic: &topic,
                    partition: Some(partition),
                    payload: Some(payload.as_bytes()),
                    timestamp_ms: Some(at_us / 1_000),
                    ..WriterRecord::default()
                })
                .unwrap();
        }
        writer.commit_records().unwrap();
    }
    let rules = rules(&topic, &[Some(&group)], 30);
    let id = projections(&rules)[0];
    let (board, metrics) = (LagBoard::default(), Metrics::new());
    let mut sampler = Sampler::new(connection.clone(), board.clone(), metrics.clone(), "own".into());
    sampler.follow(&Plan::compile(0, Arc::new(rules)).unwrap());
    let partition = |p| TopicPartition::new(topic.as_str(), p);
    // Ingest began at the end of all of them.
    let held = [0, 1, 2].map(|p| board.hold(partition(p), 102));
    // At the first marker, at the last, and nothing committed where the first ten records are deleted.
    commit(&connection, &group, &topic, &[(0, 50), (1, 101)]);
    let admin = Admin::open(&connection).unwrap();
    admin.delete_records(&[(partition(2), 10)], WAIT).unwrap();

    let mut sample = || -> BTreeMap<i32, (u64, i64)> {
        sampler.sample(&|| true).unwrap();
        let sampled = board.newest(id, wall_clock_us()).unwrap();
        let passed_us = sampled.at_us - end_us;
        // In whole seconds, as they were when the last record was written.
        let age_s = |sample: &LagSample| match sample.behind_us {
            0 => 0,
            behind_us => (behind_us - passed_us + SECOND_US / 2) / SECOND_US,
        };
        sampled.samples.iter().map(|s| (s.partition, (s.messages, age_s(s)))).collect()
    };
    // A broker that is busy may leave one unanswered; the next time it is asked again.
    let deadline = Instant::now() + WAIT;
    let whole = std::iter::repeat_with(&mut sample).find(|told| told.len() == 3 || Instant::now() > deadline);
    assert_eq!(whole, Some([(0, (52, 50)), (1, (0, 0)), (2, (92, 90))].into()));
    commit(&connection, &group, &topic, &[(2, 101)]);
    assert_eq!(sample()[&2], (1, 90), "it moved: the age stands until the next look");
    held[2].read(Span { first: 102, last: 102, timestamp_ms: 0 });
    assert_eq!(sample()[&0], (52, 50), "what was found holds");

    drop(held);
    assert_eq!(sample(), [].into());
    assert!(!metrics.text().unwrap().contains("lag_messages{group"), "nothing is read here any more");
}

#[test]
fn a_group_is_asked_and_a_record_found_without_disturbing_anybody() {
    let (connection, _running) = connect();
    let (topic, group) = (create(&connection, "requests", 2), unique("billing"));
    let end_us = 1_761_876_000_000_000;
    produce(&connection, &topic, 0, end_us, 5);
    let partitions = [0, 1].map(|p| TopicPartition::new(topic.as_str(), p));
    let offsets = GroupOffsets::open(&connection, &group).unwrap();
    let none = partitions.clone().map(|partition| (partition, None)).to_vec();
    assert_eq!(offsets.committed(&partitions, WAIT).unwrap(), none);
    commit(&connection, &group, &topic, &[(0, 3)]);
    let half = vec![(partitions[0].clone(), Some(at(3, ""))), (partitions[1].clone(), None)];
    assert_eq!(offsets.committed(&partitions, WAIT).unwrap(), half);

    let probe = Probe::open(&connection).unwrap();
    let found = |from: &[(i32, i64)]| probe.next_records(&topic, from, WAIT).unwrap();
    let at = |n: i64| NextRecord::At { timestamp_ms: Some(end_us / 1_000 - (5 - n) * 1_000) };
    for _ in 0..2 {
        assert_eq!(found(&[(0, 3), (1, 0)]), [(0, at(3)), (1, NextRecord::End)].into());
        assert_eq!(found(&[(0, 0)]), [(0, at(0))].into());
        assert_eq!(found(&[(0, 5)]), [(0, NextRecord::End)].into());
    }
    assert_eq!(offsets.committed(&partitions, WAIT).unwrap(), half, "looking commits nothing");
}

#[test]
fn a_broker_that_does_not_answer_leaves_the_lag_unknown() {
    let port = plimsoll::local::cache::free_port().unwrap();
    let rules = rules("requests", &[Some("billing"), None], 30);
    let ids = projections(&rules);
    let (board, metrics) = (LagBoard::default(), Metrics::new());
    let connection = Connection::to_brokers(&format!("127.0.0.1:{port}"));
    let mut sampler = Sampler::new(connection, board.clone(), metrics.clone(), "own".into());
    sampler.follow(&Plan::compile(0, Arc::new(rules)).unwrap());
    assert_eq!(sampler.sample(&|| true), Ok(()), "nothing is read here, so nothing is asked");
    let _held = board.hold(TopicPartition::new("requests", 0), 0);
    let began = Instant::now();
    let why = sampler.sample(&|| true).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(why.contains("billing"), "{why}");
    for id in ids {
        assert!(board.newest(id, wall_clock_us()).is_none_or(|sampled| sampled.samples.is_empty()));
    }
    for group in ["billing", "own"] {
        let failures = format!("plimsoll_consumer_group_lag_failures_total{{group=\"{group}\"}} 1\n");
        assert!(metrics.text().unwrap().contains(&failures));
    }
}

#[test]
fn a_group_that_may_not_be_described_is_told_as_denied() {
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    for request in [RDKafkaApiKey::FindCoordinator, RDKafkaApiKey::OffsetFetch] {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("requests", 1, 1).unwrap();
        cluster.request_errors(request, &[denied; 100]);
        let connection = Connection::to_brokers(&cluster.bootstrap_servers());
        let offsets = GroupOffsets::open(&connection, "billing").unwrap();
        let partitions = [TopicPartition::new("requests", 0)];
        let error = offsets.committed(&partitions, Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, KafkaError::Denied { .. }), "{error:?}");
        cluster.clear_request_errors(request);
        let none = vec![(partitions[0].clone(), None)];
        assert_eq!(offsets.committed(&partitions, WAIT).unwrap(), none, "the right was granted");
    }
}
