//! `dtx run`.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr, sync::Arc};

use clap::{Args, ValueEnum};
use dtx::{name::Namespace, pattern::Pattern, resource::LEVEL_MAX, transport::Transport};
use dtx_shop::{
    AddressError, CONCURRENCY_DEFAULT, CONCURRENCY_MAX, FaultRates, LOSE_MAX, Orders, PARTICIPANTS,
    RUN_NAME_RULE, Rate, Report, RunSettings, Services, ShopError, ShopStore, StoreAddress, Told,
    TransportAddress, default_run_name,
};
use dtx_sim::history::{HistoryWriter, Recorded, RecordedTransport, What};

use super::store::{on, open};
use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
    progress::{Progress, ProgressMode},
    table,
};

const EXAMPLES: &str = "Examples:
  dtx run --orders data/cdnow_orders.csv --pattern 3ps --store redb:shop.redb
  dtx run --orders data/cdnow_orders.csv --pattern saga --store memory --fail 0.2 --seed 7 --json
  dtx run --orders data/cdnow_orders.csv --pattern 2pc --store memory --stock 100

The same command again after it was killed goes on where it was: no order is charged twice.";

/// The options of `dtx run`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct RunArgs {
    /// The orders: a CSV file with the columns order_id,customer_id,date,quantity,amount_usd
    #[arg(long, value_name = "FILE")]
    orders: PathBuf,
    /// How each order is coordinated: 0.5ps, saga, 1.5ps, 2ps, 3ps or 2pc
    #[arg(long)]
    pattern: Pattern,
    /// Where transactions and the shop's rows are kept: memory (gone at the end),
    /// redb:PATH, postgres://USER@HOST/DATABASE or redis://HOST:PORT
    #[arg(long, value_name = "STORE", default_value = "memory")]
    store: StoreAddress,
    /// What carries the messages: inmem (this process alone), kafka://HOST:PORT or
    /// nats://HOST:PORT
    #[arg(long, value_name = "TRANSPORT", default_value_t)]
    transport: TransportAddress,
    /// Where the services are: here, or apart in processes of `dtx serve` on the same store
    #[arg(long, value_enum, value_name = "WHERE", default_value_t)]
    services: Where,
    /// Where a service apart keeps its rows, if not on --store; may be given for each of them
    #[arg(long = "service-store", value_name = "SERVICE=STORE")]
    service_stores: Vec<ServiceStore>,
    /// The name of the run, to which accounts, stock and keys belong [default: file stem and
    /// pattern]
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// How many orders are on their way at once
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value_t = CONCURRENCY_DEFAULT)]
    concurrency: usize,
    /// How often a service says no where its pattern allows it, from 0 to 1
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", default_value_t)]
    refuse: Rate,
    /// How often a command, and how often a reply, is lost, from 0 to 0.5
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", default_value_t)]
    lose: Rate,
    /// Refuse and lose, each half as often as this
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", conflicts_with_all = ["refuse", "lose"])]
    fail: Option<Rate>,
    /// From what the faults are drawn: the same seed, the same faults
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many units are there [default: enough for all orders]
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = clap::value_parser!(u64).range(..=LEVEL_MAX))]
    stock: Option<u64>,
    /// Print one JSON object on stdout instead of a table
    #[arg(long)]
    json: bool,
    /// Append what happens to this file, for dtx check-history; give it from the first run on
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// How progress is shown on stderr
    #[arg(long, value_enum, default_value_t)]
    progress: ProgressMode,
}

/// Where the services of a run are.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Where {
    /// In this process.
    #[default]
    Here,
    /// In processes of `dtx serve`, on the same store.
    Apart,
}

/// The store of one service.
#[derive(Clone, Debug)]
struct ServiceStore {
    service: String,
    store: StoreAddress,
}

impl FromStr for ServiceStore {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (service, store) = text.split_once('=').ok_or("give SERVICE=STORE")?;
        if !PARTICIPANTS.contains(&service) {
            return Err(format!("{service:?} is no service; the services are {PARTICIPANTS:?}"));
        }
        let store: StoreAddress = store.parse().map_err(|error: AddressError| error.to_string())?;
        Ok(Self { service: service.to_owned(), store })
    }
}

/// Where the services are, as the command line says.
async fn services(args: &RunArgs) -> Result<Services, Failure> {
    if matches!(args.services, Where::Here) {
        return match args.service_stores.first() {
            None => Ok(Services::Here),
            Some(_) => Err(Failure::usage("--service-store is for --services apart")),
        };
    }
    if args.history.is_some() {
        let text = "--history cannot see what services apart do";
        return Err(Failure::usage(text).fix("leave it out, or give --services here"));
    }
    shared_by_processes(&args.store, &args.transport)?;
    let mut own_stores = BTreeMap::new();
    for ServiceStore { service, store } in &args.service_stores {
        shared_by_processes(store, &args.transport)?;
        own_stores.insert(service.clone(), open(store).await?.rows());
    }
    Ok(Services::Apart { own_stores })
}

