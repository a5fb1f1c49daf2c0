//! The replicas: some do everything, some one stage. One that ends by itself is started again, as an orchestrator would.

use std::fs;
use std::time::Duration;

use plimsoll::local::cluster::LocalCluster;

use super::support::{Deployment, Replica};

const LEAVE: Duration = Duration::from_secs(20);
/// sysexits: an invariant broke.
const BROKEN: i32 = 70;

pub struct Fleet {
    members: Vec<Member>,
    /// How often a replica ended by itself, and how.
    pub ended: Vec<String>,
}

struct Member {
    name: String,
    role: &'static str,
    replica: Option<Replica>,
}

impl Fleet {
    /// Of each instance name and role.
    pub fn start(deployment: &Deployment<LocalCluster>, roles: &[(&str, &'static str)]) -> Fleet {
        let member =
            |(name, role): &(&str, &'static str)| Member { name: (*name).to_owned(), role, replica: None };
        let mut fleet = Fleet { members: roles.iter().map(member).collect(), ended: Vec::new() };
        fleet.start_all(deployment);
        fleet
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Those that read the inputs.
    pub fn ingesting(&self) -> Vec<usize> {
        let reads = |at: &usize| matches!(self.members[*at].role, "all" | "ingest");
        (0..self.members.len()).filter(reads).collect()
    }

    pub fn start_all(&mut self, deployment: &Deployment<LocalCluster>) {
        (0..self.members.len()).for_each(|at| self.start_one(deployment, at));
    }

    /// Starts one that does not run.
    pub fn start_one(&mut self, deployment: &Deployment<LocalCluster>, at: usize) {
        let member = &mut self.members[at];
        if member.replica.is_none() {
            member.replica = Some(deployment.replica(&member.name, &["--role", member.role]));
        }
    }

    pub fn kill(&mut self, at: usize) {
        if let Some(mut replica) = self.members[at].replica.take() {
            replica.kill9();
        }
    }

    /// SIGTERM. It may take as long as its grace.
    pub fn terminate(&mut self, at: usize) {
        if let Some(mut replica) = self.members[at].replica.take()
            && replica.exited().is_none()
        {
            replica.terminate(LEAVE);
        }
    }

    pub fn pause(&mut self, at: usize) {
        if let Some(replica) = &mut self.members[at].replica {
            replica.pause();
        }
    }

    pub fn resume(&mut self, at: usize) {
        if let Some(replica) = &mut self.members[at].replica {
            replica.resume();
        }
    }

    /// Starts again what ended by itself. Panics when an invariant broke.
    pub fn tend(&mut self, deployment: &Deployment<LocalCluster>) {
        for at in 0..self.members.len() {
            let Some(replica) = &mut self.members[at].replica else { continue };
            let Some(status) = replica.exited() else { continue };
            let log = last_lines(&replica.log(), 60);
            let name = &self.members[at].name;
            assert!(status.code() != Some(BROKEN), "{name} says that an invariant broke\n{}", self.keep());
            let why = log.lines().rev().find(|line| line.contains("ERROR") || line.contains("error:"));
            self.ended.push(format!("{} {status}: {}", self.members[at].name, why.unwrap_or("no word")));
            self.members[at].replica = None;
            self.start_one(deployment, at);
        }
    }

    /// Keeps all logs where they outlive the deployment; gives the place and the last lines of each.
    pub fn keep(&self) -> String {
        let folder = std::env::temp_dir().join(format!("plimsoll-chaos-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, log) in self.logs() {
            fs::write(folder.join(format!("{name}.log")), log).unwrap();
        }
        format!("logs: {}\n{}", folder.display(), self.tails())
    }

    /// Everything every replica logged, over all its lives.
    pub fn logs(&self) -> Vec<(String, String)> {
        let log = |member: &Member| Some((member.name.clone(), member.replica.as_ref()?.log()));
        self.members.iter().filter_map(log).collect()
    }

    fn tails(&self) -> String {
        let tail = |(name, log): (String, String)| format!("-- {name}\n{}", last_lines(&log, 25));
        self.logs().into_iter().map(tail).collect::<Vec<_>>().join("\n")
    }
}

fn last_lines(log: &str, count: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
