//! Stock, reserved strictly and optimistically.

use std::sync::Arc;

use bytes::Bytes;
use dtx::{
    participant::{OnStore, Participant},
    pattern::Pattern,
    resource::Reservations,
    store::ParticipantStore,
    transport::Transport,
};
use dtx_testkit::participant::{Guard, ParticipantHarness, Sample};

use crate::support::host;

fn sample(strict: bool, patterns: &[Pattern]) -> Sample {
    let units = |units: u64| {
        Bytes::from(format!(r#"{{"item":"cd-17","units":{units},"strict":{strict}}}"#))
    };
    Sample {
        participant: "inventory",
        action: "take",
        action_version: 1,
        input: units(2),
        refused: Some(units(101)),
        patterns: patterns.to_vec(),
        effect: -2,
    }
}

macro_rules! stock {
    ($name:ident, $sample:expr) => {
        #[derive(Debug)]
        struct $name;

        #[async_trait::async_trait]
        impl ParticipantHarness for $name {
            fn sample() -> Sample {
                $sample
            }

            async fn open(store: Arc<dyn ParticipantStore>) -> Self {
                let items = [("cd-17".into(), 100)];
                let stock = Reservations::default().on_shared(store);
                stock.open_items("inventory", &items).await.expect("it opens");
                Self
            }

            async fn start(
                &self,
                transport: Arc<dyn Transport>,
                store: Arc<dyn ParticipantStore>,
            ) -> Guard {
                let inventory = Participant::new("inventory").expect("a name");
                let inventory = inventory.resource(Reservations::default(), store.clone());
                host(inventory, transport, store).await
            }

            async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
                let stock = Reservations::default().on_shared(store);
                let audits = stock.audit("inventory").await.expect("rows");
                assert!(audits.iter().all(|(_, audit)| audit.is_clean()), "{audits:?}");
                audits.iter().map(|(_, audit)| audit.level as i64).sum()
            }
        }

        dtx_testkit::participant_conformance!($name);
    };
}

mod optimistic {
    use super::*;

    stock!(Optimistic, sample(false, &Pattern::ALL[1..]));
}

mod strict {
    use super::*;

    stock!(Strict, sample(true, &[Pattern::ThreePhaseSaga]));
}
