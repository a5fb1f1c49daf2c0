//! The right answer, by the oracle from the raw records, and what the systems have written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use plimsoll::kafka::{Admin, EndOf, Stretch, TopicPartition};
use serde_json::Value;

use super::oracle::{Event, Histogram, decode, rfc3339, row_of_record, scaled};
use super::support::{Deployment, INPUTS};

const ASK: Duration = Duration::from_secs(20);
const HOUR_US: i64 = 3_600_000_000;
/// An event so long before the newest of its partition is in no row; the workload has none.
const TOO_LATE_US: i64 = 2 * 3_600_000_000 + 2_000_000;
/// Values of the histograms: microseconds, up to 2^42 - 1, at three significant digits.
const HIGHEST: u64 = (1 << 42) - 1;
const SIGNIFICANT_DIGITS: u8 = 3;
const MICROS: i64 = 3;
/// Differences written out.
const SHOWN: usize = 20;

/// Topic and dimensions, and the hour.
type Identity = (Vec<String>, i64);

/// What the rows of requests are by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    Route,
    User,
}

/// The main table of a source.
struct MainTable {
    topic: &'static str,
    table: &'static str,
    output: &'static str,
    measured: &'static str,
    bad: Option<&'static str>,
}

const MAIN_TABLES: [MainTable; 3] = [
    MainTable {
        topic: INPUTS[0],
        table: "commodity_prices_hourly",
        output: "hourly-commodity-prices",
        measured: "age_ms",
        bad: None,
    },
    MainTable {
        topic: INPUTS[1],
        table: "ml_predictions_hourly",
        output: "hourly-ml-predictions",
        measured: "inference_ms",
        bad: Some("error_count"),
    },
    MainTable {
        topic: INPUTS[2],
        table: "request_log_hourly",
        output: "hourly-request-log",
        measured: "latency_ms",
        bad: Some("failed_count"),
    },
];

/// Figures of a row; values in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figures {
    events: u64,
    bad: u64,
    p50: i128,
    p99: i128,
    max: i128,
}

/// The newest of each row that a system has written.
pub struct Rows {
    rows: BTreeMap<Identity, Figures>,
}

impl Rows {
    pub fn events(&self) -> u64 {
        self.rows.values().map(|row| row.events).sum()
    }

    pub fn of_peer(deployment: &Deployment, topic: &str) -> Rows {
        let mut rows = BTreeMap::new();
        // A row is always in the same partition, so of its records the last that is read is the newest.
        for (_, _, _, value) in deployment.records(topic) {
            let value: Value = serde_json::from_slice(&value.expect("no row is taken back")).unwrap();
            let whole = |name: &str| value[name].as_i64().unwrap();
            let key = value["key"].as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned());
            let figures = Figures {
                events: whole("event_count") as u64,
                bad: whole("bad_count") as u64,
                p50: whole("p50").into(),
                p99: whole("p99").into(),
                max: whole("max").into(),
            };
            rows.insert((key.collect(), whole("hour_ms") * 1_000), figures);
        }
        Rows { rows }
    }

    pub fn of_plimsoll(deployment: &Deployment, prefix: &str) -> Rows {
        let mut rows = BTreeMap::new();
        for MainTable { topic, table, output, measured, bad } in MAIN_TABLES {
            for (_, _, key, value) in deployment.records(&format!("{prefix}{output}")) {
                let row = row_of_record(table, &key, &value.expect("no row is taken back")).unwrap();
                let whole = |name: &str| row.values[name].as_u64().unwrap();
                let micros = |figure: &str| {
                    let text = row.values[format!("{measured}_{figure}")].as_str().unwrap();
                    scaled(text, MICROS).value().unwrap()
                };
                let figures = Figures {
                    events: whole("event_count"),
                    bad: bad.map_or(0, whole),
                    p50: micros("p50"),
                    p99: micros("p99"),
                    max: micros("max"),
                };
                let key = [vec![topic.to_owned()], row.key].concat();
                rows.insert((key, row.hour_us), figures);
            }
        }
        Rows { rows }
    }
}

/// Every value of a row that is to be.
#[derive(Default)]
struct Collected {
    bad: u64,
    values: Vec<i128>,
}

pub struct Answer {
    pub records: u64,
    /// Records that are in a row.
    pub events: u64,
    rows: BTreeMap<Identity, Figures>,
}

