//! What an operator is promised, tried on a real Kafka and a real Postgres with replicas as processes.

#[path = "../oracle/mod.rs"]
mod oracle;
#[path = "../support/mod.rs"]
mod support;

mod backtest;
mod breach;
mod facts;
mod grace;
mod incident;
mod outage;
mod partitions;
mod postgres;
mod records;
mod replicas;
mod rights;
mod rules;
mod start;
mod stop;
mod time;
