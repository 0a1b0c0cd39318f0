//! The options of `dtx tx`.

use clap::{Args, Subcommand};
use dtx::engine::Signal;

use super::{
    list::{ListArgs, list},
    resolve::{DecideArgs, ResolveArgs, decide, resolve},
    show::{ShowArgs, show},
    undo::{UndoArgs, undo},
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
    /// Move a transaction that does not go on by itself; without a move, say which there are
    Resolve(ResolveArgs),
    /// Agree, as the person whom a transaction waits for
    Approve(DecideArgs),
    /// Refuse, as the person whom a transaction waits for: it goes back
    Reject(DecideArgs),
    /// Ask a transaction to go back, if it is not decided
    Cancel(DecideArgs),
    /// Start the one transaction that reverses a committed one
    Undo(UndoArgs),
}

/// Looks at transactions and moves them.
pub(crate) async fn tx(args: TxArgs) -> Result<Exit, Failure> {
    match args.command {
        TxCommand::List(args) => list(args).await,
        TxCommand::Show(args) => show(args).await,
        TxCommand::Resolve(args) => resolve(args).await,
        TxCommand::Approve(args) => decide(args, Signal::Approve).await,
        TxCommand::Reject(args) => decide(args, Signal::Reject).await,
        TxCommand::Cancel(args) => decide(args, Signal::Cancel).await,
        TxCommand::Undo(args) => undo(args).await,
    }
}
