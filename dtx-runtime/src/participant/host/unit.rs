//! Commands of handlers that work in the transaction that holds their inbox: claim, effect and
//! answer are one commit.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer},
    error::StoreError,
    ids::{AcceptSequence, HolderId, OperationIndex, TxId},
    pattern::{Pattern, Phase},
    resource::barrier::{self, Claim, ClaimContext, InboxRow},
    store::{
        Begun, Branch, BranchStore, Opened, ParticipantStore, RowWriteResult, Unit, UnitStore,
    },
    time::Timestamp,
    transport::Command,
};
use tokio::time::Instant;

use super::{
    handlers::{self, Ran, Reports},
    inbox::conflicts,
    incarnation::is_ended,
    job::{Job, Origin, Settled, expired},
    settle::Completion,
    shared::{Shared, count, known},
};
use crate::participant::{
    context::Call,
    offer::{Capability, Handler, Offers},
    span,
};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The handlers of a participant and their store, whatever the unit of work.
pub(crate) trait UnitService: std::fmt::Debug + Send + Sync {
    fn capabilities(&self) -> Vec<Capability>;
    fn store(&self) -> &Arc<dyn ParticipantStore>;
    /// Whether the store can do what is offered.
    fn check(&self) -> Result<(), StoreError>;
    fn handle<'a>(&'a self, shared: &'a Shared, job: &'a Job) -> Boxed<'a, Settled>;
    /// The prepared branches of all operations, or those of one.
    fn branches<'a>(
        &'a self,
        shared: &'a Shared,
        of: Option<(TxId, OperationIndex)>,
    ) -> Boxed<'a, Result<Vec<Branch>, StoreError>>;
}

/// The handlers of a participant and their store.
#[derive(Debug)]
pub(crate) struct UnitHost<U: Unit> {
    offers: Offers<U>,
    pub(super) store: Arc<dyn UnitStore<Unit = U>>,
    rows: Arc<dyn ParticipantStore>,
    pub(super) branches: Option<Arc<dyn BranchStore<Unit = U>>>,
}

/// An inbox row that was claimed, as it was before.
pub(super) struct Claimed<U: Unit> {
    pub(super) open: U::Open,
    pub(super) row: Option<InboxRow>,
    forgotten_below: AcceptSequence,
    now: Timestamp,
}

/// What came of a wish to claim.
pub(super) enum Claiming<U: Unit> {
    Claimed(Claimed<U>),
    /// Somebody else has the row.
    Busy,
    /// This is what became of the command.
    Settled(Settled),
}

/// Gives every command a task of its own: each waits for its own statements.
pub(crate) async fn handle_batch(
    shared: Arc<Shared>,
    service: &Arc<dyn UnitService>,
    jobs: Vec<Job>,
    reports: Reports,
) {
    for job in jobs {
        let (shared, service) = (Arc::clone(&shared), Arc::clone(service));
        let ran = reports.ran.clone();
        reports.tasks.spawn(async move {
            let settled = service.handle(&shared, &job).await;
            // The finisher lives as long as the host, which waits for this.
            let _ = ran.send(Ran::settled(job, settled)).await;
        });
    }
    let end = Completion { is_batch_end: true, ..Completion::default() };
    handlers::send(&reports.completions, end).await;
}

impl<U: Unit> UnitService for UnitHost<U> {
    fn capabilities(&self) -> Vec<Capability> {
        self.offers.capabilities()
    }

    fn store(&self) -> &Arc<dyn ParticipantStore> {
        &self.rows
    }

    fn check(&self) -> Result<(), StoreError> {
        self.branches.as_ref().map_or(Ok(()), |branches| branches.check_branches())
    }

