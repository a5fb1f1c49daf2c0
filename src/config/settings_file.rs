//! `plimsoll.yaml`, the environment and the command line -> settings.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostics, Place, Problem};
use super::name::{check_identifier, check_topic_name, topic_name};
use super::properties;
use super::quantity::{duration, size_bytes};
use super::reader::{Mapping, boolean, count, owned_text, scalar, text};
use super::settings::{
    HttpSettings, Intervals, KafkaSettings, Limits, PostgresSettings, Secret, Settings, TopicSettings,
};
use super::yaml::Node;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Kafka and Postgres call the shard a 16-bit number; far more partitions than a broker should hold anyway.
const MAX_PARTITIONS: u32 = 10_000;

/// What the process finds around itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Default of `instance`.
    pub host_name: String,
    /// Cores this process may use; default of `workers`.
    pub cores: usize,
}

/// What the command line says; it wins over the environment, and that over the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub brokers: Option<String>,
    /// Read instead of `kafka.properties_file`.
    pub kafka_properties_file: Option<PathBuf>,
    pub database_url: Option<Secret>,
    pub instance: Option<String>,
}

/// Everything beside the files that settings are made of.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// `DATABASE_URL` and `PLIMSOLL_INSTANCE` are read.
    pub environment: &'a BTreeMap<String, String>,
    pub surroundings: &'a Surroundings,
    pub overrides: &'a Overrides,
    /// Where relative paths in the settings file begin; those of the command line are the caller's own.
    pub folder: &'a Path,
    /// Reads the files that hold secrets.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// The settings of an empty file.
pub fn default_settings(surroundings: &Surroundings) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        kafka: KafkaSettings {
            brokers: "localhost:9092".into(),
            application: "plimsoll".into(),
            properties: BTreeMap::new(),
            connect_timeout: ms(15_000),
            static_membership: true,
            direct_fetch: true,
        },
        topics: TopicSettings {
            prefix: String::new(),
            rules: "plimsoll-rules".into(),
            partials: "plimsoll-partials".into(),
            changelog: "plimsoll-changelog".into(),
            dead_letters: "plimsoll-dead-letters".into(),
            breaches: "slo-breaches".into(),
            breach_state: "slo-breach-state".into(),
            slo_hourly: "slo-hourly".into(),
            rule_hourly: "rule-hourly".into(),
            slo_status: "slo-status".into(),
            internal_partitions: 12,
            output_partitions: 3,
            replication_factor: 3,
        },
        postgres: PostgresSettings { url: None, schema: "plimsoll".into() },
        http: HttpSettings { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)) },
        limits: Limits {
            record_bytes: MIB,
            partial_bytes: 512 * KIB,
            checkpoint_slice_bytes: MIB,
            deltas: 200_000,
            rows_per_record: 256,
            dead_letter_samples: 100,
        },
        intervals: Intervals {
            flush: ms(50),
            flush_max: ms(1_000),
            clock: ms(1_000),
            commit: ms(500),
            checkpoint: ms(60_000),
            provisional: ms(300_000),
            heartbeat: ms(10_000),
            shutdown: ms(4_000),
        },
        cluster: "default".into(),
        instance: surroundings.host_name.clone(),
        workers: surroundings.cores.max(1),
    }
}

const KEYS: [&str; 9] =
    ["kafka", "topics", "postgres", "http", "limits", "intervals", "cluster", "instance", "workers"];
const KAFKA_KEYS: [&str; 7] = [
    "brokers",
    "application",
    "properties",
    "properties_file",
    "connect_timeout",
    "static_membership",
    "direct_fetch",
];
const POSTGRES_KEYS: [&str; 3] = ["url", "url_file", "schema"];

