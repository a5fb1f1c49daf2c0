//! A backlog on a real broker, and what draining it takes one replica or several: all roles, all that ships, exactly-once on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plimsoll::core::time::rfc3339;
use plimsoll::kafka::Connection;
use plimsoll::local::Jit;
use plimsoll::local::kafka::LocalKafka;
use serde_json::Value;

use crate::measure::{cpu_s, machine_s, number, peak_kib, pin, raw, threads_s, total};
use crate::support::{Deployment, INPUTS, Replica, Settings, TABLES};
use crate::table::Figures;
use crate::traffic::START_US;

const BACKLOG: i64 = 4_000_000;
/// Of event time.
const PER_SECOND: i64 = 7_000;
const SHARDS: u32 = 12;
/// Times that the consumer alone reads all before the replicas do, and after.
const READS: usize = 2;
/// A group waits so long for more members before it shares out partitions for the first time, as brokers do that are not told
/// otherwise: who comes up first would read most of the backlog else.
const BROKER: &str = "group.initial.rebalance.delay.ms=3000\n";
/// By default rows of unfinished hours are told every five minutes; here somebody waits for them.
const INTERVALS: &str = "intervals: {provisional: 1s}\n";
const LOOK: Duration = Duration::from_millis(200);
const START_LIMIT: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(300);

/// Who runs where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Whoever reads has the second core; the broker, the database and this process have the first.
    Apart,
    /// All share all cores.
    Shared,
}

impl Cores {
    pub fn of(name: &str) -> Cores {
        match name {
            "apart" => Cores::Apart,
            "shared" => Cores::Shared,
            other => panic!("no such cores: {other}"),
        }
    }

    /// How many there are to be told apart.
    fn apart(self) -> usize {
        match self {
            Cores::Apart => std::thread::available_parallelism().map_or(1, usize::from),
            Cores::Shared => 1,
        }
    }
}

/// So many partitions of each input, workers of each role in a replica, and replicas.
pub fn drain(partitions: u32, workers: u32, replicas: u32, cores: Cores) -> Figures {
    let backlog = number("PLIMSOLL_BENCH_BACKLOG", BACKLOG);
    let cores = cores.apart();
    pin(std::process::id(), 0, cores);
    let brokers = || {
        let kafka = LocalKafka::start_with(Jit::Full, BROKER).unwrap();
        let connection = Connection::to_brokers(kafka.brokers());
        (kafka, connection)
    };
    let settings = Settings { internal_partitions: SHARDS, workers, more: INTERVALS };
    let deployment = Deployment::on(brokers, 1, partitions, &settings);
    // Nobody reads yet.
    pin(std::process::id(), 1, cores);
    let expected = generate(&deployment, backlog);
    pin(std::process::id(), 0, cores);
    let backlog = backlog as f64;
    let raw_ns = || raw::run(deployment.connection.brokers(), cores).cpu_s / backlog * 1e9;
    let mut raws_ns: Vec<f64> = (0..READS).map(|_| raw_ns()).collect();
    let mut fleet: Vec<Replica> =
        (0..replicas).map(|n| deployment.replica(&format!("replica-{n}"), &[])).collect();
    fleet.iter().for_each(|replica| pin(replica.pid(), 1, cores));
    let mut figures = drained(&deployment, &mut fleet, backlog, &expected);
    for mut replica in fleet {
        assert!(replica.terminate(START_LIMIT).success(), "{}", replica.log());
    }
    raws_ns.extend((0..READS).map(|_| raw_ns()));
    raws_ns.sort_by(f64::total_cmp);
    figures.set("raw_ns", f64::midpoint(raws_ns[READS - 1], raws_ns[READS]));
    figures
}

/// Writes the backlog; events of each table, and dead letters.
fn generate(deployment: &Deployment, backlog: i64) -> BTreeMap<String, u64> {
    let (start, span) = (rfc3339(START_US), format!("{}s", (backlog / PER_SECOND).max(1)));
    let events = backlog.to_string();
    let generated = deployment
        .command(&["generate", "--format", "json", "--start", &start, "--span", &span, "--events", &events]);
    assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
    let told: Value = serde_json::from_slice(&generated.stdout).unwrap();
    let mut expected = BTreeMap::from([("dead_letter_hourly".to_owned(), 0)]);
    for topic in INPUTS {
        let counts = &told["topics"][topic];
        let events = counts["good"].as_u64().unwrap() + counts["late"].as_u64().unwrap();
        let of_topic = TABLES.iter().filter(|table| table.starts_with(&topic.replace('-', "_")));
        expected.extend(of_topic.map(|table| ((*table).to_owned(), events)));
        let bad = counts["bad"].as_object().unwrap().values();
        *expected.get_mut("dead_letter_hourly").unwrap() += bad.map(|n| n.as_u64().unwrap()).sum::<u64>();
    }
    expected
}

fn drained(
    deployment: &Deployment,
    fleet: &mut [Replica],
    backlog: f64,
    expected: &BTreeMap<String, u64>,
) -> Figures {
    fleet[0].wait_for_log("ingest partitions assigned", START_LIMIT);
    let (began, fleet_began_s, machine_began_s) = (Instant::now(), fleet_s(fleet), machine_s());
    let mut read = 0.0;
    while read < backlog {
        assert!(began.elapsed() < LIMIT, "{read} of {backlog} records are read after {LIMIT:?}");
        std::thread::sleep(LOOK);
        read = fleet.iter_mut().map(messages_read).sum();
    }
    let took_s = began.elapsed().as_secs_f64();
    let (fleet_took_s, machine_ended_s) = (fleet_s(fleet) - fleet_began_s, machine_s());
    let all_s = machine_ended_s.1 - machine_began_s.1;
    // A run that lost an event, or counted one twice, ends here.
    deployment.wait_for_counts(expected, fleet, LIMIT);
    let stored_s = began.elapsed().as_secs_f64();
    assert_eq!(fleet.iter_mut().map(messages_read).sum::<f64>(), backlog, "some records were read twice");
    let peaks_kib = fleet.iter().map(|replica| peak_kib(replica.pid()));
    let mut figures = Figures::default();
    figures.set("rate", backlog / took_s);
    figures.set("stored_after_s", stored_s - took_s);
    figures.set("ns", fleet_s(fleet) / backlog * 1e9);
    figures.set("fleet_share", fleet_took_s / all_s);
    figures.set("busy_share", (machine_ended_s.0 - machine_began_s.0) / all_s);
    figures.set("largest_kib", peaks_kib.clone().max().unwrap_or(0) as f64);
    figures.set("summed_kib", peaks_kib.sum::<u64>() as f64);
    for (figure, thread) in [("ingest_ns", "ingest"), ("evaluate_ns", "evaluate"), ("clients_ns", "rdk")] {
        let of_thread = |replica: &Replica| threads_s(replica.pid()).get(thread).copied().unwrap_or(0.0);
        figures.set(figure, fleet.iter().map(of_thread).sum::<f64>() / backlog * 1e9);
    }
    figures
}

fn fleet_s(fleet: &[Replica]) -> f64 {
    fleet.iter().map(|replica| cpu_s(replica.pid())).sum()
}

fn messages_read(replica: &mut Replica) -> f64 {
    replica.assert_running();
    total(&replica.get("/metrics").1, "plimsoll_source_messages_read_total")
}
