//! Transactions that take units from regional pools, and those of several rounds.

use std::time::Duration;

use dtx_core::name::RegionName;
use dtx_geo::{
    model::{Prices, Rng, RttMap},
    plan::{
        Criterion, DataOperation, Keeper, Kind, LOOKS, Market, Mode, PlanError, PlanMap,
        ROUNDS_MAX, Risk, Shape, Transfer,
    },
};

const ZONES: Duration = Duration::from_millis(1);
const LAG: Duration = Duration::from_secs(2);
const GB: u64 = 1_000_000_000;
const MODES: [Mode; 3] = [Mode::StrongGlobal, Mode::StrongRegional, Mode::EventualGlobal];

/// Round trips by index, in milliseconds.
fn map(regions: usize, millis: impl Fn(usize, usize) -> u64) -> RttMap {
    let names = (0..regions).map(|i| RegionName::new(format!("r{i:02}")).expect("a name"));
    let at = |name: &RegionName| name.as_str()[1..].parse::<usize>().expect("a number");
    RttMap::from_measured(names.collect(), |from, to| {
        Some(Duration::from_millis(millis(at(from), at(to))))
    })
}

/// Regions on a line, 10 ms from each to the next.
fn line(regions: usize) -> RttMap {
    map(regions, |from, to| 10 * from.abs_diff(to) as u64)
}

fn plans(map: &RttMap) -> PlanMap {
    PlanMap::new(map, ZONES, LAG).expect("every pair is known")
}

fn write(home: usize, copies: &[usize]) -> DataOperation<'_> {
    let staleness = Duration::ZERO;
    DataOperation { write: true, home, copies, staleness, bytes: GB, pooled: false }
}

fn take(home: usize, copies: &[usize]) -> DataOperation<'_> {
    DataOperation { pooled: true, ..write(home, copies) }
}

fn read(home: usize, copies: &[usize]) -> DataOperation<'_> {
    DataOperation { write: false, staleness: LAG, ..write(home, copies) }
}

