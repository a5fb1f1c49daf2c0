//! `plimsoll slo backtest`, as a user runs it, on files of records.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plimsoll::config::{Document, parse_rules};
use plimsoll::core::time::{SECOND_US, rfc3339};
use plimsoll::slo::cases;
use plimsoll::slo::rehearsal::rehearse;
use serde_json::Value;

const SOURCE: &str = "apiVersion: openslo/v1
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

const SLO: &str = "apiVersion: openslo/v1
kind: Service
metadata: {name: shop}
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: paying, annotations: {plimsoll.dev/alerts: none}}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 1h, isRolling: true}]
  objectives: [{displayName: paid, target: 0.8}]
  indicator:
    metadata: {name: paid}
    spec:
      ratioMetric:
        counter: false
        bad:   {metricSource: {metricSourceRef: orders, spec: {where: \"!paid\"}}}
        total: {metricSource: {metricSourceRef: orders, spec: {where: \"true\"}}}
";

/// Ten orders a second in each of two shops; in one of them, for a minute from 10:05:00 on, none is paid.
const CASE: &str = "tests:
  - name: the same events
    rule: shop/unpaid
    start: 2025-10-31T10:00:00Z
    until: 10:20:00
    partitions: 2
    events:
      - {at: 10:00:00, for: 20m, rate: 10/s, partition: 0, fields: {shop: north, paid: true}}
      - {at: 10:00:00, for: 5m, rate: 10/s, partition: 1, fields: {shop: south, paid: true}}
      - {at: 10:05:00, for: 1m, rate: 10/s, partition: 1, fields: {shop: south, paid: false}}
      - {at: 10:06:00, for: 14m, rate: 10/s, partition: 1, fields: {shop: south, paid: true}}
    expect: []
";

const TO: [&str; 2] = ["--to", "2025-10-31T10:20:00Z"];

fn rules(critical: &str) -> String {
    format!(
        "apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {{name: shop}}
spec:
  service: shop
  defaults: {{source: orders}}
  rules:
    - name: unpaid
      kind: RATIO
      bad: \"!paid\"
      window: 60s
      hold: 1m
      group_by: [shop]
      group_limit: 10
      critical: {{above: {critical}}}
"
    )
}

fn configuration(folder: &Path, critical: &str) -> String {
    let files = [("sources", SOURCE.to_owned()), ("slos", SLO.to_owned()), ("alerts", rules(critical))];
    for (name, text) in files {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("shop.yaml"), text).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

/// The events of [`CASE`] as `plimsoll generate --output` would write them.
fn records(folder: &Path) -> PathBuf {
    let start_ms = 1_761_904_800_000; // 2025-10-31T10:00:00Z
    let line = |tenth: i64, partition: u32| {
        let at_ms = start_ms + tenth * 100;
        let (shop, paid) = match partition {
            0 => ("north", true),
            _ => ("south", !(3_000..3_600).contains(&tenth)),
        };
        let ts = rfc3339(at_ms * 1_000);
        let payload = STANDARD.encode(format!("{{\"ts\":\"{ts}\",\"shop\":\"{shop}\",\"paid\":{paid}}}"));
        format!(
            "{{\"topic\":\"orders\",\"partition\":{partition},\"timestamp_ms\":{at_ms},\"key\":null,\"payload\":\"{payload}\"}}\n"
        )
    };
    let text: String = (0..12_000).flat_map(|tenth| [line(tenth, 0), line(tenth, 1)]).collect();
    let path = folder.join("orders.jsonl");
    fs::write(&path, text).unwrap();
    path
}

/// Runs `plimsoll slo backtest` and gives its exit code, standard output and standard error.
fn backtest(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let output = command.args(["slo", "backtest"]).args(arguments).env_remove("DATABASE_URL").output();
    let Output { status, stdout, stderr } = output.unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn json(arguments: &[&str]) -> Value {
    let (code, said, errors) = backtest(&[arguments, &["--format", "json"]].concat());
    assert_eq!(code, 0, "{said}{errors}");
    serde_json::from_str(&said).unwrap()
}

/// Time, transition and level of each.
fn brief(transitions: &Value) -> Vec<String> {
    let part = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let brief = |one: &Value| [part(one, "at"), part(one, "transition"), part(one, "level")].join(" ");
    transitions.as_array().unwrap().iter().map(brief).collect()
}

struct Shop {
    folder: tempfile::TempDir,
    config: String,
    input: String,
}

impl Shop {
    fn new() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let config = configuration(&folder.path().join("config"), "50%");
        let input = records(folder.path()).to_str().unwrap().to_owned();
        Shop { folder, config, input }
    }

    fn options(&self) -> [&str; 6] {
        ["--config", &self.config, "--input", &self.input, TO[0], TO[1]]
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn records_lead_to_the_transitions_that_the_same_events_lead_to() {
    let shop = Shop::new();
    let report = json(&shop.options());
    let told = &report["versions"][0];
    // Of 600 events in the minute more than 300 are bad once 31 seconds are; half of it is good again at 10:06:30,
    // and stays so for the minute of `hold`.
    let expected = ["2025-10-31T10:05:31Z OPENED critical", "2025-10-31T10:07:30Z RESOLVED critical"];
    assert_eq!(brief(&told["transitions"]), expected);
    assert_eq!((&told["records"], &told["episodes"], &told["pages"]), (&24_000.into(), &1.into(), &1.into()));
    assert_eq!(told["pages_a_week"], 7.0 * 24.0 * 3.0);
    let document = |name: &str, text: String| Document { path: name.into(), text };
    let rules = [document("a", SOURCE.into()), document("b", SLO.into()), document("c", rules("50%"))];
    let rules = parse_rules(&rules).unwrap();
    let played = rehearse(&cases(&document("case", CASE.into()), &rules).unwrap()[0]).unwrap();
    let moment = |at_s: i64| rfc3339(at_s * SECOND_US).replace(".000000Z", "Z");
    let played = played.observed.iter();
    let played: Vec<[String; 4]> = played
        .map(|o| [moment(o.at_s), o.transition.name().into(), o.labels["shop"].clone(), moment(o.said_s)])
        .collect();
    let told = told["transitions"].as_array().unwrap().iter();
    let part = |value: &Value| value.as_str().unwrap().to_owned();
    let told: Vec<[String; 4]> = told
        .map(|one| [&one["at"], &one["transition"], &one["labels"]["shop"], &one["said"]].map(part))
        .collect();
    assert_eq!(told, played);
}

#[test]
fn another_threshold_makes_a_difference_that_is_shown() {
    let shop = Shop::new();
    let draft = configuration(&shop.folder.path().join("draft"), "75%");
    let (code, said, errors) = backtest(&[&shop.options()[..], &["--against", &draft]].concat());
    assert_eq!(code, 0, "{errors}");
    // 46 bad seconds open; 45 or fewer of the last 60 are good enough, and are at 10:06:15.
    for line in [
        "    - 10:05:31 OPENED    critical {shop=south} onset 10:05:31 said 10:05:32",
        "    + 10:05:46 OPENED    critical {shop=south} onset 10:05:46 said 10:05:47",
        "    + 10:07:15 RESOLVED  critical {shop=south} RECOVERED said 10:07:18",
        "    - 10:07:30 RESOLVED  critical {shop=south} RECOVERED said 10:07:33",
    ] {
        assert!(said.lines().any(|said| said == line), "no line `{line}` in\n{said}");
    }
    // The same thresholds in another folder make none.
    let same = configuration(&shop.folder.path().join("same"), "50%");
    let report = json(&[&shop.options()[..], &["--against", &same]].concat());
    let lines = report["difference"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| &line["by"]).collect::<Vec<_>>(), ["both", "both"], "{report}");
}

#[test]
fn alarms_are_held_against_known_incidents() {
    let shop = Shop::new();
    let known = shop.path("known.yaml");
    let text = "- {from: 2025-10-31T10:05:00Z, to: 2025-10-31T10:06:00Z, services: [shop]}
- {from: 2025-10-31T10:15:00Z, to: 2025-10-31T10:16:00Z}
- {from: 2025-10-31T10:05:00Z, to: 2025-10-31T10:06:00Z, services: [warehouse]}
";
    fs::write(&known, text).unwrap();
    let report = json(&[&shop.options()[..], &["--incidents", &known]].concat());
    let score = &report["versions"][0]["incidents"]["pages"];
    assert_eq!((&score["precision"], &score["right"]), (&1.0.into(), &1.into()), "{score}");
    assert_eq!((&score["found"], &score["incidents"]), (&1.into(), &3.into()), "{score}");
    assert_eq!(score["found_after_s"], serde_json::json!([31, null, null]));
    fs::write(&known, "- {from: 2025-10-31T10:05:00Z}\n- {from: noon, to: 2025-10-31T10:06:00Z}\n").unwrap();
    let (code, _, errors) = backtest(&[&shop.options()[..], &["--incidents", &known]].concat());
    assert_eq!((code, errors.matches("\n  help: ").count()), (64, 2), "{errors}");
}

#[test]
fn budgets_over_time_become_a_picture() {
    let shop = Shop::new();
    let plot = shop.path("budgets.svg");
    let report = json(&[&shop.options()[..], &["--plot", &plot]].concat());
    let budget = &report["versions"][0]["budgets"][0];
    // A fifth of all may be bad. At 10:06:00 it is 600 of 7,200 of which 1,440 may be: 58.3 % are left.
    assert_eq!(budget["rule"], "paying/paid");
    assert_eq!(budget["lowest"].to_string(), "0.583333333");
    let svg = fs::read_to_string(plot).unwrap();
    assert_well_formed(&svg);
    assert_eq!(svg.matches("<polyline").count(), 1);
    for text in
        [">paying/paid<", ">time (UTC)<", "error budget left (%)", ">Error budgets, 2025-10-31T10:00:00Z to"]
    {
        assert!(svg.contains(text), "no {text} in {svg}");
    }
}

/// Every element that is opened is closed, in order, and nothing stands where it may not.
#[track_caller]
fn assert_well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut parts = xml.split('<');
    assert_eq!(parts.next(), Some(""));
    for part in parts {
        let (tag, text) = part.split_once('>').expect("a tag that ends");
        assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{part}");
        let ampersands = part.split('&').skip(1);
        assert!(ampersands.into_iter().all(|rest| rest.find(';').is_some_and(|at| at < 5)), "{part}");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).expect("a name");
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name)),
            (false, true) => {}
            (false, false) => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} are still open");
}

#[test]
fn mistakes_are_said_with_a_way_to_mend_them() {
    let shop = Shop::new();
    let table: [(&[&str], i32, &[&str]); 5] = [
        (&[], 64, &["--from is missing: say where to begin"]),
        (
            &["--from", "noon", "--to", "later", "--warm-up", "5"],
            64,
            &[
                "--from: `noon` is no RFC 3339 time",
                "--to: `later`",
                "--warm-up: the duration `5` has no unit",
            ],
        ),
        (
            &["--from", "2025-10-31T11:00:00Z", "--to", "2025-10-31T10:00:00Z"],
            64,
            &["--to is not after --from"],
        ),
        (&["--input", &shop.input, "--rule", "shop/unpayd"], 64, &["did you mean `shop/unpaid`?"]),
        (&["--input", "/nowhere"], 64, &["--input: /nowhere: No such file"]),
    ];
    for (arguments, expected, texts) in table {
        let (code, said, errors) = backtest(&[&["--config", &shop.config], arguments].concat());
        assert_eq!((code, said.as_str()), (expected, ""), "{errors}");
        assert!(texts.iter().all(|text| errors.contains(text)), "{errors}");
    }
    let nobody = ["--from", "2025-10-31T10:00:00Z", "--brokers", "127.0.0.1:1", "--config", &shop.config];
    let (code, _, errors) = backtest(&nobody);
    assert_eq!((code, errors.contains("127.0.0.1:1")), (69, true), "{errors}");
}

/// The commands of README.md that make a file and try the shipped rules on it, run as they stand there.
#[test]
fn the_readme_shows_what_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = root.join("config");
    let run = |start: &str, more: &[&str]| {
        let line = readme.lines().find_map(|line| line.strip_prefix(&format!("    plimsoll {start} ")));
        let line = line.unwrap_or_else(|| panic!("README.md shows no `plimsoll {start}`"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(start.split(' ')).args(line.split(' ')).args(more).arg("--config").arg(&config);
        let output = command.current_dir(&folder).env_remove("DATABASE_URL").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run("generate --start", &[]);
    let report: Value = serde_json::from_str(&run("slo backtest", &["--format", "json"])).unwrap();
    let told = report["versions"][0]["transitions"].as_array().unwrap();
    // A fifth of all requests fails from 02:05 to 02:07.
    let of_rule = |one: &&Value| one["rule"] == "platform/error-rate";
    let named: Vec<&str> =
        told.iter().filter(of_rule).map(|one| one["transition"].as_str().unwrap()).collect();
    assert_eq!(named.first(), Some(&"OPENED"), "{report}");
    let opened = told.iter().find(of_rule).unwrap()["at"].as_str().unwrap();
    assert!(opened.starts_with("2025-10-31T02:05"), "{opened}");
    assert_well_formed(&fs::read_to_string(folder.path().join("budgets.svg")).unwrap());
}
