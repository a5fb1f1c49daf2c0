//! What was found to be otherwise than recomputed.

use std::fmt;

use serde::Serialize;

/// Longest value written out, in characters.
const SHOWN: usize = 120;

/// One figure, in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it was found: a table, a topic.
    pub place: String,
    /// The row there; may be empty.
    pub row: String,
    pub column: String,
    pub expected: String,
    pub found: String,
}

/// All are counted; the first are kept.
#[derive(Clone, Debug)]
pub struct Differences {
    pub first: Vec<Difference>,
    pub count: u64,
    most: usize,
}

impl Differences {
    pub fn at_most(most: usize) -> Differences {
        Differences { first: Vec::new(), count: 0, most }
    }

    pub fn push(&mut self, difference: Difference) {
        self.count += 1;
        if self.first.len() < self.most {
            self.first.push(difference);
        }
    }

    pub fn extend(&mut self, other: Differences) {
        let room = self.most.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
        self.count += other.count;
    }

    /// As empty as it was, and as large.
    pub fn like(&self) -> Differences {
        Differences::at_most(self.most)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { place, row, column, expected, found } = self;
        let space = if row.is_empty() { "" } else { " " };
        let (expected, found) = (shortened(expected), shortened(found));
        write!(f, "{place}{space}{row}\n    {column}: expected {expected}, found {found}")
    }
}

/// A value is cut where it is long: bytes of a sketch say nothing to people.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}... ({} bytes)", &text[..at], text.len()),
    }
}