fn shape<'a>(client: usize, mode: Mode, operations: &'a [DataOperation<'a>]) -> Shape<'a> {
    Shape { client, mode, operations, allowed: &[true; 8], rounds: 1 }
}

/// Kind, coordinator, servers and milliseconds of the plan on the line.
fn seen(shape: &Shape<'_>) -> (Kind, usize, Vec<usize>, u128) {
    let found = plans(&line(8)).plan(shape).expect("a plan");
    assert_eq!(found.mode, shape.mode);
    (found.kind, found.coordinator, found.served_by, found.latency.as_millis())
}

#[test]
fn units_are_taken_where_the_nearest_region_holds_a_part_of_each() {
    let two = [take(7, &[1, 4]), take(5, &[4, 6])];
    for mode in [Mode::StrongRegional, Mode::EventualGlobal] {
        // Region 4 alone holds a part of both: to it, and durable in its zones.
        assert_eq!(seen(&shape(3, mode, &two)), (Kind::Pool, 4, vec![4, 4], 11));
    }
    // What is read comes from the nearest copy that is fresh enough, seen from there.
    let with_read = [two[0], read(0, &[5])];
    assert_eq!(seen(&shape(4, Mode::StrongRegional, &with_read)), (Kind::Pool, 4, vec![4, 5], 10));
    // Its own region is nearer than any other.
    let own = [two[0], read(0, &[4])];
    assert_eq!(seen(&shape(4, Mode::StrongRegional, &own)), (Kind::Pool, 4, vec![4, 4], 1));
}

#[test]
fn where_no_region_holds_all_each_unit_is_taken_nearest_to_the_coordinator() {
    let two = [take(7, &[2]), take(6, &[3])];
    let found = seen(&shape(0, Mode::StrongRegional, &two));
    // From the client 30 and the zones twice, as from regions 2 and 3: of equal ones the first.
    assert_eq!(found, (Kind::TwoPhase, 0, vec![2, 3], 32));
    // One region holds both, but it is far: two near ones agree sooner.
    let far = [take(7, &[0]), take(7, &[1])];
    assert_eq!(seen(&shape(0, Mode::StrongRegional, &far)), (Kind::TwoPhase, 0, vec![0, 1], 12));
    assert_eq!(seen(&shape(6, Mode::StrongRegional, &far)), (Kind::Pool, 7, vec![7, 7], 11));
}

#[test]
fn what_takes_no_units_stays_at_its_home() {
    // Its home holds a part: it does all alone.
    let both = [write(3, &[5]), take(7, &[3, 0])];
    assert_eq!(seen(&shape(2, Mode::StrongRegional, &both)), (Kind::Local, 3, vec![3, 3], 11));
    // It holds none, so there has to be agreement.
    let apart = [write(3, &[5]), take(7, &[0])];
    assert_eq!(seen(&shape(0, Mode::StrongRegional, &apart)), (Kind::TwoPhase, 0, vec![3, 0], 32));
    // Nor may what is read without a fresh copy be left out of it.
    let fresh = DataOperation { staleness: Duration::ZERO, ..read(2, &[3]) };
    let strict = [both[0], both[1], fresh];
    assert_eq!(seen(&shape(2, Mode::StrongRegional, &strict)).0, Kind::TwoPhase);
    // Eventual writes are at any copy, but a pool can say no: so there has to be agreement, too.
    let eventual = seen(&shape(0, Mode::EventualGlobal, &apart));
    assert_eq!(eventual, (Kind::TwoPhase, 0, vec![3, 0], 32));
    let together = [write(3, &[1]), take(7, &[1])];
    assert_eq!(seen(&shape(0, Mode::EventualGlobal, &together)), (Kind::Pool, 1, vec![1, 1], 11));
}

#[test]
fn a_pool_is_in_allowed_regions_alone() {
    let two = [take(6, &[1, 4]), take(5, &[4, 1])];
    let mut allowed = [true; 8];
    let found = |allowed: &[bool]| {
        let shape = shape(0, Mode::StrongRegional, &two);
        seen(&Shape { allowed, ..shape })
    };
    assert_eq!(found(&allowed), (Kind::Pool, 1, vec![1, 1], 11));
    allowed[1] = false;
    assert_eq!(found(&allowed), (Kind::Pool, 4, vec![4, 4], 41));
    allowed[4] = false;
    assert_eq!(found(&allowed), (Kind::TwoPhase, 0, vec![6, 5], 62));
}

/// A part that is in one region would be lost with it.
#[test]
fn in_strong_global_units_are_written_as_anything_else() {
    let (map, mut rng) = (line(8), Rng::new(1, 41));
    let plans = plans(&map);
    let risk = Risk::new(0.01, 0.001, 0.005).expect("probabilities");
    for _ in 0..300 {
        let (homes, client) = ([rng.below(8), rng.below(8)].map(|h| h as usize), rng.below(8));
        let copies = homes.map(|home| [(home + 2) % 8, (home + 3) % 8]);
        let pooled = [take(homes[0], &copies[0]), take(homes[1], &copies[1])];
        let plain = [write(homes[0], &copies[0]), write(homes[1], &copies[1])];
        let [taken, written] = [&pooled, &plain]
            .map(|operations| shape(client as usize, Mode::StrongGlobal, operations));
        let plan = plans.plan(&taken).expect("a plan");
        assert_eq!(plan, plans.plan(&written).expect("a plan"));
        assert_eq!(plan.served_by, homes);
        let durability = plans.durability(&taken, &plan);
        assert_eq!(durability, plans.durability(&written, &plan));
        let quorums: Vec<_> = durability.writes.iter().flatten().collect();
        assert!(quorums.len() == 2 && quorums.iter().all(|quorum| quorum.needed == 2));
        assert_eq!(plans.transfers(&taken, &plan), plans.transfers(&written, &plan));
        assert_eq!(plans.failure(&taken, &plan, &risk), plans.failure(&written, &plan, &risk));
        assert_eq!(plans.bound(&taken), plans.bound(&written));
    }
    // What a weaker mode would take is refused.
    let few = [take(1, &[2])];
    let refused = plans.plan(&shape(0, Mode::StrongGlobal, &few));
    assert_eq!(refused, Err(PlanError::Copies(0)));
}

#[test]
fn wrong_pools_and_rounds_are_refused() {
    let plans = plans(&line(8));
    let reads = [take(1, &[2]), DataOperation { pooled: true, ..read(1, &[2, 3]) }];
    for mode in MODES {
        let found = plans.plan(&shape(0, mode, &reads[1..]));
        assert_eq!(found, Err(PlanError::Pooled(0)), "{mode:?}");
    }
    let text = PlanError::Pooled(1).to_string();
    assert_eq!(plans.plan(&shape(0, Mode::StrongRegional, &reads)), Err(PlanError::Pooled(1)));
    assert_eq!(text, "operation 1 takes units from a pool, but does not write");
    let one = [write(1, &[2, 3])];
    for rounds in [0, ROUNDS_MAX + 1] {
        let wrong = Shape { rounds, ..shape(0, Mode::StrongRegional, &one) };
        assert_eq!(plans.plan(&wrong), Err(PlanError::Rounds(rounds)));
        assert_eq!(plans.at(&wrong, 0), Err(PlanError::Rounds(rounds)));
        assert_eq!(plans.bound(&wrong), Err(PlanError::Rounds(rounds)));
    }
}

#[test]
fn from_two_rounds_on_the_coordinator_goes_to_its_participants() {
    let two = [write(4, &[]), write(6, &[])];
    let at = |rounds| {
        let shape = Shape { rounds, ..shape(0, Mode::StrongRegional, &two) };
        let plan = plans(&line(8)).plan(&shape).expect("a plan");
        let delays = plans(&line(8)).delays(&shape, &plan);
        let delays: Vec<_> = delays.into_iter().map(|delay| delay.as_millis()).collect();
        (plan.coordinator, plan.latency.as_millis(), delays)
    };
    assert_eq!(at(1), (0, 60 + 1 + 1, vec![20, 0]));
    assert_eq!(at(2), (5, 50 + 2 * 11 + 1, vec![0, 0]));
    assert_eq!(at(3), (5, 50 + 3 * 11 + 1, vec![0, 0]));
    // A near one waits for a far one in each round.
    let uneven = [write(1, &[]), write(7, &[])];
    let mut allowed = [false; 8];
    (allowed[1], allowed[7]) = (true, true);
    let shape = Shape { rounds: 2, allowed: &allowed, ..shape(1, Mode::StrongRegional, &uneven) };
    let plan = plans(&line(8)).plan(&shape).expect("a plan");
    let delays = plans(&line(8)).delays(&shape, &plan);
    assert_eq!(delays, [Duration::from_millis(120), Duration::ZERO]);
}

#[test]
fn rounds_of_one_region_and_of_no_coordinator_are_no_ways_between_regions() {
    for (kind, mode, operation) in [
        (Kind::Local, Mode::StrongGlobal, write(3, &[4, 5])),
        (Kind::Pool, Mode::StrongRegional, take(3, &[5])),
        (Kind::Eventual, Mode::EventualGlobal, write(3, &[5])),
        (Kind::ReadReplica, Mode::StrongGlobal, read(3, &[5])),
    ] {
        let operations = [operation];
        let at = |rounds| seen(&Shape { rounds, ..shape(1, mode, &operations) });
        assert_eq!(at(1).0, kind);
        assert_eq!(at(1), at(ROUNDS_MAX));
    }
}

/// What is drawn for the comparison with every way to carry it out.
struct Drawn {
    holders: Vec<Vec<usize>>,
    does: Vec<(bool, bool, bool)>,
    allowed: Vec<bool>,
}

const REGIONS: usize = 5;

impl Drawn {
    fn new(rng: &mut Rng) -> Self {
        let count = 1 + rng.below(3) as usize;
        let holders = (0..count).map(|_| {
            let mut regions: Vec<usize> = (0..REGIONS).collect();
            (1..REGIONS).rev().for_each(|at| regions.swap(at, rng.below(at as u64 + 1) as usize));
            regions.truncate(1 + rng.below(REGIONS as u64) as usize);
            regions
        });
        let holders: Vec<Vec<usize>> = holders.collect();
        let mostly_taken = rng.chance(600);
        let does = (0..count).map(|_| {
            let write = rng.chance(750);
            (write, write && rng.chance(if mostly_taken { 900 } else { 300 }), rng.chance(500))
        });
        let does = does.collect();
        Self { holders, does, allowed: (0..REGIONS).map(|_| rng.chance(850)).collect() }
    }

    fn operations(&self) -> Vec<DataOperation<'_>> {
        let each = self.holders.iter().zip(&self.does);
        let operations = each.map(|(holders, (write, pooled, stale))| DataOperation {
            write: *write,
            home: holders[0],
            copies: &holders[1..],
            staleness: if *stale { LAG } else { Duration::ZERO },
            bytes: 1,
            pooled: *pooled,
        });
        operations.collect()
    }
}

