//! Records that are no event, each with one fault and known by its kind.

use super::dice::Dice;
use super::options::Topic;
use crate::core::event::Reason;

/// What is wrong with a bad record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bad {
    /// JSON that breaks off.
    Truncated,
    /// A required field left out or null.
    MissingField,
    /// A number where text belongs, or the other way round.
    WrongType,
    /// A negative price, a status of 700, a confidence above 1.
    OutOfRange,
    /// A text that is no RFC 3339 time.
    BadTimestamp,
    /// An event time in 2099.
    TooFarAhead,
}

impl Bad {
    pub const ALL: [Bad; 6] = [
        Bad::Truncated,
        Bad::MissingField,
        Bad::WrongType,
        Bad::OutOfRange,
        Bad::BadTimestamp,
        Bad::TooFarAhead,
    ];

    /// The reason it goes to the dead letters.
    pub fn reason(self) -> Reason {
        match self {
            Bad::Truncated => Reason::NotDecodable,
            Bad::MissingField => Reason::MissingField,
            Bad::WrongType => Reason::WrongType,
            Bad::OutOfRange => Reason::OutOfRange,
            Bad::BadTimestamp => Reason::BadTimestamp,
            Bad::TooFarAhead => Reason::TooFarAhead,
        }
    }

    /// The field at fault; none for a record that is cut off after it is written.
    pub fn fault(self, dice: &mut Dice, topic: Topic) -> Option<Fault> {
        let faults = faults(topic);
        let replaced = |(field, value): (&'static str, &'static str)| Fault { field, instead: Some(value) };
        Some(match self {
            Bad::Truncated => return None,
            Bad::MissingField => {
                let field = dice.pick(faults.required);
                Fault { field, instead: dice.chance(0.3).then_some("null") }
            }
            Bad::WrongType => replaced(dice.pick(faults.wrong_type)),
            Bad::OutOfRange => replaced(dice.pick(faults.out_of_range)),
            Bad::BadTimestamp => replaced((faults.required[0], dice.pick(BAD_TIMES))),
            Bad::TooFarAhead => replaced((faults.required[0], dice.pick(FAR_TIMES))),
        })
    }
}

/// A field left out, or its value replaced.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub field: &'static str,
    /// JSON to write; None leaves the field out.
    pub instead: Option<&'static str>,
}

struct Faults {
    /// The event time stands first.
    required: &'static [&'static str],
    wrong_type: &'static [(&'static str, &'static str)],
    out_of_range: &'static [(&'static str, &'static str)],
}

const BAD_TIMES: &[&str] =
    &["\"yesterday\"", "\"2025-13-01T00:00:00Z\"", "\"2025-02-30T10:00:00Z\"", "\"31/10/2025 02:00\""];
const FAR_TIMES: &[&str] = &["\"2099-01-01T00:00:00Z\"", "\"2099-12-31T23:59:59.999+02:00\""];

fn faults(topic: Topic) -> Faults {
    match topic {
        Topic::Prices => Faults {
            required: &["timestamp", "commodity", "price"],
            wrong_type: &[("price", "\"n/a\""), ("commodity", "7"), ("price", "[1]"), ("volume", "true")],
            out_of_range: &[("price", "-12.50"), ("price", "0"), ("price", "0.0000001"), ("volume", "-3")],
        },
        Topic::Predictions => Faults {
            required: &["ts", "model", "model_version", "prediction", "inference_ms"],
            wrong_type: &[
                ("prediction", "\"high\""),
                ("model_version", "3"),
                ("correct", "\"maybe\""),
                ("confidence", "{}"),
            ],
            out_of_range: &[("confidence", "1.5"), ("inference_ms", "-0.001"), ("confidence", "-0.1")],
        },
        Topic::Requests => Faults {
            required: &["ts", "service", "route", "method", "status", "duration_ms"],
            wrong_type: &[
                ("status", "\"OK\""),
                ("service", "false"),
                ("duration_ms", "\"fast\""),
                ("user_id", "42"),
            ],
            out_of_range: &[("status", "700"), ("status", "-1"), ("duration_ms", "-5.000")],
        },
    }
}
