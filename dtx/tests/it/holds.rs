//! Holding a participant, and undoing what was committed.

use std::time::Duration;

use dtx::{
    name::ParticipantName,
    operator::{HoldError, Operator, UndoError},
    prelude::*,
    store::Status,
    transaction::UndoPlanError,
};

use crate::kit::*;

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> ParticipantName {
    ParticipantName::new(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_held_participant_until_it_is_released() {
    let world = World::new();
    let node = world.node(quick(), &["a", "b"]).await;
    let operator = Operator::on(world.memory.clone());
    let silent = operator.hold(&name("b"), "op", "").await;
    assert!(matches!(silent, Err(HoldError::Invalid(_))), "{silent:?}");
    assert!(operator.hold(&name("b"), "op", "it is being moved").await.unwrap());
    assert!(!operator.hold(&name("b"), "op", "again").await.unwrap());
    pass(2 * SECOND).await;
    let mut handle = node.submit(steps(Pattern::Saga, &["a", "b"]).build().unwrap()).await;
    pass(10 * SECOND).await;
    let who: Vec<String> = node.script.runs().into_iter().map(|call| call.who).collect();
    assert_eq!(who, ["a"], "the others go on");
    assert!(node.wire.sent(handle.tx()).len() == 1, "and nothing leaves for the held one");
    // It binds the next owner too.
    within(node.dtx.shutdown(Duration::ZERO)).await;
    let next = world.node(quick(), &["a", "b"]).await;
    pass(5 * SECOND).await;
    assert!(!node.script.runs().iter().any(|call| call.who == "b"));
    assert!(next.dtx.release(&name("b"), "op", "moved").await.unwrap());
    settle(&next).await;
    let _ = &mut handle;
    assert_eq!(out_of(&next).await, [Status::Finished(Outcome::Committed)]);
    let holds = next.dtx.holds().await.unwrap();
    assert_eq!((holds.len(), holds[0].is_held(), holds[0].moves.len()), (1, false, 2));
    assert_eq!(holds[0].moves[0].reason.as_str(), "it is being moved");
}

#[tokio::test(start_paused = true)]
async fn what_is_undecided_ends_by_its_deadline_while_its_participant_is_held() {
    let node = Node::three().await;
    node.dtx.hold(&name("b"), "op", "broken").await.unwrap();
    pass(SECOND).await;
    let two = steps(Pattern::TwoPhaseSaga, &["a", "b"]).deadline(5 * SECOND).build().unwrap();
    let mut handle = node.submit(two).await;
    let tx = handle.tx();
    eventually("it turns", async || node.dtx.get(tx).await.unwrap().unwrap().verdict.is_some())
        .await;
    node.dtx.release(&name("b"), "op", "mended").await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Aborted);
}

struct Shop {
    node: Node,
    memory: MemoryStore,
}

async fn shop() -> Shop {
    let world = World::new();
    let memory = world.memory.clone();
    let (ledger, stock) = (Ledger::on(&memory), Reservations::on(&memory));
    ledger.open_accounts("payment", &[("alice".into(), 1_000)]).await.unwrap();
    stock.open_items("inventory", &[("cd".into(), 5)]).await.unwrap();
    let hosted = (ledger.participant("payment").unwrap(), stock.participant("inventory").unwrap());
    let node = world
        .node_with(quick(), &["a"], |builder| builder.participant(hosted.0).participant(hosted.1))
        .await;
    Shop { node, memory }
}

impl Shop {
    async fn left(&self) -> (u64, u64) {
        let money = Ledger::on(&self.memory).audit("payment").await.unwrap();
        let stock = Reservations::on(&self.memory).audit("inventory").await.unwrap();
        assert!(money[0].1.is_clean() && stock[0].1.is_clean());
        (money[0].1.level, stock[0].1.level)
    }
}

fn order(pattern: Pattern) -> Transaction {
    let amount = Amount { account: "alice".into(), cents: 300 };
    let units = Units { item: "cd".into(), units: 2, strict: false };
    let builder = Transaction::builder(pattern)
        .call::<Debit>("payment", amount)
        .call::<Take>("inventory", units);
    // A 3PS has no order among its operations.
    let in_order = pattern != Pattern::ThreePhaseSaga;
    if in_order { builder.in_sequence().build() } else { builder.build() }.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_undo_is_one_linked_transaction_that_puts_everything_back() {
    let patterns =
        [Pattern::Saga, Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga, Pattern::CriticalEventual];
    for pattern in patterns {
        let shop = shop().await;
        let (done, outcome) = shop.node.run(order(pattern)).await;
        assert_eq!((outcome, shop.left().await), (Outcome::Committed, (700, 3)), "{pattern}");
        settle(&shop.node).await;
        let mut undo =
            shop.node.dtx.undo(done.tx(), "ann", "sent to the wrong town").await.unwrap();
        assert_eq!(within(undo.finished()).await.unwrap(), Outcome::Committed, "{pattern}");
        assert_eq!(shop.left().await, (1_000, 5), "{pattern}");
        let record = shop.node.dtx.get(undo.tx()).await.unwrap().unwrap();
        let reversing = dtx::transaction::codec::decode(&record.definition).unwrap();
        assert_eq!(reversing.undo_of(), Some(done.tx()));
        let metadata: Vec<_> = reversing.metadata().collect();
        assert_eq!(metadata, [("undo-by", "ann"), ("undo-reason", "sent to the wrong town")]);
        // The other way round: the units come back before the money does.
        let payment = reversing.operations().iter().find(|o| o.action().as_str() == "credit");
        let is_ordered = usize::from(pattern != Pattern::ThreePhaseSaga);
        assert_eq!(payment.unwrap().depends_on().len(), is_ordered);
        // The old one is as it was.
        let old = shop.node.dtx.get(done.tx()).await.unwrap().unwrap();
        assert_eq!(old.summary.status, Status::Finished(Outcome::Committed));
        // Once, whoever asks again and why.
        let again = shop.node.dtx.undo(done.tx(), "bob", "to be sure").await.unwrap();
        assert_eq!(again.tx(), undo.tx());
        let elsewhere = Operator::on(shop.memory.clone());
        let known = elsewhere.undo(done.tx(), "eve", "and again").await.unwrap();
        assert_eq!((known.tx, known.is_new), (undo.tx(), false));
        settle(&shop.node).await;
        assert_eq!(shop.left().await, (1_000, 5));
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_without_a_coordinator_is_carried_out_by_the_owner() {
    let shop = shop().await;
    let (done, _) = shop.node.run(order(Pattern::Saga)).await;
    settle(&shop.node).await;
    let operator = Operator::on(shop.memory.clone());
    let undone = operator.undo(done.tx(), "ann", "returned").await.unwrap();
    assert!(undone.is_new);
    let mut handle = shop.node.dtx.attach(undone.tx).await;
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
    settle(&shop.node).await;
    assert_eq!(shop.left().await, (1_000, 5));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_undone_is_said_and_changes_nothing() {
    let shop = shop().await;
    let undo = async |tx, why: &str| shop.node.dtx.undo(tx, "ann", why).await.map(|one| one.tx());
    let too_dear = Amount { account: "alice".into(), cents: 2_000 };
    let refused = Transaction::builder(Pattern::Saga).call::<Debit>("payment", too_dear);
    let (refused, outcome) = shop.node.run(refused.build().unwrap()).await;
    assert_eq!(outcome, Outcome::Aborted);
    settle(&shop.node).await;
    let error = undo(refused.tx(), "why not").await;
    let not =
        |error: &UndoError| matches!(error, UndoError::Plan(_, UndoPlanError::NotCommitted(_)));
    assert!(error.as_ref().is_err_and(not), "{error:?}");
    let (own, _) = shop.node.run(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    settle(&shop.node).await;
    let error = undo(own.tx(), "nothing reverses it").await;
    let not =
        |error: &UndoError| matches!(error, UndoError::Plan(_, UndoPlanError::NoReversal { .. }));
    assert!(error.as_ref().is_err_and(not), "{error:?}");
    assert!(matches!(undo(own.tx(), "").await, Err(UndoError::NoReason)));
    let nobody = dtx::ids::TxId::from_parts(1, [9; 10]);
    assert!(matches!(undo(nobody, "why").await, Err(UndoError::Unknown(_))));
}
