//! `plimsoll demo`

mod engine;
mod report;
mod screen;
mod script;
mod traffic;
mod watch;

use std::time::{Duration, Instant};

use clap::Args;
use plimsoll::core::time::rfc3339;
use plimsoll::http::SourceMetrics;
use plimsoll::local::postgres::LocalPostgres;
use plimsoll::roles::run::stop_on_signals;
use plimsoll::roles::{Stop, wall_clock_us};
use plimsoll::store::Store;

use super::{Failure, Global, logging, say};
use engine::Engine;
use report::Report;
use screen::{Screen, Status};
use script::Script;
use traffic::Traffic;
use watch::{Watch, clock};

/// See it work: a broker in this process, a throwaway Postgres, traffic with an incident
///
/// Hours of the past are told within a minute: prices, predictions and requests, an outage of one service, a model
/// that becomes slow. You see breaches open and end, hours finish, and at the end the rows in Postgres. Without --for
/// it goes on live until Ctrl-C, so that you can look around with psql and on /metrics.
///
/// Nothing is needed but the binaries of Postgres (apt-get install postgresql), or --database-url with a database in
/// which the demo may make a schema of its own. The broker in this process is for looking only: it keeps no
/// transactions, so exactly-once is for `plimsoll run` on a real Kafka.
#[derive(Args)]
pub struct DemoArgs {
    /// Tell the past for so long, report and end, with exit code 1 if no breach opened and resolved
    #[arg(long = "for", value_name = "DURATION")]
    run_for: Option<String>,
    /// Events a second
    #[arg(long, value_name = "N", default_value = "7000", allow_negative_numbers = true)]
    rate: String,
    /// Event seconds a second
    #[arg(long, value_name = "X", default_value = "240", allow_negative_numbers = true)]
    speed: String,
    /// Where /metrics, /healthz and /readyz are served [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
}

const TURN: Duration = Duration::from_millis(100);
/// How long the last events may take until they stand in Postgres.
const SETTLE: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(500);

pub fn run(global: &Global, args: &DemoArgs) -> Result<(), Failure> {
    // The mock broker makes librdkafka say much that means nothing.
    logging::start(global.format, "warn,librdkafka=error");
    let script = Script::read(args)?;
    let hours = script.span_us() as f64 / 3.6e9;
    say("Starts a throwaway Postgres and a broker in this process, and runs every role of Plimsoll on them.");
    say(format!(
        "Sends {} events/s, {hours:.1} h of them in {} s: {} fails for 8 minutes, later a model becomes slow.",
        script.rate,
        script.traffic.as_secs(),
        script::SPIKE_SERVICE
    ));
    say("Shows breaches as they open and resolve, and then the hourly rows that it wrote.");
    let database = Database::open(global)?;
    let interrupted = Stop::default();
    stop_on_signals(interrupted.clone()).map_err(Failure::broken)?;
    let engine = Engine::start(&database.url, &database.schema, script.http)?;
    let traffic = Traffic::start(&engine.connection, &script)?;
    Demo {
        watch: Watch::start(&engine)?,
        sources: engine.rules.sources.iter().map(|s| engine.context.metrics.source(&s.name)).collect(),
        screen: Screen::start(),
        measured: (Instant::now(), 0, 0.0),
        traffic,
        engine,
        script,
        interrupted,
    }
    .run(&database)
}

/// Postgres of one's own, or a schema in a given one.
struct Database {
    url: String,
    schema: String,
    local: Option<LocalPostgres>,
}

impl Database {
    fn open(global: &Global) -> Result<Database, Failure> {
        // The flag alone, never DATABASE_URL: what stands there was not meant for a demo.
        if let Some(url) = global.database_url.clone() {
            Store::connect(&url, "plimsoll").map_err(|error| {
                Failure::unreachable(format!(
                    "--database-url: {error}; without it the demo starts a Postgres of its own"
                ))
            })?;
            let schema = format!("plimsoll_demo_{}", wall_clock_us() / 1_000_000);
            return Ok(Database { url, schema, local: None });
        }
        let local = LocalPostgres::start().map_err(Failure::unreachable)?;
        Ok(Database { url: local.url(), schema: "plimsoll".to_owned(), local: Some(local) })
    }

