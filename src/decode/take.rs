//! What a member of a record becomes where it is as it mostly is.

use super::ahead::Ahead;
use super::number::Plain;
use super::timestamp::{self, within_years};
use crate::core::event::Event;
use crate::core::source::{Bounds, Field, FieldKind, Slot, TimestampForm};

/// How the one field that takes a member's value takes it. Values that it leaves may still be right.
#[derive(Debug)]
pub(super) enum Take {
    /// A text of so many bytes, kept as it is.
    Text {
        slot: Slot,
        shortest: usize,
        longest: usize,
        upper: bool,
    },
    /// Units of 10^-`scale`, no digit of which is lost.
    Number {
        slot: Slot,
        scale: u32,
        bounds: Bounds,
    },
    Rfc3339 {
        slot: Slot,
    },
    /// Nothing is said beforehand.
    Other,
}

impl Take {
    pub fn of(field: &Field, slot: Slot) -> Take {
        match &field.kind {
            FieldKind::String { max_length, upper, map } if map.is_empty() => Take::Text {
                slot,
                shortest: usize::from(!field.optional),
                longest: max_length.map_or(usize::MAX, |most| most as usize),
                upper: *upper,
            },
            FieldKind::Integer(bounds) => Take::Number { slot, scale: 0, bounds: *bounds },
            FieldKind::Decimal { scale, bounds } => {
                Take::Number { slot, scale: u32::from(*scale), bounds: *bounds }
            }
            FieldKind::Timestamp(TimestampForm::Rfc3339) => Take::Rfc3339 { slot },
            FieldKind::String { .. } | FieldKind::Timestamp(_) | FieldKind::Boolean => Take::Other,
        }
    }

    /// Stores the value that begins `at` a place of the record, if not behind one space; gives the place behind
    /// the value. None: it is none of those that are taken, and nothing was stored.
    #[inline(always)]
    pub fn value(&self, record: Ahead<'_>, at: usize, event: &mut Event) -> Option<usize> {
        match *self {
            Take::Text { slot, shortest, longest, upper } => {
                let (start, end) = record.quoted(at)?;
                let fits = (shortest..=longest).contains(&(end - start));
                if !fits || (upper && !is_upper(record.text(start..end))) {
                    return None;
                }
                event.set_part(slot, start..end);
                Some(end + 1)
            }
            Take::Number { slot, scale, bounds } => {
                let at = record.space(at);
                let plain = Plain::at_start_of(record.bytes(at)?)?;
                let units = plain.scaled(scale).filter(|units| (bounds.min..=bounds.max).contains(units))?;
                event.set_number(slot, units);
                Some(at + plain.length)
            }
            Take::Rfc3339 { slot } => {
                let (start, end) = record.quoted(at)?;
                let at_us = timestamp::rfc3339_us(record.text(start..end)).and_then(within_years)?;
                event.set_number(slot, at_us);
                Some(end + 1)
            }
            Take::Other => None,
        }
    }
}

fn is_upper(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_lowercase())
}
