use std::thread;

use plimsoll::core::rules::Rules;
use plimsoll::core::source::{Aggregate, Column, FieldKind};
use plimsoll::store::{Store, StoreError};
use serde_json::json;

use crate::fixtures::*;

fn refused(store: &mut Store, rules: &Rules) -> String {
    match store.migrate(rules).unwrap_err() {
        StoreError::Unmigratable { problem } => problem,
        other => panic!("{other:?}"),
    }
}

fn columns(rules: &mut Rules) -> &mut Vec<Column> {
    &mut rules.sources[0].rollups[0].columns
}

#[test]
fn the_second_time_there_is_nothing_to_do() {
    let bench = Bench::new();
    let mut store = bench.store();
    let done = store.migrate(&rules()).unwrap();
    for what in [
        "created schema",
        "applied 001_histograms",
        "created table request_log_hourly",
        "made view request_log",
    ] {
        assert!(done.iter().any(|line| line.starts_with(what)), "{what}: {done:?}");
    }
    assert_eq!(store.migrate(&rules()).unwrap(), Vec::<String>::new());
    assert_eq!(bench.store().migrate(&rules()).unwrap(), Vec::<String>::new());
}

#[test]
fn replicas_may_migrate_at_once() {
    let bench = Bench::new();
    let done: Vec<String> = thread::scope(|scope| {
        let replicas = [(); 4].map(|()| scope.spawn(|| bench.store().migrate(&rules()).unwrap()));
        replicas.into_iter().flat_map(|replica| replica.join().unwrap()).collect()
    });
    let mut once = done.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), done.len(), "done twice: {done:?}");
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM schema_version"), 7);
}

#[test]
fn everything_is_commented() {
    let bench = Bench::migrated();
    // Partitions take their columns' comments from the table when they are made.
    Feed::new(bench.store(), ROWS).write([row("/a", HOUR, 1, 1)]);
    let mut sql = bench.sql();
    let relations = "SELECT c.relname::text, a.attname::text FROM pg_class c \
                     LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                     WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind IN ('r', 'p', 'v', 'c')";
    let all = sql.query(relations, &[]).unwrap().len();
    assert!(all > 150, "{all} columns");
    let bare = format!(
        "{relations} AND (coalesce(col_description(c.oid, a.attnum), '') = '' \
         OR c.relkind <> 'c' AND coalesce(obj_description(c.oid, 'pg_class'), '') = '')"
    );
    let bare: Vec<(String, String)> =
        sql.query(&bare, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    // The DEFAULT partition's columns are those of its table and have no comments of their own.
    let bare: Vec<_> = bare.iter().filter(|(table, _)| !table.ends_with("_default")).collect();
    assert!(bare.is_empty(), "{bare:?}");
    let functions = "SELECT string_agg(proname, ', ') FROM pg_proc \
                     WHERE pronamespace = quote_ident(current_schema())::regnamespace AND obj_description(oid, 'pg_proc') IS NULL";
    assert_eq!(bench.value::<Option<String>>(functions), None);
    let unit = "SELECT col_description('request_log_hourly'::regclass, attnum) FROM pg_attribute \
                WHERE attrelid = 'request_log_hourly'::regclass AND attname = 'latency_ms_p99'";
    assert!(bench.value::<String>(unit).contains("in ms"));
}

#[test]
fn a_column_added_to_the_rules_is_added_to_table_and_view() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    feed.write([row("/a", HOUR, 1, 1)]);
    // A view of an analyst rests on ours.
    bench.sql().batch_execute("CREATE VIEW mine AS SELECT route, latency_ms FROM request_log").unwrap();
    let mut rules = rules();
    let again = |name: &str, column: &Column| Column { name: name.into(), ..column.clone() };
    let (sum, histogram) = (columns(&mut rules)[1].clone(), columns(&mut rules)[5].clone());
    columns(&mut rules).insert(0, again("bytes_again", &sum));
    columns(&mut rules).insert(3, again("wait_ms", &histogram));
    // What left the rules stays.
    columns(&mut rules).retain(|column| column.name != "failed_count");
    rules.sources[0].rollups.remove(1);
    let done = feed.store.migrate(&rules).unwrap();
    assert!(done.contains(&"added column bytes_again to request_log_hourly".into()), "{done:?}");
    assert_eq!(feed.store.migrate(&rules).unwrap(), Vec::<String>::new());
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM request_log_total_hourly"), 0);

    feed.routes = routes_of(&rules);
    let wait = json!({"bytes_again": "42", "wait_ms_bins": [7], "wait_ms_counts": [1]});
    feed.write([with(row("/b", HOUR, 1, 1), wait)]);
    let query = "SELECT sum(bytes_again)::bigint + sum(failed_count)::bigint \
                 + hist_count(hist_merge(wait_ms)) + hist_count(hist_merge(latency_ms)) FROM request_log";
    // failed_count only from the row written when the rules had it.
    assert_eq!(bench.value::<i64>(query), 42 + 1 + 1 + 6);
    let comment = "SELECT col_description('request_log'::regclass, attnum) FROM pg_attribute \
                   WHERE attrelid = 'request_log'::regclass AND attname = 'bytes_again'";
    assert_eq!(bench.value::<String>(comment), "exact sum of bytes in B; 0 when empty");
}

