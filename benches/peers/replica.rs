//! Plimsoll with all roles, all tables, all rules that ship, and Postgres.

use std::fs;
use std::time::Duration;

use super::answer::Rows;
use super::measure::{cpu_s, pin, total};
use super::run::Peer;
use super::support::{Deployment, Replica};

/// Seconds without work after which all is written and stored, and what of a core counts as none.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_CORE: f64 = 0.1;

pub struct ReplicaPeer<'a> {
    deployment: &'a Deployment,
    replica: Replica,
    /// What stands before the names of the round's topics.
    prefix: String,
}

impl ReplicaPeer<'_> {
    pub fn start(deployment: &Deployment, round: usize, cores: usize) -> ReplicaPeer<'_> {
        let prefix = format!("round-{round}.");
        // Rows that change are told every second, as the peers tell theirs.
        let settings = format!(
            "workers: 1\n\
             kafka: {{brokers: \"{}\", connect_timeout: 5s, application: plimsoll-{round}}}\n\
             topics: {{prefix: \"{prefix}\", internal_partitions: 12, replication_factor: 1}}\n\
             postgres: {{schema: round_{round}}}\n\
             intervals: {{provisional: 1s}}\n\
             http: {{address: \"127.0.0.1:0\"}}\n",
            deployment.connection.brokers(),
        );
        fs::write(deployment.folder().join("plimsoll.yaml"), settings).unwrap();
        let created = deployment.command(&["topics", "create"]);
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let mut replica = deployment.replica(&format!("round-{round}"), &[]);
        pin(replica.pid(), 1, cores);
        replica.wait_for_log("ingest partitions assigned", Duration::from_secs(60));
        ReplicaPeer { deployment, replica, prefix }
    }
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
