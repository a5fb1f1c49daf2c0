//! A whole deployment on this machine: a real Kafka, a real Postgres, and replicas as processes of their own.

// Each test that includes this uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plimsoll::generate::Generated;
use plimsoll::kafka::child::BoundChild;
use plimsoll::kafka::{
    Admin, CommitError, Connection, EndOf, TopicPartition, TopicSpec, TransactionalWriter, WriterRecord,
    read_whole,
};
use plimsoll::local::Jit;
use plimsoll::local::kafka::LocalKafka;
use plimsoll::local::postgres::LocalPostgres;
use serde_json::Value;

use crate::oracle::{RawRecord, Row, row_of_record};

pub const INPUTS: [&str; 3] = ["commodity-prices", "ml-predictions", "request-log"];
pub const TABLES: [&str; 5] = [
    "commodity_prices_hourly",
    "ml_predictions_hourly",
    "request_log_hourly",
    "request_log_region_hourly",
    "request_log_total_hourly",
];
const ASK: Duration = Duration::from_secs(20);
/// Records in one transaction of the test's own producer: markers then lie between the input's offsets.
const CHUNK: usize = 10_000;

/// Partition, offset, key and value.
pub type TopicRecord = (i32, i64, Vec<u8>, Option<Vec<u8>>);

/// Deployments that may run at a time in a test binary: more would only fight for the machine.
static FREE_TURNS: Mutex<u32> = Mutex::new(2);
static GIVEN_BACK: Condvar = Condvar::new();

/// Held as long as a deployment lives.
struct Turn;

impl Turn {
    fn take() -> Turn {
        let free = FREE_TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = GIVEN_BACK.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE_TURNS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        GIVEN_BACK.notify_one();
    }
}

pub struct Deployment<K = LocalKafka> {
    pub kafka: K,
    pub postgres: LocalPostgres,
    /// What replicas and commands are told; Postgres itself, unless something is put between.
    pub database_url: String,
    replication_factor: u16,
    pub connection: Connection,
    directory: tempfile::TempDir,
    _turn: Turn,
}

/// What the settings file of a test says beside the addresses.
pub struct Settings {
    pub internal_partitions: u32,
    pub workers: u32,
    /// More lines for `plimsoll.yaml`, at its top level.
    pub more: &'static str,
}

impl Default for Settings {
    fn default() -> Settings {
        let more = "intervals: {provisional: 2s, checkpoint: 2s, commit: 100ms}\n";
        Settings { internal_partitions: 4, workers: 1, more }
    }
}

impl Deployment {
    /// Starts Kafka and Postgres, creates all topics, and lays out a configuration folder.
    pub fn start(input_partitions: u32, settings: &Settings) -> Deployment {
        Deployment::start_compiled(Jit::Quick, input_partitions, settings)
    }

    /// The same with a broker that is to be measured.
    pub fn start_for_load(input_partitions: u32, settings: &Settings) -> Deployment {
        Deployment::start_compiled(Jit::Full, input_partitions, settings)
    }

    fn start_compiled(jit: Jit, input_partitions: u32, settings: &Settings) -> Deployment {
        let brokers = || {
            let kafka = LocalKafka::start_with(jit, "").unwrap();
            let connection = Connection::to_brokers(kafka.brokers());
            (kafka, connection)
        };
        Deployment::on(brokers, 1, input_partitions, settings)
    }
}

impl<K> Deployment<K> {
    /// The same on other brokers; every topic gets `replication_factor`.
    pub fn on(
        brokers: impl FnOnce() -> (K, Connection),
        replication_factor: u16,
        input_partitions: u32,
        settings: &Settings,
    ) -> Deployment<K> {
        let turn = Turn::take();
        let (kafka, connection) = brokers();
        let postgres = LocalPostgres::start().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let database_url = postgres.url();
        let deployment = Deployment {
            kafka,
            postgres,
            database_url,
            replication_factor,
            connection,
            directory,
            _turn: turn,
        };
        deployment.write_config(settings);
        deployment.create_inputs(input_partitions);
        let created = deployment.command(&["topics", "create"]);
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        deployment
    }

