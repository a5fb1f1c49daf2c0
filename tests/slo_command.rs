//! `plimsoll slo check`, `explain` and `test`, as a user runs them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use plimsoll::local::postgres::LocalPostgres;
use serde_json::Value;

/// Runs `plimsoll slo` and gives its exit code, standard output and standard error.
fn slo(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let output = command.arg("slo").args(arguments).env_remove("DATABASE_URL").output();
    let Output { status, stdout, stderr } = output.unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn tests_file(folder: &Path, text: &str) -> String {
    let path = folder.join("tests.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A configuration folder with one source and the rules `rules`.
fn configuration(folder: &Path, rules: &str) -> String {
    let source = "apiVersion: openslo/v1
kind: DataSource
metadata: {name: orders}
spec:
  type: KafkaStream
  connectionDetails:
    topic: orders
    format: json
    event_time: {field: ts, out_of_order: 2s, idle_after: 5s}
    fields:
      ts: {type: timestamp}
      shop: {type: string}
      paid: {type: boolean}
    rollups: []
";
    let alerts = format!(
        "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {{name: shop}}\nspec:\n  defaults: {{source: orders}}\n  rules:\n{rules}"
    );
    for (name, text) in [("sources", source), ("alerts", &alerts)] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("shop.yaml"), text).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

const DIFFERENT: &str = "tests:
  - name: wrong in every way
    rule: platform/error-rate-by-service
    start: 2025-10-31T10:00:00Z
    fields: {service: web, status: 200}
    events:
      - {at: +0s, for: 15m, rate: 100/s}
      - {at: 10:05:00, for: 30s, rate: 100/s, fields: {status: 503}}
    expect:
      - {at: 10:04:00, transition: OPENED}
      - {at: 10:05:04, transition: OPENED, level: high, labels: {service: web}, said: 10:05:05}
      - {at: 10:11:29, transition: UPDATED, level: high}
  - name: right
    rule: platform/error-rate
    events: [{at: 10:00:00, count: 100, fields: {status: 200}}]
    expect: []
";

#[test]
fn a_difference_is_shown_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = tests_file(folder.path(), DIFFERENT);
    let (code, said, errors) = slo(&["test", &file]);
    assert_eq!((code, errors.as_str()), (65, "1 of 2 cases failed\n"), "{said}");
    let expected = format!(
        "FAILED  wrong in every way ({file}:2); - was expected, + came
    - 10:04:00 OPENED  (line 10)
      10:05:04 OPENED    high {{service=web}} onset 10:05:04 said 10:05:05
    - 10:11:29 UPDATED   high  (line 12)
    + 10:11:29 UPDATED   warning {{service=web}} said 10:11:30
ok      right (100 events, 0 transitions)
1 passed, 1 failed
"
    );
    assert_eq!(said, expected);
    let (code, said, _) = slo(&["test", &file, "--format", "json", "--only", "wrong"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["failed"], &told["cases"][0]["line"]), (65, &1.into(), &2.into()));
    let verdicts: Vec<_> =
        told["cases"][0]["transitions"].as_array().unwrap().iter().map(|line| &line["verdict"]).collect();
    assert_eq!(verdicts, ["missing", "met", "missing", "unexpected"]);
}

#[test]
fn every_mistake_in_a_file_is_said_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = "tests:
  - name: all wrong
    rule: platform/eror-rate
    expect: []
  - name: lines
    rule: platform/error-rate
    events:
      - {at: noon, for: 5m, rate: 100/s, fields: {status: 200}}
      - {at: 10:00, rate: 100/s, fields: {status: 200}}
      - {at: 10:00, for: 5m, rate: fast, fields: {status: 200}}
      - {at: 10:00, count: 1, fields: {status: 600}}
      - {at: 10:00, count: 1, fields: {staus: 200}}
      - {at: 10:00, count: 1}
      - {at: 10:00, count: 1, partition: 1, fields: {status: 200}}
    expect:
      - {at: 10:00:00.5, transition: OPENED}
      - {at: 10:00, transition: OPENS, level: hihg}
  - {name: silence, rule: platform/error-rate, expect: []}
  - {name: level, rule: platform/error-rate, levels: [warnin], expect: []}
";
    let file = tests_file(folder.path(), text);
    let (code, said, errors) = slo(&["test", &file]);
    assert_eq!((code, said.as_str()), (64, ""));
    let found: Vec<&str> = errors.lines().filter_map(|line| line.strip_prefix(&format!("{file}:"))).collect();
    let expected = [
        "3: `rule`: no rule or SLO is called `platform/eror-rate`",
        "8: `at`: `noon` is no time",
        "9: a `rate` wants a `for`",
        "10: `rate`: `fast` is no rate",
        "11: `status`: field status: expected a number from 0 to 599, found 600",
        "12: `staus`: not a field of request-log",
        "13: the rule reads `status`, and every record has it",
        "14: `partition`: the sources have no partition 1",
        "16: `at`: this is no whole second",
        "17: `level`: `hihg` is no level of the rule",
        "17: `transition`: `OPENS` is no transition",
        "18: the case has no events",
        "19: `warnin` is no level of the rule",
    ];
    assert_eq!(found, expected, "{errors}");
    assert!(errors.contains("did you mean `platform/error-rate`?"), "{errors}");
}

#[test]
fn explain_says_what_counts_when_it_fires_and_what_it_costs() {
    let (code, said, _) = slo(&["explain", "platform/error-rate"]);
    assert_eq!(code, 0, "{said}");
    for line in [
        "platform/error-rate (RATIO, service platform)",
        "  source     request-log",
        "  counts     every event",
        "  bad        status >= 500 || status in [0, 408, 499]",
        "    critical (P0)  more than 5% of the events of 45 s are bad, of at least 100 events",
        "    critical  45 s    1 s       53 s             1 min",
        "    warning   5 min   10 s      5 min 8 s        15 min",
        "    critical  100 %       all bad  3 s          5 min 45 s",
        "    warning   2 %         2 x      2 min 31 s   7 min 32 s",
        "  Cost: 1135 panes, about 195 KB, and 75 of them read for each second;",
    ] {
        assert!(said.lines().any(|said| said == line), "no line `{line}` in\n{said}");
    }
    let (_, both, _) = slo(&["explain", "platform", "--format", "json"]);
    let both: Value = serde_json::from_str(&both).unwrap();
    assert_eq!(both[1]["counts"][0]["group_by"][0], "service");
    assert_eq!(both[1]["cost"]["group_limit"], 500);
    let (code, _, errors) = slo(&["explain", "platfrom"]);
    assert_eq!((code, errors.contains("did you mean `platform`?")), (64, true), "{errors}");
}

#[test]
fn the_shipped_rules_have_nothing_to_be_said_about() {
    let (code, said, _) = slo(&["check"]);
    assert_eq!((code, said.lines().count()), (0, 1), "{said}");
    assert!(said.starts_with("0 errors, 0 warnings; "), "{said}");
}

const DOUBTFUL: &str = "    - name: unpaid
      kind: RATIO
      bad: \"!paid\"
      window: 10m
      min_events: 1000
      group_by: [shop]
      group_limit: 1
      summary: \"{value} is more than we stand\"
      critical: {above: 1%}
      high: {above: 2%}
      low: {below: 90%, window: 5s}
    - name: nervous
      kind: RATIO
      bad: \"!paid\"
      window: 5m
      high: {above: 1%, window: 1m}
";

#[test]
fn check_finds_what_will_not_do_as_meant() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), DOUBTFUL);
    let (code, said, _) = slo(&["check", &config, "--format", "json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    let found: Vec<String> = told["findings"].as_array().unwrap().iter().map(brief).collect();
    let expected = [
        "7 shop/unpaid warning group-limit",
        "7 shop/unpaid: critical warning too-slow",
        "7 shop/unpaid: critical warning levels-out-of-order",
        "7 shop/unpaid: high warning too-slow",
        "7 shop/unpaid: low warning coarse-panes",
        "17  warning op-against-words",
        "18 shop/nervous: high warning one-event-decides",
    ];
    assert_eq!((code, found), (0, expected.map(str::to_owned).to_vec()), "{said}");
    let (_, text, _) = slo(&["check", &config]);
    let slow = "shop/unpaid: critical: may take 10 min 8 s to open, and critical is to be detected within 1 min [too-slow]";
    assert!(
        text.contains(&format!("{config}/alerts/shop.yaml:7: warning: {slow}\n  help: shorten `window`")),
        "{text}"
    );
    assert!(text.ends_with("0 errors, 7 warnings; 2 rules and objectives read\n"), "{text}");
}

fn brief(finding: &Value) -> String {
    let part = |name: &str| finding[name].as_str().unwrap();
    format!("{} {} {} {}", finding["line"], part("subject"), part("weight"), part("lint"))
}

#[test]
fn check_says_mistakes_as_errors_in_sarif_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), "    - {name: a, kind: RATOI}\n    - {name: b, kind: RATIO}\n");
    let (code, said, errors) = slo(&["check", &config, "--format", "sarif"]);
    assert_eq!(code, 64, "{errors}");
    let sarif: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&sarif["version"], &sarif["runs"][0]["tool"]["driver"]["name"]),
        (&"2.1.0".into(), &"plimsoll".into())
    );
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(results.len() >= 3, "{said}");
    let first = &results[0];
    assert_eq!((&first["ruleId"], &first["level"]), (&"configuration".into(), &"error".into()));
    let place = &first["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 7);
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("alerts/shop.yaml"), "{place}");
    let (code, _, errors) = slo(&["explain", "a", "--format", "sarif"]);
    assert_eq!((code, errors.contains("is for `plimsoll slo check`")), (64, true), "{errors}");
}

