//! `plimsoll.yaml`, the environment and the command line.

use plimsoll::config::settings::Secret;
use plimsoll::config::{Diagnostics, Document, Files, Loaded, Outside, Overrides, default_settings, parse};
use std::collections::BTreeMap;
use std::path::Path;

use super::{document, messages, source_text, surroundings};

/// Settings from a text, with an environment and overrides.
fn parse_settings(
    text: &str,
    environment: &[(&str, &str)],
    overrides: &Overrides,
) -> Result<Loaded, Diagnostics> {
    let environment = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let read_file = |path: &Path| match path.to_str() {
        Some("folder/url") => Ok("postgres://u:file-secret@db/p\n".into()),
        Some("folder/kafka" | "elsewhere/kafka") => {
            Ok("# TLS\nssl.key.password = file-secret\nlinger.ms=5\n".into())
        }
        _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
    };
    let surroundings = surroundings();
    let outside = Outside {
        environment: &environment,
        surroundings: &surroundings,
        overrides,
        folder: Path::new("folder"),
        read_file: &read_file,
    };
    let settings = Some(Document { path: "plimsoll.yaml".into(), text: text.into() });
    parse(Files { settings, rules: Vec::new() }, &outside)
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "postgres:\nkafka:\n", "# nothing\n"] {
        let loaded = parse_settings(text, &[], &Overrides::default()).unwrap();
        assert_eq!(loaded.settings, default_settings(&surroundings()));
    }
}

