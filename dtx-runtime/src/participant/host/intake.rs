//! The loop that owns the subscription: it receives, forms batches, and acknowledges.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dtx_core::{
    crash_point,
    error::{ErrorKind, TransportError},
    transport::{AckToken, Delivery, Nack, Subscription},
};
use foldhash::HashSet;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior},
};

use super::{
    handlers::{self, Reports},
    job::{Job, Origin, Settled},
    queue::ScopeQueue,
    resources,
    settle::Completion,
    shared::{Service, Shared, count},
    unit,
};

/// How long an empty `receive` waits.
const RECEIVE_WAIT: Duration = Duration::from_secs(5);

/// The pause after a failed `receive`.
const FAULT_PAUSE: Duration = Duration::from_millis(100);

/// How often in one `ack_wait` of the transport what is held is extended: often enough that one
/// extension may come late.
const EXTENSIONS_PER_WAIT: u32 = 3;

/// The shortest time between two extensions: a timer of tokio has milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// How many reports of batches are taken in at a time.
const COMPLETIONS_MAX: usize = 256;

/// What was received and is in no batch.
enum Queue {
    Scopes(ScopeQueue),
    Line(VecDeque<Job>),
}

/// The loop that owns the subscription.
pub(crate) struct Intake {
    shared: Arc<Shared>,
    subscription: Box<dyn Subscription>,
    queue: Queue,
    /// Commands that were answered on sight.
    answered: Vec<(Job, Settled)>,
    reports: Reports,
    completions: mpsc::Receiver<Completion>,
    own: mpsc::Receiver<Job>,
    /// What was received and is neither acknowledged nor given back.
    held: HashSet<AckToken>,
    /// When what is held is extended; `None` where it needs not be.
    extensions: Option<Interval>,
    own_held: usize,
    slots: usize,
    batches: usize,
    returned: u64,
    is_stopping: bool,
}

impl Intake {
    pub(crate) fn new(
        shared: Arc<Shared>,
        subscription: Box<dyn Subscription>,
        reports: Reports,
        completions: mpsc::Receiver<Completion>,
        own: mpsc::Receiver<Job>,
    ) -> Self {
        let queue = match shared.service {
            Service::Resource(_) => Queue::Scopes(ScopeQueue::default()),
            Service::Handlers { .. } | Service::Unit(_) => Queue::Line(VecDeque::new()),
        };
        let extensions = shared.transport.info().limits.ack_wait.map(|wait| {
            let mut every = tokio::time::interval((wait / EXTENSIONS_PER_WAIT).max(SHORTEST));
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        });
        Self {
            shared,
            subscription,
            queue,
            answered: Vec::new(),
            reports,
            completions,
            own,
            held: HashSet::default(),
            extensions,
            own_held: 0,
            slots: 0,
            batches: 0,
            returned: 0,
            is_stopping: false,
        }
    }

    /// Runs until the host is stopped and everything that it began has ended. Says how many
    /// commands were given back unbegun.
    pub(crate) async fn run(mut self) -> u64 {
        let stop = self.shared.stop.clone();
        let mut done = Vec::new();
        loop {
            self.dispatch();
            self.shared.held.store(self.held.len(), Ordering::Relaxed);
            if self.is_stopping && self.held.is_empty() && self.own_held == 0 && self.batches == 0 {
                break;
            }
            let room = self.shared.settings.prefetch.saturating_sub(self.held.len());
            let (is_open, holds) = (!self.is_stopping, !self.held.is_empty());
            tokio::select! {
                biased;
                () = stop.cancelled(), if is_open => self.give_back().await,
                () = due(&mut self.extensions), if holds => self.extend().await,
                _ = self.completions.recv_many(&mut done, COMPLETIONS_MAX) => {
                    self.complete(&mut done).await;
                }
                Some(job) = self.own.recv(), if is_open => {
                    self.own_held += 1;
                    self.enqueue(job);
                }
                received = self.subscription.receive(room, RECEIVE_WAIT), if is_open && room > 0 => {
                    self.receive(received).await;
                }
            }
        }
        if let Err(error) = self.subscription.close().await {
            tracing::debug!(%error, "the subscription was not closed");
        }
        self.returned
    }

