//! The HTTP pages, asked over TCP as an orchestrator and Prometheus do.

use plimsoll::core::event::Reason;
use plimsoll::core::output::Transition;
use plimsoll::http::{AbortCause, Component, Health, Invariant, Metrics, Role, Served, State, serve};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

struct Running {
    served: Served,
    stop: oneshot::Sender<()>,
}

fn start(metrics: &Metrics, health: &Health) -> Running {
    let (stop, stopped) = oneshot::channel();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let shutdown = async {
        let _ = stopped.await;
    };
    let served = serve(any_port, metrics.clone(), health.clone(), shutdown).unwrap();
    Running { served, stop }
}

impl Running {
    /// Status line's code, headers in lower case, body.
    fn get(&self, path: &str, header: &str) -> (u16, String, String) {
        let mut connection = TcpStream::connect(self.served.local_addr).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nhost: plimsoll\r\nconnection: close\r\n{header}\r\n")
            .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    fn status(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.get(path, "");
        (status, body)
    }
}

/// Counts everything once, so that every family has a sample.
fn count_everything(metrics: &Metrics) {
    let source = metrics.source("request-log");
    source.messages_read.inc_by(3);
    source.read_bytes.inc_by(640);
    source.late_events.inc();
    metrics.dead_letters("request-log", Reason::TooLate).inc();
    let lag = metrics.lag("request-log", 1);
    lag.messages.set(7);
    lag.seconds.set(0.25);
    let lag = metrics.group_lag("billing", "request-log");
    lag.messages.set(19);
    lag.seconds.set(4.5);
    metrics.group_lag_failures("billing").inc();
    metrics.watermark_delay_seconds("request-log", 11).set(2.0);
    metrics.flush_seconds(Role::Ingest).observe(0.003);
    metrics.commit_seconds(Role::Evaluate).observe(0.02);
    metrics.transactions_aborted(Role::Ingest, AbortCause::Fenced).inc();
    metrics.rebalances(Role::Store).inc();
    metrics.rows_written("request_log_hourly").inc();
    metrics.breaches(Transition::Opened).inc();
    metrics.series("request_log_hourly", 3).set(40);
    metrics.series_limit("request_log_hourly").set(20_000);
    metrics.other_events("request_log_hourly").inc();
    metrics.invariant_violations(Invariant::CountsAgree).inc();
    metrics.shards_owned(0).set(12);
    metrics.shards_paused(0).set(1);
    metrics.restore_seconds().observe(0.4);
    metrics.restore_bytes().inc_by(1_000);
    metrics.checkpoint_bytes().inc_by(2_000);
    let store = metrics.store();
    store.batches.inc();
    store.rows.inc_by(9);
    store.retries.inc();
    store.behind_seconds.set(1.5);
}

/// Family name -> (has help, type), as the page declares them.
fn families(page: &str) -> BTreeMap<&str, (bool, &str)> {
    let mut families = BTreeMap::new();
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        if let (Some("#"), Some(what), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next())
        {
            let family = families.entry(name).or_insert((false, ""));
            match what {
                "HELP" => family.0 = rest.len() > 10,
                "TYPE" => family.1 = rest,
                _ => {}
            }
        }
    }
    families
}

#[test]
fn the_metrics_page_is_what_prometheus_reads() {
    let metrics = Metrics::new();
    count_everything(&metrics);
    let running = start(&metrics, &Health::new());
    let (status, head, page) = running.get("/metrics", "");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(page.ends_with("# EOF\n"), "{page}");
    let families = families(&page);
    assert_eq!(families.len(), 32, "{families:#?}");
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    for sample in samples {
        let (series, value) = sample.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("plimsoll_") || name.starts_with("process_"), "{name}");
        let suffixes = ["", "_total", "_info", "_bucket", "_sum", "_count"];
        let family = suffixes.iter().find_map(|s| families.get(name.strip_suffix(s)?));
        let &(has_help, kind) = family.unwrap_or_else(|| panic!("{name} belongs to no family"));
        assert!(has_help && !kind.is_empty(), "{name}: HELP and TYPE");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
}

