use std::thread;

use plimsoll::store::Store;
use postgres::Client;

use crate::fixtures::*;

fn partitions(sql: &mut Client, table: &str) -> Vec<String> {
    let query = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                 WHERE i.inhparent = to_regclass($1::text) ORDER BY 1";
    sql.query(query, &[&table]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn where_is(bench: &Bench, route: &str) -> String {
    bench.value(&format!(
        "SELECT c.relname::text FROM request_log_hourly r JOIN pg_class c ON c.oid = r.tableoid WHERE route = '{route}'"
    ))
}

#[test]
fn months_are_made_on_demand_and_ahead() {
    let bench = Bench::migrated();
    let mut sql = bench.sql();
    assert_eq!(partitions(&mut sql, "request_log_hourly"), ["request_log_hourly_default"]);
    let mut feed = Feed::new(bench.store(), ROWS);
    feed.write([row("/old", "2021-02-28T23:00:00Z", 1, 1), row("/new", "2024-11-01T00:00:00Z", 1, 1)]);
    let months = ["2021_02", "2024_11", "2024_12", "2025_01", "2025_02", "default"];
    assert_eq!(partitions(&mut sql, "request_log_hourly"), months.map(|m| format!("request_log_hourly_{m}")));
    assert_eq!(where_is(&bench, "/old"), "request_log_hourly_2021_02");
    assert_eq!(where_is(&bench, "/new"), "request_log_hourly_2024_11");
    // Another writer and another session find them.
    let mut other = Feed::new(bench.store(), ROWS);
    other.next = Some(2);
    assert_eq!(other.write([row("/old", "2021-02-28T23:00:00Z", 2, 2)]).rows, 1);
    assert_eq!(partitions(&mut sql, "request_log_hourly").len(), 6);
}

#[test]
fn rows_leave_default_when_their_month_is_made() {
    let bench = Bench::migrated();
    let mut sql = bench.sql();
    let insert = |sql: &mut Client, route: &str, at: &str| {
        sql.execute(
            "INSERT INTO request_log_hourly (service, route, bucket_start, event_count, late_count, revision, \
             version, is_final, complete) VALUES ('shop', $1, ($2::text)::timestamptz, 5, 0, 0, 5, true, true)",
            &[&route, &at],
        )
        .unwrap();
    };
    insert(&mut sql, "/a", "2025-10-31 02:00:00+00");
    insert(&mut sql, "/b", "2025-10-31 23:00:00+00");
    insert(&mut sql, "/next", "2025-11-01 00:00:00+00");
    insert(&mut sql, "/far", "2031-11-01 00:00:00+00");
    assert_eq!(where_is(&bench, "/a"), "request_log_hourly_default");

    let mut feed = Feed::new(bench.store(), ROWS);
    // The moved row still orders versions.
    let written = feed.write([row("/a", HOUR, 4, 4), row("/b", "2025-10-31T23:00:00Z", 6, 6)]);
    assert_eq!((written.rows, written.stale), (1, 1));
    assert_eq!(where_is(&bench, "/a"), "request_log_hourly_2025_10");
    assert_eq!(where_is(&bench, "/next"), "request_log_hourly_2025_11");
    assert_eq!(where_is(&bench, "/far"), "request_log_hourly_default");
    assert_eq!(bench.value::<i64>("SELECT sum(event_count)::bigint FROM request_log_hourly"), 5 + 6 + 5 + 5);

    let done = feed.store.migrate(&rules()).unwrap();
    assert_eq!(done, ["moved rows out of DEFAULT into request_log_hourly_2031_11"]);
    assert_eq!(where_is(&bench, "/far"), "request_log_hourly_2031_11");
}

#[test]
fn a_row_on_its_way_to_default_is_waited_for() {
    let bench = Bench::migrated();
    let mut other = bench.sql();
    let mut writer = other.transaction().unwrap();
    writer
        .execute(
            "INSERT INTO request_log_hourly (service, route, bucket_start, event_count, late_count, revision, \
             version, is_final, complete) VALUES ('shop', '/slow', '2025-10-31 02:00Z', 5, 0, 0, 5, true, true)",
            &[],
        )
        .unwrap();
    thread::scope(|scope| {
        let maker = scope.spawn(|| Feed::new(bench.store(), ROWS).write([row("/a", HOUR, 1, 1)]));
        bench.await_waiting("request_log_hourly");
        writer.commit().unwrap();
        assert_eq!(maker.join().unwrap().rows, 1);
    });
    assert_eq!(where_is(&bench, "/a"), "request_log_hourly_2025_10");
    assert_eq!(where_is(&bench, "/slow"), "request_log_hourly_2025_10");
}

#[test]
fn a_partition_that_cannot_be_made_stops_nothing() {
    let bench = Bench::migrated();
    let mut sql = bench.sql();
    // An analyst's query that takes its time: ATTACH would have to wait for it.
    let mut analyst = bench.sql();
    let mut query = analyst.transaction().unwrap();
    query.query("SELECT count(*) FROM request_log", &[]).unwrap();
    let mut feed = Feed::new(bench.store(), ROWS);
    assert_eq!(feed.write([row("/a", HOUR, 1, 1)]).rows, 1);
    assert_eq!(where_is(&bench, "/a"), "request_log_hourly_default");
    query.rollback().unwrap();
    let mut later = Feed::new(bench.store(), ROWS);
    later.next = Some(1);
    later.write([row("/a", HOUR, 2, 2)]);
    assert_eq!(where_is(&bench, "/a"), "request_log_hourly_2025_10");
    assert_eq!(partitions(&mut sql, "request_log_hourly").len(), 5);
}

#[test]
fn a_writer_that_may_not_make_tables_uses_default() {
    let bench = Bench::migrated();
    let role = bench.schema.to_lowercase().replace(' ', "_");
    bench
        .sql()
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA \"{0}\" TO {role}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"{0}\" TO {role}",
            bench.schema
        ))
        .unwrap();
    let url = bench.server.url().replace("plimsoll@", &format!("{role}@"));
    let mut feed = Feed::new(Store::connect(&url, &bench.schema).unwrap(), ROWS);
    feed.write([row("/a", HOUR, 1, 1)]);
    assert_eq!(where_is(&bench, "/a"), "request_log_hourly_default");
    assert_eq!(bench.store().migrate(&rules()).unwrap().len(), 1);
    assert_eq!(feed.write([row("/a", HOUR, 2, 2)]).rows, 1);
    assert_eq!(where_is(&bench, "/a"), "request_log_hourly_2025_10");
}

#[test]
fn times_beyond_the_calendar_of_partitions_are_stored() {
    let bench = Bench::migrated();
    let mut feed = Feed::new(bench.store(), ROWS);
    let written = feed.write([
        row("/early", "0099-01-01T00:00:00Z", 1, 1),
        row("/late", "9999-06-30T23:00:00Z", 1, 1),
        row("/before", "-004800-01-01T00:00:00Z", 1, 1),
    ]);
    assert_eq!((written.rows, written.invalid.len()), (2, 1));
    assert_eq!(where_is(&bench, "/early"), "request_log_hourly_default");
}
