//! `plimsoll slo status`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use plimsoll::config::Loaded;
use plimsoll::config::diagnostic::suggestion;
use plimsoll::kafka::{Admin, Connection, read_whole};
use plimsoll::roles::wall_clock_us;
use plimsoll::slo::span::span;
use plimsoll::slo::{named, names};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Failure, Format, Global, say};

const ASK: Duration = Duration::from_secs(30);
const STALL: Duration = Duration::from_secs(30);
/// Shards speak every 10 s of log time.
const SILENT_AFTER_S: i64 = 60;
const HEARTBEAT: &str = "heartbeat/";

/// Say what is open now, and what is left of each error budget
///
/// It reads the two compacted topics that `run` keeps, `slo-breach-state` and `slo-status`, from their beginning to
/// their end: no replica is asked, and no database. Budgets are told once a minute of event time. Where nothing runs any
/// more the topics still say how things stood; how long ago that was is said too.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// Only `document/rule`, or all of this SLO or document
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

const EXAMPLES: &str = "Examples:
  plimsoll slo status
  plimsoll slo status requests-5xx                   # one SLO: its objectives and their burn rates
  plimsoll slo status && ./deploy.sh                 # only while nothing is open
  plimsoll slo status --format json | jq '.open[].summary'

With --format json `open` holds the records of slo-breach-state and `objectives` those of slo-status, as
schemas/breach.schema.json and schemas/slo-status.schema.json describe them.

Exit codes: 0 nothing is open, 1 something is, 64 bad arguments or configuration, 69 the broker cannot be reached.";

pub fn run(global: &Global, args: &StatusArgs) -> Result<(), Failure> {
    let Loaded { settings, rules, .. } = global.load()?;
    let of = |name: &String| named(&rules, name).into_iter().map(|rule| rule.full_name());
    let only: Option<BTreeSet<String>> = args.name.as_ref().map(|name| of(name).collect());
    if let (Some(name), Some(only)) = (&args.name, &only)
        && only.is_empty()
    {
        let known = names(&rules);
        let help = suggestion(name, known.iter().map(String::as_str));
        return Err(Failure::usage(format_args!("no rule or SLO is called `{name}`\n  help: {help}")));
    }
    let connection = Connection::new(&settings.kafka);
    connection.check(settings.kafka.connect_timeout)?;
    let topics = &settings.topics;
    let states = latest(&connection, &topics.full_name(&topics.breach_state))?;
    let objectives = latest(&connection, &topics.full_name(&topics.slo_status))?;
    let status = Status::of(states, objectives, |name| only.as_ref().is_none_or(|only| only.contains(name)))?;
    match global.format {
        Format::Text => say(status.text(wall_clock_us() / 1_000_000).trim_end()),
        Format::Json => say(status.json()),
    }
    match status.open.len() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 episode is open")),
        open => Err(Failure::failed(format_args!("{open} episodes are open"))),
    }
}

/// What a compacted topic says last of each key.
fn latest(connection: &Connection, topic: &str) -> Result<BTreeMap<String, Value>, Failure> {
    let infos = Admin::open(connection)?.describe(&[topic], ASK)?;
    let partitions = infos.first().map_or(0, |info| info.partitions);
    if partitions == 0 {
        return Err(Failure::usage(format_args!(
            "topic {topic} is missing on the broker\n  help: see --brokers and `topics.prefix`, or make it with `plimsoll \
             topics create`"
        )));
    }
    let (mut values, mut wrong) = (BTreeMap::new(), None);
    // A broker has far fewer partitions than 2^31.
    for partition in 0..partitions as i32 {
        read_whole(connection, topic, partition, STALL, |offset, key, value| {
            let key = String::from_utf8_lossy(key).into_owned();
            match value.map(serde_json::from_slice) {
                None => drop(values.remove(&key)),
                Some(Ok(value)) => drop(values.insert(key, value)),
                Some(Err(error)) => {
                    let what =
                        || format!("{topic}[{partition}], offset {offset}: not written by Plimsoll: {error}");
                    wrong.get_or_insert_with(what);
                }
            }
        })?;
    }
    match wrong {
        None => Ok(values),
        Some(wrong) => Err(Failure::usage(format_args!("{wrong}\n  help: see `topics` in plimsoll.yaml"))),
    }
}

