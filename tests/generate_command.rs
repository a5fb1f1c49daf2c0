//! `plimsoll generate`, as a user runs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use plimsoll::generate::file::read_file;
use plimsoll::kafka::{Admin, Connection, EndOf, TopicPartition, TopicSpec};
use plimsoll::local::kafka::LocalKafka;

const WAIT: Duration = Duration::from_secs(20);
const TOPICS: [&str; 3] = ["commodity-prices", "ml-predictions", "request-log"];

fn generate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll")).arg("generate").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn to_file(path: &Path, more: &[&str]) -> Output {
    let fixed = ["--start", "2025-10-31T02:00:00Z", "--span", "10m", "--events", "3000"];
    let all = [&fixed, more, &["--output", path.to_str().unwrap()]].concat();
    let output = generate(&all);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    output
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str, more: &[&str]| {
        to_file(&folder.path().join(name), more);
        std::fs::read(folder.path().join(name)).unwrap()
    };
    let seven = bytes("a", &["--seed", "7"]);
    assert_eq!(seven, bytes("b", &["--seed", "7"]));
    assert_ne!(seven, bytes("c", &["--seed", "8"]));
    assert_ne!(seven, bytes("d", &["--seed", "7", "--incident", "error-spike:1m..9m:50%"]));
}

#[test]
fn the_summary_counts_what_the_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let shares = ["--late-share", "10%", "--bad-share", "0.05", "--partitions", "2", "--format", "json"];
    let output = to_file(&path, &shares);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut in_file: BTreeMap<String, u64> = BTreeMap::new();
    let mut partitions = [0; 2];
    for record in read_file(&path).unwrap().map(Result::unwrap) {
        *in_file.entry(record.topic).or_default() += 1;
        partitions[record.partition as usize] += 1;
    }
    assert_eq!(in_file.values().sum::<u64>(), 3000);
    assert_eq!(summary["events"], 3000);
    assert!(partitions.iter().all(|records| *records > 1000), "{partitions:?}");
    for topic in TOPICS {
        let counts = &summary["topics"][topic];
        let bad: u64 = counts["bad"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        let late = counts["late"].as_u64().unwrap();
        assert!(bad > 0 && late > 0, "{counts}");
        assert_eq!(counts["good"].as_u64().unwrap() + late + bad, in_file[topic], "{topic}");
    }
    assert!(text(&output.stderr).contains("3000 events in "), "{}", text(&output.stderr));
}

#[test]
fn every_mistake_is_told_at_once() {
    let output = generate(&[
        "--rate",
        "fast",
        "--events",
        "0",
        "--span",
        "5 minutes",
        "--start",
        "yesterday",
        "--speed",
        "-1",
        "--late-share",
        "2",
        "--users",
        "none",
        "--partitions",
        "3",
        "--incident",
        "error-spike:2h..3h:20%",
        "--incident",
        "slow-model:1m..2m:gpt:5",
    ]);
    assert_eq!(output.status.code(), Some(64));
    let said = text(&output.stderr);
    for (mistake, help) in [
        ("--rate: `fast`", "`7000`"),
        ("--events: `0`", "from 1 up"),
        ("--span: `5 minutes`", "`90m`"),
        ("--rate, --events and --span", "leave one out"),
        ("--start: `yesterday`", "`2025-10-31T02:00:00Z`"),
        ("--speed: `-1`", "`max`"),
        ("--late-share: `2`", "`5%`"),
        ("--users: `none`", "from 1 up"),
        ("--partitions: ", "--output"),
        ("--incident error-spike:2h..3h:20%: ", "--span"),
        ("--incident slow-model:1m..2m:gpt:5: ", "random-forest-oil"),
    ] {
        let line = said.lines().find(|line| line.contains(mistake));
        assert!(line.is_some_and(|line| line.contains(help)), "{mistake}\nin\n{said}");
    }
    assert_eq!(said.lines().count(), 11, "{said}");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let output =
        generate(&["--rate", "1000000", "--span", "1s", "--distinct-times", "--output", "/dev/null"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("too close for distinct event times"), "{}", text(&output.stderr));
    let output = generate(&["--events", "1", "--span", "1s", "--output", "/no/such/folder/file"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("/no/such/folder/file"), "{}", text(&output.stderr));
}

#[test]
fn an_interrupt_ends_it_with_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["generate", "--speed", "1", "--format", "json", "--output"]).arg(&path);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + WAIT;
    while std::fs::metadata(&path).map_or(0, |file| file.len()) == 0 {
        assert!(Instant::now() < deadline, "nothing is written");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["interrupted"], true, "{summary}");
    assert_eq!(summary["events"], read_file(&path).unwrap().map(Result::unwrap).count());
}

#[test]
fn events_reach_their_topics_at_their_time() {
    let broker = LocalKafka::start().unwrap();
    let to_broker = ["--brokers", broker.brokers(), "--events", "2000", "--rate", "1000", "--format", "json"];
    let output = generate(&to_broker);
    assert_eq!(output.status.code(), Some(64), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(TOPICS.iter().all(|topic| said.contains(topic)), "{said}");
    assert!(said.contains("plimsoll topics create --inputs"), "{said}");

    let admin = Admin::open(&Connection::to_brokers(broker.brokers())).unwrap();
    let specs = TOPICS.map(|name| TopicSpec {
        name: name.to_owned(),
        partitions: 2,
        replication_factor: 1,
        config: BTreeMap::new(),
    });
    admin.create(&specs, WAIT).unwrap();
    let output = generate(&to_broker);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["events"], &summary["undelivered"]), (&2000.into(), &0.into()));
    // Live by default: two seconds of event time take two seconds.
    assert!(summary["wall_s"].to_string().parse::<f64>().unwrap() >= 1.99, "{summary}");
    let partitions: Vec<TopicPartition> = TOPICS
        .iter()
        .flat_map(|topic| [0, 1].map(|partition| TopicPartition::new(*topic, partition)))
        .collect();
    let ends = admin.offsets(&partitions, EndOf::LatestCommitted, WAIT).unwrap();
    assert!(ends.iter().all(|(_, end)| *end > 100), "{ends:?}");
    assert_eq!(ends.iter().map(|(_, end)| end).sum::<i64>(), 2000);
}
