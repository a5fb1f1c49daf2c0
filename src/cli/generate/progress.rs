//! A bar on a terminal; nothing where nobody looks.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plimsoll::core::time::rfc3339;

const EVERY: Duration = Duration::from_millis(100);

pub struct Progress {
    bar: ProgressBar,
    shown: Instant,
}

impl Progress {
    /// `events` are expected; None: nobody knows.
    pub fn start(events: Option<u64>) -> Progress {
        // Hides itself when standard error is no terminal.
        let bar = ProgressBar::with_draw_target(events, ProgressDrawTarget::stderr());
        let template = match events {
            Some(_) => "{bar:24} {human_pos} of {human_len} events, {per_sec}, event time {msg}",
            None => "{human_pos} events, {per_sec}, event time {msg}",
        };
        // A template that does not parse would leave the bar as it is.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Progress { bar, shown: Instant::now() }
    }

    pub fn show(&mut self, events: u64, arrival_us: i64) {
        if self.shown.elapsed() >= EVERY {
            self.shown = Instant::now();
            self.bar.set_message(rfc3339(arrival_us));
            self.bar.set_position(events);
        }
    }

    /// Takes the bar away; true when there was one to see.
    pub fn end(&self) -> bool {
        let seen = !self.bar.is_hidden();
        self.bar.finish_and_clear();
        seen
    }
}
