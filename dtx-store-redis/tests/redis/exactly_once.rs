//! The suite of participants, whose every write breaks in turn, on handlers whose effect is in one
//! script with their inbox: in every pattern, and with effects that are not idempotent.

use std::sync::Arc;

use dtx::{
    participant::Participant, pattern::Pattern, store::ParticipantStore, transaction::Action,
    transport::Transport,
};
use dtx_store_redis::RedisStore;
use dtx_testkit::participant::{BrittleUnits, Guard, ParticipantHarness, Sample};

use super::{
    harness::{Fresh, prefix},
    pay::Pay,
    support::{host, open, paid},
};

#[derive(Debug)]
struct Payments {
    store: RedisStore,
    prefix: Fresh,
}

#[async_trait::async_trait]
impl ParticipantHarness for Payments {
    fn sample() -> Sample {
        Sample {
            participant: "payment",
            action: Pay::NAME,
            action_version: Pay::VERSION,
            input: r#"{"cents":1,"how":"well"}"#.into(),
            refused: Some(r#"{"cents":1,"how":"never"}"#.into()),
            patterns: Pattern::ALL.to_vec(),
            effect: 1,
        }
    }

    async fn open(_: Arc<dyn ParticipantStore>) -> Self {
        let prefix = prefix();
        Self { store: open(&prefix).await, prefix }
    }

    async fn start(&self, transport: Arc<dyn Transport>, fuse: Arc<dyn ParticipantStore>) -> Guard {
        let pay = || Pay::on(&self.prefix);
        let payment = Participant::within("payment", BrittleUnits::new(self.store.clone(), fuse));
        let payment = payment.expect("a name").saga(pay()).two_phase(pay()).three_phase(pay());
        host(payment.two_phase_commit(pay()).deliver(pay()), transport).await
    }

    async fn observe(&self, _: Arc<dyn ParticipantStore>) -> i64 {
        paid(&self.prefix).await
    }
}

dtx_testkit::participant_conformance!(Payments);
