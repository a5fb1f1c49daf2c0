//! The store on a real Postgres, which the tests share; each test has a schema of its own.

mod breaches;
mod crash;
mod dead_letters;
mod fixtures;
mod histograms;
mod incidents;
mod local;
mod months;
mod objectives;
mod offsets;
mod rows;
mod schema;

#[path = "../support/outputs.rs"]
mod outputs;
