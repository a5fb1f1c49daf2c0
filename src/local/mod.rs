//! Real services on this machine, for tests and the demo.

pub mod broker;
pub mod cache;
pub mod kafka;
pub mod postgres;

pub use cache::LocalError;
