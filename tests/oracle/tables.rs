//! The hourly tables of the three shipped sources.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::decimal::written;
use super::decode::{Event, Prediction, Price, Request};
use super::log::Accepted;
use super::sketch::{Histogram, distinct};
use super::{Row, rfc3339};

const HOUR_US: i64 = 3_600_000_000;
const LATENCY_QUANTILES: &[(u64, &str)] =
    &[(500_000, "p50"), (900_000, "p90"), (950_000, "p95"), (990_000, "p99"), (999_000, "p999")];

/// (event time, partition, offset): what ties break by.
type Place = (i64, u32, i64);

/// The events of one key and hour, with where they stood and whether they were late.
struct Group<'a, T> {
    events: Vec<(Place, &'a T)>,
    late: u64,
}

pub fn rows(accepted: &[Accepted]) -> Vec<Row> {
    let mut prices = Vec::new();
    let mut predictions = Vec::new();
    let mut requests = Vec::new();
    for one in accepted {
        let place = (one.event.event_us(), one.partition, one.offset);
        match &one.event {
            Event::Price(price) => prices.push((place, one.late, price)),
            Event::Prediction(prediction) => predictions.push((place, one.late, prediction)),
            Event::Request(request) => requests.push((place, one.late, request)),
        }
    }
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut rows = Vec::new();
    rows.extend(table(
        "commodity_prices_hourly",
        &["commodity", "currency", "unit", "region"],
        5000,
        &prices,
        |p| vec![p.commodity.clone(), or_empty(&p.currency), or_empty(&p.unit), or_empty(&p.region)],
        price_columns,
    ));
    rows.extend(table(
        "ml_predictions_hourly",
        &["model", "model_version"],
        1000,
        &predictions,
        |p| vec![p.model.clone(), p.model_version.clone()],
        prediction_columns,
    ));
    rows.extend(table(
        "request_log_hourly",
        &["service", "route", "method"],
        20_000,
        &requests,
        |r| vec![r.service.clone(), r.route.clone(), r.method.clone()],
        series_columns,
    ));
    rows.extend(table(
        "request_log_region_hourly",
        &["region"],
        256,
        &requests,
        |r| vec![or_empty(&r.region)],
        region_columns,
    ));
    rows.extend(table("request_log_total_hourly", &[], 1, &requests, |_| vec![], total_columns));
    rows.sort_by(|a, b| (&a.table, &a.key, a.hour_us).cmp(&(&b.table, &b.key, b.hour_us)));
    rows
}

fn table<T>(
    name: &str,
    key_columns: &[&str],
    limit: usize,
    events: &[(Place, bool, &T)],
    key_of: impl Fn(&T) -> Vec<String>,
    columns_of: impl Fn(&[(Place, &T)], &mut Columns),
) -> Vec<Row> {
    let mut hours: BTreeMap<i64, BTreeMap<Vec<String>, Group<T>>> = BTreeMap::new();
    for (place, late, event) in events {
        let hour_us = place.0 - place.0.rem_euclid(HOUR_US);
        let keys = hours.entry(hour_us).or_default();
        let group = keys.entry(key_of(event)).or_insert_with(|| Group { events: Vec::new(), late: 0 });
        group.events.push((*place, *event));
        group.late += u64::from(*late);
    }
    let mut rows = Vec::new();
    for (hour_us, keys) in hours {
        assert!(keys.len() <= limit, "{name}: the oracle does not fold keys into _OTHER");
        for (key, group) in keys {
            let mut columns = Columns { map: Map::new() };
            for (column, value) in key_columns.iter().zip(&key) {
                columns.set(column, json!(value));
            }
            columns.time("bucket_start", Some(hour_us));
            columns.bigint("event_count", group.events.len() as u64);
            columns.bigint("late_count", group.late);
            columns_of(&group.events, &mut columns);
            rows.push(Row { table: name.to_owned(), key, hour_us, values: Value::Object(columns.map) });
        }
    }
    rows
}

fn price_columns(events: &[(Place, &Price)], columns: &mut Columns) {
    let mut in_order: Vec<(Place, i128)> =
        events.iter().map(|(place, event)| (*place, event.price)).collect();
    in_order.sort();
    let first = in_order.first().copied();
    let last = in_order.last().copied();
    // Both give the earliest among equals: the order is by place, `<` and `>` are strict.
    let low = in_order.iter().copied().reduce(|best, next| if next.1 < best.1 { next } else { best });
    let high = in_order.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best });
    for (name, at) in [("open", first), ("high", high), ("low", low), ("close", last)] {
        columns.maybe_decimal(&format!("price_{name}"), at.map(|(_, price)| price), 6);
        columns.time(&format!("price_{name}_at"), at.map(|(place, _)| place.0));
    }
    columns.decimal("price_sum", events.iter().map(|(_, e)| e.price).sum(), 6);
    columns.decimal("volume_sum", events.iter().filter_map(|(_, e)| e.volume).sum(), 6);
    let products = events.iter().filter_map(|(_, e)| e.volume.map(|volume| volume * e.price));
    columns.decimal("price_volume_sum", products.sum(), 12);
    columns.count_by("source_counts", events.iter().map(|(_, e)| e.source.clone().unwrap_or_default()));
    let age = events.iter().map(|(_, e)| e.age_us);
    columns.histogram("age_ms", 3, age, &[(500_000, "p50"), (990_000, "p99")]);
}

