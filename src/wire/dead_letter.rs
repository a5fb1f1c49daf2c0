//! Headers of `plimsoll-dead-letters`: where a record stood and why it is no event. The value is its original bytes.

use crate::core::event::Invalid;

/// Longest detail written, in bytes: it may quote the record.
const DETAIL_BYTES: usize = 1_000;

/// Name and text of each header. The record's own Kafka timestamp is one of them: the letter's is when it was written,
/// or a replay of old data would be past its retention at once.
pub fn headers(
    topic: &str,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    invalid: &Invalid,
) -> Vec<(&'static str, Vec<u8>)> {
    let mut end = invalid.detail.len().min(DETAIL_BYTES);
    while !invalid.detail.is_char_boundary(end) {
        end -= 1;
    }
    let mut headers = vec![
        ("topic", topic.as_bytes().to_vec()),
        ("partition", partition.to_string().into_bytes()),
        ("offset", offset.to_string().into_bytes()),
        ("reason", invalid.reason.name().as_bytes().to_vec()),
        ("detail", invalid.detail.as_bytes()[..end].to_vec()),
    ];
    headers.extend(timestamp_ms.map(|ms| ("timestamp_ms", ms.to_string().into_bytes())));
    headers
}
