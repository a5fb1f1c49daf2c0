//! Records of `plimsoll-partials`.
//!
//! `[version][kind]`, then postcard: a spec is (offset of the rules, rules as JSON); a partial is (rules, worker, log
//! time), the number of deltas, the deltas, the clocks.

use std::sync::Arc;

use crate::core::partial::{Clock, Delta, LogRecord, Partial};
use crate::core::rules::Rules;

/// Written by this release, and the only one it reads.
pub const VERSION: u8 = 1;
const KIND_SPEC: u8 = 0;
const KIND_PARTIAL: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub enum PartialError {
    /// A newer release wrote it: wait for an upgrade, do not skip.
    #[error("wire version {found} is not known to this release, which reads {VERSION}: upgrade this replica")]
    UnknownVersion { found: u8 },
    #[error("not a record of the partials topic: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("the rules in a spec record cannot be read: {0}")]
    Rules(#[from] serde_json::Error),
}

/// Whose flush it is and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushHead {
    pub rules: i64,
    pub worker: u32,
    pub log_time_us: i64,
}

pub fn encode_spec(version: i64, rules: &Rules) -> Result<Vec<u8>, PartialError> {
    let json = serde_json::to_vec(rules)?;
    Ok(postcard::to_extend(&(version, json), vec![VERSION, KIND_SPEC])?)
}

/// One shard's part of a flush, in records of about `bytes` each: deltas first, the clocks in the last.
pub fn encode_flush(
    head: FlushHead,
    deltas: &[Delta],
    clocks: &[Clock],
    bytes: usize,
) -> Result<Vec<Vec<u8>>, PartialError> {
    let clocks = postcard::to_stdvec(clocks)?;
    let mut records = Vec::new();
    let mut body = Vec::new();
    let mut count = 0u32;
    for delta in deltas {
        body = postcard::to_extend(delta, body)?;
        count += 1;
        if body.len() + clocks.len() >= bytes {
            records.push(partial_record(head, count, &body, &[0])?);
            body.clear();
            count = 0;
        }
    }
    records.push(partial_record(head, count, &body, &clocks)?);
    Ok(records)
}

fn partial_record(
    head: FlushHead,
    count: u32,
    deltas: &[u8],
    clocks: &[u8],
) -> Result<Vec<u8>, PartialError> {
    let FlushHead { rules, worker, log_time_us } = head;
    let mut record = Vec::with_capacity(32 + deltas.len() + clocks.len());
    record.extend_from_slice(&[VERSION, KIND_PARTIAL]);
    record = postcard::to_extend(&(rules, worker, log_time_us, count), record)?;
    record.extend_from_slice(deltas);
    record.extend_from_slice(clocks);
    Ok(record)
}

pub fn decode(record: &[u8]) -> Result<LogRecord, PartialError> {
    let [version, kind, body @ ..] = record else {
        return Err(postcard::Error::DeserializeUnexpectedEnd.into());
    };
    if *version != VERSION {
        return Err(PartialError::UnknownVersion { found: *version });
    }
    match *kind {
        KIND_SPEC => {
            let (version, json): (i64, Vec<u8>) = postcard::from_bytes(body)?;
            Ok(LogRecord::Spec { version, rules: Arc::new(serde_json::from_slice(&json)?) })
        }
        KIND_PARTIAL => decode_partial(body).map(LogRecord::Partial),
        _ => Err(postcard::Error::DeserializeBadEnum.into()),
    }
}

fn decode_partial(body: &[u8]) -> Result<Partial, PartialError> {
    let ((rules, worker, log_time_us, count), mut rest) =
        postcard::take_from_bytes::<(i64, u32, i64, u32)>(body)?;
    // A count that lies must not reserve memory: a delta takes at least four bytes.
    let mut deltas = Vec::with_capacity((count as usize).min(rest.len() / 4));
    for _ in 0..count {
        let (delta, left) = postcard::take_from_bytes::<Delta>(rest)?;
        deltas.push(delta);
        rest = left;
    }
    let clocks = postcard::from_bytes::<Vec<Clock>>(rest)?;
    Ok(Partial { rules, worker, log_time_us, deltas, clocks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Key;
    use crate::core::partial::{CellsDelta, DeltaBody};
    use proptest::prelude::*;

    fn delta(n: i64) -> Delta {
        let key = Key::from_columns(&[format!("key-{n}")]);
        let cells = CellsDelta { cells: vec![(1, n as u64 + 1)], ..CellsDelta::default() };
        Delta { projection: 3, key, pane: n, body: DeltaBody::Cells(cells) }
    }

    fn clock() -> Clock {
        Clock {
            source: 0,
            partition: 3,
            partitions: 12,
            topic: 7,
            from: 10,
            to: 20,
            records: 10,
            dead_letters: 0,
            late: 0,
            shard_events: 4,
            max_event_us: Some(-5),
            min_event_us: Some(-9),
            idle: false,
            lag: 0,
            gap: None,
        }
    }

    #[test]
    fn a_flush_comes_back_whole_from_records_of_bounded_size() {
        let deltas: Vec<Delta> = (0..500).map(delta).collect();
        let head = FlushHead { rules: 4, worker: 9, log_time_us: -1 };
        let records = encode_flush(head, &deltas, &[clock()], 1_000).unwrap();
        assert!(records.len() > 5 && records.iter().all(|record| record.len() < 1_100));
        let mut seen = Vec::new();
        for (at, record) in records.iter().enumerate() {
            let LogRecord::Partial(partial) = decode(record).unwrap() else { panic!("a partial") };
            assert_eq!((partial.rules, partial.worker, partial.log_time_us), (4, 9, -1));
            assert_eq!(partial.clocks.len(), usize::from(at + 1 == records.len()));
            seen.extend(partial.deltas);
        }
        assert_eq!(seen, deltas);
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        assert!(matches!(decode(&[9, 1, 0]), Err(PartialError::UnknownVersion { found: 9 })));
        assert!(matches!(decode(&[VERSION]), Err(PartialError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut record = vec![VERSION, KIND_PARTIAL];
            record.extend(bytes);
            let _ = decode(&record);
        }
    }
}
