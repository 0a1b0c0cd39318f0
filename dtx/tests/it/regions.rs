//! GA: a coordinator with a placement over participants in several regions, on the virtual clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dtx::{
    engine::Placement,
    error::TransportError,
    geo::{
        model::{Provider, RttMap, Shipped},
        phase::{Aim, GeoPlacement},
        plan::{DataOperation, Kind, Mode, PlanMap, Shape},
    },
    ids::TxId,
    name::RegionName,
    pattern::Phase,
    prelude::*,
    transaction::RetryPolicy,
    transport::{Body, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo},
};
use tokio::time::Instant;

use crate::kit::*;

const HOME: &str = "us-east-1";

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A command that left.
#[derive(Clone, Debug)]
struct Left {
    at: Instant,
    tx: TxId,
    to: String,
    phase: Phase,
    attempt: u32,
}

/// A transport on which commands and replies of a participant take their way.
#[derive(Clone, Debug)]
struct Far {
    inner: InMemoryTransport,
    /// Round trips, by participant.
    trips: Arc<Mutex<BTreeMap<String, Duration>>>,
    left: Arc<Mutex<Vec<Left>>>,
    /// How many commands were in each publish that had some.
    batches: Arc<Mutex<Vec<usize>>>,
}

#[async_trait]
impl Transport for Far {
    fn info(&self) -> &TransportInfo {
        self.inner.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let mut commands = 0;
        for message in messages {
            let participant = match &message.body {
                Body::Command(command) => {
                    commands += 1;
                    self.left.lock().unwrap().push(Left {
                        at: Instant::now(),
                        tx: command.tx,
                        to: command.participant.to_string(),
                        phase: command.phase,
                        attempt: command.attempt,
                    });
                    command.participant.to_string()
                }
                Body::Reply(reply) => reply.participant.to_string(),
                Body::Inquiry(_) | Body::InquiryAnswer(_) => String::new(),
            };
            let trip = self.trips.lock().unwrap().get(&participant).copied().unwrap_or_default();
            let (inner, message) = (self.inner.clone(), message.clone());
            tokio::spawn(async move {
                pass(trip / 2).await;
                inner.publish(&[message]).await
            });
        }
        if commands > 0 {
            self.batches.lock().unwrap().push(commands);
        }
        messages.iter().map(|_| Ok(())).collect()
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.inner.subscribe(subscribe).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.inner.close().await
    }
}

/// Participants with the regions that they are in.
struct Regions {
    node: Node,
    far: Far,
    regions: Vec<(String, String)>,
}

/// How a transaction went.
#[derive(Debug)]
struct Went {
    tx: TxId,
    outcome: Outcome,
    took: Duration,
    /// When the first command of each participant left, after the begin.
    left: BTreeMap<String, Duration>,
}

impl Regions {
    /// Participants `(name, region, true round trip in milliseconds)`.
    async fn new(hosts: &[(&str, &str, u64)], placement: Option<Arc<dyn Placement>>) -> Self {
        let world = World::new();
        let trips = hosts.iter().map(|(name, _, trip)| ((*name).to_owned(), ms(*trip)));
        let far = Far {
            inner: world.transport.clone(),
            trips: Arc::new(Mutex::new(trips.collect())),
            left: Arc::default(),
            batches: Arc::default(),
        };
        let mut settings = quick();
        settings.engine.placement = placement;
        let names: Vec<&str> = hosts.iter().map(|host| host.0).collect();
        let wire = far.clone();
        let node = world.node_with(settings, &names, |builder| builder.transport(wire)).await;
        let regions = hosts.iter().map(|host| (host.0.to_owned(), host.1.to_owned()));
        Self { node, far, regions: regions.collect() }
    }

    fn transaction(&self, pattern: Pattern) -> Transaction {
        let builder = Transaction::builder(pattern);
        let built = self.regions.iter().fold(builder, |builder, (who, region)| {
            let ask = Ask { who: who.clone() };
            let draft = OperationDraft::call::<Step>(who, ask).name(format!("of-{who}"));
            builder.operation(draft.region(region))
        });
        built.build().unwrap()
    }

