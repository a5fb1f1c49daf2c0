//! Plimsoll with all roles and Postgres: with all that ships, or with no more than what the peers do.

use std::fs;
use std::time::Duration;

use super::Bench;
use super::answer::{By, Rows};
use super::measure::{cpu_s, pin, total};
use super::run::Peer;
use super::support::{Deployment, Replica, Settings};

/// Seconds without work after which all is written and stored, and what of a core counts as none.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_CORE: f64 = 0.1;

pub struct ReplicaPeer<'a> {
    deployment: &'a Deployment,
    replica: Replica,
    /// What stands before the names of the round's topics.
    prefix: String,
}

/// What it is told to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// All tables, all their columns, and all rules and objectives that ship.
    Everything,
    /// The main table of each source with the columns that the peers have; no rule.
    TheSame,
}

/// The columns of the peers, and by what they count, for each source.
const SAME_COLUMNS: [(&str, &str); 3] = [
    ("commodity-prices", "age_ms: {freshness: {quantiles: [0.5, 0.99]}}"),
    (
        "ml-predictions",
        "error_count: {count: \"has(error)\"}, inference_ms: {histogram: inference, quantiles: [0.5, 0.99]}",
    ),
    (
        "request-log",
        "failed_count: {count: \"status >= 500 || status in [0, 408, 499]\"}, \
         latency_ms: {histogram: duration, quantiles: [0.5, 0.99]}",
    ),
];

impl ReplicaPeer<'_> {
    pub fn start(bench: &Bench, task: Task, round: usize) -> ReplicaPeer<'_> {
        let Bench { deployment, requests_by, cores, .. } = bench;
        let name = match task {
            Task::Everything => format!("everything-{round}"),
            Task::TheSame => format!("same-{round}"),
        };
        let prefix = format!("{name}.");
        write_config(deployment, task, *requests_by, &name);
        let created = deployment.command(&["topics", "create"]);
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let mut replica = deployment.replica(&name, &[]);
        pin(replica.pid(), 1, *cores);
        replica.wait_for_log("ingest partitions assigned", Duration::from_secs(60));
        ReplicaPeer { deployment, replica, prefix }
    }
}

fn write_config(deployment: &Deployment, task: Task, requests_by: By, name: &str) {
    deployment.write_config(&Settings::default());
    let folder = deployment.folder();
    if task == Task::TheSame {
        deployment.write_only_rules("");
        fs::remove_file(folder.join("alerts/platform.yaml")).unwrap();
        fs::remove_file(folder.join("sources/platform-events.yaml")).unwrap();
        for (source, columns) in SAME_COLUMNS {
            let path = folder.join(format!("sources/{source}.yaml"));
            let text = fs::read_to_string(&path).unwrap();
            let (head, _) = text.split_once("        columns:\n").unwrap();
            let head = match requests_by {
                By::Route => head.to_owned(),
                By::User => head.replace("by: [service, route, method]", "by: [user_id]"),
            };
            fs::write(path, format!("{head}        columns: {{{columns}}}\n")).unwrap();
        }
    }
    // Rows that change are told every second, as the peers tell theirs. By default it is every five minutes, for which nobody
    // waits here either.
    let provisional = match requests_by {
        By::Route => "1s",
        By::User => "10s",
    };
    let settings = format!(
        "workers: 1\n\
         kafka: {{brokers: \"{}\", connect_timeout: 5s, application: {name}}}\n\
         topics: {{prefix: \"{name}.\", internal_partitions: 12, replication_factor: 1}}\n\
         postgres: {{schema: {}}}\n\
         intervals: {{provisional: {provisional}}}\n\
         http: {{address: \"127.0.0.1:0\"}}\n",
        deployment.connection.brokers(),
        name.replace('-', "_"),
    );
    fs::write(folder.join("plimsoll.yaml"), settings).unwrap();
}

impl Peer for ReplicaPeer<'_> {
    fn name(&self) -> &str {
        "Plimsoll"
    }

    fn pid(&self) -> u32 {
        self.replica.pid()
    }

    fn assert_running(&mut self) {
        self.replica.assert_running();
    }

    fn progress(&mut self) -> f64 {
        let (_, metrics) = self.replica.get("/metrics");
        total(&metrics, "plimsoll_source_messages_read_total")
    }

    fn rows(&self) -> Rows {
        Rows::of_plimsoll(self.deployment, &self.prefix)
    }

    fn finish(&mut self) {
        loop {
            let before_s = cpu_s(self.pid());
            std::thread::sleep(QUIET);
            self.assert_running();
            if cpu_s(self.pid()) - before_s < QUIET_CORE * QUIET.as_secs_f64() {
                return;
            }
        }
    }
}