    pub fn folder(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    pub fn write_config(&self, settings: &Settings) {
        for part in ["sources", "slos", "alerts"] {
            let to = self.folder().join(part);
            fs::create_dir_all(&to).unwrap();
            for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(part)).unwrap()
            {
                let file = file.unwrap();
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        let yaml = format!(
            "workers: {}\nkafka: {{brokers: \"{}\", connect_timeout: 5s}}\n\
             topics: {{internal_partitions: {}, replication_factor: {}}}\nhttp: {{address: \"127.0.0.1:0\"}}\n{}",
            settings.workers,
            self.connection.brokers(),
            settings.internal_partitions,
            self.replication_factor,
            settings.more,
        );
        fs::write(self.folder().join("plimsoll.yaml"), yaml).unwrap();
    }

    /// An `AlertRules` document instead of the rules and objectives that ship, as `alerts/platform.yaml`.
    pub fn write_only_rules(&self, text: &str) {
        let alerts = self.folder().join("alerts");
        fs::remove_dir_all(self.folder().join("slos")).unwrap();
        for file in fs::read_dir(&alerts).unwrap() {
            let file = file.unwrap();
            if file.file_name() != "severities.yaml" {
                fs::remove_file(file.path()).unwrap();
            }
        }
        fs::write(alerts.join("platform.yaml"), text).unwrap();
    }

    fn create_inputs(&self, partitions: u32) {
        let spec = |name: &str| TopicSpec {
            name: name.to_owned(),
            partitions,
            replication_factor: self.replication_factor,
            config: BTreeMap::new(),
        };
        let specs: Vec<TopicSpec> = INPUTS.into_iter().map(spec).collect();
        Admin::open(&self.connection).unwrap().create(&specs, ASK).unwrap();
    }

    /// Runs a command to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        self.prepared("command", arguments).output().unwrap()
    }

    fn prepared(&self, instance: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(arguments).arg("--config").arg(self.folder()).args(["--instance", instance]);
        command.env("DATABASE_URL", &self.database_url).stdin(Stdio::null());
        command
    }

    /// Starts a replica; its log is kept beside the configuration.
    pub fn replica(&self, instance: &str, arguments: &[&str]) -> Replica {
        let log = self.directory.path().join(format!("{instance}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.prepared(instance, &[&["run"], arguments].concat());
        command.stderr(file.try_clone().unwrap()).stdout(file);
        Replica { child: BoundChild::spawn(command).unwrap(), log }
    }

    /// Writes records in their order; gives them as Kafka holds them, once more in order.
    pub fn produce(&self, records: impl IntoIterator<Item = Generated>) -> Vec<RawRecord> {
        let mut writer = TransactionalWriter::open(&self.connection, "test-producer").unwrap();
        let mut raw = Vec::new();
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let chunk: Vec<Generated> = records.by_ref().take(CHUNK).collect();
            let mut tries = 0;
            while let Err(error) = write_chunk(&mut writer, &chunk) {
                // A busy machine may take longer than a transaction may; nothing of it is seen then.
                tries += 1;
                assert!(tries < 10 && matches!(error, CommitError::Aborted { .. }), "{error}");
            }
            raw.extend(chunk.into_iter().map(|record| RawRecord {
                topic: record.topic.to_owned(),
                partition: record.partition,
                offset: -1,
                timestamp_ms: record.timestamp_ms,
                payload: record.payload,
            }));
        }
        raw
    }

    /// Gives each record the offset it has in Kafka, by its place in its partition. `raw` is all there is.
    pub fn number(&self, raw: &mut [RawRecord]) {
        let mut offsets: BTreeMap<(String, u32), std::vec::IntoIter<i64>> = BTreeMap::new();
        for record in raw {
            let place = (record.topic.clone(), record.partition);
            let numbered = offsets.entry(place).or_insert_with_key(|(topic, partition)| {
                let mut numbers = Vec::new();
                read_whole(&self.connection, topic, *partition as i32, ASK, |offset, _, _| {
                    numbers.push(offset)
                })
                .unwrap();
                numbers.into_iter()
            });
            record.offset = numbered.next().expect("as many records in Kafka as were written");
        }
    }

    /// Waits until every table holds as many events as it should, and `dead_letter_hourly` as many letters; fails
    /// with the figures otherwise.
    pub fn wait_for_counts(
        &self,
        expected: &BTreeMap<String, u64>,
        replicas: &mut [Replica],
        limit: Duration,
    ) {
        let deadline = Instant::now() + limit;
        let mut client = self.client();
        let mut found = BTreeMap::new();
        while Instant::now() < deadline {
            for replica in replicas.iter_mut() {
                replica.assert_running();
            }
            for table in expected.keys() {
                let column = if table == "dead_letter_hourly" { "count" } else { "event_count" };
                let query = format!("select coalesce(sum({column}), 0)::bigint from plimsoll.{table}");
                // Before the first migration there is no table.
                let count = client.query_one(&query, &[]).map_or(0, |row| row.get::<_, i64>(0) as u64);
                found.insert(table.clone(), count);
            }
            if found == *expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("after {limit:?} the tables hold {found:?}, not {expected:?}\n{}", logs(replicas));
    }

    /// Waits until no table holds a provisional row.
    pub fn wait_until_final(&self, replicas: &mut [Replica], limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut client = self.client();
        let open = |table: &&str| format!("select count(*) from plimsoll.{table} where not is_final");
        let open = TABLES.iter().map(open).collect::<Vec<_>>().join(" union all ");
        let query = format!("select sum(count)::bigint from ({open}) t");
        while client.query_one(&query, &[]).unwrap().get::<_, i64>(0) > 0 {
            replicas.iter_mut().for_each(Replica::assert_running);
            assert!(
                Instant::now() < deadline,
                "rows are still provisional after {limit:?}\n{}",
                logs(replicas)
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn client(&self) -> postgres::Client {
        postgres::Client::connect(&self.postgres.url(), postgres::NoTls).unwrap()
    }

    /// The rows of a table in the form of output records.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        let mut client = self.client();
        let columns = client
            .query(
                "select column_name::text, data_type::text from information_schema.columns \
                 where table_schema = 'plimsoll' and table_name = $1 order by ordinal_position",
                &[&table],
            )
            .unwrap();
        let pairs: Vec<String> = columns
            .iter()
            .map(|row| {
                let (name, kind): (String, String) = (row.get(0), row.get(1));
                let form = match kind.as_str() {
                    "numeric" => format!("\"{name}\"::text"),
                    "bytea" => format!("translate(encode(\"{name}\", 'base64'), E'\\n', '')"),
                    "timestamp with time zone" => {
                        format!("to_char(\"{name}\" at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
                    }
                    _ => format!("\"{name}\""),
                };
                format!("'{name}', {form}")
            })
            .collect();
        let query = format!("select json_build_object({})::text from plimsoll.{table}", pairs.join(", "));
        let keys = key_columns(table);
        let row = |row: &postgres::Row| {
            let text: String = row.get(0);
            let value: Value = serde_json::from_str(&text).unwrap();
            let mut key: Vec<&Value> = keys.iter().map(|key| &value[*key]).collect();
            key.push(&value["bucket_start"]);
            row_of_record(table, serde_json::to_string(&key).unwrap().as_bytes(), text.as_bytes()).unwrap()
        };
        client.query(&query, &[]).unwrap().iter().map(row).collect()
    }

    pub fn all_rows(&self) -> Vec<Row> {
        TABLES.iter().flat_map(|table| self.rows(table)).collect()
    }

    /// The committed records of a topic.
    pub fn records(&self, topic: &str) -> Vec<TopicRecord> {
        let admin = Admin::open(&self.connection).unwrap();
        let partitions = admin.describe(&[topic], ASK).unwrap()[0].partitions as i32;
        let mut records = Vec::new();
        for partition in 0..partitions {
            read_whole(&self.connection, topic, partition, ASK, |offset, key, value| {
                records.push((partition, offset, key.to_vec(), value.map(<[u8]>::to_vec)));
            })
            .unwrap();
        }
        records
    }

    /// Sum of what a group has still to read of a topic.
    pub fn end_offsets(&self, topic: &str) -> i64 {
        let admin = Admin::open(&self.connection).unwrap();
        let partitions = admin.describe(&[topic], ASK).unwrap()[0].partitions as i32;
        let all: Vec<TopicPartition> = (0..partitions).map(|p| TopicPartition::new(topic, p)).collect();
        admin.offsets(&all, EndOf::LatestCommitted, ASK).unwrap().iter().map(|(_, offset)| offset).sum()
    }
}

fn write_chunk(writer: &mut TransactionalWriter, chunk: &[Generated]) -> Result<(), CommitError> {
    writer.abort()?;
    writer.begin()?;
    for record in chunk {
        writer.send(WriterRecord {
            topic: record.topic,
            partition: Some(record.partition as i32),
            key: record.key.as_deref(),
            payload: Some(&record.payload),
            timestamp_ms: Some(record.timestamp_ms),
            ..WriterRecord::default()
        })?;
    }
    writer.commit_records()
}

/// Key columns of a shipped table.
pub fn key_columns(table: &str) -> &'static [&'static str] {
    match table {
        "commodity_prices_hourly" => &["commodity", "currency", "unit", "region"],
        "ml_predictions_hourly" => &["model", "model_version"],
        "request_log_hourly" => &["service", "route", "method"],
        "request_log_region_hourly" => &["region"],
        "request_log_total_hourly" => &[],
        other => panic!("{other} is not shipped"),
    }
}

/// A `plimsoll run`, killed when dropped.
pub struct Replica {
    child: BoundChild,
    log: PathBuf,
}

impl Replica {
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
    }

    /// SIGSTOP: connections stay, nothing is sent.
    pub fn pause(&mut self) {
        self.child.pause().unwrap();
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.child.resume().unwrap();
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.exited().unwrap()
    }

    /// SIGTERM, then waits for the end; panics when it takes longer than `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.child.terminate().unwrap();
        self.wait(limit)
    }

    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.exited().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {limit:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.exited().unwrap() {
            panic!("the replica ended with {status}\n{}", self.log());
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log holds `text`.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in the log after {limit:?}\n{}", self.log());
            self.assert_running();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// GETs a path from the replica's HTTP address: the status line and the body.
    pub fn get(&mut self, path: &str) -> (String, String) {
        self.wait_for_log("serving metrics", Duration::from_secs(20));
        let log = self.log();
        // The log goes on over restarts; the last address is the one that lives.
        let line = log.lines().rfind(|line| line.contains("serving metrics")).unwrap();
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        let refused = |error| panic!("{address}: {error}\n{log}");
        let mut stream = TcpStream::connect(address).unwrap_or_else(refused);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

fn logs(replicas: &[Replica]) -> String {
    let tail = |replica: &Replica| {
        let log = replica.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    };
    replicas.iter().map(tail).collect::<Vec<_>>().join("\n--\n")
}
