//! The partitions of days: made ahead, dropped when all of a day is forgotten.

use std::{sync::Weak, time::Duration};

use dtx_core::{
    error::{Effect, StoreError},
    store::{Purge, page_items},
};

use crate::{
    codec,
    store::{Inner, column},
};

/// How many days there are partitions for beyond today.
const DAYS_AHEAD: i32 = 3;

/// How often it is looked after.
const UPKEEP_EVERY: Duration = Duration::from_secs(6 * 3600);

const DAY_MICROS: i64 = 86_400_000_000;

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Makes the partitions of today and the days to come where they are missing. Without the right
/// to make tables nothing is made, and all goes to the rest.
pub(crate) async fn add_days(inner: &Inner) -> Result<(), StoreError> {
    let rows = inner.read("open", inner.sql.now.query()).await?;
    let now: i64 = match rows.first() {
        Some(row) => column(row, 0, "open")?,
        None => 0,
    };
    let today = i32::try_from(now / DAY_MICROS).unwrap_or(i32::MAX - DAYS_AHEAD);
    for day in today..=today + DAYS_AHEAD {
        if let Err(failure) = inner.fetch(inner.sql.add_day.query().bind(day), Effect::None).await {
            let error = failure.into_error("open");
            tracing::warn!(%error, "partitions cannot be made; forgetting will be slow");
            break;
        }
    }
    Ok(())
}

/// Looks after the partitions as long as the store lives.
pub(crate) async fn keep(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = add_days(&inner).await {
            tracing::warn!(%error, "partitions were not looked after");
        }
    }
}

/// One step of forgetting. What has ended a day ago or longer goes by whole days, which costs the
/// same however much it is; the rest goes one by one.
pub(crate) async fn purge(inner: &Inner, purge: &Purge) -> Result<u64, StoreError> {
    const OPERATION: &str = "purge";
    let limit = i64::try_from(page_items(purge.limit)).unwrap_or(i64::MAX);
    let rows = inner.read(OPERATION, inner.sql.now.query()).await?;
    let Some(row) = rows.first() else { return Ok(0) };
    let now: i64 = column(row, 0, OPERATION)?;
    let cutoff = now.saturating_sub(micros(purge.older_than));
    let by_days = purge.older_than.as_micros() >= DAY_MICROS.unsigned_abs().into();
    let mut count = 0;
    if by_days {
        count = drop_days(inner, cutoff, limit).await?;
    }
    if count < limit {
        // A day in which something is still open is not dropped: after one more, it goes as well.
        let before = if by_days { cutoff.saturating_sub(DAY_MICROS) } else { now };
        let forget = inner.sql.forget.query().bind(cutoff).bind(before).bind(limit - count);
        let rows = inner.fetch(forget, Effect::Unknown).await;
        let rows = rows.map_err(|failure| failure.into_error(OPERATION))?;
        if let Some(row) = rows.first() {
            count += column::<i64>(row, 0, OPERATION)?;
        }
    }
    let cutoff = now.saturating_sub(micros(purge.key_retention));
    let keys = inner.sql.forget_keys.query().bind(cutoff).bind(limit);
    inner.fetch(keys, Effect::Unknown).await.map_err(|failure| failure.into_error(OPERATION))?;
    Ok(codec::read_number(count))
}

/// Drops days until at least `limit` transactions were forgotten, the oldest day first.
async fn drop_days(inner: &Inner, cutoff: i64, limit: i64) -> Result<i64, StoreError> {
    const OPERATION: &str = "purge";
    let days = inner.sql.days.query().bind(inner.schema.as_str());
    let days = inner.read(OPERATION, days).await?;
    let mut count = 0;
    for row in &days {
        let day: i32 = column(row, 0, OPERATION)?;
        let end = (i64::from(day) + 1) * DAY_MICROS;
        if end > cutoff || count >= limit {
            break;
        }
        let drop = inner.sql.drop_day.query().bind(day).bind(cutoff);
        let rows = inner.fetch(drop, Effect::Unknown).await;
        let rows = rows.map_err(|failure| failure.into_error(OPERATION))?;
        if let Some(row) = rows.first() {
            count += column::<Option<i64>>(row, 0, OPERATION)?.unwrap_or(0);
        }
    }
    Ok(count)
}
