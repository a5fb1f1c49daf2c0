//! Everything that crosses Kafka, to and from bytes. Internal records carry a version byte; a reader that does not
//! know it says so instead of guessing.

pub mod dead_letter;
pub mod offset;
pub mod output;
pub mod partial;
pub mod rules;
