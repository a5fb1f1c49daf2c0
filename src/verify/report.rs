//! What verifying came to, for people and for programs.

use std::fmt::Write;
use std::ops::Range;

use serde_json::{Value, json};

use super::breaches::BreachTally;
use super::difference::Differences;
use super::place::Outcome;
use super::recompute::Tally;
use super::span::shown;

/// One source.
#[derive(Clone, Debug)]
pub struct SourceReport {
    pub name: String,
    /// What was looked at; later than asked for where the topic has lost its beginning. Empty: nothing could be.
    pub hours: Range<i64>,
    /// Why nothing or less was looked at.
    pub note: Option<String>,
    pub tally: Tally,
    /// Records that ingest has still to read.
    pub waiting: u64,
    /// Each table, in Postgres and in its topic.
    pub outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub hours: Range<i64>,
    pub sources: Vec<SourceReport>,
    pub breaches: BreachTally,
    pub differences: Differences,
}

impl Report {
    pub fn is_equal(&self) -> bool {
        self.differences.count == 0
    }

    pub fn rows(&self) -> u64 {
        self.outcomes().map(|outcome| outcome.equal + outcome.different).sum()
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.sources.iter().flat_map(|source| &source.outcomes)
    }

    pub fn text(&self) -> String {
        let mut text = format!("{} to {}\n", shown(self.hours.start), shown(self.hours.end));
        for source in &self.sources {
            source.write(&mut text);
        }
        let BreachTally { records, episodes, open } = self.breaches;
        line(&mut text, format_args!("breaches: {records} told of {episodes} episodes, {open} open"));
        let Differences { first, count, .. } = &self.differences;
        for difference in first {
            line(&mut text, format_args!("\n{difference}"));
        }
        let more = count.saturating_sub(first.len() as u64);
        if more > 0 && !first.is_empty() {
            line(&mut text, format_args!("\nand {more} more; --differences shows them"));
        }
        let rows = self.rows();
        match count {
            0 => line(&mut text, format_args!("\nequal: {rows} rows compared")),
            count => line(&mut text, format_args!("\n{count} differences, {rows} rows compared")),
        }
        text
    }

    pub fn json(&self) -> Value {
        json!({
            "equal": self.is_equal(),
            "from": shown(self.hours.start),
            "to": shown(self.hours.end),
            "rows": self.rows(),
            "sources": self.sources.iter().map(SourceReport::json).collect::<Vec<_>>(),
            "breaches": {
                "records": self.breaches.records,
                "episodes": self.breaches.episodes,
                "open": self.breaches.open,
            },
            "difference_count": self.differences.count,
            "differences": self.differences.first,
        })
    }
}

impl SourceReport {
    fn write(&self, text: &mut String) {
        line(text, format_args!("\n{}", self.name));
        if let Some(note) = &self.note {
            line(text, format_args!("  {note}"));
        }
        if self.hours.is_empty() {
            return;
        }
        let Tally { read, counted, elsewhere, dead } = &self.tally;
        let letters: u64 = dead.values().sum();
        line(
            text,
            format_args!(
                "  {read} records read: {counted} events of these hours, {elsewhere} of others, {letters} dead letters"
            ),
        );
        for (reason, letters) in dead {
            line(text, format_args!("    {letters} {reason}"));
        }
        if self.waiting > 0 {
            line(
                text,
                format_args!("  about {} records wait for ingest and were not looked at", self.waiting),
            );
        }
        let width = self.outcomes.iter().map(|outcome| outcome.place.len()).max().unwrap_or(0);
        for outcome in &self.outcomes {
            line(text, format_args!("  {:width$}  {}", outcome.place, outcome.text()));
        }
    }

    fn json(&self) -> Value {
        json!({
            "source": self.name,
            "from": shown(self.hours.start),
            "to": shown(self.hours.end),
            "note": self.note,
            "records": self.tally.read,
            "events": self.tally.counted,
            "events_of_other_hours": self.tally.elsewhere,
            "dead_letters": self.tally.dead,
            "waiting_for_ingest": self.waiting,
            "tables": self.outcomes.iter().map(Outcome::json).collect::<Vec<_>>(),
        })
    }
}

impl Outcome {
    fn text(&self) -> String {
        let mut text = format!("{} rows equal, {} events", self.equal, self.events);
        let more = [
            (self.different, "different"),
            (self.provisional, "not final yet"),
            (self.incomplete, "of hours that lost input and say so"),
            (self.with_gone, "without events that came when their hour was gone"),
            (self.by_totals, "hours beyond the key limit, compared by totals"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            // Writing to a text does not fail.
            let _ = write!(text, ", {count} {what}");
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "place": self.place,
            "equal": self.equal,
            "different": self.different,
            "not_final": self.provisional,
            "incomplete": self.incomplete,
            "with_hour_gone": self.with_gone,
            "hours_by_totals": self.by_totals,
            "events": self.events,
        })
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}
