//! How many messages a transaction costs.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    pattern::Pattern,
    resource::{Amount, Debit, Ledger},
    store::{MemoryStore, Outcome},
    transaction::Transaction,
};
use dtx_runtime::{
    coordinator::{CoordinatorSettings, Dtx},
    participant::OnStore,
};
use dtx_transport_kafka::KafkaTransport;

use crate::support::{DEADLINE, settings};

const PARTICIPANTS: [&str; 3] = ["payment", "stock", "shipping"];
const TRANSACTIONS: u64 = 20;
/// Commands of prepare and execute; there are as many replies.
const COMMANDS: u64 = 6;

fn transaction() -> Transaction {
    let mut builder = Transaction::builder(Pattern::TwoPhaseSaga);
    for participant in PARTICIPANTS {
        let amount = Amount { account: "alice".into(), cents: 1 };
        builder = builder.call::<Debit>(participant, amount);
    }
    builder.build().expect("a transaction")
}

async fn start(transport: Arc<KafkaTransport>) -> Dtx {
    let store = MemoryStore::new();
    let ledger = Ledger::on(&store);
    let mut builder = Dtx::builder().store(store.clone()).shared_transport(transport);
    for participant in PARTICIPANTS {
        let accounts = [("alice".to_owned(), 1_000)];
        ledger.open_accounts(participant, &accounts).await.expect("an account");
        let participant = Ledger::on(&store).participant(participant);
        builder = builder.participant(participant.expect("a participant"));
    }
    let mut settings = CoordinatorSettings { allow_volatile: true, ..Default::default() };
    // Nothing is sent twice, however slow the machine is; and what could not be sent is, in time.
    settings.engine.attempt_timeout_min = Duration::from_secs(20);
    settings.engine.attempt_timeout_max = Duration::from_secs(20);
    builder.settings(settings).start().await.expect("it starts")
}

async fn run(dtx: &Dtx, transactions: u64) {
    let mut handles = Vec::new();
    for _ in 0..transactions {
        handles.push(dtx.submit(transaction()).await.expect("submitted"));
    }
    for mut handle in handles {
        assert_eq!(handle.outcome().await.expect("an outcome"), Outcome::Committed);
    }
}

/// Commands sent and received, and replies.
async fn counted(dtx: &Dtx) -> [u64; 3] {
    let (engine, hosts) = (dtx.stats(), dtx.host_stats().await);
    let received = hosts.iter().map(|(_, host)| host.commands).sum();
    [engine.commands, received, engine.replies]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_two_phase_saga_of_three_costs_six_commands_and_six_replies_and_no_repeat() {
    let transport = Arc::new(settings().connect().await.expect("it connects"));
    let dtx = start(Arc::clone(&transport)).await;
    // The first messages of a new topic may have to be sent again.
    run(&dtx, 1).await;
    let before = counted(&dtx).await;
    run(&dtx, TRANSACTIONS).await;
    let after = counted(&dtx).await;
    let counts: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(counts, [TRANSACTIONS * COMMANDS; 3]);
    // A message may be received before its producer has heard of it.
    let [commands, _, replies] = after;
    let all = async {
        while transport.stats().messages < commands + replies {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("all are confirmed");
    dtx.shutdown(Duration::from_secs(10)).await;
    assert_eq!(transport.stats().messages, commands + replies);
}
