//! Asks what was decided about claims that no clock may release.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    crash_point,
    error::StoreError,
    pattern::{Pattern, Phase},
    resource::barrier::{ASK_AFTER_DEFAULT, INBOX_PREFIX, InboxRow, inbox_key, parse_inbox_key},
    store::{ParticipantStore, Scope, ScopeRead},
    transport::{Body, Command, Delivery, Envelope, Inquiry, InquiryAnswer, Subscription},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    branch,
    job::{Job, OperationKey},
    shared::{Service, Shared, count},
    watch::Watched,
};

/// How many answers are received at a time.
pub(crate) const ANSWERS_MAX: usize = 64;

/// How many scopes or rows one page of the scan has.
const PAGE: usize = 256;

/// Asks until the host stops. What an answer takes back goes to `own` as a command.
pub(crate) async fn inquire(
    shared: Arc<Shared>,
    mut answers: Box<dyn Subscription>,
    own: mpsc::Sender<Job>,
) {
    let interval = Duration::from_millis(shared.settings.inquiry_interval_ms);
    let mut next = Instant::now();
    let mut next_branches = next;
    while !shared.stop.is_cancelled() {
        if Instant::now() >= next {
            next = Instant::now() + interval;
            look(&shared, interval, &mut next_branches).await;
        }
        tokio::select! {
            () = shared.stop.cancelled() => break,
            received = answers.receive(ANSWERS_MAX, next.duration_since(Instant::now())) => {
                match received {
                    Ok(received) => take_in(&shared, &mut *answers, received, &own).await,
                    Err(error) => {
                        tracing::warn!(participant = %shared.participant, %error, "no answers");
                        tokio::select! {
                            () = shared.stop.cancelled() => break,
                            () = tokio::time::sleep_until(next) => {}
                        }
                    }
                }
            }
        }
    }
    if let Err(error) = answers.close().await {
        tracing::debug!(%error, "the subscription to answers was not closed");
    }
}

async fn look(shared: &Shared, interval: Duration, next_branches: &mut Instant) {
    let failed = |error: &StoreError| {
        shared.watch.set_partial();
        tracing::warn!(participant = %shared.participant, %error, "the scan for claims failed");
    };
    if let Some(store) = shared.store()
        && shared.watch.take_partial()
        && let Err(error) = scan(shared, &**store).await
    {
        failed(&error);
    }
    if *next_branches <= Instant::now() {
        *next_branches = Instant::now() + ASK_AFTER_DEFAULT;
        if let Err(error) = scan_branches(shared).await {
            *next_branches = Instant::now();
            failed(&error);
        }
    }
    let inquiry = |((tx, operation), pattern)| {
        let participant = shared.participant.clone();
        let host = shared.host();
        Envelope::new(Body::Inquiry(Inquiry { tx, pattern, operation, participant, host }))
    };
    let due: Vec<_> = shared.watch.due(interval).into_iter().map(inquiry).collect();
    if !due.is_empty() {
        crash_point!("inquiry.ask.before");
        count(&shared.counters.inquiries, shared.publish(&due).await);
        crash_point!("inquiry.ask.after");
    }
}

