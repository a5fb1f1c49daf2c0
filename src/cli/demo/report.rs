//! What stands in Postgres at the end, and whether that is what a demo must show.

use std::fmt::Write;

use plimsoll::store::{Store, TextRow};

use super::watch::clock;
use crate::cli::Failure;

const ROWS: usize = 5;
/// Enough for every series of two hours.
const LATEST: u32 = 400;
const EPISODES: u32 = 100;
const EPISODES_SHOWN: usize = 8;

/// One table of each source, with the columns that are worth a look.
const TABLES: [(&str, &[&str]); 3] = [
    (
        "commodity_prices_hourly",
        &["commodity", "region", "event_count", "price_open", "price_high", "price_low", "price_close"],
    ),
    (
        "ml_predictions_hourly",
        &[
            "model",
            "model_version",
            "event_count",
            "error_count",
            "inference_ms_p50",
            "inference_ms_p95",
            "inference_ms_p99",
        ],
    ),
    (
        "request_log_hourly",
        &[
            "service",
            "route",
            "method",
            "event_count",
            "failed_count",
            "unique_users",
            "latency_ms_p50",
            "latency_ms_p99",
        ],
    ),
];

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The newest finished hour of each table, busiest row first.
    rows: Vec<Vec<TextRow>>,
    /// Oldest first.
    episodes: Vec<TextRow>,
}

impl Report {
    pub fn gather(store: &mut Store) -> Result<Report, Failure> {
        let mut rows = Vec::new();
        for (table, _) in TABLES {
            rows.push(newest_hour(store.latest_rows(table, LATEST)?));
        }
        let mut episodes = store.breaches(EPISODES)?;
        episodes.reverse();
        Ok(Report { rows, episodes })
    }

    /// What a demo must show and this one did not.
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = TABLES
            .iter()
            .zip(&self.rows)
            .filter(|(_, rows)| rows.is_empty())
            .map(|((table, _), _)| format!("no hour was finished in {table}"))
            .collect();
        let resolved = |episode: &TextRow| {
            field(episode, "rule") == "error-rate" && field(episode, "status") == "RESOLVED"
        };
        if !self.episodes.iter().any(resolved) {
            missing.push("no breach of platform/error-rate opened and resolved".to_owned());
        }
        missing
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for ((table, columns), rows) in TABLES.iter().zip(&self.rows) {
            let hour = rows.first().map_or("none", |row| field(row, "bucket_start"));
            let shown = rows.len().min(ROWS);
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "\n{table}, hour {hour}, {shown} of {} rows", rows.len());
            text.push_str(&aligned(columns, rows.iter().take(ROWS)));
        }
        let _ = writeln!(text, "\nslo_breach, {} episodes", self.episodes.len());
        for episode in self.episodes.iter().take(EPISODES_SHOWN) {
            text.push_str(&line(episode));
        }
        text
    }
}

/// One episode in words.
fn line(episode: &TextRow) -> String {
    let at = |name| clock(field(episode, name));
    let ended = match field(episode, "status") {
        "OPEN" => "still open".to_owned(),
        "RESOLVED" => format!("resolved {}", at("resolved_at")),
        status => status.to_lowercase(),
    };
    let rule = format!("{}/{}", field(episode, "document"), field(episode, "rule"));
    format!(
        "  {rule}{} {}: opened {}, {ended}, {} bad events, worst {}\n",
        labels(field(episode, "labels")),
        field(episode, "severity"),
        at("opened_at"),
        field(episode, "bad_total"),
        measured(field(episode, "worst_value"), field(episode, "unit")),
    )
}

/// The rows of the newest hour that is final.
fn newest_hour(rows: Vec<TextRow>) -> Vec<TextRow> {
    let newest = rows.iter().find(|row| field(row, "is_final") == "t");
    let Some(hour) = newest.map(|row| field(row, "bucket_start").to_owned()) else { return Vec::new() };
    rows.into_iter().filter(|row| field(row, "bucket_start") == hour).collect()
}

fn field<'r>(row: &'r TextRow, name: &str) -> &'r str {
    row.iter().find(|(column, _)| column == name).map_or("", |(_, value)| value)
}

/// A decimal without the zeros at its end; anything else (a version `1.9.0`) as it is.
fn short(text: &str) -> &str {
    match text.contains('.') && text.parse::<f64>().is_ok() {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// `38.83 %` for a share, a count as it is, else the number with its unit.
fn measured(value: &str, unit: &str) -> String {
    match (unit, value.parse::<f64>()) {
        ("ratio", Ok(share)) => format!("{:.2} %", share * 100.0),
        ("1", _) => short(value).to_owned(),
        _ => format!("{} {unit}", short(value)),
    }
}

/// `service=web`, from a JSON object.
fn labels(json: &str) -> String {
    let labels: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let pairs = labels.iter().map(|(name, value)| format!(" {name}={}", value.as_str().unwrap_or_default()));
    pairs.collect()
}

/// Texts to the left, numbers to the right.
fn aligned<'r>(columns: &[&str], rows: impl Iterator<Item = &'r TextRow>) -> String {
    let rows: Vec<Vec<&str>> =
        rows.map(|row| columns.iter().map(|column| short(field(row, column))).collect()).collect();
    let width = |at: usize, name: &str| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([name.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(at, name)| width(at, name)).collect();
    let is_number = |at: usize| rows.iter().all(|row| row[at].parse::<f64>().is_ok());
    let numeric: Vec<bool> = (0..columns.len()).map(is_number).collect();
    let mut text = String::new();
    for row in [columns].into_iter().chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::from(" ");
        for ((cell, width), numeric) in row.iter().zip(&widths).zip(&numeric) {
            let _ = match numeric {
                true => write!(line, " {cell:>width$}"),
                false => write!(line, " {cell:<width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, &str)]) -> TextRow {
        cells.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [row(&[("model", "öl"), ("n", "12")]), row(&[("model", "electricity"), ("n", "7.500")])];
        assert_eq!(
            aligned(&["model", "n"], rows.iter()),
            "  model         n\n  öl           12\n  electricity 7.5\n"
        );
    }

    #[test]
    fn figures_are_short_and_versions_whole() {
        assert_eq!((short("7.500"), short("1.9.0"), short("100"), short("")), ("7.5", "1.9.0", "100", ""));
        assert_eq!(measured("0.388349514", "ratio"), "38.83 %");
        assert_eq!(measured("250.000", "ms"), "250 ms");
        assert_eq!(measured("21.000000000", "1"), "21");
        assert_eq!(labels("{\"team\": \"platform\", \"service\": \"web\"}"), " service=web team=platform");
    }

    #[test]
    fn only_what_is_final_counts() {
        let at = |hour, is_final| row(&[("bucket_start", hour), ("is_final", is_final)]);
        let rows = vec![at("12", "f"), at("11", "t"), at("11", "t"), at("10", "t")];
        assert_eq!(newest_hour(rows).len(), 2);
        let report = Report { rows: vec![newest_hour(vec![at("12", "f")]); 3], episodes: Vec::new() };
        assert_eq!(report.missing().len(), 4);
    }
}