/// Every way to carry a transaction out, by the words of the documentation and not by the planner.
struct Every<'a> {
    map: &'a RttMap,
    shape: &'a Shape<'a>,
}

impl Every<'_> {
    fn way(&self, from: usize, to: usize) -> u64 {
        self.map.rtt(from, to).expect("known").value.as_millis() as u64
    }

    fn holders(&self, operation: &DataOperation<'_>) -> Vec<usize> {
        let all = operation.copies.iter().chain([&operation.home]).copied();
        all.filter(|region| self.shape.allowed[*region]).collect()
    }

    fn units(&self, operation: &DataOperation<'_>) -> bool {
        operation.pooled && self.shape.mode != Mode::StrongGlobal
    }

    fn may_serve(&self, operation: &DataOperation<'_>, region: usize) -> bool {
        let anywhere = match operation.write {
            true => self.units(operation) || self.shape.mode == Mode::EventualGlobal,
            false => operation.staleness >= LAG,
        };
        region == operation.home || (anywhere && self.holders(operation).contains(&region))
    }

    /// How long a write takes to be durable where it is served.
    fn durable(&self, operation: &DataOperation<'_>) -> u64 {
        if !operation.write {
            return 0;
        }
        if self.shape.mode != Mode::StrongGlobal {
            return ZONES.as_millis() as u64;
        }
        let holders = self.holders(operation);
        let mut ways: Vec<u64> = holders
            .iter()
            .filter(|holder| **holder != operation.home)
            .map(|holder| self.way(operation.home, *holder))
            .collect();
        ways.sort_unstable();
        // With the home there are so many, which is more than half.
        ways[holders.len() / 2 - 1]
    }

    fn is_possible(&self, kind: Kind, coordinator: usize, servers: &[usize]) -> bool {
        let operations = || self.shape.operations.iter();
        let writes = || operations().zip(servers).filter(|(operation, _)| operation.write);
        let units = operations().any(|operation| self.units(operation));
        let eventual = self.shape.mode == Mode::EventualGlobal;
        let is_one_home = operations().all(|one| one.home == self.shape.operations[0].home);
        match kind {
            Kind::ReadReplica => writes().next().is_none() && coordinator == self.shape.client,
            Kind::Eventual => {
                eventual && !units && writes().next().is_some() && coordinator == self.shape.client
            }
            Kind::Local => {
                (!eventual || units)
                    && writes().next().is_some()
                    && servers.iter().all(|server| *server == coordinator)
                    && operations().all(|one| self.units(one) || one.home == coordinator)
            }
            Kind::Pool => {
                units
                    && writes().all(|(one, server)| {
                        *server == coordinator && (self.units(one) || eventual)
                    })
            }
            Kind::TwoPhase => units || (!eventual && !is_one_home && writes().next().is_some()),
        }
    }

    fn millis(&self, kind: Kind, coordinator: usize, servers: &[usize]) -> u64 {
        let alone = matches!(kind, Kind::Local | Kind::Pool);
        let there = |server: usize| match alone && server == coordinator {
            true => 0,
            false => self.way(coordinator, server),
        };
        let each = self.shape.operations.iter().zip(servers);
        let all = each.map(|(one, server)| there(*server) + self.durable(one)).max().unwrap_or(0);
        let client = match kind {
            Kind::ReadReplica | Kind::Eventual => 0,
            _ => self.way(self.shape.client, coordinator),
        };
        if kind != Kind::TwoPhase {
            return client + all;
        }
        let others = (0..REGIONS)
            .filter(|other| *other != coordinator && self.shape.allowed[*other])
            .map(|other| self.way(coordinator, other));
        let decision = match self.shape.mode {
            Mode::StrongGlobal => others.min().expect("three are allowed"),
            _ => ZONES.as_millis() as u64,
        };
        client + u64::from(self.shape.rounds) * all + decision
    }

    /// The least milliseconds of all, and how many ways there are.
    fn least(&self) -> (u64, usize) {
        let count = self.shape.operations.len() as u32;
        let (mut least, mut ways) = (u64::MAX, 0);
        for kind in [Kind::Local, Kind::Pool, Kind::TwoPhase, Kind::ReadReplica, Kind::Eventual] {
            let client = matches!(kind, Kind::ReadReplica | Kind::Eventual);
            let coordinators = (0..REGIONS).filter(|region| client || self.shape.allowed[*region]);
            for coordinator in coordinators {
                for code in 0..REGIONS.pow(count) {
                    let servers: Vec<usize> =
                        (0..count).map(|at| code / REGIONS.pow(at) % REGIONS).collect();
                    let mut each = self.shape.operations.iter().zip(&servers);
                    if each.all(|(one, server)| self.may_serve(one, *server))
                        && self.is_possible(kind, coordinator, &servers)
                    {
                        ways += 1;
                        least = least.min(self.millis(kind, coordinator, &servers));
                    }
                }
            }
        }
        (least, ways)
    }
}