    async fn receive(&mut self, received: Result<Vec<Delivery>, TransportError>) {
        let deliveries = match received {
            Ok(deliveries) => deliveries,
            Err(error) => {
                let participant = &self.shared.participant;
                tracing::warn!(%participant, %error, "commands cannot be received");
                if error.kind() == ErrorKind::Closed {
                    self.shared.stop.cancel();
                } else {
                    tokio::time::sleep(FAULT_PAUSE).await;
                }
                return;
            }
        };
        count(&self.shared.counters.commands, deliveries.len());
        crash_point!("host.received", !deliveries.is_empty());
        let now = Instant::now();
        let mut foreign = Vec::new();
        let mut jobs = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match Job::of(delivery, now) {
                Ok(job) => jobs.push(job),
                Err(token) => foreign.push(token),
            }
        }
        self.held.extend(jobs.iter().filter_map(Job::token));
        self.shared.watermarks.meet(jobs.iter().map(|job| &*job.command));
        jobs.into_iter().for_each(|job| self.enqueue(job));
        if !foreign.is_empty() {
            tracing::warn!(participant = %self.shared.participant, "no command; dropped");
            self.acknowledge(&foreign, &[]).await;
        }
    }

    fn enqueue(&mut self, job: Job) {
        match &mut self.queue {
            Queue::Line(jobs) => jobs.push_back(job),
            Queue::Scopes(queue) => match self.shared.scope(&job.command) {
                Ok(scope) => queue.push(scope, job),
                Err(answer) => self.answered.push((job, Settled::Answer(answer))),
            },
        }
    }

    /// Begins batches as long as there is something to begin and room for it.
    fn dispatch(&mut self) {
        if !self.answered.is_empty() {
            self.dispatch_answered();
        }
        while self.batches < self.shared.settings.batches_in_flight_max {
            let batch_max = self.shared.settings.batch_commands_max;
            let shared = Arc::clone(&self.shared);
            let reports = self.reports.clone();
            match &mut self.queue {
                Queue::Scopes(queue) => {
                    let batch = queue.take(batch_max);
                    if batch.is_empty() {
                        return;
                    }
                    self.reports.tasks.spawn(async move {
                        if let Service::Resource(served) = &shared.service {
                            let completions = reports.completions;
                            let shared = Arc::clone(&shared);
                            resources::handle_batch(shared, served, batch, completions).await;
                        }
                    });
                }
                Queue::Line(jobs) => {
                    let room = self.shared.settings.concurrency.saturating_sub(self.slots);
                    let batch: Vec<_> = jobs.drain(..jobs.len().min(batch_max).min(room)).collect();
                    if batch.is_empty() {
                        return;
                    }
                    self.slots += batch.len();
                    self.reports.tasks.spawn(async move {
                        let all = Arc::clone(&shared);
                        match &shared.service {
                            Service::Handlers { offers, inbox } => {
                                handlers::handle_batch(all, offers, inbox, batch, reports).await;
                            }
                            Service::Unit(service) => {
                                unit::handle_batch(all, service, batch, reports).await;
                            }
                            Service::Resource(_) => {}
                        }
                    });
                }
            }
            self.batches += 1;
        }
    }

    fn dispatch_answered(&mut self) {
        let answered = std::mem::take(&mut self.answered);
        let (shared, reports) = (Arc::clone(&self.shared), self.reports.clone());
        self.batches += 1;
        self.reports.tasks.spawn(async move {
            let settled = shared.settle(answered).await;
            let _ = reports.completions.send(Completion { is_batch_end: true, ..settled }).await;
        });
    }

    async fn complete(&mut self, done: &mut Vec<Completion>) {
        let mut acks = Vec::new();
        let mut nacks = Vec::new();
        for completion in done.drain(..) {
            for token in completion.acks.iter().chain(completion.nacks.iter().map(|n| &n.token)) {
                self.held.remove(token);
            }
            self.own_held -= completion.own;
            self.slots -= completion.slots;
            self.batches -= usize::from(completion.is_batch_end);
            acks.extend(completion.acks);
            nacks.extend(completion.nacks);
            if let Queue::Scopes(queue) = &mut self.queue {
                queue.release(completion.scopes);
            }
        }
        self.acknowledge(&acks, &nacks).await;
    }

    /// What is still in the host's hands must not come again, to this host or to another of the
    /// group: it would be answered `Unknown`, or given up, beside the handler that is running.
    async fn extend(&mut self) {
        let held: Vec<AckToken> = self.held.iter().copied().collect();
        if let Err(error) = self.subscription.extend(&held).await {
            let participant = &self.shared.participant;
            tracing::warn!(%participant, %error, "commands were not extended; they come again");
        }
    }

    /// What fails here is delivered again, and answered from the inbox then.
    async fn acknowledge(&mut self, acks: &[AckToken], nacks: &[Nack]) {
        let participant = &self.shared.participant;
        crash_point!("host.ack.before", !acks.is_empty());
        if !acks.is_empty()
            && let Err(error) = self.subscription.ack(acks).await
        {
            tracing::warn!(%participant, %error, "commands were not acknowledged");
        }
        crash_point!("host.ack.after", !acks.is_empty());
        crash_point!("host.nack.before", !nacks.is_empty());
        if !nacks.is_empty()
            && let Err(error) = self.subscription.nack(nacks).await
        {
            tracing::warn!(%participant, %error, "commands were not given back");
        }
    }

    /// Gives back what is not begun, at once, to the other hosts of the group.
    async fn give_back(&mut self) {
        self.is_stopping = true;
        let mut jobs = match &mut self.queue {
            Queue::Scopes(queue) => queue.drain(),
            Queue::Line(jobs) => jobs.drain(..).collect(),
        };
        jobs.extend(self.answered.drain(..).map(|(job, _)| job));
        let mut nacks = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job.origin {
                Origin::Delivery { token, .. } => nacks.push(Nack { token, delay: Duration::ZERO }),
                Origin::Inquiry => self.own_held -= 1,
            }
        }
        for nack in &nacks {
            self.held.remove(&nack.token);
        }
        self.returned = nacks.len() as u64;
        self.acknowledge(&[], &nacks).await;
    }
}

/// Waits for the next time; for ever where there is none.
async fn due(times: &mut Option<Interval>) {
    match times {
        Some(times) => drop(times.tick().await),
        None => std::future::pending().await,
    }
}