/// The settings; what is wrong is noted and stays at its default. `root` is the document, if there is one.
pub fn settings(root: Option<&Node>, outside: &Outside<'_>, diagnostics: &mut Diagnostics) -> Settings {
    let mut settings = default_settings(outside.surroundings);
    let file = root.and_then(|node| Mapping::open(node, &KEYS, diagnostics));
    if let Some(file) = &file {
        file.set("cluster", &mut settings.cluster, diagnostics, topic_name);
        file.set("instance", &mut settings.instance, diagnostics, topic_name);
        file.set("workers", &mut settings.workers, diagnostics, count(1..=256));
    }
    let mut section = |key: &str, known: &[&str]| {
        let node = file.as_ref()?.node(key)?;
        Mapping::open(node, known, diagnostics)
    };
    let kafka_section = section("kafka", &KAFKA_KEYS);
    let topics_section = section("topics", &TOPIC_KEYS);
    let postgres_section = section("postgres", &POSTGRES_KEYS);
    let http_section = section("http", &["address"]);
    let limits_section = section("limits", &LIMIT_KEYS);
    let intervals_section = section("intervals", &INTERVAL_KEYS);
    kafka(kafka_section, &mut settings.kafka, outside, diagnostics);
    postgres(postgres_section, &mut settings.postgres, outside, diagnostics);
    if let Some(keys) = topics_section {
        topics(&keys, &mut settings.topics, diagnostics);
    }
    if let Some(keys) = http_section {
        keys.set("address", &mut settings.http.address, diagnostics, |node| {
            let address = text(node)?;
            let wrong =
                |_| Problem::new(format!("`{address}` is not an address"), "write it like `0.0.0.0:8080`");
            address.parse::<SocketAddr>().map_err(wrong)
        });
    }
    if let Some(keys) = limits_section {
        limits(&keys, &mut settings.limits, diagnostics);
    }
    if let Some(keys) = intervals_section {
        intervals(&keys, &mut settings.intervals, diagnostics);
    }
    instance(&mut settings.instance, outside, diagnostics);
    settings
}

fn kafka(
    keys: Option<Mapping<'_>>,
    kafka: &mut KafkaSettings,
    outside: &Outside<'_>,
    diagnostics: &mut Diagnostics,
) {
    let mut properties_file = None;
    if let Some(keys) = keys {
        keys.set("brokers", &mut kafka.brokers, diagnostics, |node| brokers(text(node)?));
        keys.set("application", &mut kafka.application, diagnostics, topic_name);
        keys.set(
            "connect_timeout",
            &mut kafka.connect_timeout,
            diagnostics,
            duration(SECOND_MS..=10 * MINUTE_MS),
        );
        keys.set("static_membership", &mut kafka.static_membership, diagnostics, boolean);
        keys.set("direct_fetch", &mut kafka.direct_fetch, diagnostics, boolean);
        if let Some(node) = keys.node("properties") {
            kafka.properties = properties::from_yaml(node, diagnostics);
        }
        let path = keys.optional("properties_file", diagnostics, owned_text);
        let place = keys.node("properties_file").map(|node| node.place.clone());
        properties_file = path.map(|path| outside.folder.join(path)).zip(place);
    }
    let argument = Place::whole_file("--kafka-config");
    if let Some(path) = &outside.overrides.kafka_properties_file {
        properties_file = Some((path.clone(), argument));
    }
    if let Some((path, place)) = properties_file
        && let Some(text) = secret_file(&path, &place, outside, diagnostics)
    {
        kafka.properties.extend(properties::from_file(&path.to_string_lossy(), &text, diagnostics));
    }
    if let Some(given) = &outside.overrides.brokers
        && let Some(given) = diagnostics.accept(&Place::whole_file("--brokers"), brokers(given))
    {
        kafka.brokers = given;
    }
}

