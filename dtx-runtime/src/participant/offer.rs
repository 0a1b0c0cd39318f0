//! Handlers with their types erased, and what a participant offers.

use std::{any::TypeId, collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc};

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, Reason},
    json,
    name::ActionName,
    pattern::{Pattern, Phase},
    store::{Detached, Unit},
    transaction::Action,
    transport::Command,
};
use serde::Serialize;

use super::{
    context::{Call, Context},
    phases::{
        Compensate, Deliver, Execute, Prepare, Reserve, Status, TwoPhaseCommit, Validate, Vote,
    },
};

/// The running call of a handler, which gives its unit of work back with the answer.
pub(crate) type HandlerFuture<U> =
    Pin<Box<dyn Future<Output = (PhaseAnswer, <U as Unit>::Open)> + Send>>;

/// A handler of one phase of one action.
pub(crate) trait Handler<U: Unit>: Send + Sync {
    fn call(self: Arc<Self>, call: Call, open: U::Open) -> HandlerFuture<U>;

    /// Whether the database prepares what it does, and ends it.
    fn is_branch(&self) -> bool {
        false
    }
}

/// Which prepare it is: the two patterns that have the phase ask for different promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot {
    phase: Phase,
    two_phase_commit: bool,
}

impl Slot {
    fn of(pattern: Pattern, phase: Phase) -> Self {
        let two_phase_commit = pattern == Pattern::TwoPhaseCommit && phase == Phase::Prepare;
        Self { phase, two_phase_commit }
    }
}

/// Which phases of one action in one version a participant offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The action.
    pub action: ActionName,
    /// Its version.
    pub version: u32,
    slots: Vec<Slot>,
}

impl Capability {
    /// Whether a command of this phase is carried out under this pattern. A 2PC prepare and a
    /// 2PS prepare are two things.
    pub fn offers(&self, pattern: Pattern, phase: Phase) -> bool {
        self.slots.contains(&Slot::of(pattern, phase))
    }
}

struct Offered<U: Unit> {
    handler: Arc<dyn Handler<U>>,
    of: TypeId,
}

impl<U: Unit> Clone for Offered<U> {
    fn clone(&self) -> Self {
        Self { handler: Arc::clone(&self.handler), of: self.of }
    }
}

/// The handlers of one participant.
pub(crate) struct Offers<U: Unit = Detached> {
    actions: HashMap<ActionName, HashMap<u32, HashMap<Slot, Offered<U>>>>,
}

impl<U: Unit> Clone for Offers<U> {
    fn clone(&self) -> Self {
        Self { actions: self.actions.clone() }
    }
}

impl<U: Unit> Default for Offers<U> {
    fn default() -> Self {
        Self { actions: HashMap::new() }
    }
}

/// Why no handler was found. Never stored: a newer instance may have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Action,
    Version,
    Phase,
}

impl Missing {
    pub(crate) fn answer(self) -> NotDone {
        NotDone::unknown(match self {
            Self::Action => "this participant does not know the action",
            Self::Version => "this participant does not know this version of the action",
            Self::Phase => "this participant does not offer this phase of the action",
        })
    }
}

impl<U: Unit> Offers<U> {
    /// Adds a handler. Says whether the place was free or held by the same type.
    fn add<A: Action + 'static>(
        &mut self,
        action: &ActionName,
        pattern: Pattern,
        phase: Phase,
        handler: impl Handler<U> + 'static,
    ) -> bool {
        let of = TypeId::of::<A>();
        let versions = self.actions.entry(action.clone()).or_default();
        let slots = versions.entry(A::VERSION).or_default();
        let slot = Slot::of(pattern, phase);
        if slots.get(&slot).is_some_and(|there| there.of != of) {
            return false;
        }
        slots.insert(slot, Offered { handler: Arc::new(handler), of });
        true
    }

    pub(crate) fn find(
        &self,
        action: &ActionName,
        version: u32,
        pattern: Pattern,
        phase: Phase,
    ) -> Result<Arc<dyn Handler<U>>, Missing> {
        let versions = self.actions.get(action).ok_or(Missing::Action)?;
        let slots = versions.get(&version).ok_or(Missing::Version)?;
        let offered = slots.get(&Slot::of(pattern, phase)).ok_or(Missing::Phase)?;
        Ok(Arc::clone(&offered.handler))
    }

    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        let mut all: Vec<_> = self
            .actions
            .iter()
            .flat_map(|(action, versions)| versions.iter().map(move |entry| (action, entry)))
            .map(|(action, (&version, slots))| {
                let mut slots: Vec<_> = slots.keys().copied().collect();
                slots.sort_unstable();
                Capability { action: action.clone(), version, slots }
            })
            .collect();
        all.sort_by(|a, b| (&a.action, a.version).cmp(&(&b.action, b.version)));
        all
    }
}

