//! Three lines that change in place on a terminal; elsewhere one plain line a second.

use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::say;

const EVERY: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub counted: u64,
    pub lag: u64,
    pub per_second: f64,
    /// Times of day.
    pub event_time: String,
    pub watermark: String,
    pub hours_finished: usize,
    pub open: Vec<String>,
}

pub struct Screen {
    /// None: standard output is no terminal.
    bars: Option<Bars>,
    shown: Instant,
}

struct Bars {
    all: MultiProgress,
    lines: [ProgressBar; 3],
}

impl Screen {
    pub fn start() -> Screen {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let bars = (!all.is_hidden()).then(|| {
            let line = || {
                let style = ProgressStyle::with_template("{wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                all.add(ProgressBar::new_spinner().with_style(style))
            };
            Bars { lines: [line(), line(), line()], all: all.clone() }
        });
        Screen { bars, shown: Instant::now() }
    }

    /// A line that stays.
    pub fn say(&self, line: impl fmt::Display) {
        match &self.bars {
            // What cannot be drawn any more is no reason to stop.
            Some(bars) => {
                let _ = bars.all.println(line.to_string());
            }
            None => say(line),
        }
    }

    pub fn show(&mut self, status: &Status) {
        match &self.bars {
            Some(bars) => {
                for (bar, text) in bars.lines.iter().zip(lines(status)) {
                    bar.set_message(text);
                    bar.tick();
                }
            }
            None if self.shown.elapsed() >= EVERY => {
                self.shown = Instant::now();
                say(lines(status).join(" | "));
            }
            None => {}
        }
    }

    /// Takes the changing lines away.
    pub fn end(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.all.clear();
        }
    }
}

fn lines(status: &Status) -> [String; 3] {
    let open = match status.open.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let Status { counted, lag, per_second, event_time, watermark, hours_finished, .. } = status;
    [
        format!("{per_second:.0} messages/s, {counted} counted, lag {lag}"),
        format!("event time {event_time}, watermark {watermark}, hours finished: {hours_finished}"),
        format!("open breaches: {open}"),
    ]
}
