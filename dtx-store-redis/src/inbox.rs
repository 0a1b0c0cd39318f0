//! What is done once, outside of a host.

use std::time::Duration;

use dtx_core::{answer::Reason, error::StoreError, ids::TxId};

use crate::{
    effect::RedisEffect,
    error::{Failure, invalid},
    link::Writes,
    scripts::{Call, FORGET_ONCE},
    store::RedisStore,
    values::{count, texts},
};

/// The longest name of what is done once, in bytes.
pub const ONCE_BYTES_MAX: usize = 256;

/// What came of a wish to do something once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisOnce {
    /// It was done now.
    First,
    /// It was done before, and not again.
    Repeated,
    /// The script said no. Nothing is remembered: the next one that asks is the first again.
    Refused(Reason),
}

/// The memory of what was done once, for consumers that no host of dtx serves. The effect and the
/// memory of it are one script.
///
/// ```no_run
/// # use dtx_core::ids::TxId;
/// # use dtx_store_redis::{RedisEffect, RedisInbox, RedisOnce, RedisScript, RedisStore};
/// static COUNT: RedisScript = RedisScript::new(r#"redis.call("INCR", KEYS[1])"#);
///
/// # async fn handle(store: RedisStore, tx_id: TxId) -> Result<(), Box<dyn std::error::Error>> {
/// let inbox = RedisInbox::on(&store);
/// let effect = RedisEffect::of(&COUNT).key("orders");
/// let first = inbox.once(tx_id, "count", effect).await? == RedisOnce::First;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedisInbox {
    store: RedisStore,
}

impl RedisInbox {
    /// The memory in this store. On a cluster it is in one slot, that of the tag that the store is
    /// [`beside`](RedisStore::beside).
    pub fn on(store: &RedisStore) -> Self {
        Self { store: store.clone() }
    }

    /// Does this for a transaction or a message unless it was done before. After an error whose
    /// effect is unknown, ask again: it says whether it was done.
    ///
    /// # Errors
    /// `Invalid` when the name is empty or over [`ONCE_BYTES_MAX`], or a key is in another slot of
    /// a cluster than the memory; or the failure of the server or of the script.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether it is done. Asking again tells.
    pub async fn once(
        &self,
        tx: TxId,
        operation: &str,
        effect: RedisEffect,
    ) -> Result<RedisOnce, StoreError> {
        const OPERATION: &str = "once";
        if operation.is_empty() || operation.len() > ONCE_BYTES_MAX {
            let context = format!("operation: give 1 to {ONCE_BYTES_MAX} bytes");
            return Err(invalid(OPERATION, context));
        }
        let inner = &self.store.inner;
        let place = inner.keys.once();
        if inner.link.is_cluster().await {
            effect.check(place.slot, OPERATION)?;
        }
        let call = Call::new(effect.script().once(), &place).key(place.key("done"));
        let mut call = call.arg([tx.as_bytes(), operation.as_bytes()].concat());
        effect.push(&mut call);
        let answer = inner.link.one(call.request(), Writes::Yes).await.and_then(texts);
        let answer = answer.and_then(|answer| match answer.as_slice() {
            [word, _] if word == b"first" => Ok(RedisOnce::First),
            [word, _] if word == b"repeated" => Ok(RedisOnce::Repeated),
            [word, reason] if word == b"no" => {
                Ok(RedisOnce::Refused(Reason::new(String::from_utf8_lossy(reason))))
            }
            _ => Err(Failure::strange()),
        });
        answer.map_err(|failure| failure.of_write(OPERATION))
    }

    /// Forgets up to `limit` entries that are older than this, and says how many. What is
    /// forgotten would be done again: keep them longer than anything may be repeated.
    ///
    /// # Errors
    /// The failure of the server.
    pub async fn forget(&self, older_than: Duration, limit: u32) -> Result<u64, StoreError> {
        let inner = &self.store.inner;
        let place = inner.keys.once();
        let call = Call::new(&FORGET_ONCE, &place).key(place.key("done"));
        let call = call.arg(older_than.as_micros().to_string()).arg(limit.to_string());
        let answer = inner.link.one(call.request(), Writes::Yes).await.and_then(count);
        answer.map_err(|failure| failure.of_write("forget"))
    }
}
