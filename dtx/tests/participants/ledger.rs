//! Accounts.

use std::sync::Arc;

use dtx::{
    participant::{OnStore, Participant},
    pattern::Pattern,
    resource::Ledger,
    store::ParticipantStore,
    transport::Transport,
};
use dtx_testkit::participant::{Guard, ParticipantHarness, Sample};

use crate::support::host;

#[derive(Debug)]
struct Account;

#[async_trait::async_trait]
impl ParticipantHarness for Account {
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
        let payment = Participant::new("payment").expect("a name");
        host(payment.resource(Ledger::default(), store.clone()), transport, store).await
    }

    async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
        let audits = Ledger::default().on_shared(store).audit("payment").await.expect("rows");
        assert!(audits.iter().all(|(_, audit)| audit.is_clean()), "{audits:?}");
        audits.iter().map(|(_, audit)| audit.level as i64).sum()
    }
}

dtx_testkit::participant_conformance!(Account);
