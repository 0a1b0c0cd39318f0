//! Participants that are wrong on purpose, to show that the suite sees it: an account behind a
//! small host of the kit's own, with one fault planted in it.

use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, Reason, Refusal},
    ids::{Epoch, OperationIndex, TxId},
    name::ParticipantName,
    pattern::{Pattern, Phase},
    resource::{Ledger, Work, audit, plan, read_keys, route},
    store::{ParticipantStore, RowWriteResult, ScopeRead},
    transport::{Body, Command, Envelope, Interest, Subscribe, Subscription, Transport},
};

use super::{Guard, ParticipantHarness, Sample};

/// What is wrong with a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each name is its own description.
pub enum Fault {
    SkipsTheEffect,
    RunsRepeatsAgain,
    AnswersRepeatsAnew,
    SwapsAttempts,
    MixesTransactions,
    MixesOperations,
    SkipsTheWayBack,
    RefusesASecondWayBack,
    LeavesNoTombstone,
    RepeatsTheUndone,
    CancelsTheExecuted,
    SaysNoToDuplicates,
    KeepsTheEffectOfANo,
    IgnoresEpochs,
    TakesEveryVersion,
    TakesEveryAction,
    SkipsPhases,
    ForgetsInACrash,
    ForgetsTombstonesInACrash,
    AnswersBeforeItWrites,
    RunsAgainAfterALostAnswer,
    SaysDoneWhenAWriteFails,
}

