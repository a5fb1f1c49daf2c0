//! Episodes as the counts have them, episodes as subscribers know them, and the transitions between the two.

use serde::{Deserialize, Serialize};

use crate::core::output::{ResolveReason, Transition, UpdateReason};

/// What is open is told again after this many seconds without news, for those who began to listen in between.
const TOLD_EVERY_S: i64 = 300;

/// One stretch of time in which a rule was crossed. Seconds are the ends of the windows judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// First crossing second of the run that opened it.
    pub onset_s: i64,
    /// Second judged when it opened.
    pub opened_s: i64,
    /// Gravest level crossed now, or when it ended; index into the rule's levels.
    pub level: usize,
    pub worst_value_billionths: i64,
    pub bad_total: u64,
    pub recovered_s: Option<i64>,
    pub resolved_s: Option<i64>,
    pub reason: Option<ResolveReason>,
}

/// An episode that subscribers have heard of. `shown.opened_s` names it for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    pub shown: Episode,
    pub revision: u32,
    /// Second judged when it was last told.
    told_s: i64,
}

/// One thing to say about one announced episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub transition: Transition,
    pub shown: Episode,
    pub revision: u32,
    pub previous_level: Option<usize>,
    pub update_reason: Option<UpdateReason>,
    /// It was over before it could be said.
    pub past: bool,
    /// It tells how the alert stands: no other episode is open, and none opened after it.
    pub is_latest: bool,
    /// Second up to which the counts were judged.
    pub judged_s: i64,
    /// The watermark had passed that second.
    pub is_final: bool,
}

impl Episode {
    fn overlaps(&self, other: &Episode) -> bool {
        let before_end =
            |second: i64, of: &Episode| of.resolved_s.is_none_or(|resolved_s| second < resolved_s);
        let start_s = |of: &Episode| of.onset_s.min(of.opened_s);
        before_end(start_s(self), other) && before_end(start_s(other), self)
    }
}

impl Change {
    /// It ends what was told as open: what opened later in name may have ended before.
    fn ends_an_open_one(&self) -> bool {
        match self.transition {
            Transition::Resolved => !self.past,
            Transition::Retracted => self.shown.resolved_s.is_none(),
            Transition::Opened | Transition::Updated => false,
        }
    }
}

impl Announced {
    pub fn is_open(&self) -> bool {
        self.shown.resolved_s.is_none()
    }

    /// Ends it now, whatever the counts say.
    pub fn resolve(&mut self, at_s: i64, reason: ResolveReason) -> Change {
        self.revision += 1;
        self.shown.recovered_s = Some(at_s);
        self.shown.resolved_s = Some(at_s);
        self.shown.reason = Some(reason);
        self.change(Transition::Resolved, Judging { settled_s: at_s, judged_s: at_s })
    }

    fn change(&mut self, transition: Transition, judging: Judging) -> Change {
        let Judging { settled_s, judged_s } = judging;
        self.told_s = judged_s;
        Change {
            transition,
            shown: self.shown,
            revision: self.revision,
            previous_level: None,
            update_reason: None,
            past: false,
            is_latest: true,
            judged_s,
            is_final: settled_s >= judged_s,
        }
    }

    /// Shows the episode as the counts have it now; says nothing when that is nothing new.
    fn show(
        &mut self,
        computed: &Episode,
        again: Option<(i64, Episode)>,
        judging: Judging,
    ) -> Option<Change> {
        let news = |e: &Episode| (e.onset_s, e.level, e.recovered_s, e.resolved_s, e.reason);
        let before = self.shown;
        let now = Episode { opened_s: before.opened_s, ..*computed };
        if news(&before) == news(&now) {
            // Totals grow every second; they are told with the next transition.
            self.shown = now;
            return again.filter(|(_, then)| news(then) == news(&now)).map(|again| self.still_open(again));
        }
        let (transition, update_reason) = match (before.resolved_s, now.resolved_s) {
            (None, Some(_)) => (Transition::Resolved, None),
            (None, None) if before.level != now.level => (Transition::Updated, Some(UpdateReason::Level)),
            _ => (Transition::Updated, Some(UpdateReason::LateData)),
        };
        self.shown = now;
        self.revision += 1;
        let previous_level = (before.level != now.level).then_some(before.level);
        Some(Change { previous_level, update_reason, ..self.change(transition, judging) })
    }

    /// Whether at this second it is told again though nothing has changed: seconds of event time, so that flushes
    /// cannot move them.
    pub fn is_told_again_at(&self, at_s: i64) -> bool {
        self.is_open() && at_s > self.told_s && (at_s - self.told_s) % TOLD_EVERY_S == 0
    }

    fn still_open(&mut self, (at_s, then): (i64, Episode)) -> Change {
        self.revision += 1;
        let change = self.change(Transition::Updated, Judging { settled_s: at_s, judged_s: at_s });
        let shown = Episode { opened_s: self.shown.opened_s, ..then };
        Change { shown, update_reason: Some(UpdateReason::StillOpen), ..change }
    }
}

