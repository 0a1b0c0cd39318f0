//! What is published arrives, whole and once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dtx_core::{
    answer::{Done, NotDone, Reason, Refusal},
    name::OperationName,
    store::Verdict,
    transport::{Body, DependencyOutput, Envelope, Headers, Interest, TraceContext},
};
use tokio::time::{Instant, timeout};

use super::{TransportHarness, messages::*};

pub(super) async fn info_is_complete(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let info = transport.info();
    assert!(!info.name.is_empty(), "a transport has a name");
    assert!(info.limits.batch_messages_max > 0, "a batch holds something");
    assert!(info.limits.body_bytes_max > 0, "a body holds something");
    assert_eq!(info.limits.ack_wait, harness.redelivery(), "hosts extend in time by what it says");
}

pub(super) async fn delivers_one(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let message = command(PAYMENT, 1);
    publish(&transport, std::slice::from_ref(&message)).await;
    let deliveries = receive(&mut *payment, 1).await;
    assert_eq!(deliveries[0].envelope, message);
    assert_eq!(deliveries[0].attempt, 1, "the first delivery is attempt 1");
}

pub(super) async fn delivers_a_batch(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 0..30)).await;
    assert_each_once(&drain(&mut *payment, 30).await, 0..30);
}

pub(super) async fn delivers_in_pieces(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 0..20)).await;
    let mut all = Vec::new();
    let end = Instant::now() + DEADLINE;
    while all.len() < 20 {
        assert!(Instant::now() < end, "only {} came", all.len());
        let piece = payment.receive(7, Duration::from_secs(1)).await.expect("received");
        assert!(piece.len() <= 7, "{} messages came, 7 were asked for", piece.len());
        payment.ack(&tokens(&piece)).await.expect("acknowledged");
        all.extend(piece);
    }
    assert_each_once(&all, 0..20);
}

pub(super) async fn an_empty_batch_is_nothing(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    assert!(transport.publish(&[]).await.is_empty(), "no message, no result");
    payment.ack(&[]).await.expect("no token is no error");
    payment.nack(&[]).await.expect("no token is no error");
    assert_quiet(&mut *payment, QUIET).await;
}

pub(super) async fn returns_at_once_what_is_there(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 0..3)).await;
    let began = Instant::now();
    let some = payment.receive(10, DEADLINE).await.expect("received");
    assert!(!some.is_empty(), "it returned before its wait was over");
    // Soon enough, too, for nothing to have come again meanwhile.
    let soon = harness.redelivery().unwrap_or(DEADLINE).min(DEADLINE) / 2;
    assert!(began.elapsed() < soon, "it waited for more than is there");
}

pub(super) async fn returns_empty_after_the_wait(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let began = Instant::now();
    let none = timeout(DEADLINE, payment.receive(10, QUIET)).await.expect("receive ends");
    assert!(none.expect("no message is no error").is_empty());
    assert!(began.elapsed() >= QUIET, "it did not wait");
}

pub(super) async fn returns_at_the_first_message(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let began = Instant::now();
    // The first of the two is polled first, so it waits when the message is published.
    let messages = commands(PAYMENT, 0..1);
    let (one, ()) = tokio::join!(payment.receive(10, DEADLINE), publish(&transport, &messages));
    assert_each_once(&one.expect("received"), 0..1);
    assert!(began.elapsed() < DEADLINE / 2, "it waited on");
}

fn headers() -> Headers {
    Headers {
        metadata: vec![
            ("customer".to_owned(), "Zoë 日本 🧾".to_owned()),
            ("empty".to_owned(), String::new()),
            ("customer".to_owned(), "a second value".to_owned()),
        ],
        trace: Some(TraceContext {
            parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
            state: Some("vendor=1".to_owned()),
        }),
    }
}