impl<U: Unit> fmt::Debug for Offers<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.capabilities()).finish()
    }
}

/// A payload that cannot be read can never be right, so it is a no; but going back has no no.
fn decode<A: Action>(command: &Command) -> Result<A::Input, NotDone> {
    serde_json::from_slice(&command.payload).map_err(|error| {
        let phase = command.phase;
        let reason = Reason::new(format!(
            "the payload is no input of {} version {}: {error}",
            A::NAME,
            A::VERSION
        ));
        if phase.is_backward() || phase == Phase::Status {
            NotDone::Unknown(reason)
        } else {
            NotDone::Rejected(reason)
        }
    })
}

fn encode<T: Serialize>(output: &T) -> PhaseAnswer {
    Ok(Done::with(json::encode(output)?))
}

macro_rules! handler {
    ($type:ident, $trait:ident, $method:ident) => {
        struct $type<A>(Arc<A>);

        impl<U: Unit, A: $trait<U>> Handler<U> for $type<A> {
            fn call(self: Arc<Self>, call: Call, mut open: U::Open) -> HandlerFuture<U> {
                Box::pin(async move {
                    let answer = async {
                        let input = decode::<A>(&call.command)?;
                        let mut cx = Context::new(&call, U::tx(&mut open));
                        encode(&$trait::$method(&*self.0, &mut cx, &input).await?)
                    };
                    let answer = answer.await;
                    (answer, open)
                })
            }
        }
    };
}

handler!(OnExecute, Execute, execute);
handler!(OnCompensate, Compensate, compensate);
handler!(OnPrepare, Prepare, prepare);
handler!(OnCancel, Prepare, cancel);
handler!(OnReserve, Reserve, reserve);
handler!(OnRelease, Reserve, release);
handler!(OnValidate, Validate, validate);
handler!(OnAbort, TwoPhaseCommit, abort);
handler!(OnDeliver, Deliver, deliver);
handler!(OnStatus, Status, status);

struct OnVote<A>(Arc<A>);

impl<U: Unit, A: TwoPhaseCommit<U>> Handler<U> for OnVote<A> {
    fn call(self: Arc<Self>, call: Call, mut open: U::Open) -> HandlerFuture<U> {
        Box::pin(async move {
            let answer = async {
                let input = decode::<A>(&call.command)?;
                let mut cx = Context::new(&call, U::tx(&mut open));
                let vote = self.0.prepare(&mut cx, &input).await?;
                Ok(Done { read_only: vote == Vote::ReadOnly, ..Done::default() })
            };
            let answer = answer.await;
            (answer, open)
        })
    }
}

struct OnCommit<A>(Arc<A>);

impl<A> OnCommit<A> {
    /// Prepares and commits in one go. What was prepared is taken back before a no is told.
    async fn one_phase<U: Unit>(&self, cx: &mut Context<'_, U>, input: &A::Input) -> PhaseAnswer
    where
        A: TwoPhaseCommit<U>,
    {
        if self.0.prepare(cx, input).await? == Vote::ReadOnly {
            return Ok(Done { read_only: true, ..Done::default() });
        }
        match self.0.commit(cx, input).await {
            Ok(output) => encode(&output),
            Err(NotDone::Rejected(reason)) => {
                self.0.abort(cx, input).await.map_err(|not| match not {
                    NotDone::Rejected(why) => NotDone::Unknown(why),
                    other => other,
                })?;
                Err(NotDone::Rejected(reason))
            }
            Err(other) => Err(other),
        }
    }
}

impl<U: Unit, A: TwoPhaseCommit<U>> Handler<U> for OnCommit<A> {
    fn call(self: Arc<Self>, call: Call, mut open: U::Open) -> HandlerFuture<U> {
        Box::pin(async move {
            let answer = async {
                let input = decode::<A>(&call.command)?;
                let mut cx = Context::new(&call, U::tx(&mut open));
                if call.command.one_phase {
                    self.one_phase(&mut cx, &input).await
                } else {
                    encode(&self.0.commit(&mut cx, &input).await?)
                }
            };
            let answer = answer.await;
            (answer, open)
        })
    }
}

/// The work of a branch that the database prepares and ends.
struct OnBranch<A>(Arc<A>);

impl<U: Unit, A: Execute<U>> Handler<U> for OnBranch<A> {
    fn call(self: Arc<Self>, call: Call, open: U::Open) -> HandlerFuture<U> {
        Arc::new(OnExecute(Arc::clone(&self.0))).call(call, open)
    }

