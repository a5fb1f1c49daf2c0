//! Bytes to the events of the three shipped sources, or the reason why not.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

use super::decimal::{Rounded, scaled};

pub type Reason = &'static str;

/// Largest scaled value of a field that has a histogram.
const HISTOGRAM_MAX: i128 = (1 << 42) - 1;
const ANY_MAX: i128 = i64::MAX as i128;
const ANY_MIN: i128 = i64::MIN as i128;
const MAX_AHEAD_US: i64 = 60_000_000;

#[derive(Clone, Debug)]
pub enum Event {
    Price(Price),
    Prediction(Prediction),
    Request(Request),
}

/// Decimals at scale 6.
#[derive(Clone, Debug)]
pub struct Price {
    pub event_us: i64,
    pub commodity: String,
    pub price: i128,
    pub currency: Option<String>,
    pub unit: Option<String>,
    pub region: Option<String>,
    pub volume: Option<i128>,
    pub source: Option<String>,
    /// Kafka timestamp minus event time in microseconds, 0 when negative.
    pub age_us: i128,
}

/// Decimals at scale 6, inference at 3.
#[derive(Clone, Debug)]
pub struct Prediction {
    pub event_us: i64,
    pub model: String,
    pub model_version: String,
    pub prediction: i128,
    pub inference: i128,
    pub confidence: Option<i128>,
    pub correct: Option<bool>,
    pub error: Option<String>,
}

/// Duration at scale 3.
#[derive(Clone, Debug)]
pub struct Request {
    pub event_us: i64,
    pub service: String,
    pub route: String,
    pub method: String,
    pub region: Option<String>,
    pub status: i128,
    pub duration: i128,
    pub bytes: Option<i128>,
    pub user_id: Option<String>,
}

impl Event {
    pub fn event_us(&self) -> i64 {
        match self {
            Event::Price(price) => price.event_us,
            Event::Prediction(prediction) => prediction.event_us,
            Event::Request(request) => request.event_us,
        }
    }
}

impl Request {
    /// `status >= 500 || status in [0, 408, 499]`
    pub fn failed(&self) -> bool {
        self.status >= 500 || [0, 408, 499].contains(&self.status)
    }
}

pub fn decode(topic: &str, timestamp_ms: i64, payload: &[u8]) -> Result<Event, Reason> {
    let text = std::str::from_utf8(payload).map_err(|_| "NOT_DECODABLE")?;
    let object: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(|_| "NOT_DECODABLE")?;
    let object = Object { fields: object };
    let event = match topic {
        "commodity-prices" => Event::Price(price(&object, timestamp_ms)?),
        "ml-predictions" => Event::Prediction(prediction(&object)?),
        "request-log" => Event::Request(request(&object)?),
        other => panic!("the oracle knows no topic {other}"),
    };
    if event.event_us() > timestamp_ms * 1000 + MAX_AHEAD_US {
        return Err("TOO_FAR_AHEAD");
    }
    Ok(event)
}

fn price(object: &Object, timestamp_ms: i64) -> Result<Price, Reason> {
    let event_us = object.timestamp("timestamp")?;
    let price = Price {
        event_us,
        commodity: object.text("commodity", usize::MAX)?,
        // More than 0, at scale 6: at least a millionth.
        price: object.decimal("price", 6, 1, ANY_MAX)?,
        currency: object.optional_text("currency")?,
        unit: object.optional_text("unit")?,
        region: object.optional_text("region")?,
        volume: object.optional_decimal("volume", 6, 0, ANY_MAX)?,
        source: object.optional_text("source")?,
        age_us: (i128::from(timestamp_ms) * 1000 - i128::from(event_us)).max(0),
    };
    if price.age_us > HISTOGRAM_MAX {
        return Err("OUT_OF_RANGE");
    }
    Ok(price)
}

fn prediction(object: &Object) -> Result<Prediction, Reason> {
    let prediction = Prediction {
        event_us: object.timestamp("ts")?,
        model: object.text("model", usize::MAX)?,
        model_version: object.text("model_version", usize::MAX)?,
        prediction: object.decimal("prediction", 6, ANY_MIN, ANY_MAX)?,
        inference: object.decimal("inference_ms", 3, 0, HISTOGRAM_MAX)?,
        confidence: object.optional_decimal("confidence", 6, 0, 1_000_000)?,
        correct: {
            object.optional_text("commodity")?;
            object.optional_decimal("actual", 6, ANY_MIN, ANY_MAX)?;
            object.optional_boolean("correct")?
        },
        error: object.optional_text("error")?,
    };
    object.optional_text("trace_id")?;
    Ok(prediction)
}

