//! How rules name other rules: `name` in the same document, else `document/name`.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Problem, suggestion};
use super::kind::NativeKind;
use crate::core::alert::{AlertRule, RuleKind};
use crate::core::objective::{Indicator, Objective};

/// The objectives of SLO documents, each the rule it is judged by.
#[derive(Debug, Default)]
pub struct Objectives {
    pub rules: Vec<AlertRule>,
    /// Names of SLO documents with mistakes of their own, so nothing is said about references to them.
    pub unreadable: Vec<String>,
}

/// Rules that others may name.
#[derive(Default)]
pub struct Known {
    /// By full name; None: its kind could not be read.
    declared: BTreeMap<String, Option<NativeKind>>,
    /// Those that are right, by full name.
    read: BTreeMap<String, AlertRule>,
    unreadable_slos: Vec<String>,
}

impl Known {
    pub fn new(objectives: Objectives) -> Known {
        let read = objectives.rules.into_iter().map(|rule| (rule.full_name(), rule)).collect();
        Known { declared: BTreeMap::new(), read, unreadable_slos: objectives.unreadable }
    }

    /// # Errors
    /// An objective has the name already: both would say the same of themselves in breaches.
    pub fn declare(&mut self, document: &str, name: &str, kind: Option<NativeKind>) -> Result<(), Problem> {
        let full_name = format!("{document}/{name}");
        if self.read.contains_key(&full_name) {
            let message = format!("`{full_name}` is also an objective of the SLO `{document}`");
            return Err(Problem::new(message, "rename the rule or its document"));
        }
        self.declared.insert(full_name, kind);
        Ok(())
    }

    pub fn add(&mut self, rule: AlertRule) {
        self.read.insert(rule.full_name(), rule);
    }

    pub fn into_rules(self) -> Vec<AlertRule> {
        self.read.into_values().collect()
    }

    /// The rule that `written` means in `document`, to be a part of a COMPOSITE. None: it has mistakes of its own.
    ///
    /// # Errors
    /// There is none, or it has no single number.
    pub fn part(&self, written: &str, document: &str) -> Result<Option<&AlertRule>, Problem> {
        let full_name = match written.contains('/') {
            true => written.to_owned(),
            false => format!("{document}/{written}"),
        };
        if self.declared.get(&full_name) == Some(&Some(NativeKind::Composite)) {
            let help = "name the parts of that rule here, each with its weight";
            return Err(Problem::new(format!("`{written}` is a COMPOSITE itself"), help));
        }
        let Some(rule) = self.read.get(&full_name) else {
            let slo = full_name.split('/').next().unwrap_or_default();
            if self.declared.contains_key(&full_name) || self.unreadable_slos.iter().any(|name| name == slo) {
                return Ok(None);
            }
            let names = self.part_names(if written.contains('/') { None } else { Some(document) });
            let help = suggestion(written, names.iter().copied());
            return Err(Problem::new(format!("no rule is called `{written}`"), help));
        };
        if !rule.is_ungrouped() {
            let help = "write a rule without `group_by`: a part is one number";
            return Err(Problem::new(format!("`{written}` has groups"), help));
        }
        if rule.objective.as_ref().is_some_and(is_of_composite) {
            let help = "name the parts of that COMPOSITE here";
            return Err(Problem::new(format!("`{written}` is made of a COMPOSITE"), help));
        }
        if rule.has_slices() {
            let help = "a part is read over the window of its score: name a rule on the events, the rate or the lag itself";
            return Err(Problem::new(format!("`{written}` counts slices of time"), help));
        }
        Ok(Some(rule))
    }

    /// Rules that may be parts, as they are written in `document`; None: in full.
    fn part_names(&self, document: Option<&str>) -> Vec<&str> {
        let is_part = |name: &&String| self.declared.get(*name) != Some(&Some(NativeKind::Composite));
        let all: BTreeSet<&String> = self.declared.keys().chain(self.read.keys()).filter(is_part).collect();
        let short = |name| match str::split_once(name, '/') {
            Some((home, rest)) if document == Some(home) => rest,
            _ => name,
        };
        all.into_iter().map(|name| short(name.as_str())).collect()
    }

