//! What came of a backtest, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use plimsoll::core::output::Transition;
use plimsoll::core::time::{SECOND_US, rfc3339};
use plimsoll::slo::alarm::{Alarm, alarms, pages_a_week};
use plimsoll::slo::backtest::Played;
use plimsoll::slo::case::Observed;
use plimsoll::slo::compare::{Shown, is_one_day};
use plimsoll::slo::curve::Curve;
use plimsoll::slo::difference::{By, difference};
use plimsoll::slo::incident::{Incident, Score};
use plimsoll::slo::plot::{Plot, PlotLine};
use plimsoll::slo::span::span;
use serde_json::{Value, json};

use super::play::Seen;

/// One set of rules and what it would have said.
pub struct Version {
    /// As it was given.
    pub folder: String,
    /// Records were read from here on.
    pub begin_s: i64,
    pub from_s: i64,
    pub to_s: i64,
    pub seen: Seen,
    pub played: Played,
}

/// One version, or two to be compared.
pub struct Report<'a> {
    pub versions: Vec<Version>,
    pub incidents: Option<&'a [Incident]>,
}

impl Report<'_> {
    pub fn text(&self) -> String {
        let mut text = String::new();
        for version in &self.versions {
            line(&mut text, format_args!("{}", version.heading()));
        }
        text.push('\n');
        self.transitions(&mut text);
        self.rules(&mut text);
        for version in &self.versions {
            version.totals(self.incidents, &mut text);
        }
        for version in &self.versions {
            version.budgets(&mut text);
        }
        text
    }

    fn lines(&self) -> Vec<(By, &Observed)> {
        match self.versions.as_slice() {
            [first, second] => difference(&first.played.told, &second.played.told),
            all => all.iter().flat_map(|v| &v.played.told).map(|told| (By::Both, &told.observed)).collect(),
        }
    }

    fn transitions(&self, text: &mut String) {
        let lines = self.lines();
        let rules: BTreeSet<&str> = lines.iter().map(|(_, observed)| observed.rule.as_str()).collect();
        let one_day = is_one_day(lines.iter().map(|(_, observed)| observed.at_s));
        let shown = Shown { one_day, one_rule: rules.len() == 1 };
        if let [first, second] = self.versions.as_slice() {
            line(text, format_args!("- only {}, + only {}:", first.folder, second.folder));
        }
        for (by, observed) in &lines {
            line(text, format_args!("    {} {}", by.mark(), shown.observed(observed)));
        }
        if lines.is_empty() {
            line(text, format_args!("    no transition"));
        }
        text.push('\n');
    }

    /// Each rule that said anything: how often it opened and paged, by version.
    fn rules(&self, text: &mut String) {
        let mut rules: BTreeMap<String, Vec<[usize; 3]>> = BTreeMap::new();
        for (at, version) in self.versions.iter().enumerate() {
            for alarm in alarms(&version.played.told) {
                let counts = rules.entry(alarm.rule).or_insert_with(|| vec![[0; 3]; self.versions.len()]);
                counts[at][0] += 1;
                counts[at][1] += usize::from(alarm.paged_s.is_some());
                counts[at][2] += usize::from(alarm.retracted);
            }
        }
        if rules.is_empty() {
            return;
        }
        let width = rules.keys().map(String::len).max().unwrap_or(0).max("rule".len());
        let columns = |cells: &[String]| cells.iter().map(|cell| format!("{cell:>16}")).collect::<String>();
        let head = ["episodes", "pages", "retracted"].map(str::to_owned);
        line(text, format_args!("{:width$}{}", "rule", columns(&head)));
        for (rule, counts) in rules {
            let cell = |column: usize| {
                let cells: Vec<String> = counts.iter().map(|counts| counts[column].to_string()).collect();
                cells.join(" -> ")
            };
            line(text, format_args!("{rule:width$}{}", columns(&[cell(0), cell(1), cell(2)])));
        }
        text.push('\n');
    }

    pub fn json(&self) -> Value {
        let versions: Vec<Value> = self.versions.iter().map(|version| version.json(self.incidents)).collect();
        let mut report = json!({ "versions": versions });
        if self.versions.len() == 2 {
            let lines = self.lines().into_iter();
            let lines = lines.map(|(by, observed)| json!({"by": by.name(), "transition": record(observed)}));
            report["difference"] = lines.collect();
        }
        report
    }

    /// The budgets over time as SVG.
    pub fn plot(&self) -> String {
        let several = self.versions.len() > 1;
        let lines = self.versions.iter().enumerate().flat_map(|(at, version)| {
            version.played.curves.iter().map(move |curve| PlotLine {
                name: match several {
                    true => format!("{} ({})", curve.name(), version.folder),
                    false => curve.name(),
                },
                dashed: at > 0,
                points: &curve.points,
            })
        });
        let (from_s, to_s) = self.versions.first().map_or((0, 1), |version| (version.from_s, version.to_s));
        let title = format!("Error budgets, {} to {}", moment(from_s), moment(to_s));
        Plot { title, from_s, to_s, lines: lines.collect() }.svg()
    }
}

impl Version {
    fn heading(&self) -> String {
        let Played { refused, unplayed, .. } = &self.played;
        let Seen { records, first_s } = self.seen;
        let (from, to, length) = (moment(self.from_s), moment(self.to_s), span(self.to_s - self.from_s));
        let mut text = format!("{}: {from} to {to} ({length}), {records} records", self.folder);
        if self.begin_s < self.from_s {
            text.push_str(&format!(" since {}", moment(self.begin_s)));
        }
        for (reason, records) in refused {
            text.push_str(&format!("\n  {records} are no events or came too late: {reason}"));
        }
        match first_s {
            Some(first_s) if first_s > self.from_s => {
                text.push_str(&format!(
                    "\n  the first is of {}: what was before is not known",
                    moment(first_s)
                ));
            }
            Some(_) => {}
            None => text
                .push_str("\n  there is no record of this time: see --from, --to and the topics' retention"),
        }
        if !unplayed.is_empty() {
            text.push_str(&format!("\n  about lag, which leaves no records: {}", unplayed.join(", ")));
        }
        text
    }

