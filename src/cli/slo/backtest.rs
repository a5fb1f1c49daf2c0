//! `plimsoll slo backtest`

mod gate;
mod play;
mod records;
mod report;
mod share;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use clap::Args;
use plimsoll::config::diagnostic::suggestion;
use plimsoll::config::settings::Settings;
use plimsoll::config::{Document, written_duration_us};
use plimsoll::core::alert::AlertRule;
use plimsoll::core::rules::Rules;
use plimsoll::core::source::Source;
use plimsoll::core::time::{SECOND_US, rfc3339, second_of};
use plimsoll::roles::wall_clock_us;
use plimsoll::slo::backtest::{Backtest, Frame, longest_window_s};
use plimsoll::slo::incident::{Incident, incidents};
use plimsoll::slo::{alone, named, names};

use super::{Failure, Format, Global, say};
use play::{broken, play};
use records::{RecordFile, Records, Topics};
use report::{Report, Version};

/// Say what rules would have said about the past, and what other rules would have said instead
///
/// The records that Kafka still holds, or those of a file, go through the very fold and shard that run, in the order
/// of their timestamps, on every core there is. Nothing is written to Kafka or to the database. Besides the transitions
/// between --from and --to you see how often people would have been paged, how far each error budget fell and, with
/// --incidents, which incidents would have been missed and which alarms were for nothing.
///
/// The transitions are those that `run` told, to the second; only what late events change may come up to ten seconds
/// earlier or later. Reminders that something is still open are left out, and so are rules on the lag of consumer
/// groups, which leaves no records. A budget is that of the records read: a month's budget over a day of records is
/// spent by that day alone.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct BacktestArgs {
    /// First moment that counts, as in 2025-10-31T02:00:00Z [default with --input: the first record]
    #[arg(long, value_name = "RFC3339")]
    from: Option<String>,
    /// Last moment that counts; records up to a quarter of an hour after it may still change it and are read too
    /// [default: the last moment that is final; with --input the last record]
    #[arg(long, value_name = "RFC3339")]
    to: Option<String>,
    /// A second configuration folder to compare with
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Records of `plimsoll generate --output` instead of those in Kafka
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only this rule (`document/rule`), or all of this SLO or document
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Records before --from that are read too, so that windows are whole; with less of them long windows, such as a
    /// burn rate's three days, begin empty [default: the longest window and its hold]
    #[arg(long, value_name = "DURATION")]
    warm_up: Option<String>,
    /// Incidents that people know of: a YAML list of {from, to, services}
    #[arg(long, value_name = "FILE")]
    incidents: Option<PathBuf>,
    /// Write the error budgets over time as a picture
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  What the rules in `config` would have said last Friday:
    plimsoll slo backtest --from 2025-10-31T00:00:00Z --to 2025-11-01T00:00:00Z
  Whether a stricter draft would have woken us more often, and for what (- only config, + only draft):
    plimsoll slo backtest --from 2025-10-24T00:00:00Z --against draft --plot budgets.svg
  How well one rule tells of the incidents we know:
    plimsoll slo backtest --from 2025-10-01T00:00:00Z --rule platform/error-rate --incidents known.yaml
  One hour, quickly: windows longer than an hour begin empty:
    plimsoll slo backtest --from 2025-10-31T02:00:00Z --to 2025-10-31T03:00:00Z --warm-up 1h
  Without Kafka:
    plimsoll generate --start 2025-10-31T02:00:00Z --span 1h --rate 200 --incident error-spike:20m..30m:20% \\
      --output hour.jsonl
    plimsoll slo backtest --input hour.jsonl

A file of incidents; without `services` any alarm may tell of it:
  - {from: 2025-10-31T02:20:00Z, to: 2025-10-31T02:30:00Z, services: [auth]}

An alarm is an episode that late events did not take back. It is right when it was on during an incident. It pages
once, when it first is P0 or P1 outside maintenance.

Exit codes: 0 done, 64 bad arguments or configuration, 69 the broker cannot be reached.";

