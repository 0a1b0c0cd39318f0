//! Three regions: their brokers, the ways between them, their stores and their processes.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use dtx_core::resource::Ledger;
use dtx_geo::{
    pool::{Cells, PoolMap},
    sim::{Checker, Disk, left},
};
use dtx_geo_host::PoolNode;
use dtx_runtime::participant::OnStore;
use dtx_testkit::servers::{Nats, Server};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, interval, timeout_at},
};

use crate::{
    hanging::Hang,
    plan::{ACCOUNT, Ask, Leases, NAMES, PAYS, Plan, Told, map, rtt, settings},
    process::Process,
    proxy::{Delays, Line, Proxy},
    stores::Place,
};

/// How long one test may take in all.
const TEST_MAX: Duration = Duration::from_secs(110);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What a world is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) stock: [u64; 3],
    /// With checkouts: what there is in the account that they are paid from.
    pub(crate) cents: Option<u64>,
    /// Without, grants are permanent.
    pub(crate) leases: Option<Leases>,
}

impl Setup {
    pub(crate) fn of(stock: [u64; 3]) -> Self {
        Self { stock, cents: None, leases: None }
    }
}

pub(crate) struct World {
    /// What was brought in, by region.
    stock: Mutex<[u64; 3]>,
    /// What is not done by then fails the test.
    until: Instant,
    plans: Vec<Plan>,
    /// From each region to each other one.
    ways: Vec<Vec<Option<Proxy>>>,
    /// None while a region is down.
    processes: Vec<watch::Sender<Option<Arc<Process>>>>,
    ids: AtomicU64,
    sold: AtomicU64,
    leases: Option<Leases>,
    brokers: Vec<Arc<Mutex<Server>>>,
    _folder: tempfile::TempDir,
}

/// What came of an attempt to buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bought {
    Sold {
        crossed: bool,
    },
    SoldOut,
    Unavailable(Vec<String>),
    /// Nothing, and another attempt may do better: the hold ended, or units moved too fast.
    Nothing,
}

/// Those who look and buy nothing.
pub(crate) struct Lookers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<u64>,
}

impl Lookers {
    /// Ends them. All of them have held something.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let held = self.tasks.join_all().await;
        assert!(held.iter().all(|held| *held > 0), "{held:?}");
    }
}

/// The process of a region, when there is one.
async fn next(processes: &mut watch::Receiver<Option<Arc<Process>>>) -> Arc<Process> {
    let found = processes.wait_for(Option::is_some).await.expect("the world is there");
    found.clone().expect("it is there")
}

fn broker(test: &str, region: usize) -> Server {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{region}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    Server::start(&Nats, &folder).expect("it starts")
}

/// The ways of one region to the brokers of the others.
async fn ways(own: usize, brokers: &[Server]) -> Vec<Option<Proxy>> {
    let mut ways = Vec::new();
    for (region, broker) in brokers.iter().enumerate() {
        if region == own {
            ways.push(None);
            continue;
        }
        let delays = Delays { there: rtt(own, region) / 2, back: rtt(region, own) / 2 };
        ways.push(Some(Proxy::start(broker.port(), delays).await));
    }
    ways
}

impl World {
    /// Regions with this stock each, all of which have reached each other.
    pub(crate) async fn start(test: &str, stock: [u64; 3]) -> Arc<Self> {
        Self::with(test, Setup::of(stock)).await
    }

    /// The same with more than a stock.
    pub(crate) async fn with(test: &str, setup: Setup) -> Arc<Self> {
        let Setup { stock, cents, leases } = setup;
        let until = Instant::now() + TEST_MAX;
        let folder = tempfile::tempdir().expect("a folder");
        let brokers: Vec<_> = (0..NAMES.len()).map(|region| broker(test, region)).collect();
        let (mut plans, mut all, mut processes) = (Vec::new(), Vec::new(), Vec::new());
        for (region, units) in stock.into_iter().enumerate() {
            let ways = ways(region, &brokers).await;
            let address = |(way, broker): (&Option<Proxy>, &Server)| match way {
                Some(proxy) => format!("nats://127.0.0.1:{}", proxy.port()),
                None => broker.url(),
            };
            let brokers = ways.iter().zip(&brokers).map(address).collect();
            let (rows, has_checkouts) = (Place::of(region, folder.path()), cents.is_some());
            let store = rows.open().await;
            let plan = Plan { region, rows, brokers, control: 0, has_checkouts, leases };
            PoolNode::create(&*store, &plan.spec(), units).await.expect("it is created");
            if let Some(cents) = cents.filter(|_| region == PAYS) {
                let ledger = Ledger::default().on_shared(store);
                let accounts = [(ACCOUNT.to_owned(), cents)];
                ledger.open_accounts("payment", &accounts).await.expect("it is opened");
            }
            plans.push(plan);
            all.push(ways);
            processes.push(watch::channel(None).0);
        }
        let world = Arc::new(Self {
            stock: Mutex::new(stock),
            until,
            plans,
            ways: all,
            processes,
            ids: AtomicU64::new(0),
            sold: AtomicU64::new(0),
            leases,
            brokers: brokers.into_iter().map(|broker| Arc::new(Mutex::new(broker))).collect(),
            _folder: folder,
        });
        tokio::join!(world.restart(0), world.restart(1), world.restart(2));
        for region in 0..NAMES.len() {
            world.until_reached(region).await;
        }
        world
    }