    fn handle<'a>(&'a self, shared: &'a Shared, job: &'a Job) -> Boxed<'a, Settled> {
        Box::pin(async move {
            if job.is_expired(Instant::now()) {
                return Settled::Answer(Err(expired()));
            }
            let branches = self.branches.as_deref();
            let command = &*job.command;
            if let (Some(branches), Origin::Inquiry) = (branches, job.origin)
                && !self.is_own_abort(command)
            {
                return self.abort(shared, job, branches).await;
            }
            let (pattern, version) = (command.pattern, command.action_version);
            let found = self.offers.find(&command.action, version, pattern, command.phase);
            let handler = match found {
                Ok(handler) => Some(handler),
                Err(_) if command.phase == Phase::Status => None,
                Err(missing) => return Settled::Answer(Err(missing.answer())),
            };
            match (branches, handler) {
                (Some(branches), Some(handler)) if handler.is_branch() => {
                    self.branch(shared, job, branches, handler).await
                }
                (_, handler) => self.run(shared, job, handler).await,
            }
        })
    }

    fn branches<'a>(
        &'a self,
        shared: &'a Shared,
        of: Option<(TxId, OperationIndex)>,
    ) -> Boxed<'a, Result<Vec<Branch>, StoreError>> {
        Box::pin(async move {
            match &self.branches {
                Some(branches) => branches.branches(&shared.participant, of).await,
                None => Ok(Vec::new()),
            }
        })
    }
}

pub(super) fn unknown(reason: &str) -> Settled {
    Settled::Answer(Err(NotDone::unknown(reason)))
}

pub(super) fn busy() -> Settled {
    unknown("a phase of the operation is still running")
}

impl<U: Unit> UnitHost<U> {
    pub(crate) fn new(
        offers: Offers<U>,
        store: Arc<dyn UnitStore<Unit = U>>,
        branches: Option<Arc<dyn BranchStore<Unit = U>>>,
    ) -> Self {
        let rows: Arc<dyn ParticipantStore> = store.clone();
        Self { offers, store, rows, branches }
    }

    /// Whether the abort of an inquiry is one for a handler: the action of a branch is not known
    /// to whoever finds it.
    fn is_own_abort(&self, command: &Command) -> bool {
        let two_phase_commit = Pattern::TwoPhaseCommit;
        let found = self.offers.find(
            &command.action,
            command.action_version,
            two_phase_commit,
            command.phase,
        );
        command.pattern != two_phase_commit || found.is_ok_and(|handler| !handler.is_branch())
    }

    /// Begins a transaction and claims the row of the command's operation.
    pub(super) async fn claim(&self, shared: &Shared, job: &Job) -> Claiming<U> {
        let command = &*job.command;
        let key = barrier::inbox_key(command.tx, command.operation);
        let scope = shared.scopes.of(command.shard);
        let begun = self.store.begin(&scope, &key, &barrier::mark_key(command.shard)).await;
        let Opened { open, row, mark, now } = match begun {
            Ok(Begun::Open(opened)) => opened,
            Ok(Begun::Busy) => return Claiming::Busy,
            Err(error) => return Claiming::Settled(Settled::Fault(error)),
        };
        let decoded = row.as_ref().map(|row| InboxRow::decode(&row.value)).transpose();
        let mark = barrier::forgotten_below(mark.as_ref().map(|row| row.value.as_ref()));
        let (Ok(row), Ok(forgotten_below)) = (decoded, mark) else {
            self.store.roll_back(open).await;
            return Claiming::Settled(unknown("the stored row cannot be read by this release"));
        };
        // It may have waited long for a connection.
        if job.is_expired(Instant::now()) {
            self.store.roll_back(open).await;
            return Claiming::Settled(Settled::Answer(Err(expired())));
        }
        Claiming::Claimed(Claimed { open, row, forgotten_below, now })
    }

    /// What the barrier says to a command.
    pub(super) fn decide(&self, shared: &Shared, claimed: &Claimed<U>, command: &Command) -> Claim {
        // Claims of this host are never stored. One that is stored is of a host that kept its
        // effects elsewhere.
        let ended = |host: HolderId| is_ended(self.store.info(), host);
        let context = ClaimContext {
            host: shared.host(),
            ended: &ended,
            forgotten_below: claimed.forgotten_below,
            now: claimed.now,
        };
        barrier::claim(claimed.row.as_ref(), &context, command)
    }