pub fn run(global: &Global, args: &BacktestArgs) -> Result<(), Failure> {
    let times = Times::of(args)?;
    let incidents = args.incidents.as_deref().map(known_incidents).transpose()?;
    let first = global.load()?;
    let second = args.against.as_ref().map(|folder| global.load_folder(folder)).transpose()?;
    let folders = [Some(&global.config), args.against.as_ref()].into_iter().flatten();
    let rules = [Some(&first.rules), second.as_ref().map(|loaded| &loaded.rules)].into_iter().flatten();
    let drafts = folders.zip(rules).map(|(folder, rules)| Draft::of(folder, rules, args.rule.as_deref()));
    let drafts: Vec<Draft<'_>> = drafts.collect();
    if drafts.iter().all(|draft| draft.tested.is_empty()) {
        return Err(nothing_to_test(&drafts, args.rule.as_deref()));
    }
    let (records, period) = find(&drafts, &first.settings, &times, args)?;
    let versions = versions(drafts, &records, period, first.settings.limits.record_bytes)?;
    let report = Report { versions, incidents: incidents.as_deref() };
    if let Some(path) = &args.plot {
        std::fs::write(path, report.plot()).map_err(|error| unusable("--plot", path, &error))?;
    }
    match global.format {
        Format::Text => say(report.text().trim_end()),
        Format::Json => say(report.json()),
    }
    Ok(())
}

/// One set of rules to be tried.
struct Draft<'a> {
    folder: &'a Path,
    rules: &'a Rules,
    tested: Vec<AlertRule>,
}

impl<'a> Draft<'a> {
    fn of(folder: &'a Path, rules: &'a Rules, only: Option<&str>) -> Draft<'a> {
        let tested = match only {
            Some(name) => named(rules, name).into_iter().cloned().collect(),
            None => rules.alerts.clone(),
        };
        Draft { folder, rules, tested }
    }

    /// Of the tested rules.
    fn sources(&self) -> Vec<Source> {
        alone(self.rules, &self.tested).sources
    }
}

fn nothing_to_test(drafts: &[Draft<'_>], only: Option<&str>) -> Failure {
    let Some(name) = only else { return Failure::usage("the configuration has no rules and no SLOs") };
    let known: BTreeSet<String> = drafts.iter().flat_map(|draft| names(draft.rules)).collect();
    let help = suggestion(name, known.iter().map(String::as_str));
    Failure::usage(format_args!("--rule: no rule or SLO is called `{name}`\n  help: {help}"))
}

/// What the options say about time, in seconds since 1970.
struct Times {
    from_s: Option<i64>,
    to_s: Option<i64>,
    warm_up_s: Option<i64>,
}

impl Times {
    fn of(args: &BacktestArgs) -> Result<Times, Failure> {
        let mut mistakes = Vec::new();
        let from_s = moment_s("--from", args.from.as_deref(), &mut mistakes);
        let to_s = moment_s("--to", args.to.as_deref(), &mut mistakes);
        let warm_up = args.warm_up.as_deref().map(written_duration_us).transpose();
        let warm_up = warm_up.map_err(|mistake| mistakes.push(format!("--warm-up: {mistake}")));
        if args.from.is_none() && args.input.is_none() {
            mistakes.push("--from is missing: say where to begin, or give a file with --input".to_owned());
        }
        if let (Some(from_s), Some(to_s)) = (from_s, to_s)
            && to_s <= from_s
        {
            mistakes.push("--to is not after --from: let it end after it begins".to_owned());
        }
        match (mistakes.is_empty(), warm_up) {
            (true, Ok(warm_up_us)) => {
                Ok(Times { from_s, to_s, warm_up_s: warm_up_us.map(|us| us / SECOND_US) })
            }
            _ => Err(Failure::usage(mistakes.join("\n"))),
        }
    }
}

fn moment_s(option: &str, text: Option<&str>, mistakes: &mut Vec<String>) -> Option<i64> {
    let text = text?;
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Some(at.as_second()),
        Err(_) => {
            mistakes.push(format!(
                "{option}: `{text}` is no RFC 3339 time; write it like `2025-10-31T02:00:00Z`"
            ));
            None
        }
    }
}

