//! One rule for one group: judged second by second, early at the front and for good at the watermark.
//!
//! The seconds up to the watermark are *settled*; late events rewind them to a snapshot and they are judged again.
//! The seconds from there to the front are judged *early*, afresh each time. What comes out is a list of episodes as
//! the counts have them now; `reconcile` compares it with what was announced and says only the difference.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use super::episode::{Announced, Change, Computed, Episode, reconcile};
use super::latch::{Latch, Verdict};
use super::pane::{Panes, SNAPSHOT_EVERY_S, Sum, pane_width_s};
use crate::core::alert::{AlertRule, Level, Side};
use crate::core::output::ResolveReason;
use crate::core::plan::Watched;

const BILLION: i128 = 1_000_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Last second judged for good.
    settled_s: Option<i64>,
    settled: Run,
    /// (second, state after judging it), oldest first.
    snapshots: VecDeque<(i64, Run)>,
    /// Settled episodes that late events may still change, oldest first.
    closed: Vec<Episode>,
    announced: Vec<Announced>,
    /// (opened at, last revision) of what was taken back: should it open again, its revisions go on.
    retracted: Vec<(i64, u32)>,
}

/// What must be known at a second to judge the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    latches: Vec<Latch>,
    /// Seconds since any level had an answer.
    unknown_s: i64,
    episode: Option<Episode>,
}

/// A rule and all that its judgement reads.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub rule: &'a AlertRule,
    pub watched: &'a Watched,
    pub panes: &'a Panes,
    /// First second the counts are whole for this rule.
    pub since_s: i64,
}

/// How far a source has come, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    pub watermark_s: i64,
    pub front_s: i64,
}

impl Watch {
    /// Judges up to `progress`. `late_from_s` is the earliest second whose counts changed after it was settled.
    pub fn advance(
        &mut self,
        judged: Judged<'_>,
        progress: Progress,
        late_from_s: Option<i64>,
    ) -> Vec<Change> {
        let Progress { watermark_s, front_s } = progress;
        if let Some(late_from_s) = late_from_s {
            self.rewind(late_from_s, judged.rule.correct_within_s);
        }
        self.settled.latches.resize(judged.rule.levels.len(), Latch::default());
        let mut at_s = match self.settled_s {
            Some(at_s) => at_s,
            None => self.begin(judged, watermark_s),
        };
        while at_s < watermark_s {
            at_s = judged.next_second(&self.settled, at_s + 1, watermark_s);
            if let Some(closed) = self.settled.step(judged, at_s, true) {
                self.closed.push(closed);
            }
            self.snapshot(at_s, judged.rule.correct_within_s);
        }
        self.settled_s = Some(at_s);
        let mut early = self.settled.clone();
        for second in at_s + 1..=front_s {
            early.step(judged, second, false);
        }
        let judged_s = front_s.max(at_s);
        let computed =
            Computed { closed: &self.closed, open: early.episode.as_ref(), settled_s: at_s, judged_s };
        let changes = reconcile(&mut self.announced, &mut self.retracted, computed);
        self.forget(self.rewinds_to(at_s - judged.rule.correct_within_s));
        changes
    }

    /// Ends what is announced as open, because the rule is gone or means something else now.
    pub fn remove(&mut self) -> Vec<Change> {
        let at_s = self.settled_s.unwrap_or(0);
        let open = std::mem::take(&mut self.announced).into_iter().filter(Announced::is_open);
        // What opened before the watermark came does not end before it opened.
        let end = |announced: &Announced| at_s.max(announced.shown.opened_s);
        open.map(|mut announced| announced.resolve(end(&announced), ResolveReason::RuleRemoved)).collect()
    }

    pub fn open_episodes(&self) -> u32 {
        self.announced.iter().filter(|announced| announced.is_open()).count() as u32
    }

    /// Nothing of it need be kept: no episode can change any more and none is pending.
    pub fn is_quiet(&self) -> bool {
        self.announced.is_empty()
            && self.closed.is_empty()
            && self.retracted.is_empty()
            && self.settled.is_quiet()
    }

