//! The SQL functions against sorted lists of the values themselves.

use std::collections::BTreeMap;

use postgres::Client;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::fixtures::*;

/// The HDR index at 7 bits: values below 256 have a bin of their own, then 128 bins for each power of two.
fn bin(value: u64) -> i16 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(8);
    ((u64::from(shift) << 7) + (value >> shift)) as i16
}

fn bins(values: &[u64]) -> (Vec<i16>, Vec<i64>) {
    let mut counts: BTreeMap<i16, i64> = BTreeMap::new();
    for value in values {
        *counts.entry(bin(*value)).or_default() += 1;
    }
    counts.into_iter().unzip()
}

/// From one to 2^42, evenly over the magnitudes.
fn values(random: &mut impl Rng, count: usize) -> Vec<u64> {
    let mut value = || {
        let bits = random.random_range(1..=42);
        random.random_range(0..1_u64 << bits)
    };
    (0..count).map(|_| value()).collect()
}

fn literal(scale: i16, values: &[u64]) -> String {
    let (bins, counts) = bins(values);
    format!("ROW({scale}, ARRAY{bins:?}::smallint[], ARRAY{counts:?}::bigint[])::histogram")
}

#[test]
fn percentiles_of_merged_rows_are_those_of_all_values() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let mut all: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut rows = Vec::new();
    for (route, hours) in [("/a", 1), ("/b", 24), ("/c", 24)] {
        for hour in 0..hours {
            let count = random.random_range(1..400);
            let values = values(&mut random, count);
            let (bins, counts) = bins(&values);
            let at = format!("2025-10-{:02}T{:02}:00:00Z", 1 + hour % 3, hour);
            let measured = json!({"latency_ms_bins": bins, "latency_ms_counts": counts});
            rows.push(with(row(route, &at, 1, count as u64), measured));
            all.entry(route).or_default().extend(values);
        }
    }
    assert_eq!(feed.write(rows).rows, 49);
    let mut sql = bench.sql();
    for (route, values) in &mut all {
        values.sort_unstable();
        for quantile in [0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let query = "SELECT (hist_percentile(hist_merge(latency_ms), $1) * 1000)::bigint, \
                         hist_count(hist_merge(latency_ms)) FROM request_log WHERE route = $2";
            let found = sql.query_one(query, &[&quantile, route]).unwrap();
            let (value, count): (i64, i64) = (found.get(0), found.get(1));
            let value = value as u64;
            assert_eq!(count, values.len() as i64);
            assert!(
                value >= exact && value <= exact + exact / 128,
                "{route} {quantile}: {value} for {exact}"
            );
        }
        let edge = (1 << 20) - 1; // The largest value of its bin.
        let share = values.iter().filter(|value| **value <= edge).count() as f64 / values.len() as f64;
        let query = "SELECT hist_fraction_at_most(hist_merge(latency_ms), 1048.575)::float8 FROM request_log WHERE route = $1";
        let found: f64 = sql.query_one(query, &[route]).unwrap().get(0);
        assert!((found - share).abs() < 1e-12, "{route}: {found} for {share}");
    }
}

#[test]
fn parallel_workers_merge_to_the_same() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let bench = Bench::migrated();
    let mut sql = bench.sql();
    let parts: Vec<Vec<u64>> = (0..6).map(|_| values(&mut random, 200)).collect();
    let texts: Vec<String> = parts.iter().map(|part| literal(3, part)).collect();
    sql.batch_execute(&format!(
        "CREATE TABLE part AS SELECT unnest(ARRAY[{}]) AS h FROM generate_series(1, 2000); ANALYZE part; \
         SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
        texts.join(", ")
    ))
    .unwrap();
    let plan: Vec<String> = sql
        .query("EXPLAIN SELECT hist_merge(h) FROM part", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(plan.iter().any(|line| line.contains("Partial Aggregate")), "{plan:?}");
    let merged = "SELECT (m).bins, (m).counts, (m).scale FROM (SELECT hist_merge(h) AS m FROM part) x";
    let row = sql.query_one(merged, &[]).unwrap();
    let (expected_bins, counts) = bins(&parts.concat());
    let expected_counts: Vec<i64> = counts.iter().map(|count| count * 2000).collect();
    assert_eq!(row.get::<_, Vec<i16>>(0), expected_bins);
    assert_eq!(row.get::<_, Vec<i64>>(1), expected_counts);
    assert_eq!(row.get::<_, i16>(2), 3);
}

#[test]
fn bins_have_their_edges() {
    let bench = Bench::migrated();
    let mut sql = bench.sql();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut edges = vec![0, 1, 255, 256, 257, 258, (1 << 42) - 1];
    edges.extend(values(&mut random, 500));
    for value in edges {
        let high: i64 = sql.query_one("SELECT hist_bin_high($1)", &[&i32::from(bin(value))]).unwrap().get(0);
        let high = high as u64;
        assert!(
            high >= value && bin(high) == bin(value) && bin(high + 1) == bin(value) + 1,
            "{value}: {high}"
        );
    }
}

#[test]
fn histograms_that_do_not_fit_are_refused() {
    let bench = Bench::migrated();
    let mut sql = bench.sql();
    let refusal = |sql: &mut Client, query: &str| {
        let error = sql.query(query, &[]).unwrap_err();
        error.as_db_error().unwrap().message().to_owned()
    };
    let (three, two) = (literal(3, &[1]), literal(2, &[1]));
    let mixed = format!("SELECT hist_merge(h) FROM unnest(ARRAY[{three}, {two}]) h");
    // `unnest` of a composite gives its columns; wrap them again.
    let mixed = mixed.replace("hist_merge(h) FROM unnest", "hist_merge(h::histogram) FROM unnest");
    assert_eq!(refusal(&mut sql, &mixed), "hist_merge: histograms of scale 3 and 2 cannot be merged");
    let combined = format!("SELECT hist_combine(hist_accum('{{}}', {two}), hist_accum('{{}}', {three}))");
    assert_eq!(refusal(&mut sql, &combined), "hist_merge: histograms of scale 2 and 3 cannot be merged");
    let torn = "SELECT hist_accum('{}', ROW(3, '{1,2}', '{1}')::histogram)";
    assert_eq!(refusal(&mut sql, torn), "hist_merge: a histogram has 2 bins but 1 counts");
    for p in ["1.5", "-0.1", "NULL", "'NaN'"] {
        let query = format!("SELECT hist_percentile({three}, {p}::float8)");
        assert!(refusal(&mut sql, &query).starts_with("hist_percentile: p must be between 0 and 1"), "{p}");
    }
}

#[test]
fn empty_histograms_have_no_percentiles() {
    let bench = Bench::migrated();
    let empty = "ROW(3, '{}', '{}')::histogram";
    for query in [
        "SELECT hist_percentile(hist_merge(h), 0.5)::text FROM (SELECT NULL::histogram AS h) x".to_owned(),
        "SELECT hist_percentile(hist_merge(latency_ms), 0.5)::text FROM request_log".to_owned(),
        format!("SELECT hist_percentile(hist_merge({empty}), 0.5)::text"),
        format!("SELECT hist_fraction_at_most(hist_merge({empty}), 1)::text"),
        "SELECT hist_percentile(ROW(3, NULL, NULL)::histogram, 0.5)::text".to_owned(),
    ] {
        assert_eq!(bench.value::<Option<String>>(&query), None, "{query}");
    }
    let beside = format!(
        "SELECT hist_count(hist_merge(h)) FROM (VALUES ({empty}), (NULL), ({})) x(h)",
        literal(3, &[7])
    );
    assert_eq!(bench.value::<i64>(&beside), 1);
}
