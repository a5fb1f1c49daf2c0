//! What one fetch brought of one partition, handed out record by record.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Buf, Bytes};

use super::inflate::Inflated;
use super::record_batch::{BatchHead, Damaged, RawRecord};
use crate::kafka::TopicPartition;
use crate::kafka::record::{HeadersIn, Record};

/// Some whole batches of one partition and what of them is to be handed out.
#[derive(Debug)]
pub(super) struct Chunk {
    pub partition: TopicPartition,
    /// The run of the partition it was fetched for.
    pub run: u64,
    /// A batch may begin before what was asked for.
    from: i64,
    /// Batches that are not opened yet.
    log: Bytes,
    /// First offset and producer of each transaction that was aborted, by offset.
    aborted: VecDeque<(i64, i64)>,
    /// Producers whose open transaction was aborted.
    aborting: BTreeSet<i64>,
    open: Option<Open>,
}

/// A batch whose records are being handed out.
#[derive(Debug)]
struct Open {
    /// The records, where they were not compressed; else they lie in the buffer that all chunks share.
    plain: Option<Bytes>,
    place: Place,
}

/// How far the records of a batch are handed out.
#[derive(Debug)]
struct Place {
    head: BatchHead,
    at: usize,
    left: i32,
}

impl Chunk {
    /// Of `log`, the batches that are whole, and the offset after them. What is damaged is an error where `log` begins with
    /// it; else it is left for the next fetch, and what comes before it is handed out first.
    pub fn new(
        partition: TopicPartition,
        run: u64,
        from: i64,
        mut log: Bytes,
        mut aborted: Vec<(i64, i64)>,
    ) -> Result<(Chunk, i64), Damaged> {
        let (mut whole, mut next) = (0, from);
        loop {
            let (head, bytes) = match BatchHead::first(&log[whole..]) {
                Ok(Some(first)) => first,
                Err(damaged) if whole == 0 => return Err(damaged),
                Ok(None) | Err(_) => break,
            };
            whole += bytes;
            next = next.max(head.last_offset.saturating_add(1));
        }
        if whole == 0 {
            // A broker sends its first batch whole, however large.
            return Err(Damaged::Malformed {
                offset: from,
                reason: format!("{} bytes are no batch", log.len()),
            });
        }
        log.truncate(whole);
        aborted.sort_unstable();
        let (aborted, aborting) = (aborted.into(), BTreeSet::new());
        Ok((Chunk { partition, run, from, log, aborted, aborting, open: None }, next))
    }

