//! `plimsoll topics`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use plimsoll::config::settings::Settings;
use plimsoll::core::rules::Rules;
use plimsoll::kafka::{Admin, Connection, TopicSpec};
use plimsoll::roles::topics::{self, Wanted};

use super::{Failure, Global};

#[derive(Subcommand)]
pub enum TopicsCommand {
    /// Create what is missing; what exists stays as it is, and what is wrong with it is said
    Create(CreateArgs),
}

#[derive(Args)]
pub struct CreateArgs {
    /// Also create missing input topics, with so many partitions
    #[arg(long, value_name = "PARTITIONS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    inputs: Option<u32>,
    /// Only say what would be created
    #[arg(long)]
    dry_run: bool,
}

pub fn run(global: &Global, command: &TopicsCommand) -> Result<(), Failure> {
    let TopicsCommand::Create(args) = command;
    let loaded = global.load()?;
    let connection = Connection::new(&loaded.settings.kafka);
    connection.check(loaded.settings.kafka.connect_timeout)?;
    let admin = Admin::open(&connection)?;
    let mut wanted = topics::wanted(&loaded.settings, &loaded.rules);
    if let Some(partitions) = args.inputs {
        wanted.extend(loaded.rules.sources.iter().map(|source| Wanted {
            spec: TopicSpec {
                name: source.topic.clone(),
                partitions,
                replication_factor: loaded.settings.topics.replication_factor,
                config: BTreeMap::new(),
            },
            exact_partitions: false,
        }));
    }
    if args.dry_run {
        for Wanted { spec, .. } in &wanted {
            println!("{} partitions={} {:?}", spec.name, spec.partitions, spec.config);
        }
        return Ok(());
    }
    for name in topics::create(&admin, &wanted)? {
        println!("created {name}");
    }
    for finding in topics::check(&admin, &loaded.settings, &loaded.rules)? {
        println!("topic {} {}\n  help: {}", finding.topic, finding.problem, finding.mend);
    }
    Ok(())
}

/// Refuses to go on with topics that are missing or wrong; all of them are named, each with the way to mend it.
pub fn require(connection: &Connection, settings: &Settings, rules: &Rules) -> Result<(), Failure> {
    let findings = topics::check(&Admin::open(connection)?, settings, rules)?;
    if findings.is_empty() {
        return Ok(());
    }
    let line = |f: &topics::Finding| format!("topic {} {}\n  help: {}", f.topic, f.problem, f.mend);
    Err(Failure::usage(findings.iter().map(line).collect::<Vec<_>>().join("\n")))
}
