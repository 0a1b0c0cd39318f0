//! A run: every order of a file becomes a transaction, and nothing is done twice.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use dtx::{
    coordinator::{CoordinatorStats, Dtx, Handle, SubmitError},
    error::Retry,
    ids::TxId,
    name::Namespace,
    pattern::Pattern,
    store::{Outcome, StateStore, Status},
    transaction::Transaction,
    transport::Transport,
};
use futures_util::{StreamExt, stream};
use hdrhistogram::Histogram;

use crate::{
    address::{StoreAddress, TransportAddress},
    audit::{Findings, audit, records},
    checkout::Checkout,
    error::ShopError,
    faults::{FaultRates, Faults},
    options::RunOptions,
    orders::{Order, Orders},
    report::{DurableWrites, LatencyMs, Report},
    services::{ServiceSettings, Services, open_books_on, start_services_through},
    store::{Shelves, ShopStore},
};

/// How many orders are on their way at once if nothing else is said.
pub const CONCURRENCY_DEFAULT: usize = 256;

/// The most orders that may be on their way at once.
pub const CONCURRENCY_MAX: usize = 65_536;

/// How often a submit is tried that may work the next time. Where a process was killed on a store
/// that others share, its leases must end first: at ten tries a second this is three times as long.
const SUBMIT_ATTEMPTS_MAX: usize = 300;

/// How often it is looked whether a transaction that takes long waits for an operator.
const ATTENTION_INTERVAL: Duration = Duration::from_secs(2);

/// How long a stop waits for what is still open.
const GRACE: Duration = Duration::from_secs(30);

/// As [`GRACE`], where it is known that something will stay open.
const GRACE_STUCK: Duration = Duration::from_secs(1);

/// Latencies are kept in microseconds with three digits; longer ones than this count as this.
const LATENCY_DIGITS: u8 = 3;
const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// So many orders have ended, those of earlier processes included.
    Done(usize),
    /// This order is accepted as this transaction: that is durable.
    Accepted(&'a str, TxId),
    /// This order, as this transaction, has its outcome: that is durable.
    Ended(&'a str, TxId, Outcome),
}

/// What a run is.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Its name: the accounts, the stock and the keys of the transactions belong to it.
    pub run: Namespace,
    /// How each order is coordinated.
    pub pattern: Pattern,
    /// Which store was opened for it.
    pub store: StoreAddress,
    /// What carries the messages.
    pub transport: TransportAddress,
    /// Where the services are. Apart, they keep their rows on the same store or on their own.
    pub services: Services,
    /// How many orders are on their way at once, 1 to [`CONCURRENCY_MAX`].
    pub concurrency: usize,
    /// What goes wrong, and how often.
    pub faults: FaultRates,
    /// From what the faults are drawn.
    pub seed: u64,
    /// How many units there are; enough for all orders if `None`.
    pub stock: Option<u64>,
}

