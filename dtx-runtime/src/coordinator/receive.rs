//! Replies for the shards that this coordinator owns.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    crash_point,
    error::ErrorKind,
    transport::{Body, Delivery, Interest, Nack, Subscribe, Subscription},
};
use tokio_util::sync::CancellationToken;

use super::{
    lane::LaneInput,
    lanes::{ReplyOwner, Shared},
};

/// The queue group of all coordinators.
const GROUP: &str = "dtx-coordinators";

/// How many messages are taken at once.
const BATCH: usize = 1_024;

/// How many messages may be handed over and not yet acknowledged.
const PREFETCH: usize = 8_192;

/// How long a receive waits; a cancellation is seen at once in any case.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// After a failure, how long to wait before receiving again.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long a reply that belongs to another coordinator stays away.
const GIVE_BACK: Duration = Duration::from_millis(10);

/// Receives the replies for the owned shards. A reply is acknowledged once its lane has it: what
/// a crash loses there is asked for again.
pub(super) async fn replies(shared: Arc<Shared>, cancelled: CancellationToken) {
    let mut owned = shared.announced();
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
        let Some(mut subscription) = subscribe(&shared, interest, PREFETCH, &cancelled).await
        else {
            return;
        };
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

pub(super) async fn subscribe(
    shared: &Shared,
    interest: Interest,
    prefetch: usize,
    cancelled: &CancellationToken,
) -> Option<Box<dyn Subscription>> {
    let wish = Subscribe { interest, group: GROUP.to_owned(), prefetch };
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
            take_replies(shared, subscription, deliveries).await;
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

/// Hands replies to their lanes. What belongs to another coordinator is given back: one that does
/// not know yet that it lost a shard must not swallow the replies of the next owner.
async fn take_replies(
    shared: &Shared,
    subscription: &mut dyn Subscription,
    deliveries: Vec<Delivery>,
) {
    let mut replies = Vec::with_capacity(deliveries.len());
    let mut tokens = Vec::with_capacity(deliveries.len());
    let (mut given_back, mut lost) = (Vec::new(), Vec::new());
    for Delivery { token, envelope, .. } in deliveries {
        let Body::Reply(reply) = envelope.body else {
            tokens.push(token);
            continue;
        };
        match shared.owner(&reply) {
            ReplyOwner::Here => {
                tokens.push(token);
                replies.push(reply);
            }
            owner => {
                given_back.push(Nack { token, delay: GIVE_BACK });
                if let ReplyOwner::Newer(fence) = owner
                    && !lost.contains(&fence)
                {
                    lost.push(fence);
                }
            }
        }
    }
    if !replies.is_empty() {
        shared.replies(replies).await;
    }
    crash_point!("replies.ack.before");
    if let Err(error) = subscription.ack(&tokens).await {
        tracing::debug!(%error, "replies were not acknowledged; they may come again");
    }
    crash_point!("replies.ack.after");
    if given_back.is_empty() {
        return;
    }
    if let Err(error) = subscription.nack(&given_back).await {
        tracing::debug!(%error, "replies were not given back; they come again");
    }
    for fence in lost {
        tracing::warn!(shard = %fence.shard, "a reply shows that the shard has a newer owner");
        shared.disown(fence);
        shared.send(fence.shard, LaneInput::LeaseLost(fence)).await;
    }
    shared.announce();
}
