//! The options of `dtx submit`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use dtx::{resource::LEVEL_MAX, transaction::Transaction};
use dtx_shop::{ServiceSettings, ShopStore, StoreAddress, TransportAddress, start_services};
use serde::Serialize;

use super::{
    books, custom,
    drive::{Decision, Driven, drive},
    file,
};
use crate::{
    commands::store::{on, open},
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx submit dtx-cli/examples/transactions/3ps.json
  dtx submit dtx-cli/examples/transactions/approval.json --approve --store redb:shop.redb
  dtx submit orders.json --store redb:shop.redb --json

The file holds one transaction or an array of them. The services are payment (debit, credit),
inventory and shipping (take), notification (notify) and analytics (analyse); accounts and items
are opened when they are named for the first time. A mistake in the file changes nothing. What is
still open after --wait goes on when the store is opened the next time by `dtx submit` or `dtx run`.

Exit code 0 says that every transaction has its outcome, whichever it is.";

/// How long a stop waits for records that nobody waited for.
const GRACE: Duration = Duration::from_secs(5);

/// As [`GRACE`], where it is known that something stays open.
const GRACE_STUCK: Duration = Duration::from_millis(200);

/// The options of `dtx submit`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct SubmitArgs {
    /// The transactions, as JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where transactions and the rows of the services are kept: memory (gone at the end),
    /// redb:PATH, postgres://USER@HOST/DATABASE or redis://HOST:PORT
    #[arg(long, value_name = "STORE", default_value = "memory")]
    store: StoreAddress,
    /// Agree in place of the person that a transaction waits for
    #[arg(long, conflicts_with = "reject")]
    approve: bool,
    /// Refuse in place of the person that a transaction waits for
    #[arg(long)]
    reject: bool,
    /// How many seconds to wait for the outcomes
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
    /// What an account is opened with, in cents
    #[arg(long, value_name = "CENTS", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(..=LEVEL_MAX))]
    balance: u64,
    /// What an item is opened with
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(..=LEVEL_MAX))]
    stock: u64,
    /// Print one JSON object on stdout instead of a table
    #[arg(long)]
    json: bool,
}

/// What `dtx submit --json` prints.
#[derive(Debug, Serialize)]
struct Submitted<'a> {
    store: String,
    /// How many have their outcome.
    ended: usize,
    /// How many have none.
    without_outcome: usize,
    transactions: &'a [Driven],
}

/// Runs the transactions of a file.
pub(crate) async fn submit(args: SubmitArgs) -> Result<Exit, Failure> {
    let transactions = file::read(&args.file, &custom::strategies(), &custom::conditions())?;
    let opened = open(&args.store).await?;
    let driven = on!(&opened, store => on_store(store, transactions, &args).await?);
    opened.close().await?;
    let ended = driven.iter().filter(|one| one.has_ended()).count();
    let without_outcome = driven.len() - ended;
    if args.json {
        let store = args.store.to_string();
        output::json(&Submitted { store, ended, without_outcome, transactions: &driven })?;
    } else {
        print_table(&driven)?;
    }
    Ok(if without_outcome == 0 { Exit::Sound } else { Exit::Failed })
}

async fn on_store<S: ShopStore>(
    store: &S,
    transactions: Vec<Transaction>,
    args: &SubmitArgs,
) -> Result<Vec<Driven>, Failure> {
    let opened = books::open(store, &transactions, args.balance, args.stock).await;
    opened.map_err(Failure::failed)?;
    let mut settings = ServiceSettings::new(&args.store, TransportAddress::InMemory);
    settings.strategies = custom::strategies();
    settings.conditions = custom::conditions();
    let dtx = start_services(store, &settings).await.map_err(Failure::failed)?;
    let decision = match (args.approve, args.reject) {
        (true, _) => Some(Decision::Approve),
        (_, true) => Some(Decision::Reject),
        _ => None,
    };
    let driven = drive(&dtx, transactions, decision, Duration::from_secs(args.wait)).await;
    let has_all = driven.iter().all(Driven::has_ended);
    dtx.shutdown(if has_all { GRACE } else { GRACE_STUCK }).await;
    Ok(driven)
}

fn print_table(driven: &[Driven]) -> Result<(), Failure> {
    let mut table = output::table(["#", "TRANSACTION", "PATTERN", "OUTCOME", "MS", "KEY", "NOTES"]);
    for (index, one) in driven.iter().enumerate() {
        table.add_row([
            index.to_string(),
            one.tx.clone().unwrap_or_default(),
            one.pattern.to_string(),
            one.outcome.map_or_else(|| one.status.clone(), |outcome| outcome.to_string()),
            format!("{:.1}", one.ms),
            one.key.clone().unwrap_or_default(),
            one.notes(),
        ]);
    }
    output::line(output::text_of(&table))
}
