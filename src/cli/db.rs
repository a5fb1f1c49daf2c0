//! `plimsoll db`

use clap::Subcommand;
use plimsoll::store::Store;

use super::{Failure, Global};

#[derive(Subcommand)]
pub enum DbCommand {
    /// Create or extend the schema: tables for every rollup, views, functions, comments. Safe to repeat
    Migrate,
}

pub fn run(global: &Global, command: &DbCommand) -> Result<(), Failure> {
    let DbCommand::Migrate = command;
    let loaded = global.load()?;
    let Some(url) = &loaded.settings.postgres.url else {
        return Err(Failure::usage("no database is given: set DATABASE_URL, --database-url or postgres.url"));
    };
    let mut store = Store::connect(url.reveal(), &loaded.settings.postgres.schema)?;
    let done = store.migrate(&loaded.rules)?;
    if done.is_empty() {
        println!("nothing to do: schema {} is up to date", loaded.settings.postgres.schema);
    }
    done.iter().for_each(|step| println!("{step}"));
    Ok(())
}