fn brokers(text: &str) -> Result<String, Problem> {
    let right = |broker: &str| {
        broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    match text.split(',').all(|broker| right(broker.trim())) {
        true => Ok(text.to_owned()),
        false => Err(Problem::new(format!("`{text}` is no list of brokers"), "write `host:port,host:port`")),
    }
}

const TOPIC_KEYS: [&str; 13] = [
    "prefix",
    "rules",
    "partials",
    "changelog",
    "dead_letters",
    "breaches",
    "breach_state",
    "slo_hourly",
    "rule_hourly",
    "slo_status",
    "internal_partitions",
    "output_partitions",
    "replication_factor",
];

fn topics(keys: &Mapping<'_>, topics: &mut TopicSettings, diagnostics: &mut Diagnostics) {
    keys.set("prefix", &mut topics.prefix, diagnostics, |node| match scalar(node)? {
        "" => Ok(String::new()),
        prefix => check_topic_name(prefix).map(str::to_owned),
    });
    keys.set("rules", &mut topics.rules, diagnostics, topic_name);
    keys.set("partials", &mut topics.partials, diagnostics, topic_name);
    keys.set("changelog", &mut topics.changelog, diagnostics, topic_name);
    keys.set("dead_letters", &mut topics.dead_letters, diagnostics, topic_name);
    keys.set("breaches", &mut topics.breaches, diagnostics, topic_name);
    keys.set("breach_state", &mut topics.breach_state, diagnostics, topic_name);
    keys.set("slo_hourly", &mut topics.slo_hourly, diagnostics, topic_name);
    keys.set("rule_hourly", &mut topics.rule_hourly, diagnostics, topic_name);
    keys.set("slo_status", &mut topics.slo_status, diagnostics, topic_name);
    keys.set("internal_partitions", &mut topics.internal_partitions, diagnostics, count(1..=MAX_PARTITIONS));
    keys.set("output_partitions", &mut topics.output_partitions, diagnostics, count(1..=MAX_PARTITIONS));
    keys.set("replication_factor", &mut topics.replication_factor, diagnostics, count(1..=32));
    let mut names = own_topics(topics);
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("two topics are called `{}`", pair[0]);
        diagnostics.push(keys.place, Problem::new(message, "each holds records of its own kind; rename one"));
    }
}

/// Names of the topics Plimsoll writes, without the prefix; hourly topics are named after their tables.
pub fn own_topics(topics: &TopicSettings) -> [&str; 9] {
    [
        &topics.rules,
        &topics.partials,
        &topics.changelog,
        &topics.dead_letters,
        &topics.breaches,
        &topics.breach_state,
        &topics.slo_hourly,
        &topics.rule_hourly,
        &topics.slo_status,
    ]
}

/// The URL is the first of command line, environment, `url_file` and `url`. No message shows any of them.
fn postgres(
    keys: Option<Mapping<'_>>,
    postgres: &mut PostgresSettings,
    outside: &Outside<'_>,
    diagnostics: &mut Diagnostics,
) {
    let argument = outside.overrides.database_url.as_ref().map(|url| ("--database-url", url.reveal()));
    let given = argument.or(variable("DATABASE_URL", outside));
    if let Some(keys) = keys {
        keys.set("schema", &mut postgres.schema, diagnostics, |node| {
            let schema = text(node)?;
            check_identifier(schema).map(|()| schema.to_owned())
        });
        if keys.has("url") && keys.has("url_file") {
            let help = "keep `url_file`: it keeps the secret out of this file";
            diagnostics.push(keys.place, Problem::new("`url` and `url_file` are both given", help));
        }
        postgres.url = keys.optional("url", diagnostics, |node| database_url(scalar(node)?));
        // A file that is not needed may be missing.
        if let Some(node) = keys.node("url_file").filter(|_| given.is_none())
            && let Some(path) = keys.optional("url_file", diagnostics, text)
            && let path = outside.folder.join(path)
            && let Some(text) = secret_file(&path, &node.place, outside, diagnostics)
        {
            let place = Place::whole_file(&path.to_string_lossy());
            postgres.url = diagnostics.accept(&place, database_url(text.trim()));
        }
    }
    if let Some((origin, url)) = given {
        postgres.url = diagnostics.accept(&Place::whole_file(origin), database_url(url));
    }
}

/// A variable of the environment with its name; an empty one counts as unset.
fn variable<'a>(name: &'static str, outside: &Outside<'a>) -> Option<(&'static str, &'a str)> {
    let value = outside.environment.get(name).filter(|value| !value.is_empty())?;
    Some((name, value))
}

fn database_url(text: &str) -> Result<Secret, Problem> {
    let scheme = text.starts_with("postgres://") || text.starts_with("postgresql://");
    match scheme && text.parse::<::postgres::Config>().is_ok() {
        true => Ok(Secret::new(text)),
        false => {
            let help = "write it like postgres://user:password@host:5432/database";
            Err(Problem::new("the database URL is not readable (it is not shown here)", help))
        }
    }
}

