//! `plimsoll generate`

mod incident;
mod options;
pub mod progress;
mod summary;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use plimsoll::config::Loaded;
use plimsoll::generate::{PerTopic, Topic, Workload, WorkloadOptions, file};
use plimsoll::kafka::{Admin, Connection, PlainProducer};
use plimsoll::roles::run::stop_on_signals;
use plimsoll::roles::{Stop, wall_clock_us};

use super::pace::Pacer;
use super::{Failure, Format, Global};
use options::Plan;
use progress::Progress;
use summary::{Passage, Summary};

const ASK: Duration = Duration::from_secs(15);
const FLUSH: Duration = Duration::from_secs(60);

/// Write a workload like the platform's: prices, predictions and requests, with the blemishes of real feeds
///
/// The same options give the same events, to the byte. They go to the topics commodity-prices, ml-predictions and
/// request-log (create them with `plimsoll topics create --inputs 3`), or to a file as JSON lines. A few are late, a
/// few are no events at all, and what was sent is counted at the end, so that what arrives can be held against it.
///
/// Without --start events happen as they are sent, until --span or --events is reached or Ctrl-C. With --start, or
/// into a file, they are written as fast as it goes. A --speed above 1 without --start tells the recent past: the
/// last event happens now.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct GenerateArgs {
    /// Events a second of event time [default: 7000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rate: Option<String>,
    /// Events in all, spread evenly over --span; without --span they take N / rate seconds of event time
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    events: Option<String>,
    /// Event time covered, as in 90s, 30m, 6h [default: without end when live, else 1h]
    #[arg(long, value_name = "DURATION")]
    span: Option<String>,
    /// Event time of the first event, as in 2025-10-31T02:00:00Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    start: Option<String>,
    /// Event seconds a wall second, as in 60, or max [default: 1; max with --start or --output]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    speed: Option<String>,
    /// Another seed, other events [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<String>,
    /// Events that arrive 3 s to 10 min after they happened [default: 1%]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    late_share: Option<String>,
    /// Records that are no events: cut off, fields missing or wrong, of the year 2099 [default: 0.1%]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    bad_share: Option<String>,
    /// Users that send requests; a few send most [default: 20000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    users: Option<String>,
    /// Follow the sun: 40 % of the rate at 02:00 UTC, 160 % at 14:00 UTC
    #[arg(long)]
    daily_wave: bool,
    /// No two events at the same microsecond, so that first and last prices do not hang on the partition
    #[arg(long)]
    distinct_times: bool,
    /// Trouble at a time since the start; may be repeated. See the examples
    #[arg(long, value_name = "KIND:FROM..TO:...")]
    incident: Vec<String>,
    /// Write JSON lines to a file instead of Kafka
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Partitions of each topic in a file [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    partitions: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  Live traffic until Ctrl-C, 7000 events a second:
    plimsoll generate
  Ten minutes in which a fifth of the requests fail for three minutes:
    plimsoll generate --span 10m --incident error-spike:4m..7m:20%
  The last six hours within six minutes, then see the hourly tables:
    plimsoll generate --span 6h --speed 60 --rate 200
  One model becomes slow, one service fails, one feed falls silent:
    plimsoll generate --span 1h --incident slow-model:10m..20m:random-forest-oil:8 \\
      --incident error-spike:30m..35m:50%:auth --incident silent-feed:45m..50m:commodity-prices
  A million events of one day into a file, always the same bytes:
    plimsoll generate --start 2025-10-31T00:00:00Z --span 24h --events 1000000 --daily-wave --output day.jsonl";

pub fn run(global: &Global, args: &GenerateArgs) -> Result<(), Failure> {
    let plan = options::plan(args, wall_clock_us())?;
    let stop = Stop::default();
    match &plan.output {
        Some(path) => to_file(path, &plan, &stop, global.format),
        None => to_kafka(global, &plan, &stop),
    }
}

fn to_kafka(global: &Global, plan: &Plan, stop: &Stop) -> Result<(), Failure> {
    let Loaded { settings, .. } = global.load()?;
    let connection = Connection::new(&settings.kafka);
    connection.check(settings.kafka.connect_timeout)?;
    let partitions = partitions(&Admin::open(&connection)?)?;
    let producer = PlainProducer::open(&connection, "plimsoll-generate")?;
    stop_on_signals(stop.clone()).map_err(Failure::broken)?;
    let mut run = Run::begin(plan, WorkloadOptions { partitions, ..plan.workload(wall_clock_us()) })?;
    for record in &mut run.workload {
        if !run.pacer.wait(record.arrival_us, stop) {
            break;
        }
        // A broker has far fewer partitions than 2^31.
        let partition = record.partition as i32;
        let key = record.key.as_deref();
        producer.send(record.topic, partition, key, &record.payload, record.timestamp_ms)?;
        run.summary.count(&record);
        run.progress.show(run.summary.records(), record.arrival_us);
    }
    producer.flush(FLUSH)?;
    run.end(producer.failed(), stop.is_raised(), global.format);
    match producer.first_failure() {
        None => Ok(()),
        Some(reason) => Err(Failure::unreachable(format!(
            "{} events were not delivered; the first: {reason}",
            producer.failed()
        ))),
    }
}

fn to_file(path: &Path, plan: &Plan, stop: &Stop, format: Format) -> Result<(), Failure> {
    stop_on_signals(stop.clone()).map_err(Failure::broken)?;
    let mut run = Run::begin(plan, plan.workload(wall_clock_us()))?;
    let Run { workload, pacer, summary, progress } = &mut run;
    let records = workload.take_while(|record| pacer.wait(record.arrival_us, stop)).inspect(|record| {
        summary.count(record);
        progress.show(summary.records(), record.arrival_us);
    });
    file::write_file(path, records)
        .map_err(|error| Failure::usage(format!("{error}; name a file that can be written with --output")))?;
    run.end(0, stop.is_raised(), format);
    Ok(())
}

/// A workload on its way.
struct Run {
    workload: Workload,
    pacer: Pacer,
    summary: Summary,
    progress: Progress,
}

impl Run {
    fn begin(plan: &Plan, options: WorkloadOptions) -> Result<Run, Failure> {
        Ok(Run {
            progress: Progress::start((!plan.endless).then(|| options.events())),
            pacer: Pacer::new(options.start_us, plan.speed),
            summary: Summary::default(),
            workload: Workload::new(options).map_err(Failure::usage)?,
        })
    }

    fn end(&self, undelivered: u64, interrupted: bool, format: Format) {
        let elapsed = self.pacer.elapsed();
        if !self.progress.end() {
            eprintln!("{}", self.summary.line(elapsed));
        }
        let passage = Passage { elapsed, behind_max: self.pacer.behind_max(), undelivered, interrupted };
        self.summary.print(&passage, format);
    }
}

/// How many partitions the topics have on the broker.
fn partitions(admin: &Admin) -> Result<PerTopic<u32>, Failure> {
    let infos = admin.describe(&Topic::ALL.map(Topic::name), ASK)?;
    let missing: Vec<&str> =
        infos.iter().filter(|info| !info.exists).map(|info| info.name.as_str()).collect();
    if !missing.is_empty() {
        return Err(Failure::usage(format!(
            "missing on the broker: {}\n  help: plimsoll topics create --inputs 3 (or more partitions)",
            missing.join(", ")
        )));
    }
    let mut partitions = PerTopic { prices: 1, predictions: 1, requests: 1 };
    for (topic, info) in Topic::ALL.into_iter().zip(infos) {
        *partitions.get_mut(topic) = info.partitions;
    }
    Ok(partitions)
}
