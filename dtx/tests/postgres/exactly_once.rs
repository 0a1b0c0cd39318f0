//! The suite of participants, whose every write breaks in turn, on handlers that work in the
//! transaction of their inbox: in every pattern, and with effects that are not idempotent.

use std::sync::Arc;

use dtx::{
    PgStore, participant::Participant, pattern::Pattern, store::ParticipantStore,
    transaction::Action, transport::Transport,
};
use dtx_testkit::participant::{BrittleUnits, Guard, ParticipantHarness, Sample};

use super::{
    pay::Pay,
    support::{host, paid, store},
};

pub(crate) fn sample(patterns: Vec<Pattern>) -> Sample {
    Sample {
        participant: "payment",
        action: Pay::NAME,
        action_version: Pay::VERSION,
        input: r#"{"cents":1,"how":"well"}"#.into(),
        refused: Some(r#"{"cents":1,"how":"never"}"#.into()),
        patterns,
        effect: 1,
    }
}

#[derive(Debug)]
struct Payments(PgStore);

#[async_trait::async_trait]
impl ParticipantHarness for Payments {
    fn sample() -> Sample {
        sample(Pattern::ALL.to_vec())
    }

    async fn open(_: Arc<dyn ParticipantStore>) -> Self {
        Self(store().await)
    }

    async fn start(&self, transport: Arc<dyn Transport>, fuse: Arc<dyn ParticipantStore>) -> Guard {
        let pay = || Pay::on(&self.0);
        let payment = Participant::within("payment", BrittleUnits::new(self.0.clone(), fuse));
        let payment = payment.expect("a name").saga(pay()).two_phase(pay()).three_phase(pay());
        host(payment.two_phase_commit(pay()).deliver(pay()), transport).await
    }

    async fn observe(&self, _: Arc<dyn ParticipantStore>) -> i64 {
        paid(&self.0).await
    }
}

dtx_testkit::participant_conformance!(Payments);

/// The database itself is the resource manager.
mod prepared {
    use super::*;

    #[derive(Debug)]
    struct Prepared(PgStore);

    #[async_trait::async_trait]
    impl ParticipantHarness for Prepared {
        fn sample() -> Sample {
            sample(vec![Pattern::TwoPhaseCommit])
        }

        async fn open(_: Arc<dyn ParticipantStore>) -> Self {
            Self(store().await)
        }

        async fn start(
            &self,
            transport: Arc<dyn Transport>,
            fuse: Arc<dyn ParticipantStore>,
        ) -> Guard {
            let store = BrittleUnits::new(self.0.clone(), fuse);
            let payment = Participant::resource_manager("payment", store).expect("a name");
            host(payment.prepared(Pay::on(&self.0)), transport).await
        }

        async fn observe(&self, _: Arc<dyn ParticipantStore>) -> i64 {
            paid(&self.0).await
        }
    }

    dtx_testkit::participant_conformance!(Prepared);
}
