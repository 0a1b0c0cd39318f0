//! Participants that do what a script says.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx::{
    answer::{Answer, NotDone, rejected},
    ids::{OperationIndex, TxId},
    participant::{
        Compensate, Context, Deliver, Execute, Participant, Prepare, Reserve, Status,
        TwoPhaseCommit, Validate, Vote,
    },
    pattern::Phase,
    transaction::Action,
};
use serde::{Deserialize, Serialize};

/// The input of the scripted action: who is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) who: String,
}

/// What a script is asked.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) who: String,
    pub(crate) tx: TxId,
    pub(crate) phase: Phase,
    /// How often this very phase was run, this time included.
    pub(crate) run: usize,
}

/// What a script says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Done,
    No,
    Unknown,
    /// Done, after this long.
    After(Duration),
}

type Rule = Box<dyn Fn(&Call) -> Say + Send + Sync>;

/// A script, and what was run by it.
#[derive(Clone)]
pub(crate) struct Script(Arc<Inner>);

struct Inner {
    rule: Mutex<Rule>,
    runs: Mutex<Vec<Call>>,
    counts: Mutex<BTreeMap<(TxId, OperationIndex, Phase), usize>>,
    /// Executions and reversals of each operation that said that it is done.
    effects: Mutex<BTreeMap<(TxId, OperationIndex), (usize, usize)>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

impl Script {
    /// Everything is done at once.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            rule: Mutex::new(Box::new(|_| Say::Done)),
            runs: Mutex::default(),
            counts: Mutex::default(),
            effects: Mutex::default(),
        }))
    }

    pub(crate) fn rule(&self, rule: impl Fn(&Call) -> Say + Send + Sync + 'static) {
        *self.0.rule.lock().unwrap() = Box::new(rule);
    }

    /// What was run, in order.
    pub(crate) fn runs(&self) -> Vec<Call> {
        self.0.runs.lock().unwrap().clone()
    }

    /// The phases that were run of a transaction, in order.
    pub(crate) fn phases(&self, tx: TxId) -> Vec<Phase> {
        self.runs().into_iter().filter(|call| call.tx == tx).map(|call| call.phase).collect()
    }

    /// Executions and reversals of each operation of a transaction.
    pub(crate) fn effects(&self, tx: TxId) -> Vec<(usize, usize)> {
        let effects = self.0.effects.lock().unwrap();
        effects.iter().filter(|((of, _), _)| *of == tx).map(|(_, counts)| *counts).collect()
    }

    /// A participant that offers everything by this script. Its answers stay in its process.
    pub(crate) fn participant(&self, name: &str) -> Participant {
        let step = || Step { script: self.clone() };
        Participant::new(name)
            .unwrap()
            .saga(step())
            .two_phase(step())
            .three_phase(step())
            .two_phase_commit(step())
            .deliver(step())
            .status(step())
    }

    async fn answer(&self, cx: &Context<'_>, ask: &Ask, effect: Effect) -> Answer<()> {
        let (tx, operation, phase) = (cx.tx_id(), cx.operation(), cx.phase());
        let run = {
            let mut counts = self.0.counts.lock().unwrap();
            let count = counts.entry((tx, operation, phase)).or_default();
            *count += 1;
            *count
        };
        let call = Call { who: ask.who.clone(), tx, phase, run };
        self.0.runs.lock().unwrap().push(call.clone());
        let say = (self.0.rule.lock().unwrap())(&call);
        match say {
            Say::No => return rejected("the script says no"),
            Say::Unknown => return Err(NotDone::unknown("the script does not know")),
            Say::After(pause) => super::pass(pause).await,
            Say::Done => {}
        }
        let mut effects = self.0.effects.lock().unwrap();
        let counts = effects.entry((tx, operation)).or_default();
        match effect {
            Effect::Made => counts.0 += 1,
            Effect::Reversed => counts.1 += 1,
            Effect::None => {}
        }
        Ok(())
    }
}

/// What a phase does to the world once it is done.
#[derive(Clone, Copy, Debug)]
enum Effect {
    None,
    Made,
    Reversed,
}

/// The scripted action.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    script: Script,
}

impl Action for Step {
    const NAME: &'static str = "step";
    type Input = Ask;
    type Output = ();
}

impl Execute for Step {
    async fn execute(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::Made).await
    }
}

impl Compensate for Step {
    async fn compensate(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::Reversed).await
    }
}

impl Prepare for Step {
    async fn prepare(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::None).await
    }

    async fn cancel(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::None).await
    }
}

impl Reserve for Step {
    async fn reserve(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::None).await
    }

    async fn release(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::None).await
    }
}

impl Validate for Step {
    async fn validate(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::None).await
    }
}

impl TwoPhaseCommit for Step {
    async fn prepare(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<Vote> {
        self.script.answer(cx, ask, Effect::None).await.map(|()| Vote::Commit)
    }

    async fn commit(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::Made).await
    }

    async fn abort(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::None).await
    }
}

impl Deliver for Step {
    async fn deliver(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::Made).await
    }
}

impl Status for Step {
    async fn status(&self, cx: &mut Context<'_>, ask: &Ask) -> Answer<()> {
        self.script.answer(cx, ask, Effect::None).await
    }
}
