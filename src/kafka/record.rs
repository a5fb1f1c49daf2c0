//! One record as it came from a broker, whichever way.

use super::batch::{ClientHeaders, ClientMessage};
use super::fetch::RawHeaders;

/// One record, borrowed from what was fetched for as long as the callback runs.
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970; `None` when the record carries no timestamp.
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    /// `None`: a tombstone.
    pub payload: Option<&'a [u8]>,
    /// It is of the same partition as the one handed out before it in the same call.
    pub goes_on: bool,
    headers_in: HeadersIn<'a>,
}

/// Where the headers are, parsed only when asked for.
#[derive(Clone, Copy)]
pub(super) enum HeadersIn<'a> {
    Nothing,
    Message(ClientMessage<'a>),
    Batch(&'a [u8]),
}

impl<'a> Record<'a> {
    /// A record from memory, without headers and timestamp.
    pub fn new(
        topic: &'a str,
        partition: i32,
        offset: i64,
        key: Option<&'a [u8]>,
        payload: Option<&'a [u8]>,
    ) -> Record<'a> {
        let headers_in = HeadersIn::Nothing;
        Record { topic, partition, offset, timestamp_ms: None, key, payload, goes_on: false, headers_in }
    }

    /// The same record with where its headers are and its timestamp.
    pub(super) fn with(self, headers_in: HeadersIn<'a>, timestamp_ms: Option<i64>) -> Record<'a> {
        Record { timestamp_ms, headers_in, ..self }
    }

    /// The headers, in order.
    pub fn headers(&self) -> Headers<'a> {
        match self.headers_in {
            HeadersIn::Nothing => Headers(Listed::Batch(RawHeaders::default())),
            HeadersIn::Message(message) => Headers(Listed::Message(message.headers())),
            HeadersIn::Batch(bytes) => Headers(Listed::Batch(RawHeaders::new(bytes))),
        }
    }
}

/// Iterator over `(name, value)`.
pub struct Headers<'a>(Listed<'a>);

enum Listed<'a> {
    Message(ClientHeaders<'a>),
    Batch(RawHeaders<'a>),
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Listed::Message(headers) => headers.next(),
            Listed::Batch(headers) => headers.next(),
        }
    }
}
