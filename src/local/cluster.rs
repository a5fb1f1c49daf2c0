//! Three real brokers, or any number, on this machine: what a broker's loss does can be seen.

use std::fs;
use std::path::Path;

use super::LocalError;
use super::cache::{self, ScratchDirectory};
use super::kafka::{again_on_taken_ports, libraries};
use super::node::{Jit, Node, Place, server_properties, wait_until_all_ready};

/// Less is not enough to recover the logs of many crashes.
const HEAP_MB: u32 = 512;

/// Brokers (KRaft, each also a controller) on free ports of 127.0.0.1; killed, and their data removed, on drop.
#[derive(Debug)]
pub struct LocalCluster {
    // Declared before the directory: the processes must be gone before their data are.
    nodes: Vec<Node>,
    brokers: String,
    _directory: ScratchDirectory,
}

impl LocalCluster {
    /// Starts `servers` of them, 1 to 9, and waits until each answers.
    pub fn start(servers: usize, jit: Jit) -> Result<LocalCluster, LocalError> {
        let libs = libraries()?;
        again_on_taken_ports(|| LocalCluster::start_once(&libs, servers, jit))
    }

    fn start_once(libs: &Path, servers: usize, jit: Jit) -> Result<LocalCluster, LocalError> {
        let directory = ScratchDirectory::create("kafka")?;
        let ports = cache::free_ports(2 * servers)?;
        let (client_ports, controller_ports) = ports.split_at(servers);
        let mut nodes = Vec::new();
        for (id, &port) in (1..).zip(client_ports) {
            let home = directory.path().join(format!("node-{id}"));
            fs::create_dir(&home).map_err(LocalError::io("creating", &home))?;
            let properties = server_properties(&home, &Place { id, port, controller_ports });
            let address = format!("127.0.0.1:{port}");
            nodes.push(Node::format(libs, &home, address, HEAP_MB, jit, &properties)?);
        }
        // All at once: one alone has no quorum and never becomes ready.
        nodes.iter_mut().try_for_each(Node::start)?;
        wait_until_all_ready(&mut nodes)?;
        let addresses: Vec<String> = client_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Ok(LocalCluster { nodes, brokers: addresses.join(","), _directory: directory })
    }

    /// `host:port,host:port`, the same over restarts.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    pub fn servers(&self) -> usize {
        self.nodes.len()
    }

    /// Kills one broker (SIGKILL, as a crash would) and waits for it to be gone. Its data stay.
    /// `at` counts from 0 here and below; an error when there is no such broker.
    pub fn stop(&mut self, at: usize) -> Result<(), LocalError> {
        self.node(at)?.stop()
    }

    /// Stops it if running, starts it again on the same port and data, waits until it answers.
    pub fn restart(&mut self, at: usize) -> Result<(), LocalError> {
        let node = self.node(at)?;
        node.stop()?;
        node.start()?;
        node.wait_until_ready()
    }

    /// SIGSTOP: connections stay, nobody answers.
    pub fn pause(&mut self, at: usize) -> Result<(), LocalError> {
        self.node(at)?.pause()
    }

    /// SIGCONT.
    pub fn resume(&mut self, at: usize) -> Result<(), LocalError> {
        self.node(at)?.resume()
    }

    fn node(&mut self, at: usize) -> Result<&mut Node, LocalError> {
        self.nodes
            .get_mut(at)
            .ok_or_else(|| LocalError::Failed { what: "Kafka", detail: format!("there is no broker {at}") })
    }
}
