//! What arrives: replies for the shards that this coordinator owns, and inquiries.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    engine::{InquiryStep, answer_inquiry},
    error::ErrorKind,
    ids::{ShardId, WriteId},
    store::CommitResult,
    transport::{Body, Envelope, Inquiry, InquiryAnswer, Interest, Reply, Subscribe, Subscription},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::lanes::Shared;

/// The queue group of all coordinators.
const GROUP: &str = "dtx-coordinators";

/// How many messages are taken at once.
const BATCH: usize = 1_024;

/// How many messages may be handed over and not yet acknowledged.
const PREFETCH: usize = 8_192;

/// How long a receive waits; a cancellation is seen at once in any case.
const WAIT: Duration = Duration::from_secs(5);

/// After a failure, how long to wait before receiving again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often an inquiry is tried again when others write to the transaction in between.
const INQUIRY_ATTEMPTS_MAX: usize = 8;

/// Receives the replies for the owned shards. A reply is acknowledged once its lane has it: what
/// a crash loses there is asked for again.
pub(super) async fn replies(
    shared: Arc<Shared>,
    mut owned: watch::Receiver<Vec<ShardId>>,
    cancelled: CancellationToken,
) {
    while !cancelled.is_cancelled() {
        let shards = owned.borrow_and_update().clone();
        if shards.is_empty() {
            tokio::select! {
                () = cancelled.cancelled() => return,
                changed = owned.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let interest = Interest::Replies(shards.clone());
        let Some(mut subscription) = subscribe(&shared, interest, &cancelled).await else { return };
        loop {
            tokio::select! {
                () = cancelled.cancelled() => break,
                changed = owned.changed() => {
                    if changed.is_err() || *owned.borrow() != shards {
                        break;
                    }
                }
                goes_on = reply_batch(&shared, subscription.as_mut()) => if !goes_on { break },
            }
        }
        drop(subscription.close().await);
    }
}

async fn subscribe(
    shared: &Shared,
    interest: Interest,
    cancelled: &CancellationToken,
) -> Option<Box<dyn Subscription>> {
    let wish = Subscribe { interest, group: GROUP.to_owned(), prefetch: PREFETCH };
    loop {
        match shared.transport.subscribe(&wish).await {
            Ok(subscription) => return Some(subscription),
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            Err(error) => tracing::warn!(%error, "could not subscribe; again soon"),
        }
        tokio::select! {
            () = cancelled.cancelled() => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn reply_batch(shared: &Shared, subscription: &mut dyn Subscription) -> bool {
    match subscription.receive(BATCH, WAIT).await {
        Ok(deliveries) if deliveries.is_empty() => true,
        Ok(deliveries) => {
            let tokens: Vec<_> = deliveries.iter().map(|delivery| delivery.token).collect();
            let reply = |envelope: Envelope| match envelope.body {
                Body::Reply(reply) => Some(reply),
                _ => None,
            };
            let replies: Vec<Reply> =
                deliveries.into_iter().filter_map(|delivery| reply(delivery.envelope)).collect();
            shared.replies(replies).await;
            if let Err(error) = subscription.ack(&tokens).await {
                tracing::debug!(%error, "replies were not acknowledged; they may come again");
            }
            true
        }
        Err(error) if error.kind() == ErrorKind::Closed => false,
        Err(error) => {
            tracing::warn!(%error, "replies could not be received");
            tokio::time::sleep(PAUSE).await;
            false
        }
    }
}

/// Answers the inquiries of participants from the store.
pub(super) async fn inquiries(shared: Arc<Shared>, cancelled: CancellationToken) {
    while !cancelled.is_cancelled() {
        let interest = Interest::Inquiries;
        let Some(mut subscription) = subscribe(&shared, interest, &cancelled).await else { return };
        let serving = async { while inquiry_batch(&shared, subscription.as_mut()).await {} };
        cancelled.run_until_cancelled(serving).await;
        drop(subscription.close().await);
    }
}

/// Takes some inquiries. Says whether the subscription goes on.
async fn inquiry_batch(shared: &Shared, subscription: &mut dyn Subscription) -> bool {
    let deliveries = match subscription.receive(BATCH, WAIT).await {
        Ok(deliveries) => deliveries,
        Err(error) => {
            if error.kind() != ErrorKind::Closed {
                tracing::warn!(%error, "inquiries could not be received");
                tokio::time::sleep(PAUSE).await;
            }
            return false;
        }
    };
    for delivery in deliveries {
        if let Body::Inquiry(inquiry) = &delivery.envelope.body
            && let Some(answer) = settle(shared, inquiry).await
        {
            let answer = [Envelope::new(Body::InquiryAnswer(answer))];
            let publishing = shared.transport.publish(&answer);
            // An answer that cannot be published is asked for again.
            drop(tokio::time::timeout(shared.settings.publish_timeout, publishing).await);
        }
        // An inquiry that could not be answered is made again by the participant.
        drop(subscription.ack(&[delivery.token]).await);
    }
    true
}

async fn settle(shared: &Shared, inquiry: &Inquiry) -> Option<InquiryAnswer> {
    let answer = |verdict, retry_after| InquiryAnswer {
        tx: inquiry.tx,
        operation: inquiry.operation,
        participant: inquiry.participant.clone(),
        host: inquiry.host,
        verdict,
        retry_after,
    };
    for _ in 0..INQUIRY_ATTEMPTS_MAX {
        let record = shared.store.load(&[inquiry.tx]).await.ok()?.pop().flatten();
        let store_now = shared.store.now().await.ok()?;
        let id = fresh_write_id();
        match answer_inquiry(inquiry, record.as_ref(), store_now, id) {
            InquiryStep::Answer(verdict) => return Some(answer(Some(verdict), Duration::ZERO)),
            InquiryStep::Pending(after) => return Some(answer(None, after)),
            InquiryStep::Write(write) => {
                let verdict = write.verdict;
                let result = shared.store.commit(&[*write]).await.pop();
                if let Some(CommitResult::Committed(_)) = result {
                    shared.poke(inquiry.tx).await;
                    return Some(answer(verdict, Duration::ZERO));
                }
                // Unknown or conflicting: what is in the store now decides, so look again.
            }
        }
    }
    None
}

/// An id for a write that is made without a lease.
pub(super) fn fresh_write_id() -> WriteId {
    let random = uuid::Uuid::new_v4().as_u128();
    WriteId { writer: dtx_core::ids::HolderId(random), number: 0 }
}
