//! Commands of user handlers: the claim is stored, the handler runs, its answer is stored.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as PollContext, Poll, Waker},
    time::Duration,
};

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer},
    crash_point,
    pattern::Phase,
    resource::barrier,
    store::Detached,
    transport::Command,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    inbox::{Claimed, Held},
    job::{Job, Settled, expired},
    settle::Completion,
    shared::{Inbox, Shared, count, known},
};
use crate::participant::{
    context::Call,
    offer::{Handler, HandlerFuture, Offers},
    span,
};

/// A handler that was begun.
struct Run {
    handling: HandlerFuture<Detached>,
    job: Job,
    held: Option<Held>,
}

/// A command whose handler has ended.
pub(crate) struct Ran {
    job: Job,
    ended: Ended,
}

enum Ended {
    /// The answer is to be stored under this claim.
    Claimed(Held, PhaseAnswer),
    Settled(Settled),
}

impl Ran {
    /// A command that nothing is to be stored of.
    pub(crate) fn settled(job: Job, settled: Settled) -> Self {
        Self { job, ended: Ended::Settled(settled) }
    }
}

/// Where the parts of a batch report to.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    pub(crate) tasks: TaskTracker,
    pub(crate) ran: mpsc::Sender<Ran>,
    pub(crate) completions: mpsc::Sender<Completion>,
}

/// Handles a batch: one write for all claims, one for the answers of the handlers that are done
/// at once, and one publish for each. Handlers that wait get tasks of their own.
pub(crate) async fn handle_batch(
    shared: Arc<Shared>,
    offers: &Offers,
    inbox: &Inbox,
    jobs: Vec<Job>,
    reports: Reports,
) {
    let mut settled = Vec::new();
    let mut asked = Vec::with_capacity(jobs.len());
    let now = Instant::now();
    for job in jobs {
        match find(offers, &job.command) {
            Ok(_) if job.is_expired(now) => settled.push((job, Settled::Answer(Err(expired())))),
            Ok(handler) => asked.push((job, handler)),
            Err(missing) => settled.push((job, Settled::Answer(Err(missing)))),
        }
    }
    let claimed = inbox.claim(&asked.iter().map(|(job, _)| job).collect::<Vec<_>>()).await;
    let mut runs = Vec::with_capacity(asked.len());
    for ((job, handler), claimed) in asked.into_iter().zip(claimed) {
        match (claimed, handler) {
            (Claimed::Answer(answer), _) => settled.push((job, Settled::Answer(answer))),
            (Claimed::Fault(error), _) => settled.push((job, Settled::Fault(error))),
            (Claimed::Ask { forward }, None) => {
                settled.push((job, Settled::Answer(known(forward))));
            }
            (Claimed::Ask { forward }, Some(handler)) => {
                runs.push(run(&shared, handler, job, None, forward));
            }
            (Claimed::Run { held, forward }, Some(handler)) => {
                runs.push(run(&shared, handler, job, Some(held), forward));
            }
            (Claimed::Run { .. }, None) => {
                unreachable!("only `status` may have no handler, and it is never claimed")
            }
        }
    }
    if !settled.is_empty() {
        report(&shared, settled, &reports.completions).await;
    }
    count(&shared.counters.runs, runs.len());
    let mut runs = runs.into_iter();
    while runs.len() > 0 {
        let ran = start(&shared, &mut runs, &reports);
        if !ran.is_empty() {
            finish(&shared, Some(inbox), ran, &reports.completions).await;
        }
        tokio::task::yield_now().await;
    }
    let end = Completion { is_batch_end: true, ..Completion::default() };
    send(&reports.completions, end).await;
}

/// The handler of a command; `None` for a `status` that the inbox answers.
fn find(offers: &Offers, command: &Command) -> Result<Option<Arc<dyn Handler<Detached>>>, NotDone> {
    let found =
        offers.find(&command.action, command.action_version, command.pattern, command.phase);
    match found {
        Ok(handler) => Ok(Some(handler)),
        Err(_) if command.phase == Phase::Status => Ok(None),
        Err(missing) => Err(missing.answer()),
    }
}

fn run(
    shared: &Shared,
    handler: Arc<dyn Handler<Detached>>,
    job: Job,
    held: Option<Held>,
    forward: Option<Done>,
) -> Run {
    // Only a backward phase gets it: a forward one has nothing to reverse.
    let forward = forward.filter(|_| job.command.phase.is_backward()).map(|done| done.output);
    let (command, headers) = (Arc::clone(&job.command), job.headers.clone());
    let call = Call::new(command, headers, forward, job.expires, shared.stop.clone());
    Run { handling: span::call(handler, call, ()), job, held }
}