/// Refuses what only one process can use.
pub(crate) fn shared_by_processes(
    store: &StoreAddress,
    transport: &TransportAddress,
) -> Result<(), Failure> {
    if matches!(store, StoreAddress::Memory | StoreAddress::Redb(_)) {
        return Err(Failure::usage(format!("--store {store} is used by one process alone"))
            .fix("give postgres://USER@HOST/DATABASE or redis://HOST:PORT"));
    }
    if *transport == TransportAddress::InMemory {
        return Err(Failure::usage("--transport inmem stays inside of one process")
            .fix("give kafka://HOST:PORT or nats://HOST:PORT"));
    }
    Ok(())
}

/// Runs the orders.
pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let settings = settings(&args, services(&args).await?)?;
    let orders = Orders::read(&args.orders).map_err(Failure::usage)?;
    for row in &orders.bad_rows {
        eprintln!("warning: {row}; the row is left out");
    }
    let report = {
        let progress = Progress::new(args.progress, settings.pattern.name(), orders.orders.len());
        let history = match &args.history {
            Some(path) => Some(HistoryWriter::append(path).map_err(|error| {
                Failure::usage(format!("--history {}: {error}", path.display()))
            })?),
            None => None,
        };
        on_store(&orders, &settings, &progress, history).await?
    };
    if args.json {
        output::json(&report)?;
    } else {
        output::line(table::run_table(&report))?;
    }
    Ok(if report.is_sound() { Exit::Sound } else { Exit::Failed })
}

fn settings(args: &RunArgs, services: Services) -> Result<RunSettings, Failure> {
    if !(1..=CONCURRENCY_MAX).contains(&args.concurrency) {
        let text = format!(
            "--concurrency is {}; give 1 to {CONCURRENCY_MAX}, such as {CONCURRENCY_DEFAULT}",
            args.concurrency
        );
        return Err(Failure::usage(text));
    }
    let faults = match args.fail {
        Some(rate) => both(rate),
        None => FaultRates { refuse: args.refuse, lose: args.lose },
    };
    if faults.lose.get() > LOSE_MAX {
        let text = format!("--lose is {}; {LOSE_MAX} is the most", faults.lose);
        return Err(Failure::usage(text));
    }
    let stem = args.orders.file_stem().unwrap_or_default().to_string_lossy();
    let run = args.run.clone().unwrap_or_else(|| default_run_name(&stem, args.pattern));
    let run = Namespace::new(&run)
        .map_err(|_| Failure::usage(format!("--run is {run:?}; give {RUN_NAME_RULE}")))?;
    Ok(RunSettings {
        run,
        pattern: args.pattern,
        store: args.store.clone(),
        transport: args.transport.clone(),
        services,
        concurrency: args.concurrency,
        faults,
        seed: args.seed,
        stock: args.stock,
    })
}

/// `--fail`: both faults, each half as often.
pub(crate) fn both(rate: Rate) -> FaultRates {
    FaultRates { refuse: rate.half(), lose: rate.half() }
}

async fn on_store(
    orders: &Orders,
    settings: &RunSettings,
    progress: &Progress,
    history: Option<HistoryWriter>,
) -> Result<Report, Failure> {
    let opened = open(&settings.store).await?;
    let report = on!(&opened, store => {
        run_on(store.clone(), orders, settings, progress, history).await
    })?;
    opened.close().await?;
    Ok(report)
}

/// Runs on an open store; only with a history is anything put around it.
async fn run_on<S: ShopStore>(
    store: S,
    orders: &Orders,
    settings: &RunSettings,
    progress: &Progress,
    history: Option<HistoryWriter>,
) -> Result<Report, Failure> {
    let Some(history) = history else {
        let tell = |told: Told<'_>| progress.tell(told);
        return dtx_shop::run(&store, orders, settings, &tell).await.map_err(failure);
    };
    let tell = |told: Told<'_>| {
        match told {
            Told::Accepted(_, tx) => history.note("client", [(Some(tx), What::Acknowledged)]),
            Told::Ended(_, tx, outcome) => {
                history.note("client", [(Some(tx), What::Told { outcome })]);
            }
            Told::Done(_) => {}
        }
        progress.tell(told);
    };
    let wrap = |inner: Arc<dyn Transport>| -> Arc<dyn Transport> {
        Arc::new(RecordedTransport::new(inner, history.clone()))
    };
    let recorded = Recorded::new(store, history.clone());
    let report = dtx_shop::run_through(&recorded, orders, settings, &wrap, &tell).await;
    let report = report.map_err(failure)?;
    let tables = recorded.dump(&settings.run, &settings.pool_prefixes()).await;
    tables.map_err(Failure::failed)?;
    history.end().map_err(Failure::failed)?;
    Ok(report)
}

/// Which errors of a run are mistakes on the command line.
pub(crate) fn failure(error: ShopError) -> Failure {
    match error {
        ShopError::OptionChanged { .. } | ShopError::OptionsUnreadable { .. } => {
            Failure::usage(error)
        }
        error => Failure::failed(error),
    }
}