    /// Claim, effect and answer in one transaction.
    pub(super) async fn run(
        &self,
        shared: &Shared,
        job: &Job,
        handler: Option<Arc<dyn Handler<U>>>,
    ) -> Settled {
        let claimed = match self.claim(shared, job).await {
            Claiming::Claimed(claimed) => claimed,
            Claiming::Busy => return busy(),
            Claiming::Settled(settled) => return settled,
        };
        match (self.decide(shared, &claimed, &job.command), handler) {
            (Claim::Answer { row, answer }, _) => self.tell(claimed.open, row, answer).await,
            (Claim::Run { row, forward }, Some(handler)) => {
                let ran = self.call(shared, job, handler, claimed.open, forward).await;
                self.finish(job, row, ran).await
            }
            (Claim::Ask { forward }, Some(handler)) => {
                match self.call(shared, job, handler, claimed.open, forward).await {
                    (answer, Some(open)) => self.tell(open, None, answer).await,
                    (answer, None) => Settled::Answer(answer),
                }
            }
            (Claim::Ask { forward }, None) => self.tell(claimed.open, None, known(forward)).await,
            (Claim::Run { .. }, None) => {
                unreachable!("only `status` may have no handler, and it is never claimed")
            }
        }
    }

    /// Tells what the row holds, or what it must hold before that is told.
    pub(super) async fn tell(
        &self,
        open: U::Open,
        row: Option<InboxRow>,
        answer: PhaseAnswer,
    ) -> Settled {
        match row {
            Some(row) => self.commit(open, row.encode(), answer).await,
            None => {
                // An earlier answer may be read before it is durable.
                match self.store.roll_back_durable(open).await {
                    Ok(()) => Settled::Answer(answer),
                    Err(error) => Settled::Fault(error),
                }
            }
        }
    }

    /// Runs the handler in the transaction; gives that back unless it was dropped with the
    /// handler.
    pub(super) async fn call(
        &self,
        shared: &Shared,
        job: &Job,
        handler: Arc<dyn Handler<U>>,
        open: U::Open,
        forward: Option<Done>,
    ) -> (PhaseAnswer, Option<U::Open>) {
        count(&shared.counters.runs, 1);
        // Only a backward phase gets it: a forward one has nothing to reverse.
        let forward = forward.filter(|_| job.command.phase.is_backward()).map(|done| done.output);
        let (command, headers) = (Arc::clone(&job.command), job.headers.clone());
        let call = Call::new(command, headers, forward, job.expires, shared.stop.clone());
        let mut handling = span::call(handler, call, open);
        match handlers::guarded(shared, job, &mut handling).await {
            Ok((answer, open)) => (answer, Some(open)),
            Err(not_done) => (Err(not_done), None),
        }
    }

    /// Makes effect and answer durable together. A no is stored with its effect undone; of
    /// anything else that was not done, nothing stays.
    pub(super) async fn finish(
        &self,
        job: &Job,
        row: InboxRow,
        (answer, open): (PhaseAnswer, Option<U::Open>),
    ) -> Settled {
        let command = &*job.command;
        let Some(mut open) = open else { return Settled::Answer(answer) };
        let answer = barrier::stamp(&row, command, answer);
        match &answer {
            Ok(_) => {}
            Err(NotDone::Rejected(_)) if command.phase != Phase::Deliver => {
                if let Err(error) = self.store.undo(&mut open).await {
                    return Settled::Fault(error);
                }
            }
            // What it has seen may say more than that nothing is known.
            Err(_) => return self.tell(open, None, answer).await,
        }
        let row = barrier::finish(row, command, &answer);
        self.commit(open, row.encode(), answer).await
    }

    /// An answer leaves only once the row holds it. A commit whose answer was lost is asked for
    /// again, and the row then tells.
    pub(super) async fn commit(&self, open: U::Open, row: Bytes, answer: PhaseAnswer) -> Settled {
        written(self.store.commit(open, row).await, answer)
    }
}

/// What became of a command whose row was to be written.
pub(super) fn written(written: RowWriteResult, answer: PhaseAnswer) -> Settled {
    match written {
        RowWriteResult::Written => Settled::Answer(answer),
        RowWriteResult::Failed(error) => Settled::Fault(error),
        RowWriteResult::Conflict | RowWriteResult::TooLate => Settled::Fault(conflicts()),
    }
}
