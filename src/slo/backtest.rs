//! Rules tried on the records of the past: the same fold and shard, driven by the records' own timestamps.

use std::collections::{BTreeMap, BTreeSet};

use super::alarm::Told;
use super::alone;
use super::curve::{Curve, Curves};
use super::stage::{Stage, StageError};
use crate::core::aggregate::Position;
use crate::core::alert::{AlertRule, RuleKind};
use crate::core::event::{Event, Invalid, Reason};
use crate::core::fold::PartitionId;
use crate::core::objective::Indicator;
use crate::core::output::Output;
use crate::core::rules::Rules;
use crate::core::time::{SECOND_US, second_of};
use crate::decode::Decoder;

/// The first offset of each partition of each topic; a topic that is missing has no data.
pub type Starts = BTreeMap<String, Vec<i64>>;

/// A record as its topic holds it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_us: i64,
    /// None: a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// Which transitions count, and what a record may weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Nothing arrived before.
    pub begin_s: i64,
    pub from_s: i64,
    /// Inclusive.
    pub to_s: i64,
    pub record_bytes: usize,
}

/// What came of a backtest.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// In the order in which they were told.
    pub told: Vec<Told>,
    pub curves: Vec<Curve>,
    /// Records of topics that the rules read.
    pub records: u64,
    /// Records that would have gone to the dead letters, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Arrival of the first record, in seconds since 1970.
    pub first_s: Option<i64>,
    /// Rules that records cannot tell about, by `document/rule`: the lag of consumer groups leaves no records.
    pub unplayed: Vec<String>,
}

/// One version of the rules at work. Records come to it in the order of their timestamps.
pub struct Backtest {
    stage: Stage,
    tested: BTreeSet<String>,
    sources: BTreeMap<String, u16>,
    decoders: Vec<Decoder>,
    starts: Starts,
    frame: Frame,
    event: Event,
    /// Log time of the last flush; None before the first record.
    now_s: Option<i64>,
    /// The newest timestamp so far: time that never goes back.
    arrival_us: i64,
    curves: Curves,
    played: Played,
}

impl Backtest {
    /// Of the rules `tested`, which are among `rules`.
    ///
    /// # Errors
    /// The rules do not fit into a plan.
    pub fn new(
        rules: &Rules,
        tested: &[AlertRule],
        starts: Starts,
        frame: Frame,
    ) -> Result<Backtest, StageError> {
        let stage = Stage::new(alone(rules, tested))?;
        let sources = &stage.rules().sources;
        let unplayed = tested.iter().filter(|rule| is_about_lag(rule)).map(AlertRule::full_name).collect();
        Ok(Backtest {
            sources: (0..).zip(sources).map(|(at, source)| (source.topic.clone(), at)).collect(),
            decoders: sources.iter().map(Decoder::new).collect(),
            tested: tested.iter().map(AlertRule::full_name).collect(),
            stage,
            starts,
            frame,
            event: Event::default(),
            now_s: None,
            arrival_us: frame.begin_s * SECOND_US,
            curves: Curves::new(frame.from_s, frame.to_s),
            played: Played { unplayed, ..Played::default() },
        })
    }

    /// Records that arrive later change nothing any more.
    pub fn until_us(&self) -> i64 {
        self.frame.to_s * SECOND_US + self.stage.held_us()
    }

    /// # Errors
    /// An invariant broke.
    pub fn record(&mut self, record: &Record<'_>) -> Result<(), StageError> {
        let Some(&source) = self.sources.get(record.topic) else { return Ok(()) };
        // A timestamp far off must not take the clock with it.
        let arrival_us = record.timestamp_us.min(self.until_us());
        self.arrival_us = self.arrival_us.max(arrival_us);
        self.move_to(second_of(self.arrival_us))?;
        self.played.records += 1;
        if let Err(invalid) = self.fold((source, record.partition), record) {
            *self.played.refused.entry(invalid.reason.name()).or_default() += 1;
        }
        Ok(())
    }

    /// Ends when all counts up to the end are final, though nothing more arrives.
    ///
    /// # Errors
    /// An invariant broke.
    pub fn finish(mut self) -> Result<Played, StageError> {
        if self.now_s.is_some() {
            self.move_to(second_of(self.until_us()) + 2)?;
        }
        Ok(Played { curves: self.curves.finish(), ..self.played })
    }

    fn fold(&mut self, id: PartitionId, record: &Record<'_>) -> Result<(), Invalid> {
        let Record { partition, offset, timestamp_us, payload, .. } = *record;
        let (bytes, limit) = (payload.map_or(0, <[u8]>::len), self.frame.record_bytes);
        let decoded = match bytes > limit {
            true => Err(Invalid { reason: Reason::TooLarge, detail: format!("{bytes} bytes") }),
            false => self.decoders[usize::from(id.0)].decode(payload, &mut self.event),
        };
        match decoded {
            Ok(()) => {
                let position = Position { partition, offset, timestamp_us };
                self.stage.event(id, position, self.arrival_us, &self.event)
            }
            Err(invalid) => {
                self.stage.reject(id, offset, self.arrival_us);
                Err(invalid)
            }
        }
    }

    /// Flushes each second up to `second`, as if all before it had arrived.
    fn move_to(&mut self, second: i64) -> Result<(), StageError> {
        let mut now_s = match self.now_s {
            Some(now_s) => now_s,
            None => {
                self.begin(second);
                second
            }
        };
        while now_s < second {
            now_s += 1;
            for output in self.stage.flush(now_s, Vec::new())? {
                self.take(output, now_s);
            }
        }
        self.now_s = Some(now_s);
        Ok(())
    }

    fn begin(&mut self, now_s: i64) {
        self.played.first_s = Some(now_s);
        for (topic, &source) in &self.sources {
            let starts = self.starts.get(topic).map(Vec::as_slice).unwrap_or_default();
            for (partition, &next) in (0..).zip(starts) {
                // A broker has far fewer partitions than 2^31.
                self.stage.assign((source, partition), starts.len() as u32, next, now_s * SECOND_US);
            }
        }
    }

    fn take(&mut self, output: Output, said_s: i64) {
        match output {
            Output::Breach(breach) => {
                let observed = self.stage.observed(&breach, said_s);
                let counts = (self.frame.from_s..=self.frame.to_s).contains(&observed.at_s);
                if counts && self.tested.contains(&observed.rule) {
                    self.played.told.push(Told::of(observed, &breach));
                }
            }
            Output::Status(status) => self.curves.take(*status),
            Output::Row(_)
            | Output::SloHour(_)
            | Output::RuleHour(_)
            | Output::Heartbeat(_)
            | Output::HourGone(_) => {}
        }
    }
}

/// The longest stretch that any of the rules looks back on, in seconds: so much before the first transition that
/// counts must be read too.
pub fn longest_window_s(rules: &[AlertRule]) -> i64 {
    let levels = rules.iter().flat_map(|rule| &rule.levels);
    levels.map(|level| level.window_s + level.for_s).max().unwrap_or(0)
}

fn is_about_lag(rule: &AlertRule) -> bool {
    let of_objective = rule.objective.as_ref().map(|objective| &objective.indicator);
    matches!(rule.kind, RuleKind::Lag { .. }) || matches!(of_objective, Some(Indicator::Lag { .. }))
}