pub(super) async fn keeps_every_field(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut full = command_to(PAYMENT, 1);
    full.attempt = 4;
    full.inputs = vec![DependencyOutput {
        operation: OperationName::new("debit").expect("a name"),
        output: Bytes::from_static(b"\x00out"),
    }];
    let mut bare = command_to(PAYMENT, 2);
    (bare.deadline, bare.ttl) = (None, None);
    (bare.one_phase, bare.reply) = (false, false);
    let sent = [full, bare].map(|command| Envelope::new(Body::Command(Arc::new(command))));
    assert_kept(&transport, to(PAYMENT), &sent).await;

    let reason = || Reason::new("no slot left");
    let answers = [
        Ok(Done::with("done")),
        Ok(Done { read_only: true, ..Done::default() }),
        Err(NotDone::Rejected(reason())),
        Err(NotDone::Refused(Refusal::Undone)),
        Err(NotDone::Refused(Refusal::Executed)),
        Err(NotDone::Refused(Refusal::Expired)),
        Err(NotDone::Unknown(reason())),
    ];
    let sent =
        answers.map(|answer| Envelope::new(Body::Reply(command_to(PAYMENT, 3).reply(answer))));
    let replies = Interest::Replies(vec![command_to(PAYMENT, 3).shard]);
    assert_kept(&transport, replies, &sent).await;

    assert_kept(&transport, Interest::Inquiries, &[inquiry(4)]).await;

    let decided = [None, Some(Verdict::Commit), Some(Verdict::Abort)].map(|verdict| {
        let Body::InquiryAnswer(mut answer) = inquiry_answer(77, 5).body else {
            unreachable!("it is an answer")
        };
        answer.verdict = verdict;
        Envelope::new(Body::InquiryAnswer(answer))
    });
    let host = dtx_core::ids::HolderId(77);
    assert_kept(&transport, Interest::InquiryAnswers(host), &decided).await;
}

async fn assert_kept(
    transport: &Arc<dyn dtx_core::transport::Transport>,
    interest: Interest,
    sent: &[Envelope],
) {
    let mut subscription = subscribe(transport, interest).await;
    publish(transport, sent).await;
    let came = drain(&mut *subscription, sent.len()).await;
    assert_eq!(came.len(), sent.len());
    for message in sent {
        assert!(came.iter().any(|d| d.envelope == *message), "{message:?} in {came:?}");
    }
}

pub(super) async fn keeps_bodies_and_headers(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads = [
        Bytes::new(),
        Bytes::from(every_byte),
        Bytes::from("Zoë 日本 🧾\r\n\0{}"),
        Bytes::from(vec![0; 64]),
    ];
    let sent = payloads.map(|payload| {
        let mut command = command_to(PAYMENT, 1);
        command.payload = payload;
        Envelope { body: Body::Command(Arc::new(command)), headers: Some(Arc::new(headers())) }
    });
    assert_kept(&transport, to(PAYMENT), &sent).await;
}

/// Declared: the messages of one transaction come in their order. Not declared: they come.
pub(super) async fn keeps_the_order_that_it_declares(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    for batch in 0..4 {
        let of_batch = (0..5).map(|step| {
            let mut command = command_to(PAYMENT, 1);
            command.attempt = batch * 5 + step + 1;
            Envelope::new(Body::Command(Arc::new(command)))
        });
        publish(&transport, &of_batch.collect::<Vec<_>>()).await;
    }
    let came = drain(&mut *payment, 20).await;
    let mut attempts = came
        .iter()
        .map(|delivery| match &delivery.envelope.body {
            Body::Command(command) => command.attempt,
            other => panic!("{other:?} is not a command"),
        })
        .collect::<Vec<_>>();
    if !transport.info().capabilities.ordered_by_transaction {
        attempts.sort_unstable();
    }
    assert_eq!(attempts, (1..=20).collect::<Vec<_>>());
}

/// Durable: all is kept. Not durable: as many of the newest as the harness declares, no more.
pub(super) async fn keeps_what_comes_before_the_first_subscription(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let kept = harness.kept_before_subscription() as u32;
    let (sent, first) = match transport.info().capabilities.durable {
        true => (20, 0),
        false => (kept + 3, 3),
    };
    for number in 0..sent {
        publish(&transport, &commands(PAYMENT, number..number + 1)).await;
    }
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let came = drain(&mut *payment, (sent - first) as usize).await;
    assert_each_once(&came, first..sent);
}
