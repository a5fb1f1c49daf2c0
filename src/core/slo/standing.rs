//! How one rule stands for one group: its watch, the slices it counts, and what tables are told of it.

use serde::{Deserialize, Serialize};

use super::episode::Change;
use super::hours::{Hours, RuleHourStats, SloHourCounts, ended_between};
use super::judge::Judged;
use super::pane::Sum;
use super::slices::Slices;
use super::sliding::Sliding;
use super::watch::{Progress, Watch};
use crate::core::time::floor_to;

/// Seconds between two statuses.
const STATUS_EVERY_S: i64 = 60;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    watch: Watch,
    slices: Slices,
    #[serde(skip)]
    sliding: Sliding,
    hours: Hours<SloHourCounts>,
    /// Up to here hours have been looked at.
    hours_s: Option<i64>,
    status_s: Option<i64>,
}

/// One thing to say of a rule and a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Change(Change),
    RuleHour { hour_s: i64, stats: RuleHourStats, revision: u32 },
    SloHour { hour_s: i64, counts: SloHourCounts, revision: u32 },
    Status { at_s: i64, level: Option<usize> },
}

impl Standing {
    /// Judges up to `progress`. `changed_from_s` is the earliest second whose counts changed after it was settled; such
    /// changes are judged when `correct` says so.
    pub fn advance(
        &mut self,
        judged: Judged<'_>,
        progress: Progress,
        changed_from_s: Option<i64>,
        correct: bool,
    ) -> Vec<News> {
        self.sliding.begin(changed_from_s);
        let changed_from_s = changed_from_s.filter(|_| correct);
        let Standing { watch, slices, sliding, .. } = self;
        let judged = Judged { sliding: Some(sliding), settled_s: progress.watermark_s, ..judged };
        let sliced = judged.rule.has_slices();
        if sliced {
            advance_slices(slices, judged, progress, changed_from_s);
        }
        let judged = Judged { slices: sliced.then_some(&*slices), ..judged };
        let said = watch.advance(judged, progress, changed_from_s);
        let mut news: Vec<News> = said.changes.into_iter().map(News::Change).collect();
        let rule_hour = |(hour_s, stats, revision)| News::RuleHour { hour_s, stats, revision };
        news.extend(said.hours.into_iter().map(rule_hour));
        if judged.rule.objective.is_some() {
            let (hours, until) = (&mut self.hours, &mut self.hours_s);
            tell_hours(judged, hours, until, progress.watermark_s, changed_from_s, &mut news);
        }
        let minute_s = floor_to(progress.watermark_s, STATUS_EVERY_S);
        if self.status_s.is_none_or(|told_s| told_s < minute_s) {
            self.status_s = Some(minute_s);
            news.push(News::Status { at_s: progress.watermark_s, level: self.watch.level() });
        }
        news
    }

    /// What was counted, for whoever tells a change of it.
    pub fn slices(&self) -> &Slices {
        &self.slices
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    pub fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }

    /// When cells get another meaning.
    pub fn forget_sums(&mut self) {
        self.sliding.clear();
    }
}

/// Judges the slices that are over, before the rule that counts them is.
fn advance_slices(slices: &mut Slices, judged: Judged<'_>, progress: Progress, changed_from_s: Option<i64>) {
    let Some(objective) = &judged.rule.objective else { return };
    let Progress { watermark_s, .. } = progress;
    // A group counts from its first event on.
    let from_s = judged.since.whole_s.max(judged.first_second().unwrap_or(watermark_s));
    let correct_s = judged.rule.correct_within_s;
    let changed_from_s = changed_from_s.map(|changed_s| changed_s.max(watermark_s - correct_s));
    let content = |start_s, end_s| judged.slice(&objective.indicator, start_s, end_s);
    slices.advance(objective.method, from_s, watermark_s, changed_from_s, content);
    slices.forget(objective.period.length_s(), correct_s, watermark_s);
}

/// Tells the hours that are over by `watermark_s`, and again those that changed.
fn tell_hours(
    judged: Judged<'_>,
    hours: &mut Hours<SloHourCounts>,
    until_s: &mut Option<i64>,
    watermark_s: i64,
    changed_from_s: Option<i64>,
    news: &mut Vec<News>,
) {
    let first_s = judged.first_second().unwrap_or(watermark_s);
    let after_s = until_s.unwrap_or(first_s);
    let oldest_s = watermark_s - judged.lateness_s - judged.rule.correct_within_s;
    let again_s = changed_from_s.map_or(after_s, |changed_s| changed_s.max(oldest_s).min(after_s));
    for hour_s in ended_between(again_s.max(judged.since.counts_s), watermark_s) {
        let counts = SloHourCounts::of(&judged, hour_s);
        let is_silent = counts.events == Sum::default() && counts.slices == Sum::default();
        if is_silent && !hours.holds(hour_s) {
            continue;
        }
        if let Some(revision) = hours.news(hour_s, &counts) {
            news.push(News::SloHour { hour_s, counts, revision });
        }
    }
    *until_s = Some(watermark_s.max(after_s));
    hours.forget(oldest_s);
}
