//! Plimsoll turns event topics on Kafka into exact SLOs, breach events and hourly tables.
//!
//! The way of the data is the way through the modules: `kafka` (source) -> `decode` -> `core::fold` -> `wire`
//! (partials) -> `core::shard` -> `wire` (outputs) -> `store`. `ARCHITECTURE.md` draws it.

// `src/kafka` alone allows it again. Tests may panic; what ships returns errors.
#![deny(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::dbg_macro
    )
)]

pub mod config;
pub mod core;
pub mod decode;
pub mod generate;
pub mod http;
#[allow(unsafe_code)]
pub mod kafka;
pub mod local;
pub mod roles;
pub mod slo;
pub mod store;
pub mod verify;
pub mod wire;
