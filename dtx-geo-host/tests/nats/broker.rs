//! Brokers that are killed while buyers buy, and while checkouts run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    checkout::{LONG, pay, submit},
    plan::{BUYS, NAMES, PAYS, PRICE},
    world::{Bought, Setup, World},
};

/// How many buyers there are in each region, at once.
const BUYERS: usize = 3;

/// How many units are brought in before each kill, in the region whose broker is killed.
const UNITS: u64 = 40;

/// How many of them are sold before.
const BEFORE: u64 = 5;

/// How things stand.
#[derive(Clone, Copy, Debug)]
struct Market {
    is_open: bool,
    /// Where nobody buys.
    is_asleep: Option<usize>,
    /// Whose broker is gone.
    gone: Option<usize>,
    /// How many brokers came back.
    returns: u64,
}

/// The buyers of all regions.
struct Buyers {
    world: Arc<World>,
    market: watch::Sender<Market>,
    /// Units that were sold while a broker was gone.
    without: AtomicU64,
    /// Purchases over regions that began before a broker was killed and ended after it was back.
    outlived: AtomicU64,
}

impl Buyers {
    fn new(world: &Arc<World>) -> Arc<Self> {
        let market = Market { is_open: true, is_asleep: None, gone: None, returns: 0 };
        Arc::new(Self {
            world: Arc::clone(world),
            market: watch::channel(market).0,
            without: AtomicU64::new(0),
            outlived: AtomicU64::new(0),
        })
    }

    /// Tells all buyers how things stand, also those who had found that all is sold.
    fn set(&self, change: impl FnOnce(&mut Market)) {
        self.market.send_modify(change);
    }

    /// Buys until the market is closed.
    async fn shop(self: Arc<Self>, home: usize) {
        let mut market = self.market.subscribe();
        for number in 0_u64.. {
            let began = *market.borrow_and_update();
            if !began.is_open {
                return;
            }
            let sleeps = began.is_asleep == Some(home);
            let is_sold_out = !sleeps && {
                let units = 1 + number % 2;
                let bought = self.world.buy(home, units, !number.is_multiple_of(3)).await;
                let ended = *market.borrow();
                self.count(home, units, &bought, began, ended);
                bought == Bought::SoldOut
            };
            if sleeps || is_sold_out {
                market.changed().await.expect("the buyers are there");
            }
        }
    }

    fn count(&self, home: usize, units: u64, bought: &Bought, began: Market, ended: Market) {
        let gone = began.gone.filter(|_| began.gone == ended.gone);
        match (bought, gone) {
            (Bought::SoldOut, Some(gone)) => {
                panic!("{} says that all is sold, without {}", NAMES[home], NAMES[gone])
            }
            (Bought::Sold { .. }, Some(_)) => _ = self.without.fetch_add(units, SeqCst),
            (Bought::Sold { crossed: true }, None)
                if began.gone.is_none() && ended.returns > began.returns =>
            {
                self.outlived.fetch_add(1, SeqCst);
            }
            _ => {}
        }
    }

    /// Buys in every region until it says that it misses those whose answers need a broker that
    /// is gone: the one region or, where that is the own broker, all others. None says that all
    /// is sold.
    async fn until_missed(&self, gone: usize) {
        for (home, name) in NAMES.iter().enumerate() {
            let misses = |bought| match bought {
                Bought::Unavailable(missed) if home == gone => missed.len() == NAMES.len() - 1,
                Bought::Unavailable(missed) => missed == [NAMES[gone]],
                Bought::SoldOut => panic!("{name} says that all is sold, without {}", NAMES[gone]),
                Bought::Sold { .. } | Bought::Nothing => false,
            };
            let is_missed = async || misses(self.world.buy(home, 1, true).await);
            self.world.look("it misses those behind the broker", is_missed).await;
        }
    }

