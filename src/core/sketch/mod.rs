//! Mergeable summaries: folding in any order and merging in any grouping give the same bytes.

pub mod counts;
pub mod histogram;
pub mod hll;
pub mod moving;
pub mod packed;
mod registers;
