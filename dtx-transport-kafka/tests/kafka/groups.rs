//! What members of a group do to each other, and what they leave behind.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader},
    pin::pin,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use dtx_core::{
    error::ErrorKind,
    pattern::Pattern,
    transport::{Body, Envelope, Subscription},
};
use dtx_transport_kafka::TopicPrefix;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use tokio::time::timeout;

use crate::support::*;

/// What tells a test that it is the process that is killed.
const CHILD: &str = "DTX_TEST_KAFKA_CHILD";

/// One message for every partition of every pattern, or nearly so.
fn everywhere() -> Vec<Envelope> {
    let of = |pattern| (0..8).map(move |tx| (pattern, tx));
    let all = Pattern::ALL.into_iter().flat_map(of);
    all.map(|(pattern, tx)| Envelope::new(Body::Command(command_of(pattern, tx, 1).into())))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_holds_goes_to_the_next_one_and_its_acknowledgement_is_fenced() {
    let settings = settings().revoke_wait(Duration::from_millis(100));
    let transport = connect(settings.clone()).await;
    let mut first = subscribe(&transport).await;
    publish(&transport, &everywhere()).await;
    let held = receive(&mut *first, 48).await;

    // Another process would have a transport of its own.
    let mut second = subscribe(&connect(settings).await).await;
    let fenced = first.ack(&tokens(&held)).await.expect_err("all went back to the group");
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    // It came again, once, as the second delivery, and each of the two has some.
    let mut count = 0;
    for subscription in [&mut first, &mut second] {
        let mut came = receive(&mut **subscription, 1).await;
        loop {
            let more = subscription.receive(100, QUIET * 2).await.expect("received");
            if more.is_empty() {
                break;
            }
            came.extend(more);
        }
        assert!(came.iter().all(|delivery| delivery.attempt == 2), "{came:?}");
        subscription.ack(&tokens(&came)).await.expect("acknowledged");
        count += came.len();
    }
    assert_eq!(count, 48);
    first.close().await.expect("closed");
    assert_quiet(&mut *second).await;
    second.close().await.expect("closed");
    assert_quiet(&mut *subscribe(&transport).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_changes_waits_for_what_is_being_handled() {
    let transport = connect(settings().revoke_wait(Duration::from_secs(20))).await;
    let mut first = subscribe(&transport).await;
    publish(&transport, &everywhere()).await;
    let held = receive(&mut *first, 48).await;
    let mut joins = pin!(subscribe(&transport));
    assert!(timeout(QUIET * 3, &mut joins).await.is_err(), "the first holds something");
    // It is done within the wait, so nothing comes twice.
    first.ack(&tokens(&held)).await.expect("nothing was taken away");
    let mut second = joins.await;
    publish(&transport, &everywhere()).await;
    let mut count = 0;
    while count < 48 {
        for subscription in [&mut first, &mut second] {
            let some = subscription.receive(100, Duration::from_millis(20)).await;
            let some = some.expect("received");
            assert!(some.iter().all(|delivery| delivery.attempt == 1), "{some:?}");
            subscription.ack(&tokens(&some)).await.expect("acknowledged");
            count += some.len();
        }
    }
    assert_eq!(count, 48);
}

/// Handles what comes until it is told to stop, or `left` is 0. Nothing may come twice.
async fn work(mut payment: Box<dyn Subscription>, left: Arc<AtomicI64>, stop: Arc<AtomicBool>) {
    while left.load(SeqCst) > 0 && !stop.load(SeqCst) {
        let some = payment.receive(100, Duration::from_millis(20)).await.expect("received");
        assert!(some.iter().all(|delivery| delivery.attempt == 1), "{some:?}");
        payment.ack(&tokens(&some)).await.expect("acknowledged");
        left.fetch_sub(some.len() as i64, SeqCst);
    }
    payment.close().await.expect("closed");
}

/// Commits are made all the time, and the group changes all the time: what was acknowledged is
/// committed before its partition goes to another member.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_does_not_come_again_while_members_come_and_go() {
    const ROUNDS: i64 = 5;
    let settings = settings().commit_interval(Duration::from_millis(10));
    let transport = connect(settings.revoke_wait(Duration::from_secs(20))).await;
    let left = Arc::new(AtomicI64::new(ROUNDS * 2 * 48));
    let stays = work(subscribe(&transport).await, Arc::clone(&left), Arc::default());
    let stays = tokio::spawn(stays);
    for _ in 0..ROUNDS {
        publish(&transport, &everywhere()).await;
        let joined = subscribe(&transport).await;
        let stop = Arc::new(AtomicBool::new(false));
        let goes = tokio::spawn(work(joined, Arc::clone(&left), Arc::clone(&stop)));
        publish(&transport, &everywhere()).await;
        stop.store(true, SeqCst);
        goes.await.expect("it has worked");
    }
    timeout(DEADLINE, stays).await.expect("all of it comes").expect("it has worked");
    assert_eq!(left.load(SeqCst), 0);
    assert_quiet(&mut *subscribe(&transport).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_is_never_committed_over() {
    let settings = settings();
    let prefix = {
        let prefix = prefix();
        (prefix.clone(), settings.topic_prefix(prefix))
    };
    let (prefix, settings) = prefix;
    let topic = format!("{prefix}.saga.payment");
    let transport = connect(settings).await;
    let mut payment = subscribe(&transport).await;
    publish(&transport, &of_one(0..10)).await;
    let all = receive(&mut *payment, 10).await;
    let (kept, acked): (Vec<_>, Vec<_>) = all.into_iter().partition(|d| attempt_of(d) == 3);
    payment.ack(&tokens(&acked)).await.expect("acknowledged");
    payment.close().await.expect("closed");

    let commits = committed(&prefix, &topic);
    let (at, text) = commits.iter().find(|(offset, _)| *offset >= 0).expect("it was committed");
    assert_eq!(*at, 3, "the watermark stops before what is not acknowledged");
    assert!(!text.is_empty() && kept.len() == 1);

    // The next owner gets that one alone.
    let mut next = subscribe(&transport).await;
    let again = receive(&mut *next, 1).await;
    assert_eq!((attempt_of(&again[0]), again[0].attempt), (3, 2));
    assert_quiet(&mut *next).await;
    drop(next);
    let mut next = subscribe(&transport).await;
    let again = receive(&mut *next, 1).await;
    assert_eq!((attempt_of(&again[0]), again[0].attempt), (3, 3));
    next.ack(&tokens(&again)).await.expect("acknowledged");
    next.close().await.expect("closed");
    let commits = committed(&prefix, &topic);
    assert!(commits.iter().any(|(offset, text)| *offset == 10 && text.is_empty()), "{commits:?}");

    // Without the text beside the offset more comes again, and nothing is lost.
    let raw: BaseConsumer =
        raw(&format!("{prefix}.workers.commands.payment")).create().expect("a client");
    let partition = commits.iter().position(|(offset, _)| *offset == 10).expect("it is there");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, partition as i32, Offset::Offset(6)).expect("an offset");
    raw.commit(&list, CommitMode::Sync).expect("committed");
    let mut next = subscribe(&transport).await;
    let again = receive(&mut *next, 4).await;
    assert_eq!(again.iter().map(attempt_of).collect::<Vec<_>>(), [6, 7, 8, 9]);
}

/// Receives 20, acknowledges all but the first, says so, and waits to be killed.
async fn be_killed(prefix: &str) {
    let prefix = TopicPrefix::new(prefix).expect("one");
    let transport = connect(settings().topic_prefix(prefix)).await;
    let mut payment = subscribe(&transport).await;
    let all = receive(&mut *payment, 20).await;
    let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|d| attempt_of(d) == 0);
    payment.ack(&tokens(&rest)).await.expect("acknowledged");
    println!("holding {}", first.len());
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_consumer_loses_nothing() {
    if let Ok(prefix) = env::var(CHILD) {
        return be_killed(&prefix).await;
    }
    let prefix = prefix();
    let transport = connect(settings().topic_prefix(prefix.clone())).await;
    publish(&transport, &of_one(0..20)).await;
    let name = "groups::a_killed_consumer_loses_nothing";
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", name])
        .env(CHILD, prefix.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let says = output.lines().map_while(Result::ok).find(|line| line.contains("holding 1"));
    let killed = child.kill().and_then(|()| child.wait());
    assert!(says.is_some() && killed.is_ok(), "it holds the first message");

    let mut next = subscribe(&transport).await;
    let mut came = BTreeSet::new();
    while !came.contains(&0) {
        let some = receive(&mut *next, 1).await;
        came.extend(some.iter().map(attempt_of));
        next.ack(&tokens(&some)).await.expect("acknowledged");
    }
}
