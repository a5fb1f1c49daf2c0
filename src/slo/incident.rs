//! Incidents people know of, and how well the alarms tell of them.

use std::collections::BTreeSet;

use super::alarm::Alarm;
use crate::config::Document;
use crate::config::diagnostic::{Diagnostics, Place, Problem};
use crate::config::maintenance::moment_s;
use crate::config::reader::{Mapping, list, owned_text};
use crate::config::yaml::{self, Node};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub from_s: i64,
    /// Exclusive.
    pub to_s: i64,
    /// Those it hit; empty: any.
    pub services: BTreeSet<String>,
}

impl Incident {
    /// Whether the alarm was on during the incident, about a service that it hit.
    pub fn is_told_by(&self, alarm: &Alarm) -> bool {
        let meant = self.services.is_empty() || !self.services.is_disjoint(&alarm.services);
        let ended = alarm.ended_s.is_some_and(|ended_s| ended_s <= self.from_s);
        meant && !ended && alarm.onset_s < self.to_s
    }
}

/// How alarms and incidents fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    pub alarms: usize,
    /// Alarms that tell of an incident.
    pub right: usize,
    pub incidents: usize,
    /// Incidents that an alarm tells of.
    pub found: usize,
    /// For each incident the seconds from its start to the first alarm; negative when that was open before.
    pub found_after_s: Vec<Option<i64>>,
}

impl Score {
    /// Of what `alarms` gives; the second is when each was raised.
    pub fn of<'a>(alarms: impl Iterator<Item = (&'a Alarm, i64)> + Clone, incidents: &[Incident]) -> Score {
        let is_right = |alarm: &Alarm| incidents.iter().any(|incident| incident.is_told_by(alarm));
        let first = |incident: &Incident| {
            let told = alarms.clone().filter(|(alarm, _)| incident.is_told_by(alarm));
            told.map(|(_, raised_s)| raised_s - incident.from_s).min()
        };
        let found_after_s: Vec<Option<i64>> = incidents.iter().map(first).collect();
        Score {
            alarms: alarms.clone().count(),
            right: alarms.filter(|(alarm, _)| is_right(alarm)).count(),
            incidents: incidents.len(),
            found: found_after_s.iter().flatten().count(),
            found_after_s,
        }
    }

    /// Share of the alarms that were right; None when there was none.
    pub fn precision(&self) -> Option<f64> {
        (self.alarms > 0).then(|| self.right as f64 / self.alarms as f64)
    }

    /// Share of the incidents that were found; None when there was none.
    pub fn recall(&self) -> Option<f64> {
        (self.incidents > 0).then(|| self.found as f64 / self.incidents as f64)
    }
}

/// The incidents of a file: a list of `{from, to, services}`, the last of which may be left out.
///
/// # Errors
/// Every mistake in the file.
pub fn incidents(document: &Document) -> Result<Vec<Incident>, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let roots = yaml::documents(&document.path, &document.text, &mut diagnostics);
    if roots.is_empty() && diagnostics.list.is_empty() {
        let help =
            "write a list: `- {from: 2026-03-01T22:00:00Z, to: 2026-03-01T22:20:00Z, services: [auth]}`";
        let place = Place::whole_file(&document.path);
        diagnostics.push(&place, Problem::new("the file holds no incidents", help));
    }
    let mut incidents = Vec::new();
    for root in &roots {
        let nodes = diagnostics.accept(&root.place, list(root)).unwrap_or_default();
        incidents.extend(nodes.iter().filter_map(|node| incident(node, &mut diagnostics)));
    }
    diagnostics.finish(Some(incidents))
}

fn incident(node: &Node, diagnostics: &mut Diagnostics) -> Option<Incident> {
    let keys = Mapping::open(node, &["from", "to", "services"], diagnostics)?;
    let from = keys.required("from", diagnostics, moment_s);
    let to = keys.required("to", diagnostics, moment_s);
    let names = keys.optional("services", diagnostics, list).unwrap_or_default();
    let services =
        names.iter().filter_map(|name| diagnostics.accept(&name.place, owned_text(name))).collect();
    let (from_s, to_s) = (from?, to?);
    if to_s <= from_s {
        let problem = Problem::new("`to` is not after `from`", "let the incident end after it begins");
        diagnostics.push(keys.place, problem);
        return None;
    }
    Some(Incident { from_s, to_s, services })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(onset_s: i64, ended_s: Option<i64>, service: &str) -> Alarm {
        Alarm {
            rule: "a/b".into(),
            group: Vec::new(),
            services: [service.to_owned()].into(),
            opened_s: onset_s + 5,
            onset_s,
            ended_s,
            retracted: false,
            paged_s: None,
        }
    }

    #[test]
    fn alarms_are_right_and_incidents_found_where_they_overlap() {
        let incident =
            |from_s, to_s, service: &str| Incident { from_s, to_s, services: [service.to_owned()].into() };
        let incidents = [incident(100, 200, "a"), incident(300, 400, "b"), incident(500, 600, "a")];
        let alarms = [
            alarm(110, Some(150), "a"),
            alarm(120, None, "a"),
            alarm(310, Some(390), "a"), // another service's
            alarm(400, Some(450), "b"), // just after
        ];
        let score = Score::of(alarms.iter().map(|alarm| (alarm, alarm.opened_s)), &incidents);
        // The open one was still on during the third.
        assert_eq!((score.alarms, score.right), (4, 2));
        assert_eq!(score.found_after_s, [Some(15), None, Some(125 - 500)]);
        assert_eq!((score.precision(), score.recall()), (Some(0.5), Some(2.0 / 3.0)));
    }

    #[test]
    fn mistakes_are_said_with_their_lines() {
        let text = "- {from: 2026-03-01T22:00:00Z, to: 2026-03-01T22:20:00Z, services: [auth]}
- {from: 2026-03-01T22:00:00Z, to: 2026-03-01T21:00:00Z}
- {from: noon, to: 2026-03-01T21:00:00Z, serivces: [a]}
";
        let wrong = incidents(&Document { path: "known.yaml".into(), text: text.into() }).unwrap_err();
        let lines: Vec<usize> = wrong.list.iter().map(|one| one.line).collect();
        assert_eq!(lines, [2, 3, 3], "{wrong}");
        let right = Document { path: "known.yaml".into(), text: text.lines().next().unwrap().into() };
        let read = incidents(&right).unwrap();
        assert_eq!((read.len(), read[0].to_s - read[0].from_s), (1, 1_200));
    }
}