/// No kind, coordinator and choice of servers is better than the plan, on maps of any round trips.
#[test]
fn no_other_way_to_carry_it_out_is_sooner() {
    let mut rng = Rng::new(1, 42);
    let mut kinds = std::collections::BTreeMap::new();
    for _ in 0..6_000 {
        let cells: Vec<u64> = (0..REGIONS * REGIONS).map(|_| 1 + rng.below(60)).collect();
        let map = map(REGIONS, |from, to| match from == to {
            true => cells[from * REGIONS + to] / 20,
            false => cells[from * REGIONS + to],
        });
        let drawn = Drawn::new(&mut rng);
        let operations = drawn.operations();
        let shape = Shape {
            client: rng.below(REGIONS as u64) as usize,
            mode: MODES[rng.below(3) as usize],
            operations: &operations,
            allowed: &drawn.allowed,
            rounds: 1 + rng.below(3) as u32,
        };
        let plans = plans(&map);
        let Ok(plan) = plans.plan(&shape) else { continue };
        let every = Every { map: &map, shape: &shape };
        let (least, ways) = every.least();
        assert_eq!(plan.latency.as_millis() as u64, least, "{plan:?} of {ways}: {shape:?}");
        // The plan is one of them, and takes what is said.
        assert!(every.is_possible(plan.kind, plan.coordinator, &plan.served_by), "{plan:?}");
        let mut served = operations.iter().zip(&plan.served_by);
        assert!(served.all(|(one, server)| every.may_serve(one, *server)), "{plan:?} {shape:?}");
        assert_eq!(every.millis(plan.kind, plan.coordinator, &plan.served_by), least);
        assert!(plans.bound(&shape).expect("a plan") <= plan.latency);
        *kinds.entry(format!("{:?} {:?}", plan.kind, plan.mode)).or_insert(0) += 1;
        if plan.kind == Kind::TwoPhase && operations.iter().any(|one| every.units(one)) {
            *kinds.entry(format!("TwoPhase of units {:?}", plan.mode)).or_insert(0) += 1;
        }
    }
    println!("{kinds:?}");
    // Eleven kinds and modes are possible, and both of these with units.
    assert!(kinds.len() == 13 && kinds.values().all(|count| *count >= 20), "{kinds:?}");
}

