//! Writing batches of records, and the callers' keys.
//!
//! A key's record is in a slot of its own, so the two cannot be written in one step. An accept
//! first **reserves** its key: the record then names the transaction and a token that is used
//! once. The accept writes that token into the row; the row alone makes the reservation count.
//! After a crash between the two steps the reservation names a transaction without such a row.
//! Whoever wants the key next makes that reservation **void** first, in the shard of the
//! transaction that it names: no accept with that token applies from then on, however late it
//! lands. Only then the key is taken over. Of two live accepts that meet, one is void and begins
//! again.

use std::collections::{BTreeMap, BTreeSet};

use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::{ShardId, TxId, Version},
    store::{CommitResult, Expect, TxWrite, check_batch, check_write},
};
use redis::Value;

use crate::{
    codec,
    error::{Failure, NAME},
    link::Writes,
    scripts::{COMMIT, Call, RESERVE_KEY, TAKE_KEY, VOID},
    store::RedisStore,
    values::{count, texts},
};

/// How often an accept begins again whose key others want as well.
const KEY_ROUNDS_MAX: usize = 16;

/// Where a write stands with its key.
#[derive(Clone, Debug)]
enum Claim {
    /// It has none.
    Keyless,
    /// Its reservation; `new` if this call made it.
    Reserved { token: Vec<u8>, new: bool },
    /// Another transaction has the key, or this one had it and is forgotten.
    Taken(TxId),
    /// Others were faster; to be tried again.
    Again,
    /// It could not be found out.
    Failed(Failure),
}

/// What a script answers about a write.
enum Answer {
    Settled(CommitResult),
    /// Its reservation was made void.
    Void,
}

impl RedisStore {
    pub(crate) async fn commit_batch(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let info = self.info();
        if let Err(error) = check_batch(writes.len(), &info.limits) {
            let failed = || CommitResult::Failed(error.clone().into_error(NAME, "commit"));
            return writes.iter().map(|_| failed()).collect();
        }
        let mut results: Vec<Option<CommitResult>> = writes.iter().map(|_| None).collect();
        let mut open = Vec::new();
        for (index, write) in writes.iter().enumerate() {
            match check_write(write, &info.limits, info.shards) {
                Ok(()) => open.push(index),
                Err(error) => {
                    results[index] = Some(CommitResult::Failed(error.into_error(NAME, "commit")));
                }
            }
        }
        for _ in 0..KEY_ROUNDS_MAX {
            if open.is_empty() {
                break;
            }
            let (now, later) = split(writes, &open);
            open = self.commit_round(writes, now, &mut results).await;
            open.extend(later);
            open.sort_unstable();
        }
        let contended = || {
            let error = StoreError::new(ErrorKind::Unavailable, NAME, "commit");
            CommitResult::Failed(error.with_context("too many others want the same key"))
        };
        results.into_iter().map(|result| result.unwrap_or_else(contended)).collect()
    }

    /// Writes what can be written now. Returns what must begin again.
    async fn commit_round(
        &self,
        writes: &[TxWrite],
        now: Vec<usize>,
        results: &mut [Option<CommitResult>],
    ) -> Vec<usize> {
        let claims = self.claim_keys(writes, &now).await;
        let mut again = Vec::new();
        let mut shards: BTreeMap<ShardId, Vec<(usize, Claim)>> = BTreeMap::new();
        for (index, claim) in now.into_iter().zip(claims) {
            match claim {
                Claim::Again => again.push(index),
                Claim::Failed(failure) => {
                    // The reservation alone is no effect of the accept.
                    let error = failure.of_write("commit").with_effect(Effect::None);
                    results[index] = Some(CommitResult::Failed(error));
                }
                claim => {
                    let shard = self.shard_of(writes[index].tx);
                    shards.entry(shard).or_default().push((index, claim));
                }
            }
        }
        let calls = shards.iter().map(|(&shard, members)| {
            let members = members.iter().map(|(index, claim)| (&writes[*index], claim));
            self.commit_call(shard, members).request()
        });
        let answers = self.inner.link.call(calls.collect(), Writes::Yes).await;
        let mut unused = Vec::new();
        for (members, answer) in shards.into_values().zip(answers) {
            let answers = answer.and_then(|answer| read_answers(answer, &members));
            let answers = answers.unwrap_or_else(|failure| {
                let failed = |_| Answer::Settled(CommitResult::Failed(failure.of_write("commit")));
                members.iter().map(failed).collect()
            });
            for ((index, claim), answer) in members.into_iter().zip(answers) {
                match answer {
                    Answer::Void => again.push(index),
                    Answer::Settled(result) => {
                        let refused =
                            matches!(result, CommitResult::Conflict { .. } | CommitResult::Fenced);
                        if let Claim::Reserved { token, new: true } = claim
                            && refused
                        {
                            unused.push((index, token));
                        }
                        results[index] = Some(result);
                    }
                }
            }
        }
        self.give_up_keys(writes, unused).await;
        again
    }

