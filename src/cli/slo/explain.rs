//! `plimsoll slo explain`

use clap::Args;
use plimsoll::config::diagnostic::suggestion;
use plimsoll::slo::explain::explain;
use plimsoll::slo::{named, names};
use serde_json::json;

use super::{Failure, Format, Global, say};

/// Say in plain words what a rule or an SLO counts, when it fires, how fast, and what it costs
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// `document/rule`, or an SLO or a document for all that stands in it
    #[arg(value_name = "NAME")]
    name: String,
}

const EXAMPLES: &str = "Examples:
  plimsoll slo explain platform/error-rate
  plimsoll slo explain platform --format json";

pub fn run(global: &Global, args: &ExplainArgs) -> Result<(), Failure> {
    let rules = global.load()?.rules;
    let found = named(&rules, &args.name);
    if found.is_empty() {
        let known = names(&rules);
        let help = suggestion(&args.name, known.iter().map(String::as_str));
        return Err(Failure::usage(format_args!("no rule or SLO is called `{}`\n  help: {help}", args.name)));
    }
    let explanations: Vec<_> = found.into_iter().map(|rule| explain(&rules, rule)).collect();
    match global.format {
        Format::Text => {
            let texts: Vec<String> = explanations.iter().map(ToString::to_string).collect();
            say(texts.join("\n").trim_end());
        }
        Format::Json => say(json!(explanations)),
    }
    Ok(())
}