    /// Hands out `max` records at most and says how many; fewer: the chunk has no more. `inflated` is the same buffer
    /// with each call.
    pub fn hand_out(
        &mut self,
        max: usize,
        inflated: &mut Inflated,
        each: &mut impl FnMut(Record<'_>),
    ) -> Result<usize, Damaged> {
        let mut count = 0;
        while count < max {
            if self.open.is_none() {
                self.open = match self.next_batch(inflated)? {
                    Some(open) => Some(open),
                    None => return Ok(count),
                };
            }
            if let Some(open) = &mut self.open {
                let records = open.plain.as_deref().unwrap_or(inflated.bytes());
                let (partition, from, max) = (&self.partition, self.from, max - count);
                count += open.place.hand_out(partition, from, records, max, count > 0, each)?;
                if open.place.left <= 0 {
                    self.open = None;
                }
            }
        }
        Ok(count)
    }

    /// Opens the next batch that is for someone to read.
    fn next_batch(&mut self, inflated: &mut Inflated) -> Result<Option<Open>, Damaged> {
        while let Some((head, bytes)) = BatchHead::first(&self.log)? {
            let mut batch = self.log.split_to(bytes);
            batch.advance(head.check(&batch)?);
            if self.is_aborted(head, &batch) || head.is_control || head.last_offset < self.from {
                continue;
            }
            let plain = match head.codec {
                None => Some(batch),
                Some(codec) => {
                    inflated.fill(codec, &batch).map_err(|error| Damaged::Malformed {
                        offset: head.base_offset,
                        reason: format!("{codec:?}: {error}"),
                    })?;
                    None
                }
            };
            return Ok(Some(Open { plain, place: Place { head, at: 0, left: head.count } }));
        }
        Ok(None)
    }

    /// Follows the transactions that were aborted: from the first record of each to its marker.
    fn is_aborted(&mut self, head: BatchHead, records: &[u8]) -> bool {
        while let Some((_, producer)) = self.aborted.pop_front_if(|(first, _)| *first <= head.last_offset) {
            self.aborting.insert(producer);
        }
        if head.is_control {
            if is_abort(records) {
                self.aborting.remove(&head.producer_id);
            }
            return false;
        }
        head.is_transactional && self.aborting.contains(&head.producer_id)
    }
}

/// A marker's key is its version and its kind; kind 0 aborts.
fn is_abort(records: &[u8]) -> bool {
    let marker = RawRecord::first(records).and_then(|(marker, _)| marker.key);
    marker.is_some_and(|key| key.get(2..4) == Some(&[0, 0]))
}

impl Place {
    fn hand_out(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        records: &[u8],
        max: usize,
        mut goes_on: bool,
        each: &mut impl FnMut(Record<'_>),
    ) -> Result<usize, Damaged> {
        let (mut rest, mut count) = (records.get(self.at..).unwrap_or_default(), 0);
        let head = self.head;
        while count < max && self.left > 0 {
            let Some((raw, after)) = RawRecord::first(rest) else {
                let reason = format!("{} of {} records are missing", self.left, head.count);
                return Err(Damaged::Malformed { offset: head.base_offset, reason });
            };
            (rest, self.left) = (after, self.left - 1);
            let offset = head.base_offset.saturating_add(raw.offset_delta);
            if offset < from {
                continue;
            }
            let made_ms = head.base_timestamp_ms.saturating_add(raw.timestamp_delta_ms);
            let timestamp_ms = Some(head.append_timestamp_ms.unwrap_or(made_ms)).filter(|ms| *ms >= 0);
            let record = Record::new(&partition.topic, partition.partition, offset, raw.key, raw.payload);
            let mut record = record.with(HeadersIn::Batch(raw.headers), timestamp_ms);
            record.goes_on = goes_on;
            goes_on = true;
            each(record);
            count += 1;
        }
        self.at = records.len() - rest.len();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::records::{
        Compression, Record as Written, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    use super::*;

    fn batch(offset: i64) -> BytesMut {
        let record = Written {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset,
            sequence: -1,
            timestamp: 7,
            key: None,
            value: Some(Bytes::from_static(b"value")),
            headers: Default::default(),
        };
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, &[record], &options).unwrap();
        bytes
    }

    fn chunk(from: i64, log: &[u8]) -> Result<(Chunk, i64), Damaged> {
        Chunk::new(TopicPartition::new("t", 0), 1, from, Bytes::copy_from_slice(log), Vec::new())
    }

    #[test]
    fn what_comes_before_a_damaged_batch_is_handed_out_first() {
        let mut old = batch(6);
        old[16] = 1;
        let (mut chunk_before, next) = chunk(5, &[&batch(5)[..], &old].concat()).unwrap();
        assert_eq!(next, 6);
        let mut offsets = Vec::new();
        chunk_before
            .hand_out(9, &mut Inflated::default(), &mut |record| offsets.push(record.offset))
            .unwrap();
        assert_eq!(offsets, [5]);
        assert_eq!(chunk(6, &old).unwrap_err(), Damaged::OldFormat { offset: 6, magic: 1 });
    }

    #[test]
    fn a_batch_with_a_flipped_bit_is_not_handed_out() {
        let mut flipped = batch(5);
        *flipped.last_mut().unwrap() ^= 1;
        let (mut chunk, _) = chunk(5, &flipped).unwrap();
        let handed_out = chunk.hand_out(9, &mut Inflated::default(), &mut |_| panic!("handed out"));
        assert_eq!(handed_out, Err(Damaged::Checksum { offset: 5 }));
    }
}
