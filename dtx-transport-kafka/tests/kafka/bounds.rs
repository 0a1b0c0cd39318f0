//! Each bound, at the limit and one past it; layouts; the number of requests.

use dtx_core::{
    error::{Effect, ErrorKind},
    ids::ShardId,
    pattern::Pattern,
    transport::{Body, Envelope, Interest, Subscribe, Transport},
};
use dtx_transport_kafka::Layout;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_pauses_at_the_span_and_goes_on_when_its_first_message_is_settled() {
    let transport = connect(settings().unacked_span_max(8)).await;
    let mut payment = subscribe(&transport).await;
    publish(&transport, &of_one(0..12)).await;
    let mut all = receive(&mut *payment, 8).await;
    let first = all.remove(0);
    payment.ack(&tokens(&all)).await.expect("acknowledged");
    assert_quiet(&mut *payment).await;
    // Other partitions go on meanwhile.
    let other = command_of(Pattern::TwoPhaseSaga, 1, 50);
    publish(&transport, &[Envelope::new(Body::Command(other.into()))]).await;
    assert_eq!(attempt_of(&receive(&mut *payment, 1).await[0]), 50);
    payment.ack(&[first.token]).await.expect("acknowledged");
    let rest = receive(&mut *payment, 4).await;
    assert_eq!(rest.iter().map(attempt_of).collect::<Vec<_>>(), [8, 9, 10, 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_past_the_partitions_of_the_replies_names_the_setting() {
    let transport = connect(settings().reply_partitions(4)).await;
    let subscribe = |shard| Subscribe {
        interest: Interest::Replies(vec![ShardId(0), ShardId(shard)]),
        group: "coordinators".to_owned(),
        prefetch: 10,
    };
    let reply = |shard| {
        let mut command = command_of(Pattern::Saga, 1, 1);
        command.shard = ShardId(shard);
        Envelope::new(Body::Reply(command.reply(Ok(dtx_core::answer::Done::default()))))
    };
    let mut at = transport.subscribe(&subscribe(3)).await.expect("subscribed");
    let past = transport.subscribe(&subscribe(4)).await.expect_err("one past it");
    assert!(past.kind() == ErrorKind::Invalid && past.to_string().contains("reply_partitions"));
    let results = transport.publish(&[reply(4), reply(3)]).await;
    let past = results[0].as_ref().expect_err("one past it");
    assert!(past.effect() == Effect::None && past.to_string().contains("reply_partitions"));
    assert!(results[1].is_ok());
    assert_eq!(receive(&mut *at, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_headers_are_too_large_is_refused_alone() {
    let transport = connect(settings()).await;
    let mut payment = subscribe(&transport).await;
    let mut large = command_of(Pattern::Saga, 1, 1);
    large.inputs = vec![dtx_core::transport::DependencyOutput {
        operation: dtx_core::name::OperationName::new("o").expect("a name"),
        // Within the largest body, and past the largest message once it is in a header.
        output: vec![b'x'; dtx_transport_kafka::BODY_BYTES_MAX_DEFAULT - 20].into(),
    }];
    let large = Envelope::new(Body::Command(large.into()));
    let results = transport.publish(&[large, command(2)]).await;
    let error = results[0].as_ref().expect_err("too large");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
    assert!(error.to_string().contains("message_bytes_max"), "{error}");
    assert!(results[1].is_ok());
    assert_eq!(tx_of(&receive(&mut *payment, 1).await[0]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_layout_carries_every_pattern() {
    for layout in [Layout::PerParticipant, Layout::PerPattern, Layout::PerSubject] {
        let transport = connect(settings().partitions(1).layout(layout)).await;
        let mut payment = subscribe(&transport).await;
        let other = dtx_core::name::ParticipantName::new("inventory").expect("a name");
        let interest = Interest::Participant(other.clone());
        let subscribe = Subscribe { interest, group: "workers".to_owned(), prefetch: 100 };
        let mut inventory = transport.subscribe(&subscribe).await.expect("subscribed");
        let mut messages = Vec::new();
        for pattern in Pattern::ALL {
            let mut command = command_of(pattern, 1, 1);
            if pattern == Pattern::FireAndForget {
                command.phase = dtx_core::pattern::Phase::Deliver;
            } else if pattern == Pattern::TwoPhaseCommit {
                command.phase = dtx_core::pattern::Phase::Commit;
            }
            let mut for_other = command.clone();
            for_other.participant = other.clone();
            messages.extend([command, for_other].map(|c| Envelope::new(Body::Command(c.into()))));
        }
        publish(&transport, &messages).await;
        for subscription in [&mut payment, &mut inventory] {
            let all = receive(&mut **subscription, 6).await;
            subscription.ack(&tokens(&all)).await.expect("acknowledged");
            assert_quiet(&mut **subscription).await;
        }
        let ordered = transport.info().capabilities.ordered_by_transaction;
        assert_eq!(ordered, layout != Layout::PerSubject);
        transport.close().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_a_pattern_that_is_not_used_is_refused_by_the_name_of_the_setting() {
    let transport = connect(settings().partitions(1).patterns([Pattern::TwoPhaseSaga])).await;
    let mut payment = subscribe(&transport).await;
    let [used, other] = [Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga]
        .map(|pattern| Envelope::new(Body::Command(command_of(pattern, 1, 1).into())));
    let results = transport.publish(&[other, used]).await;
    let error = results[0].as_ref().expect_err("it is refused");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
    assert!(error.to_string().contains("3ps: the setting patterns"), "{error}");
    assert!(results[1].is_ok(), "{results:?}");
    assert_eq!(receive(&mut *payment, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_leaves_in_few_requests() {
    let transport = connect(settings().linger(std::time::Duration::from_millis(20))).await;
    publish(&transport, &[command(0)]).await;
    let batch: Vec<_> = (0..2_000).map(command).collect();
    publish(&transport, &batch).await;
    let end = std::time::Instant::now() + DEADLINE;
    let mut payment = subscribe(&transport).await;
    // The client counts its requests once a second.
    let stats = loop {
        let some = payment.receive(100, QUIET).await.expect("received");
        payment.ack(&tokens(&some)).await.expect("acknowledged");
        let stats = transport.stats();
        if stats.produce_requests > 1 {
            break stats;
        }
        assert!(std::time::Instant::now() < end, "nothing is counted: {stats:?}");
    };
    assert_eq!(stats.messages, 2_001);
    println!("{} messages in {} requests", stats.messages, stats.produce_requests);
    assert!(stats.produce_requests <= 100, "{stats:?}");
}
