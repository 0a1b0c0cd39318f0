//! `dtx migrate`.

use clap::Args;
use dtx_shop::StoreAddress;
use serde::Serialize;

use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx migrate --store postgres://dtx@db/shop
  dtx migrate --store postgres://dtx@db/shop --print | psql

Processes that run on a store make or complete its tables by themselves. Where they may not, this
does it before they are started.";

/// The options of `dtx migrate`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct MigrateArgs {
    /// The store: postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Print the statements of all steps, and connect to nothing
    #[arg(long)]
    print: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "print")]
    json: bool,
}

/// What `dtx migrate --json` prints.
#[derive(Debug, Serialize)]
struct Migrated {
    store: String,
    /// The steps that were applied now.
    applied: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    number: i32,
    title: &'static str,
}

/// Makes or completes the tables of a store.
pub(crate) async fn migrate(args: MigrateArgs) -> Result<Exit, Failure> {
    let Some(applied) = apply(&args.store, args.print).await? else { return Ok(Exit::Sound) };
    if args.json {
        output::json(&Migrated { store: args.store.to_string(), applied })?;
    } else if applied.is_empty() {
        output::line("Nothing was missing.")?;
    } else {
        for step in applied {
            output::line(format_args!("applied step {}: {}", step.number, step.title))?;
        }
    }
    Ok(Exit::Sound)
}

/// Applies what is missing; `None` when all was only printed.
#[cfg(feature = "postgres")]
async fn apply(store: &StoreAddress, print: bool) -> Result<Option<Vec<Step>>, Failure> {
    let StoreAddress::Postgres(url) = store else { return Err(without_tables(store)) };
    let config = super::store::postgres(url)?;
    if print {
        for step in dtx::migrations(config.chosen_schema()) {
            output::line(format_args!("-- Step {}: {}.", step.number, step.title))?;
            output::line(step.sql.trim_end())?;
        }
        return Ok(None);
    }
    let applied = dtx::PgStore::migrate(config).await.map_err(Failure::failed)?;
    let step = |step: dtx::Migration| Step { number: step.number, title: step.title };
    Ok(Some(applied.into_iter().map(step).collect()))
}

#[cfg(not(feature = "postgres"))]
async fn apply(store: &StoreAddress, _: bool) -> Result<Option<Vec<Step>>, Failure> {
    Err(match store {
        StoreAddress::Postgres(_) => super::store::left_out("postgres"),
        StoreAddress::Memory | StoreAddress::Redb(_) | StoreAddress::Redis(_) => {
            without_tables(store)
        }
    })
}

/// A store that makes whatever it needs when it is opened.
fn without_tables(store: &StoreAddress) -> Failure {
    Failure::usage(format!("{store} has no tables to make"))
        .fix("give postgres://USER@HOST/DATABASE")
}