#[test]
fn what_a_table_cannot_become_is_refused_whole() {
    let bench = Bench::migrated();
    let mut store = bench.store();
    let change = |act: &dyn Fn(&mut Rules)| {
        let mut rules = rules();
        act(&mut rules);
        // A good change before the bad one: it must not stay.
        rules.sources[0].rollups.reverse();
        rules.sources[0].rollups[0].columns.push(Column { name: "n".into(), aggregate: Aggregate::Sum(4) });
        rules
    };
    let key = change(&|rules| rules.sources[0].rollups[0].by.truncate(1));
    assert!(
        refused(&mut store, &key)
            .contains("the key of request_log_hourly is (service, route, shard, bucket_start)")
    );
    let kind = change(&|rules| columns(rules)[0].aggregate = Aggregate::Sum(4));
    assert!(refused(&mut store, &kind).contains("column failed_count of request_log_hourly is bigint"));
    let scale = change(&|rules| {
        if let FieldKind::Decimal { scale, .. } = &mut rules.sources[0].fields[3].kind {
            *scale = 2;
        }
    });
    assert!(refused(&mut store, &scale).contains("latency_ms of request_log_hourly is counted at scale 3"));
    let long = change(&|rules| rules.sources[0].rollups[0].table = format!("{}_hourly", "x".repeat(50)));
    assert!(refused(&mut store, &long).contains("Postgres allows 55"));
    let taken = change(&|rules| rules.sources[0].rollups[0].table = "dead_letter_hourly".into());
    assert!(refused(&mut store, &taken).contains("is no hourly table"));
    assert_eq!(store.migrate(&rules()).unwrap(), Vec::<String>::new());
    let added = "SELECT count(*) FROM pg_attribute WHERE attname = 'n' AND attrelid = 'request_log_total_hourly'::regclass";
    assert_eq!(bench.value::<i64>(added), 0);
}

#[test]
fn an_older_release_leaves_a_newer_schema_alone() {
    let bench = Bench::migrated();
    bench.sql().execute("INSERT INTO schema_version (version, name) VALUES (99, 'later')", &[]).unwrap();
    assert!(refused(&mut bench.store(), &rules()).contains("version 99"));
}

#[test]
fn names_need_not_be_tame() {
    let bench = Bench::new();
    let mut rules = rules();
    rules.sources[0].fields[1].name = "Ser\"vice's".into();
    rules.sources[0].rollups[0].columns[0].name = "select".into();
    bench.store().migrate(&rules).unwrap();
    let mut feed = Feed::new(bench.store(), ROWS);
    feed.routes = routes_of(&rules);
    let renamed = json!({"Ser\"vice's": "it's", "select": 4});
    assert_eq!(feed.write([with(row("/a", HOUR, 1, 1), renamed)]).rows, 1);
    let query = r#"SELECT "Ser""vice's" || "select" FROM request_log"#;
    assert_eq!(bench.value::<String>(query), "it's4");
}
