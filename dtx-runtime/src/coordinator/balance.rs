//! This coordinator among the others of its store: who lives, and what its share is.

use dtx_core::{
    engine::{Member, forget_member, member_of, member_read, member_scope, member_write, share},
    error::StoreError,
    ids::{HolderId, ShardId, mix},
    store::{ParticipantStore, RowSet, RowWriteResult, ScopeRows, StoredRow},
};

use super::lanes::Shared;

/// How many coordinators are read at a time.
const PAGE: usize = 256;

/// What is known of the coordinators of a store.
#[derive(Debug)]
pub(super) struct Members {
    me: HolderId,
    /// Whether they share the shards out; else each takes all that it can get.
    spreads: bool,
    /// This coordinator's own row as the last look at all of them found it, until it is written.
    mine: Option<StoredRow>,
}

impl Members {
    pub(super) fn new(shared: &Shared) -> Self {
        let is_shared = shared.store.info().capabilities.shared;
        let spreads = shared.settings.spread_shards.unwrap_or(is_shared);
        Self { me: shared.holder, spreads, mine: None }
    }

    pub(super) fn spreads(&self) -> bool {
        self.spreads
    }

    /// Says that this coordinator lives.
    pub(super) async fn live(&mut self, shared: &Shared) -> Result<(), StoreError> {
        if self.spreads {
            self.write(shared, true).await?;
        }
        Ok(())
    }

    /// Says that it is gone, so that the others need not wait for its end.
    pub(super) async fn leave(&mut self, shared: &Shared) {
        if self.spreads
            && let Err(error) = self.write(shared, false).await
        {
            tracing::debug!(%error, "the others find out by themselves that this one is gone");
        }
    }

    /// One try: the row is this coordinator's own, and what fails is tried again at the next
    /// renewal.
    async fn write(&mut self, shared: &Shared, lives: bool) -> Result<(), StoreError> {
        let rows = shared.operator.rows();
        let found = match self.mine.take() {
            // A guess of the time is enough here too.
            Some(row) => Some(ScopeRows { now: shared.clock.store_now(), rows: vec![Some(row)] }),
            None => rows.read(&[member_read(self.me)]).await?.pop(),
        };
        let Some(found) = found else { return Ok(()) };
        let ttl = lives.then_some(shared.settings.lease_ttl);
        match member_write(self.me, &found, ttl) {
            Ok(Some(set)) => write_one(rows, set).await,
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "the row of this coordinator cannot be written");
                Ok(())
            }
        }
    }

    /// How many shards this coordinator should have.
    pub(super) async fn share(&mut self, shared: &Shared) -> Result<usize, StoreError> {
        let shards = shared.store.info().shards;
        if !self.spreads {
            return Ok(usize::from(shards.get()));
        }
        let rows = shared.operator.rows();
        // A guess is enough: the rows only spread the work.
        let now = shared.clock.store_now();
        let mut members: Vec<Member> = Vec::new();
        let mut cursor = None;
        loop {
            let page = rows.scan(&member_scope(), &[], cursor.as_ref(), PAGE).await?;
            for (key, row) in page.items {
                match member_of(&key, &row) {
                    Ok(member) => {
                        if member.holder == self.me {
                            self.mine = Some(row.clone());
                        }
                        members.push(member);
                    }
                    Err(error) => tracing::error!(%error, "a coordinator's row cannot be read"),
                }
                if let Some(forgotten) = forget_member(&key, &row, now) {
                    write_one(rows, forgotten).await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(share(&members, self.me, shards, now));
            }
        }
    }

    /// The shards in an order that differs from coordinator to coordinator, so that two that come
    /// at once do not all ask for the same ones first.
    pub(super) fn in_turn(&self, shards: impl Iterator<Item = ShardId>) -> Vec<ShardId> {
        let mut shards: Vec<ShardId> = shards.collect();
        if !shards.is_empty() && self.spreads {
            let start = mix(self.me.0 as u64) as usize % shards.len();
            shards.rotate_left(start);
        }
        shards
    }
}

async fn write_one(rows: &dyn ParticipantStore, set: RowSet) -> Result<(), StoreError> {
    match rows.write(&[set]).await.pop() {
        Some(RowWriteResult::Failed(error)) => Err(error),
        // A conflict is somebody who forgot the row, or wrote it just now: the next one settles it.
        _ => Ok(()),
    }
}
