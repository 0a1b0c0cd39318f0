//! The services of the shop and their coordinator.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dtx::{
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
    checkout::{PARTICIPANTS, account, day_item, stock_item},
    error::ShopError,
    faults::{Faults, LossyTransport, Refusing},
    messages::{Analyse, Log, Notify},
    orders::Orders,
    store::{Shelves, ShopStore},
};

/// What every account can hold beyond twice what its customer spends, in cents.
const ACCOUNT_CENTS_EXTRA: u64 = 10_000;

/// How many claims one item may hold: as many as orders may be on their way.
const HOLDS_MAX: u32 = 65_536;

/// Where the services of a coordinator are.
#[derive(Clone, Debug, Default)]
pub enum Services {
    /// In the process of the coordinator.
    #[default]
    Here,
    /// In other processes: see [`serve`](crate::serve).
    Apart {
        /// The stores of those services that do not keep their rows on the coordinator's.
        own_stores: BTreeMap<String, Arc<dyn ParticipantStore>>,
    },
}

/// How the services are started.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// What carries the messages.
    pub transport: TransportAddress,
    /// Where the services are.
    pub services: Services,
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
            services: Services::Here,
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
    let transport =
        wrap(open_transport(store, &settings.transport, settings.faults.as_ref()).await?);
    let builder = Dtx::builder()
        .store(store.clone())
        .settings(coordinator_settings(settings))
        .shared_transport(transport);
    let here = if matches!(settings.services, Services::Here) { &PARTICIPANTS[..] } else { &[] };
    let builder = here.iter().fold(builder, |builder, name| {
        builder.participant(participant(store, name, settings.faults.as_ref()))
    });
    Ok(builder.start().await?)
}

/// The transport, which loses what the faults say.
pub(crate) async fn open_transport<S: ShopStore>(
    store: &S,
    address: &TransportAddress,
    faults: Option<&Arc<Faults>>,
) -> Result<Arc<dyn Transport>, ShopError> {
    let transport = address.open().await?;
    Ok(match faults {
        Some(faults) => Arc::new(LossyTransport::new(transport, store.clone(), faults.clone())),
        None => transport,
    })
}

/// One of the [`PARTICIPANTS`].
pub(crate) fn participant<S: ShopStore>(
    store: &S,
    name: &str,
    faults: Option<&Arc<Faults>>,
) -> Participant {
    let faults = faults.cloned();
    let rows: Arc<dyn ParticipantStore> = Arc::new(store.clone());
    let holds = HoldSettings { holds_max: HOLDS_MAX, ..HoldSettings::default() };
    let participant = Participant::new(name).expect("the names are valid");
    let stock = |faults, remembers| {
        let inner = Reservations::new(holds.clone()).expect("the bounds are valid");
        Refusing { inner, faults, remembers }
    };
    let log = |participant, faults| Log { participant, store: rows.clone(), faults };
    match name {
        "payment" => {
            let inner = Ledger::new(holds).expect("the bounds are valid");
            participant.resource(Refusing { inner, faults, remembers: false }, rows)
        }
        "inventory" => participant.resource(stock(faults, true), rows),
        "shipping" => participant.resource(stock(faults, false), rows),
        "notification" => participant.deliver(Notify { log: log("notification", faults) }),
        "analytics" => participant.deliver(Analyse { log: log("analytics", faults) }),
        _ => unreachable!("{name} is none of the participants"),
    }
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
    open_books_on(&Shelves::new(store.clone(), BTreeMap::new()), run, orders, stock).await
}

/// As [`open_books`], each where its service keeps it.
pub(crate) async fn open_books_on(
    shelves: &Shelves,
    run: &str,
    orders: &Orders,
    stock: u64,
) -> Result<(), ShopError> {
    let accounts: Vec<_> = orders
        .cents_by_customer()
        .into_iter()
        .map(|(customer, cents)| (account(run, customer), opening_balance(cents)))
        .collect();
    let money = Ledger::default().on_shared(shelves.of("payment").clone());
    money.open_accounts("payment", &accounts).await?;
    let items = |service| Reservations::default().on_shared(shelves.of(service).clone());
    items("inventory").open_items("inventory", &[(stock_item(run), stock)]).await?;
    let days: Vec<_> = orders
        .orders_by_date()
        .into_iter()
        .map(|(date, slots)| (day_item(run, date), slots))
        .collect();
    Ok(items("shipping").open_items("shipping", &days).await?)
}

/// What an account is opened with whose customer spends this much.
pub(crate) fn opening_balance(cents: u64) -> u64 {
    2 * cents + ACCOUNT_CENTS_EXTRA
}
