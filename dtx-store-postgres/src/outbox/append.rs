//! Messages as they are written, and those that were laid aside.

use dtx_core::{
    error::{Effect, StoreError},
    outbox::{Message, MessageId, ORDER_KEY_BYTES_MAX, TOPIC_BYTES_MAX},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    caller::check_open,
    codec,
    error::{Failure, invalid},
    store::{PgStore, column},
};

/// The messages of a service, in this store's schema of the service's own database.
#[derive(Clone, Debug)]
pub struct PgOutbox {
    pub(super) store: PgStore,
}

/// A message that could not be sent and was laid aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadMessage {
    /// Its id.
    pub id: MessageId,
    /// The message.
    pub message: Message,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was not sent the last time.
    pub error: String,
}

impl PgOutbox {
    /// The outbox in this store's schema.
    pub fn on(store: &PgStore) -> Self {
        Self { store: store.clone() }
    }

    /// Appends a message in the caller's open transaction: a relay sees it when that has
    /// committed, and it never was if it does not commit. Whoever appends with the same key waits
    /// until that transaction has ended.
    ///
    /// # Errors
    /// `Invalid` when no transaction is open or the message breaks a limit; or the failure of the
    /// server, after which the transaction cannot commit.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the caller's transaction in an unknown state: roll it back.
    pub async fn append(
        &self,
        connection: &mut PgConnection,
        message: Message,
    ) -> Result<MessageId, StoreError> {
        const OPERATION: &str = "append";
        check_open(connection, OPERATION)?;
        self.check(&message)?;
        let id = Uuid::now_v7();
        let query = self.store.inner.sql.append.query().bind(id).bind(message.key);
        let query = query.bind(message.topic).bind(message.payload.to_vec());
        let done = query.execute(connection).await;
        done.map_err(|error| Failure::of(&error, Effect::None).into_error(OPERATION))?;
        Ok(MessageId(id.as_u128()))
    }

    fn check(&self, message: &Message) -> Result<(), StoreError> {
        let text = |field: &str, value: &str, max: usize| {
            if value.is_empty() || value.len() > max || value.contains('\0') {
                return Err(invalid(
                    "append",
                    format!("{field}: give 1 to {max} bytes without a zero"),
                ));
            }
            Ok(())
        };
        text("topic", &message.topic, TOPIC_BYTES_MAX)?;
        if let Some(key) = &message.key {
            text("key", key, ORDER_KEY_BYTES_MAX)?;
        }
        let (bytes, limit) = (message.payload.len(), self.store.inner.info.limits.value_bytes_max);
        if bytes > limit {
            let context = format!("payload: it has {bytes} bytes, and {limit} are the most");
            return Err(invalid("append", context));
        }
        Ok(())
    }

    /// How many messages wait to be sent.
    ///
    /// # Errors
    /// The failure of the server.
    pub async fn waiting(&self) -> Result<u64, StoreError> {
        let rows = self.store.inner.read("waiting", self.store.inner.sql.outbox_waiting.query());
        let rows = rows.await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| column(row, 0, "waiting"))?;
        Ok(count.unsigned_abs())
    }

    /// The first of the messages that were laid aside.
    ///
    /// # Errors
    /// The failure of the server.
    pub async fn dead(&self, limit: usize) -> Result<Vec<DeadMessage>, StoreError> {
        const OPERATION: &str = "dead";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = self.store.inner.sql.outbox_dead.query().bind(limit);
        let rows = self.store.inner.read(OPERATION, query).await?;
        let dead = |row: &sqlx::postgres::PgRow| {
            let payload: Vec<u8> = column(row, 3, OPERATION)?;
            Ok(DeadMessage {
                id: MessageId(column::<Uuid>(row, 0, OPERATION)?.as_u128()),
                message: Message {
                    key: column(row, 1, OPERATION)?,
                    topic: column(row, 2, OPERATION)?,
                    payload: codec::bytes(payload),
                },
                attempts: column::<i32>(row, 4, OPERATION)?.unsigned_abs(),
                error: column::<Option<String>>(row, 5, OPERATION)?.unwrap_or_default(),
            })
        };
        rows.iter().map(dead).collect()
    }

    /// Gives a message that was laid aside all its attempts again. False when there is none.
    ///
    /// # Errors
    /// The failure of the server.
    pub async fn revive(&self, id: MessageId) -> Result<bool, StoreError> {
        self.change_dead(&self.store.inner.sql.outbox_revive, id, "revive").await
    }

    /// Drops a message that was laid aside. False when there is none.
    ///
    /// # Errors
    /// The failure of the server.
    pub async fn discard(&self, id: MessageId) -> Result<bool, StoreError> {
        self.change_dead(&self.store.inner.sql.outbox_discard, id, "discard").await
    }

    async fn change_dead(
        &self,
        statement: &crate::statements::Statement,
        id: MessageId,
        operation: &'static str,
    ) -> Result<bool, StoreError> {
        let query = statement.query().bind(Uuid::from_u128(id.0));
        let rows = self.store.inner.fetch(query, Effect::Unknown).await;
        let rows = rows.map_err(|failure| failure.into_error(operation))?;
        Ok(!rows.is_empty())
    }
}