    fn totals(&self, incidents: Option<&[Incident]>, text: &mut String) {
        let alarms = alarms(&self.played.told);
        let pages = alarms.iter().filter(|alarm| alarm.paged_s.is_some()).count();
        let a_week = pages_a_week(&alarms, self.to_s - self.from_s);
        let head = format!("{}: {} episodes, {pages} pages", self.folder, alarms.len());
        line(text, format_args!("{head} ({a_week:.1} a week)"));
        let Some(incidents) = incidents else { return };
        for (name, score) in scores(&alarms, incidents) {
            let Score { alarms, right, incidents, found, .. } = score;
            let shares =
                [("precision", score.precision()), ("recall", score.recall())].map(|(word, share)| {
                    format!(
                        "{word} {}",
                        share.map_or("unknown".to_owned(), |share| format!("{:.0} %", share * 100.0))
                    )
                });
            let counts = format!("{right} of {alarms} right, {found} of {incidents} incidents found");
            line(text, format_args!("  {name}: {} ({counts})", shares.join(", ")));
        }
        let [(_, all), _] = scores(&alarms, incidents);
        for (incident, after_s) in incidents.iter().zip(all.found_after_s) {
            let how = match after_s {
                None => "missed".to_owned(),
                Some(after_s) if after_s < 0 => "an alarm was on before".to_owned(),
                Some(after_s) => format!("found after {}", span(after_s)),
            };
            line(text, format_args!("  incident of {}: {how}", moment(incident.from_s)));
        }
    }

    fn budgets(&self, text: &mut String) {
        let curves = &self.played.curves;
        if curves.is_empty() {
            return;
        }
        let names: Vec<String> = curves.iter().map(Curve::name).collect();
        let head = format!("budget left, {}", self.folder);
        let width = names.iter().map(String::len).max().unwrap_or(0).max(head.len());
        line(text, format_args!("\n{head:width$}{:>12}{:>12}{:>12}", "first", "lowest", "last"));
        for (name, curve) in names.iter().zip(curves) {
            let [first, lowest, last] = [curve.first(), curve.lowest(), curve.last()]
                .map(|left| format!("{:.1} %", left as f64 / 1e7));
            line(text, format_args!("{name:width$}{first:>12}{lowest:>12}{last:>12}"));
        }
    }

    fn json(&self, incidents: Option<&[Incident]>) -> Value {
        let Played { told, curves, refused, unplayed } = &self.played;
        let Seen { records, first_s } = self.seen;
        let alarms = alarms(told);
        let budget = |curve: &Curve| {
            let points = curve.points.iter().map(|(at_s, left)| json!([moment(*at_s), *left as f64 / 1e9]));
            json!({
                "rule": curve.rule,
                "group": curve.group.iter().cloned().collect::<BTreeMap<_, _>>(),
                "lowest": curve.lowest() as f64 / 1e9,
                "left": points.collect::<Vec<_>>(),
            })
        };
        let mut version = json!({
            "config": self.folder,
            "from": moment(self.from_s),
            "to": moment(self.to_s),
            "read_from": moment(self.begin_s),
            "records": records,
            "refused": refused,
            "first_record": first_s.map(moment),
            "not_played": unplayed,
            "transitions": told.iter().map(|told| record(&told.observed)).collect::<Vec<_>>(),
            "episodes": alarms.len(),
            "pages": alarms.iter().filter(|alarm| alarm.paged_s.is_some()).count(),
            "pages_a_week": pages_a_week(&alarms, self.to_s - self.from_s),
            "budgets": curves.iter().map(budget).collect::<Vec<_>>(),
        });
        if let Some(incidents) = incidents {
            let scores = scores(&alarms, incidents).into_iter();
            version["incidents"] =
                scores.map(|(name, score)| (name.to_owned(), score_record(&score))).collect();
        }
        version
    }
}

/// Of all episodes, and of those that paged.
fn scores(alarms: &[Alarm], incidents: &[Incident]) -> [(&'static str, Score); 2] {
    let stood = alarms.iter().filter(|alarm| !alarm.retracted).map(|alarm| (alarm, alarm.opened_s));
    // A page that was taken back woke somebody all the same.
    let paged = alarms.iter().filter_map(|alarm| Some((alarm, alarm.paged_s?)));
    [("episodes", Score::of(stood, incidents)), ("pages", Score::of(paged, incidents))]
}

fn score_record(score: &Score) -> Value {
    json!({
        "alarms": score.alarms,
        "right": score.right,
        "precision": score.precision(),
        "incidents": score.incidents,
        "found": score.found,
        "recall": score.recall(),
        "found_after_s": score.found_after_s,
    })
}

fn record(observed: &Observed) -> Value {
    let onset = (observed.transition == Transition::Opened).then(|| moment(observed.onset_s));
    json!({
        "at": moment(observed.at_s),
        "transition": observed.transition.name(),
        "rule": observed.rule,
        "level": observed.level,
        "severity": observed.severity,
        "labels": observed.labels,
        "reason": observed.reason,
        "onset": onset,
        "said": moment(observed.said_s),
    })
}

fn moment(at_s: i64) -> String {
    rfc3339(at_s.saturating_mul(SECOND_US)).replace(".000000Z", "Z")
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "{line}");
}