#[test]
fn secrets_never_show() {
    let text = "
kafka:
  properties: {sasl.password: yaml-secret}
  properties_file: kafka
postgres: {url: \"postgres://u:yaml-secret@db/p\"}
";
    let loaded = parse_settings(text, &[], &Overrides::default()).unwrap();
    let properties = &loaded.settings.kafka.properties;
    assert_eq!(properties["sasl.password"].reveal(), "yaml-secret");
    assert_eq!(properties["ssl.key.password"].reveal(), "file-secret");
    assert_eq!(loaded.settings.postgres.url.as_ref().unwrap().reveal(), "postgres://u:yaml-secret@db/p");
    assert!(!format!("{loaded:?}").contains("secret"), "{loaded:?}");
    let file = Document { path: "plimsoll.yaml".into(), text: text.into() };
    assert!(!format!("{file:?}").contains("secret"));
    let wrong = [
        "postgres: {url: \"yaml-secret\"}",
        "postgres: {url: [yaml-secret]}",
        "kafka: {properties: {group.id: yaml-secret}}",
        "kafka: {properties: {sasl.password: [yaml-secret]}}",
        "postgres: {url: \"postgres://u:yaml-secret@db:port/p\"}",
    ];
    for text in wrong {
        let said =
            parse_settings(text, &[("DATABASE_URL", "env-secret")], &Overrides::default()).unwrap_err();
        assert!(!said.to_string().contains("secret"), "{said}");
    }
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let text = "instance: file\nkafka: {brokers: \"file:1\", properties: {linger.ms: 1}}\npostgres: {url_file: url}\n";
    let from = |environment: &[(&str, &str)], overrides: &Overrides| {
        let settings = parse_settings(text, environment, overrides).unwrap().settings;
        let url = settings.postgres.url.unwrap().reveal().to_owned();
        (
            settings.instance,
            settings.kafka.brokers,
            url,
            settings.kafka.properties["linger.ms"].reveal().to_owned(),
        )
    };
    let strings =
        |a: &str, b: &str, c: &str, d: &str| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
    let none = Overrides::default();
    assert_eq!(from(&[], &none), strings("file", "file:1", "postgres://u:file-secret@db/p", "1"));
    let environment = [("DATABASE_URL", "postgres://env/p"), ("PLIMSOLL_INSTANCE", "env")];
    assert_eq!(from(&environment, &none), strings("env", "file:1", "postgres://env/p", "1"));
    let empty = [("DATABASE_URL", ""), ("PLIMSOLL_INSTANCE", "")];
    assert_eq!(from(&empty, &none), from(&[], &none), "an empty variable is unset");
    let overrides = Overrides {
        brokers: Some("cli:1".into()),
        kafka_properties_file: Some("elsewhere/kafka".into()),
        database_url: Some(Secret::new("postgres://cli/p")),
        instance: Some("cli".into()),
    };
    assert_eq!(from(&environment, &overrides), strings("cli", "cli:1", "postgres://cli/p", "5"));
}

#[test]
fn settings_are_checked() {
    let table = [
        ("intervals: {flush: 50}", "`flush`: the duration `50` has no unit"),
        ("intervals: {flush: 500ms, flush_max: 100ms}", "`flush` is longer than `flush_max`"),
        ("limits: {record: 100}", "`record`: the size `100` has no unit"),
        ("limits: {deltas: 1.5}", "`deltas`: `1.5` is not a whole number from 1000 to 10000000"),
        ("workers: 0", "`workers`: `0` is not a whole number from 1 to 256"),
        ("workers: \"2\"", "`workers`: `2` is not a whole number from 1 to 256"),
        ("kafka: {static_membership: yes}", "`static_membership`: `yes` is neither true nor false"),
        ("kafka: {direct_fetch: 1}", "`direct_fetch`: `1` is neither true nor false"),
        ("kafka: {brokers: localhost}", "`brokers`: `localhost` is no list of brokers"),
        ("http: {address: \":8080\"}", "`address`: `:8080` is not an address"),
        ("topics: {rules: slo-hourly}", "two topics are called `slo-hourly`"),
        ("topics: {rules: a b}", "`rules`: `a b` cannot be a name in Kafka"),
        ("postgres: {schema: Plimsoll}", "`schema`: `Plimsoll` cannot be a name in Postgres"),
        ("postgres: {url_file: missing}", "cannot read folder/missing: entity not found"),
        ("kafka: [1]", "a mapping is wanted, found a list"),
        ("cluster: 1", "`cluster`: a text is wanted, found 1"),
        ("a: {b: 1", "while parsing a flow mapping, did not find expected ',' or '}'"),
        ("cluster: a\n---\ncluster: b", "a second document"),
        ("cluster: !!str a", "the tag `tag:yaml.org,2002:!str` has no meaning here"),
        ("cluster: a\ncluster: b", "`cluster` is written twice, first on line 1"),
        (
            "kafka: {properties: {isolation.level: read_uncommitted}}",
            "`isolation.level` cannot be set here: records of aborted transactions must never be read",
        ),
    ];
    for (text, expected) in table {
        let wrong = parse_settings(text, &[], &Overrides::default()).expect_err(text);
        assert_eq!(messages(&wrong), [expected], "{text}");
    }
    for name in
        ["enable.auto.commit", "transactional.id", "group.id", "auto.offset.reset", "enable.idempotence"]
    {
        let text = format!("kafka: {{properties: {{{name}: x}}}}");
        assert!(parse_settings(&text, &[], &Overrides::default()).is_err(), "{name}");
    }
}

#[test]
fn a_source_may_not_read_what_plimsoll_writes() {
    let read = |settings: &str, topic: &str| {
        let text = source_text("", "      - {table: a_b_hourly, by: [], columns: {}}");
        let rules = vec![document("orders.yaml", &text.replace("topic: orders", &format!("topic: {topic}")))];
        let settings = Some(document("plimsoll.yaml", settings));
        let (environment, surroundings, overrides) = (BTreeMap::new(), surroundings(), Overrides::default());
        let read_file = |_: &Path| Ok(String::new());
        let outside = Outside {
            environment: &environment,
            surroundings: &surroundings,
            overrides: &overrides,
            folder: Path::new(""),
            read_file: &read_file,
        };
        parse(Files { settings, rules }, &outside)
    };
    assert!(read("", "orders").is_ok());
    assert!(read("", "slo-breaches").is_err());
    assert!(read("", "hourly-a-b").is_err());
    assert!(read("topics: {prefix: x.}", "slo-breaches").is_ok());
    assert!(read("topics: {prefix: x.}", "x.hourly-a-b").is_err());
}
