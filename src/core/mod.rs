//! The pure middle: given the same inputs it gives the same outputs, to the byte.
//!
//! Nothing here does I/O, reads a clock, the environment or a random number, or knows of Kafka, Postgres or tokio.
//! Time comes in as an argument, in microseconds since 1970-01-01 UTC unless a name says otherwise.

pub mod aggregate;
pub mod alert;
pub mod clock;
pub mod event;
pub mod exemplar;
pub mod expr;
pub mod fold;
pub mod identity;
pub mod key;
pub mod objective;
pub mod output;
pub mod partial;
pub mod plan;
pub mod rules;
pub mod shard;
pub mod sketch;
pub mod slo;
pub mod source;
pub mod span;
pub mod table;
pub mod tally;
pub mod time;
