//! `dtx participant`.

use clap::{Args, Subcommand};
use dtx::{engine::Hold, name::ParticipantName, operator::HoldError};
use dtx_shop::StoreAddress;
use serde::Serialize;

use super::access::{Owner, Who, access};
use crate::{
    exit::{Exit, Failure},
    output,
};

/// The options of `dtx participant`.
#[derive(Debug, Args)]
pub(crate) struct ParticipantArgs {
    #[command(subcommand)]
    command: ParticipantCommand,
}

#[derive(Debug, Subcommand)]
enum ParticipantCommand {
    /// From now on nothing is sent to it; what is undecided still ends by its deadline
    Hold(HoldArgs),
    /// What waited for it is sent
    Release(HoldArgs),
    /// Those that are held or ever were, with who did it and why
    List(ListArgs),
}

#[derive(Debug, Args)]
struct HoldArgs {
    /// The participant
    #[arg(value_name = "NAME", value_parser = |text: &str| ParticipantName::new(text))]
    participant: ParticipantName,
    /// The store: redb:PATH. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Why; the store keeps it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// The store: redb:PATH. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Changed {
    store: String,
    owner: Option<Owner>,
    participant: String,
    held: bool,
    /// Whether it was otherwise before.
    changed: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    store: String,
    participants: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    participant: String,
    held: bool,
    moves: Vec<Moved>,
}

#[derive(Debug, Serialize)]
struct Moved {
    #[serde(rename = "move")]
    what: &'static str,
    by: String,
    reason: String,
    at: String,
}

/// Holds, releases, and lists participants.
pub(crate) async fn participant(args: ParticipantArgs) -> Result<Exit, Failure> {
    match args.command {
        ParticipantCommand::Hold(args) => change(args, true).await,
        ParticipantCommand::Release(args) => change(args, false).await,
        ParticipantCommand::List(args) => list(args).await,
    }
}

async fn change(args: HoldArgs, held: bool) -> Result<Exit, Failure> {
    let access = access(&args.store).await?;
    let (operator, by) = (&access.operator, args.who.name());
    let changed = match held {
        true => operator.hold(&args.participant, &by, &args.reason).await,
        false => operator.release(&args.participant, &by, &args.reason).await,
    };
    let owner = access.owner.clone();
    access.close().await?;
    let changed = changed.map_err(|error| match error {
        HoldError::Invalid(_) => Failure::usage(error),
        error => Failure::failed(error),
    })?;
    let participant = args.participant.to_string();
    if args.json {
        let store = args.store.to_string();
        output::json(&Changed { store, owner, participant, held, changed })?;
    } else {
        let what = if held { "held" } else { "released" };
        let note = if changed { "" } else { ", as it was before" };
        output::line(format_args!("{participant} is {what}{note}."))?;
    }
    Ok(Exit::Sound)
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let access = access(&args.store).await?;
    let holds = access.operator.holds().await;
    access.close().await?;
    let rows: Vec<Row> = holds.map_err(Failure::failed)?.iter().map(row).collect();
    if args.json {
        output::json(&Listed { store: args.store.to_string(), participants: rows })?;
        return Ok(Exit::Sound);
    }
    if rows.is_empty() {
        output::line("No participant was ever held.")?;
        return Ok(Exit::Sound);
    }
    let mut table = output::table(["PARTICIPANT", "STATE", "BY", "AT", "REASON"]);
    for row in rows {
        let state = if row.held { "held" } else { "released" };
        if let Some(last) = row.moves.into_iter().next_back() {
            table.add_row([row.participant, state.to_owned(), last.by, last.at, last.reason]);
        }
    }
    output::line(output::text_of(&table))?;
    Ok(Exit::Sound)
}

fn row(hold: &Hold) -> Row {
    let moves = hold.moves.iter().map(|moved| Moved {
        what: if moved.held { "hold" } else { "release" },
        by: moved.by.to_string(),
        reason: moved.reason.to_string(),
        at: output::utc(moved.at),
    });
    let (participant, held) = (hold.participant.to_string(), hold.is_held());
    Row { participant, held, moves: moves.collect() }
}
