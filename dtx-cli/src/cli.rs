//! The command line.

use clap::{ArgAction, Parser, Subcommand};

#[cfg(feature = "geo")]
use crate::commands::geo::GeoArgs;
use crate::{
    commands::{
        check_history::CheckHistoryArgs, completions::CompletionsArgs, demo::DemoArgs,
        doctor::DoctorArgs, heal::HealArgs, migrate::MigrateArgs, participant::ParticipantArgs,
        run::RunArgs, serve::ServeArgs, sim::SimArgs, submit::SubmitArgs, tx::TxArgs,
    },
    exit::EXIT_HELP,
};

const EXAMPLES: &str = "Examples:
  dtx demo
  dtx run --orders data/cdnow_orders.csv --pattern 3ps --store redb:shop.redb
  dtx tx list --store redb:shop.redb --status committed --limit 5
  dtx tx resolve shop/order-1 --store redb:shop.redb
  dtx heal --store redb:shop.redb --json
  dtx submit dtx-cli/examples/transactions/3ps.json
  dtx sim --seeds 1000";

/// Distributed transactions: every pattern, over one contract.
#[derive(Debug, Parser)]
#[command(name = "dtx", version, after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"), max_term_width = 100)]
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
    /// Run services of the shop in a process of their own
    Serve(ServeArgs),
    /// Run transactions of a JSON file against the services of the shop
    Submit(SubmitArgs),
    /// Look at the transactions of a store and move them, also while another process runs on it
    Tx(TxArgs),
    /// Say what of a store needs healing, and heal it if no process runs on it
    Heal(HealArgs),
    /// Hold and release participants, also while another process runs on the store
    Participant(ParticipantArgs),
    /// Make or complete the tables of a store on a server
    Migrate(MigrateArgs),
    /// Say what is right and wrong with the configuration of a store
    Doctor(DoctorArgs),
    /// Run the simulator: many seeds, or one again
    Sim(SimArgs),
    /// Show what is known of regions, and simulate transactions over them
    #[cfg(feature = "geo")]
    Geo(GeoArgs),
    /// Judge what a run wrote down: valid, invalid or unknown
    CheckHistory(CheckHistoryArgs),
    /// Print what a shell needs to complete the options of this program
    Completions(CompletionsArgs),
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
