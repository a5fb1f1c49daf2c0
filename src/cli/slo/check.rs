//! `plimsoll slo check`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use plimsoll::config::Loaded;
use plimsoll::slo::finding::{Finding, Weight};
use plimsoll::slo::sarif::sarif;
use plimsoll::slo::traffic;
use plimsoll::store::Store;
use serde_json::json;

use super::{Failure, Global, say};
use crate::cli::Asked;

/// Say everything that is wrong, or not what it seems, in sources, SLOs and rules
///
/// It reads a configuration folder as `run` does and says every mistake at once. What is right is then looked over for
/// rules that will not do what their writer thinks: levels that never fire, or too late, or for a single event.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Configuration folders, instead of --config
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Also compare levels with the traffic of the last week in the hourly tables; needs a database
    #[arg(long)]
    traffic: bool,
}

const EXAMPLES: &str = "Examples:
  plimsoll slo check                                    # the folder `config`
  plimsoll slo check staging production
  plimsoll slo check --traffic                          # with DATABASE_URL set
  plimsoll slo check --format sarif > findings.sarif    # for the code host

Exit codes: 0 nothing wrong (warnings are counted), 64 errors.";

pub fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let folders = if args.folders.is_empty() { std::slice::from_ref(&global.config) } else { &args.folders };
    let (mut findings, mut rules) = (Vec::new(), 0);
    for folder in folders {
        match global.load_folder(folder) {
            Ok(loaded) => {
                rules += loaded.rules.alerts.len();
                findings.extend(plimsoll::slo::check(&loaded.rules, &loaded.documents));
                if args.traffic {
                    findings.extend(traffic(&loaded.rules, &loaded.documents, &hours(&loaded)?));
                }
            }
            Err(wrong) => findings.extend(wrong.list.into_iter().map(Finding::from)),
        }
    }
    let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
    let warnings = findings.len() - errors;
    match global.asked {
        Asked::Text => {
            findings.iter().for_each(say);
            say(format_args!("{errors} errors, {warnings} warnings; {rules} rules and objectives read"));
        }
        Asked::Json => say(json!({
            "errors": errors,
            "warnings": warnings,
            "rules": rules,
            "findings": findings,
        })),
        Asked::Sarif => say(sarif(&findings, env!("CARGO_PKG_VERSION"))),
    }
    match errors {
        0 => Ok(()),
        errors => Err(Failure::usage(format_args!("{errors} errors in the configuration"))),
    }
}

/// Events of last week's hours, by source.
fn hours(loaded: &Loaded) -> Result<BTreeMap<String, Vec<u64>>, Failure> {
    let postgres = &loaded.settings.postgres;
    let Some(url) = &postgres.url else {
        return Err(Failure::usage(
            "--traffic needs a database: set DATABASE_URL, --database-url or postgres.url",
        ));
    };
    let mut store = Store::connect(url.reveal(), &postgres.schema)?;
    let mut hours = BTreeMap::new();
    for source in &loaded.rules.sources {
        // Every hourly table of a source holds all its events.
        if let Some(rollup) = source.rollups.first() {
            hours.insert(source.name.clone(), store.hourly_events(&rollup.table)?);
        }
    }
    Ok(hours)
}