    async fn run(&self, pattern: Pattern) -> Went {
        self.far.left.lock().unwrap().clear();
        let begin = Instant::now();
        let mut handle = self.node.submit(self.transaction(pattern)).await;
        let outcome = within(handle.outcome()).await.unwrap();
        let took = begin.elapsed();
        within(handle.finished()).await.unwrap();
        let mut left = BTreeMap::new();
        for sent in self.sent(handle.tx()) {
            left.entry(sent.to.clone()).or_insert(sent.at - begin);
        }
        Went { tx: handle.tx(), outcome, took, left }
    }

    fn sent(&self, tx: TxId) -> Vec<Left> {
        let left = self.far.left.lock().unwrap();
        left.iter().filter(|sent| sent.tx == tx).cloned().collect()
    }
}

fn name(region: &str) -> RegionName {
    RegionName::new(region).unwrap()
}

fn aws(regions: &[&str]) -> RttMap {
    Shipped::rtt(Provider::Aws).symmetric().select(regions).expect("the regions are shipped")
}

fn trip(map: &RttMap, from: &str, to: &str) -> u64 {
    let at = |region: &str| map.regions().iter().position(|r| r.as_str() == region).unwrap();
    map.rtt(at(from), at(to)).unwrap().value.as_millis() as u64
}

const PLACES: [&str; 3] = ["us-east-2", "eu-west-1", "ap-southeast-2"];

/// Three participants where the map has them.
fn hosts(map: &RttMap) -> Vec<(&'static str, &'static str, u64)> {
    let at = |(who, region)| (who, region, trip(map, HOME, region));
    ["a", "b", "c"].into_iter().zip(PLACES).map(at).collect()
}

fn map() -> RttMap {
    aws(&[&[HOME], &PLACES[..]].concat())
}

fn placement(map: &RttMap, aim: Aim) -> Arc<GeoPlacement> {
    Arc::new(GeoPlacement::new(map, &name(HOME), aim).unwrap())
}

/// Whether two times are the same but for the timers of a few hops, of a millisecond each.
fn is_near(found: Duration, wanted: u64) -> bool {
    found + ms(3) >= ms(wanted) && found <= ms(wanted + 6)
}

#[tokio::test(start_paused = true)]
async fn near_ones_are_asked_later_and_the_transaction_takes_no_longer() {
    let map = map();
    let hosts = hosts(&map);
    for (pattern, rounds) in
        [(Pattern::TwoPhaseCommit, 1), (Pattern::TwoPhaseSaga, 1), (Pattern::ThreePhaseSaga, 2)]
    {
        let at_once = Regions::new(&hosts, None).await.run(pattern).await;
        let placement = placement(&map, Aim::Locks);
        let regions = Regions::new(&hosts, Some(placement.clone())).await;
        let found = regions.run(pattern).await;
        assert_eq!((at_once.outcome, found.outcome), (Outcome::Committed, Outcome::Committed));
        let farthest = hosts.iter().map(|host| host.2).max().unwrap();
        for (who, _, trip) in &hosts {
            assert!(at_once.left[*who] < ms(2), "{at_once:?}");
            let delay = (farthest - trip) * rounds;
            assert!(is_near(found.left[*who] + ms(1), delay), "{who} {delay}: {found:?}");
        }
        assert!(found.took <= at_once.took + ms(3), "{pattern}: {found:?} {at_once:?}");
        let stats = placement.stats();
        assert_eq!((stats.phases, stats.delayed, stats.withdrawn), (1, 2, 0));
        settle(&regions.node).await;
        assert!(is_sound(Outcome::Committed, &regions.node.script.effects(found.tx)));
    }
}

