//! Records of the past, decoded and folded by one worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::backtest::{Record, Starts};
use super::evaluate::Flushed;
use super::stage::flush;
use crate::core::aggregate::Position;
use crate::core::event::{Event, Invalid, Reason};
use crate::core::fold::{Assigned, Fold, PartitionId};
use crate::core::plan::Plan;
use crate::core::time::SECOND_US;
use crate::decode::Decoder;

/// Folds the partitions it was given; any number of these may share out the partitions of a backtest.
pub struct Ingest {
    fold: Fold,
    /// By topic.
    sources: BTreeMap<String, u16>,
    decoders: Vec<Decoder>,
    event: Event,
    record_bytes: usize,
    refused: Refused,
}

/// Records that would have gone to the dead letters, by reason.
pub type Refused = BTreeMap<&'static str, u64>;

impl Ingest {
    pub(super) fn new(plan: &Arc<Plan>, record_bytes: usize) -> Ingest {
        let sources = &plan.rules.sources;
        Ingest {
            sources: (0..).zip(sources).map(|(at, source)| (source.topic.clone(), at)).collect(),
            decoders: sources.iter().map(Decoder::new).collect(),
            fold: Fold::new(Arc::clone(plan), 1),
            event: Event::default(),
            record_bytes,
            refused: Refused::new(),
        }
    }

    /// Begins with `partition` of a topic at the log time `now_s`. `starts` holds the first offsets of all partitions.
    pub fn assign(&mut self, topic: &str, partition: i32, starts: &Starts, now_s: i64) {
        let (Some(&source), Some(starts)) = (self.sources.get(topic), starts.get(topic)) else { return };
        let next = usize::try_from(partition).ok().and_then(|at| starts.get(at)).copied().unwrap_or(0);
        // A broker has far fewer partitions than 2^31.
        let assigned = Assigned { partitions: starts.len() as u32, topic: 0, next, max_event_us: None };
        self.fold.assign((source, partition), assigned, now_s * SECOND_US);
    }

    /// Takes a record that arrived at `arrival_us`.
    pub fn record(&mut self, record: &Record<'_>, arrival_us: i64) {
        let Some(&source) = self.sources.get(record.topic) else { return };
        if let Err(invalid) = self.event((source, record.partition), record, arrival_us) {
            *self.refused.entry(invalid.reason.name()).or_default() += 1;
        }
    }

    /// What was folded since the last flush, at the log time `now_s`.
    pub fn flush(&mut self, now_s: i64) -> Flushed {
        flush(&mut self.fold, now_s)
    }

    /// What was refused since this was last asked.
    pub fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    fn event(&mut self, id: PartitionId, record: &Record<'_>, arrival_us: i64) -> Result<(), Invalid> {
        let Record { partition, offset, timestamp_us, payload, .. } = *record;
        let bytes = payload.map_or(0, <[u8]>::len);
        let decoded = match bytes > self.record_bytes {
            true => Err(Invalid { reason: Reason::TooLarge, detail: format!("{bytes} bytes") }),
            false => self.decoders[usize::from(id.0)].decode(payload, &mut self.event),
        };
        match decoded {
            Ok(()) => {
                let position = Position { partition, offset, timestamp_us };
                self.fold.event(id, position, arrival_us, &mut self.event).map(|_| ())
            }
            Err(invalid) => {
                self.fold.reject(id, offset, arrival_us);
                Err(invalid)
            }
        }
    }
}
