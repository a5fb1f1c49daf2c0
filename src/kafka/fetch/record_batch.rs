//! The bytes a log is kept in: batches of records, format 2.
//!
//! Layout: <https://kafka.apache.org/documentation/#messageformat>.

use super::inflate::Codec;

/// A batch or a record that is not what the format says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::kafka) enum Damaged {
    #[error(
        "the batch at offset {offset} has message format {magic}, which only `kafka.direct_fetch: false` reads"
    )]
    OldFormat { offset: i64, magic: u8 },
    #[error("the batch at offset {offset} does not match its checksum")]
    Checksum { offset: i64 },
    #[error("the batch at offset {offset} cannot be read: {reason}")]
    Malformed { offset: i64, reason: String },
}

impl Damaged {
    pub fn offset(&self) -> i64 {
        match self {
            Damaged::OldFormat { offset, .. }
            | Damaged::Checksum { offset }
            | Damaged::Malformed { offset, .. } => *offset,
        }
    }
}

/// What stands before the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHead {
    pub base_offset: i64,
    /// Compaction may have taken the record itself.
    pub last_offset: i64,
    pub codec: Option<Codec>,
    pub is_transactional: bool,
    /// Markers of transactions, for nobody to read.
    pub is_control: bool,
    pub producer_id: i64,
    /// Each record's own is a difference to it.
    pub base_timestamp_ms: i64,
    /// The one timestamp of all records, where the topic keeps the time of appending.
    pub append_timestamp_ms: Option<i64>,
    pub count: i32,
}

const HEAD_BYTES: usize = 61;
/// Base offset and length, which the length does not count.
const PREFIX_BYTES: usize = 12;
/// What the checksum covers begins here.
const CHECKED_FROM: usize = 21;
const MAGIC: u8 = 2;

impl BatchHead {
    /// The first batch of `log`, without its records: what it is and how many bytes it takes. None: `log` ends before
    /// the batch does, as a broker may cut it.
    pub fn first(log: &[u8]) -> Result<Option<(BatchHead, usize)>, Damaged> {
        let Some(head) = log.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let base_offset = i64::from_be_bytes(part(head, 0));
        let magic = head[16];
        if magic != MAGIC {
            return Err(Damaged::OldFormat { offset: base_offset, magic });
        }
        let length = usize::try_from(i32::from_be_bytes(part(head, 8))).unwrap_or(0);
        let bytes = PREFIX_BYTES + length;
        if bytes < HEAD_BYTES {
            let reason = format!("{length} bytes are no batch");
            return Err(Damaged::Malformed { offset: base_offset, reason });
        }
        if log.len() < bytes {
            return Ok(None);
        }
        let attributes = i16::from_be_bytes(part(head, 21));
        let codec = Codec::of(attributes).map_err(|number| Damaged::Malformed {
            offset: base_offset,
            reason: format!("compression {number} is not known"),
        })?;
        let has_append_time = attributes & 0x08 != 0;
        let head = BatchHead {
            base_offset,
            last_offset: base_offset.saturating_add(i32::from_be_bytes(part(head, 23)).into()),
            codec,
            is_transactional: attributes & 0x10 != 0,
            is_control: attributes & 0x20 != 0,
            base_timestamp_ms: i64::from_be_bytes(part(head, 27)),
            append_timestamp_ms: has_append_time.then(|| i64::from_be_bytes(part(head, 35))),
            producer_id: i64::from_be_bytes(part(head, 43)),
            count: i32::from_be_bytes(part(head, 57)),
        };
        Ok(Some((head, bytes)))
    }

    /// Checks a whole batch against its checksum and gives where its records begin.
    pub fn check(self, batch: &[u8]) -> Result<usize, Damaged> {
        let told =
            batch.get(17..CHECKED_FROM).and_then(<[u8]>::first_chunk).map(|four| u32::from_be_bytes(*four));
        let found = batch.get(CHECKED_FROM..).map(crc32c::crc32c);
        if told.is_none() || told != found {
            return Err(Damaged::Checksum { offset: self.base_offset });
        }
        Ok(HEAD_BYTES)
    }
}

fn part<const N: usize>(head: &[u8; HEAD_BYTES], from: usize) -> [u8; N] {
    std::array::from_fn(|at| head[from + at])
}

/// One record as it lies in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawRecord<'a> {
    pub offset_delta: i64,
    pub timestamp_delta_ms: i64,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    /// Their number and then each, still to be read.
    pub headers: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// The record that `bytes` begin with, and what comes after it. None: that is no record.
    #[inline]
    pub fn first(bytes: &'a [u8]) -> Option<(RawRecord<'a>, &'a [u8])> {
        let (length, rest) = varint(bytes)?;
        let (record, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let (_attributes, rest) = record.split_first()?;
        let (timestamp_delta_ms, rest) = varint(rest)?;
        let (offset_delta, rest) = varint(rest)?;
        let (key, rest) = sized(rest)?;
        let (payload, headers) = sized(rest)?;
        Some((RawRecord { offset_delta, timestamp_delta_ms, key, payload, headers }, after))
    }
}

/// The headers of a record, in order. What is not readable ends them.
#[derive(Debug, Clone, Default)]
pub(in crate::kafka) struct RawHeaders<'a> {
    left: i64,
    bytes: &'a [u8],
}