    /// Buys in every region until all of them have reached each other, and found nothing.
    async fn until_sold_out(&self) {
        for home in 0..NAMES.len() {
            let is_sold_out = async || self.world.buy(home, 1, true).await == Bought::SoldOut;
            self.world.look("it reaches all others again", is_sold_out).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_unit_is_sold_once_while_brokers_are_killed() {
    let world = World::start("broker", [0, 0, 1]).await;
    // As long as one is held nobody says that all is sold without asking the others.
    let held = world.hold(2, 1).await;
    let buyers = Buyers::new(&world);
    let mut shops = JoinSet::new();
    for home in (0..NAMES.len()).cycle().take(NAMES.len() * BUYERS) {
        shops.spawn(Arc::clone(&buyers).shop(home));
    }
    // Once each, and again while no purchase was under way over a broker when it was killed.
    let is_enough = |rounds| rounds >= NAMES.len() && buyers.outlived.load(SeqCst) > 0;
    for (rounds, region) in (0..NAMES.len()).cycle().enumerate() {
        if is_enough(rounds) {
            break;
        }
        // Units stay where so many look at them, and others get them there.
        let lookers = world.lookers(&[region]);
        let sold = world.sold();
        world.restock(region, UNITS).await;
        buyers.set(|market| market.is_asleep = Some(region));
        world.look("some are sold", async || world.sold() >= sold + BEFORE).await;
        world.kill_broker(region).await;
        buyers.set(|market| (market.is_asleep, market.gone) = (None, Some(region)));
        buyers.until_missed(region).await;
        buyers.set(|market| market.gone = None);
        world.restart_broker(region).await;
        buyers.set(|market| market.returns += 1);
        lookers.stop().await;
        buyers.until_sold_out().await;
    }
    buyers.set(|market| market.is_open = false);
    while let Some(ended) = shops.join_next().await {
        ended.expect("it does not panic");
    }
    let (without, outlived) = (buyers.without.load(SeqCst), buyers.outlived.load(SeqCst));
    println!("sold without a broker: {without}; purchases that outlived one: {outlived}");
    assert!(without > 0, "nothing was sold while a broker was gone");
    world.take(2, held, 1).await;
    world.sell_out().await;
    let shares = world.close(world.stock()).await;
    println!("sold in {NAMES:?}: {shares:?}");
}

const CENTS: u64 = 100_000;

/// How many checkouts run at once, how many there are one after the other, and how many of all
/// have ended when a broker is killed.
const RUNS: u64 = 4;
const EACH: u64 = 8;
const ENDED: u64 = 4;

/// How many are in a hurry while a broker is gone, and how long they wait.
const HASTY: u64 = 3;
const HASTE: Duration = Duration::from_secs(3);

/// Checks out again and again, and counts what is committed. All of it is.
async fn run(world: Arc<World>, name: String, committed: Arc<AtomicU64>) {
    for number in 0..EACH {
        let outcome = submit(&world, &format!("{name}-{number}"), 1, LONG).join_all().await;
        assert_eq!(outcome, ["committed"], "{name}: there is enough of everything");
        committed.fetch_add(1, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkouts_sell_what_they_say_while_brokers_are_killed() {
    let setup = Setup { cents: Some(CENTS), ..Setup::of([10, 60, 60]) };
    let world = World::with("broker-checkout", setup).await;
    // Units stay where so many look at them, and are held there for the checkouts.
    let lookers = world.lookers(&[1, 2]);
    let committed = Arc::new(AtomicU64::new(0));
    for (region, name) in NAMES.iter().enumerate() {
        let before = committed.load(SeqCst);
        let mut runs = JoinSet::new();
        for number in 0..RUNS {
            let name = format!("{name}-{number}");
            runs.spawn(run(Arc::clone(&world), name, Arc::clone(&committed)));
        }
        let have_ended = async || committed.load(SeqCst) >= before + ENDED;
        world.look("some have ended", have_ended).await;
        world.kill_broker(region).await;
        let hasty = submit(&world, &format!("{name}-hasty"), HASTY, HASTE).join_all().await;
        let sold = hasty.iter().filter(|outcome| *outcome == "committed").count() as u64;
        if [BUYS, PAYS].contains(&region) {
            assert_eq!(sold, 0, "nobody can pay: {hasty:?}");
            assert!(committed.load(SeqCst) < before + RUNS * EACH, "nobody can pay");
        }
        committed.fetch_add(sold, SeqCst);
        world.restart_broker(region).await;
        while let Some(ended) = runs.join_next().await {
            ended.expect("it does not panic");
        }
    }
    lookers.stop().await;
    world.until_none_held().await;
    // What was paid is the price of what was sold.
    let committed = committed.load(SeqCst);
    assert!(committed >= NAMES.len() as u64 * RUNS * EACH, "{committed}");
    assert_eq!(pay(&world, "rest", CENTS - committed * PRICE).await, "committed");
    assert_eq!(pay(&world, "more", 1).await, "aborted");
    let shares = world.close(committed).await;
    println!("sold in {NAMES:?}: {shares:?}");
    assert!(shares[1] + shares[2] > 0, "no checkout has crossed");
}