/// The prices make every region dear to send to but the last.
fn prices(regions: usize) -> Prices {
    let mut text = String::from("src,dst,usd_per_gb\n");
    for from in 0..regions {
        for to in (0..regions).filter(|to| *to != from) {
            let price = if to == regions - 1 { 0.01 } else { 0.1 };
            text.push_str(&format!("aws/r{from:02},aws/r{to:02},{price}\n"));
        }
    }
    Prices::load(&text).expect("it loads")
}

#[test]
fn units_are_sent_to_no_copy_and_data_in_one_round() {
    let plans = plans(&line(8));
    let one = [take(2, &[3, 6])];
    let found = |client, mode, rounds| {
        let shape = Shape { rounds, ..shape(client, mode, &one) };
        plans.transfers(&shape, &plans.plan(&shape).expect("a plan"))
    };
    assert_eq!(found(3, Mode::StrongRegional, 1), []);
    let sent = |from, to| Transfer { from, to, bytes: GB };
    assert_eq!(found(7, Mode::EventualGlobal, 1), [sent(7, 6)]);
    assert_eq!(found(2, Mode::StrongGlobal, 1), [sent(2, 3), sent(2, 6)]);
    let apart = [take(1, &[]), take(2, &[])];
    let shape = |rounds| Shape { rounds, ..shape(1, Mode::StrongRegional, &apart) };
    let [once, often] = [1, 3].map(|rounds| {
        let plan = plans.plan(&shape(rounds)).expect("a plan");
        assert_eq!((plan.kind, plan.coordinator), (Kind::TwoPhase, 1));
        plans.transfers(&shape(rounds), &plan)
    });
    assert_eq!(once, [sent(1, 2)]);
    assert_eq!(once, often);
}

#[test]
fn a_pool_fails_with_its_own_region_and_the_way_there() {
    let plans = plans(&line(8));
    let one = [take(2, &[3, 6])];
    let failure = |client, region, link| {
        let shape = shape(client, Mode::StrongRegional, &one);
        let risk = Risk::new(region, 0.0, link).expect("probabilities");
        plans.failure(&shape, &plans.plan(&shape).expect("a plan"), &risk)
    };
    for (client, region, link, expected) in
        [(2, 0.1, 0.0, 0.1), (2, 0.0, 0.1, 0.0), (1, 0.0, 0.1, 0.1), (1, 0.1, 0.1, 0.19)]
    {
        let found = failure(client, region, link);
        assert!((found - expected).abs() < 1e-12, "{found} and not {expected}");
    }
}

