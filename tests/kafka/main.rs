//! The Kafka room against a real broker: one for the whole file, killed by the kernel when the process ends.

mod groups;
mod records;
mod support;
