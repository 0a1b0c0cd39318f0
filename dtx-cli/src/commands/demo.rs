//! `dtx demo`.

use clap::Args;
use dtx::{name::Namespace, pattern::Pattern};
use dtx_shop::{
    CONCURRENCY_DEFAULT, FaultRates, Orders, Rate, Report, RunSettings, Services, StoreAddress,
    Told, TransportAddress, default_run_name,
};
use serde::Serialize;

use super::{
    run::{both, failure},
    store::open_redb,
};
use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
    progress::{Progress, ProgressMode},
    table,
};

const EXAMPLES: &str = "Examples:
  dtx demo
  dtx demo --orders 500 --json";

/// The options of `dtx demo`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct DemoArgs {
    /// Take only the first N orders
    #[arg(long, value_name = "N")]
    orders: Option<usize>,
    /// How often a service says no, and a message is lost, in the second half of the runs: each
    /// half as often as this
    #[arg(long, value_name = "RATE", default_value = "0.2")]
    fail: Rate,
    /// From what the faults are drawn
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Print one JSON object on stdout instead of a table
    #[arg(long)]
    json: bool,
    /// How progress is shown on stderr
    #[arg(long, value_enum, default_value_t)]
    progress: ProgressMode,
}

/// What `dtx demo --json` prints.
#[derive(Debug, Serialize)]
struct Demo {
    orders: usize,
    seed: u64,
    sound: bool,
    runs: Vec<DemoRun>,
}

/// One run of the demo.
#[derive(Debug, Serialize)]
struct DemoRun {
    fail: f64,
    #[serde(flatten)]
    report: Report,
}

/// Runs the shipped orders through every pattern.
pub(crate) async fn demo(args: DemoArgs) -> Result<Exit, Failure> {
    let mut orders = Orders::shipped();
    if let Some(count) = args.orders {
        orders = orders.first(count);
    }
    let folder = tempfile::tempdir().map_err(Failure::failed)?;
    let path = folder.path().join("demo.redb");
    let store = open_redb(&path).await?;
    let mut runs = Vec::new();
    for fail in [Rate::ZERO, args.fail] {
        for pattern in Pattern::ALL {
            let settings = RunSettings {
                run: run_name(pattern, fail),
                pattern,
                store: StoreAddress::Redb(path.clone()),
                transport: TransportAddress::default(),
                services: Services::Here,
                concurrency: CONCURRENCY_DEFAULT,
                faults: if fail.is_zero() { FaultRates::default() } else { both(fail) },
                seed: args.seed,
                stock: None,
            };
            let what = format!("{pattern:>5}, faults {fail}");
            let progress = Progress::new(args.progress, &what, orders.orders.len());
            let tell = |told: Told<'_>| progress.tell(told);
            let report = dtx_shop::run(&store, &orders, &settings, &tell).await.map_err(failure)?;
            runs.push(DemoRun { fail: fail.get(), report });
        }
    }
    store.close().await.map_err(Failure::failed)?;
    let sound = runs.iter().all(|run| run.report.is_sound());
    if args.json {
        let (orders, seed) = (orders.orders.len(), args.seed);
        output::json(&Demo { orders, seed, sound, runs })?;
    } else {
        let rows: Vec<_> = runs.iter().map(|run| (run.fail, &run.report)).collect();
        let count = orders.orders.len();
        output::line(format_args!("{count} orders on redb, {CONCURRENCY_DEFAULT} at once:"))?;
        output::line(table::comparison(&rows))?;
    }
    Ok(if sound { Exit::Sound } else { Exit::Failed })
}

fn run_name(pattern: Pattern, fail: Rate) -> Namespace {
    let stem = if fail.is_zero() { "demo" } else { "demo-faults" };
    Namespace::new(default_run_name(stem, pattern)).expect("a default name is always a name")
}
