//! What a participant's test hands to the suite.

use std::{any::Any, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{pattern::Pattern, store::ParticipantStore, transport::Transport};

use super::World;

/// A running host. Dropping it must end the host, as a crash would.
pub type Guard = Box<dyn Any + Send>;

/// One action of a participant, to be asked for again and again.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The name of the participant.
    pub participant: &'static str,
    /// The name of the action.
    pub action: &'static str,
    /// Its version.
    pub action_version: u32,
    /// The encoded input.
    pub input: Bytes,
    /// An input to which the participant says no, whatever was done before; if there is one.
    pub refused: Option<Bytes>,
    /// The patterns that the participant offers the action in.
    pub patterns: Vec<Pattern>,
    /// By how much [`observe`](ParticipantHarness::observe) changes when the action was carried
    /// out once, in any of the patterns.
    pub effect: i64,
}

/// A participant under test. Each case opens its own.
#[async_trait]
pub trait ParticipantHarness: Debug + Send + Sync + Sized + 'static {
    /// What is asked for.
    fn sample() -> Sample;

    /// The service that the participant stands for, and nothing done with it yet. Opens accounts
    /// or stock in `store`, where that is kept there.
    async fn open(store: Arc<dyn ParticipantStore>) -> Self;

    /// Starts a host of the participant, with `store` for its inbox and its own rows. Called
    /// again after a crash, with the same rows behind another `store`.
    async fn start(&self, transport: Arc<dyn Transport>, store: Arc<dyn ParticipantStore>)
    -> Guard;

    /// How much was done: a balance, a count of bookings. `store` has the rows.
    async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64;
}

/// Runs one case for every pattern of the sample.
///
/// # Panics
/// When the participant breaks the contract.
pub fn run<H: ParticipantHarness>(case: impl AsyncFn(&mut World<H>)) {
    let patterns = H::sample().patterns;
    assert!(!patterns.is_empty(), "the sample names no pattern");
    for pattern in patterns {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime starts").block_on(async {
            let mut world = World::<H>::open(pattern).await;
            case(&mut world).await;
        });
    }
}
