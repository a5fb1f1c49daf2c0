//! Arguments, and one file for each command. Here errors become texts and exit codes.

mod db;
mod demo;
mod failure;
mod generate;
mod logging;
mod pace;
mod rules;
mod run;
mod slo;
mod topics;
mod verify;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use plimsoll::config::settings::Secret;
use plimsoll::config::{Diagnostics, Loaded, Overrides, Surroundings};

pub use failure::Failure;

/// Event topics on Kafka in; exact SLOs, breach events and hourly tables out.
///
/// Plimsoll counts the events themselves: every row of its hourly tables and every breach it announces is exact, and
/// the same whatever crashed on the way. Try `plimsoll demo` first: it needs no Kafka and no database.
///
/// In production: `plimsoll topics create`, `plimsoll db migrate`, `plimsoll rules apply`, then `plimsoll run` on as
/// many replicas as you like.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 something is open (`slo status`); 64 bad configuration or usage; 65 data differ; 69 a broker or the \
database cannot be reached; 70 an invariant broke.\nRUST_LOG sets what is logged, for instance RUST_LOG=plimsoll=debug.";

/// Options every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Folder with plimsoll.yaml, sources/ and alerts/
    #[arg(long, global = true, value_name = "DIR", default_value = "config")]
    config: PathBuf,
    /// Kafka's bootstrap servers, instead of kafka.brokers
    #[arg(long, global = true, value_name = "HOST:PORT,...")]
    brokers: Option<String>,
    /// A properties file for librdkafka (TLS, SASL), instead of kafka.properties_file
    #[arg(long, global = true, value_name = "FILE")]
    kafka_config: Option<PathBuf>,
    /// Postgres, as postgres://user:password@host/database; better given as DATABASE_URL
    #[arg(long, global = true, value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Stable name of this replica, instead of `instance` or the host's name
    #[arg(long, global = true, value_name = "NAME")]
    instance: Option<String>,
    /// How results and logs are written
    #[arg(long = "format", global = true, value_name = "FORMAT", value_enum, default_value_t = Asked::Text)]
    asked: Asked,
    /// The same, as all but `plimsoll slo check` need to know it
    #[arg(skip)]
    format: Format,
}

/// What `--format` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    Text,
    Json,
    /// SARIF 2.1.0, for code hosts: `plimsoll slo check` alone
    Sarif,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

impl From<Asked> for Format {
    fn from(asked: Asked) -> Format {
        match asked {
            Asked::Text => Format::Text,
            // What is said beside a SARIF file is for programs too.
            Asked::Json | Asked::Sarif => Format::Json,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    Run(run::RunArgs),
    Demo(demo::DemoArgs),
    Generate(generate::GenerateArgs),
    /// Show, compare and apply the rules in force
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Create the topics Plimsoll needs
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// Prepare the database
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Check, explain and test SLOs and rules before they run, also on the records of the past; say how they stand
    #[command(subcommand)]
    Slo(slo::SloCommand),
    Verify(verify::VerifyArgs),
}

pub fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where help and errors go is clap's business; a closed pipe is none of ours.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    cli.global.format = cli.global.asked.into();
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(cli.global.format);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<(), Failure> {
    let global = &cli.global;
    if global.asked == Asked::Sarif && !matches!(cli.command, Command::Slo(slo::SloCommand::Check(_))) {
        return Err(Failure::usage("--format sarif is for `plimsoll slo check`; use text or json here"));
    }
    match &cli.command {
        Command::Run(args) => {
            logging::start(global.format, "info");
            run::run(global, args)
        }
        Command::Demo(args) => demo::run(global, args),
        Command::Generate(args) => {
            logging::start(global.format, "warn");
            generate::run(global, args)
        }
        Command::Rules(command) => {
            logging::start(global.format, "warn");
            rules::run(global, command)
        }
        Command::Topics(command) => {
            logging::start(global.format, "warn");
            topics::run(global, command)
        }
        Command::Db(command) => {
            logging::start(global.format, "warn");
            db::run(global, command)
        }
        Command::Slo(command) => {
            logging::start(global.format, "warn");
            slo::run(global, command)
        }
        Command::Verify(args) => {
            logging::start(global.format, "warn");
            verify::run(global, args)
        }
    }
}

/// A line on standard output; that nobody reads it (`| head`) is no failure.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

impl Global {
    /// Reads and checks the configuration folder.
    fn load(&self) -> Result<Loaded, Failure> {
        Ok(self.load_folder(&self.config)?)
    }

    fn load_folder(&self, folder: &Path) -> Result<Loaded, Diagnostics> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        plimsoll::config::load(folder, &environment, &surroundings(), &self.overrides())
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            brokers: self.brokers.clone(),
            kafka_properties_file: self.kafka_config.clone(),
            database_url: self.database_url.clone().map(Secret::new),
            instance: self.instance.clone(),
        }
    }
}

fn surroundings() -> Surroundings {
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host_name = match host_name.trim() {
        "" => "plimsoll".to_owned(),
        name => name.to_owned(),
    };
    Surroundings { host_name, cores: std::thread::available_parallelism().map_or(1, usize::from) }
}
