//! `dtx demo`.

use clap::Args;

use crate::exit::{Exit, Failure};

/// The options of `dtx demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Take only the first N orders
    #[arg(long, value_name = "N")]
    orders: Option<usize>,
}

/// Runs the shipped orders through every pattern.
pub(crate) async fn demo(args: DemoArgs) -> Result<Exit, Failure> {
    println!("{:?}", args.orders);
    Ok(Exit::Sound)
}
