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
    let applied = match &args.store {
        StoreAddress::Memory | StoreAddress::Redb(_) => {
            return Err(Failure::usage(format!("{} has no tables to make", args.store))
                .fix("give postgres://USER@HOST/DATABASE"));
        }
        #[cfg(feature = "postgres")]
        StoreAddress::Postgres(url) => {
            let config = super::store::postgres(url)?;
            if args.print {
                for step in dtx::migrations(config.chosen_schema()) {
                    output::line(format_args!("-- Step {}: {}.", step.number, step.title))?;
                    output::line(step.sql.trim_end())?;
                }
                return Ok(Exit::Sound);
            }
            let applied = dtx::PgStore::migrate(config).await.map_err(Failure::failed)?;
            let step = |step: dtx::Migration| Step { number: step.number, title: step.title };
            applied.into_iter().map(step).collect::<Vec<_>>()
        }
        #[cfg(not(feature = "postgres"))]
        StoreAddress::Postgres(_) => return Err(super::store::left_out("postgres")),
    };
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
