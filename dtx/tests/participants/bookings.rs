//! Participants as a user writes them: over an API with idempotency keys that knows nothing of
//! dtx, in every pattern that takes handlers.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use dtx::{
    answer::{Answer, rejected},
    participant::{
        Compensate, Context, Deliver, Execute, Participant, Prepare, Reserve, TwoPhaseCommit,
        Validate, Vote,
    },
    pattern::Pattern,
    store::ParticipantStore,
    transaction::Action,
    transport::Transport,
};
use dtx_testkit::participant::{Guard, ParticipantHarness, Sample};
use serde::{Deserialize, Serialize};

use crate::support::host;

/// How far a booking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Held,
    Booked,
}

/// The carrier: a booking per idempotency key, outside of every transaction.
#[derive(Clone, Debug, Default)]
struct Carrier {
    bookings: Arc<Mutex<BTreeMap<String, Stage>>>,
}

impl Carrier {
    async fn set(&self, key: &str, stage: Option<Stage>) -> io::Result<()> {
        // Others run while the API is asked, before and after it does its work.
        tokio::task::yield_now().await;
        {
            let mut bookings =
                self.bookings.lock().map_err(|_| io::Error::other("the carrier is down"))?;
            match stage {
                Some(stage) => _ = bookings.insert(key.to_owned(), stage),
                None => _ = bookings.remove(key),
            }
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    fn booked(&self) -> i64 {
        let bookings = self.bookings.lock().expect("nobody panics with it");
        bookings.values().filter(|stage| **stage == Stage::Booked).count() as i64
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Slot {
    day: String,
}

#[derive(Clone, Debug)]
struct Book(Carrier);

impl Action for Book {
    const NAME: &'static str = "book";
    type Input = Slot;
    type Output = String;
}

impl Book {
    async fn hold(&self, cx: &Context<'_>, slot: &Slot) -> Answer<()> {
        if slot.day == "never" {
            return rejected("no van goes then");
        }
        Ok(self.0.set(cx.operation_key(), Some(Stage::Held)).await?)
    }

    async fn book(&self, cx: &Context<'_>, slot: &Slot) -> Answer<String> {
        if slot.day == "never" {
            return rejected("no van goes then");
        }
        self.0.set(cx.operation_key(), Some(Stage::Booked)).await?;
        Ok(format!("{} for {}", slot.day, cx.operation_key()))
    }

    async fn free(&self, cx: &Context<'_>) -> Answer<()> {
        Ok(self.0.set(cx.operation_key(), None).await?)
    }
}

impl Execute for Book {
    async fn execute(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<String> {
        self.book(cx, slot).await
    }
}

impl Compensate for Book {
    async fn compensate(&self, cx: &mut Context<'_>, _: &Slot) -> Answer<()> {
        self.free(cx).await
    }
}

impl Prepare for Book {
    async fn prepare(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<()> {
        self.hold(cx, slot).await
    }

    async fn cancel(&self, cx: &mut Context<'_>, _: &Slot) -> Answer<()> {
        self.free(cx).await
    }
}

impl Reserve for Book {
    async fn reserve(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<()> {
        self.hold(cx, slot).await
    }

    async fn release(&self, cx: &mut Context<'_>, _: &Slot) -> Answer<()> {
        self.free(cx).await
    }
}

impl Validate for Book {
    async fn validate(&self, _: &mut Context<'_>, _: &Slot) -> Answer<()> {
        Ok(())
    }
}

impl TwoPhaseCommit for Book {
    async fn prepare(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<Vote> {
        self.hold(cx, slot).await?;
        Ok(Vote::Commit)
    }

    async fn commit(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<String> {
        self.book(cx, slot).await
    }

    async fn abort(&self, cx: &mut Context<'_>, _: &Slot) -> Answer<()> {
        self.free(cx).await
    }
}

impl Deliver for Book {
    async fn deliver(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<()> {
        self.book(cx, slot).await.map(drop)
    }
}

#[derive(Debug)]
struct Bookings(Carrier);

#[async_trait::async_trait]
impl ParticipantHarness for Bookings {
    fn sample() -> Sample {
        Sample {
            participant: "shipping",
            action: Book::NAME,
            action_version: Book::VERSION,
            input: r#"{"day":"monday"}"#.into(),
            refused: Some(r#"{"day":"never"}"#.into()),
            patterns: Pattern::ALL.to_vec(),
            effect: 1,
        }
    }

    async fn open(_: Arc<dyn ParticipantStore>) -> Self {
        Self(Carrier::default())
    }

    async fn start(
        &self,
        transport: Arc<dyn Transport>,
        store: Arc<dyn ParticipantStore>,
    ) -> Guard {
        let book = || Book(self.0.clone());
        let shipping = Participant::new("shipping").expect("a name");
        let shipping = shipping.saga(book()).two_phase(book()).three_phase(book());
        host(shipping.two_phase_commit(book()).deliver(book()), transport, store).await
    }

    async fn observe(&self, _: Arc<dyn ParticipantStore>) -> i64 {
        self.0.booked()
    }
}

dtx_testkit::participant_conformance!(Bookings);
