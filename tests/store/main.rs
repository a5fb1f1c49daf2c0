//! The store on a real Postgres, which the tests share; each test has a schema of its own.

mod breaches;
mod crash;
mod dead_letters;
mod fixtures;
mod histograms;
mod local;
mod months;
mod offsets;
mod rows;
mod schema;
