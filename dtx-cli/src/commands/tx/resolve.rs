//! `dtx tx resolve`, and the signals of those whom a transaction waits for.

use std::path::PathBuf;

use clap::Args;
use dtx::{
    engine::{Move, Signal, Unreadable, Verb, legal_moves},
    ids::{OperationIndex, TxId},
    store::TxRecord,
    transaction::codec,
};
use dtx_shop::StoreAddress;
use serde::Serialize;

use super::source::{find, open};
use crate::{
    commands::access::{Access, Owner, Who, access},
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx tx resolve shop/order-1 --store redb:shop.redb
  dtx tx resolve shop/order-1 retry --store redb:shop.redb --reason 'the service is back'
  dtx tx resolve shop/order-1 skip payment --store redb:shop.redb --reason 'paid back by hand'
  dtx tx resolve shop/order-1 edit-input payment --input new.json --store redb:shop.redb \\
      --reason 'the account was closed'

Where a process runs on the store the move goes through it; else the store is opened for as long as
it takes, and the move waits there for the next process. No move changes a verdict.";

/// The options of `dtx tx resolve`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(super) struct ResolveArgs {
    /// The transaction: its id, or its key as NAMESPACE/KEY (KEY alone is default/KEY)
    #[arg(value_name = "ID")]
    id: String,
    /// The move: retry, skip, edit-input, force-commit, force-abort, abandon, clear-exceptions,
    /// approve, reject or cancel. Without one: say which it takes now, and what each would do
    #[arg(value_name = "MOVE")]
    verb: Option<Verb>,
    /// The operation that the move is about, by its name or its number: skip, edit-input
    #[arg(value_name = "OPERATION")]
    operation: Option<String>,
    /// The store: redb:PATH. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Why; the history of the transaction keeps it
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    who: Who,
    /// edit-input: a file with the new input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The options of `dtx tx approve`, `reject` and `cancel`.
#[derive(Debug, Args)]
pub(super) struct DecideArgs {
    /// The transaction: its id, or its key as NAMESPACE/KEY (KEY alone is default/KEY)
    #[arg(value_name = "ID")]
    id: String,
    /// The store: redb:PATH. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Why; the history of the transaction keeps it
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    who: Who,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A move that a transaction takes.
#[derive(Debug, Serialize)]
pub(super) struct Offer {
    #[serde(rename = "move")]
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// What it would do.
    effect: String,
}

/// What was given.
#[derive(Debug, Serialize)]
struct Given {
    store: String,
    tx: String,
    /// The process that carries it out; `None` when none runs on the store.
    owner: Option<Owner>,
    #[serde(rename = "move")]
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    by: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Offered {
    store: String,
    tx: String,
    moves: Vec<Offer>,
}

/// The moves that a transaction takes as its record stands.
pub(super) fn offers(record: &TxRecord) -> Result<Vec<Offer>, Unreadable> {
    let offer = |legal: Move| Offer {
        verb: legal.verb.name(),
        operation: legal.operation.map(|operation| operation_name(record, operation)),
        effect: legal.effect,
    };
    Ok(legal_moves(record)?.into_iter().map(offer).collect())
}

/// Prints the moves for people; nothing when there are none.
pub(super) fn print_offers(moves: &[Offer]) -> Result<(), Failure> {
    if moves.is_empty() {
        return Ok(());
    }
    let mut table = output::table(["MOVE", "OPERATION", "WHAT IT WOULD DO"]);
    for offer in moves {
        let operation = offer.operation.clone().unwrap_or_default();
        table.add_row([offer.verb.to_owned(), operation, offer.effect.clone()]);
    }
    output::line(format_args!("{}\n", output::text_of(&table)))
}

fn operation_name(record: &TxRecord, operation: OperationIndex) -> String {
    let transaction = codec::decode(&record.definition).ok();
    let found = transaction.as_ref().and_then(|all| all.operations().get(operation.get()));
    found.map_or_else(|| operation.to_string(), |found| found.name().to_string())
}

/// Moves a transaction, or says which moves there are.
pub(super) async fn resolve(args: ResolveArgs) -> Result<Exit, Failure> {
    let record = find(&open(&args.store)?, &args.id).await?;
    let Some(verb) = args.verb else {
        let moves = offers(&record).map_err(Failure::failed)?;
        if args.json {
            let (store, tx) = (args.store.to_string(), record.tx.to_string());
            output::json(&Offered { store, tx, moves })?;
        } else if moves.is_empty() {
            output::line("It takes no move.")?;
        } else {
            print_offers(&moves)?;
        }
        return Ok(Exit::Sound);
    };
    let signal = signal_of(verb, &args, &record)?;
    if verb.is_operator_move() && args.reason.is_empty() {
        return Err(Failure::usage(format!("{verb} needs a reason")).fix("give --reason"));
    }
    let who = args.who.name();
    give(&args.store, record.tx, signal, &who, &args.reason, args.json).await
}

/// Says to a transaction what the one says whom it waits for.
pub(super) async fn decide(args: DecideArgs, signal: Signal) -> Result<Exit, Failure> {
    let record = find(&open(&args.store)?, &args.id).await?;
    let who = args.who.name();
    give(&args.store, record.tx, signal, &who, &args.reason, args.json).await
}

fn signal_of(verb: Verb, args: &ResolveArgs, record: &TxRecord) -> Result<Signal, Failure> {
    if args.operation.is_some() && !verb.needs_operation() {
        return Err(Failure::usage(format!("{verb} is not about one operation")));
    }
    if args.input.is_some() && verb != Verb::EditInput {
        return Err(Failure::usage("--input goes with edit-input, and with nothing else"));
    }
    let operation = || match &args.operation {
        Some(name) => operation_of(record, name),
        None => Err(Failure::usage(format!("{verb} is about one operation"))
            .fix("name it after the move; `dtx tx show` lists them")),
    };
    Ok(match verb {
        Verb::Approve => Signal::Approve,
        Verb::Reject => Signal::Reject,
        Verb::Cancel => Signal::Cancel,
        Verb::Retry => Signal::Retry,
        Verb::Skip => Signal::Skip(operation()?),
        Verb::EditInput => {
            let operation = operation()?;
            Signal::EditInput { operation, payload: input_of(args)?.into() }
        }
        Verb::ForceCommit => Signal::ForceCommit,
        Verb::ForceAbort => Signal::ForceAbort,
        Verb::Abandon => Signal::Abandon,
        Verb::ClearExceptions => Signal::ClearExceptions,
    })
}

fn input_of(args: &ResolveArgs) -> Result<Vec<u8>, Failure> {
    let Some(path) = &args.input else {
        return Err(Failure::usage("edit-input needs the new input").fix("give --input FILE"));
    };
    std::fs::read(path)
        .map_err(|error| Failure::usage(format!("--input {}: {error}", path.display())))
}

fn operation_of(record: &TxRecord, wanted: &str) -> Result<OperationIndex, Failure> {
    let transaction = codec::decode(&record.definition).map_err(Failure::failed)?;
    let operations = transaction.operations();
    let by_name = operations.iter().position(|operation| operation.name().as_str() == wanted);
    let by_number = || wanted.parse().ok().filter(|number| *number < operations.len());
    let index = by_name.or_else(by_number).and_then(|index| u16::try_from(index).ok());
    index.map(OperationIndex).ok_or_else(|| {
        Failure::usage(format!("the transaction has no operation {wanted:?}"))
            .fix("`dtx tx show` lists them")
    })
}

async fn give(
    store: &StoreAddress,
    tx: TxId,
    signal: Signal,
    by: &str,
    reason: &str,
    json: bool,
) -> Result<Exit, Failure> {
    let access = access(store).await?;
    let given = given(&access, store, tx, signal, by, reason).await;
    let when = access.when();
    access.close().await?;
    let given = given?;
    if json {
        output::json(&given)?;
    } else {
        output::line(format_args!("{} {}: {when}.", given.verb, given.tx))?;
    }
    Ok(Exit::Sound)
}

async fn given(
    access: &Access,
    store: &StoreAddress,
    tx: TxId,
    signal: Signal,
    by: &str,
    reason: &str,
) -> Result<Given, Failure> {
    let (verb, operation) = (signal.verb(), signal.operation());
    if let Err(error) = access.operator.signal(tx, signal, by, reason).await {
        use dtx::coordinator::SignalError::{Contradicts, Invalid, TooLate, Unknown};
        let moves = access.operator.moves(tx).await.unwrap_or_default();
        let takes: Vec<_> = moves.iter().map(|legal| legal.verb.name()).collect();
        return Err(match error {
            Unknown(_) => Failure::unknown(error),
            Invalid(_) | TooLate(_) | Contradicts { .. } if takes.is_empty() => {
                Failure::usage(error).fix("it takes no move now")
            }
            Invalid(_) | TooLate(_) | Contradicts { .. } => {
                Failure::usage(error).fix(format!("it takes {}", takes.join(", ")))
            }
            error => Failure::failed(error),
        });
    }
    Ok(Given {
        store: store.to_string(),
        tx: tx.to_string(),
        owner: access.owner.clone(),
        verb: verb.name(),
        operation: operation.map(|operation| operation.to_string()),
        by: by.to_owned(),
        reason: reason.to_owned(),
    })
}