/// Finds the claims of earlier runs, and those for which there was no room.
async fn scan(shared: &Shared, store: &dyn ParticipantStore) -> Result<(), StoreError> {
    let prefix = format!("{}/", shared.participant);
    let mut cursor = None;
    loop {
        let page = store.scopes(&prefix, cursor.as_ref(), PAGE).await?;
        for scope in page.items {
            scan_scope(shared, store, &scope).await?;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

async fn scan_scope(
    shared: &Shared,
    store: &dyn ParticipantStore,
    scope: &Scope,
) -> Result<(), StoreError> {
    let now = store.read(&[ScopeRead { scope: scope.clone(), keys: Vec::new() }]).await?;
    let now = now.first().map(|rows| rows.now).unwrap_or_default();
    let mut cursor = None;
    loop {
        let page = store.scan(scope, INBOX_PREFIX, cursor.as_ref(), PAGE).await?;
        for (key, stored) in &page.items {
            let Ok(row) = InboxRow::decode(&stored.value) else { continue };
            if let (Some(key), Some(recall)) = (parse_inbox_key(key), row.recall()) {
                let after = recall.ask_at.since(now);
                shared.watch.begin(key, scope.clone(), row.pattern(), after);
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// Finds prepared branches, those of hosts that are gone among them: nobody sees their rows. To
/// ask early does no harm.
async fn scan_branches(shared: &Shared) -> Result<(), StoreError> {
    let Service::Unit(service) = &shared.service else { return Ok(()) };
    for branch in service.branches(shared, None).await? {
        let key = (branch.tx, branch.operation);
        let scope = shared.scopes.of(branch.shard);
        shared.watch.begin(key, scope, Pattern::TwoPhaseCommit, Duration::ZERO);
    }
    Ok(())
}

async fn take_in(
    shared: &Shared,
    subscription: &mut dyn Subscription,
    received: Vec<Delivery>,
    own: &mpsc::Sender<Job>,
) {
    let tokens: Vec<_> = received.iter().map(|delivery| delivery.token).collect();
    for delivery in received {
        if let Body::InquiryAnswer(answer) = delivery.envelope.body
            && answer.participant == shared.participant
            && answer.host == shared.host()
        {
            carry_out(shared, &answer, own).await;
        }
    }
    if !tokens.is_empty()
        && let Err(error) = subscription.ack(&tokens).await
    {
        tracing::debug!(%error, "answers were not acknowledged");
    }
}

/// A verdict to go back is carried out here. One to go forward is the coordinator's to carry
/// out: it sends until it is answered.
async fn carry_out(shared: &Shared, answer: &InquiryAnswer, own: &mpsc::Sender<Job>) {
    let key = (answer.tx, answer.operation);
    let Some(watched) = shared.watch.get(key) else { return };
    match answer.verdict {
        None => shared.watch.put_off(key, answer.retry_after),
        Some(verdict) if !verdict.is_backward() => shared.watch.put_off(key, ASK_AFTER_DEFAULT),
        Some(_) => match recalled(shared, key, &watched).await {
            Ok(command) => {
                crash_point!("inquiry.carry-out", command.is_some());
                match command {
                    // The intake is gone only when the host stops; the next run asks again.
                    Some(command) => drop(own.send(Job::of_inquiry(command)).await),
                    None => shared.watch.end(key),
                }
            }
            Err(error) => {
                tracing::warn!(participant = %shared.participant, %error, "a claim was not read");
            }
        },
    }
}

/// The command that takes a claim back; `None` when it has ended.
async fn recalled(
    shared: &Shared,
    key: OperationKey,
    watched: &Watched,
) -> Result<Option<Command>, StoreError> {
    if let Service::Unit(service) = &shared.service
        && let Some(branch) = service.branches(shared, Some(key)).await?.first()
    {
        return Ok(Some(branch::recalled(branch)));
    }
    let phase = match watched.pattern {
        Pattern::TwoPhaseCommit => Phase::Abort,
        _ => Phase::Release,
    };
    let row = row(shared, key, &watched.scope).await?;
    Ok(row.and_then(|row| row.recalled(key.0, key.1, &shared.participant, phase)))
}

async fn row(
    shared: &Shared,
    key: OperationKey,
    scope: &Scope,
) -> Result<Option<InboxRow>, StoreError> {
    let Some(store) = shared.store() else { return Ok(shared.volatile_row(key)) };
    let read = [ScopeRead { scope: scope.clone(), keys: vec![inbox_key(key.0, key.1)] }];
    let rows = store.read_durable(&read).await?;
    let stored = rows.into_iter().flat_map(|scope| scope.rows).flatten().next();
    // A row that cannot be read is left alone, and so is its claim.
    Ok(stored.and_then(|stored| InboxRow::decode(&stored.value).ok()))
}
