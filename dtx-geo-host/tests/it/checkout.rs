//! Checkouts of three phases that take from a pool, each in the region of its buyer.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    answer::{NotDone, Refusal},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    resource::{Amount, Debit, Ledger},
    store::{MemoryStore, Outcome, ParticipantStore},
    transaction::Transaction,
    transport::{Body, Command, Envelope, Interest, Reply, Subscribe, Subscription, Transport},
};
use dtx_geo::pool::{Member, PoolSettings};
use dtx_geo_host::{PoolSold, PoolUnits, Pools, TakeFromPool};
use dtx_runtime::{
    coordinator::Dtx,
    participant::{Host, HostHandle, HostSettings, OnStore},
};
use dtx_transport_inmem::InMemoryTransport;

use crate::{
    link::Net,
    watch::Sums,
    world::{NAMES, World},
};

/// A coordinator in a region, with the pool and a ledger of its own.
async fn coordinator(world: &World, index: usize) -> Dtx {
    let store = MemoryStore::new();
    let ledger = Ledger::on(&store);
    let accounts = [("alice".into(), 1_000), ("bob".into(), 10)];
    ledger.open_accounts("payment", &accounts).await.expect("they are opened");
    let pool = Pools::new().with(&world.at(index));
    Dtx::builder()
        .store(store)
        .transport(InMemoryTransport::new())
        .participant(ledger.participant("payment").expect("a name"))
        .participant(pool.participant("inventory").expect("a name"))
        .allow_volatile()
        .start()
        .await
        .expect("it starts")
}

fn checkout(account: &str, units: u64, deadline: u64) -> Transaction {
    Transaction::builder(Pattern::ThreePhaseSaga)
        .call::<Debit>("payment", Amount { account: account.into(), cents: 20 })
        .call::<TakeFromPool>("inventory", PoolUnits { pool: "cds".into(), units })
        .deadline(Duration::from_secs(deadline))
        .build()
        .expect("it can be")
}

async fn outcome(dtx: &Dtx, transaction: Transaction) -> Outcome {
    let mut handle = dtx.submit(transaction).await.expect("it is taken");
    handle.outcome().await.expect("it ends")
}

#[tokio::test(start_paused = true)]
async fn checkouts_in_three_regions_sell_what_there_is() {
    let world = World::new([10, 10, 10], PoolSettings::default(), Net::new(1, 0)).await;
    let mut all = Vec::new();
    for index in 0..NAMES.len() {
        all.push(coordinator(&world, index).await);
    }
    let mut committed = 0;
    for buyer in 0..20_usize {
        // Most of them are in one region.
        let dtx = &all[if buyer % 4 == 0 { buyer % 3 } else { 2 }];
        committed += u64::from(outcome(dtx, checkout("alice", 2, 60)).await == Outcome::Committed);
    }
    assert_eq!(committed, 15, "30 units are 15 pairs");
    // Who cannot pay gives the units back.
    assert_eq!(outcome(&all[0], checkout("bob", 2, 60)).await, Outcome::Aborted);
    for dtx in all {
        assert!(dtx.shutdown(Duration::from_secs(30)).await.drained);
    }
    assert_eq!(world.watch.sums(), Sums { free: 0, held: 0, sold: 30, moving: 0 });
}