/// Episodes as the counts have them now.
#[derive(Clone, Copy)]
pub struct Computed<'a> {
    /// Ended up to `settled_s`, oldest first.
    pub closed: &'a [Episode],
    /// Going on at `judged_s`.
    pub open: Option<&'a Episode>,
    /// The open one as it was at a settled second at which it is told again, and that second.
    pub again: Option<(i64, Episode)>,
    pub judging: Judging,
}

/// How far the counts were judged: for good, and at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judging {
    pub settled_s: i64,
    pub judged_s: i64,
}

/// Makes `announced` agree with what is computed and says the difference. `retracted` remembers the last revision of
/// what was taken back, so that no identity is ever used twice.
pub fn reconcile(
    announced: &mut Vec<Announced>,
    retracted: &mut Vec<(i64, u32)>,
    computed: Computed<'_>,
) -> Vec<Change> {
    let Computed { closed, open, again, judging } = computed;
    let mut changes = Vec::new();
    if announced.is_empty() && closed.is_empty() && open.is_none() {
        return changes;
    }
    let computed: Vec<Episode> = closed.iter().chain(open).copied().collect();
    let known = known_as(announced, &computed);
    let (mut shown, mut opened) = (Vec::new(), Vec::new());
    for (computed, known) in computed.iter().zip(&known) {
        match known {
            Some(at) => shown.extend(announced[*at].show(computed, again, judging)),
            None => opened.push(*computed),
        }
    }
    let mut places = 0..announced.len();
    announced.retain_mut(|announced| {
        let goes_on = places.next().is_some_and(|at| known.contains(&Some(at)));
        // What was opened early is taken back only once its own second is settled, or when late events found that the
        // episode before it never ended.
        let is_replaced = announced.is_open() && open.is_some();
        let keep = goes_on || announced.shown.opened_s > judging.settled_s && !is_replaced;
        if !keep {
            announced.revision += 1;
            retracted.push((announced.shown.opened_s, announced.revision));
            let change = announced.change(Transition::Retracted, judging);
            // Whatever comes after the settled seconds, that opening will not come back.
            changes.push(Change { is_final: true, ..change });
        }
        keep
    });
    // After what is taken back: when two become one, the one that stays may be open again.
    changes.extend(shown);
    for computed in opened {
        let before = retracted.iter().filter(|(opened_s, _)| *opened_s == computed.opened_s);
        let revision = before.map(|(_, revision)| revision + 1).max().unwrap_or(0);
        announced.push(open_episode(computed, revision, judging, &mut changes));
    }
    let open_s = announced.iter().find(|a| a.is_open()).map(|a| a.shown.opened_s);
    for change in &mut changes {
        change.is_latest = match open_s {
            Some(open_s) => change.shown.opened_s == open_s,
            None => {
                change.ends_an_open_one()
                    || announced.iter().all(|a| a.shown.opened_s <= change.shown.opened_s)
            }
        };
    }
    changes
}

/// For each computed episode the announced one it goes on as: the one it opened as, else open as open, else the first
/// it overlaps.
fn known_as(announced: &[Announced], computed: &[Episode]) -> Vec<Option<usize>> {
    let named = |episode: &Episode| announced.iter().position(|a| a.shown.opened_s == episode.opened_s);
    let mut known: Vec<Option<usize>> = computed.iter().map(named).collect();
    // What is told as open does not end because late events found an earlier episode of the same onset.
    if let (Some(last), Some(open)) = (computed.last(), announced.iter().position(Announced::is_open))
        && last.resolved_s.is_none()
        && announced[open].shown.overlaps(last)
        && !known.contains(&Some(open))
        && let Some(place @ None) = known.last_mut()
    {
        *place = Some(open);
    }
    for (at, episode) in computed.iter().enumerate() {
        if known[at].is_none() {
            let free = |i: &usize| !known.contains(&Some(*i)) && announced[*i].shown.overlaps(episode);
            known[at] = (0..announced.len()).find(free);
        }
    }
    known
}

