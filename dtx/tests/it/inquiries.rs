//! Inquiries of participants: answered from the store, many with one read and one commit.

use dtx::{
    coordinator::CoordinatorSettings,
    ids::{HolderId, OperationIndex, TxId},
    name::ParticipantName,
    prelude::*,
    store::{RecordKind, Verdict},
    transport::{Body, Envelope, Inquiry, InquiryAnswer, Interest, Subscribe, Transport},
};

use crate::kit::*;

const HOST: HolderId = HolderId(77);

/// An inquiry about transaction `number`, which nobody has ever accepted.
fn inquiry(number: u8, operation: u16) -> Inquiry {
    Inquiry {
        tx: TxId::from_parts(1_700_000_000_000, [number; 10]),
        pattern: Pattern::TwoPhaseCommit,
        operation: OperationIndex(operation),
        participant: ParticipantName::new("bank").unwrap(),
        host: HOST,
    }
}

/// Asks all at once, before anybody serves, and waits for as many answers.
async fn ask(
    world: &World,
    settings: CoordinatorSettings,
    asked: &[Inquiry],
) -> (Node, Vec<InquiryAnswer>) {
    let wish = Subscribe {
        interest: Interest::InquiryAnswers(HOST),
        group: "bank".to_owned(),
        prefetch: 1_000,
    };
    let mut answers = world.transport.subscribe(&wish).await.unwrap();
    let messages: Vec<_> =
        asked.iter().map(|inquiry| Envelope::new(Body::Inquiry(inquiry.clone()))).collect();
    world.transport.publish(&messages).await;
    let node = world.node(settings, &[]).await;
    let mut told = Vec::new();
    while told.len() < asked.len() {
        let got = answers.receive(1_000, LONG).await.unwrap();
        assert!(!got.is_empty(), "{} of {} came", told.len(), asked.len());
        told.extend(got.into_iter().map(|delivery| match delivery.envelope.body {
            Body::InquiryAnswer(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }));
    }
    (node, told)
}

fn verdicts(node: &Node) -> Vec<usize> {
    let batches = node.store.batches().into_iter();
    let sizes = batches.map(|batch| batch.iter().filter(|n| n.kind == RecordKind::Verdict).count());
    sizes.filter(|count| *count > 0).collect()
}

#[tokio::test(start_paused = true)]
async fn at_batch_inquiries_max_one_read_and_one_commit_serve_all_and_one_past_it_takes_two() {
    for (asked, commits) in [(4, vec![4]), (5, vec![4, 1])] {
        let settings = CoordinatorSettings { batch_inquiries_max: 4, ..quick() };
        let inquiries: Vec<_> = (1..=asked).map(|number| inquiry(number, 0)).collect();
        let (node, told) = ask(&World::new(), settings, &inquiries).await;
        assert!(told.iter().all(|answer| answer.verdict == Some(Verdict::Abort)), "{told:?}");
        assert_eq!((verdicts(&node), node.store.loads()), (commits.clone(), commits.len()));
        for inquiry in inquiries {
            let record = node.dtx.get(inquiry.tx).await.unwrap().expect("it is written first");
            assert_eq!(record.verdict, Some(Verdict::Abort));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_participants_of_one_transaction_are_told_by_one_write() {
    let inquiries = [inquiry(1, 0), inquiry(1, 1), inquiry(2, 0), inquiry(1, 2)];
    let (node, told) = ask(&World::new(), quick(), &inquiries).await;
    let mut operations: Vec<_> =
        told.iter().map(|answer| (answer.tx, answer.operation.0)).collect();
    operations.sort_unstable();
    let mut wanted: Vec<_> = inquiries.iter().map(|one| (one.tx, one.operation.0)).collect();
    wanted.sort_unstable();
    assert_eq!(operations, wanted);
    assert!(told.iter().all(|answer| answer.verdict == Some(Verdict::Abort)));
    assert_eq!(verdicts(&node), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_unknown_fate_is_settled_by_reading_again() {
    for fault in [Fault::Landed, Fault::NotLanded] {
        let world = World::new();
        let fails = world.node(quick(), &[]).await;
        fails.store.fail_next(RecordKind::Verdict, fault);
        let wish = Subscribe {
            interest: Interest::InquiryAnswers(HOST),
            group: "bank".to_owned(),
            prefetch: 10,
        };
        let mut answers = world.transport.subscribe(&wish).await.unwrap();
        let messages = [1, 2].map(|number| Envelope::new(Body::Inquiry(inquiry(number, 0))));
        world.transport.publish(&messages).await;
        let mut told = 0;
        while told < 2 {
            let got = answers.receive(10, LONG).await.unwrap();
            assert!(!got.is_empty(), "{told} came");
            told += got.len();
        }
        assert_eq!(fails.store.faults_left(), 0);
        for number in [1, 2] {
            let record = fails.dtx.get(inquiry(number, 0).tx).await.unwrap().unwrap();
            assert_eq!(record.verdict, Some(Verdict::Abort), "{fault:?}");
        }
    }
}
