//! The services of the shop, all in one process.

use std::{sync::Arc, time::Duration};

use dtx::{
    InMemoryTransport,
    coordinator::{CoordinatorSettings, Dtx},
    engine::EngineSettings,
    modifier::{Conditions, Strategies},
    participant::{OnStore, Participant},
    resource::{HoldSettings, Ledger, Reservations},
    store::ParticipantStore,
    transaction::RetryPolicy,
    transport::Transport,
};

use crate::{
    address::{StoreAddress, TransportAddress},
    checkout::{account, day_item, stock_item},
    error::ShopError,
    faults::{Faults, LossyTransport, Refusing},
    messages::{Analyse, Log, Notify},
    orders::Orders,
    store::ShopStore,
};

/// What every account can hold beyond twice what its customer spends, in cents.
const ACCOUNT_CENTS_EXTRA: u64 = 10_000;

/// How many claims one item may hold: as many as orders may be on their way.
const HOLDS_MAX: u32 = 65_536;

/// How the services are started.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// What carries the messages.
    pub transport: TransportAddress,
    /// Whether the store may lose what it acknowledged.
    pub allow_volatile: bool,
    /// Strategies of time bounds that transactions may name.
    pub strategies: Strategies,
    /// Conditions of verification that transactions may name.
    pub conditions: Conditions,
    pub(crate) faults: Option<Arc<Faults>>,
}

impl ServiceSettings {
    /// Services without faults on such a store.
    pub fn new(store: &StoreAddress, transport: TransportAddress) -> Self {
        let allow_volatile = matches!(store, StoreAddress::Memory);
        Self {
            transport,
            allow_volatile,
            strategies: Strategies::default(),
            conditions: Conditions::default(),
            faults: None,
        }
    }
}

/// Starts payment, inventory, shipping, notification and analytics, and their coordinator.
///
/// # Errors
/// [`ShopError::Start`].
pub async fn start_services<S: ShopStore>(
    store: &S,
    settings: &ServiceSettings,
) -> Result<Dtx, ShopError> {
    start_services_through(store, settings, &|transport| transport).await
}

/// As [`start_services`], with all messages through what `wrap` puts around the transport.
pub(crate) async fn start_services_through<S: ShopStore>(
    store: &S,
    settings: &ServiceSettings,
    wrap: &(dyn Fn(Arc<dyn Transport>) -> Arc<dyn Transport> + Sync),
) -> Result<Dtx, ShopError> {
    let faults = &settings.faults;
    let rows: Arc<dyn ParticipantStore> = Arc::new(store.clone());
    let holds = HoldSettings { holds_max: HOLDS_MAX, ..HoldSettings::default() };
    let ledger = Ledger::new(holds.clone()).expect("the bounds are valid");
    let stock = Reservations::new(holds).expect("the bounds are valid");
    let stock = |remembers| Refusing { inner: stock.clone(), faults: faults.clone(), remembers };
    let payment = Refusing { inner: ledger, faults: faults.clone(), remembers: false };
    let log = |participant| Log { participant, store: rows.clone(), faults: faults.clone() };
    let named = |name: &str| Participant::new(name).expect("the names are valid");
    let builder = Dtx::builder()
        .store(store.clone())
        .settings(coordinator_settings(settings))
        .participant(named("payment").resource(payment, rows.clone()))
        .participant(named("inventory").resource(stock(true), rows.clone()))
        .participant(named("shipping").resource(stock(false), rows.clone()))
        .participant(named("notification").deliver(Notify { log: log("notification") }))
        .participant(named("analytics").deliver(Analyse { log: log("analytics") }));
    let TransportAddress::InMemory = settings.transport;
    let transport = InMemoryTransport::new();
    let transport: Arc<dyn Transport> = match faults {
        Some(faults) => Arc::new(LossyTransport::new(transport, store.clone(), faults.clone())),
        None => Arc::new(transport),
    };
    Ok(builder.shared_transport(wrap(transport)).start().await?)
}

/// Answers come within milliseconds here, so what stays out is asked for again soon.
fn coordinator_settings(services: &ServiceSettings) -> CoordinatorSettings {
    let retry = RetryPolicy { attempts_max: 64, backoff_ms: 20, backoff_ms_max: 500 };
    let engine = EngineSettings {
        attempt_timeout_min: Duration::from_millis(200),
        attempt_timeout_max: Duration::from_secs(2),
        retry,
        strategies: services.strategies.clone(),
        conditions: services.conditions.clone(),
        ..EngineSettings::default()
    };
    let allow_volatile = services.allow_volatile;
    CoordinatorSettings { engine, allow_volatile, ..CoordinatorSettings::default() }
}

/// Opens the accounts, the stock and the shipping days of a run. Money and slots are enough for
/// all orders.
///
/// # Errors
/// [`ShopError::Books`].
///
/// # Idempotency
/// What is open is left as it is.
pub async fn open_books<S: ShopStore>(
    store: &S,
    run: &str,
    orders: &Orders,
    stock: u64,
) -> Result<(), ShopError> {
    let accounts: Vec<_> = orders
        .cents_by_customer()
        .into_iter()
        .map(|(customer, cents)| (account(run, customer), opening_balance(cents)))
        .collect();
    Ledger::on(store).open_accounts("payment", &accounts).await?;
    let items = Reservations::on(store);
    items.open_items("inventory", &[(stock_item(run), stock)]).await?;
    let days: Vec<_> = orders
        .orders_by_date()
        .into_iter()
        .map(|(date, slots)| (day_item(run, date), slots))
        .collect();
    Ok(items.open_items("shipping", &days).await?)
}

/// What an account is opened with whose customer spends this much.
pub(crate) fn opening_balance(cents: u64) -> u64 {
    2 * cents + ACCOUNT_CENTS_EXTRA
}
