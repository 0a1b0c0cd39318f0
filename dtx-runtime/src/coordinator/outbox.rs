//! A coordinator as the place that an outbox is sent to.

use async_trait::async_trait;
use dtx_core::{
    outbox::{MessageSink, NotSent, Outgoing},
    pattern::Pattern,
    transaction::{OperationDraft, Transaction},
};
use tokio::task::JoinSet;

use super::dtx::Dtx;

/// The namespace of the keys of transactions that messages start.
const NAMESPACE: &str = "outbox";

/// The transaction that a message to `participant/action/version` starts. Its key is the id of
/// the message, so a repeat is the same transaction.
fn transaction(outgoing: &Outgoing) -> Result<Transaction, NotSent> {
    let mut parts = outgoing.message.topic.split('/');
    let (participant, action) = (parts.next(), parts.next());
    let version = parts.next().and_then(|version| version.parse().ok());
    let (Some(participant), Some(action), Some(version), None) =
        (participant, action, version, parts.next())
    else {
        let topic = &outgoing.message.topic;
        return Err(NotSent(format!("{topic:?} is not participant/action/version")));
    };
    let call = OperationDraft::new(participant, action).version(version);
    let payload = outgoing.message.payload.clone();
    Transaction::builder(Pattern::FireAndForget)
        .key_in(NAMESPACE, outgoing.id.to_string())
        .operation(call.payload(payload))
        .build()
        .map_err(|error| NotSent(error.to_string()))
}

/// Each message starts a fire-and-forget transaction, once: see [`Message::to`]. Their order is
/// that of the accepts; the participants may be asked in another one.
///
/// [`Message::to`]: dtx_core::outbox::Message::to
#[async_trait]
impl MessageSink for Dtx {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), NotSent>> {
        let mut results: Vec<_> = messages.iter().map(|_| Ok(())).collect();
        let mut submits = JoinSet::new();
        for (place, outgoing) in messages.iter().enumerate() {
            match transaction(outgoing) {
                Ok(transaction) => {
                    let dtx = self.clone();
                    submits.spawn(async move { (place, dtx.submit(transaction).await.map(drop)) });
                }
                Err(error) => results[place] = Err(error),
            }
        }
        let mut answered = 0;
        let wanted = submits.len();
        while let Some(submitted) = submits.join_next().await {
            if let Ok((place, submitted)) = submitted {
                results[place] = submitted.map_err(|error| NotSent(error.to_string()));
                answered += 1;
            }
        }
        if answered < wanted {
            // Not known which: they come again, under the same keys.
            return messages.iter().map(|_| Err(NotSent("a submit ended early".into()))).collect();
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use dtx_core::outbox::{Message, MessageId};

    use super::*;

    fn of(topic: &str) -> Result<Transaction, NotSent> {
        let message = Message::new(topic, "{}");
        transaction(&Outgoing { id: MessageId(7), attempt: 1, message })
    }

    #[test]
    fn a_topic_names_who_is_asked_for_what() {
        let made = of("analytics/note/2").expect("it is right");
        let operation = &made.operations()[0];
        assert_eq!(operation.participant().as_str(), "analytics");
        assert_eq!((operation.action().as_str(), operation.action_version()), ("note", 2));
        assert_eq!(made.key(), of("analytics/note/2").expect("it is right").key());
        for wrong in ["", "a", "a/b", "a/b/c", "a/b/1/c", "A/b/1"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
