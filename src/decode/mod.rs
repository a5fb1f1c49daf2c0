//! Bytes -> [`Event`]: exactly the declared fields, each checked, or a reason that helps to mend the producer.
//!
//! Rules that hold for every format:
//! - Numbers go from their text to scaled integers; no float is involved.
//! - A record is an event when every declared field is right: an invalid optional field makes the record invalid too.
//! - When several fields are wrong, the one declared first is named, so a record has one reason however it is written.

mod ahead;
pub(crate) mod field;
mod json;
pub(crate) mod number;
mod scan;
mod take;
pub(crate) mod timestamp;

use crate::core::event::{Event, Invalid};
use crate::core::source::{Format, Source};

/// Decodes the records of one source. Made once, used for every record.
#[derive(Debug)]
pub enum Decoder {
    Json(json::Decoder),
}

impl Decoder {
    pub fn new(source: &Source) -> Decoder {
        match source.format {
            Format::Json => Decoder::Json(json::Decoder::new(source)),
        }
    }

    /// Fills `event` from a record's value; None is Kafka's null, a tombstone, which is no event.
    ///
    /// # Errors
    /// The reason and detail of the dead letter: `NOT_DECODABLE`, `MISSING_FIELD`, `WRONG_TYPE`, `OUT_OF_RANGE` or
    /// `BAD_TIMESTAMP`. `event` then holds nothing of use.
    pub fn decode(&self, payload: Option<&[u8]>, event: &mut Event) -> Result<(), Invalid> {
        let Some(payload) = payload else {
            return Err(field::not_decodable("expected a record, found a null value (a tombstone)"));
        };
        match self {
            Decoder::Json(decoder) => decoder.decode(payload, event),
        }
    }
}