    /// A group is judged from its first event on, but not further back than breaches are corrected.
    fn begin(&mut self, judged: Judged<'_>, watermark_s: i64) -> i64 {
        let first_s = judged.panes.first_second().unwrap_or(watermark_s).min(watermark_s);
        let start_s = first_s.max(watermark_s - judged.rule.correct_within_s);
        self.snapshots = VecDeque::from([(start_s, self.settled.clone())]);
        start_s
    }

    fn rewind(&mut self, late_from_s: i64, correct_within_s: i64) {
        let Some(settled_s) = self.settled_s.filter(|settled_s| late_from_s < *settled_s) else { return };
        let late_from_s = late_from_s.max(settled_s - correct_within_s);
        if let Some((first_s, run)) = self.snapshots.front_mut()
            && late_from_s < *first_s
            && run.is_quiet()
        {
            // Earlier than the first event so far: nothing had happened yet.
            *first_s = late_from_s;
        }
        // The newest snapshot the late events cannot have changed; else the oldest there is.
        while self.snapshots.len() > 1 && self.snapshots.back().is_some_and(|(at, _)| *at > late_from_s) {
            self.snapshots.pop_back();
        }
        let to_s = self.rewinds_to(late_from_s);
        if self.snapshots.back().is_some_and(|(at_s, _)| *at_s < to_s) {
            self.snapshots.push_back((to_s, Run::default()));
        }
        if let Some((_, run)) = self.snapshots.back().filter(|_| to_s < settled_s) {
            self.settled_s = Some(to_s);
            self.settled.clone_from(run);
            self.closed.retain(|episode| episode.resolved_s.is_some_and(|resolved_s| resolved_s <= to_s));
        }
    }

    /// The second from which late events at `late_from_s` make the watch judge again: that of the last snapshot at
    /// or before it. Only silence leaves more than a minute without one, and in silence nothing is pending.
    fn rewinds_to(&self, late_from_s: i64) -> i64 {
        let before = self.snapshots.iter().rev().find(|(at_s, _)| *at_s <= late_from_s);
        match before.or(self.snapshots.front()) {
            Some((at_s, _)) if late_from_s - at_s < SNAPSHOT_EVERY_S => *at_s,
            Some(_) | None => late_from_s,
        }
    }

    fn snapshot(&mut self, at_s: i64, correct_within_s: i64) {
        if self.snapshots.back().is_none_or(|(last_s, _)| at_s - last_s >= SNAPSHOT_EVERY_S) {
            self.snapshots.push_back((at_s, self.settled.clone()));
        }
        // The oldest kept is the last one at or before the horizon.
        while self.snapshots.get(1).is_some_and(|(second_s, _)| *second_s <= at_s - correct_within_s) {
            self.snapshots.pop_front();
        }
    }

    fn forget(&mut self, before_s: i64) {
        let done = |episode: &Episode| episode.resolved_s.is_some_and(|resolved_s| resolved_s <= before_s);
        self.closed.retain(|episode| !done(episode));
        self.announced.retain(|announced| !done(&announced.shown));
        self.retracted.retain(|(opened_s, _)| *opened_s > before_s);
    }
}

impl Run {
    /// Judges the second that ends at `at_s`; gives the episode that ended there.
    fn step(&mut self, judged: Judged<'_>, at_s: i64, settled: bool) -> Option<Episode> {
        let rule = judged.rule;
        let mut known = false;
        let mut value = None;
        let mut recovered_s = None;
        for (latch, level) in self.latches.iter_mut().zip(&rule.levels) {
            let sum = judged.window(level, at_s);
            let verdict = verdict(level, sum);
            known |= verdict != Verdict::Unknown;
            if verdict != Verdict::Unknown {
                value = worse(level.side, value, share_billionths(sum));
            }
            let was_crossed = latch.crossed;
            latch.step(at_s, verdict, level.for_s, rule.hold_s, settled);
            if was_crossed && !latch.crossed {
                recovered_s = recovered_s.max(Some(latch.recovered_s()));
            }
        }
        self.unknown_s = if known { 0 } else { self.unknown_s + 1 };
        if let Some(episode) = &mut self.episode {
            episode.bad_total += judged.second(at_s).bad;
        }
        // A run of n seconds spans n - 1, as for `for` and `hold`. Nothing ends before the watermark.
        let silent = settled && self.unknown_s > rule.no_data_after_s;
        let (recovered_s, reason) = match self.latches.iter().position(|latch| latch.crossed) {
            Some(level) if !silent => {
                self.hold_open(judged, at_s, level, value);
                return None;
            }
            Some(_) => (at_s - self.unknown_s + 1, ResolveReason::NoDataTimeout),
            None => (recovered_s.unwrap_or(at_s), ResolveReason::Recovered),
        };
        if silent {
            self.latches.fill(Latch::default());
        }
        let mut episode = self.episode.take()?;
        episode.recovered_s = Some(recovered_s);
        episode.resolved_s = Some(at_s);
        episode.reason = Some(reason);
        Some(episode)
    }

