//! The options of `dtx tx`.

use clap::{Args, Subcommand};

use super::{
    list::{ListArgs, list},
    show::{ShowArgs, show},
};
use crate::exit::{Exit, Failure};

/// The options of `dtx tx`.
#[derive(Debug, Args)]
pub(crate) struct TxArgs {
    #[command(subcommand)]
    command: TxCommand,
}

#[derive(Debug, Subcommand)]
enum TxCommand {
    /// List transactions, the newest first
    List(ListArgs),
    /// Show one transaction: what it is, how it stands, and its timeline
    Show(ShowArgs),
}

/// Looks at transactions.
pub(crate) async fn tx(args: TxArgs) -> Result<Exit, Failure> {
    match args.command {
        TxCommand::List(args) => list(args).await,
        TxCommand::Show(args) => show(args).await,
    }
}
