//! Answers the inquiries of participants from the store, a batch at a time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dtx_core::{
    crash_point,
    engine::{InquiryStep, answer_inquiry},
    error::{ErrorKind, StoreError},
    ids::TxId,
    store::{CommitResult, TxWrite, Verdict},
    transport::{Body, Envelope, Inquiry, InquiryAnswer, Interest, Subscription},
};
use tokio_util::sync::CancellationToken;

use super::{
    lanes::Shared,
    receive::{PAUSE, WAIT, subscribe},
};
use crate::operator::fresh_write_id;

/// How often an inquiry is tried again when others write to the transaction in between.
const INQUIRY_ATTEMPTS_MAX: usize = 8;

/// What there is to say about one transaction, to whoever asks.
#[derive(Clone, Copy, Debug)]
struct Finding {
    /// `None` while nothing is decided.
    verdict: Option<Verdict>,
    retry_after: Duration,
}

impl Finding {
    fn decided(verdict: Option<Verdict>) -> Self {
        Self { verdict, retry_after: Duration::ZERO }
    }

    fn answer(self, inquiry: &Inquiry) -> InquiryAnswer {
        InquiryAnswer {
            tx: inquiry.tx,
            operation: inquiry.operation,
            participant: inquiry.participant.clone(),
            host: inquiry.host,
            verdict: self.verdict,
            retry_after: self.retry_after,
        }
    }
}

/// Answers inquiries until it is cancelled.
pub(super) async fn inquiries(shared: Arc<Shared>, cancelled: CancellationToken) {
    let most = shared.settings.batch_inquiries_max;
    while !cancelled.is_cancelled() {
        // Few are held, so that a coordinator whose store does not answer keeps few from others.
        let subscribing = subscribe(&shared, Interest::Inquiries, most, &cancelled);
        let Some(mut subscription) = subscribing.await else { return };
        let serving = async { while inquiry_batch(&shared, subscription.as_mut()).await {} };
        cancelled.run_until_cancelled(serving).await;
        drop(subscription.close().await);
    }
}

/// Takes some inquiries. Says whether the subscription goes on.
async fn inquiry_batch(shared: &Shared, subscription: &mut dyn Subscription) -> bool {
    let most = shared.settings.batch_inquiries_max;
    let deliveries = match subscription.receive(most, WAIT).await {
        Ok(deliveries) => deliveries,
        Err(error) => {
            if error.kind() != ErrorKind::Closed {
                tracing::warn!(%error, "inquiries could not be received");
                tokio::time::sleep(PAUSE).await;
            }
            return false;
        }
    };
    let mut tokens = Vec::with_capacity(deliveries.len());
    let mut asked = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        tokens.push(delivery.token);
        if let Body::Inquiry(inquiry) = delivery.envelope.body {
            asked.push(inquiry);
        }
    }
    let found = find(shared, &asked).await;
    let answers = asked.iter().filter_map(|inquiry| Some(found.get(&inquiry.tx)?.answer(inquiry)));
    let answers: Vec<_> =
        answers.map(|answer| Envelope::new(Body::InquiryAnswer(answer))).collect();
    for batch in answers.chunks(shared.transport.info().limits.batch_messages_max.max(1)) {
        crash_point!("inquiry.answer.before");
        let publishing = shared.transport.publish(batch);
        // An answer that cannot be published is asked for again.
        drop(tokio::time::timeout(shared.settings.publish_timeout, publishing).await);
    }
    crash_point!("inquiry.answer.after", !asked.is_empty());
    // An inquiry that could not be answered is made again by the participant.
    drop(subscription.ack(&tokens).await);
    true
}

/// What is to be said of each transaction that is asked about; nothing of those that could not be
/// read. Participants of one transaction ask about the same time, and are told the same.
async fn find(shared: &Shared, asked: &[Inquiry]) -> BTreeMap<TxId, Finding> {
    let mut found = BTreeMap::new();
    let mut open: BTreeMap<TxId, &Inquiry> =
        asked.iter().map(|inquiry| (inquiry.tx, inquiry)).collect();
    for _ in 0..INQUIRY_ATTEMPTS_MAX {
        if open.is_empty() {
            break;
        }
        match round(shared, &open).await {
            Ok(round) => found.extend(round),
            Err(error) => {
                tracing::debug!(%error, "inquiries could not be answered; they are made again");
                break;
            }
        }
        open.retain(|tx, _| !found.contains_key(tx));
    }
    found
}

/// Reads all records at once, and writes all that must go back at once.
async fn round(
    shared: &Shared,
    open: &BTreeMap<TxId, &Inquiry>,
) -> Result<BTreeMap<TxId, Finding>, StoreError> {
    let ids: Vec<TxId> = open.keys().copied().collect();
    let records = shared.store.load(&ids).await?;
    let store_now = shared.store.now().await?;
    let mut found = BTreeMap::new();
    let mut writes: Vec<TxWrite> = Vec::new();
    for ((tx, inquiry), record) in open.iter().zip(&records) {
        let finding = match answer_inquiry(inquiry, record.as_ref(), store_now, fresh_write_id()) {
            InquiryStep::Answer(verdict) => Finding::decided(Some(verdict)),
            InquiryStep::Pending(retry_after) => Finding { verdict: None, retry_after },
            InquiryStep::Write(write) => {
                writes.push(*write);
                continue;
            }
        };
        found.insert(*tx, finding);
    }
    let limit = shared.store.info().limits.batch_writes_max.max(1);
    for batch in writes.chunks(limit) {
        crash_point!("inquiry.write.before");
        let results = shared.store.commit(batch).await;
        crash_point!("inquiry.write.after");
        for (write, result) in batch.iter().zip(results) {
            // Unknown or conflicting: what is in the store now decides, so it is read again.
            if let CommitResult::Committed(_) = result {
                shared.poke(write.tx).await;
                found.insert(write.tx, Finding::decided(write.verdict));
            }
        }
    }
    Ok(found)
}
