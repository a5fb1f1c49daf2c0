//! Rules judged on the stream: counts in panes, levels that latch, episodes that can be corrected.

pub mod budget;
pub mod episode;
pub mod hours;
pub mod judge;
pub mod lag;
pub mod latch;
pub mod pane;
pub mod reading;
pub mod score;
mod seconds;
pub mod slices;
pub mod sliding;
mod sliding_values;
pub mod standing;
pub mod watch;
