//! `cargo bench --bench peers`: what a record costs Plimsoll, Kafka Streams and Flink for the same answer, on the real broker.
//!
//! `PLIMSOLL_BENCH_RECORDS` (2,000,000) records lie in three topics x 12 partitions. In each of `PLIMSOLL_BENCH_ROUNDS` (3)
//! rounds, in an order that rotates, they are read by a consumer that looks at nothing, by a replica of Plimsoll with all
//! roles, and by the same job on Kafka Streams and on Flink (`streams/` and `flink/` beside this file, built by Maven): by
//! hour and dimensions of each source's main table the events, the bad ones, and an HDR histogram, exactly once, into a topic.
//! Where there are two cores, whoever reads has one and the broker, the database and this process have the other.
//!
//! `PLIMSOLL_BENCH_ONLY=flink` leaves the systems whose name contains it.
//!
//! The answer is checked: every row of every run against the oracle's, or the bench fails.

#[path = "../measure/mod.rs"]
mod measure;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;
#[path = "../../tests/support/mod.rs"]
mod support;

mod answer;
mod java;
mod replica;
mod run;
mod table;

use std::process::{Command, Stdio};

use answer::Answer;
use java::{Jars, JavaPeer};
use measure::{number, pin, raw};
use oracle::rfc3339;
use replica::ReplicaPeer;
use run::{Run, measured};
use support::{Deployment, INPUTS, Settings};

const PARTITIONS: i32 = 12;
/// Friday, 2025-10-31T00:00:00Z: a replay, which the wall clock does not cut off.
const START_US: i64 = 1_761_868_800_000_000;
const RECORDS_A_SECOND: i64 = 7_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Raw,
    Plimsoll,
    Streams,
    Flink,
}

const SYSTEMS: [System; 4] = [System::Raw, System::Plimsoll, System::Streams, System::Flink];

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Raw => "consumer alone",
            System::Plimsoll => "Plimsoll",
            System::Streams => "Kafka Streams",
            System::Flink => "Flink",
        }
    }
}

fn main() {
    if raw::is_consumer(&INPUTS, PARTITIONS) {
        return;
    }
    let records = number("PLIMSOLL_BENCH_RECORDS", 2_000_000);
    let rounds = number("PLIMSOLL_BENCH_ROUNDS", 3) as usize;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jars = Jars::build().unwrap_or_else(|error| panic!("{error}"));
    pin(std::process::id(), 0, cores);
    let deployment = Deployment::start(PARTITIONS as u32, &Settings::default());
    generate(&deployment, records);
    eprintln!("computing the answer from {records} records ...");
    let answer = Answer::of(&deployment, PARTITIONS);
    let bench = Bench { deployment, jars, answer, cores };
    let only = std::env::var("PLIMSOLL_BENCH_ONLY").unwrap_or_default().to_lowercase();
    let mut runs: Vec<(System, Run)> = Vec::new();
    for round in 0..rounds {
        let mut order = SYSTEMS;
        order.rotate_left(round % SYSTEMS.len());
        for system in order.into_iter().filter(|system| system.name().to_lowercase().contains(&only)) {
            let run = bench.run(system, round);
            eprintln!("round {} of {rounds}, {}: {}", round + 1, system.name(), run.told());
            runs.push((system, run));
        }
    }
    println!(
        "{} records, {} rows, all of them right in every run\n",
        bench.answer.records,
        bench.answer.rows()
    );
    table::print(&runs);
}

fn generate(deployment: &Deployment, records: i64) {
    let mut generate = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let span = format!("{}s", (records / RECORDS_A_SECOND).max(1));
    generate.args(["generate", "--start", &rfc3339(START_US), "--span", &span]);
    generate.args(["--events", &records.to_string(), "--config"]).arg(deployment.folder());
    assert!(generate.stdout(Stdio::null()).status().unwrap().success());
}

struct Bench {
    deployment: Deployment,
    jars: Jars,
    answer: Answer,
    cores: usize,
}

impl Bench {
    /// Under new names of groups, transactions and topics, so that nothing is left of the rounds before.
    fn run(&self, system: System, round: usize) -> Run {
        let Bench { deployment, jars, answer, cores } = self;
        match system {
            System::Raw => {
                let run = raw::run(deployment.connection.brokers(), *cores);
                Run::of_consumer(answer.records, &run)
            }
            System::Plimsoll => measured(&mut ReplicaPeer::start(deployment, round, *cores), answer),
            System::Streams => {
                measured(&mut JavaPeer::start(jars, "streams", deployment, round, *cores), answer)
            }
            System::Flink => measured(&mut JavaPeer::start(jars, "flink", deployment, round, *cores), answer),
        }
    }
}
