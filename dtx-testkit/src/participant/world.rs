//! One participant, its rows, and the suite in the place of its coordinator.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    answer::{NotDone, PhaseAnswer},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardCount},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    resource::barrier::forward_phases,
    store::{MemoryStore, ParticipantStore},
    transport::{Command, Reply},
};
use tokio::sync::mpsc;

use super::{Break, BrittleRows, Guard, ParticipantHarness, Sample, Wire};
use crate::store::tx;

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// How often a command is sent again while its answer is unknown, and the pause between.
const ATTEMPTS_MAX: u32 = 2_000;
const PAUSE: Duration = Duration::from_millis(2);

/// One participant under test, in one pattern.
#[derive(Debug)]
pub struct World<H> {
    /// The pattern of all commands.
    pub pattern: Pattern,
    /// What is asked for.
    pub sample: Sample,
    harness: H,
    store: Arc<dyn ParticipantStore>,
    process: Process,
    before: i64,
    crashes: u64,
}

struct Process {
    rows: Arc<BrittleRows>,
    wire: Arc<Wire>,
    replies: mpsc::UnboundedReceiver<Reply>,
    _host: Guard,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<H: ParticipantHarness> World<H> {
    /// A participant that has done nothing yet.
    pub async fn open(pattern: Pattern) -> Self {
        Self::open_broken(pattern, None).await
    }

    /// One of whose writes one breaks.
    pub async fn open_broken(pattern: Pattern, broken: Option<(Break, u64)>) -> Self {
        let store: Arc<dyn ParticipantStore> = Arc::new(MemoryStore::new());
        let harness = H::open(store.clone()).await;
        let process = start(&harness, &store, broken).await;
        let before = harness.observe(store.clone()).await;
        Self { pattern, sample: H::sample(), harness, store, process, before, crashes: 0 }
    }

    /// By how much what can be observed has changed since the beginning.
    pub async fn effect(&self) -> i64 {
        self.harness.observe(self.store.clone()).await - self.before
    }

    /// Whether the write that was to break was made.
    pub fn was_reached(&self) -> bool {
        self.process.rows.was_reached()
    }

    /// How often the process was started again.
    pub fn crashes(&self) -> u64 {
        self.crashes
    }

    /// The process is gone, and another one is started on the same rows.
    pub async fn crash(&mut self) {
        self.process.rows.cut();
        self.process.wire.cut();
        self.crashes += 1;
        self.process = start(&self.harness, &self.store, None).await;
    }

    /// The forward phases, in their order.
    pub fn forward(&self) -> Vec<Phase> {
        match self.pattern {
            Pattern::FireAndForget => vec![Phase::Deliver],
            other => forward_phases(other).to_vec(),
        }
    }

    /// How a transaction goes back after `done` of its forward phases; `None` where it does not.
    pub fn back(&self, done: usize) -> Option<Phase> {
        let is_whole = done == self.forward().len();
        match self.pattern {
            Pattern::FireAndForget => None,
            Pattern::Saga | Pattern::CriticalEventual => Some(Phase::Compensate),
            Pattern::TwoPhaseSaga if is_whole => Some(Phase::Compensate),
            Pattern::TwoPhaseSaga => Some(Phase::Cancel),
            Pattern::ThreePhaseSaga if is_whole => None,
            Pattern::ThreePhaseSaga => Some(Phase::Release),
            Pattern::TwoPhaseCommit if is_whole => None,
            Pattern::TwoPhaseCommit => Some(Phase::Abort),
        }
    }

    /// A command of transaction `n`.
    pub fn command(&self, n: u64, phase: Phase) -> Command {
        let tx = tx(n);
        Command {
            tx,
            operation: OperationIndex(0),
            phase,
            pattern: self.pattern,
            participant: ParticipantName::new(self.sample.participant).expect("a name"),
            action: ActionName::new(self.sample.action).expect("a name"),
            action_version: self.sample.action_version,
            attempt: 1,
            shard: tx.shard(ShardCount::DEFAULT),
            epoch: Epoch(5),
            sequence: AcceptSequence { epoch: Epoch(5), number: n + 1 },
            watermark: AcceptSequence::default(),
            deadline: None,
            ttl: None,
            one_phase: false,
            reply: true,
            payload: self.sample.input.clone(),
            inputs: Vec::new(),
        }
    }

    /// Sends a command and does not wait.
    pub fn send(&self, command: &Command) {
        self.process.wire.send(command.clone());
    }

    /// The next reply. `None` when the process is gone.
    pub async fn reply(&mut self) -> Option<Reply> {
        let Process { rows, replies, .. } = &mut self.process;
        tokio::select! {
            biased;
            reply = replies.recv() => reply,
            () = rows.until_gone() => None,
            () = tokio::time::sleep(ANSWER_WAIT) => panic!("no answer within {ANSWER_WAIT:?}"),
        }
    }

    /// The answer to a command.
    pub async fn ask(&mut self, command: &Command) -> PhaseAnswer {
        self.send(command);
        self.answer(command).await.expect("the process is there")
    }

    async fn answer(&mut self, command: &Command) -> Option<PhaseAnswer> {
        loop {
            let reply = self.reply().await?;
            let is_mine = (reply.tx, reply.operation, reply.phase, reply.attempt)
                == (command.tx, command.operation, command.phase, command.attempt);
            if is_mine {
                return Some(reply.answer);
            }
        }
    }

    /// Sends a command again until it is known what came of it, as a coordinator does. A process
    /// that is gone is started again.
    pub async fn settle(&mut self, command: &Command) -> PhaseAnswer {
        for attempt in 1..=ATTEMPTS_MAX {
            let command = Command { attempt: command.attempt + attempt, ..command.clone() };
            self.send(&command);
            match self.answer(&command).await {
                None => self.crash().await,
                Some(Err(NotDone::Unknown(_))) => tokio::time::sleep(PAUSE).await,
                Some(answer) => return answer,
            }
        }
        panic!("nobody knows what came of it, after {ATTEMPTS_MAX} attempts: {command:?}")
    }

    /// Settles a phase of transaction `n`, which must be done.
    pub async fn done(&mut self, n: u64, phase: Phase) {
        let command = self.command(n, phase);
        let answer = self.settle(&command).await;
        assert!(answer.is_ok(), "{phase} in {}: {answer:?}", self.pattern);
    }

    /// Settles the first `count` forward phases of transaction `n`.
    pub async fn go(&mut self, n: u64, count: usize) {
        for phase in self.forward().into_iter().take(count) {
            self.done(n, phase).await;
        }
    }

    /// Settles all forward phases of transaction `n`.
    pub async fn go_all(&mut self, n: u64) {
        self.go(n, usize::MAX).await;
    }
}

async fn start<H: ParticipantHarness>(
    harness: &H,
    store: &Arc<dyn ParticipantStore>,
    broken: Option<(Break, u64)>,
) -> Process {
    let (sender, replies) = mpsc::unbounded_channel();
    let wire = Arc::new(Wire::new(sender));
    let rows = Arc::new(BrittleRows::new(store.clone(), broken));
    let host = harness.start(wire.clone(), rows.clone()).await;
    Process { rows, wire, replies, _host: host }
}