    fn commit_call<'a>(
        &self,
        shard: ShardId,
        members: impl Iterator<Item = (&'a TxWrite, &'a Claim)>,
    ) -> Call {
        let place = self.inner.keys.shard(shard);
        let mut call = Call::new(&COMMIT, &place);
        for name in ["lease", "due", "ended", "all", "voids"] {
            call.push_key(place.key(name));
        }
        for (write, claim) in members {
            call.push_key(place.row(write.tx));
            push_write(&mut call, write, claim);
        }
        call
    }

    /// Reserves the keys of accepts; one answer per write.
    async fn claim_keys(&self, writes: &[TxWrite], now: &[usize]) -> Vec<Claim> {
        let mut claims: Vec<Claim> = now.iter().map(|_| Claim::Keyless).collect();
        let mut asked = Vec::new();
        let mut calls = Vec::new();
        for (place, &index) in now.iter().enumerate() {
            let Some(key) = &writes[index].key else { continue };
            let (at, name) = self.inner.keys.caller(key);
            let token = self.token();
            let call = Call::new(&RESERVE_KEY, &at).key(name);
            calls.push(call.arg(writes[index].tx.as_bytes()).arg(token).request());
            asked.push((place, index, token));
        }
        let answers = self.inner.link.call(calls, Writes::Yes).await;
        for ((place, index, token), answer) in asked.into_iter().zip(answers) {
            claims[place] = match answer.and_then(read_key_record) {
                Err(failure) => Claim::Failed(failure),
                Ok((owner, true, _)) => Claim::Taken(owner),
                Ok((owner, false, theirs)) if owner == writes[index].tx => {
                    let new = theirs == token;
                    Claim::Reserved { token: theirs, new }
                }
                Ok((owner, false, theirs)) => {
                    let taken = self.take_key(&writes[index], owner, &theirs, &token).await;
                    taken.unwrap_or_else(Claim::Failed)
                }
            };
        }
        claims
    }

    /// Takes a key over from a transaction that only reserved it.
    async fn take_key(
        &self,
        write: &TxWrite,
        owner: TxId,
        theirs: &[u8],
        token: &[u8],
    ) -> Result<Claim, Failure> {
        if self.void(owner, theirs).await? {
            return Ok(Claim::Taken(owner));
        }
        if self.replace_key(write, owner, theirs, write.tx.as_bytes(), token).await? {
            return Ok(Claim::Reserved { token: token.to_vec(), new: true });
        }
        Ok(Claim::Again)
    }

    /// Makes a reservation void unless its transaction was accepted with it. Says whether it was.
    async fn void(&self, tx: TxId, token: &[u8]) -> Result<bool, Failure> {
        let place = self.inner.keys.shard(self.shard_of(tx));
        let call = Call::new(&VOID, &place)
            .key(place.key("lease"))
            .key(place.row(tx))
            .key(place.key("voids"))
            .arg(token);
        Ok(count(self.inner.link.one(call.request(), Writes::Yes).await?)? == 1)
    }

    /// Gives a void reservation to `new`, or to nobody if that is empty. Says whether it was so.
    async fn replace_key(
        &self,
        write: &TxWrite,
        owner: TxId,
        theirs: &[u8],
        new: &[u8],
        token: &[u8],
    ) -> Result<bool, Failure> {
        let Some(key) = &write.key else { return Ok(false) };
        let (at, name) = self.inner.keys.caller(key);
        let call = Call::new(&TAKE_KEY, &at).key(name);
        let call = call.arg(owner.as_bytes()).arg(theirs).arg(new).arg(token);
        Ok(count(self.inner.link.one(call.request(), Writes::Yes).await?)? == 1)
    }

    /// Frees the keys of accepts that were refused. What fails here is taken over when somebody
    /// wants the key.
    async fn give_up_keys(&self, writes: &[TxWrite], unused: Vec<(usize, Vec<u8>)>) {
        for (index, token) in unused {
            let write = &writes[index];
            let freed = async {
                if !self.void(write.tx, &token).await? {
                    self.replace_key(write, write.tx, &token, &[], &[]).await?;
                }
                Ok::<_, Failure>(())
            };
            if let Err(failure) = freed.await {
                tracing::debug!(tx = %write.tx, error = %failure.error, "a key stays reserved");
            }
        }
    }
}

