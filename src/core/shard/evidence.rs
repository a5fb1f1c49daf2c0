//! Where to find the events behind a change: offsets that hold them all, and a few of the bad ones by name.

use super::breach::Told;
use crate::core::exemplar::{Exemplar, best};
use crate::core::output::{Evidence, OffsetRange, ShownExemplar};
use crate::core::slo::episode::Change;
use crate::core::time::{SECOND_US, floor_to};

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

    /// Of the events that the level is about, those with the largest values, else those of the lowest places.
    fn exemplars(&self, level: usize, start_s: i64, end_s: i64) -> Vec<ShownExemplar> {
        let rule = &self.plan.rules.alerts[self.rule];
        let feed = self.plan.watched[self.rule].feeds.first().zip(rule.feeds.first());
        let (Some((watched, feed)), Some(minutes)) = (feed, self.exemplars) else { return Vec::new() };
        let source = self.plan.rules.source(&feed.source);
        let (Some(source), Some(judged)) = (source, self.judged) else { return Vec::new() };
        let blamed = watched.tallies.blamed(rule, level);
        let of_rule = |exemplar: &&Exemplar| {
            exemplar.measured.map(|(at, _)| usize::from(at)) == watched.measured
                && blamed.has(exemplar.cell)
                && (start_s..end_s).contains(&exemplar.second)
        };
        let minutes = minutes.range(floor_to(start_s, 60)..end_s);
        let shown = |exemplar: &Exemplar| ShownExemplar {
            topic: source.topic.clone(),
            partition: exemplar.partition,
            offset: exemplar.offset,
            trace_id: exemplar.trace_id.clone(),
            value_billionths: exemplar.measured.map(|(_, value)| judged.billionths(value)),
        };
        best(minutes.flat_map(|(_, exemplars)| exemplars).filter(of_rule)).into_iter().map(shown).collect()
    }
}
