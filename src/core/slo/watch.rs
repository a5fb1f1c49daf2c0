//! One rule for one group: judged second by second, early at the front and for good at the watermark.
//!
//! The seconds up to the watermark are *settled*; late events rewind them to a snapshot and they are judged again.
//! The seconds from there to the front are judged *early*, afresh each time. What comes out is a list of episodes as
//! the counts have them now; `reconcile` compares it with what was announced and says only the difference.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use super::episode::{Announced, Change, Computed, Episode, Judging, reconcile};
use super::hours::{Hours, RuleHourStats, hour_of};
use super::judge::Judged;
use super::latch::{Latch, Verdict};
use super::pane::SNAPSHOT_EVERY_S;
use super::reading::{Reading, worse};
use crate::core::output::ResolveReason;

/// Seconds of log time late events are gathered for.
pub const CORRECT_EVERY_S: i64 = 10;
/// The same of event time, which on a replay passes faster: each time minutes are judged again.
const CORRECT_EVERY_EVENT_S: i64 = 60;

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
    hours: Hours<RuleHourStats>,
}

/// What there is to say after judging.
#[derive(Debug, Default)]
pub struct Said {
    pub changes: Vec<Change>,
    /// Start of the hour, what it came to, and which revision that is.
    pub hours: Vec<(i64, RuleHourStats, u32)>,
}

/// What must be known at a second to judge the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    latches: Vec<Latch>,
    /// Seconds since any level had an answer.
    unknown_s: i64,
    episode: Option<Episode>,
    /// The hour of the last second judged, and what it has come to so far.
    hour_s: Option<i64>,
    hour: RuleHourStats,
}

/// How far a source has come, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    pub watermark_s: i64,
    pub front_s: i64,
}

/// When late events were last taken in.
///
/// Each time rewinds what is settled. So those that come after a while without any are taken in at once, and of a trickle
/// they are gathered: for seconds of log time on a live stream, of event time on a replay, whichever passes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrected {
    watermark_s: i64,
    log_s: i64,
}

impl Corrected {
    pub fn at(progress: Progress, log_s: i64) -> Corrected {
        Corrected { watermark_s: progress.watermark_s, log_s }
    }

    /// Whether by `now` it is time again. `shift_s` shifts the seconds at which a trickle is taken in, so that not all that
    /// a process has is judged again in the same one: breaches wait meanwhile.
    pub fn is_due(self, now: Corrected, shift_s: u32) -> bool {
        let turn = |at: Corrected| (at.log_s + i64::from(shift_s)).div_euclid(CORRECT_EVERY_S);
        now.watermark_s - self.watermark_s >= CORRECT_EVERY_EVENT_S || turn(now) != turn(self)
    }
}

impl Progress {
    pub fn oldest(self, other: Progress) -> Progress {
        Progress {
            watermark_s: self.watermark_s.min(other.watermark_s),
            front_s: self.front_s.min(other.front_s),
        }
    }

    pub fn newest(self, other: Progress) -> Progress {
        Progress {
            watermark_s: self.watermark_s.max(other.watermark_s),
            front_s: self.front_s.max(other.front_s),
        }
    }
}

impl Watch {
    /// Judges up to `progress`. `late_from_s` is the earliest second whose counts changed after it was settled.
    pub fn advance(&mut self, judged: Judged<'_>, progress: Progress, late_from_s: Option<i64>) -> Said {
        let Progress { watermark_s, front_s } = progress;
        let mut said = Said::default();
        if let Some(late_from_s) = late_from_s {
            self.rewind(late_from_s, judged.rule.correct_within_s);
        }
        self.settled.latches.resize(judged.rule.levels.len(), Latch::default());
        let mut at_s = match self.settled_s {
            Some(at_s) => at_s,
            None => self.begin(judged, watermark_s),
        };
        let mut again = None;
        while at_s < watermark_s {
            at_s = judged.next_second(self.settled.is_quiet(), at_s + 1, watermark_s);
            said.hours.extend(self.turn_hour(at_s));
            if let Some(closed) = self.settled.step(judged, at_s, true) {
                self.closed.push(closed);
            }
            self.snapshot(at_s, judged.rule.correct_within_s);
            if self.announced.iter().any(|announced| announced.is_told_again_at(at_s)) {
                again = self.settled.episode.map(|episode| (at_s, episode));
            }
        }
        // A group whose first event is beyond the watermark has not begun: an earlier one may still come.
        self.settled_s = (at_s <= watermark_s).then_some(at_s);
        let mut early = self.settled.clone();
        let early_s = judged.early_until_s(watermark_s, front_s).max(at_s);
        for second in at_s + 1..=early_s {
            early.step(judged, second, false);
        }
        let settled_s = at_s.min(watermark_s);
        let judging = Judging { settled_s, judged_s: early_s };
        let computed = Computed { closed: &self.closed, open: early.episode.as_ref(), again, judging };
        said.changes = reconcile(&mut self.announced, &mut self.retracted, computed);
        self.forget(self.rewinds_to(settled_s - judged.rule.correct_within_s));
        said
    }

