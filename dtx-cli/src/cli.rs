//! The command line.

use clap::{ArgAction, Parser, Subcommand};

use crate::{
    commands::{demo::DemoArgs, run::RunArgs},
    exit::EXIT_HELP,
};

/// Distributed transactions: every pattern, over one contract.
#[derive(Debug, Parser)]
#[command(name = "dtx", version, after_help = EXIT_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// Say more on stderr; twice and three times say still more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the orders of a CSV file through one pattern
    Run(RunArgs),
    /// Run the shipped orders through all six patterns, and compare
    Demo(DemoArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