impl<'a> RawHeaders<'a> {
    pub fn new(headers: &'a [u8]) -> RawHeaders<'a> {
        let (left, bytes) = varint(headers).unwrap_or((0, &[]));
        RawHeaders { left, bytes }
    }
}

impl<'a> Iterator for RawHeaders<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let (name, rest) = sized(self.bytes)?;
        let (value, rest) = sized(rest)?;
        self.bytes = rest;
        // Kafka says names are UTF-8; one that is not is still shown, without a name.
        Some((std::str::from_utf8(name.unwrap_or_default()).unwrap_or_default(), value))
    }
}

/// Bytes behind their number; a negative number stands for none at all.
#[inline]
fn sized(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = varint(bytes)?;
    if length < 0 {
        return Some((None, rest));
    }
    let (part, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(part), rest))
}

/// A zigzag number in groups of seven bits, the lowest first.
#[inline]
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((zigzag(first.into()), rest));
    }
    let (&second, rest) = rest.split_first()?;
    if second < 0x80 {
        return Some((zigzag(u64::from(first & 0x7f) | u64::from(second) << 7), rest));
    }
    long_varint(bytes)
}

fn long_varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((zigzag(value), &bytes[at + 1..]));
        }
    }
    None
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::indexmap::IndexMap;
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };
    use proptest::prelude::*;

    use super::*;

    fn record(offset: i64, timestamp: i64, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Record {
        let name = kafka_protocol::protocol::StrBytes::from_static_str("ce_type");
        Record {
            transactional: true,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: 77,
            producer_epoch: 1,
            timestamp_type: TimestampType::Creation,
            offset,
            sequence: i32::try_from(offset).unwrap(),
            timestamp,
            headers: IndexMap::from([(name, value.clone().map(Bytes::from))]),
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
        }
    }

    /// Another's writer of the format.
    fn written(records: &[Record]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, records, &options).unwrap();
        bytes.to_vec()
    }

    type Read = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

    fn read(batch: &[u8]) -> Result<Vec<Read>, Damaged> {
        let (head, bytes) = BatchHead::first(batch)?.unwrap();
        assert_eq!((bytes, head.codec, head.producer_id), (batch.len(), None, 77));
        assert!(head.is_transactional && !head.is_control);
        let mut rest = &batch[head.check(batch)?..];
        let mut records = Vec::new();
        while let Some((record, after)) = RawRecord::first(rest) {
            let headers = RawHeaders::new(record.headers);
            records.push((
                head.base_offset + record.offset_delta,
                head.base_timestamp_ms + record.timestamp_delta_ms,
                record.key.map(<[u8]>::to_vec),
                record.payload.map(<[u8]>::to_vec),
                headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect(),
            ));
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(records.len(), usize::try_from(head.count).unwrap());
        assert_eq!(records.last().map(|record| record.0), Some(head.last_offset));
        Ok(records)
    }

    fn optional_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))
    }

    proptest! {
        #[test]
        fn what_another_wrote_is_read(
            first in 0..1_000_000_000i64,
            drawn in proptest::collection::vec((0..100_000_000_000i64, optional_bytes(), optional_bytes()), 1..40),
        ) {
            let records: Vec<Record> = (first..)
                .zip(&drawn)
                .map(|(offset, (timestamp, key, value))| record(offset, *timestamp, key.clone(), value.clone()))
                .collect();
            let expected: Vec<Read> = records
                .iter()
                .zip(&drawn)
                .map(|(record, (timestamp, key, value))| {
                    let headers = vec![("ce_type".to_owned(), value.clone())];
                    (record.offset, *timestamp, key.clone(), value.clone(), headers)
                })
                .collect();
            prop_assert_eq!(read(&written(&records)).unwrap(), expected);
        }

        #[test]
        fn bytes_of_any_kind_are_refused_and_not_followed(mut batch in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(magic) = batch.get_mut(16) {
                *magic = MAGIC;
            }
            if let Ok(Some((head, bytes))) = BatchHead::first(&batch) {
                prop_assert!(bytes <= batch.len());
                prop_assert!(head.check(&batch[..bytes]).is_err());
            }
            let mut rest = batch.as_slice();
            while let Some((record, after)) = RawRecord::first(rest) {
                let _ = RawHeaders::new(record.headers).count();
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found_and_a_cut_batch_waited_for() {
        let batch = written(&[record(5, 10, None, Some(b"value".to_vec()))]);
        for cut in [0, 11, 60, 61, batch.len() - 1] {
            assert_eq!(BatchHead::first(&batch[..cut]), Ok(None), "{cut}");
        }
        let mut flipped = batch.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let (head, _) = BatchHead::first(&flipped).unwrap().unwrap();
        assert_eq!(head.check(&flipped), Err(Damaged::Checksum { offset: 5 }));
        let mut old = batch;
        old[16] = 1;
        let error = BatchHead::first(&old).unwrap_err();
        assert!(error.to_string().contains("`kafka.direct_fetch: false`"), "{error}");
    }

    #[test]
    fn one_timestamp_of_appending_stands_for_all() {
        let mut batch = written(&[record(5, 10, None, None), record(6, 30, None, None)]);
        batch[22] |= 0x08;
        let (head, _) = BatchHead::first(&batch).unwrap().unwrap();
        assert_eq!((head.base_timestamp_ms, head.append_timestamp_ms), (10, Some(30)));
    }
}