    fn hold_open(&mut self, judged: Judged<'_>, at_s: i64, level: usize, value: Option<i64>) {
        // The first second at which any level began to cross: that is when the trouble began.
        let onset_s = self.latches.iter().filter_map(Latch::onset_s).min().unwrap_or(at_s);
        let side = judged.rule.levels[level].side;
        let episode = self.episode.get_or_insert_with(|| Episode {
            onset_s,
            opened_s: at_s,
            level,
            worst_value_billionths: value.unwrap_or(0),
            bad_total: judged.panes.sum(1, onset_s - 1, at_s, judged.watched).bad,
            recovered_s: None,
            resolved_s: None,
            reason: None,
        });
        episode.level = level;
        let worst = worse(
            side,
            Some(episode.worst_value_billionths),
            value.unwrap_or(episode.worst_value_billionths),
        );
        episode.worst_value_billionths = worst.unwrap_or(0);
    }

    fn is_quiet(&self) -> bool {
        self.episode.is_none() && self.latches.iter().all(Latch::is_quiet)
    }
}

impl Judged<'_> {
    /// Bounds and counts of a level's window that ends at `end_s`.
    pub fn bounds(&self, level: &Level, end_s: i64) -> (i64, i64) {
        let width = pane_width_s(level.window_s);
        let up = |second: i64| second.saturating_add(width - 1).div_euclid(width).saturating_mul(width);
        let start_s = (end_s - level.window_s).div_euclid(width) * width;
        (start_s.max(up(self.since_s)), end_s)
    }

    pub fn window(&self, level: &Level, end_s: i64) -> Sum {
        let (start_s, end_s) = self.bounds(level, end_s);
        self.panes.sum(pane_width_s(level.window_s), start_s, end_s, self.watched)
    }

    fn second(&self, at_s: i64) -> Sum {
        self.panes.sum(1, at_s - 1, at_s, self.watched)
    }

    /// `at_s`, or a later second when nothing can happen before it: no state is pending and no window has an event.
    fn next_second(&self, run: &Run, at_s: i64, last_s: i64) -> i64 {
        let longest_s =
            self.rule.levels.iter().map(|level| level.window_s + pane_width_s(level.window_s)).max();
        if !run.is_quiet() || self.panes.any_between(at_s - longest_s.unwrap_or(0), at_s) {
            return at_s;
        }
        self.panes.next_second(at_s).map_or(last_s, |second| (second + 1).min(last_s))
    }
}

/// The share of bad events, in billionths; 0 when there is none.
pub fn share_billionths(sum: Sum) -> i64 {
    let share = i128::from(sum.bad) * BILLION / i128::from(sum.total.max(1));
    // At most a billion.
    share as i64
}

/// Whole numbers only: bad / total > threshold is bad x 10^9 > threshold x total.
fn verdict(level: &Level, sum: Sum) -> Verdict {
    if sum.total == 0 || sum.total < level.min_events {
        return Verdict::Unknown;
    }
    let left = i128::from(sum.bad) * BILLION;
    let right = i128::from(level.threshold_billionths) * i128::from(sum.total);
    let crossed = match level.side {
        Side::Above => left > right,
        Side::Below => left < right,
    };
    if crossed { Verdict::Crossed } else { Verdict::NotCrossed }
}

fn worse(side: Side, known: Option<i64>, value: i64) -> Option<i64> {
    let known = known.unwrap_or(value);
    Some(match side {
        Side::Above => known.max(value),
        Side::Below => known.min(value),
    })
}