/// Runs the orders to their end and counts everything again. `tell` is told how it goes on.
///
/// # Errors
/// [`ShopError`]. What was begun goes on when the same run is started again.
///
/// # Idempotency
/// The same run again goes on where it was: an order that has an outcome is not touched.
///
/// # Cancel safety
/// Dropping the future leaves the run as a kill of the process would.
pub async fn run<S: ShopStore>(
    store: &S,
    orders: &Orders,
    settings: &RunSettings,
    tell: &(dyn Fn(Told<'_>) + Sync),
) -> Result<Report, ShopError> {
    run_through(store, orders, settings, &|transport| transport, tell).await
}

/// As [`run`], with all messages through what `wrap` puts around the transport.
///
/// # Errors
/// As [`run`].
///
/// # Idempotency
/// As [`run`].
///
/// # Cancel safety
/// As [`run`].
pub async fn run_through<S: ShopStore>(
    store: &S,
    orders: &Orders,
    settings: &RunSettings,
    wrap: &(dyn Fn(Arc<dyn Transport>) -> Arc<dyn Transport> + Sync),
    tell: &(dyn Fn(Told<'_>) + Sync),
) -> Result<Report, ShopError> {
    let stock = settings.stock.unwrap_or_else(|| orders.units());
    settings.options(orders, stock).settle(store, &settings.run).await?;
    let shelves = settings.shelves(store);
    open_books_on(&shelves, settings.run.as_str(), orders, stock).await?;
    let known = records(store, &settings.run).await?;
    let ended: HashSet<String> = known
        .iter()
        .filter(|record| record.outcome.is_some())
        .map(|record| record.order.clone())
        .collect();
    let recovered = known.len() - ended.len();
    let faults = settings.drawn_faults().map(Arc::new);
    let services = ServiceSettings {
        services: settings.services.clone(),
        faults: faults.clone(),
        ..ServiceSettings::new(&settings.store, settings.transport.clone())
    };
    let dtx = start_services_through(store, &services, wrap).await?;
    let runner = Runner {
        dtx: &dtx,
        checkout: Checkout::new(settings.pattern, settings.run.as_str()),
        faults: faults.as_deref(),
        tell,
    };
    let driven = runner.drive(orders, &ended, settings.concurrency).await;
    let is_stuck = driven.as_ref().map_or(true, |driven| driven.stuck > 0);
    dtx.shutdown(if is_stuck { GRACE_STUCK } else { GRACE }).await;
    let driven = driven?;
    let found = audit(store, &shelves, &settings.run, settings.pattern, orders, stock).await?;
    let mut report = settings.report(found, &driven, &dtx.stats());
    report.store = StateStore::info(store).name.to_owned();
    report.skipped_rows = orders.bad_rows.len() as u64;
    report.recovered = recovered as u64;
    Ok(report)
}

impl RunSettings {
    /// What the scopes of the stock and of the money of the run begin with.
    pub fn pool_prefixes(&self) -> Vec<String> {
        let of = |participant| format!("{participant}/{}/", self.run.as_str());
        ["payment", "inventory", "shipping"].map(of).to_vec()
    }

    fn drawn_faults(&self) -> Option<Faults> {
        (!self.faults.is_none()).then(|| match self.services {
            Services::Here => Faults::of_orders(self.seed, self.faults),
            Services::Apart { .. } => Faults::of_transactions(self.seed, self.faults),
        })
    }

    fn shelves(&self, store: &impl ShopStore) -> Shelves {
        let own = match &self.services {
            Services::Here => BTreeMap::new(),
            Services::Apart { own_stores } => own_stores.clone(),
        };
        Shelves::new(store.clone(), own)
    }

    fn options(&self, orders: &Orders, stock: u64) -> RunOptions {
        RunOptions {
            orders: orders.digest(),
            pattern: self.pattern,
            transport: self.transport.to_string(),
            concurrency: self.concurrency,
            faults: self.faults,
            seed: self.seed,
            stock,
        }
    }

    fn report(&self, found: Findings, driven: &Driven, stats: &CoordinatorStats) -> Report {
        let per_order = |count: u64| count as f64 / (driven.count.max(1)) as f64;
        let percentile = |share: f64| driven.latency.value_at_quantile(share) as f64 / 1_000.0;
        let seconds = driven.elapsed.as_secs_f64();
        Report {
            pattern: self.pattern.to_string(),
            store: String::new(),
            transport: self.transport.to_string(),
            transactions: found.transactions,
            committed: found.committed,
            aborted: found.aborted,
            compensated: found.compensated,
            dispatched: found.dispatched,
            dead_letters: found.dead_letters,
            needs_attention: found.needs_attention,
            skipped_rows: 0,
            recovered: 0,
            sold_units: found.sold_units,
            left_units: found.left_units,
            smallest_refused_alone: found.smallest_refused_alone,
            throughput_tps: if driven.count == 0 { 0.0 } else { driven.count as f64 / seconds },
            latency_ms: LatencyMs {
                p50: percentile(0.50),
                p95: percentile(0.95),
                p99: percentile(0.99),
            },
            durable_writes: DurableWrites {
                awaited_per_tx: per_order(stats.writes_awaited),
                lazy_per_tx: per_order(stats.writes_lazy),
            },
            messages_per_tx: per_order(stats.commands + stats.replies),
            invariants: found.invariants,
        }
    }
}

/// What came of driving the orders.
struct Driven {
    /// How many orders this process carried out.
    count: u64,
    /// How many of them wait for an operator.
    stuck: u64,
    elapsed: Duration,
    /// From the submit to the outcome, in microseconds.
    latency: Histogram<u64>,
}

/// What came of one order.
struct Ended {
    /// `None` when an earlier process had submitted it.
    latency: Option<Duration>,
    is_stuck: bool,
}

struct Runner<'a> {
    dtx: &'a Dtx,
    checkout: Checkout,
    faults: Option<&'a Faults>,
    tell: &'a (dyn Fn(Told<'_>) + Sync),
}

impl Runner<'_> {
    /// Keeps up to `concurrency` orders on their way until all have ended. All of them are
    /// driven by this one task.
    async fn drive(
        &self,
        orders: &Orders,
        ended: &HashSet<String>,
        concurrency: usize,
    ) -> Result<Driven, ShopError> {
        let latency = Histogram::new_with_max(LATENCY_MICROS_MAX, LATENCY_DIGITS);
        let latency = latency.expect("the bounds are possible");
        let mut driven = Driven { count: 0, stuck: 0, elapsed: Duration::ZERO, latency };
        let mut done = ended.len();
        (self.tell)(Told::Done(done));
        let begun = Instant::now();
        let left = orders.orders.iter().filter(|order| !ended.contains(&order.id));
        let mut results =
            stream::iter(left).map(|order| self.carry_out(order)).buffer_unordered(concurrency);
        while let Some(result) = results.next().await {
            let Ended { latency, is_stuck } = result?;
            driven.count += 1;
            driven.stuck += u64::from(is_stuck);
            if let Some(latency) = latency {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                driven.latency.saturating_record(micros);
            }
            done += 1;
            (self.tell)(Told::Done(done));
        }
        driven.elapsed = begun.elapsed();
        Ok(driven)
    }

    async fn carry_out(&self, order: &Order) -> Result<Ended, ShopError> {
        let transaction = self
            .checkout
            .transaction(order)
            .map_err(|source| ShopError::Definition { order: order.id.clone(), source })?;
        let begun = Instant::now();
        let mut handle = self
            .submit(transaction)
            .await
            .map_err(|source| ShopError::Submit { order: order.id.clone(), source })?;
        let tx = handle.tx();
        (self.tell)(Told::Accepted(&order.id, tx));
        let outcome = |source| ShopError::Outcome { order: order.id.clone(), source };
        let mut latency = None;
        let is_stuck = loop {
            let ending = async {
                let outcome = handle.outcome().await?;
                if latency.is_none() {
                    latency = Some(begun.elapsed());
                    (self.tell)(Told::Ended(&order.id, tx, outcome));
                }
                handle.finished().await
            };
            match tokio::time::timeout(ATTENTION_INTERVAL, ending).await {
                Ok(ended) => {
                    ended.map_err(outcome)?;
                    break false;
                }
                Err(_) if self.is_stuck(&handle).await? => break true,
                Err(_) => {}
            }
        };
        if let Some(faults) = self.faults {
            faults.forget(handle.tx());
        }
        Ok(Ended { latency: latency.filter(|_| handle.is_new()), is_stuck })
    }

    /// The key makes it safe to submit again whatever became of the first time.
    async fn submit(&self, transaction: Transaction) -> Result<Handle, SubmitError> {
        let mut attempt = 1;
        loop {
            let error = match self.dtx.submit(transaction.clone()).await {
                Ok(handle) => return Ok(handle),
                Err(error) => error,
            };
            let pause = match error.retry() {
                Retry::Never => return Err(error),
                Retry::Same | Retry::Reload => Duration::ZERO,
                Retry::After(pause) => pause,
            };
            if attempt == SUBMIT_ATTEMPTS_MAX {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn is_stuck(&self, handle: &Handle) -> Result<bool, ShopError> {
        match self.dtx.get(handle.tx()).await {
            Ok(record) => {
                Ok(record.is_some_and(|record| record.summary.status == Status::NeedsAttention))
            }
            Err(error) if error.retry() == Retry::Never => Err(error.into()),
            // A store that is away may come back: it is looked again soon.
            Err(_) => Ok(false),
        }
    }
}