    /// Gives the hour before when `at_s` is the first second of another and what it came to is news.
    fn turn_hour(&mut self, at_s: i64) -> Option<(i64, RuleHourStats, u32)> {
        let hour_s = hour_of(at_s);
        let before_s = self.settled.hour_s.replace(hour_s).filter(|before_s| *before_s != hour_s)?;
        let stats = std::mem::take(&mut self.settled.hour);
        if stats.is_empty() && !self.hours.holds(before_s) {
            return None;
        }
        let revision = self.hours.news(before_s, &stats)?;
        Some((before_s, stats, revision))
    }

    /// Gravest level that is crossed, for good.
    pub fn level(&self) -> Option<usize> {
        self.settled.latches.iter().position(|latch| latch.crossed)
    }

    /// Ends what is announced as open, because the rule is gone or means something else now.
    pub fn remove(&mut self) -> Vec<Change> {
        let at_s = self.settled_s.unwrap_or(0);
        let open = std::mem::take(&mut self.announced).into_iter().filter(Announced::is_open);
        // What opened before the watermark came does not end before it opened.
        let end = |announced: &Announced| at_s.max(announced.shown.opened_s);
        open.map(|mut announced| announced.resolve(end(&announced), ResolveReason::RuleRemoved)).collect()
    }

    /// Goes on under other levels: `moved` gives for each of them the one it was. Late events correct nothing that was
    /// settled under the levels before.
    pub fn adopt_levels(&mut self, moved: &[Option<usize>]) {
        let latch = |run: &Run, from: &Option<usize>| from.and_then(|at| run.latches.get(at)).copied();
        self.settled.latches =
            moved.iter().map(|from| latch(&self.settled, from).unwrap_or_default()).collect();
        let level = |was: usize| moved.iter().position(|from| *from == Some(was)).unwrap_or(0);
        let episodes = self.settled.episode.iter_mut().chain(&mut self.closed);
        for episode in episodes.chain(self.announced.iter_mut().map(|announced| &mut announced.shown)) {
            episode.level = level(episode.level);
        }
        if let Some(settled_s) = self.settled_s {
            self.snapshots = VecDeque::from([(settled_s, self.settled.clone())]);
        }
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

    /// A group is judged from its first event on, but not further back than breaches are corrected. Silence before
    /// that event is none of its own: how much of it there is depends on when a flush happened to leave.
    fn begin(&mut self, judged: Judged<'_>, watermark_s: i64) -> i64 {
        let first_s = judged.first_second().unwrap_or(watermark_s);
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
            let before = self.snapshots.back().map(|(_, run)| run);
            let (hour_s, hour) = before.map(|run| (run.hour_s, run.hour.clone())).unwrap_or_default();
            self.remember(to_s, Run { hour_s, hour, ..Run::default() });
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
            self.remember(at_s, self.settled.clone());
        }
        // The oldest kept is the last one at or before the horizon.
        while self.snapshots.get(1).is_some_and(|(second_s, _)| *second_s <= at_s - correct_within_s) {
            self.snapshots.pop_front();
        }
    }

    /// In no more room than is needed: there are soon as many as ever, of each group.
    fn remember(&mut self, at_s: i64, run: Run) {
        self.snapshots.reserve_exact(1);
        self.snapshots.push_back((at_s, run));
    }

    fn forget(&mut self, before_s: i64) {
        let done = |episode: &Episode| episode.resolved_s.is_some_and(|resolved_s| resolved_s <= before_s);
        self.closed.retain(|episode| !done(episode));
        self.announced.retain(|announced| !done(&announced.shown));
        self.retracted.retain(|(opened_s, _)| *opened_s > before_s);
        self.hours.forget(before_s - 3_600);
    }
}

impl Run {
    /// Judges the second that ends at `at_s`; gives the episode that ended there.
    fn step(&mut self, judged: Judged<'_>, at_s: i64, settled: bool) -> Option<Episode> {
        let rule = judged.rule;
        let mut known = false;
        let mut value = None;
        let mut recovered_s = None;
        let mut gravest = None;
        for (at, (latch, level)) in self.latches.iter_mut().zip(&rule.levels).enumerate() {
            let Reading { verdict, value_billionths } = judged.read(at, at_s);
            if verdict != Verdict::Unknown {
                known = true;
                value = value_billionths.map(|read| worse(level.side, value, read)).or(value);
            }
            gravest = gravest.or(Some(Reading { verdict, value_billionths }));
            let was_crossed = latch.crossed;
            latch.step(at_s, verdict, level.for_s, rule.hold_s, settled);
            if was_crossed && !latch.crossed {
                recovered_s = recovered_s.max(Some(latch.recovered_s()));
            }
        }
        if settled && let Some(reading) = gravest {
            let shown = judged.shown(reading, at_s);
            self.hour.add(shown, &self.latches);
        }
        self.unknown_s = if known { 0 } else { self.unknown_s + 1 };
        if let Some(episode) = &mut self.episode {
            episode.bad_total += judged.bad_of_second(episode.level, at_s);
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
            bad_total: judged.bad_between(level, onset_s - 1, at_s),
            recovered_s: None,
            resolved_s: None,
            reason: None,
        });
        episode.level = level;
        if let Some(value) = value {
            episode.worst_value_billionths = worse(side, Some(episode.worst_value_billionths), value);
        }
    }

    fn is_quiet(&self) -> bool {
        self.episode.is_none() && self.latches.iter().all(Latch::is_quiet)
    }
}
