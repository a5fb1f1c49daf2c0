//! A decoded record: its slots' values in reused buffers.

use std::ops::Range;

use super::source::Slot;

/// The value of one slot. Decimals, timestamps (microseconds) and booleans (0, 1) are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Absent,
    Number(i64),
    Text(&'a str),
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Absent,
    Number(i64),
    /// A part of the record itself.
    Part {
        start: u32,
        end: u32,
    },
    /// A part of what was made of it.
    Text {
        start: u32,
        end: u32,
    },
}

/// Reused for every record, so that decoding one allocates nothing once the buffers have grown.
#[derive(Clone, Debug, Default)]
pub struct Event {
    cells: Vec<Cell>,
    record: String,
    text: String,
}

impl Event {
    /// Forgets the last record; every one of `slots` slots is absent.
    pub fn clear(&mut self, slots: usize) {
        self.cells.clear();
        self.cells.resize(slots, Cell::Absent);
        self.text.clear();
    }

    /// The same, and lends out the buffer for the next record's text until that is [kept](Event::keep).
    pub fn begin(&mut self, slots: usize) -> String {
        self.clear(slots);
        std::mem::take(&mut self.record)
    }

    /// Takes back the text that [`set_part`](Event::set_part) speaks of.
    pub fn keep(&mut self, record: String) {
        self.record = record;
    }

    #[inline]
    pub fn set_number(&mut self, slot: Slot, number: i64) {
        self.cells[slot] = Cell::Number(number);
    }

    pub fn set_absent(&mut self, slot: Slot) {
        self.cells[slot] = Cell::Absent;
    }

    /// Copies `text` into the event. Records are below 4 GiB (Kafka's own limit is 2 GiB), so `u32` holds the ends.
    pub fn set_text(&mut self, slot: Slot, text: &str) {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        self.cells[slot] = Cell::Text { start, end: self.text.len() as u32 };
    }

    /// The slot holds a part of the record's text, which is kept before the slot is looked at.
    #[inline]
    pub fn set_part(&mut self, slot: Slot, part: Range<usize>) {
        self.cells[slot] = Cell::Part { start: part.start as u32, end: part.end as u32 };
    }

    #[inline(always)]
    pub fn value(&self, slot: Slot) -> Value<'_> {
        match self.cells[slot] {
            Cell::Absent => Value::Absent,
            Cell::Number(number) => Value::Number(number),
            Cell::Part { start, end } => Value::Text(&self.record[start as usize..end as usize]),
            Cell::Text { start, end } => Value::Text(&self.text[start as usize..end as usize]),
        }
    }

    #[inline]
    pub fn is_absent(&self, slot: Slot) -> bool {
        matches!(self.cells[slot], Cell::Absent)
    }

    #[inline]
    pub fn number(&self, slot: Slot) -> Option<i64> {
        match self.cells[slot] {
            Cell::Number(number) => Some(number),
            Cell::Absent | Cell::Part { .. } | Cell::Text { .. } => None,
        }
    }
}

/// Why a record went to the dead letters. The names are the contract of the `reason` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    NotDecodable,
    MissingField,
    WrongType,
    OutOfRange,
    BadTimestamp,
    TooFarAhead,
    TooLate,
    TooLarge,
    UnknownSchema,
    HourGone,
}

impl Reason {
    pub const ALL: [Reason; 10] = [
        Reason::NotDecodable,
        Reason::MissingField,
        Reason::WrongType,
        Reason::OutOfRange,
        Reason::BadTimestamp,
        Reason::TooFarAhead,
        Reason::TooLate,
        Reason::TooLarge,
        Reason::UnknownSchema,
        Reason::HourGone,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reason::NotDecodable => "NOT_DECODABLE",
            Reason::MissingField => "MISSING_FIELD",
            Reason::WrongType => "WRONG_TYPE",
            Reason::OutOfRange => "OUT_OF_RANGE",
            Reason::BadTimestamp => "BAD_TIMESTAMP",
            Reason::TooFarAhead => "TOO_FAR_AHEAD",
            Reason::TooLate => "TOO_LATE",
            Reason::TooLarge => "TOO_LARGE",
            Reason::UnknownSchema => "UNKNOWN_SCHEMA",
            Reason::HourGone => "HOUR_GONE",
        }
    }
}

/// A record that is not an event, and what a person needs to mend its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub reason: Reason,
    pub detail: String,
}