    fn is_branch(&self) -> bool {
        true
    }
}

/// Groups of phases, as they are given to a participant. Each says whether every place was free.
impl<U: Unit> Offers<U> {
    pub(crate) fn execute<A: Execute<U>>(&mut self, name: &ActionName, action: &Arc<A>) -> bool {
        // The pattern matters for `prepare` alone.
        self.add::<A>(name, Pattern::Saga, Phase::Execute, OnExecute(Arc::clone(action)))
    }

    pub(crate) fn compensate<A: Compensate<U>>(
        &mut self,
        name: &ActionName,
        action: &Arc<A>,
    ) -> bool {
        self.add::<A>(name, Pattern::Saga, Phase::Compensate, OnCompensate(Arc::clone(action)))
    }

    pub(crate) fn prepare<A: Prepare<U>>(&mut self, name: &ActionName, action: &Arc<A>) -> bool {
        let pattern = Pattern::TwoPhaseSaga;
        self.add::<A>(name, pattern, Phase::Prepare, OnPrepare(Arc::clone(action)))
            & self.add::<A>(name, pattern, Phase::Cancel, OnCancel(Arc::clone(action)))
    }

    pub(crate) fn reserve<A: Reserve<U>>(&mut self, name: &ActionName, action: &Arc<A>) -> bool {
        let pattern = Pattern::ThreePhaseSaga;
        self.add::<A>(name, pattern, Phase::Reserve, OnReserve(Arc::clone(action)))
            & self.add::<A>(name, pattern, Phase::Release, OnRelease(Arc::clone(action)))
    }

    pub(crate) fn validate<A: Validate<U>>(&mut self, name: &ActionName, action: &Arc<A>) -> bool {
        let pattern = Pattern::ThreePhaseSaga;
        self.add::<A>(name, pattern, Phase::Validate, OnValidate(Arc::clone(action)))
    }

    pub(crate) fn vote<A: TwoPhaseCommit<U>>(
        &mut self,
        name: &ActionName,
        action: &Arc<A>,
    ) -> bool {
        let pattern = Pattern::TwoPhaseCommit;
        self.add::<A>(name, pattern, Phase::Prepare, OnVote(Arc::clone(action)))
            & self.add::<A>(name, pattern, Phase::Commit, OnCommit(Arc::clone(action)))
            & self.add::<A>(name, pattern, Phase::Abort, OnAbort(Arc::clone(action)))
    }

    pub(crate) fn branch<A: Execute<U>>(&mut self, name: &ActionName, action: &Arc<A>) -> bool {
        let pattern = Pattern::TwoPhaseCommit;
        let mut add = |phase| self.add::<A>(name, pattern, phase, OnBranch(Arc::clone(action)));
        add(Phase::Prepare) & add(Phase::Commit) & add(Phase::Abort)
    }

    pub(crate) fn deliver<A: Deliver<U>>(&mut self, name: &ActionName, action: &Arc<A>) -> bool {
        let pattern = Pattern::FireAndForget;
        self.add::<A>(name, pattern, Phase::Deliver, OnDeliver(Arc::clone(action)))
    }

    pub(crate) fn status<A: Status<U>>(&mut self, name: &ActionName, action: &Arc<A>) -> bool {
        self.add::<A>(name, Pattern::Saga, Phase::Status, OnStatus(Arc::clone(action)))
    }
}
