//! `plimsoll slo`

mod backtest;
mod check;
mod explain;
mod status;
mod test;

use clap::Subcommand;

use super::{Failure, Format, Global, say};

#[derive(Subcommand)]
pub enum SloCommand {
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Test(test::TestArgs),
    Backtest(backtest::BacktestArgs),
    Status(status::StatusArgs),
}

pub fn run(global: &Global, command: &SloCommand) -> Result<(), Failure> {
    match command {
        SloCommand::Check(args) => check::run(global, args),
        SloCommand::Explain(args) => explain::run(global, args),
        SloCommand::Test(args) => test::run(global, args),
        SloCommand::Backtest(args) => backtest::run(global, args),
        SloCommand::Status(args) => status::run(global, args),
    }
}
