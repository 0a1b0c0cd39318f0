//! What is told, acknowledged, tried again or laid aside once a command was handled.

use dtx_core::{
    answer::{NotDone, Reason},
    crash_point,
    store::Scope,
    transport::{AckToken, Body, Envelope, Nack},
};

use super::{
    dead_letters::DeadLetter,
    job::{Job, Origin, Settled},
    shared::{Shared, count},
};

/// What the intake must do after a batch, or a part of one, was handled.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    pub(crate) acks: Vec<AckToken>,
    pub(crate) nacks: Vec<Nack>,
    /// How many commands of user handlers are done with.
    pub(crate) slots: usize,
    /// Whether a batch ended.
    pub(crate) is_batch_end: bool,
    /// The scopes that the batch had.
    pub(crate) scopes: Vec<Scope>,
    /// How many commands were of the host's own.
    pub(crate) own: usize,
}

impl Shared {
    /// Replies to all, in one publish, and says what is to be acknowledged. A reply that is lost
    /// is no fault: the coordinator asks again and the stored answer is repeated.
    pub(crate) async fn settle(&self, settled: Vec<(Job, Settled)>) -> Completion {
        let mut completion = Completion::default();
        let mut replies = Vec::with_capacity(settled.len());
        for (job, settled) in settled {
            self.watch.note(&job.command, &settled, self);
            match job.origin {
                Origin::Inquiry => completion.own += 1,
                Origin::Delivery { token, count } => {
                    self.settle_one(job, settled, token, count, &mut replies, &mut completion)
                        .await;
                }
            }
        }
        crash_point!("host.reply.before", !replies.is_empty());
        count(&self.counters.replies, self.publish(&replies).await);
        crash_point!("host.reply.after", !replies.is_empty());
        completion
    }

    async fn settle_one(
        &self,
        job: Job,
        settled: Settled,
        token: AckToken,
        deliveries: u32,
        replies: &mut Vec<Envelope>,
        completion: &mut Completion,
    ) {
        let is_last = deliveries >= self.settings.deliveries_max;
        let again = Nack { token, delay: self.settings.backoff(deliveries) };
        let reason = match settled {
            Settled::Answer(answer) if job.command.reply => {
                replies.push(Envelope::new(Body::Reply(job.command.reply(answer))));
                completion.acks.push(token);
                return;
            }
            Settled::Answer(Ok(_) | Err(NotDone::Refused(_))) => {
                completion.acks.push(token);
                return;
            }
            Settled::Answer(Err(NotDone::Rejected(reason) | NotDone::Unknown(reason))) => reason,
            Settled::Fault(error) => {
                count(&self.counters.faults, 1);
                tracing::warn!(participant = %self.participant, tx = %job.command.tx, %error, "a command met a fault");
                if is_last && job.command.reply {
                    let answer = Err(NotDone::from(error));
                    replies.push(Envelope::new(Body::Reply(job.command.reply(answer))));
                    completion.acks.push(token);
                    return;
                }
                Reason::new(error.to_string())
            }
        };
        if is_last && !job.command.reply && self.bury(job, reason, deliveries).await {
            completion.acks.push(token);
        } else {
            completion.nacks.push(again);
        }
    }

    async fn bury(&self, job: Job, reason: Reason, deliveries: u32) -> bool {
        let letter =
            DeadLetter::new(std::sync::Arc::unwrap_or_clone(job.command), reason, deliveries);
        crash_point!("dead-letter.before");
        match self.dead_letters.add(letter, self.store().map(AsRef::as_ref)).await {
            Ok(()) => {
                crash_point!("dead-letter.after");
                count(&self.counters.dead_letters, 1);
                true
            }
            Err(error) => {
                tracing::warn!(participant = %self.participant, %error, "a dead letter was not stored");
                false
            }
        }
    }

    /// Publishes, and says how many of the messages went out.
    pub(crate) async fn publish(&self, messages: &[Envelope]) -> usize {
        let mut published = 0;
        for batch in messages.chunks(self.transport.info().limits.batch_messages_max.max(1)) {
            for result in self.transport.publish(batch).await {
                match result {
                    Ok(()) => published += 1,
                    Err(error) => {
                        tracing::warn!(participant = %self.participant, %error, "a message was lost");
                    }
                }
            }
        }
        published
    }
}
