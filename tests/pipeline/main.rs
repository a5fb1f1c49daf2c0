//! The pure core against the oracle, without Kafka: generated records -> decode -> fold -> wire -> shards -> outputs.
//!
//! Workers, failed transactions, handovers, the interleaving of logs and crashes are drawn from seeds; time is
//! simulated. A failure names its seed.

mod answers;
mod asks;
mod boundaries;
mod breaches;
mod checkpoints;
mod evaluation;
mod hits;
mod kinds;
mod lags;
mod limits;
#[path = "../oracle/mod.rs"]
mod oracle;
mod questions;
mod rows;
mod rules;
mod scenario;
mod simulation;
mod story;
mod times;
mod workload;