#[test]
fn each_region_that_can_serve_a_pool_alone_is_offered_if_it_is_best_in_something() {
    let map = line(8);
    let (plans, prices) = (plans(&map), prices(8));
    let risk = Risk::new(0.01, 0.0, 0.005).expect("probabilities");
    let market = Market { map: &map, prices: &prices, risk };
    let two = [take(2, &[4, 7]), take(7, &[2, 5])];
    let shape = shape(1, Mode::StrongRegional, &two);
    let offers = plans.offers(&shape, &market, Criterion::Latency).expect("offers");
    let seen: Vec<_> = offers.iter().map(|one| (one.plan.kind, one.plan.coordinator)).collect();
    // Region 2 is near and 7 is cheap. 4 and 5 hold a part of one pool only; a commit over them is
    // worse in all.
    assert_eq!(seen, [(Kind::Pool, 2), (Kind::Pool, 7)]);
    assert_eq!(offers[0].plan, plans.plan(&shape).expect("a plan"));
    assert_eq!(offers[1].plan.served_by, [7, 7]);
    assert!(offers[1].usd < offers[0].usd, "{offers:?}");
    let cheap = plans.offers(&shape, &market, Criterion::Money).expect("offers");
    assert_eq!(cheap[0], offers[1]);
    // A commit that is sooner stands beside the pool that is far and needs no agreement.
    let far = [take(7, &[0]), take(7, &[1])];
    let shape = Shape { client: 0, operations: &far, ..shape };
    let offers = plans.offers(&shape, &market, Criterion::Latency).expect("offers");
    let seen: Vec<_> = offers.iter().map(|one| (one.plan.kind, one.plan.coordinator)).collect();
    assert_eq!(seen, [(Kind::TwoPhase, 0), (Kind::Pool, 7)]);
}

#[test]
fn a_pool_is_kept_until_another_is_sooner_for_long_or_it_is_none_any_more() {
    // The parts are in regions 1 and 2; the way to 1 changes.
    let turning = |near: u64| {
        plans(&map(3, |from, to| match (from, to) {
            (a, b) if a == b => 0,
            (0, 1) | (1, 0) => near,
            _ => 50,
        }))
    };
    let one = [take(1, &[2])];
    let (all, without) = ([true; 3], [true, true, false]);
    let (mode, client) = (Mode::StrongRegional, 0);
    let shape = Shape { client, mode, operations: &one, allowed: &all, rounds: 1 };
    let mut keeper = Keeper::new(&turning(60), &shape).expect("a plan");
    assert_eq!((keeper.held().kind, keeper.held().coordinator), (Kind::Pool, 2));
    for look in 1..=LOOKS {
        let held = keeper.look(&turning(20), &shape).expect("a plan");
        assert_eq!(held.coordinator, if look == LOOKS { 1 } else { 2 });
        assert_eq!(held.latency.as_millis(), if look == LOOKS { 21 } else { 51 });
        assert_eq!(held.served_by, [held.coordinator]);
    }
    let mut keeper = Keeper::new(&turning(60), &shape).expect("a plan");
    let fewer = Shape { allowed: &without, ..shape };
    assert_eq!(keeper.look(&turning(60), &fewer).expect("a plan").coordinator, 1);
    // What takes no units any more is written at its home.
    let mut keeper = Keeper::new(&turning(60), &shape).expect("a plan");
    let plain = [write(1, &[2])];
    let held = keeper.look(&turning(60), &Shape { operations: &plain, ..shape }).expect("a plan");
    assert_eq!((held.kind, held.coordinator), (Kind::Local, 1));
    // A commit that was the best stays while a pool gains nothing for long.
    let two = [take(1, &[0]), take(1, &[2])];
    let shape = Shape { operations: &two, ..shape };
    let mut keeper = Keeper::new(&turning(60), &shape).expect("a plan");
    assert_eq!(keeper.held().kind, Kind::TwoPhase);
    for look in 1..=LOOKS {
        let held = keeper.look(&turning(10), &shape).expect("a plan");
        assert_eq!(held.kind, if look == LOOKS { Kind::Pool } else { Kind::TwoPhase });
    }
}
