//! `plimsoll verify`

use std::thread::available_parallelism;

use clap::Args;
use indicatif::HumanCount;
use plimsoll::config::Loaded;
use plimsoll::config::diagnostic::suggestion;
use plimsoll::core::source::Source;
use plimsoll::core::time::HOUR_US;
use plimsoll::roles::wall_clock_us;
use plimsoll::store::Store;
use plimsoll::verify::{Asked, Failed, Ready, Task, hours, shown};

use super::generate::progress::Progress;
use super::{Failure, Format, Global, say};

/// Recompute hours from the raw topics and compare them with Postgres and with the hourly topics
///
/// It takes the records that Kafka still holds, by a slow and plain way of its own that shares no code with `run`, and
/// compares every column of every row, in both places. Every record it reads must be in a row or, with the right reason,
/// in the dead letters. In the breach topic no id may come twice, and every episode must live as episodes may. It only reads;
/// its memory follows from keys and hours, not from records.
///
/// Not compared are columns that say how a row came to be: revision, version, watermark, updated_at. Rows that are not
/// final yet, or of hours that lost input and say so, are counted and not judged. Beyond a rollup's key limit it depends
/// on what came first which keys fold into _OTHER; there the sums over all keys are compared, and of a count_by beyond
/// its own limit the sum of its counts.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// First hour, as in 2025-10-31T02:00:00Z [default: 24 hours before --to, or the first in the tables]
    #[arg(long, value_name = "RFC3339")]
    from: Option<String>,
    /// End of the last hour [default: the newest in the tables that no late event may change any more]
    #[arg(long, value_name = "RFC3339")]
    to: Option<String>,
    /// Only this source; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// Differences that are shown
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    differences: usize,
}

const EXAMPLES: &str = "Examples:
  plimsoll verify                                    # the last day that is settled
  plimsoll verify --from 2025-10-31T00:00:00Z --to 2025-11-01T00:00:00Z --source request-log
  plimsoll verify --format json | jq '.differences[]'

Sources are taken as the configuration folder declares them. Hours that their rollups or fields changed in differ.
Hours of which records were deleted from the topic are left out, and said. Late events change a final row up to a minute
after they came: where an hour is still within its source's `lateness`, look twice.

Exit codes: 0 equal, 64 bad arguments or configuration, 65 something differs, 69 the broker or the database cannot be
reached.";

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        match failed {
            Failed::Kafka(error) => error.into(),
            Failed::Store(error) => error.into(),
            Failed::Thread => Failure::broken(failed),
        }
    }
}

pub fn run(global: &Global, args: &VerifyArgs) -> Result<(), Failure> {
    let asked = asked(args)?;
    let Loaded { settings, rules, .. } = global.load()?;
    let sources = sources(&rules.sources, &args.sources)?;
    let Some(url) = &settings.postgres.url else {
        return Err(Failure::usage("no database: give --database-url, DATABASE_URL or postgres.url"));
    };
    let mut store = Store::connect(url.reveal(), &settings.postgres.schema)?;
    let Some(hours) = hours(asked, &sources, &mut store, wall_clock_us())? else {
        return Err(Failure::usage(
            "the tables have no settled hour of that time\n  help: say which hours with --from and --to",
        ));
    };
    let task = Task {
        settings: &settings,
        sources,
        hours,
        differences: args.differences,
        workers: available_parallelism().map_or(1, usize::from),
        ingest_group: format!("{}-ingest", settings.kafka.application),
    };
    let ready = Ready::new(task)?;
    let missing = ready.missing();
    if !missing.is_empty() {
        return Err(Failure::usage(format_args!(
            "missing on the broker: {}\n  help: see --brokers; a source that may be missing says `optional: true`",
            missing.join(", ")
        )));
    }
    let mut progress = Progress::start(Some(ready.records()));
    let report = ready.run(&mut store, &mut |records, at_us| progress.show(records, at_us));
    progress.end();
    let report = report?;
    match global.format {
        Format::Text => say(report.text().trim_end()),
        Format::Json => say(report.json()),
    }
    match report.differences.count {
        0 if report.rows() == 0 => Err(Failure::usage(
            "no row could be compared: what is said of each source tells why\n  help: try other hours with --from and --to",
        )),
        0 => Ok(()),
        1 => Err(Failure::different("1 difference")),
        count => Err(Failure::different(format_args!("{} differences", HumanCount(count)))),
    }
}

fn asked(args: &VerifyArgs) -> Result<Asked, Failure> {
    let mut mistakes = Vec::new();
    let asked = Asked {
        from_us: hour_us("--from", args.from.as_deref(), &mut mistakes),
        to_us: hour_us("--to", args.to.as_deref(), &mut mistakes),
    };
    if let (Some(from_us), Some(to_us)) = (asked.from_us, asked.to_us)
        && to_us <= from_us
    {
        mistakes.push("--to is not after --from: let it end after it begins".to_owned());
    }
    if mistakes.is_empty() { Ok(asked) } else { Err(Failure::usage(mistakes.join("\n"))) }
}

fn hour_us(option: &str, text: Option<&str>, mistakes: &mut Vec<String>) -> Option<i64> {
    let text = text?;
    match text.parse::<jiff::Timestamp>().map(|at| at.as_microsecond()) {
        Ok(at_us) if at_us.rem_euclid(HOUR_US) == 0 => return Some(at_us),
        Ok(at_us) => {
            let hour = shown(at_us - at_us.rem_euclid(HOUR_US));
            mistakes.push(format!("{option}: `{text}` is within an hour; rows are of whole ones: `{hour}`"));
        }
        Err(_) => mistakes
            .push(format!("{option}: `{text}` is no RFC 3339 time; write it like `2025-10-31T02:00:00Z`")),
    }
    None
}

/// Those that have tables; with names, those.
fn sources<'a>(all: &'a [Source], names: &[String]) -> Result<Vec<&'a Source>, Failure> {
    let with_tables: Vec<&Source> = all.iter().filter(|source| !source.rollups.is_empty()).collect();
    let known = || with_tables.iter().map(|source| source.name.as_str());
    let unknown = names.iter().filter(|name| !known().any(|known| known == *name));
    let mistakes: Vec<String> = unknown
        .map(|name| {
            let help = suggestion(name, known());
            format!("--source: no source with hourly tables is called `{name}`\n  help: {help}")
        })
        .collect();
    if !mistakes.is_empty() {
        return Err(Failure::usage(mistakes.join("\n")));
    }
    let is_wanted = |source: &&Source| names.is_empty() || names.contains(&source.name);
    let wanted: Vec<&Source> = with_tables.into_iter().filter(is_wanted).collect();
    match wanted.is_empty() {
        true => Err(Failure::usage("the configuration has no source with hourly tables")),
        false => Ok(wanted),
    }
}
