//! `dtx doctor`.

use clap::Args;
use dtx::store::{Durability, StateStore};
use dtx_shop::StoreAddress;
use serde::Serialize;

use super::store::{Opened, on, open};
use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx doctor --store postgres://dtx@db/shop
  dtx doctor --store redb:shop.redb --json

Opens the store as a coordinator does and says what an acknowledged write survives, and what is
right and wrong with the settings of its server. Exit code 1 says that something is wrong.";

/// The options of `dtx doctor`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct DoctorArgs {
    /// The store: redb:PATH, postgres://USER@HOST/DATABASE or redis://HOST:PORT
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `dtx doctor --json` prints.
#[derive(Debug, Serialize)]
struct Examined {
    store: String,
    /// What an acknowledged write survives.
    survives: Durability,
    findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    right: bool,
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    means: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'static str>,
}

/// Examines a store.
pub(crate) async fn doctor(args: DoctorArgs) -> Result<Exit, Failure> {
    let opened = open(&args.store).await?;
    let survives = on!(&opened, store => StateStore::info(store).capabilities.durability);
    let findings = findings(&opened);
    opened.close().await?;
    let is_sound = findings.iter().all(|found| found.right) && survives == Durability::PowerLoss;
    if args.json {
        output::json(&Examined { store: args.store.to_string(), survives, findings })?;
    } else {
        output::line(match survives {
            Durability::PowerLoss => "ok     acknowledged writes survive the loss of power",
            Durability::ProcessCrash => "WRONG  acknowledged writes are lost with the power",
            Durability::Nothing => "WRONG  acknowledged writes are lost when the server ends",
        })?;
        for found in findings {
            let word = if found.right { "ok   " } else { "WRONG" };
            output::line(format_args!("{word}  {}", found.says))?;
            if let (Some(means), Some(fix)) = (found.means, found.fix) {
                output::line(format_args!("       {means}; {fix}"))?;
            }
        }
    }
    Ok(if is_sound { Exit::Sound } else { Exit::Failed })
}

/// What the server of a store says of itself; the others have none.
fn findings(opened: &Opened) -> Vec<Found> {
    match opened {
        Opened::Memory(_) | Opened::Redb(_) => Vec::new(),
        #[cfg(feature = "postgres")]
        Opened::Postgres(store) => {
            let found = |finding: dtx::Finding| {
                let right = finding.is_right;
                let when_wrong = |text| (!right).then_some(text);
                let (means, fix) = (when_wrong(finding.means), when_wrong(finding.fix));
                Found { right, says: finding.says, means, fix }
            };
            store.report().findings().into_iter().map(found).collect()
        }
        #[cfg(feature = "redis")]
        Opened::Redis(store) => {
            let found = |reason: &String| {
                let says = reason.clone();
                Found { right: false, says, means: None, fix: None }
            };
            store.durability_reasons().iter().map(found).collect()
        }
    }
}