/// Of a breach, what a line needs.
#[derive(Deserialize)]
struct Breach {
    transition: String,
    severity: String,
    priority: String,
    rule: RuleName,
    labels: BTreeMap<String, String>,
    opened_at: String,
    resolved_at: Option<String>,
    suppressed_by: Vec<String>,
    summary: String,
}

#[derive(Deserialize)]
struct RuleName {
    document: String,
    name: String,
}

#[derive(Deserialize)]
struct Objective {
    document: String,
    rule: String,
    kind: String,
    labels: BTreeMap<String, String>,
    evaluated_at: String,
    level: Option<String>,
    budget: Option<Budget>,
}

#[derive(Deserialize)]
struct Budget {
    remaining_ratio: String,
    exhausts_at: Option<String>,
}

#[derive(Deserialize)]
struct Heartbeat {
    log_time: String,
}

/// How everything stands, with the records that say so.
struct Status {
    /// The gravest first, then the oldest.
    open: Vec<(Breach, Value)>,
    /// By name.
    objectives: Vec<(Objective, Budget, Value)>,
    /// When the last of the shards spoke.
    spoke_s: Option<i64>,
}

impl Status {
    fn of(
        states: BTreeMap<String, Value>,
        statuses: BTreeMap<String, Value>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Status, Failure> {
        let (mut open, mut spoke_s) = (Vec::new(), None);
        for (key, value) in states {
            if key.starts_with(HEARTBEAT) {
                let heartbeat: Heartbeat = read(&key, &value)?;
                spoke_s =
                    spoke_s.max(heartbeat.log_time.parse::<jiff::Timestamp>().ok().map(|at| at.as_second()));
                continue;
            }
            let breach: Breach = read(&key, &value)?;
            // Late events may update what was resolved long ago.
            let is_open = breach.resolved_at.is_none() && breach.transition != "RETRACTED";
            if is_open && wanted(&format!("{}/{}", breach.rule.document, breach.rule.name)) {
                open.push((breach, value));
            }
        }
        open.sort_by(|(a, _), (b, _)| (&a.priority, &a.opened_at).cmp(&(&b.priority, &b.opened_at)));
        let mut objectives = Vec::new();
        for (key, value) in statuses {
            let mut objective: Objective = read(&key, &value)?;
            // Rules that watch a budget tell of it a second time.
            if objective.kind == "BURN_RATE"
                && wanted(&format!("{}/{}", objective.document, objective.rule))
                && let Some(budget) = objective.budget.take()
            {
                objectives.push((objective, budget, value));
            }
        }
        Ok(Status { open, objectives, spoke_s })
    }

    fn json(&self) -> Value {
        json!({
            "open": self.open.iter().map(|(_, record)| record).collect::<Vec<_>>(),
            "objectives": self.objectives.iter().map(|(.., record)| record).collect::<Vec<_>>(),
        })
    }

    fn text(&self, now_s: i64) -> String {
        let mut text = String::new();
        match self.spoke_s.map(|spoke_s| now_s - spoke_s) {
            None => line(&mut text, format_args!("nothing has run yet: see `plimsoll run`\n")),
            Some(ago_s) if ago_s > SILENT_AFTER_S => {
                line(
                    &mut text,
                    format_args!("nobody has judged for {}: this is how things stood\n", span(ago_s)),
                );
            }
            Some(_) => {}
        }
        line(&mut text, format_args!("{} open", self.open.len()));
        for (breach, _) in &self.open {
            let Breach { priority, severity, rule, opened_at, summary, .. } = breach;
            let name = named_group(&rule.document, &rule.name, &breach.labels);
            let since = opened_at.replace(".000000Z", "Z");
            line(&mut text, format_args!("  {priority} {severity:8} since {since} {name}"));
            line(&mut text, format_args!("     {summary}"));
            if !breach.suppressed_by.is_empty() {
                line(&mut text, format_args!("     under maintenance: {}", breach.suppressed_by.join(", ")));
            }
        }
        if self.objectives.is_empty() {
            return text;
        }
        let name =
            |objective: &Objective| named_group(&objective.document, &objective.rule, &objective.labels);
        let names: Vec<String> = self.objectives.iter().map(|(objective, ..)| name(objective)).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0).max("objective".len());
        let head = ["budget left", "level", "as of"];
        line(&mut text, format_args!("\n{:width$}{:>14}  {:10}{}", "objective", head[0], head[1], head[2]));
        for ((objective, budget, _), name) in self.objectives.iter().zip(&names) {
            let left = percent(&budget.remaining_ratio);
            let level = objective.level.as_deref().unwrap_or("-");
            let at = objective.evaluated_at.replace(".000000Z", "Z");
            let ends = budget
                .exhausts_at
                .as_ref()
                .map(|at| format!(", at this pace gone by {}", at.replace(".000000Z", "Z")));
            line(
                &mut text,
                format_args!("{name:width$}{left:>14}  {level:10}{at}{}", ends.unwrap_or_default()),
            );
        }
        text
    }
}