fn prediction_columns(events: &[(Place, &Prediction)], columns: &mut Columns) {
    let count = |test: fn(&Prediction) -> bool| events.iter().filter(|(_, e)| test(e)).count() as u64;
    columns.bigint("error_count", count(|e| e.error.is_some()));
    columns.bigint("labelled_count", count(|e| e.correct.is_some()));
    columns.bigint("correct_count", count(|e| e.correct == Some(true)));
    let inference = events.iter().map(|(_, e)| e.inference);
    columns.histogram("inference_ms", 3, inference, &[(500_000, "p50"), (950_000, "p95"), (990_000, "p99")]);
    let confidence = events.iter().filter_map(|(_, e)| e.confidence);
    columns.histogram("confidence", 6, confidence, &[(50_000, "p05"), (500_000, "p50")]);
    let predictions = || events.iter().map(|(_, e)| e.prediction);
    columns.decimal("prediction_sum", predictions().sum(), 6);
    columns.maybe_decimal("prediction_min", predictions().min(), 6);
    columns.maybe_decimal("prediction_max", predictions().max(), 6);
}

fn series_columns(events: &[(Place, &Request)], columns: &mut Columns) {
    status_columns(events, columns);
    columns.bigint("bytes_count", events.iter().filter(|(_, e)| e.bytes.is_some()).count() as u64);
    columns.count_by("status_counts", events.iter().map(|(_, e)| e.status.to_string()));
    traffic_columns(events, columns);
}

fn region_columns(events: &[(Place, &Request)], columns: &mut Columns) {
    traffic_columns(events, columns);
}

fn total_columns(events: &[(Place, &Request)], columns: &mut Columns) {
    status_columns(events, columns);
    traffic_columns(events, columns);
    let mut seconds: BTreeMap<i64, u64> = BTreeMap::new();
    let mut users: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for ((at_us, _, _), event) in events {
        *seconds.entry(at_us - at_us.rem_euclid(1_000_000)).or_default() += 1;
        if let Some(user) = &event.user_id {
            users.entry(at_us - at_us.rem_euclid(300_000_000)).or_default().push(user);
        }
    }
    columns.peak("requests_per_s", seconds);
    let distinct_users = users.into_iter().map(|(slot, users)| (slot, distinct(users).0));
    columns.peak("active_users", distinct_users);
}

/// Columns of the series and the total.
fn status_columns(events: &[(Place, &Request)], columns: &mut Columns) {
    let count = |test: fn(&Request) -> bool| events.iter().filter(|(_, e)| test(e)).count() as u64;
    columns.bigint("error_4xx_count", count(|e| (400..500).contains(&e.status)));
    columns.bigint("error_5xx_count", count(|e| e.status >= 500));
    columns.bigint("failed_count", count(Request::failed));
}

/// Columns of all three request tables.
fn traffic_columns(events: &[(Place, &Request)], columns: &mut Columns) {
    columns.decimal("bytes_sum", events.iter().filter_map(|(_, e)| e.bytes).sum(), 0);
    columns.distinct("unique_users", events.iter().filter_map(|(_, e)| e.user_id.as_deref()));
    columns.histogram("latency_ms", 3, events.iter().map(|(_, e)| e.duration), LATENCY_QUANTILES);
}

/// A row's values in the form of output records.
struct Columns {
    map: Map<String, Value>,
}

impl Columns {
    fn set(&mut self, name: &str, value: Value) {
        let before = self.map.insert(name.to_owned(), value);
        assert!(before.is_none(), "column {name} is set twice");
    }

    fn bigint(&mut self, name: &str, value: u64) {
        self.set(name, json!(value));
    }

    fn decimal(&mut self, name: &str, units: i128, scale: usize) {
        self.set(name, json!(written(units, scale)));
    }

    fn maybe_decimal(&mut self, name: &str, units: Option<i128>, scale: usize) {
        self.set(name, json!(units.map(|units| written(units, scale))));
    }

    fn time(&mut self, name: &str, at_us: Option<i64>) {
        self.set(name, json!(at_us.map(rfc3339)));
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.set(name, json!(STANDARD.encode(bytes)));
    }

    fn count_by(&mut self, name: &str, values: impl Iterator<Item = String>) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        assert!(counts.len() <= 64, "{name}: the oracle does not fold values into _OTHER");
        self.set(name, json!(counts));
    }

    fn distinct<'a>(&mut self, name: &str, texts: impl Iterator<Item = &'a str>) {
        let (estimate, bytes) = distinct(texts);
        self.bigint(name, estimate);
        self.bytes(&format!("{name}_hll"), &bytes);
    }

    fn peak(&mut self, name: &str, slots: impl IntoIterator<Item = (i64, u64)>) {
        // Slots come in order, so the earliest of equals stays.
        let peak = slots.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
        self.bigint(&format!("{name}_max"), peak.map_or(0, |(_, count)| count));
        self.time(&format!("{name}_max_at"), peak.map(|(slot, _)| slot));
    }

    fn histogram(
        &mut self,
        name: &str,
        scale: usize,
        values: impl Iterator<Item = i128>,
        quantiles: &[(u64, &str)],
    ) {
        let histogram = Histogram::of(values);
        self.bigint(&format!("{name}_count"), histogram.count());
        self.maybe_decimal(&format!("{name}_min"), histogram.min(), scale);
        self.maybe_decimal(&format!("{name}_max"), histogram.max(), scale);
        self.decimal(&format!("{name}_sum"), histogram.sum(), scale);
        for (millionths, suffix) in quantiles {
            self.maybe_decimal(&format!("{name}_{suffix}"), histogram.quantile(*millionths), scale);
        }
        let (bins, counts) = histogram.bins();
        self.set(&format!("{name}_bins"), json!(bins));
        self.set(&format!("{name}_counts"), json!(counts));
        self.bytes(&format!("{name}_hdr"), &histogram.hdr());
    }
}