impl Fault {
    /// All faults.
    pub const ALL: &[Self] = &[
        Self::SkipsTheEffect,
        Self::RunsRepeatsAgain,
        Self::AnswersRepeatsAnew,
        Self::SwapsAttempts,
        Self::MixesTransactions,
        Self::MixesOperations,
        Self::SkipsTheWayBack,
        Self::RefusesASecondWayBack,
        Self::LeavesNoTombstone,
        Self::RepeatsTheUndone,
        Self::CancelsTheExecuted,
        Self::SaysNoToDuplicates,
        Self::KeepsTheEffectOfANo,
        Self::IgnoresEpochs,
        Self::TakesEveryVersion,
        Self::TakesEveryAction,
        Self::SkipsPhases,
        Self::ForgetsInACrash,
        Self::ForgetsTombstonesInACrash,
        Self::AnswersBeforeItWrites,
        Self::RunsAgainAfterALostAnswer,
        Self::SaysDoneWhenAWriteFails,
    ];
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Sets the fault of the mutants that this thread opens from now on.
pub fn plant(fault: Option<Fault>) {
    FAULT.set(fault);
}

const NAME: &str = "payment";

/// An account with the fault that was planted last.
#[derive(Debug)]
pub struct Mutant {
    fault: Option<Fault>,
    starts: AtomicU16,
}

#[async_trait]
impl ParticipantHarness for Mutant {
    fn sample() -> Sample {
        Sample {
            participant: NAME,
            action: "debit",
            action_version: 1,
            input: r#"{"account":"alice","cents":7}"#.into(),
            refused: Some(r#"{"account":"alice","cents":1001}"#.into()),
            patterns: Pattern::ALL[1..].to_vec(),
            effect: -7,
        }
    }

    async fn open(store: Arc<dyn ParticipantStore>) -> Self {
        let read = account();
        let rows = store.read(std::slice::from_ref(&read)).await.expect("read").remove(0);
        let set = Ledger::open_account(&read, &rows, 1_000).expect("it opens").expect("it is new");
        assert!(matches!(store.write(&[set]).await[..], [RowWriteResult::Written]));
        Self { fault: FAULT.get(), starts: AtomicU16::new(0) }
    }

    async fn start(
        &self,
        transport: Arc<dyn Transport>,
        store: Arc<dyn ParticipantStore>,
    ) -> Guard {
        let subscribe = Subscribe {
            interest: Interest::Participant(ParticipantName::new(NAME).expect("a name")),
            group: NAME.to_owned(),
            prefetch: 64,
        };
        let commands = transport.subscribe(&subscribe).await.expect("subscribed");
        let host = Served {
            fault: self.fault,
            start: self.starts.fetch_add(1, Relaxed),
            transport,
            store,
            ledger: Ledger::default(),
            seen: Vec::new(),
            undone: BTreeSet::new(),
            fresh: 100,
        };
        Box::new(Ending(tokio::spawn(host.serve(commands))))
    }

    async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
        let scope = account().scope;
        let page = store.scan(&scope, b"", None, 10_000).await.expect("scan");
        let read = [ScopeRead { scope, keys: Vec::new() }];
        let now = store.read(&read).await.expect("read")[0].now;
        audit(page.items.iter().map(|(key, row)| (key, row)), now).level as i64
    }
}

fn account() -> ScopeRead {
    let name = ParticipantName::new(NAME).expect("a name");
    Ledger::account(&name, "alice").expect("an account")
}

/// A task that ends with it.
struct Ending(tokio::task::JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A host of one resource, one command at a time.
struct Served {
    fault: Option<Fault>,
    start: u16,
    transport: Arc<dyn Transport>,
    store: Arc<dyn ParticipantStore>,
    ledger: Ledger,
    seen: Vec<(Command, PhaseAnswer)>,
    undone: BTreeSet<(TxId, OperationIndex)>,
    fresh: u16,
}

impl Served {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    async fn serve(mut self, mut commands: Box<dyn Subscription>) {
        while let Ok(deliveries) = commands.receive(16, Duration::from_secs(1)).await {
            for delivery in deliveries {
                if let Body::Command(command) = &delivery.envelope.body {
                    self.handle(command).await;
                }
                // The wire gives nothing back, so that there is nothing to lose here.
                let _ = commands.ack(&[delivery.token]).await;
            }
        }
    }

    async fn handle(&mut self, command: &Command) {
        let damaged = self.damage(command);
        let answer = match self.shortcut(command) {
            Some(answer) => answer,
            None => self.carry_out(&damaged).await,
        };
        let answer = self.spoil(command, answer).await;
        self.seen.push((command.clone(), answer.clone()));
        self.reply(command, answer).await;
    }

    async fn reply(&self, command: &Command, answer: PhaseAnswer) {
        let mut reply = command.reply(answer);
        if self.has(Fault::SwapsAttempts) {
            reply.epoch = Epoch(reply.epoch.0 + 1);
        }
        // A reply that is lost is asked for again.
        let _ = self.transport.publish(&[Envelope::new(Body::Reply(reply))]).await;
    }

    fn answered(&self, command: &Command) -> Option<&PhaseAnswer> {
        let same = |(it, answer): &&(Command, PhaseAnswer)| {
            let key = (it.tx, it.operation, it.phase);
            key == (command.tx, command.operation, command.phase) && answer.is_ok()
        };
        self.seen.iter().find(same).map(|(_, answer)| answer)
    }

    fn goes_back(&self, command: &Command) -> bool {
        self.undone.contains(&(command.tx, command.operation))
    }

    /// The command as the faulty participant takes it.
    fn damage(&mut self, command: &Command) -> Command {
        let mut command = command.clone();
        let is_last = matches!(command.phase, Phase::Execute | Phase::Commit);
        match self.fault {
            Some(Fault::RunsRepeatsAgain) if is_last && self.answered(&command).is_some() => {
                self.run_anew(&mut command);
            }
            Some(Fault::MixesTransactions) => command.tx = crate::store::tx(0),
            Some(Fault::MixesOperations) => command.operation = OperationIndex(0),
            Some(Fault::IgnoresEpochs) => command.epoch = Epoch(1_000),
            Some(Fault::TakesEveryVersion) => command.action_version = 1,
            Some(Fault::TakesEveryAction) => {
                let sample = Mutant::sample();
                command.action = dtx_core::name::ActionName::new(sample.action).expect("a name");
            }
            Some(Fault::SkipsPhases) if is_last => {
                command.pattern = Pattern::Saga;
                command.phase = Phase::Execute;
            }
            Some(Fault::ForgetsInACrash) => command.operation.0 += 10 * self.start,
            _ => {}
        }
        if command.phase.is_backward() {
            self.undone.insert((command.tx, command.operation));
        }
        command
    }

    /// The same work under another key.
    fn run_anew(&mut self, command: &mut Command) {
        self.fresh += 1;
        command.operation = OperationIndex(self.fresh);
        command.pattern = Pattern::Saga;
        command.phase = Phase::Execute;
    }

    /// An answer for which the rows are not asked.
    fn shortcut(&self, command: &Command) -> Option<PhaseAnswer> {
        let is_repeat = self.answered(command).is_some();
        let is_back = command.phase.is_backward();
        match self.fault? {
            Fault::SkipsTheEffect if matches!(command.phase, Phase::Execute | Phase::Commit) => {
                Some(Ok(Done::default()))
            }
            Fault::SkipsTheWayBack if is_back => Some(Ok(Done::default())),
            Fault::RefusesASecondWayBack if is_back && is_repeat => {
                Some(Err(NotDone::Rejected(Reason::new("it was taken back"))))
            }
            Fault::LeavesNoTombstone | Fault::ForgetsTombstonesInACrash
                if is_back && !self.seen.iter().any(|(it, _)| it.tx == command.tx) =>
            {
                let kept = self.has(Fault::ForgetsTombstonesInACrash) && self.start > 0;
                (!kept).then(|| Ok(Done::default()))
            }
            Fault::ForgetsTombstonesInACrash if !is_back && self.goes_back(command) => {
                Some(Err(NotDone::Refused(Refusal::Undone)))
            }
            Fault::RepeatsTheUndone if !is_back => self.answered(command).cloned(),
            Fault::CancelsTheExecuted if command.phase == Phase::Cancel => {
                Some(Ok(Done::default()))
            }
            Fault::SaysNoToDuplicates if is_repeat && !is_back && command.attempt > 1 => {
                Some(Err(NotDone::Rejected(Reason::new("it was done already"))))
            }
            _ => None,
        }
    }

    async fn spoil(&mut self, command: &Command, answer: PhaseAnswer) -> PhaseAnswer {
        match (self.fault, answer) {
            (Some(Fault::AnswersRepeatsAnew), Ok(done)) if command.attempt > 50 => {
                Ok(Done { output: format!("{}", command.attempt).into(), ..done })
            }
            (Some(Fault::KeepsTheEffectOfANo), Err(NotDone::Rejected(reason))) => {
                let mut other = command.clone();
                other.payload = Mutant::sample().input;
                self.run_anew(&mut other);
                // Whatever comes of it.
                let _ = self.carry_out(&other).await;
                Err(NotDone::Rejected(reason))
            }
            (_, answer) => answer,
        }
    }

    async fn carry_out(&mut self, command: &Command) -> PhaseAnswer {
        let scope = route(&self.ledger, command).map_err(|answer| match answer {
            Err(no) => no,
            Ok(_) => NotDone::unknown("nothing to take back"),
        })?;
        let keys = read_keys(&self.ledger, [command]);
        for _ in 0..16 {
            let read = [ScopeRead { scope: scope.clone(), keys: keys.clone() }];
            let rows = self.store.read(&read).await?.remove(0);
            let work = [Work { command, not_after: None }];
            let mut plan = plan(&self.ledger, &scope, &keys, rows, &work);
            let answer = plan.answers.remove(0);
            let Some(set) = plan.write else { return answer };
            if self.has(Fault::AnswersBeforeItWrites) {
                self.reply(command, answer.clone()).await;
                tokio::task::yield_now().await;
            }
            match self.store.write(&[set]).await.remove(0) {
                RowWriteResult::Written => return answer,
                RowWriteResult::Failed(_) if self.has(Fault::SaysDoneWhenAWriteFails) => {
                    return answer;
                }
                RowWriteResult::Failed(error)
                    if self.has(Fault::RunsAgainAfterALostAnswer)
                        && error.kind() == dtx_core::error::ErrorKind::Timeout
                        && !command.phase.is_backward() =>
                {
                    let mut again = command.clone();
                    self.run_anew(&mut again);
                    return Box::pin(self.carry_out(&again)).await;
                }
                RowWriteResult::Failed(error) => return Err(error.into()),
                RowWriteResult::Conflict | RowWriteResult::TooLate => {}
            }
        }
        Err(NotDone::unknown("others write all the time"))
    }
}
