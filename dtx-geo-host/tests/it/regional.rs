//! A transport over regions: what crosses as what, and what becomes of it when a region does not
//! answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dtx_core::{
    answer::{Done, NotDone, Reason},
    error::{Effect, ErrorKind, TransportError},
    ids::{AcceptSequence, Epoch, HolderId, OperationIndex, ShardId},
    name::{ActionName, ParticipantName, RegionName},
    pattern::{Pattern, Phase},
    resource::{Amount, Debit, Ledger},
    store::{MemoryStore, Verdict},
    transaction::Transaction,
    transport::{
        Body, Command, Envelope, Headers, Inquiry, InquiryAnswer, Interest, PublishResult, Reply,
        Subscribe, Subscription, Transport, TransportInfo,
    },
};
use dtx_geo_host::{
    Directory, RegionalError, RegionalSettings, RegionalSettingsError, RegionalTransport,
};
use dtx_runtime::{
    coordinator::Dtx,
    participant::{Host, HostSettings, OnStore},
};
use dtx_testkit::{store::tx, transport::TransportHarness};
use dtx_transport_inmem::InMemoryTransport;

const HOME: &str = "us-east-1";
const NEAR: &str = "eu-west-1";
const FAR: &str = "ap-northeast-1";
/// Nobody waits for longer; time does not pass by itself.
const WAIT: Duration = Duration::from_secs(60);

fn region(name: &str) -> RegionName {
    RegionName::new(name).expect("a name")
}

fn participant(name: &str) -> ParticipantName {
    ParticipantName::new(name).expect("a name")
}

/// As seen from one region: all is coordinated at home, and these participants are elsewhere.
fn directory(own: &str) -> Directory {
    [("one", NEAR), ("two", NEAR), ("three", FAR), ("four", FAR)]
        .into_iter()
        .fold(Directory::new(region(own), region(HOME)), |directory, (name, at)| {
            directory.participant(participant(name), region(at))
        })
}

/// The broker of a region, of which one can say what it was given.
#[derive(Clone, Debug)]
struct Broker {
    inner: InMemoryTransport,
    given: Arc<Mutex<Vec<Envelope>>>,
    /// So many publishes fail.
    fails: Arc<Mutex<usize>>,
}

impl Broker {
    fn new() -> Self {
        Self::over(InMemoryTransport::new())
    }

    fn over(inner: InMemoryTransport) -> Self {
        Self { inner, given: Arc::default(), fails: Arc::default() }
    }

    fn given(&self) -> Vec<Envelope> {
        self.given.lock().expect("nobody panics with it").clone()
    }

    fn fail(&self, times: usize) {
        *self.fails.lock().expect("nobody panics with it") = times;
    }
}