    /// How a person looks further.
    fn hint(&self) -> String {
        match &self.local {
            Some(local) => format!("PGOPTIONS='-c search_path={}' {}", self.schema, local.psql_line()),
            None => format!("the tables are in schema {} of the database you named", self.schema),
        }
    }
}

struct Demo {
    traffic: Traffic,
    watch: Watch,
    sources: Vec<SourceMetrics>,
    screen: Screen,
    /// When messages were counted last, how many, and the rate since.
    measured: (Instant, u64, f64),
    engine: Engine,
    script: Script,
    interrupted: Stop,
}

impl Demo {
    fn run(mut self, database: &Database) -> Result<(), Failure> {
        self.screen.say(format!("look around: {}", database.hint()));
        self.screen.say(format!("             http://{}/metrics", self.engine.context.settings.http.address));
        while !self.traffic.history_told() && !self.interrupted.is_raised() {
            self.turn()?;
        }
        let mut store = Store::connect(&database.url, &database.schema)?;
        let report = self.settle(&mut store)?;
        self.screen.say(report.text());
        let missing = report.missing();
        if missing.is_empty() && !self.script.ends {
            self.screen.say(format!("Live now; end with Ctrl-C. Look around: {}", database.hint()));
            while !self.interrupted.is_raised() {
                self.turn()?;
            }
            self.screen.say("Stopping; the broker is gone with its topics, and so is a Postgres of its own.");
        }
        let Demo { traffic, watch, engine, screen, interrupted, .. } = self;
        screen.end();
        traffic.stop()?;
        // A client that outlives its broker says so.
        drop(watch);
        engine.stop()?;
        match missing.is_empty() || interrupted.is_raised() {
            true => Ok(()),
            false => Err(Failure::failed(format!("the demo did not show all: {}", missing.join("; ")))),
        }
    }

    /// Waits until what was sent stands in Postgres, as far as a demo must show it.
    fn settle(&mut self, store: &mut Store) -> Result<Report, Failure> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let report = Report::gather(store)?;
            let is_done = report.missing().is_empty() && (!self.script.ends || self.lag() == 0);
            if is_done || self.interrupted.is_raised() || Instant::now() >= deadline {
                return Ok(report);
            }
            let asked = Instant::now();
            while asked.elapsed() < ASK_EVERY && !self.interrupted.is_raised() {
                self.turn()?;
            }
        }
    }

    fn turn(&mut self) -> Result<(), Failure> {
        for line in self.watch.poll()? {
            self.screen.say(line);
        }
        let status = self.status();
        self.screen.show(&status);
        self.traffic.check()?;
        self.engine.check()?;
        self.interrupted.wait(TURN);
        Ok(())
    }

    fn counted(&self) -> u64 {
        self.sources.iter().map(|source| source.messages_read.get()).sum()
    }

    /// Sent and not yet read.
    fn lag(&self) -> u64 {
        self.traffic.records().saturating_sub(self.counted())
    }

    fn status(&mut self) -> Status {
        let counted = self.counted();
        let (at, before, _) = self.measured;
        let seconds = at.elapsed().as_secs_f64();
        if seconds >= 1.0 {
            self.measured = (Instant::now(), counted, (counted - before) as f64 / seconds);
        }
        let seen = self.watch.seen();
        let event_time = self.traffic.event_us().map_or("-".to_owned(), rfc3339);
        Status {
            counted,
            lag: self.lag(),
            per_second: self.measured.2,
            event_time: clock(&event_time).to_owned(),
            watermark: clock(seen.watermark().unwrap_or("-")).to_owned(),
            hours_finished: seen.hours_finished(),
            open: seen.open.values().cloned().collect(),
        }
    }
}