    /// Waits until a region has reached the brokers of all others.
    pub(crate) async fn until_reached(&self, region: usize) {
        let has_reached = async || self.ask(region, Ask::HasReached).await;
        self.look("reaches all", async || has_reached().await == Told::Reached(true)).await;
    }

    /// Looks until it is so.
    pub(crate) async fn look(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let mut looks = interval(LOOK);
        let looking = async {
            while !is_so().await {
                looks.tick().await;
            }
        };
        self.in_time(what, looking).await;
    }

    async fn in_time<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let done = timeout_at(self.until, work).await;
        done.unwrap_or_else(|_| panic!("too late: {what}"))
    }

    /// Starts the process of a region on what its store has.
    pub(crate) async fn restart(&self, region: usize) {
        let process = Process::start(&self.plans[region], self.until).await;
        self.processes[region].send_replace(Some(Arc::new(process)));
    }

    /// Kills the process of a region, as `kill -9` does.
    pub(crate) fn kill(&self, region: usize) {
        let process = self.processes[region].send_replace(None).expect("it runs");
        process.kill();
    }

    /// Kills the broker of a region, as `kill -9` does, and waits until it is gone.
    pub(crate) async fn kill_broker(&self, region: usize) {
        self.broker(region, |broker| broker.kill().expect("it is gone")).await;
    }

    /// Starts the broker of a region again, on its folder and its port.
    pub(crate) async fn restart_broker(&self, region: usize) {
        self.broker(region, |broker| broker.restart().expect("it answers")).await;
    }

    async fn broker(&self, region: usize, work: impl FnOnce(&mut Server) + Send + 'static) {
        let broker = Arc::clone(&self.brokers[region]);
        let work = move || work(&mut broker.lock().expect("nobody panics with it"));
        spawn_blocking(work).await.expect("it does not panic");
    }

    /// Brings units in.
    pub(crate) async fn restock(&self, region: usize, units: u64) {
        let total = {
            let mut stock = self.stock.lock().expect("nobody panics with it");
            stock[region] += units;
            stock[region]
        };
        assert_eq!(self.ask(region, Ask::Restock { total }).await, Told::Restocked);
    }

    /// The units that were brought in, in all.
    pub(crate) fn stock(&self) -> u64 {
        self.stock.lock().expect("nobody panics with it").iter().sum()
    }

    /// Kills the process of a region at a write, once all that it may have sent before has
    /// arrived.
    pub(crate) async fn kill_at(&self, region: usize, hang: Hang) {
        assert_eq!(self.ask(region, Ask::Hang(hang)).await, Told::Hangs);
        for way in self.ways[region].iter().flatten() {
            self.in_time("it arrives", way.until_arrived()).await;
        }
        self.kill(region);
    }

    /// Sets the ways between two regions, in both directions.
    pub(crate) fn set(&self, one: usize, other: usize, line: Line) {
        for (from, to) in [(one, other), (other, one)] {
            self.way(from, to).set(line);
        }
    }

    pub(crate) fn way(&self, from: usize, to: usize) -> &Proxy {
        self.ways[from][to].as_ref().expect("they are two")
    }

    pub(crate) fn id(&self) -> u64 {
        self.ids.fetch_add(1, SeqCst)
    }

    /// Asks a region; if its process is gone meanwhile, the next one of it.
    pub(crate) async fn ask(&self, region: usize, ask: Ask) -> Told {
        let what = format!("{} answers {ask:?}", NAMES[region]);
        let mut processes = self.processes[region].subscribe();
        let asking = async {
            loop {
                let process = next(&mut processes).await;
                if let Some(told) = process.ask(ask.clone()).await {
                    return told;
                }
                let is_other = |next: &Option<Arc<Process>>| {
                    next.as_ref().is_none_or(|next| !Arc::ptr_eq(next, &process))
                };
                processes.wait_for(is_other).await.expect("the world is there");
            }
        };
        let told = self.in_time(&what, asking).await;
        if let Told::Failed(error) = told {
            panic!("{what}: {error}");
        }
        told
    }

    /// Reserves units, pins them if that is wanted, and takes them.
    pub(crate) async fn buy(&self, home: usize, units: u64, pins: bool) -> Bought {
        let (id, began) = (self.id(), Instant::now());
        let crossed = match self.ask(home, Ask::Reserve { id, units }).await {
            Told::Reserved { at, crossed } => {
                let took = began.elapsed();
                assert!(!crossed || took >= rtt(home, at), "{home} asked {at} within {took:?}");
                crossed
            }
            Told::SoldOut { left } => {
                assert!(left < units, "{left} are enough for {units}");
                return Bought::SoldOut;
            }
            Told::Unavailable { unreachable } => return Bought::Unavailable(unreachable),
            Told::Busy | Told::Expired => return Bought::Nothing,
            other => panic!("a reserve was answered {other:?}"),
        };
        if pins {
            match self.ask(home, Ask::Pin { id }).await {
                Told::Pinned => {}
                Told::Expired | Told::NotHere => return Bought::Nothing,
                other => panic!("a pin was answered {other:?}"),
            }
        }
        match self.ask(home, Ask::Confirm { id }).await {
            Told::Confirmed => {
                self.sold.fetch_add(units, SeqCst);
                Bought::Sold { crossed }
            }
            Told::Expired | Told::NotHere if !pins => Bought::Nothing,
            other => panic!("a confirm was answered {other:?}, pinned: {pins}"),
        }
    }

    /// Two in each of these regions, who hold a unit and give it back, as fast as they can.
    pub(crate) fn lookers(self: &Arc<Self>, homes: &[usize]) -> Lookers {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for home in homes.repeat(2) {
            let (world, stopped) = (self.clone(), stopped.clone());
            tasks.spawn(async move {
                let mut held = 0;
                while !*stopped.borrow() {
                    let id = world.id();
                    let told = world.ask(home, Ask::Reserve { id, units: 1 }).await;
                    if matches!(told, Told::Reserved { .. }) {
                        held += 1;
                        let ended = world.ask(home, Ask::Cancel { id }).await;
                        assert!(matches!(ended, Told::Cancelled | Told::Expired), "{ended:?}");
                    }
                }
                held
            });
        }
        Lookers { stop, tasks }
    }

    /// Holds units where they are asked for, so that no clock ends the hold, and gives its id.
    pub(crate) async fn hold(&self, home: usize, units: u64) -> u64 {
        let mut id = self.id();
        self.look("it is held", async || match self.ask(home, Ask::Reserve { id, units }).await {
            Told::Reserved { at, crossed: false } => at == home,
            // It has waited too long.
            Told::Unavailable { .. } | Told::Busy => {
                id = self.id();
                false
            }
            other => panic!("a reserve was answered {other:?}"),
        })
        .await;
        assert_eq!(self.ask(home, Ask::Pin { id }).await, Told::Pinned);
        id
    }

    /// Takes the units of a hold that is pinned.
    pub(crate) async fn take(&self, home: usize, id: u64, units: u64) {
        assert_eq!(self.ask(home, Ask::Confirm { id }).await, Told::Confirmed);
        self.sold.fetch_add(units, SeqCst);
    }

    /// What a region may hold or give now.
    pub(crate) async fn free(&self, region: usize) -> u64 {
        match self.ask(region, Ask::State).await {
            Told::State { free, .. } => free,
            other => panic!("a look was answered {other:?}"),
        }
    }

    /// The units that buyers were told are theirs.
    pub(crate) fn sold(&self) -> u64 {
        self.sold.load(SeqCst)
    }

    /// Waits until no unit is held in any region.
    pub(crate) async fn until_none_held(&self) {
        for region in 0..NAMES.len() {
            self.look("no hold is left", async || {
                matches!(self.ask(region, Ask::State).await, Told::State { held: 0, .. })
            })
            .await;
        }
    }

    /// Buys what is left, one by one, until every region says that all is sold.
    pub(crate) async fn sell_out(&self) {
        let mut home = 0;
        self.look("all is sold", async || {
            home = (home + 1) % NAMES.len();
            let bought = self.buy(home, 1, false).await;
            assert!(self.sold() <= self.stock(), "{} of {}", self.sold(), self.stock());
            bought == Bought::SoldOut && self.sold() == self.stock()
        })
        .await;
        for (region, name) in NAMES.iter().enumerate() {
            self.look(name, async || self.buy(region, 1, false).await == Bought::SoldOut).await;
            assert_eq!(self.sold(), self.stock());
        }
    }

    /// Ends all processes, and compares what the stores say with what was told: so many units
    /// are sold, each of them once, and the others are there. Gives how many were sold where.
    pub(crate) async fn close(&self, sold: u64) -> Vec<u64> {
        self.until_none_held().await;
        for (region, name) in NAMES.iter().enumerate() {
            let told = self.ask(region, Ask::Stop).await;
            assert_eq!(told, Told::Stopped { drained: true }, "{name}");
            self.kill(region);
        }
        let mut all = Vec::new();
        for plan in &self.plans {
            let cells = PoolNode::read(plan.rows.open().await, &plan.spec()).await;
            all.push(cells.expect("its rows are good"));
        }
        let disks: Vec<_> = all.iter().map(|cells| Disk { cells, incarnation: 0 }).collect();
        let pool_map = PoolMap::new(&map()).expect("every pair is known");
        let stock = self.stock();
        let mut checker = Checker::new(settings(self.leases), &pool_map, stock);
        checker.together(&disks);
        assert_eq!(checker.broken(), None);
        let sum = |of: fn(&Cells) -> u64| all.iter().map(of).sum::<u64>();
        let found = (sum(Cells::minted), sum(Cells::sold), sum(Cells::held), left(&disks));
        assert_eq!(found, (stock, sold, 0, (stock - sold) as i64));
        for plan in &self.plans {
            plan.rows.remove().await;
        }
        all.iter().map(Cells::sold).collect()
    }
}
