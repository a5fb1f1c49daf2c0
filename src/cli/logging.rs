//! Logs on standard error: lines for people, or JSON for a collector.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use super::Format;

/// `RUST_LOG` wins over `default`.
pub fn start(format: Format, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // A second start, in one process, would only be a test's; the first one stays.
    let _ = match format {
        Format::Text => lines.with_ansi(stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
