//! `plimsoll run`

use std::sync::Arc;

use clap::{Args, ValueEnum};
use plimsoll::config::Loaded;
use plimsoll::http::{Health, Metrics};
use plimsoll::kafka::Connection;
use plimsoll::roles::board::{self, RulesBoard};
use plimsoll::roles::lag::LagBoard;
use plimsoll::roles::run::{Roles, run as run_roles, stop_on_signals};
use plimsoll::roles::{Context, Stop};
use plimsoll::wire::rules::{RulesDocument, RulesRecord};

use super::{Failure, Global};

/// Run a replica: read topics, judge rules, write breaches and hourly tables
///
/// It runs until SIGTERM or Ctrl-C.
///
/// Replicas share the work through Kafka's consumer groups: start as many as you like, under different --instance
/// names. A replica that comes back under its name takes its partitions back at once. On SIGTERM it commits, writes a
/// checkpoint and stops within intervals.shutdown (4 s).
///
/// /healthz, /readyz and /metrics are served on http.address.
#[derive(Args)]
pub struct RunArgs {
    /// What this replica does; `all` is right unless you scale the stages apart
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Everything
    All,
    /// Read input topics, write deltas
    Ingest,
    /// Judge rules, finish hours, write breaches and rows
    Evaluate,
    /// Write rows and breaches to Postgres
    Store,
}

pub fn run(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let Loaded { settings, rules, documents, .. } = global.load()?;
    let roles = match args.role {
        Role::All => Roles::ALL,
        Role::Ingest => Roles { ingest: true, evaluate: false, store: false },
        Role::Evaluate => Roles { ingest: false, evaluate: true, store: false },
        Role::Store => Roles { ingest: false, evaluate: false, store: true },
    };
    if roles.store && settings.postgres.url.is_none() {
        return Err(Failure::usage(
            "no database is given: set DATABASE_URL, --database-url, postgres.url or postgres.url_file, or run with \
             --role ingest or --role evaluate",
        ));
    }
    let connection = Connection::new(&settings.kafka);
    connection.check(settings.kafka.connect_timeout)?;
    super::topics::require(&connection, &settings, &rules)?;
    let topic = settings.topics.full_name(&settings.topics.rules);
    let documents = documents.into_iter().map(|d| RulesDocument { path: d.path, text: d.text }).collect();
    let own = RulesRecord::new(rules, documents);
    let (version, in_force, end) = adopt(&connection, &settings, &topic, own)?;
    let stop = Stop::default();
    stop_on_signals(stop.clone()).map_err(Failure::broken)?;
    let context = Context {
        settings: Arc::new(settings),
        connection,
        metrics: Metrics::new(),
        health: Health::new(),
        board: RulesBoard::new(version, in_force.rules),
        lags: LagBoard::default(),
        stop,
    };
    Ok(run_roles(&context, roles, Some(end))?)
}

/// The rules in force; this replica's own only where there are none yet.
fn adopt(
    connection: &Connection,
    settings: &plimsoll::config::settings::Settings,
    topic: &str,
    own: RulesRecord,
) -> Result<(i64, RulesRecord, i64), Failure> {
    let mut seen = board::read(connection, topic)?;
    if seen.newest.is_none() {
        tracing::info!("no rules are in force yet, applying this replica's own");
        board::apply(connection, settings, &own)?;
        seen = board::read(connection, topic)?;
    }
    let Some((version, in_force)) = seen.newest else {
        return Err(Failure::unreachable(format!("{topic} does not give back the rules just written to it")));
    };
    if in_force.rules != own.rules {
        tracing::warn!(
            version,
            "the files differ from the rules in force, which stay: see `plimsoll rules diff`, then `plimsoll rules apply`"
        );
    }
    Ok((version, in_force, seen.end))
}
