//! Real services on this machine, for tests and the demo.

pub mod broker;
pub mod cache;
pub mod cluster;
pub mod kafka;
mod node;
pub mod postgres;

pub use cache::LocalError;
pub use node::Jit;