    /// The objective `name` of `slo`, or its only one. None: the SLO has mistakes of its own.
    ///
    /// # Errors
    /// There is none, or no single one.
    pub fn objective(&self, slo: &str, name: Option<&str>) -> Result<Option<&AlertRule>, Problem> {
        if self.unreadable_slos.iter().any(|unreadable| unreadable == slo) {
            return Ok(None);
        }
        let objectives = || self.read.values().filter(|rule| rule.kind == RuleKind::BurnRate);
        let of_slo: Vec<&AlertRule> = objectives().filter(|rule| rule.document == slo).collect();
        let names = || of_slo.iter().map(|rule| rule.name.as_str());
        match (name, &of_slo[..]) {
            (_, []) => {
                let help = suggestion(slo, objectives().map(|rule| rule.document.as_str()));
                Err(Problem::new(format!("no SLO is called `{slo}`"), help))
            }
            (None, [only]) => Ok(Some(*only)),
            (None, _) => {
                let all: Vec<&str> = names().collect();
                let message = format!("the SLO `{slo}` has several objectives");
                Err(Problem::new(message, format!("add `objective:`, one of {}", all.join(", "))))
            }
            (Some(name), _) => {
                of_slo.iter().find(|rule| rule.name == name).map(|rule| Some(*rule)).ok_or_else(|| {
                    let message = format!("the SLO `{slo}` has no objective `{name}`");
                    Problem::new(message, suggestion(name, names()))
                })
            }
        }
    }
}

