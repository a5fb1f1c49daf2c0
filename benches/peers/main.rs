//! `cargo bench --bench peers`: what a record costs Plimsoll, Kafka Streams, Flink and Bytewax for the same answer, on the
//! real broker.
//!
//! `PLIMSOLL_BENCH_RECORDS` (2,000,000) records lie in three topics x 12 partitions. In each of `PLIMSOLL_BENCH_ROUNDS` (3)
//! rounds, in an order that rotates, they are read by a consumer that looks at nothing, by a replica of Plimsoll with all
//! roles and all that ships, by one with no more to do than the peers, and by the peers, the same job on Kafka Streams, on
//! Flink (`streams/` and `flink/` beside this file, built by Maven) and on Bytewax (`bytewax/`, its packages installed by pip):
//! by hour and dimensions of each source's main table the events, the bad ones, and an HDR histogram, into a topic, exactly
//! once where the peer can. Where there are two cores, whoever reads has one and
//! the broker, the database and this process have the other.
//!
//! A JVM goes over the records `PLIMSOLL_BENCH_PASSES` (3) times, each time under new names, and the last one counts: its
//! start and what its compilers do are then behind it. Plimsoll, Bytewax and the consumer count from the start of their process.
//!
//! `PLIMSOLL_BENCH_ONLY=flink,alone` leaves the systems whose name contains one of these. With `PLIMSOLL_BENCH_USERS=3000`
//! each of so many users is a row of requests an hour, in place of some forty routes, and only the consumer and the replica
//! that does the same run.
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
mod process;
mod python;
mod replica;
mod run;
mod table;

use std::process::{Command, Stdio};

use answer::{Answer, By};
use java::Jars;
use measure::{number, pin, raw};
use oracle::rfc3339;
use process::{ProcessPeer, Run};
use python::Environment;
use replica::{ReplicaPeer, Task};
use run::{Pass, measured};
use support::{Deployment, INPUTS, Settings};

const PARTITIONS: i32 = 12;
/// Friday, 2025-10-31T00:00:00Z: a replay, which the wall clock does not cut off.
const START_US: i64 = 1_761_868_800_000_000;
const RECORDS_A_SECOND: i64 = 7_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Raw,
    Plimsoll,
    PlimsollTheSame,
    Streams,
    Flink,
    Bytewax,
}

const SYSTEMS: [System; 6] =
    [System::Raw, System::Plimsoll, System::PlimsollTheSame, System::Streams, System::Flink, System::Bytewax];

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Raw => "consumer alone",
            System::Plimsoll => "Plimsoll, all that ships",
            System::PlimsollTheSame => "Plimsoll, this job alone",
            System::Streams => "Kafka Streams",
            System::Flink => "Flink",
            System::Bytewax => "Bytewax",
        }
    }

    /// Whether it does the job with a row for each user too.
    fn can_run(self, requests_by: By) -> bool {
        requests_by == By::Route || matches!(self, System::Raw | System::PlimsollTheSame)
    }
}

fn main() {
    if raw::is_consumer(&INPUTS) {
        return;
    }
    let records = number("PLIMSOLL_BENCH_RECORDS", 2_000_000);
    let rounds = number("PLIMSOLL_BENCH_ROUNDS", 3) as usize;
    let passes = number("PLIMSOLL_BENCH_PASSES", 3) as usize;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let users = number("PLIMSOLL_BENCH_USERS", 0);
    let requests_by = if users > 0 { By::User } else { By::Route };
    let only = std::env::var("PLIMSOLL_BENCH_ONLY").unwrap_or_default().to_lowercase();
    let is_wanted = |system: System| {
        system.can_run(requests_by) && only.split(',').any(|part| system.name().to_lowercase().contains(part))
    };
    // What no wanted peer needs does not have to be on the machine.
    let jars = (is_wanted(System::Streams) || is_wanted(System::Flink)).then(|| built(Jars::build()));
    let python = is_wanted(System::Bytewax).then(|| built(Environment::build()));
    pin(std::process::id(), 0, cores);
    let deployment = Deployment::start_for_load(PARTITIONS as u32, &Settings::default());
    generate(&deployment, records, users);
    eprintln!("computing the answer from {records} records ...");
    let answer = Answer::of(&deployment, PARTITIONS, requests_by);
    let bench = Bench { deployment, jars, python, answer, requests_by, cores, passes };
    let mut runs: Vec<(System, Vec<Pass>)> = Vec::new();
    for round in 0..rounds {
        let mut order = SYSTEMS;
        order.rotate_left(round % SYSTEMS.len());
        for system in order.into_iter().filter(|system| is_wanted(*system)) {
            let passes = bench.run(system, round);
            for pass in &passes {
                eprintln!("round {} of {rounds}, {}: {pass}", round + 1, system.name());
            }
            runs.push((system, passes));
        }
    }
    println!(
        "{} records, {} rows, all of them right in every run\n",
        bench.answer.records,
        bench.answer.rows()
    );
    table::print(&runs);
}

fn built<T>(peers: Result<T, String>) -> T {
    peers.unwrap_or_else(|error| panic!("{error}"))
}

fn generate(deployment: &Deployment, records: i64, users: i64) {
    let mut generate = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let span = format!("{}s", (records / RECORDS_A_SECOND).max(1));
    generate.args(["generate", "--start", &rfc3339(START_US), "--span", &span]);
    generate.args(["--events", &records.to_string(), "--config"]).arg(deployment.folder());
    if users > 0 {
        generate.args(["--users", &users.to_string()]);
    }
    assert!(generate.stdout(Stdio::null()).status().unwrap().success());
}

struct Bench {
    deployment: Deployment,
    jars: Option<Jars>,
    python: Option<Environment>,
    answer: Answer,
    requests_by: By,
    cores: usize,
    /// How often a JVM goes over the records.
    passes: usize,
}

impl Bench {
    /// Under new names of groups, transactions and topics, so that nothing is left of the rounds before. A pass for each time
    /// the system went over the records in one process.
    fn run(&self, system: System, round: usize) -> Vec<Pass> {
        match system {
            System::Raw => {
                let run = raw::run(self.deployment.connection.brokers(), self.cores);
                vec![Pass::of_consumer(self.answer.records, &run)]
            }
            System::Plimsoll => self.run_replica(Task::Everything, round),
            System::PlimsollTheSame => self.run_replica(Task::TheSame, round),
            System::Streams => self.run_java("streams", round),
            System::Flink => self.run_java("flink", round),
            System::Bytewax => self.run_python(round),
        }
    }

    fn run_replica(&self, task: Task, round: usize) -> Vec<Pass> {
        vec![measured(&mut ReplicaPeer::start(self, task, round), 0.0, &self.answer)]
    }

    fn run_java(&self, module: &'static str, round: usize) -> Vec<Pass> {
        let jars = self.jars.as_ref().expect("built for every peer that is wanted");
        let command = |run: &Run| jars.command(module, self.cores, run);
        let mut peer = ProcessPeer::start(self, module, round, self.passes, command);
        let mut passes = vec![measured(&mut peer, 0.0, &self.answer)];
        while passes.len() < self.passes {
            let before_s = peer.next_pass();
            passes.push(measured(&mut peer, before_s, &self.answer));
        }
        passes
    }

    fn run_python(&self, round: usize) -> Vec<Pass> {
        let python = self.python.as_ref().expect("built for every peer that is wanted");
        let command = |run: &Run| python.command(self.cores, run);
        vec![measured(&mut ProcessPeer::start(self, "bytewax", round, 1, command), 0.0, &self.answer)]
    }
}