#[tokio::test(start_paused = true)]
async fn commands_of_one_region_leave_in_one_publish() {
    let map = map();
    let near = trip(&map, HOME, "us-east-2");
    let mut hosts = hosts(&map);
    hosts.extend([("d", "us-east-2", near), ("e", "us-east-2", near)]);
    let regions = Regions::new(&hosts, Some(placement(&map, Aim::Locks))).await;
    let found = regions.run(Pattern::TwoPhaseCommit).await;
    assert_eq!(found.outcome, Outcome::Committed);
    assert_eq!(regions.far.batches.lock().unwrap()[..3], [1, 1, 3]);
    assert!(found.left["a"] == found.left["d"] && found.left["a"] == found.left["e"], "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_measured_takes_the_place_of_a_wrong_map() {
    let map = map();
    let mut hosts = hosts(&map);
    // In truth the farthest one is nearer than the second.
    hosts[2].2 = 40;
    let placement = placement(&map, Aim::Locks);
    let regions = Regions::new(&hosts, Some(placement.clone())).await;
    let first = regions.run(Pattern::TwoPhaseCommit).await;
    assert!(first.took > ms(trip(&map, HOME, "ap-southeast-2") - 10), "{first:?}");
    for _ in 0..32 {
        assert_eq!(regions.run(Pattern::TwoPhaseCommit).await.outcome, Outcome::Committed);
    }
    let learnt = regions.run(Pattern::TwoPhaseCommit).await;
    let farthest = hosts[1].2;
    assert!(learnt.took < ms(farthest + 10), "{learnt:?}");
    assert!(is_near(learnt.left["c"] + ms(2), farthest - 40), "{learnt:?}");
    assert!(placement.stats().answers > 90, "{:?}", placement.stats());
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_nothing_more_is_asked_for() {
    let map = map();
    let hosts = hosts(&map);
    let placement = placement(&map, Aim::Locks);
    let regions = Regions::new(&hosts, Some(placement.clone())).await;
    // It is asked second, and says no before the nearest is asked.
    let far = hosts[2].2;
    regions.far.trips.lock().unwrap().insert("b".into(), ms(20));
    regions.node.script.rule(|call| match call.phase {
        Phase::Prepare if call.who == "b" => Say::No,
        _ => Say::Done,
    });
    let found = regions.run(Pattern::TwoPhaseCommit).await;
    assert_eq!(found.outcome, Outcome::Aborted);
    assert!(found.took < ms(far - 20), "{found:?}");
    let asked: Vec<String> =
        regions.sent(found.tx).iter().map(|sent| format!("{} {}", sent.to, sent.phase)).collect();
    assert_eq!(asked[..2], ["c prepare", "b prepare"]);
    assert!(!asked.contains(&"a prepare".to_owned()), "{asked:?}");
    // Sent or not, it is told: whoever takes over does not know what was sent.
    assert!(asked.contains(&"a abort".to_owned()), "{asked:?}");
    assert_eq!(placement.stats().withdrawn, 1);
    settle(&regions.node).await;
    assert!(is_sound(Outcome::Aborted, &regions.node.script.effects(found.tx)));
}

#[tokio::test(start_paused = true)]
async fn far_ones_are_not_asked_twice_for_nothing() {
    let places = ["sa-east-1", "ap-south-1"];
    let map = aws(&[&[HOME], &places[..]].concat());
    // Longer than the least attempt time-out.
    let hosts = [("a", places[0], trip(&map, HOME, places[0])), ("b", places[1], 230)];
    let repeats = |regions: &Regions, tx| {
        let sent = regions.sent(tx);
        sent.iter().filter(|sent| sent.attempt > 1).count()
    };
    let at_once = Regions::new(&hosts, None).await;
    let tx = at_once.run(Pattern::TwoPhaseCommit).await.tx;
    assert!(repeats(&at_once, tx) > 0, "{:?}", at_once.sent(tx));
    let regions = Regions::new(&hosts, Some(placement(&map, Aim::Locks))).await;
    let tx = regions.run(Pattern::TwoPhaseCommit).await.tx;
    assert_eq!(repeats(&regions, tx), 0, "{:?}", regions.sent(tx));
}

/// The first answer comes when the only attempt is given up. What was waited in vain is remembered,
/// so it is not so again and again.
#[tokio::test(start_paused = true)]
async fn who_is_farther_than_the_first_wait_is_heard_although_each_is_asked_once() {
    let once = RetryPolicy { attempts_max: 1, ..RetryPolicy::default() };
    let hosts = [("a", "ap-southeast-2", 310), ("b", "ap-southeast-2", 310)];
    let regions = Regions::new(&hosts, None).await;
    // Each of the two is waited for in vain once.
    for wanted in [Outcome::Aborted, Outcome::Aborted, Outcome::Committed, Outcome::Committed] {
        let builder =
            hosts.iter().fold(Transaction::builder(Pattern::TwoPhaseCommit), |all, host| {
                let ask = Ask { who: host.0.to_owned() };
                all.operation(OperationDraft::call::<Step>(host.0, ask).retry(once.clone()))
            });
        let one = builder.build().unwrap();
        let mut handle = regions.node.submit(one).await;
        assert_eq!(within(handle.outcome()).await.unwrap(), wanted);
        let repeats = regions.sent(handle.tx()).iter().filter(|sent| sent.attempt > 1).count();
        assert_eq!(repeats, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_map_that_is_all_wrong_costs_time_and_nothing_else() {
    let map = map();
    let mut hosts = hosts(&map);
    let (near, far) = (hosts[0].2, hosts[2].2);
    // The near one is far and the other way round.
    (hosts[0].2, hosts[2].2) = (far, near);
    for pattern in [Pattern::TwoPhaseCommit, Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga] {
        let regions = Regions::new(&hosts, Some(placement(&map, Aim::Locks))).await;
        for says_no in [false, true] {
            regions.node.script.rule(move |call| match call.phase {
                Phase::Prepare | Phase::Validate if says_no && call.who == "a" => Say::No,
                _ => Say::Done,
            });
            let wanted = if says_no { Outcome::Aborted } else { Outcome::Committed };
            let found = regions.run(pattern).await;
            assert_eq!(found.outcome, wanted, "{pattern}");
            settle(&regions.node).await;
            assert!(is_sound(wanted, &regions.node.script.effects(found.tx)), "{pattern}");
        }
    }
}

/// A transaction is planned, and a coordinator in the planned region carries the plan out.
#[tokio::test(start_paused = true)]
async fn a_coordinator_carries_a_plan_out_at_its_times() {
    let places = ["us-east-1", "us-west-2", "eu-west-1", "ap-northeast-1", "sa-east-1"];
    let map = aws(&places);
    let at = |region: &str| map.regions().iter().position(|r| r.as_str() == region).unwrap();
    let plans = PlanMap::new(&map, ms(1), Duration::ZERO).unwrap();
    let write = |region| DataOperation {
        write: true,
        home: at(region),
        copies: &[],
        staleness: Duration::ZERO,
        bytes: 100,
        pooled: false,
    };
    let operations = [write("us-west-2"), write("eu-west-1"), write("ap-northeast-1")];
    let shape = Shape {
        client: at("sa-east-1"),
        mode: Mode::StrongRegional,
        operations: &operations,
        allowed: &[true; 5],
        rounds: 1,
    };
    let plan = plans.plan(&shape).unwrap();
    assert_eq!(plan.kind, Kind::TwoPhase);
    let planned = plans.delays(&shape, &plan);
    let own = map.regions()[plan.coordinator].clone();
    let served = |(who, region): (&'static str, &usize)| {
        let region = map.regions()[*region].as_str();
        (who, region, trip(&map, own.as_str(), region))
    };
    let hosts: Vec<_> = ["a", "b", "c"].into_iter().zip(&plan.served_by).map(served).collect();
    let placement = Arc::new(GeoPlacement::new(&map, &own, Aim::Locks).unwrap());
    let regions = Regions::new(&hosts, Some(placement)).await;
    // What is written is durable in the zones before it is promised.
    regions.node.script.rule(|call| match call.phase {
        Phase::Prepare => Say::After(ms(1)),
        _ => Say::Done,
    });
    let found = regions.run(Pattern::TwoPhaseCommit).await;
    assert_eq!(found.outcome, Outcome::Committed);
    for ((who, ..), delay) in hosts.iter().zip(&planned) {
        let delay = delay.as_millis() as u64;
        assert!(is_near(found.left[*who] + ms(1), delay), "{who} {planned:?}: {found:?}");
    }
    // The client's way to the coordinator and the zones of the decision are not in this world.
    let client = trip(&map, "sa-east-1", own.as_str());
    let wanted = plan.latency.as_millis() as u64 - client - 1;
    assert!(is_near(found.took, wanted), "{wanted}: {found:?}");
}
