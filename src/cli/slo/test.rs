//! `plimsoll slo test`

use std::path::PathBuf;

use clap::Args;
use plimsoll::config::{Diagnostics, Document};
use plimsoll::slo::case::Case;
use plimsoll::slo::cases;
use plimsoll::slo::compare::{Comparison, Line, compare};
use plimsoll::slo::rehearsal::{Rehearsed, rehearse};
use serde_json::{Value, json};

use super::{Failure, Format, Global, say};

/// Test rules and SLOs on made-up events
///
/// Each case names a rule, gives events in short lines that add up, and the transitions that must come of them: these
/// and no others. The events go through the engine itself, without Kafka, in a time of their own.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct TestArgs {
    /// YAML files with tests
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

const EXAMPLES: &str = "Examples:
  plimsoll slo test config/tests/platform.yaml
  plimsoll slo test config/tests/*.yaml --only outage

A file:
  tests:
    - name: a burst of errors opens and resolves
      rule: platform/error-rate            # document/rule, or an SLO or document for all that stands in it
      events:                              # lines add up; what lies between them is silence
        - {at: 10:00:00, for: 20m, rate: 100/s, fields: {status: 200}}
        - {at: 10:05:00, for: 1m,  rate: 50/s,  fields: {status: 503}}
        - {at: 10:07:00, count: 3, fields: {status: 503}, delayed: 30s}     # late by 30 s
      expect:                              # all transitions; `expect: []` for none
        - {at: 10:05:05, transition: OPENED, level: critical}

  Of a case:       start (a time, 2025-01-01T00:00:00Z by default), until, step (1s; longer is faster), partitions,
                   source, fields (for all lines), lag ([{at, for, behind: 40s, messages: 100}]),
                   levels ([fast]: the rule as if it had no others)
  Of events:       at, for, rate (100/s, 30/m, 5/h) or count, fields, source, partition, delayed
  Of expectations: at, transition, level, rule, labels, reason, onset, said (when it was told)
  Times:           10:00:00 on the day of `start`, +90m from `start`, or 2025-01-01T10:00:00Z

Exit codes: 0 all cases pass, 64 a file is wrong, 65 a case fails.";

pub fn run(global: &Global, args: &TestArgs) -> Result<(), Failure> {
    let rules = global.load()?.rules;
    let (mut all, mut wrong) = (Vec::new(), Diagnostics::default());
    for path in &args.files {
        let shown = path.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format_args!("{shown}: cannot be read: {error}")))?;
        match cases(&Document { path: shown, text }, &rules) {
            Ok(read) => all.extend(read),
            Err(found) => wrong.list.extend(found.list),
        }
    }
    if !wrong.list.is_empty() {
        return Err(wrong.into());
    }
    all.retain(|case| args.only.as_ref().is_none_or(|part| case.name.contains(part)));
    if all.is_empty() {
        return Err(Failure::usage("no case is left to run: see --only, or `tests:` in the files"));
    }
    let (mut failed, mut records) = (0, Vec::new());
    for case in &all {
        let rehearsed =
            rehearse(case).map_err(|error| Failure::broken(format_args!("{}: {error}", case.name)))?;
        let comparison = compare(case, &rehearsed.observed);
        failed += usize::from(!comparison.is_equal());
        match global.format {
            Format::Text => tell(case, &rehearsed, &comparison),
            Format::Json => records.push(record(case, &rehearsed, &comparison)),
        }
    }
    let passed = all.len() - failed;
    match global.format {
        Format::Text => say(format_args!("{passed} passed, {failed} failed")),
        Format::Json => say(json!({"passed": passed, "failed": failed, "cases": records})),
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::different(format_args!("{failed} of {} cases failed", all.len()))),
    }
}

fn tell(case: &Case, rehearsed: &Rehearsed, comparison: &Comparison<'_>) {
    let Case { name, file, line, .. } = case;
    if comparison.is_equal() {
        let (events, transitions) = (rehearsed.events, rehearsed.observed.len());
        say(format_args!("ok      {name} ({events} events, {transitions} transitions)"));
    } else {
        say(format_args!("FAILED  {name} ({file}:{line}); - was expected, + came"));
        say(comparison.to_string().trim_end());
    }
    for (reason, events) in &rehearsed.refused {
        say(format_args!("        {events} events went to the dead letters: {reason}"));
    }
}

fn record(case: &Case, rehearsed: &Rehearsed, comparison: &Comparison<'_>) -> Value {
    let lines = comparison.lines.iter().map(|line| {
        let verdict = match line {
            Line::Met(_) => "met",
            Line::Missing(_) => "missing",
            Line::Unexpected(_) => "unexpected",
        };
        json!({"verdict": verdict, "transition": comparison.text(line)})
    });
    json!({
        "name": case.name,
        "file": case.file,
        "line": case.line,
        "passed": comparison.is_equal(),
        "events": rehearsed.events,
        "refused": rehearsed.refused,
        "transitions": lines.collect::<Vec<_>>(),
    })
}