fn request(object: &Object) -> Result<Request, Reason> {
    let request = Request {
        event_us: object.timestamp("ts")?,
        service: object.text("service", usize::MAX)?,
        route: object.text("route", 256)?,
        method: object.text("method", usize::MAX)?.to_uppercase(),
        region: object.optional_text("region")?,
        status: object.integer("status", 0, 599)?.ok_or("MISSING_FIELD")?,
        duration: object.decimal("duration_ms", 3, 0, HISTOGRAM_MAX)?,
        bytes: object.integer("bytes", ANY_MIN, ANY_MAX)?,
        user_id: object.optional_text("user_id")?,
    };
    object.optional_text("trace_id")?;
    Ok(request)
}

struct Object {
    fields: BTreeMap<String, Box<RawValue>>,
}

impl Object {
    /// The field's JSON text; null is absent.
    fn raw(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(|raw| raw.get()).filter(|raw| *raw != "null")
    }

    fn timestamp(&self, field: &str) -> Result<i64, Reason> {
        let text = self.optional_text(field)?.ok_or("MISSING_FIELD")?;
        rfc3339_us(&text).ok_or("BAD_TIMESTAMP")
    }

    fn text(&self, field: &str, max_bytes: usize) -> Result<String, Reason> {
        let text = self.optional_text(field)?.ok_or("MISSING_FIELD")?;
        if text.is_empty() || text.len() > max_bytes { Err("OUT_OF_RANGE") } else { Ok(text) }
    }

    fn optional_text(&self, field: &str) -> Result<Option<String>, Reason> {
        match self.raw(field) {
            None => Ok(None),
            Some(raw) if raw.starts_with('"') => {
                serde_json::from_str(raw).map(Some).map_err(|_| "NOT_DECODABLE")
            }
            Some(_) => Err("WRONG_TYPE"),
        }
    }

    fn optional_boolean(&self, field: &str) -> Result<Option<bool>, Reason> {
        match self.raw(field) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err("WRONG_TYPE"),
        }
    }

    fn decimal(&self, field: &str, scale: i64, min: i128, max: i128) -> Result<i128, Reason> {
        self.optional_decimal(field, scale, min, max)?.ok_or("MISSING_FIELD")
    }

    fn optional_decimal(
        &self,
        field: &str,
        scale: i64,
        min: i128,
        max: i128,
    ) -> Result<Option<i128>, Reason> {
        let Some(number) = self.number(field, scale)? else { return Ok(None) };
        within(number.value(), min, max).map(Some)
    }

    fn integer(&self, field: &str, min: i128, max: i128) -> Result<Option<i128>, Reason> {
        match self.number(field, 0)? {
            None => Ok(None),
            Some(Rounded::Inexact(_)) => Err("WRONG_TYPE"),
            Some(number) => within(number.value(), min, max).map(Some),
        }
    }

    fn number(&self, field: &str, scale: i64) -> Result<Option<Rounded>, Reason> {
        match self.raw(field) {
            None => Ok(None),
            Some(raw) if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                Ok(Some(scaled(raw, scale)))
            }
            Some(_) => Err("WRONG_TYPE"),
        }
    }
}

fn within(value: Option<i128>, min: i128, max: i128) -> Result<i128, Reason> {
    value.filter(|value| (min..=max).contains(value)).ok_or("OUT_OF_RANGE")
}

/// Microseconds since 1970 of an RFC 3339 text, floored.
pub fn rfc3339_us(text: &str) -> Option<i64> {
    // jiff reads more than RFC 3339, so the shape is checked first.
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let rest = shape.strip_prefix("0000-00-00")?.strip_prefix(['T', 't', ' '])?.strip_prefix("00:00:00")?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) if fraction.starts_with('0') => fraction.trim_start_matches('0'),
        Some(_) => return None,
        None => rest,
    };
    if !["Z", "z", "+00:00", "-00:00"].contains(&zone) {
        return None;
    }
    let at: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(at.as_nanosecond().div_euclid(1000)).ok()
}
