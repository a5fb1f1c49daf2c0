//! `plimsoll rules`

use clap::Subcommand;
use plimsoll::config::Loaded;
use plimsoll::kafka::Connection;
use plimsoll::roles::board;
use plimsoll::wire::rules::{RulesDocument, RulesRecord};

use super::{Failure, Format, Global};

#[derive(Subcommand)]
pub enum RulesCommand {
    /// Check the files and put them in force on every replica, without a restart
    Apply,
    /// Print the documents in force and their version
    Show,
    /// Say what `apply` would change
    Diff,
}

pub fn run(global: &Global, command: &RulesCommand) -> Result<(), Failure> {
    let Loaded { settings, rules, documents, .. } = global.load()?;
    let connection = Connection::new(&settings.kafka);
    connection.check(settings.kafka.connect_timeout)?;
    let topic = settings.topics.full_name(&settings.topics.rules);
    let in_force = board::read(&connection, &topic)?.newest;
    let documents: Vec<RulesDocument> =
        documents.into_iter().map(|d| RulesDocument { path: d.path, text: d.text }).collect();
    match command {
        RulesCommand::Apply => {
            if in_force
                .as_ref()
                .is_some_and(|(_, known)| known.rules == rules && known.documents == documents)
            {
                println!("nothing to do: these rules are in force");
                return Ok(());
            }
            // Replicas would not read a source without its topic, nor be able to write a table without one.
            super::topics::require(&connection, &settings, &rules)?;
            board::apply(&connection, &settings, &RulesRecord::new(rules, documents))?;
            let version = board::read(&connection, &topic)?.newest.map(|(version, _)| version);
            println!("in force as version {}", version.unwrap_or(-1));
        }
        RulesCommand::Show => match in_force {
            None => println!("no rules are in force yet; put these in force with `plimsoll rules apply`"),
            Some((version, known)) => show(version, &known, global.format),
        },
        RulesCommand::Diff => {
            let known = in_force.map(|(_, known)| known.documents).unwrap_or_default();
            diff(&known, &documents);
        }
    }
    Ok(())
}

fn show(version: i64, record: &RulesRecord, format: Format) {
    match format {
        Format::Json => {
            println!("{}", serde_json::json!({"version": version, "rules": record.rules}))
        }
        Format::Text => {
            println!("# version {version}");
            for document in &record.documents {
                println!("# {}\n{}", document.path, document.text.trim_end());
            }
        }
    }
}

/// Line by line, document by document: what is in force against what is in the files.
fn diff(known: &[RulesDocument], own: &[RulesDocument]) {
    let mut paths: Vec<&str> = known.iter().chain(own).map(|document| document.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let text = |documents: &[RulesDocument], path: &str| {
        documents.iter().find(|document| document.path == path).map(|d| d.text.clone()).unwrap_or_default()
    };
    let mut same = true;
    for path in paths {
        let (before, after) = (text(known, path), text(own, path));
        if before != after {
            same = false;
            let diff = similar::TextDiff::from_lines(&before, &after);
            print!("{}", diff.unified_diff().header(&format!("in force/{path}"), path));
        }
    }
    if same {
        println!("no difference");
    }
}