impl Run {
    fn ended(self, answer: PhaseAnswer) -> Ran {
        crash_point!("host.handled");
        let Self { job, held, .. } = self;
        match held {
            Some(held) => {
                let answer = barrier::stamp(&held.row, &job.command, answer);
                Ran { job, ended: Ended::Claimed(held, answer) }
            }
            None => {
                let answer = unremembered(&job.command, answer);
                Ran::settled(job, Settled::Answer(answer))
            }
        }
    }

    fn poll(&mut self, cx: &mut PollContext<'_>) -> Poll<PhaseAnswer> {
        poll(&mut self.handling, cx).map(|ended| ended.and_then(|(answer, ())| answer))
    }

    /// Goes on until the handler has ended, its time is over or the host is stopped.
    async fn finish(mut self, shared: &Shared) -> Ran {
        let ended = guarded(shared, &self.job, &mut self.handling).await;
        self.ended(ended.and_then(|(answer, ())| answer))
    }
}

/// A handler that panics has an unknown effect, like one that fails.
fn poll<T>(
    handling: &mut Pin<Box<dyn Future<Output = T> + Send>>,
    cx: &mut PollContext<'_>,
) -> Poll<Result<T, NotDone>> {
    let poll = catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx)));
    match poll {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(NotDone::unknown("the handler panicked"))),
    }
}

/// Waits until a handler has ended, its time is over or the host is stopped.
pub(crate) async fn guarded<T>(
    shared: &Shared,
    job: &Job,
    handling: &mut Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<T, NotDone> {
    let limit = Instant::now() + Duration::from_millis(shared.settings.handler_ms_max);
    let limit = job.expires.map_or(limit, |expires| expires.min(limit));
    tokio::select! {
        biased;
        ended = poll_fn(|cx| poll(handling, cx)) => ended,
        () = shared.kill.cancelled() => Err(NotDone::unknown("the host was stopped")),
        () = shared.lease_ended() => Err(NotDone::unknown("the lease of the host has ended")),
        () = tokio::time::sleep_until(limit) => Err(NotDone::unknown("the handler took too long")),
    }
}

/// Without a row nobody knows whether there was an effect, and the handler was asked to reverse it.
fn unremembered(command: &Command, answer: PhaseAnswer) -> PhaseAnswer {
    answer.map(|done| Done { reversed: command.phase == Phase::Compensate, ..done })
}

/// Polls handlers once where they are, which is all that most need, and gives those that wait
/// tasks of their own. After `inline_us_max` the answers so far are told before it goes on.
fn start(shared: &Arc<Shared>, runs: &mut std::vec::IntoIter<Run>, reports: &Reports) -> Vec<Ran> {
    let until = Instant::now() + Duration::from_micros(shared.settings.inline_us_max);
    let mut ran = Vec::with_capacity(runs.len());
    for mut run in runs {
        match run.poll(&mut PollContext::from_waker(Waker::noop())) {
            Poll::Ready(answer) => ran.push(run.ended(answer)),
            Poll::Pending => {
                let (shared, sender) = (Arc::clone(shared), reports.ran.clone());
                reports.tasks.spawn(async move {
                    let ran = run.finish(&shared).await;
                    // The finisher lives as long as the host, which waits for this.
                    let _ = sender.send(ran).await;
                });
            }
        }
        if Instant::now() >= until {
            break;
        }
    }
    ran
}

/// Stores answers, tells them, and reports. Where claim, effect and answer are one transaction
/// there is nothing left to store.
pub(crate) async fn finish(
    shared: &Shared,
    inbox: Option<&Inbox>,
    ran: Vec<Ran>,
    completions: &mpsc::Sender<Completion>,
) {
    let mut settled = Vec::with_capacity(ran.len());
    let mut jobs = Vec::with_capacity(ran.len());
    let mut held = Vec::with_capacity(ran.len());
    for Ran { job, ended } in ran {
        match ended {
            Ended::Claimed(claim, answer) => {
                jobs.push(job);
                held.push((claim, answer));
            }
            Ended::Settled(one) => settled.push((job, one)),
        }
    }
    if let Some(inbox) = inbox {
        let items = jobs.iter().zip(held);
        let items = items.map(|(job, (claim, answer))| (&*job.command, claim, answer));
        let finished = inbox.finish(items.collect()).await;
        let finished = finished.into_iter().map(|f| f.map_or_else(Settled::Fault, Settled::Answer));
        settled.extend(jobs.into_iter().zip(finished));
    }
    report(shared, settled, completions).await;
}

async fn report(
    shared: &Shared,
    settled: Vec<(Job, Settled)>,
    completions: &mpsc::Sender<Completion>,
) {
    let slots = settled.len();
    let completion = Completion { slots, ..shared.settle(settled).await };
    send(completions, completion).await;
}

pub(crate) async fn send(completions: &mpsc::Sender<Completion>, completion: Completion) {
    // The intake is gone only after it gave up waiting for this.
    let _ = completions.send(completion).await;
}
