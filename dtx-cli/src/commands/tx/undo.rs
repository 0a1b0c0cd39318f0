//! `dtx tx undo`.

use clap::Args;
use dtx::operator::UndoError;
use dtx_shop::StoreAddress;
use serde::Serialize;

use super::source::{find, open};
use crate::{
    commands::access::{Owner, Who, access},
    exit::{Exit, Failure},
    output,
};

/// The options of `dtx tx undo`.
#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// The committed transaction: its id, or its key as NAMESPACE/KEY (KEY alone is default/KEY)
    #[arg(value_name = "ID")]
    id: String,
    /// The store: redb:PATH. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Why; the reversing transaction keeps it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Undone {
    store: String,
    /// The process that carries it out; `None` when none runs on the store.
    owner: Option<Owner>,
    undo_of: String,
    /// The reversing transaction.
    tx: String,
    /// Whether this call started it.
    new: bool,
}

/// Starts the reversal of a transaction.
pub(super) async fn undo(args: UndoArgs) -> Result<Exit, Failure> {
    let record = find(&open(&args.store)?, &args.id).await?;
    let access = access(&args.store).await?;
    let undone = access.operator.undo(record.tx, &args.who.name(), &args.reason).await;
    let (when, owner) = (access.when(), access.owner.clone());
    access.close().await?;
    let undone = undone.map_err(|error| match error {
        UndoError::Unknown(_) => Failure::unknown(error),
        UndoError::NoReason | UndoError::Plan(..) => Failure::usage(error),
        error => Failure::failed(error),
    })?;
    let (undo_of, tx) = (record.tx.to_string(), undone.tx.to_string());
    if args.json {
        let store = args.store.to_string();
        output::json(&Undone { store, owner, undo_of, tx, new: undone.is_new })?;
    } else if undone.is_new {
        output::line(format_args!("{tx} reverses {undo_of}: {when}."))?;
    } else {
        output::line(format_args!("{tx} reverses {undo_of} already."))?;
    }
    Ok(Exit::Sound)
}