fn known_incidents(path: &Path) -> Result<Vec<Incident>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| unusable("--incidents", path, &error))?;
    Ok(incidents(&Document { path: path.to_string_lossy().into_owned(), text })?)
}

fn unusable(option: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format_args!("{option}: {}: {error}", path.display()))
}

/// The time that is looked at, in seconds since 1970.
#[derive(Clone, Copy)]
struct Period {
    /// No earlier record is read.
    begin_s: i64,
    from_s: i64,
    to_s: i64,
    /// What is later has not come yet.
    now_s: i64,
}

/// The records that the drafts want, and the time they are about.
fn find(
    drafts: &[Draft<'_>],
    settings: &Settings,
    times: &Times,
    args: &BacktestArgs,
) -> Result<(Records, Period), Failure> {
    let sources: Vec<Source> = drafts.iter().flat_map(Draft::sources).collect();
    let held = |source: &Source| source.event_time.out_of_order_us + source.event_time.idle_after_us;
    let held_s = sources.iter().map(held).max().unwrap_or(0) / SECOND_US + 1;
    let topics: Topics = sources.into_iter().map(|source| (source.topic, source.optional)).collect();
    let longest_s = drafts.iter().map(|draft| longest_window_s(&draft.tested)).max().unwrap_or(0);
    let warm_up_s = times.warm_up_s.unwrap_or(longest_s);
    if let Some(path) = &args.input {
        let file = RecordFile::look(path, &topics)?;
        let (from_s, to_s) = (times.from_s.unwrap_or(file.first_s), times.to_s.unwrap_or(file.last_s));
        if to_s <= from_s {
            let [first, last] = [file.first_s, file.last_s].map(|at_s| rfc3339(at_s * SECOND_US));
            return Err(Failure::usage(format_args!(
                "{}: its records are of {first} to {last}, which --from and --to leave out",
                path.display(),
            )));
        }
        let begin_s = times.from_s.map_or(file.first_s, |from_s| from_s - warm_up_s);
        return Ok((Records::File(file), Period { begin_s, from_s, to_s, now_s: i64::MAX }));
    }
    let Some(from_s) = times.from_s else { return Err(Failure::usage("--from is missing")) };
    let now_s = second_of(wall_clock_us());
    // What has happened since may still be on its way.
    let settled_s = now_s - held_s;
    let to_s = times.to_s.map_or(settled_s, |to_s| to_s.min(settled_s));
    if to_s <= from_s {
        let settled = rfc3339(settled_s * SECOND_US);
        return Err(Failure::usage(format_args!(
            "--from: nothing after {settled} is final yet; begin before that"
        )));
    }
    let records = Records::of_kafka(&settings.kafka, &topics)?;
    Ok((records, Period { begin_s: from_s - warm_up_s, from_s, to_s, now_s }))
}

/// Plays the records to every draft.
fn versions(
    drafts: Vec<Draft<'_>>,
    records: &Records,
    period: Period,
    record_bytes: usize,
) -> Result<Vec<Version>, Failure> {
    let Period { begin_s, from_s, to_s, now_s } = period;
    let frame = Frame { from_s, to_s, record_bytes };
    let begin = |draft: &Draft<'_>| Backtest::new(draft.rules, &draft.tested, frame).map_err(broken);
    let mut backtests = drafts.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
    let until_s = backtests.iter().map(Backtest::until_s).max().unwrap_or(to_s).min(now_s);
    let workers = available_parallelism().map_or(1, usize::from);
    let seen = play(&mut backtests, records.open(begin_s..until_s, workers)?, until_s)?;
    let finish = |(draft, backtest): (Draft<'_>, Backtest)| Version {
        folder: draft.folder.display().to_string(),
        begin_s,
        from_s,
        to_s,
        seen,
        played: backtest.finish(),
    };
    Ok(drafts.into_iter().zip(backtests).map(finish).collect())
}
