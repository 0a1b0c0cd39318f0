//! What an action can do: one small trait for each group of phases that belong together.
//!
//! Write the methods as `async fn`. The signatures say `impl Future + Send` because a host runs
//! handlers on any of its threads.
//!
//! Every method may be called more than once with the same idempotency key, also while an earlier
//! answer was lost. `Ok` means done; [`rejected`](dtx_core::answer::rejected) is a business no
//! after which nothing has happened; any other error, also through `?`, means that it may or may
//! not have happened. A handler whose time is up is dropped at its next `await`.
//!
//! # Contract
//! What a participant, its handlers and its host together, promises to coordinators. The suite of
//! participants checks each numbered sentence by a case of its own; run it on your participant.
//!
//! - **A1** The forward phases of a pattern, each done once, have the effect.
//! - **A2** A phase that is asked for again has no further effect.
//! - **A3** A repeat has the answer that the first one had, whatever its attempt.
//! - **A4** A reply echoes the attempt and the epoch of its command.
//! - **A5** Transactions do not share effects or answers.
//! - **A6** Nor do the operations of one transaction.
//! - **A7** A phase that goes back leaves nothing of the effect, from wherever it is asked for.
//! - **A8** Going back again is done, and changes nothing.
//! - **A9** Going back before anything went forward is done, and refuses what comes late.
//! - **A10** A forward phase after going back is refused as undone, also where it was done before.
//! - **A11** What was executed is not cancelled: it says so, and is compensated.
//! - **A12** Copies that arrive at once have one effect, and none of them is told no.
//! - **A13** After a no nothing has happened, and going back has nothing to reverse.
//! - **A14** A lower epoch than one seen before starts nothing and is unknown.
//! - **A15** A version of an action that it does not know is unknown, never a no.
//! - **A16** Nor is an action that it does not know a no.
//! - **A17** A phase is not done before the one that it builds on.
//! - **A18** Answers are there after a crash.
//! - **A19** What was taken back stays so after a crash.
//! - **A20** An answer leaves only after the effect and the answer are durable.
//! - **A21** A write that fails is no answer.
//! - **A22** A write of which nobody knows whether it was done has its effect once.

use std::future::Future;

use dtx_core::{
    answer::Answer,
    store::{Detached, Unit},
    transaction::Action,
};

use super::context::Context;

/// An action whose input and output can travel between threads.
///
/// Implemented for every [`Action`] that allows it; there is nothing to write.
pub trait Handled: Action<Input: Send + Sync, Output: Send> + Send + Sync + 'static {}

impl<A> Handled for A where A: Action<Input: Send + Sync, Output: Send> + Send + Sync + 'static {}

/// Does the work.
pub trait Execute<U: Unit = Detached>: Handled {
    /// Carries the action out. The output reaches the operations that depend on this one.
    fn execute(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<Self::Output>> + Send;
}

/// Reverses work that was done.
pub trait Compensate<U: Unit = Detached>: Handled {
    /// Reverses what `execute` did; its output is [`Context::forward`]. Never called for an
    /// operation that did nothing. A compensation cannot say no for good: it is asked again.
    fn compensate(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// The first phase of a two-phase saga.
pub trait Prepare<U: Unit = Detached>: Handled {
    /// Checks the input and saves the intent for [`Context::ttl`]. Takes no lock.
    fn prepare(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Drops the intent. Nothing was executed.
    fn cancel(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// The first phase of a three-phase saga.
pub trait Reserve<U: Unit = Detached>: Handled {
    /// Claims the resource for [`Context::ttl`]; the claim ends by itself after that.
    fn reserve(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Drops the claim, pinned or not.
    fn release(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// The second phase of a three-phase saga.
pub trait Validate<U: Unit = Detached>: Handled {
    /// Confirms the claim and pins it: `Ok` promises that the claim no longer ends by itself.
    fn validate(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// How a participant votes in a two-phase commit. A vote against is
/// [`rejected`](dtx_core::answer::rejected).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vote {
    /// The work is prepared: it can be committed and can be aborted.
    Commit,
    /// Nothing was changed; there will be no second phase.
    ReadOnly,
}

/// Both phases of a two-phase commit.
pub trait TwoPhaseCommit<U: Unit = Detached>: Handled {
    /// Takes the locks, prepares the work and votes.
    fn prepare(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<Vote>> + Send;

    /// Makes the prepared work final and drops the locks.
    fn commit(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<Self::Output>> + Send;

    /// Takes the prepared work back and drops the locks.
    fn abort(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// Receives a message of a fire-and-forget transaction or of an eventual operation.
pub trait Deliver<U: Unit = Detached>: Handled {
    /// Takes the message in. A no is tried again, like any other failure.
    fn deliver(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// Says what is known about an operation.
pub trait Status<U: Unit = Detached>: Handled {
    /// Whether the operation can still go on. Changes nothing; is never stored.
    fn status(
        &self,
        cx: &mut Context<'_, U>,
        input: &Self::Input,
    ) -> impl Future<Output = Answer<()>> + Send;
}
