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
use dtx_transport_nats::NatsTransport;
use futures_util::{StreamExt, stream::select};

use crate::harness::{connect, prefix, settings, url};

const PARTICIPANTS: [&str; 3] = ["payment", "stock", "shipping"];
const TRANSACTIONS: usize = 20;
/// Commands of prepare and execute; there are as many replies.
const COMMANDS: usize = 6;

fn transaction() -> Transaction {
    let mut builder = Transaction::builder(Pattern::TwoPhaseSaga);
    for participant in PARTICIPANTS {
        let amount = Amount { account: "alice".into(), cents: 1 };
        builder = builder.call::<Debit>(participant, amount);
    }
    builder.build().expect("a transaction")
}

async fn start(transport: Arc<NatsTransport>) -> Dtx {
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

async fn run(dtx: &Dtx) {
    let mut handles = Vec::new();
    for _ in 0..TRANSACTIONS {
        handles.push(dtx.submit(transaction()).await.expect("submitted"));
    }
    for mut handle in handles {
        assert_eq!(handle.outcome().await.expect("an outcome"), Outcome::Committed);
    }
}

/// Four messages on the wire for a delivery: it is published, that is acknowledged, it is
/// delivered, and that is acknowledged, which nobody answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_two_phase_saga_of_three_costs_twelve_messages_each_acknowledged_once_unanswered() {
    let (url, prefix) = (url(), prefix());
    let observer = async_nats::connect(&url).await.expect("it connects");
    let published = observer.subscribe(format!("{prefix}.>")).await.expect("subscribed");
    let acks = observer.subscribe("$JS.ACK.>").await.expect("subscribed");
    // Answered once the server knows of both.
    observer.request("$JS.API.INFO", "".into()).await.expect("answered");
    let all = settings(&url, &prefix).ack_wait(Duration::from_secs(60));
    let dtx = start(Arc::new(connect(all).await)).await;
    run(&dtx).await;
    let (engine, hosts) = (dtx.stats(), dtx.host_stats().await);
    let received: u64 = hosts.iter().map(|(_, host)| host.commands).sum();
    let commands = (TRANSACTIONS * COMMANDS) as u64;
    assert_eq!([engine.commands, received, engine.replies], [commands; 3]);
    dtx.shutdown(Duration::from_secs(10)).await;
    let end = format!("{prefix}.end");
    let ours = format!("$JS.ACK.DTX_{prefix}_");
    let mut seen = select(published, acks);
    let (mut messages, mut acknowledged) = (0, 0);
    let counting = async {
        let mut has_asked = false;
        while let Some(message) = seen.next().await {
            if *message.subject == *end {
                break;
            }
            if message.subject.starts_with(&ours) {
                // A host may also say that it is still at work.
                if message.payload[..] == *b"+ACK" {
                    assert_eq!(message.reply, None);
                    acknowledged += 1;
                }
            } else if message.subject.starts_with(&prefix) {
                messages += 1;
            }
            let all_came = messages == 2 * commands && acknowledged == 2 * commands;
            if all_came && !std::mem::replace(&mut has_asked, true) {
                // What comes after it is none of theirs.
                observer.publish(end.clone(), "".into()).await.expect("sent");
            }
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(30), counting).await;
    assert_eq!((messages, acknowledged), (2 * commands, 2 * commands), "{counted:?}");
    assert!(counted.is_ok());
}