fn secret_file(
    path: &Path,
    place: &Place,
    outside: &Outside<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let read = (outside.read_file)(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Problem::new(message, "check the path and who may read the file")
    });
    diagnostics.accept(place, read)
}

const LIMIT_KEYS: [&str; 6] =
    ["record", "partial", "checkpoint_slice", "deltas", "rows_per_record", "dead_letter_samples"];

fn limits(keys: &Mapping<'_>, limits: &mut Limits, diagnostics: &mut Diagnostics) {
    keys.set("record", &mut limits.record_bytes, diagnostics, size_bytes(KIB..=64 * MIB));
    keys.set("partial", &mut limits.partial_bytes, diagnostics, size_bytes(16 * KIB..=8 * MIB));
    keys.set(
        "checkpoint_slice",
        &mut limits.checkpoint_slice_bytes,
        diagnostics,
        size_bytes(64 * KIB..=64 * MIB),
    );
    keys.set("deltas", &mut limits.deltas, diagnostics, count(1_000..=10_000_000));
    keys.set("rows_per_record", &mut limits.rows_per_record, diagnostics, count(1..=100_000));
    keys.set("dead_letter_samples", &mut limits.dead_letter_samples, diagnostics, count(0..=1_000_000));
}

const INTERVAL_KEYS: [&str; 8] =
    ["flush", "flush_max", "clock", "commit", "checkpoint", "provisional", "heartbeat", "shutdown"];

fn intervals(keys: &Mapping<'_>, intervals: &mut Intervals, diagnostics: &mut Diagnostics) {
    // A transaction times out after 3 s, so flushes and commits stay well below.
    keys.set("flush", &mut intervals.flush, diagnostics, duration(1..=SECOND_MS));
    keys.set("flush_max", &mut intervals.flush_max, diagnostics, duration(1..=2 * SECOND_MS));
    keys.set("clock", &mut intervals.clock, diagnostics, duration(100..=10 * SECOND_MS));
    keys.set("commit", &mut intervals.commit, diagnostics, duration(1..=2 * SECOND_MS));
    keys.set("checkpoint", &mut intervals.checkpoint, diagnostics, duration(SECOND_MS..=HOUR_MS));
    keys.set("provisional", &mut intervals.provisional, diagnostics, duration(SECOND_MS..=HOUR_MS));
    keys.set("heartbeat", &mut intervals.heartbeat, diagnostics, duration(SECOND_MS..=10 * MINUTE_MS));
    keys.set("shutdown", &mut intervals.shutdown, diagnostics, duration(100..=10 * MINUTE_MS));
    if intervals.flush > intervals.flush_max {
        let help = "`flush_max` is the longest a flush waits; let it be at least `flush`";
        diagnostics.push(keys.place, Problem::new("`flush` is longer than `flush_max`", help));
    }
}

/// The first of command line, environment, file and host.
fn instance(instance: &mut String, outside: &Outside<'_>, diagnostics: &mut Diagnostics) {
    let argument = outside.overrides.instance.as_deref().map(|name| ("--instance", name));
    let given = argument.or(variable("PLIMSOLL_INSTANCE", outside));
    let (origin, name) = given.unwrap_or(("instance", instance));
    if let Some(name) = diagnostics.accept(&Place::whole_file(origin), check_topic_name(name)) {
        *instance = name.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_shows_every_key() {
        let text = include_str!("../../config/plimsoll.yaml");
        let shown = |key: &str, indent: &str| {
            let commented = format!("{indent}# {key}:");
            let set = format!("{indent}{key}:");
            text.lines().any(|line| line.starts_with(&set) || line.starts_with(&commented))
        };
        for key in KEYS {
            assert!(shown(key, ""), "{key}");
        }
        let inner = [&KAFKA_KEYS[..], &TOPIC_KEYS, &POSTGRES_KEYS, &["address"], &LIMIT_KEYS, &INTERVAL_KEYS];
        for key in inner.concat() {
            assert!(shown(key, "  "), "{key}");
        }
    }
}