fn open_episode(computed: Episode, revision: u32, judging: Judging, changes: &mut Vec<Change>) -> Announced {
    let past = computed.resolved_s.is_some();
    let first = Episode { recovered_s: None, resolved_s: None, reason: None, ..computed };
    let mut new = Announced { shown: first, revision, told_s: judging.judged_s };
    changes.push(Change { past, ..new.change(Transition::Opened, judging) });
    if past && let Some(resolved) = new.show(&computed, None, judging) {
        changes.push(Change { past, is_final: true, ..resolved });
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(onset_s: i64, resolved_s: Option<i64>) -> Episode {
        Episode {
            onset_s,
            opened_s: onset_s,
            level: 0,
            worst_value_billionths: 0,
            bad_total: 0,
            recovered_s: resolved_s.map(|s| s - 5),
            resolved_s,
            reason: resolved_s.map(|_| ResolveReason::Recovered),
        }
    }

    fn settled(settled_s: i64) -> Judging {
        Judging { settled_s, judged_s: settled_s }
    }

    fn said(changes: &[Change]) -> Vec<(Transition, i64, u32)> {
        changes.iter().map(|c| (c.transition, c.shown.opened_s, c.revision)).collect()
    }

    fn told(
        announced: &mut Vec<Announced>,
        closed: &[Episode],
        open: Option<&Episode>,
        settled_s: i64,
        judged_s: i64,
    ) -> Vec<(Transition, i64, u32)> {
        let judging = Judging { settled_s, judged_s };
        said(&reconcile(announced, &mut Vec::new(), Computed { closed, open, again: None, judging }))
    }

    #[test]
    fn opens_early_and_takes_back_only_when_settled() {
        let mut announced = Vec::new();
        let open = episode(100, None);
        assert_eq!(told(&mut announced, &[], Some(&open), 98, 100), [(Transition::Opened, 100, 0)]);
        assert_eq!(told(&mut announced, &[], Some(&open), 98, 100), []);
        assert_eq!(told(&mut announced, &[], None, 99, 101), []);
        assert_eq!(told(&mut announced, &[], None, 100, 102), [(Transition::Retracted, 100, 1)]);
        assert!(announced.is_empty());
    }

    #[test]
    fn late_data_updates_retracts_and_finds_what_is_past() {
        let mut announced = Vec::new();
        told(&mut announced, &[], Some(&episode(100, None)), 100, 100);
        let closed = episode(100, Some(150));
        assert_eq!(told(&mut announced, &[closed], None, 150, 150), [(Transition::Resolved, 100, 1)]);
        let longer = episode(90, Some(160));
        assert_eq!(told(&mut announced, &[longer], None, 170, 170), [(Transition::Updated, 100, 2)]);
        let other = episode(200, Some(230));
        assert_eq!(
            told(&mut announced, &[other], None, 240, 240),
            [(Transition::Retracted, 100, 3), (Transition::Opened, 200, 0), (Transition::Resolved, 200, 1)]
        );
    }

    #[test]
    fn what_opens_again_after_it_was_taken_back_goes_on_counting() {
        let (mut announced, mut retracted) = (Vec::new(), Vec::new());
        let open = episode(100, None);
        let mut at = |open, settled_s| {
            let computed = Computed { closed: &[], open, again: None, judging: settled(settled_s) };
            said(&reconcile(&mut announced, &mut retracted, computed))
        };
        assert_eq!(at(Some(&open), 100), [(Transition::Opened, 100, 0)]);
        assert_eq!(at(None, 101), [(Transition::Retracted, 100, 1)]);
        assert_eq!(at(Some(&open), 102), [(Transition::Opened, 100, 2)]);
    }

    #[test]
    fn an_early_opening_gives_way_to_the_episode_before_that_never_ended() {
        let mut announced = Vec::new();
        told(&mut announced, &[episode(100, Some(160))], Some(&episode(190, None)), 185, 195);
        let open = episode(100, None);
        let judging = Judging { settled_s: 185, judged_s: 195 };
        let computed = Computed { closed: &[], open: Some(&open), again: None, judging };
        let changes = reconcile(&mut announced, &mut Vec::new(), computed);
        assert_eq!(said(&changes), [(Transition::Retracted, 190, 1), (Transition::Updated, 100, 2)]);
        assert_eq!(changes.iter().map(|change| change.is_latest).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_is_told_as_open_goes_on_as_what_is_open() {
        let mut announced = Vec::new();
        told(&mut announced, &[], Some(&Episode { opened_s: 168, ..episode(100, None) }), 160, 170);
        // A level that waited since 100 lends its onset to two episodes.
        let past = Episode { opened_s: 110, ..episode(100, Some(154)) };
        let open = Episode { opened_s: 167, ..episode(100, None) };
        let computed = Computed { closed: &[past], open: Some(&open), again: None, judging: settled(170) };
        let changes = reconcile(&mut announced, &mut Vec::new(), computed);
        assert_eq!(said(&changes), [(Transition::Opened, 110, 0), (Transition::Resolved, 110, 1)]);
        assert!(changes.iter().all(|change| !change.is_latest));
    }

    #[test]
    fn the_one_that_is_open_is_the_latest_whatever_it_is_called() {
        let resolved = Episode { opened_s: 168, ..episode(100, Some(154)) };
        let mut announced = vec![Announced { shown: resolved, revision: 1, told_s: 154 }];
        let open = episode(160, None);
        let opened = Computed { closed: &[resolved], open: Some(&open), again: None, judging: settled(170) };
        let changes = reconcile(&mut announced, &mut Vec::new(), opened);
        assert_eq!(said(&changes), [(Transition::Opened, 160, 0)]);
        assert!(changes[0].is_latest);
        let retracted = Computed { closed: &[resolved], open: None, again: None, judging: settled(180) };
        let changes = reconcile(&mut announced, &mut Vec::new(), retracted);
        assert_eq!(said(&changes), [(Transition::Retracted, 160, 1)]);
        assert!(changes[0].is_latest);
    }
}