impl Answer {
    pub fn of(deployment: &Deployment, partitions: i32, requests_by: By) -> Answer {
        let of_topic = |topic: &'static str| (0..partitions).map(move |p| TopicPartition::new(topic, p));
        let all: Vec<TopicPartition> = INPUTS.into_iter().flat_map(of_topic).collect();
        let admin = Admin::open(&deployment.connection).unwrap();
        let ends = admin.offsets(&all, EndOf::LatestCommitted, ASK).unwrap();
        let (mut records, mut events, mut collected) = (0, 0, BTreeMap::new());
        // One after the other: only one partition's events are held against its newest at a time.
        for (partition, end) in ends {
            let topic = partition.topic.to_string();
            let mut stretch =
                Stretch::open_all(&deployment.connection, &[(partition, 0..end)]).unwrap().remove(0);
            let mut newest_us = i64::MIN;
            while let Some(record) = stretch.peek(ASK).unwrap() {
                records += 1;
                if let Ok(event) = decode(&topic, record.timestamp_ms.unwrap(), record.payload.unwrap()) {
                    events += 1;
                    newest_us = newest_us.max(event.event_us());
                    assert!(
                        event.event_us() >= newest_us - TOO_LATE_US,
                        "the workload has no event too late"
                    );
                    collect(&mut collected, &topic, event, requests_by);
                }
                stretch.pass();
            }
        }
        let rows = collected.into_iter().map(|(identity, row)| (identity, row.figures())).collect();
        Answer { records, events, rows }
    }

    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Fails with the rows that differ.
    pub fn check(&self, found: &Rows) -> Result<(), String> {
        let mut differences = Vec::new();
        for (identity, wanted) in &self.rows {
            match found.rows.get(identity) {
                Some(row) if is_same(wanted, row) => {}
                row => differences.push((identity, Some(wanted), row)),
            }
        }
        let surplus = found.rows.iter().filter(|(identity, _)| !self.rows.contains_key(*identity));
        differences.extend(surplus.map(|(identity, row)| (identity, None, Some(row))));
        if differences.is_empty() {
            return Ok(());
        }
        let mut text = format!("{} rows differ, of {} that are to be\n", differences.len(), self.rows.len());
        for ((key, hour_us), wanted, row) in differences.iter().take(SHOWN) {
            let _ = writeln!(text, "  {key:?} {}: expected {wanted:?}, found {row:?}", rfc3339(*hour_us));
        }
        Err(text)
    }
}

impl Collected {
    fn figures(self) -> Figures {
        let histogram = Histogram::of(self.values);
        Figures {
            events: histogram.count(),
            bad: self.bad,
            p50: histogram.quantile(500_000).expect("a row has an event"),
            p99: histogram.quantile(990_000).expect("a row has an event"),
            max: histogram.max().expect("a row has an event"),
        }
    }
}

fn collect(rows: &mut BTreeMap<Identity, Collected>, topic: &str, event: Event, requests_by: By) {
    let at_us = event.event_us();
    let (dimensions, value, bad) = match event {
        Event::Price(price) => {
            let optional = [price.currency, price.unit, price.region].map(Option::unwrap_or_default);
            ([vec![price.commodity], optional.to_vec()].concat(), price.age_us, false)
        }
        Event::Prediction(one) => (vec![one.model, one.model_version], one.inference, one.error.is_some()),
        Event::Request(request) => {
            let failed = request.failed();
            let dimensions = match requests_by {
                By::Route => vec![request.service, request.route, request.method],
                By::User => vec![request.user_id.unwrap_or_default()],
            };
            (dimensions, request.duration, failed)
        }
    };
    let key = [vec![topic.to_owned()], dimensions].concat();
    let row = rows.entry((key, at_us - at_us.rem_euclid(HOUR_US))).or_default();
    row.bad += u64::from(bad);
    row.values.push(value);
}

/// Counts and the largest value to the last digit, quantiles within the width of their bucket.
fn is_same(wanted: &Figures, found: &Figures) -> bool {
    let near = |wanted: i128, found: i128| (wanted - found).abs() <= bucket_width(wanted);
    (wanted.events, wanted.bad, wanted.max) == (found.events, found.bad, found.max)
        && near(wanted.p50, found.p50)
        && near(wanted.p99, found.p99)
}

fn bucket_width(value: i128) -> i128 {
    let empty = hdrhistogram::Histogram::<u64>::new_with_bounds(1, HIGHEST, SIGNIFICANT_DIGITS);
    let value = u64::try_from(value).expect("decoding let it through");
    i128::from(empty.expect("fixed and valid").equivalent_range(value))
}
