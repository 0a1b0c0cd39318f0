//! One round of a relay: a lane is taken, some of its messages are sent, and what became of them
//! is written.

use std::collections::{HashSet, VecDeque};

use dtx_core::{
    error::{Effect, ErrorKind},
    outbox::{Message, MessageId, NotSent, Outgoing},
};
use sqlx::{Postgres, Row, Transaction, postgres::PgRow};
use tokio::time::Instant;
use uuid::Uuid;

use super::relay::Relay;
use crate::{codec, error::Failure, store::owned};

/// What one round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Whether there was a lane with something to send.
    pub(super) took: bool,
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) dead: u64,
}

/// A message of the lane, and where it stands.
struct Waiting {
    position: i64,
    outgoing: Outgoing,
}

/// A message that was not sent.
struct Failed {
    position: i64,
    attempt: u32,
    error: String,
}

fn failure(error: sqlx::Error) -> Failure {
    Failure::of(&error, Effect::Unknown)
}

fn read(row: &PgRow) -> Result<Waiting, sqlx::Error> {
    let attempts: i32 = row.try_get(5)?;
    let payload: Vec<u8> = row.try_get(4)?;
    Ok(Waiting {
        position: row.try_get(0)?,
        outgoing: Outgoing {
            id: MessageId(row.try_get::<Uuid, _>(1)?.as_u128()),
            attempt: attempts.unsigned_abs().saturating_add(1),
            message: Message {
                key: row.try_get(2)?,
                topic: row.try_get(3)?,
                payload: codec::bytes(payload),
            },
        },
    })
}

/// Takes the next message of each key out of the line.
fn next_wave(line: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut keys = HashSet::new();
    let (mut wave, mut rest) = (Vec::new(), VecDeque::new());
    for row in line.drain(..) {
        match &row.outgoing.message.key {
            Some(key) if !keys.insert(key.clone()) => rest.push_back(row),
            _ => wave.push(row),
        }
    }
    *line = rest;
    wave
}

impl Relay {
    /// Takes a lane that no other relay has, and sends some of its messages. The lane is kept by
    /// a lock on its row: it is free again when this transaction ends, also by a crash.
    pub(super) async fn round(&self) -> Result<Round, Failure> {
        let inner = &self.outbox.store.inner;
        // To give up in the middle of a begin would spoil the connection.
        let pool = inner.pool.clone();
        let begun = owned(async move { pool.begin().await }).await?;
        let mut transaction = begun.map_err(|error| Failure::of_connecting(&error))?;
        // A relay that is stopped for long loses its lane.
        let waits = inner.pool.options().get_acquire_timeout() + inner.call_timeout;
        let idle = self.settings.send_timeout.saturating_mul(2).saturating_add(waits);
        let idle = idle.as_millis().saturating_add(5_000);
        let query = inner.sql.relay_idle.query().bind(idle.min(i32::MAX as u128).to_string());
        query.execute(&mut *transaction).await.map_err(failure)?;
        let query = inner.sql.relay_take.query();
        let lane = query.fetch_optional(&mut *transaction).await.map_err(failure)?;
        let Some(lane) = lane else {
            transaction.rollback().await.map_err(failure)?;
            return Ok(Round::default());
        };
        let waits_for_standbys: bool = lane.try_get(1).map_err(failure)?;
        let started: i64 = lane.try_get(2).map_err(failure)?;
        let lane: i32 = lane.try_get(0).map_err(failure)?;
        let limit = i64::try_from(self.settings.batch_messages_max).unwrap_or(i64::MAX);
        let query = inner.sql.relay_read.query().bind(lane).bind(limit);
        let rows = query.fetch_all(&mut *transaction).await.map_err(failure)?;
        let line: Result<VecDeque<_>, _> = rows.iter().map(read).collect();
        let line = line.map_err(failure)?;
        if waits_for_standbys {
            self.confirm(started).await?;
        }
        let (sent, failed) = self.send_all(line).await;
        let dead = failed.iter().filter(|one| self.is_dead(one)).count() as u64;
        let round =
            Round { took: true, sent: sent.len() as u64, failed: failed.len() as u64, dead };
        self.write(&mut transaction, sent, failed).await.map_err(failure)?;
        transaction.commit().await.map_err(failure)?;
        Ok(round)
    }