fn is_of_composite(objective: &Objective) -> bool {
    matches!(objective.indicator, Indicator::Composite { .. })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::alert::alert_rules;
    use super::super::diagnostic::Diagnostics;
    use super::super::manifest::manifest;
    use super::super::severity::default_severities;
    use super::super::yaml::documents;
    use super::*;
    use crate::core::alert::{Feed, Side};
    use crate::core::expr::{Comparison, Condition};
    use crate::core::objective::{EmptySlice, Method, Period};

    const DAY_S: i64 = 24 * 60 * 60;

    fn objective(slo: &str, name: &str, indicator: Indicator) -> AlertRule {
        let feed = |source: &str| Feed {
            source: source.into(),
            group_by: Vec::new(),
            filter: Condition::True,
            bad: Condition::never(),
        };
        AlertRule {
            document: slo.into(),
            name: name.into(),
            service: None,
            kind: RuleKind::BurnRate,
            feeds: vec![feed("orders"), feed("returns")],
            group_limit: 7,
            hold_s: 0,
            no_data_after_s: 0,
            correct_within_s: 0,
            levels: Vec::new(),
            labels: BTreeMap::new(),
            runbook: None,
            summary: None,
            objective: Some(Objective {
                slo: slo.into(),
                name: name.into(),
                target_billionths: 990_000_000,
                period: Period::Rolling { length_s: 28 * DAY_S },
                method: Method::Occurrences,
                indicator,
            }),
        }
    }

    fn objectives() -> Objectives {
        let composite =
            Indicator::Composite { rule: "shop/z".into(), op: Comparison::Less, value_billionths: 1 };
        let rules = vec![
            objective("speed", "fast", Indicator::Events),
            objective("speed", "faster", Indicator::Events),
            objective("uptime", "up", Indicator::Events),
            objective("health", "score", composite),
        ];
        let mut rules = rules;
        let slices = Method::Timeslices { slice_s: 60, target_billionths: 1, empty: EmptySlice::Good };
        let mut minutes = objective("minutes", "up", Indicator::Events);
        minutes.objective.as_mut().unwrap().method = slices;
        rules.push(minutes);
        Objectives { rules, unreadable: vec!["broken".into()] }
    }

    /// The rules of the document `uptime`, one to a line, with the objectives above; or all that is said.
    fn read(rules: &[&str]) -> Result<BTreeMap<String, AlertRule>, String> {
        let head =
            "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {name: uptime}\nspec:\n  rules:\n";
        let lines: Vec<String> = rules.iter().map(|rule| format!("    - {{{rule}}}\n")).collect();
        let mut diagnostics = Diagnostics::default();
        let nodes = documents("uptime.yaml", &format!("{head}{}", lines.concat()), &mut diagnostics);
        let manifests: Vec<_> = nodes.iter().filter_map(|node| manifest(node, &mut diagnostics)).collect();
        let (sources, severities) = (BTreeMap::new(), default_severities());
        let read = alert_rules(manifests.iter(), &sources, &severities, objectives(), &mut diagnostics);
        let read = read.into_iter().map(|rule| (rule.full_name(), rule)).collect();
        diagnostics.finish(Some(read)).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_budget_is_that_of_its_objective() {
        let rules = read(&[
            "name: a, kind: BUDGET, slo: speed, objective: fast, high: {below: 0%}, low: {below: 25%}",
            "name: b, kind: BUDGET, slo: uptime, low: {below: 25%}",
        ]);
        let rules = rules.unwrap_or_else(|wrong| panic!("{wrong}"));
        let (budget, burn) = (&rules["uptime/a"], &rules["speed/fast"]);
        assert_eq!(budget.kind, RuleKind::Budget);
        assert_eq!((&budget.feeds, &budget.objective), (&burn.feeds, &burn.objective));
        assert_eq!(budget.group_limit, 7);
        let levels: Vec<_> =
            budget.levels.iter().map(|l| (l.side, l.threshold_billionths, l.window_s)).collect();
        assert_eq!(levels, [(Side::Below, 0, 28 * DAY_S), (Side::Below, 250_000_000, 28 * DAY_S)]);
        assert_eq!(rules["uptime/b"].objective, rules["uptime/up"].objective, "its only one");
    }

    #[test]
    fn what_a_budget_or_part_cannot_name_is_said() {
        let budget = |names: &str| {
            read(&[&format!("name: a, kind: BUDGET, {names}, low: {{below: 25%}}")]).unwrap_err()
        };
        assert_eq!(
            budget("slo: sped, objective: fast"),
            "uptime.yaml:6: `slo`: no SLO is called `sped`\n  help: did you mean `speed`?"
        );
        assert_eq!(
            budget("slo: speed, objective: fest"),
            "uptime.yaml:6: `slo`: the SLO `speed` has no objective `fest`\n  help: did you mean `fast`?"
        );
        assert_eq!(
            budget("slo: speed"),
            "uptime.yaml:6: `slo`: the SLO `speed` has several objectives\n  help: add `objective:`, one of fast, faster"
        );
        let silent = read(&["name: a, kind: BUDGET, slo: broken, objective: fast, low: {below: 25%}"]);
        assert!(
            silent.is_ok_and(|rules| !rules.contains_key("uptime/a")),
            "the SLO's own mistakes are said there"
        );
        let taken = read(&["name: up, kind: BUDGET, slo: uptime, low: {below: 25%}"]).unwrap_err();
        assert_eq!(
            taken,
            "uptime.yaml:6: `uptime/up` is also an objective of the SLO `uptime`\n  help: rename the rule or its document"
        );
    }

    #[test]
    fn a_part_may_be_a_burn_rate_or_a_budget() {
        let composite = |rule: &str| {
            format!(
                "name: z, kind: COMPOSITE, window: 1m, low: {{below: 90%}}, \
                 parts: [{{rule: a, full: 100%, zero: 0%}}, {{rule: {rule}, full: 0.5, zero: 14.4}}]"
            )
        };
        let budget = "name: a, kind: BUDGET, slo: uptime, low: {below: 25%}";
        let rules = read(&[&composite("speed/fast"), budget]).unwrap_or_else(|wrong| panic!("{wrong}"));
        let RuleKind::Composite(score) = &rules["uptime/z"].kind else { panic!("{rules:?}") };
        let scores: Vec<_> =
            score.parts.iter().map(|p| (p.rule.as_str(), p.full_billionths, p.zero_billionths)).collect();
        assert_eq!(scores, [("uptime/a", 1_000_000_000, 0), ("speed/fast", 500_000_000, 14_400_000_000)]);
        let said = read(&[&composite("health/score"), budget]).unwrap_err();
        assert!(said.contains("`health/score` is made of a COMPOSITE"), "{said}");
        let budget = "name: a, kind: BUDGET, slo: minutes, low: {below: 25%}";
        let said = read(&[&composite("minutes/up"), budget]).unwrap_err();
        assert!(said.contains("`a` counts slices of time"), "{said}");
        assert!(said.contains("`minutes/up` counts slices of time"), "{said}");
    }
}