#[test]
fn check_asks_the_hourly_tables_when_told_to() {
    let (code, _, errors) = slo(&["check", "--traffic"]);
    assert_eq!((code, errors.starts_with("--traffic needs a database")), (64, true), "{errors}");
    let server = LocalPostgres::start().unwrap();
    let url = server.url();
    let migrated = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["db", "migrate", "--database-url", &url])
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    // Five hours with enough events, one with few, and one that still goes on.
    let hours = "insert into plimsoll.request_log_hourly (service, route, method, bucket_start, event_count, late_count,
            revision, version, is_final, complete, watermark, error_4xx_count, error_5xx_count, failed_count, bytes_sum,
            bytes_count, status_counts, unique_users, latency_ms_count, latency_ms_sum)
        select 'a', route, 'GET', '2025-10-31T00:00:00Z'::timestamptz + n * interval '1 hour',
            case when n < 5 then 5000 else 50 end, 0, 0, 0, n < 6, true, now(), 0, 0, 0, 0, 0, '{}', 0, 0, 0
        from generate_series(0, 6) n, unnest(array['/x', '/y']) route";
    client.execute(hours, &[]).unwrap();
    let (code, said, errors) = slo(&["check", "--traffic", "--database-url", &url]);
    assert_eq!(code, 0, "{said}{errors}");
    assert!(
        said.lines()
            .filter(|line| line.contains("[little-traffic]"))
            .all(|line| line.contains("in 1 of 6 hours"))
    );
    let level = "platform.yaml:10: warning: platform/error-rate: critical: in 1 of 6 hours 45 s held fewer than 100 events";
    assert!(said.contains(level), "{said}");
}
