//! `dtx run`.

use std::path::PathBuf;

use clap::Args;
use dtx::pattern::Pattern;
use dtx_shop::{StoreAddress, TransportAddress};

use crate::exit::{Exit, Failure};

/// The options of `dtx run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The orders: a CSV file with the columns order_id,customer_id,date,quantity,amount_usd
    #[arg(long, value_name = "FILE")]
    orders: PathBuf,
    /// How each order is coordinated: 0.5ps, saga, 1.5ps, 2ps, 3ps or 2pc
    #[arg(long)]
    pattern: Pattern,
    /// Where transactions and the shop's rows are kept: memory or redb:PATH
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// What carries the messages: inmem
    #[arg(long, default_value_t)]
    transport: TransportAddress,
}

/// Runs the orders.
pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let RunArgs { orders, pattern, store, transport } = args;
    println!("{} {pattern} {store} {transport}", orders.display());
    Ok(Exit::Sound)
}
