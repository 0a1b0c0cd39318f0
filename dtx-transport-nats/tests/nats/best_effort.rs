//! 0.5PS without a stream.

use std::time::Duration;

use dtx_core::{
    pattern::Pattern,
    transport::{Nack, Transport},
};

use crate::{
    harness::{ACK_WAIT, command, connect, number, prefix, settings, subscribe, url},
    raw::{self, DEADLINE},
};

const DISPATCH: Pattern = Pattern::FireAndForget;

#[tokio::test]
async fn it_says_that_it_is_not_durable_and_makes_no_stream() {
    let (url, prefix) = (url(), prefix());
    let transport = connect(settings(&url, &prefix).best_effort_dispatch(true)).await;
    assert!(!transport.info().capabilities.durable);
    assert!(transport.durability_reasons().iter().any(|r| r.contains("best_effort_dispatch")));
    let client = raw::client(&url).await;
    let info =
        raw::ask(&client, &format!("STREAM.INFO.DTX_{prefix}_05PS"), serde_json::json!({})).await;
    assert_eq!(info["error"]["err_code"], 10_059, "{info}");
    // Nobody listens: it is gone, and that is no error.
    assert!(transport.publish(&[command(DISPATCH, 1)]).await[0].is_ok());
    let mut workers = subscribe(&transport).await;
    assert!(workers.receive(1, Duration::from_millis(200)).await.expect("none").is_empty());
}

#[tokio::test]
async fn a_group_shares_and_what_is_not_acknowledged_comes_again() {
    let transport = connect(settings(&url(), &prefix()).best_effort_dispatch(true)).await;
    let mut workers = [subscribe(&transport).await, subscribe(&transport).await];
    let messages: Vec<_> = (0..40).map(|number| command(DISPATCH, number)).collect();
    assert!(transport.publish(&messages).await.iter().all(Result::is_ok));
    // Those of the other patterns are in streams as ever.
    assert!(transport.publish(&[command(Pattern::Saga, 99)]).await[0].is_ok());
    let mut settled = Vec::new();
    while settled.len() < 41 {
        for worker in &mut workers {
            let some = worker.receive(100, Duration::from_millis(50)).await.expect("received");
            for delivery in some {
                match (number(&delivery.envelope), delivery.attempt) {
                    // Given back, then forgotten, then handled.
                    (7, 1) => {
                        let nack = Nack { token: delivery.token, delay: ACK_WAIT / 10 };
                        worker.nack(&[nack]).await.expect("given back");
                    }
                    (7, 2) => {}
                    (number, attempt) => {
                        assert_eq!(attempt, if number == 7 { 3 } else { 1 });
                        worker.ack(&[delivery.token]).await.expect("acknowledged");
                        settled.push(number);
                    }
                }
            }
        }
    }
    settled.sort_unstable();
    assert_eq!(settled, (0..40).chain([99]).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_that_ends_hands_on_what_it_holds() {
    let transport = connect(settings(&url(), &prefix()).best_effort_dispatch(true)).await;
    let mut first = subscribe(&transport).await;
    assert!(transport.publish(&[command(DISPATCH, 3)]).await[0].is_ok());
    assert_eq!(first.receive(1, DEADLINE).await.expect("received").len(), 1);
    let mut second = subscribe(&transport).await;
    first.close().await.expect("closed");
    let handed = second.receive(1, DEADLINE).await.expect("received");
    assert_eq!(number(&handed[0].envelope), 3);
}
