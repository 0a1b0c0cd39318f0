//! The participants of the shop pass the suite of participants.

use std::sync::Arc;

use bytes::Bytes;
use dtx::{
    participant::{Host, HostSettings, OnStore, OnStoreOf, Participant},
    pattern::Pattern,
    resource::{Ledger, Reservations, Resource},
    store::{ParticipantStore, Scope},
    transport::Transport,
};
use dtx_testkit::participant::{Guard, ParticipantHarness, Sample};

use crate::{
    faults::Refusing,
    messages::{Analyse, Log, Notify, entry_of, log_prefix},
};

async fn host(
    participant: Participant,
    transport: Arc<dyn Transport>,
    store: Arc<dyn ParticipantStore>,
) -> Guard {
    let host = Host::start(participant, transport, Some(store), HostSettings::default()).await;
    Box::new(host.expect("the host starts"))
}

fn named(name: &str) -> Participant {
    Participant::new(name).expect("a name")
}

async fn level<R: Resource>(resource: OnStoreOf<R>, participant: &str) -> i64 {
    let audits = resource.audit(participant).await.expect("rows");
    assert!(audits.iter().all(|(_, audit)| audit.is_clean()), "{audits:?}");
    audits.iter().map(|(_, audit)| audit.level as i64).sum()
}

async fn entries(store: Arc<dyn ParticipantStore>, participant: &str) -> i64 {
    let scope = Scope::new(format!("{}1", log_prefix(participant, "r"))).expect("a scope");
    let page = store.scan(&scope, b"", None, 1_000).await.expect("rows");
    page.items.iter().filter(|(key, _)| entry_of(key).is_some()).count() as i64
}

macro_rules! told {
    ($module:ident, $name:literal, $action:literal, $handler:ident) => {
        mod $module {
            use super::*;

            #[derive(Debug)]
            struct Told;

            #[async_trait::async_trait]
            impl ParticipantHarness for Told {
                fn sample() -> Sample {
                    Sample {
                        participant: $name,
                        action: $action,
                        action_version: 1,
                        input: r#"{"run":"r","order":"1","units":2,"cents":3}"#.into(),
                        refused: None,
                        patterns: vec![Pattern::FireAndForget],
                        effect: 1,
                    }
                }

                async fn open(_: Arc<dyn ParticipantStore>) -> Self {
                    Self
                }

                async fn start(
                    &self,
                    transport: Arc<dyn Transport>,
                    store: Arc<dyn ParticipantStore>,
                ) -> Guard {
                    let log = Log { participant: $name, store: store.clone(), faults: None };
                    host(named($name).deliver($handler { log }), transport, store).await
                }

                async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
                    entries(store, $name).await
                }
            }

            dtx_testkit::participant_conformance!(Told);
        }
    };
}

told!(notification, "notification", "notify", Notify);
told!(analytics, "analytics", "analyse", Analyse);

mod payment {
    use super::*;

    #[derive(Debug)]
    struct Payment;

    #[async_trait::async_trait]
    impl ParticipantHarness for Payment {
        fn sample() -> Sample {
            Sample {
                participant: "payment",
                action: "debit",
                action_version: 1,
                input: r#"{"account":"alice","cents":7}"#.into(),
                refused: Some(r#"{"account":"alice","cents":1001}"#.into()),
                patterns: Pattern::ALL[1..].to_vec(),
                effect: -7,
            }
        }

        async fn open(store: Arc<dyn ParticipantStore>) -> Self {
            let accounts = [("alice".into(), 1_000)];
            let ledger = Ledger::default().on_shared(store);
            ledger.open_accounts("payment", &accounts).await.expect("it opens");
            Self
        }

        async fn start(
            &self,
            transport: Arc<dyn Transport>,
            store: Arc<dyn ParticipantStore>,
        ) -> Guard {
            let ledger = Refusing { inner: Ledger::default(), faults: None, remembers: false };
            host(named("payment").resource(ledger, store.clone()), transport, store).await
        }

        async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
            level(Ledger::default().on_shared(store), "payment").await
        }
    }

    dtx_testkit::participant_conformance!(Payment);
}

/// Stock, and days of shipping: `remembers` is what tells them apart.
macro_rules! stock {
    ($module:ident, $name:literal, $remembers:literal) => {
        mod $module {
            use super::*;

            #[derive(Debug)]
            struct Stock;

            #[async_trait::async_trait]
            impl ParticipantHarness for Stock {
                fn sample() -> Sample {
                    let units =
                        |units: u64| Bytes::from(format!(r#"{{"item":"cd","units":{units}}}"#));
                    Sample {
                        participant: $name,
                        action: "take",
                        action_version: 1,
                        input: units(2),
                        refused: Some(units(101)),
                        patterns: Pattern::ALL[1..].to_vec(),
                        effect: -2,
                    }
                }

                async fn open(store: Arc<dyn ParticipantStore>) -> Self {
                    let stock = Reservations::default().on_shared(store);
                    stock.open_items($name, &[("cd".into(), 100)]).await.expect("it opens");
                    Self
                }

                async fn start(
                    &self,
                    transport: Arc<dyn Transport>,
                    store: Arc<dyn ParticipantStore>,
                ) -> Guard {
                    let inner = Reservations::default();
                    let stock = Refusing { inner, faults: None, remembers: $remembers };
                    host(named($name).resource(stock, store.clone()), transport, store).await
                }

                async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
                    level(Reservations::default().on_shared(store), $name).await
                }
            }

            dtx_testkit::participant_conformance!(Stock);
        }
    };
}

stock!(inventory, "inventory", true);
stock!(shipping, "shipping", false);
