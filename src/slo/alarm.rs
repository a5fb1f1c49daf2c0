//! Episodes as the people on call lived them: when one opened, whether it paged, how long it lasted.

use std::collections::{BTreeMap, BTreeSet};

use super::case::Observed;
use crate::core::output::{Breach, Transition};

/// Priorities that wake somebody.
const PAGING: [&str; 2] = ["P0", "P1"];

/// A transition that came of a backtest, and what it did to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub observed: Observed,
    /// Names the episode, with the rule and the group.
    pub opened_s: i64,
    /// None: it is open.
    pub resolved_s: Option<i64>,
    /// Of a priority that pages, not under maintenance, and not found only when it was past.
    pub pages: bool,
    /// The service the rule speaks for, and the one its labels name.
    pub services: BTreeSet<String>,
}

impl Told {
    pub fn of(observed: Observed, breach: &Breach) -> Told {
        let is_told = matches!(breach.transition, Transition::Opened | Transition::Updated);
        let urgent = PAGING.contains(&breach.priority.as_str());
        let labelled = breach.labels.iter().filter(|(name, _)| name == "service").map(|(_, value)| value);
        Told {
            opened_s: breach.opened_s,
            resolved_s: breach.resolved_s,
            pages: is_told && urgent && !breach.stale && breach.suppressed_by.is_empty(),
            services: breach.service.iter().chain(labelled).cloned().collect(),
            observed,
        }
    }
}

/// One episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub rule: String,
    pub group: Vec<(String, String)>,
    pub services: BTreeSet<String>,
    pub opened_s: i64,
    pub onset_s: i64,
    /// None: it was still open at the end.
    pub ended_s: Option<i64>,
    /// Late events took it back: it should never have been.
    pub retracted: bool,
    /// When it first had a priority that pages; an episode pages once.
    pub paged_s: Option<i64>,
}

/// The episodes that transitions tell of, in the order of opening; one that opened before them is among them.
pub fn alarms(told: &[Told]) -> Vec<Alarm> {
    let mut alarms = BTreeMap::new();
    for one in told {
        let Told { observed, opened_s, .. } = one;
        let key = (*opened_s, observed.rule.as_str(), observed.group.as_slice());
        let alarm = alarms.entry(key).or_insert_with(|| Alarm {
            rule: observed.rule.clone(),
            group: observed.group.clone(),
            services: one.services.clone(),
            opened_s: *opened_s,
            onset_s: observed.onset_s,
            ended_s: None,
            retracted: false,
            paged_s: None,
        });
        alarm.onset_s = observed.onset_s;
        if one.pages {
            alarm.paged_s.get_or_insert(observed.at_s);
        }
        match observed.transition {
            // Late events may move an end, or open again what had one.
            Transition::Opened | Transition::Updated | Transition::Resolved => alarm.ended_s = one.resolved_s,
            Transition::Retracted => (alarm.ended_s, alarm.retracted) = (Some(observed.at_s), true),
        }
    }
    alarms.into_values().collect()
}

/// Pages in a week, at the pace of `span_s` seconds.
pub fn pages_a_week(alarms: &[Alarm], span_s: i64) -> f64 {
    let pages = alarms.iter().filter(|alarm| alarm.paged_s.is_some()).count();
    pages as f64 * 7.0 * 86_400.0 / span_s.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(transition: Transition, resolved_s: Option<i64>) -> Told {
        let observed = Observed {
            at_s: 100,
            transition,
            level: "high".into(),
            rule: "shop/errors".into(),
            severity: "high".into(),
            labels: BTreeMap::new(),
            group: Vec::new(),
            reason: None,
            onset_s: 90,
            said_s: 100,
        };
        Told { observed, opened_s: 100, resolved_s, pages: false, services: BTreeSet::new() }
    }

    #[test]
    fn late_events_move_an_end_or_take_it_back() {
        let over = [told(Transition::Opened, None), told(Transition::Resolved, Some(200))];
        let ended_s =
            |update| alarms(&[over.as_slice(), &[told(Transition::Updated, update)]].concat())[0].ended_s;
        assert_eq!(alarms(&over)[0].ended_s, Some(200));
        assert_eq!((ended_s(Some(230)), ended_s(None)), (Some(230), None));
    }
}
