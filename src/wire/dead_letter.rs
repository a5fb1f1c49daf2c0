//! Records of `plimsoll-dead-letters`. Headers: where a record stood and why it is no event. Key and value: its original
//! bytes, or of what is larger than the topic takes its beginning and, as one more header, how long it was.

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

/// What a letter has of its record's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Bytes of the original, where less was kept.
    cut_key: Option<usize>,
    cut_value: Option<usize>,
}

impl Kept {
    /// All of both, or as much as fits into `room_bytes` together.
    pub fn of(key: Option<&[u8]>, value: Option<&[u8]>, room_bytes: usize) -> Kept {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        // A value of any length leaves the key half of the room: it says where the record came from.
        let for_key = (room_bytes / 2).max(room_bytes.saturating_sub(length(value)));
        let (key, cut_key) = beginning(key, for_key);
        let (value, cut_value) = beginning(value, room_bytes - key.as_ref().map_or(0, Vec::len));
        Kept { key, value, cut_key, cut_value }
    }

    /// To be added to [`headers`].
    pub fn headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let lengths = [(ORIGINAL_BYTES, self.cut_value), ("original_key_bytes", self.cut_key)];
        let header = |(name, length): (_, Option<usize>)| Some((name, length?.to_string().into_bytes()));
        lengths.into_iter().filter_map(header).collect()
    }

    pub fn bytes(&self) -> usize {
        [&self.key, &self.value].into_iter().flatten().map(Vec::len).sum()
    }
}

/// The header that says how long the value was of which a letter has the beginning only.
pub const ORIGINAL_BYTES: &str = "original_bytes";

fn beginning(bytes: Option<&[u8]>, most: usize) -> (Option<Vec<u8>>, Option<usize>) {
    match bytes {
        None => (None, None),
        Some(bytes) if bytes.len() <= most => (Some(bytes.to_vec()), None),
        Some(bytes) => (Some(bytes[..most].to_vec()), Some(bytes.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths kept of the key and the value, and the headers.
    fn kept(key: usize, value: usize, room_bytes: usize) -> (usize, usize, Vec<String>) {
        let kept = Kept::of(Some(&vec![1; key]), Some(&vec![2; value]), room_bytes);
        let text = |(name, value): (&str, Vec<u8>)| format!("{name}={}", String::from_utf8(value).unwrap());
        assert!(kept.bytes() <= room_bytes);
        let headers = kept.headers().into_iter().map(text).collect();
        (kept.key.unwrap().len(), kept.value.unwrap().len(), headers)
    }

    #[test]
    fn what_fits_is_whole_and_of_the_rest_its_length_is_told() {
        assert_eq!(kept(10, 90, 100), (10, 90, vec![]));
        assert_eq!(kept(99, 1, 100), (99, 1, vec![]));
        assert_eq!(kept(10, 91, 100), (10, 90, vec!["original_bytes=91".to_owned()]));
        assert_eq!(kept(91, 10, 100), (90, 10, vec!["original_key_bytes=91".to_owned()]));
        let both = vec!["original_bytes=5000".to_owned(), "original_key_bytes=600".to_owned()];
        assert_eq!(kept(600, 5_000, 100), (50, 50, both.clone()));
        assert_eq!(kept(600, 5_000, 0), (0, 0, both));
    }

    #[test]
    fn what_is_absent_stays_absent() {
        let kept = Kept::of(None, None, 10);
        assert_eq!((&kept, kept.headers(), kept.bytes()), (&Kept::default(), vec![], 0));
    }
}
