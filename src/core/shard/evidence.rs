//! Where to find the events behind a change: offsets that hold them all, and a few of the bad ones by name.

use super::breach::Told;
use crate::core::output::{Evidence, OffsetRange, ShownExemplar};
use crate::core::partial::EXEMPLARS_MAX;
use crate::core::plan::Tallies;
use crate::core::slo::episode::Change;
use crate::core::time::SECOND_US;

impl Told<'_> {
    pub(super) fn evidence(&self, change: &Change) -> Evidence {
        let rule = &self.plan.rules.alerts[self.rule];
        let level = change.shown.level;
        let window_s = rule.levels.get(level).map_or(0, |level| level.window_s);
        let start_s = change.shown.onset_s.min(change.judged_s) - window_s;
        Evidence {
            offset_ranges: self.offset_ranges(start_s, change.judged_s),
            exemplars: self.exemplars(level, start_s, change.judged_s),
        }
    }

    fn offset_ranges(&self, start_s: i64, end_s: i64) -> Vec<OffsetRange> {
        let mut ranges = Vec::new();
        for (source, clock) in self.clocks {
            let Some(topic) = self.plan.rules.source(source).map(|source| &source.topic) else { continue };
            for (partition, from, to) in clock.offsets(start_s * SECOND_US, end_s * SECOND_US) {
                ranges.push(OffsetRange { topic: topic.clone(), partition, from, to });
            }
        }
        ranges.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        ranges
    }

    /// The bad events with the lowest partition and offset in the newest minutes that have any.
    fn exemplars(&self, level: usize, start_s: i64, end_s: i64) -> Vec<ShownExemplar> {
        let rule = &self.plan.rules.alerts[self.rule];
        let feed = self.plan.watched[self.rule].feeds.first().zip(rule.feeds.first());
        let (Some((watched, feed)), Some(minutes)) = (feed, self.exemplars) else { return Vec::new() };
        let Some(topic) = self.plan.rules.source(&feed.source).map(|source| &source.topic) else {
            return Vec::new();
        };
        let is_bad = |cell| is_bad(&watched.tallies, level, cell);
        let mut shown = Vec::new();
        for exemplar in minutes.range(start_s - 60..end_s).rev().flat_map(|(_, exemplars)| exemplars) {
            if shown.len() < EXEMPLARS_MAX && is_bad(exemplar.cell) {
                shown.push(ShownExemplar {
                    topic: topic.clone(),
                    partition: exemplar.partition,
                    offset: exemplar.offset,
                    trace_id: exemplar.trace_id.clone(),
                    value_billionths: None,
                });
            }
        }
        shown.sort_by_key(|exemplar| (exemplar.partition, exemplar.offset));
        shown
    }
}

fn is_bad(tallies: &Tallies, level: usize, cell: u16) -> bool {
    tallies.over.get(level).unwrap_or(&tallies.bad).has(cell)
}