#[async_trait]
impl Transport for Broker {
    fn info(&self) -> &TransportInfo {
        self.inner.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let fails = {
            let mut left = self.fails.lock().expect("nobody panics with it");
            let fails = *left > 0;
            *left = left.saturating_sub(1);
            fails
        };
        if fails {
            let error = || TransportError::new(ErrorKind::Unavailable, "broker", "publish");
            return messages.iter().map(|_| Err(error())).collect();
        }
        self.given.lock().expect("nobody panics with it").extend_from_slice(messages);
        self.inner.publish(messages).await
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

/// Three regions with a broker each.
struct Regions {
    home: Broker,
    near: Broker,
    far: Broker,
}

impl Regions {
    fn new() -> Self {
        Self { home: Broker::new(), near: Broker::new(), far: Broker::new() }
    }

    fn broker(&self, name: &str) -> Broker {
        match name {
            HOME => self.home.clone(),
            NEAR => self.near.clone(),
            _ => self.far.clone(),
        }
    }

    async fn transport(&self, own: &str, settings: RegionalSettings) -> Arc<RegionalTransport> {
        let mut builder = RegionalTransport::builder(directory(own), Arc::new(self.broker(own)));
        for other in [HOME, NEAR, FAR].into_iter().filter(|other| *other != own) {
            let broker = self.broker(other);
            builder = builder.way(region(other), move || {
                let broker: Arc<dyn Transport> = Arc::new(broker.clone());
                async move { Ok(broker) }
            });
        }
        let transport = Arc::new(builder.settings(settings).start().await.expect("it starts"));
        while !transport.has_reached_all() {
            tokio::task::yield_now().await;
        }
        transport
    }
}

fn command(to: &str, number: u64) -> Envelope {
    Envelope::new(Body::Command(Arc::new(Command {
        tx: tx(number),
        operation: OperationIndex(3),
        phase: Phase::Reserve,
        pattern: Pattern::ThreePhaseSaga,
        participant: participant(to),
        action: ActionName::new("pay").expect("a name"),
        action_version: 2,
        attempt: 4,
        shard: ShardId(5),
        epoch: Epoch(6),
        sequence: AcceptSequence { epoch: Epoch(6), number },
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: Some(Duration::from_secs(8)),
        one_phase: false,
        reply: true,
        payload: format!("{{\"n\":{number}}}").into(),
        inputs: Vec::new(),
    })))
}

fn all_kinds() -> Vec<Envelope> {
    let headers = Headers { metadata: vec![("who".into(), "anna".into())], trace: None };
    let mut with_headers = command("one", 1);
    with_headers.headers = Some(Arc::new(headers));
    let Body::Command(command) = command("two", 2).body else { unreachable!() };
    let done = command.reply(Ok(Done { output: vec![0, 255, 10].into(), ..Done::default() }));
    let not_done = Reply {
        answer: Err(NotDone::Rejected(Reason::new("none left"))),
        ..command.reply(Err(NotDone::unknown("x")))
    };
    let inquiry = Inquiry {
        tx: tx(3),
        pattern: Pattern::TwoPhaseCommit,
        operation: OperationIndex(1),
        participant: participant("one"),
        host: HolderId(77),
    };
    let answer = InquiryAnswer {
        tx: tx(3),
        operation: OperationIndex(1),
        participant: participant("one"),
        host: HolderId(77),
        verdict: Some(Verdict::Completed),
        retry_after: Duration::from_millis(20),
    };
    let bodies = [
        Body::Reply(done),
        Body::Reply(not_done),
        Body::Inquiry(inquiry),
        Body::InquiryAnswer(answer),
    ];
    bodies.into_iter().map(Envelope::new).chain([with_headers]).collect()
}

async fn subscribe(transport: &dyn Transport, interest: Interest) -> Box<dyn Subscription> {
    let subscribe = Subscribe { interest, group: "test".into(), prefetch: 1_000 };
    transport.subscribe(&subscribe).await.expect("it subscribes")
}

async fn receive(subscription: &mut dyn Subscription, count: usize) -> Vec<Envelope> {
    let mut received = Vec::new();
    while received.len() < count {
        let more = subscription.receive(1_000, WAIT).await.expect("it is open");
        assert!(!more.is_empty(), "{} of {count} came", received.len());
        let tokens: Vec<_> = more.iter().map(|delivery| delivery.token).collect();
        subscription.ack(&tokens).await.expect("it is open");
        received.extend(more.into_iter().map(|delivery| delivery.envelope));
    }
    received
}

fn is_parcel(envelope: &Envelope) -> bool {
    matches!(&envelope.body, Body::Command(command) if command.action.as_str() == "parcel")
}

#[tokio::test(start_paused = true)]
async fn what_goes_to_one_region_together_goes_as_one_message_and_arrives_as_it_was() {
    let regions = Regions::new();
    let home = regions.transport(HOME, RegionalSettings::default()).await;
    let near = regions.transport(NEAR, RegionalSettings::default()).await;
    let mut one = subscribe(&*near, Interest::Participant(participant("one"))).await;
    let mut two = subscribe(&*near, Interest::Participant(participant("two"))).await;
    let messages = [command("one", 1), command("two", 2), command("here", 3), command("one", 4)];
    let results = home.publish(&messages).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(receive(&mut *one, 2).await, [messages[0].clone(), messages[3].clone()]);
    assert_eq!(receive(&mut *two, 1).await, [messages[1].clone()]);
    // One parcel, and at home what is for home.
    assert!(is_parcel(&regions.near.given()[0]));
    assert_eq!(regions.home.given(), [messages[2].clone()]);
    let stats = (home.stats(), near.stats());
    assert_eq!((stats.0.messages, stats.0.sent, stats.1.opened, stats.1.refused), (3, 1, 1, 0));
    // One alone goes as it is.
    home.publish(&messages[..1]).await;
    assert_eq!(regions.near.given().last(), Some(&messages[0]));
    assert_eq!(receive(&mut *one, 1).await, [messages[0].clone()]);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_message_finds_its_region_and_arrives_as_it_was() {
    let regions = Regions::new();
    let home = regions.transport(HOME, RegionalSettings::default()).await;
    let near = regions.transport(NEAR, RegionalSettings::default()).await;
    let mut replies = subscribe(&*home, Interest::Replies(vec![ShardId(5)])).await;
    let mut inquiries = subscribe(&*home, Interest::Inquiries).await;
    let mut answers = subscribe(&*near, Interest::InquiryAnswers(HolderId(77))).await;
    let mut one = subscribe(&*near, Interest::Participant(participant("one"))).await;
    let all = all_kinds();
    assert!(near.publish(&all[..3]).await.iter().all(Result::is_ok));
    assert!(home.publish(&all[3..]).await.iter().all(Result::is_ok));
    assert_eq!(receive(&mut *replies, 2).await, all[..2]);
    assert_eq!(receive(&mut *inquiries, 1).await, all[2..3]);
    assert_eq!(receive(&mut *answers, 1).await, all[3..4]);
    assert_eq!(receive(&mut *one, 1).await, all[4..]);
}

#[tokio::test(start_paused = true)]
async fn a_parcel_has_as_much_as_the_settings_say_and_one_past_it_is_another() {
    let settings = RegionalSettings { parcel_messages_max: 4, ..RegionalSettings::default() };
    let regions = Regions::new();
    let home = regions.transport(HOME, settings.clone()).await;
    let _near = regions.transport(NEAR, settings).await;
    let batch = |count: u64| (0..count).map(|n| command("one", n)).collect::<Vec<_>>();
    home.publish(&batch(4)).await;
    assert_eq!(home.stats().sent, 1);
    home.publish(&batch(5)).await;
    assert_eq!(home.stats().sent, 3, "four together and one alone");
    let bytes = {
        let given = regions.near.given();
        let Body::Command(parcel) = &given[0].body else { panic!("{given:?}") };
        parcel.payload.len() - 1
    };
    for (parcel_bytes_max, sent) in [(bytes, 1), (bytes - 1, 2)] {
        let settings = RegionalSettings { parcel_bytes_max, ..RegionalSettings::default() };
        let regions = Regions::new();
        let home = regions.transport(HOME, settings).await;
        assert!(home.publish(&batch(4)).await.iter().all(Result::is_ok));
        assert_eq!(home.stats().sent, sent, "{parcel_bytes_max} bytes");
    }
    // What is larger alone goes as it is.
    let settings = RegionalSettings { parcel_bytes_max: 1, ..RegionalSettings::default() };
    let regions = Regions::new();
    let home = regions.transport(HOME, settings).await;
    assert!(home.publish(&batch(3)).await.iter().all(Result::is_ok));
    assert_eq!(regions.near.given(), batch(3));
}

#[tokio::test(start_paused = true)]
async fn a_parcel_that_is_too_long_or_no_parcel_is_refused_and_stops_nothing() {
    let few = RegionalSettings { parcel_messages_max: 2, ..RegionalSettings::default() };
    let regions = Regions::new();
    let home = regions.transport(HOME, RegionalSettings::default()).await;
    let near = regions.transport(NEAR, few).await;
    let mut one = subscribe(&*near, Interest::Participant(participant("one"))).await;
    let batch: Vec<_> = (0..3).map(|n| command("one", n)).collect();
    home.publish(&batch).await;
    // The same with its end cut off, and another version.
    let parcel = regions.near.given()[0].clone();
    let Body::Command(command) = parcel.body else { panic!("a parcel is a command") };
    let whole = command.payload.clone();
    for payload in [whole.slice(..whole.len() - 1), whole.slice(1..), whole.slice(..0)] {
        let command = Command { payload, ..(*command).clone() };
        regions.near.publish(&[Envelope::new(Body::Command(Arc::new(command)))]).await;
    }
    home.publish(&batch[..2]).await;
    assert_eq!(receive(&mut *one, 2).await, batch[..2]);
    assert_eq!((near.stats().refused, near.stats().opened), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_parcel_whose_messages_were_not_taken_comes_again() {
    let regions = Regions::new();
    let home = regions.transport(HOME, RegionalSettings::default()).await;
    let near = regions.transport(NEAR, RegionalSettings::default()).await;
    let mut one = subscribe(&*near, Interest::Participant(participant("one"))).await;
    let batch = [command("one", 1), command("one", 2)];
    // The parcel is published past it.
    assert!(home.publish(&batch).await.iter().all(Result::is_ok));
    regions.near.fail(2);
    assert_eq!(receive(&mut *one, 2).await, batch);
    assert_eq!(near.stats().opened, 3, "twice in vain");
}

#[tokio::test(start_paused = true)]
async fn a_region_that_was_not_reached_or_does_not_answer_holds_up_no_other() {
    let regions = Regions::new();
    let (near, attempts) = (regions.broker(NEAR), Arc::new(Mutex::new(0)));
    let counted = attempts.clone();
    let connect = move || {
        let (near, mut attempts) = (near.clone(), counted.lock().expect("nobody panics"));
        *attempts += 1;
        let is_there = *attempts == 3;
        async move {
            let error = || TransportError::new(ErrorKind::Unavailable, "broker", "connect");
            if is_there { Ok(Arc::new(near) as Arc<dyn Transport>) } else { Err(error()) }
        }
    };
    // The broker of this region takes nothing: its queue has no room, and nobody reads it.
    let full = InMemoryTransport::builder().queue_messages_max(1).build().expect("it can be");
    let _keeps = subscribe(&full, Interest::Participant(participant("three"))).await;
    let far = Broker::over(full);
    let home = RegionalTransport::builder(directory(HOME), Arc::new(regions.broker(HOME)))
        .way(region(NEAR), connect)
        .way(region(FAR), move || {
            let far: Arc<dyn Transport> = Arc::new(far.clone());
            async move { Ok(far) }
        });
    let home = home.start().await.expect("it starts");
    while !home.has_reached_all() {
        let messages = [command("one", 1), command("here", 2)];
        let results = home.publish(&messages).await;
        if let Err(error) = &results[0] {
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
            assert!(error.to_string().contains(NEAR), "{error}");
        }
        assert!(results[1].is_ok(), "{results:?}");
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    assert_eq!(*attempts.lock().expect("nobody panics"), 3);
    let began = tokio::time::Instant::now();
    let all = [command("three", 1), command("one", 2), command("here", 3)];
    home.publish(&all).await;
    let results = home.publish(&all).await;
    assert!(results[1].is_ok() && results[2].is_ok(), "{results:?}");
    let late = results[0].as_ref().expect_err("nobody takes it");
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert_eq!(began.elapsed(), RegionalSettings::default().way_timeout);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_at_the_start() {
    let build = || RegionalTransport::builder(directory(HOME), Arc::new(Broker::new()));
    let never = || async { Err(TransportError::new(ErrorKind::Unavailable, "broker", "connect")) };
    let error = build().way(region(NEAR), never).start().await.expect_err("FAR has no way");
    assert!(matches!(&error, RegionalError::NoWay(at) if at.as_str() == FAR), "{error}");
    let all = || build().way(region(NEAR), never).way(region(FAR), never);
    assert!(all().start().await.is_ok());
    let error = all().way(region(HOME), never).start().await.expect_err("it is here");
    assert!(matches!(error, RegionalError::OwnWay(_)), "{error}");
    let settings = RegionalSettings { parcels_max: 0, ..RegionalSettings::default() };
    let error = all().settings(settings).start().await.expect_err("nothing could be taken");
    let RegionalError::Settings(error) = error else { panic!("{error}") };
    assert_eq!(error, RegionalSettingsError("parcels_max"));
}

/// A three-phase saga with two participants in each of two other regions: one message to each
/// region and phase.
#[tokio::test(start_paused = true)]
async fn a_phase_is_one_message_to_each_region() {
    let regions = Regions::new();
    let home = regions.transport(HOME, RegionalSettings::default()).await;
    let (mut hosts, mut transports) = (Vec::new(), Vec::new());
    for (name, at) in [("one", NEAR), ("two", NEAR), ("three", FAR), ("four", FAR)] {
        if transports.iter().all(|(known, _)| *known != at) {
            transports.push((at, regions.transport(at, RegionalSettings::default()).await));
        }
        let transport = transports.last().expect("it was made").1.clone();
        let ledger = Ledger::on(&MemoryStore::new());
        ledger.open_accounts(name, &[("anna".to_owned(), 100)]).await.expect("it is opened");
        let participant = ledger.participant(name).expect("a name");
        let host = Host::start(participant, transport, None, HostSettings::default()).await;
        hosts.push(host.expect("it starts"));
    }
    let dtx = Dtx::builder().store(MemoryStore::new()).shared_transport(home.clone());
    let dtx = dtx.allow_volatile().start().await.expect("it starts");
    let amount = || Amount { account: "anna".into(), cents: 1 };
    let transaction = ["one", "two", "three", "four"]
        .into_iter()
        .fold(Transaction::builder(Pattern::ThreePhaseSaga), |transaction, name| {
            transaction.call::<Debit>(name, amount())
        });
    let transaction = transaction.build().expect("it can be");
    let mut handle = dtx.submit(transaction).await.expect("it is accepted");
    assert_eq!(handle.outcome().await.expect("it ends").to_string(), "committed");
    let stats = home.stats();
    assert_eq!((stats.messages, stats.sent), (12, 6), "three phases, two regions");
}

/// The contract holds for what stays in its region, and for what does not.
#[derive(Debug)]
struct Alone;

#[async_trait]
impl TransportHarness for Alone {
    async fn open(&self) -> Arc<dyn Transport> {
        let here = InMemoryTransport::builder()
            .queue_messages_max(64)
            .pending_messages_max(16)
            .ack_wait(Duration::from_secs(1))
            .batch_messages_max(100)
            .body_bytes_max(4_096)
            .build();
        let here = Arc::new(here.expect("the settings are sound"));
        let directory = Directory::new(region(HOME), region(HOME));
        let transport = RegionalTransport::builder(directory, here).start().await;
        Arc::new(transport.expect("it starts"))
    }

    fn redelivery(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn queue_messages_max(&self) -> Option<usize> {
        Some(64)
    }

    fn kept_before_subscription(&self) -> usize {
        16
    }
}

mod contract {
    use super::Alone;

    dtx_testkit::transport_conformance!(Alone, start_paused = true);
}