#[tokio::test(start_paused = true)]
async fn who_cannot_pay_gives_the_units_back() {
    let world = World::new([0, 9, 0], PoolSettings::default(), Net::new(2, 0)).await;
    let dtx = coordinator(&world, 0).await;
    assert_eq!(outcome(&dtx, checkout("bob", 9, 60)).await, Outcome::Aborted);
    assert!(dtx.shutdown(Duration::from_secs(30)).await.drained);
    let sums = world.watch.sums();
    assert_eq!((sums.free + sums.moving, sums.held, sums.sold), (9, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_region_that_cannot_be_reached_is_waited_for_until_the_deadline() {
    let world = World::new([0, 9, 0], PoolSettings::default(), Net::new(3, 0)).await;
    world.net.isolate(NAMES[0], &NAMES);
    world.pass(Duration::from_secs(4)).await;
    let dtx = coordinator(&world, 0).await;
    assert_eq!(outcome(&dtx, checkout("alice", 1, 10)).await, Outcome::Aborted);
    let mut handle = dtx.submit(checkout("alice", 1, 60)).await.expect("it is taken");
    world.pass(Duration::from_secs(12)).await;
    world.net.heal();
    assert_eq!(handle.outcome().await.expect("it ends"), Outcome::Committed);
    assert!(dtx.shutdown(Duration::from_secs(30)).await.drained);
    assert_eq!(world.watch.sums().sold, 1);
}

/// The coordinator's place: sends commands to the host of one region and reads its replies.
struct Asker {
    transport: Arc<InMemoryTransport>,
    replies: Box<dyn Subscription>,
    attempt: u32,
    _host: HostHandle,
}

impl Asker {
    async fn new(world: &World, index: usize) -> Self {
        let transport = Arc::new(InMemoryTransport::new());
        let participant = Pools::new().with(&world.at(index)).participant("inventory");
        let inbox: Arc<dyn ParticipantStore> = Arc::new(MemoryStore::new());
        let (participant, settings) = (participant.expect("a name"), HostSettings::default());
        let host = Host::start(participant, transport.clone(), Some(inbox), settings).await;
        let interest = Interest::Replies(vec![ShardId(1)]);
        let subscribe = Subscribe { interest, group: "asker".into(), prefetch: 16 };
        let replies = transport.subscribe(&subscribe).await.expect("it subscribes");
        Self { transport, replies, attempt: 0, _host: host.expect("it starts") }
    }

    async fn ask(&mut self, tx: u8, phase: Phase, pool: &str, units: u64) -> Reply {
        self.attempt += 1;
        let input = PoolUnits { pool: pool.into(), units };
        let command = Command {
            tx: TxId::from_bytes([tx; 16]),
            operation: OperationIndex(0),
            phase,
            pattern: Pattern::ThreePhaseSaga,
            participant: ParticipantName::new("inventory").expect("a name"),
            action: ActionName::new("take-from-pool").expect("a name"),
            action_version: 1,
            attempt: self.attempt,
            shard: ShardId(1),
            epoch: Epoch(1),
            sequence: AcceptSequence { epoch: Epoch(1), number: 1 },
            watermark: AcceptSequence::default(),
            deadline: None,
            ttl: Some(Duration::from_secs(20)),
            one_phase: false,
            reply: true,
            payload: serde_json::to_vec(&input).expect("it is JSON").into(),
            inputs: Vec::new(),
        };
        self.transport.publish(&[Envelope::new(Body::Command(Arc::new(command)))]).await;
        loop {
            let received = self.replies.receive(1, Duration::from_secs(60)).await;
            let delivery = received.expect("it receives").pop().expect("there is an answer");
            self.replies.ack(&[delivery.token]).await.expect("it takes that");
            if let Body::Reply(reply) = delivery.envelope.body
                && reply.attempt == self.attempt
            {
                return reply;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_reserve_finds_the_same_hold_and_a_late_one_none() {
    let world = World::new([10, 10, 10], PoolSettings::default(), Net::new(4, 0)).await;
    let mut asker = Asker::new(&world, 0).await;
    for _ in 0..3 {
        assert!(asker.ask(1, Phase::Reserve, "cds", 4).await.answer.is_ok());
        assert_eq!(world.watch.sums().held, 4);
    }
    // A cancel before its reserve leaves nothing, and what comes late is refused.
    assert!(asker.ask(2, Phase::Release, "cds", 4).await.answer.is_ok());
    let late = asker.ask(2, Phase::Reserve, "cds", 4).await.answer;
    assert_eq!(late, Err(NotDone::Refused(Refusal::Undone)));
    assert_eq!(world.watch.sums().held, 4);
    // A hold that was not validated ends by itself, and is validated no more.
    world.pass(Duration::from_secs(21)).await;
    let late = asker.ask(1, Phase::Validate, "cds", 4).await.answer;
    assert!(matches!(late, Err(NotDone::Rejected(_))), "{late:?}");
    assert_eq!(world.watch.sums().held, 0);
}

#[tokio::test(start_paused = true)]
async fn a_validated_hold_waits_for_the_verdict_and_says_where_it_was() {
    let world = World::new([0, 10, 0], PoolSettings::default(), Net::new(5, 0)).await;
    let mut asker = Asker::new(&world, 0).await;
    assert!(asker.ask(1, Phase::Reserve, "cds", 10).await.answer.is_ok());
    assert!(asker.ask(1, Phase::Validate, "cds", 10).await.answer.is_ok());
    world.pass(Duration::from_secs(10_000)).await;
    let done = asker.ask(1, Phase::Execute, "cds", 10).await.answer.expect("it is sold");
    let sold: PoolSold = serde_json::from_slice(&done.output).expect("it is JSON");
    let at = (0..3).find(|at| world.watch.cells(Member(*at)).sold() == 10).expect("it is sold");
    let region = NAMES[usize::from(at)].to_owned();
    assert_eq!(sold, PoolSold { units: 10, region, crossed: at != 0 });
    let repeated = asker.ask(1, Phase::Execute, "cds", 10).await.answer.expect("it is sold");
    assert_eq!(repeated, done);
}

#[tokio::test(start_paused = true)]
async fn each_way_of_no_is_told_as_what_it_is() {
    let world = World::new([3, 0, 0], PoolSettings::default(), Net::new(6, 0)).await;
    let mut asker = Asker::new(&world, 0).await;
    let reason = |answer: Result<_, NotDone>| match answer {
        Ok(_) => panic!("it is done"),
        Err(NotDone::Rejected(reason)) => ("no", reason.to_string()),
        Err(NotDone::Unknown(reason)) => ("unknown", reason.to_string()),
        Err(NotDone::Refused(refusal)) => ("refused", format!("{refusal:?}")),
    };
    let (kind, text) = reason(asker.ask(1, Phase::Reserve, "cds", 4).await.answer);
    assert_eq!((kind, &*text), ("no", "sold out: 3 units of \"cds\" are left"));
    let (kind, _) = reason(asker.ask(2, Phase::Reserve, "lps", 1).await.answer);
    assert_eq!(kind, "no");
    let (kind, _) = reason(asker.ask(3, Phase::Reserve, "cds", 0).await.answer);
    assert_eq!(kind, "no");
    world.net.isolate(NAMES[0], &NAMES);
    world.pass(Duration::from_secs(4)).await;
    let (kind, text) = reason(asker.ask(4, Phase::Reserve, "cds", 4).await.answer);
    assert_eq!(kind, "unknown");
    assert!(text.contains("cannot reach eu-west-1, sa-east-1"), "{text}");
}