#[test]
fn samples_have_the_names_of_the_documentation() {
    let metrics = Metrics::new();
    count_everything(&metrics);
    let running = start(&metrics, &Health::new());
    let (_, page) = running.status("/metrics");
    let expected = [
        "plimsoll_source_messages_read_total{source=\"request-log\"} 3",
        "plimsoll_source_read_bytes_total{source=\"request-log\"} 640",
        "plimsoll_source_late_events_total{source=\"request-log\"} 1",
        "plimsoll_dead_letters_total{source=\"request-log\",reason=\"TOO_LATE\"} 1",
        "plimsoll_dead_letters_total{source=\"request-log\",reason=\"OUT_OF_RANGE\"} 0",
        "plimsoll_source_lag_messages{source=\"request-log\",worker=\"1\"} 7",
        "plimsoll_source_lag_seconds{source=\"request-log\",worker=\"1\"} 0.25",
        "plimsoll_consumer_group_lag_messages{group=\"billing\",source=\"request-log\"} 19",
        "plimsoll_consumer_group_lag_seconds{group=\"billing\",source=\"request-log\"} 4.5",
        "plimsoll_consumer_group_lag_failures_total{group=\"billing\"} 1",
        "plimsoll_source_watermark_delay_seconds{source=\"request-log\",shard=\"11\"} 2.0",
        "plimsoll_flush_seconds_count{role=\"ingest\"} 1",
        "plimsoll_commit_seconds_bucket{le=\"0.025\",role=\"evaluate\"} 1",
        "plimsoll_transactions_aborted_total{role=\"ingest\",cause=\"fenced\"} 1",
        "plimsoll_rebalances_total{role=\"store\"} 1",
        "plimsoll_rows_written_total{table=\"request_log_hourly\"} 1",
        "plimsoll_breaches_total{transition=\"OPENED\"} 1",
        "plimsoll_breaches_total{transition=\"RETRACTED\"} 0",
        "plimsoll_series{table=\"request_log_hourly\",shard=\"3\"} 40",
        "plimsoll_series_limit{table=\"request_log_hourly\"} 20000",
        "plimsoll_other_events_total{table=\"request_log_hourly\"} 1",
        "plimsoll_invariant_violations_total{invariant=\"P4\"} 1",
        "plimsoll_invariant_violations_total{invariant=\"P7\"} 0",
        "plimsoll_shards_owned{worker=\"0\"} 12",
        "plimsoll_shards_paused{worker=\"0\"} 1",
        "plimsoll_restore_seconds_sum 0.4",
        "plimsoll_restore_bytes_total 1000",
        "plimsoll_checkpoint_bytes_total 2000",
        "plimsoll_store_batches_total 1",
        "plimsoll_store_rows_total 9",
        "plimsoll_store_retries_total 1",
        "plimsoll_store_behind_seconds 1.5",
    ];
    let lines: Vec<&str> = page.lines().collect();
    let missing: Vec<_> = expected.iter().filter(|line| !lines.contains(line)).collect();
    assert!(missing.is_empty(), "missing {missing:#?} in\n{page}");
    let memory = lines.iter().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
    assert!(memory.parse::<u64>().unwrap() > 1_000_000, "{memory}");
    assert!(lines.iter().any(|line| line.starts_with("process_cpu_seconds_total ")), "{page}");
}

#[test]
fn a_shard_that_left_is_no_longer_shown() {
    let metrics = Metrics::new();
    count_everything(&metrics);
    metrics.forget_shard(3, ["request-log"], ["request_log_hourly"]);
    assert!(!metrics.text().unwrap().contains("shard=\"3\""));
    assert!(metrics.text().unwrap().contains("shard=\"11\""), "the other shard stays");
    metrics.forget_shard(11, ["request-log"], ["request_log_hourly"]);
    assert!(!metrics.text().unwrap().contains("shard="));
}

#[test]
fn a_lag_that_is_unknown_is_not_shown() {
    let metrics = Metrics::new();
    count_everything(&metrics);
    metrics.group_lag("billing", "prices").messages.set(1);
    metrics.forget_group_lag("billing", "request-log");
    let page = metrics.text().unwrap();
    assert!(!page.contains("group=\"billing\",source=\"request-log\""), "{page}");
    assert!(page.contains("plimsoll_consumer_group_lag_messages{group=\"billing\",source=\"prices\"} 1"));
    assert!(page.contains("plimsoll_consumer_group_lag_failures_total{group=\"billing\"} 1"), "{page}");
}

#[test]
fn readiness_says_why_not() {
    let health = Health::new();
    let running = start(&Metrics::new(), &health);
    assert_eq!(running.status("/readyz").0, 503);
    assert_eq!(running.status("/healthz"), (200, String::new()));
    health.set(Component::Ingest(0), State::Ready);
    health.set(Component::Store, State::Starting("waiting for Postgres at db:5432".into()));
    let why = "store: starting: waiting for Postgres at db:5432\n";
    assert_eq!(running.status("/readyz"), (503, why.to_owned()));
    health.set(Component::Store, State::Degraded("3 retries".into()));
    assert_eq!(running.status("/readyz"), (200, "ingest/0: ready\nstore: degraded: 3 retries\n".to_owned()));
    health.set(Component::Store, State::Failed("schema is of a newer release".into()));
    let (status, head, body) = running.get("/readyz", "accept: application/json\r\n");
    assert_eq!(status, 503);
    assert!(head.contains("content-type: application/json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({"ok": false, "components": [
        {"component": "ingest/0", "ok": true, "state": "ready"},
        {"component": "store", "ok": false, "state": "failed", "why": "schema is of a newer release"},
    ]});
    assert_eq!(json, expected);
}

#[test]
fn other_paths_are_not_found() {
    let running = start(&Metrics::new(), &Health::new());
    assert_eq!(running.status("/nothing").0, 404);
    assert_eq!(running.status("/"), (200, "/metrics\n/healthz\n/readyz\n".to_owned()));
}

#[test]
fn an_address_in_use_is_named_with_its_setting() {
    let running = start(&Metrics::new(), &Health::new());
    let taken = running.served.local_addr;
    let error = serve(taken, Metrics::new(), Health::new(), std::future::pending()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {taken}: Address already in use")), "{error}");
    assert!(error.contains("`http.address`"), "{error}");
}

#[test]
fn shutdown_does_not_wait_for_a_silent_client() {
    let running = start(&Metrics::new(), &Health::new());
    let mut half_asked = TcpStream::connect(running.served.local_addr).unwrap();
    half_asked.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    assert_eq!(running.status("/healthz").0, 200, "the server has taken the connection before");
    let began = Instant::now();
    running.stop.send(()).unwrap();
    running.served.handle.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(TcpStream::connect(running.served.local_addr).is_err(), "nobody listens any more");
}
