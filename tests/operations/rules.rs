//! Rules change while replicas run.

use std::time::Duration;

use crate::facts::{done, eventually, records, samples};
use crate::records::{SECOND_US, now_us, request};
use crate::start::edit;
use crate::support::{Deployment, Replica, Settings};

const LIMIT: Duration = Duration::from_secs(60);

fn breaches(deployment: &Deployment) -> Vec<String> {
    let told = records(deployment, "slo-breaches");
    told.iter().map(|breach| breach.value["rule"]["threshold"].as_str().unwrap().to_owned()).collect()
}

/// Half of some requests fail, around now.
fn half_fail(deployment: &Deployment) {
    let now = now_us();
    let at =
        |n: i64| request((n % 2) as u32, now + n * SECOND_US / 50, "shop", [200, 500][(n / 2 % 2) as usize]);
    deployment.produce((0..100).map(at));
}

fn version_in_force(deployment: &Deployment) -> String {
    let shown = done(&deployment.command(&["rules", "show"]));
    shown.lines().next().unwrap().to_owned()
}

#[test]
fn new_rules_are_adopted_without_a_restart() {
    let deployment = Deployment::start(2, &Settings::default());
    let shown = done(&deployment.command(&["rules", "show"]));
    assert!(shown.starts_with("no rules are in force yet"), "{shown}");
    let rules = "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {name: platform}\nspec:\n  \
        defaults: {source: request-log, hold: 3s, min_events: 20}\n  rules:\n    \
        - {name: errors, kind: RATIO, bad: \"status >= 500\", window: 10s, high: {above: 90%}}\n";
    deployment.write_only_rules(rules);
    let applied = done(&deployment.command(&["rules", "apply"]));
    assert!(applied.starts_with("in force as version "), "{applied}");
    let again = done(&deployment.command(&["rules", "apply"]));
    assert_eq!(again, "nothing to do: these rules are in force\n");
    let first = version_in_force(&deployment);

    // Files that differ change nothing until they are applied, and `run` says so.
    edit(&deployment, "alerts/platform.yaml", "above: 90%", "above: 20%");
    let diff = done(&deployment.command(&["rules", "diff"]));
    assert!(diff.contains("-    - {name: errors") && diff.contains("+    - {name: errors"), "{diff}");
    assert!(diff.contains("above: 90%") && diff.contains("above: 20%"), "{diff}");
    let mut replica = deployment.replica("one", &[]);
    replica.wait_for_log("the files differ from the rules in force", LIMIT);
    replica.wait_for_log("ingest partitions assigned", LIMIT);
    half_fail(&deployment);
    stored(&deployment, &mut replica, 100);
    assert_eq!(breaches(&deployment), [""; 0], "90 % still is the threshold");

    done(&deployment.command(&["rules", "apply"]));
    assert_ne!(version_in_force(&deployment), first);
    replica.wait_for_log("rules adopted", LIMIT);
    judged_by_the_new(&deployment, &mut replica);

    // A new column: the database gets it, and rows fill it.
    edit(
        &deployment,
        "sources/request-log.yaml",
        "bytes_sum:       {sum: bytes}",
        "slow_count: {count: \"duration > 10\"}\n          bytes_sum: {sum: bytes}",
    );
    done(&deployment.command(&["rules", "apply"]));
    eventually("rows have the new column", LIMIT, &mut replica, |_| {
        let query = "select coalesce(sum(slow_count), 0)::bigint from plimsoll.request_log_hourly";
        let slow: i64 = deployment.client().query_one(query, &[]).ok()?.get(0);
        if slow == 0 {
            half_fail(&deployment);
        }
        (slow > 0).then_some(())
    });
    // What the hour held before goes on beside the new column.
    eventually("both tables hold the same events", LIMIT, &mut replica, |_| {
        let sum = |table: &str| format!("select sum(event_count) from plimsoll.{table}");
        let query = format!("select ({}) = ({})", sum("request_log_hourly"), sum("request_log_total_hourly"));
        deployment.client().query_one(&query, &[]).ok()?.get::<_, bool>(0).then_some(())
    });
    metrics_tell_what_happened(&mut replica);
}

/// Thresholds count from the panes that begin after every clock has the rules, so traffic goes on until they do.
fn judged_by_the_new(deployment: &Deployment, replica: &mut Replica) {
    eventually("a breach of the new threshold", LIMIT, replica, |_| {
        let told = breaches(deployment);
        if told.is_empty() {
            half_fail(deployment);
        }
        told.contains(&"20%".to_owned()).then_some(())
    });
}

fn stored(deployment: &Deployment, replica: &mut Replica, events: i64) {
    let query = "select sum(event_count)::bigint from plimsoll.request_log_total_hourly";
    eventually("the requests are stored", LIMIT, replica, |_| {
        let count: Option<i64> = deployment.client().query_one(query, &[]).ok()?.get(0);
        (count == Some(events)).then_some(())
    });
}

fn metrics_tell_what_happened(replica: &mut Replica) {
    let (status, _) = replica.get("/healthz");
    assert!(status.contains("200"), "{status}");
    let above_zero = [
        "plimsoll_source_messages_read_total{source=\"request-log\"}",
        "plimsoll_source_watermark_delay_seconds{",
        "plimsoll_flush_seconds_count{role=\"ingest\"}",
        "plimsoll_commit_seconds_count{role=\"ingest\"}",
        "plimsoll_commit_seconds_count{role=\"evaluate\"}",
        "plimsoll_commit_seconds_count{role=\"store\"}",
        "plimsoll_series{",
        "plimsoll_series_limit{table=\"request_log_hourly\"}",
        "plimsoll_breaches_total{transition=\"OPENED\"}",
        "plimsoll_store_rows_total",
    ];
    for name in above_zero {
        assert!(samples(replica, name).values().any(|value| *value > 0.0), "{name}");
    }
    // As of when the broker was last asked, which is once a second.
    let lag = "plimsoll_source_lag_messages{source=\"request-log\"";
    eventually("no lag", LIMIT, replica, |replica| {
        let found = samples(replica, lag);
        (!found.is_empty() && found.values().all(|value| *value == 0.0)).then_some(())
    });
    let zero = [
        "plimsoll_invariant_violations_total",
        "plimsoll_dead_letters_total{source=\"request-log\",reason=\"TOO_LATE\"}",
        "plimsoll_transactions_aborted_total",
    ];
    for name in zero {
        let found = samples(replica, name);
        assert!(!found.is_empty() && found.values().all(|value| *value == 0.0), "{name} {found:?}");
    }
}