    /// What is sent must not be lost with the server that it was read at. The transaction of the
    /// round must not end before that, so it takes a second connection.
    async fn confirm(&self, started: i64) -> Result<(), Failure> {
        let inner = &self.outbox.store.inner;
        let rows = inner.fetch(inner.sql.confirm.query(), Effect::None).await?;
        let found = rows.first().map(|row| row.try_get::<i64, _>(1)).transpose();
        if found.map_err(failure)? == Some(started) {
            return Ok(());
        }
        let context = "another server answers than the one that was read";
        Err(Failure::new(ErrorKind::Unavailable, Effect::None, context))
    }

    fn is_dead(&self, failed: &Failed) -> bool {
        failed.attempt >= self.settings.attempts_max
    }

    /// Sends wave after wave, one message of each key in each; after one that failed the others of
    /// its key stay for later.
    async fn send_all(&self, mut line: VecDeque<Waiting>) -> (Vec<i64>, Vec<Failed>) {
        let until = Instant::now() + self.settings.send_timeout;
        let (mut sent, mut failed) = (Vec::new(), Vec::new());
        while !line.is_empty() && Instant::now() < until {
            let wave = next_wave(&mut line);
            let (positions, wave): (Vec<_>, Vec<_>) =
                wave.into_iter().map(|row| (row.position, row.outgoing)).unzip();
            let results = self.send(&wave).await;
            let missing = || Err(NotSent("the sink did not say what became of it".into()));
            let results = results.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
            for ((position, outgoing), result) in positions.into_iter().zip(wave).zip(results) {
                match result.unwrap_or_else(missing) {
                    Ok(()) => sent.push(position),
                    Err(NotSent(error)) => {
                        let key = outgoing.message.key.clone();
                        if key.is_some() {
                            line.retain(|later| later.outgoing.message.key != key);
                        }
                        failed.push(Failed { position, attempt: outgoing.attempt, error });
                    }
                }
            }
        }
        (sent, failed)
    }

    /// Asks the sink, in a task of its own: it may panic, or hang.
    async fn send(&self, wave: &[Outgoing]) -> Vec<Result<(), NotSent>> {
        let (sink, messages) = (self.sink.clone(), wave.to_vec());
        let mut task = tokio::spawn(async move { sink.send(&messages).await });
        let why = match tokio::time::timeout(self.settings.send_timeout, &mut task).await {
            Ok(Ok(results)) => return results,
            Ok(Err(error)) => format!("the sink ended early: {error}"),
            Err(_) => {
                task.abort();
                format!("no answer within {} ms", self.settings.send_timeout.as_millis())
            }
        };
        wave.iter().map(|_| Err(NotSent(why.clone()))).collect()
    }

    async fn write(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
        sent: Vec<i64>,
        failed: Vec<Failed>,
    ) -> Result<(), sqlx::Error> {
        let sql = &self.outbox.store.inner.sql;
        if !sent.is_empty() {
            sql.relay_sent.query().bind(sent).execute(&mut **transaction).await?;
        }
        if failed.is_empty() {
            return Ok(());
        }
        let (mut positions, mut attempts, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
        let (mut dead, mut errors) = (Vec::new(), Vec::new());
        for one in failed {
            let pause = self.settings.pause(one.attempt).as_micros();
            positions.push(one.position);
            attempts.push(i32::try_from(one.attempt).unwrap_or(i32::MAX));
            pauses.push(i64::try_from(pause).unwrap_or(i64::MAX / 2));
            dead.push(self.is_dead(&one));
            errors.push(one.error.chars().filter(|c| *c != '\0').take(256).collect::<String>());
        }
        let query = sql.relay_failed.query().bind(positions).bind(attempts).bind(pauses);
        query.bind(dead).bind(errors).execute(&mut **transaction).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_has_the_first_of_each_key_and_all_without_one() {
        let row = |(position, key): (i64, &str)| Waiting {
            position,
            outgoing: Outgoing {
                id: MessageId(1),
                attempt: 1,
                message: Message {
                    key: (!key.is_empty()).then(|| key.into()),
                    ..Message::new("t", "")
                },
            },
        };
        let all = [(1, "a"), (2, ""), (3, "a"), (4, "b"), (5, ""), (6, "a")];
        let mut line: VecDeque<_> = all.into_iter().map(row).collect();
        let mut wave = || next_wave(&mut line).iter().map(|row| row.position).collect::<Vec<_>>();
        assert_eq!([wave(), wave(), wave(), wave()], [vec![1, 2, 4, 5], vec![3], vec![6], vec![]]);
    }
}
