//! Locks on keys: while a transaction has one it is seen, and afterwards nothing is left.

use std::sync::Arc;

use dtx::{
    participant::{OnStore, Participant},
    pattern::Pattern,
    resource::Locks,
    store::ParticipantStore,
    transport::Transport,
};
use dtx_testkit::participant::{Guard, ParticipantHarness, Sample};

use crate::support::host;

#[derive(Debug)]
struct Key;

#[async_trait::async_trait]
impl ParticipantHarness for Key {
    fn sample() -> Sample {
        Sample {
            participant: "locks",
            action: "lock",
            action_version: 1,
            input: r#"{"key":"alice","shared":true}"#.into(),
            refused: None,
            patterns: vec![Pattern::TwoPhaseCommit],
            effect: 0,
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
        let locks = Participant::new("locks").expect("a name");
        host(locks.resource(Locks::default(), store.clone()), transport, store).await
    }

    async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
        let audits = Locks::default().on_shared(store).audit("locks").await.expect("rows");
        assert!(audits.iter().all(|(_, audit)| audit.is_clean()), "{audits:?}");
        0
    }
}

dtx_testkit::participant_conformance!(Key);