/// What can be written now, and what must wait for it: an accept whose key an earlier item
/// claims, and everything about the same transaction after it.
fn split(writes: &[TxWrite], open: &[usize]) -> (Vec<usize>, Vec<usize>) {
    if open.iter().all(|&index| writes[index].key.is_none()) {
        return (open.to_vec(), Vec::new());
    }
    let (mut keys, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    open.iter().partition(|&&index| {
        let write = &writes[index];
        let first = write.key.as_ref().is_none_or(|key| keys.insert(key));
        if !first {
            waiting.insert(write.tx);
        }
        !waiting.contains(&write.tx)
    })
}

fn push_write(call: &mut Call, write: &TxWrite, claim: &Claim) {
    let (expect, version) = match write.expect {
        Expect::Absent => (String::new(), "1".to_owned()),
        Expect::Version(version) => (version.0.to_string(), version.next().0.to_string()),
    };
    let fence = write.fence.map_or_else(Vec::new, |fence| {
        [&fence.holder.0.to_be_bytes()[..], fence.epoch.0.to_string().as_bytes()].concat()
    });
    call.push(codec::head(write));
    call.push(expect);
    call.push(version);
    call.push(fence);
    call.push(codec::body(write));
    call.push(codec::journal(&write.journal));
    call.push(write.definition.as_deref().unwrap_or_default());
    call.push(write.key.as_ref().map(codec::key).unwrap_or_default());
    match claim {
        Claim::Reserved { token, .. } => call.push(token),
        _ => call.push(""),
    }
    match claim {
        Claim::Taken(owner) => call.push(owner.as_bytes()),
        _ => call.push(""),
    }
    call.push(write.tx.as_bytes());
}

/// Owner, whether it is forgotten, and the token.
fn read_key_record(value: Value) -> Result<(TxId, bool, Vec<u8>), Failure> {
    let [owner, state, token] =
        <[_; 3]>::try_from(texts(value)?).map_err(|_| Failure::strange())?;
    let owner = <[u8; 16]>::try_from(owner).map_err(|_| Failure::strange())?;
    Ok((TxId::from_bytes(owner), state == b"f", token))
}

fn read_answers(value: Value, members: &[(usize, Claim)]) -> Result<Vec<Answer>, Failure> {
    let parts = texts(value)?;
    if parts.len() != members.len() * 3 {
        return Err(Failure::strange());
    }
    parts.chunks(3).zip(members).map(|(parts, (_, claim))| read_answer(parts, claim)).collect()
}

fn read_answer(parts: &[Vec<u8>], claim: &Claim) -> Result<Answer, Failure> {
    let [code, found, told] = parts else { return Err(Failure::strange()) };
    let version = codec::number(found).map(Version);
    Ok(Answer::Settled(match (code.as_slice(), version, claim) {
        (b"applied", Some(version), _) => CommitResult::Committed(version),
        (b"conflict", found, _) => {
            let verdict = codec::read_verdict(told).map_err(|_| Failure::strange())?;
            CommitResult::Conflict { found, verdict }
        }
        (b"fenced", ..) => CommitResult::Fenced,
        (b"duplicate", _, Claim::Taken(owner)) => CommitResult::DuplicateKey { tx: *owner },
        (b"void", ..) => return Ok(Answer::Void),
        _ => return Err(Failure::strange()),
    }))
}