fn read<T: DeserializeOwned>(key: &str, value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| {
        Failure::usage(format_args!(
            "the record of {key} was not written by Plimsoll: {error}\n  help: see `topics` in plimsoll.yaml"
        ))
    })
}

/// `document/rule {label=value}`
fn named_group(document: &str, rule: &str, labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    match labels.is_empty() {
        true => format!("{document}/{rule}"),
        false => format!("{document}/{rule} {{{}}}", labels.join(", ")),
    }
}

/// A share such as `0.981234567`, shown with one digit.
fn percent(share: &str) -> String {
    share.parse::<f64>().map_or_else(|_| share.to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breach(rule: &str, transition: &str, priority: &str) -> Value {
        json!({
            "transition": transition, "severity": "high", "priority": priority, "labels": {"service": "auth"},
            "rule": {"document": "platform", "name": rule}, "opened_at": "2025-10-31T10:05:31.000000Z",
            "resolved_at": null, "suppressed_by": [], "summary": "7 % of requests failed",
        })
    }

    fn objective(kind: &str) -> Value {
        json!({
            "document": "requests", "rule": "failed", "kind": kind, "labels": {}, "level": null,
            "evaluated_at": "2025-10-31T10:06:00.000000Z",
            "budget": {"remaining_ratio": "0.981234567", "exhausts_at": null},
        })
    }

    fn status(wanted: impl Fn(&str) -> bool) -> Status {
        let over = |transition| {
            let mut over = breach("slow", transition, "P0");
            over["resolved_at"] = "2025-10-31T10:05:50.000000Z".into();
            over
        };
        let states = [
            ("a", breach("errors", "OPENED", "P1")),
            ("b", over("RESOLVED")),
            ("late", over("UPDATED")),
            ("never", breach("slow", "RETRACTED", "P0")),
            ("c", breach("worse", "UPDATED", "P0")),
            ("heartbeat/0", json!({"log_time": "2025-10-31T10:06:05.000000Z"})),
        ];
        let statuses = [("d", objective("BURN_RATE")), ("e", objective("BUDGET"))];
        let by_key =
            |all: &[(&str, Value)]| all.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
        Status::of(by_key(&states), by_key(&statuses), wanted).unwrap()
    }

    #[test]
    fn the_gravest_stands_first_and_what_is_over_nowhere() {
        let spoke_s = 1_761_905_165;
        let expected = "2 open
  P0 high     since 2025-10-31T10:05:31Z platform/worse {service=auth}
     7 % of requests failed
  P1 high     since 2025-10-31T10:05:31Z platform/errors {service=auth}
     7 % of requests failed

objective         budget left  level     as of
requests/failed        98.1 %  -         2025-10-31T10:06:00Z
";
        assert_eq!(status(|_| true).text(spoke_s + 60), expected);
        let old = status(|_| true).text(spoke_s + 3_600);
        assert!(old.starts_with("nobody has judged for 1 h: this is how things stood\n\n2 open"), "{old}");
    }

    #[test]
    fn one_name_may_be_asked_for() {
        let status = status(|name| name == "platform/errors");
        assert_eq!((status.open.len(), status.objectives.len()), (1, 0));
        assert_eq!(status.json()["open"][0]["priority"], "P1");
    }
}
