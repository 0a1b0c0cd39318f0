//! Forgets what is finished, in small steps (design rule 14).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dtx_core::{
    crash_point,
    error::StoreError,
    ids::{AcceptSequence, ShardId},
    resource::barrier::{self, Collect, INBOX_PREFIX, MARK_PREFIX},
    store::{Cursor, Page, ParticipantStore, RowKey, RowWriteResult, Scope, ScopeRead, StoredRow},
    time::Timestamp,
    transport::Command,
};

use foldhash::HashMap;

use super::shared::Shared;

/// The highest watermark that commands of each shard have carried.
#[derive(Debug, Default)]
pub(crate) struct Watermarks(Mutex<HashMap<ShardId, AcceptSequence>>);

impl Watermarks {
    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<ShardId, AcceptSequence>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn meet<'c>(&self, commands: impl Iterator<Item = &'c Command>) {
        self.with(|marks| {
            for command in commands {
                let mark = marks.entry(command.shard).or_default();
                *mark = (*mark).max(command.watermark);
            }
        });
    }

    fn get(&self, shard: ShardId) -> AcceptSequence {
        self.with(|marks| marks.get(&shard).copied().unwrap_or_default())
    }
}

/// Goes round the scopes of one participant.
struct Round {
    scopes: VecDeque<Scope>,
    more: Option<Cursor>,
    within: Option<(Scope, Cursor)>,
}

/// Collects until the host stops.
pub(crate) async fn collect(shared: Arc<Shared>) {
    let Some(store) = shared.store().cloned() else { return };
    let interval = Duration::from_millis(shared.settings.collect_interval_ms);
    let mut round = Round { scopes: VecDeque::new(), more: None, within: None };
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = step(&shared, &*store, &mut round).await {
            tracing::warn!(participant = %shared.participant, %error, "collecting failed");
        }
    }
}

/// Looks at some scopes, at some rows of each.
async fn step(
    shared: &Shared,
    store: &dyn ParticipantStore,
    round: &mut Round,
) -> Result<(), StoreError> {
    for _ in 0..shared.settings.collect_scopes_max {
        let (scope, cursor) = match round.within.take() {
            Some((scope, cursor)) => (scope, Some(cursor)),
            None => match next_scope(shared, store, round).await? {
                Some(scope) => (scope, None),
                None => return Ok(()),
            },
        };
        let limit = shared.settings.collect_rows_max;
        let rows = store.scan(&scope, INBOX_PREFIX, cursor.as_ref(), limit).await?;
        let marks = marks(store, &scope).await?;
        let now = store.read(&[ScopeRead { scope: scope.clone(), keys: Vec::new() }]).await?;
        let now = now.first().map(|rows| rows.now).unwrap_or_default();
        if let Some(set) = forget(shared, &scope, &rows, &marks, now) {
            crash_point!("collector.forget.before");
            // What met a change of somebody else is looked at again in the next round.
            if let Some(RowWriteResult::Failed(error)) = store.write(&[set]).await.pop() {
                return Err(error);
            }
            crash_point!("collector.forget.after");
        }
        round.within = rows.next.map(|cursor| (scope, cursor));
    }
    Ok(())
}

/// `None` at the end of a round.
async fn next_scope(
    shared: &Shared,
    store: &dyn ParticipantStore,
    round: &mut Round,
) -> Result<Option<Scope>, StoreError> {
    if round.scopes.is_empty() {
        let prefix = format!("{}/", shared.participant);
        let limit = shared.settings.collect_scopes_max;
        let page = store.scopes(&prefix, round.more.as_ref(), limit).await?;
        round.scopes.extend(page.items);
        round.more = page.next;
    }
    Ok(round.scopes.pop_front())
}

async fn marks(
    store: &dyn ParticipantStore,
    scope: &Scope,
) -> Result<Vec<(RowKey, StoredRow)>, StoreError> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.scan(scope, MARK_PREFIX, cursor.as_ref(), 256).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

fn forget(
    shared: &Shared,
    scope: &Scope,
    rows: &Page<(RowKey, StoredRow)>,
    marks: &[(RowKey, StoredRow)],
    now: Timestamp,
) -> Option<dtx_core::store::RowSet> {
    let watermark = |shard| shared.watermarks.get(shard);
    let retention = Duration::from_millis(shared.settings.retention_ms);
    let rows = &rows.items;
    barrier::collect(&Collect { scope, rows, marks, watermark: &watermark, now, retention })
}
