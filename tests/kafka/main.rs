//! The Kafka room against a real broker: one for the whole file, killed by the kernel when the process ends.

mod fetch;
mod groups;
mod lag;
mod records;
mod support;
