//! Locks: the built-in participant for exclusive and shared holds on a key.
//!
//! A lock that is held is `LOCK_SHARES` shares, of which a shared one takes one and an exclusive
//! one takes all. Under 2PC a busy lock queues until the deadline of the prepare; under the other
//! patterns, which take no locks, a claim expires by itself and a rival is refused at once.

use serde::{Deserialize, Serialize};

use bytes::Bytes;

use crate::{
    answer::{Done, NotDone, PhaseAnswer, Refusal, rejected},
    frame::Kind,
    ids::TxId,
    mutant,
    pattern::{Pattern, Phase},
    resource::{
        DamagedRow, ReadRows, Resource, ScopeState, StatusOutput, StatusState,
        barrier::{ASK_AFTER_DEFAULT, InboxRow},
        codec,
        holds::{Hold, HoldKind, HoldSettings, HoldSettingsError, Holds, NewHold, Owner},
        pool::scope_of,
    },
    store::{RowKey, Scope},
    time::Timestamp,
    transaction::Action,
    transport::Command,
};

/// How many shared holds one key can have.
pub const LOCK_SHARES: u64 = 1 << 20;

/// The action that locks a key.
#[derive(Clone, Copy, Debug)]
pub struct Lock;

impl Action for Lock {
    const NAME: &'static str = "lock";
    type Input = LockKey;
    type Output = ();
}

/// The input of [`Lock`], as JSON. It has no output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockKey {
    /// Which key, 1 to 128 bytes.
    pub key: String,
    /// Whether others may hold it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// Locks as a participant.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    settings: HoldSettings,
}

impl Locks {
    /// Locks with these bounds.
    ///
    /// # Errors
    /// When a setting is out of its bounds.
    pub fn new(settings: HoldSettings) -> Result<Self, HoldSettingsError> {
        settings.check()?;
        Ok(Self { settings })
    }
}

fn lock_key(command: &Command) -> Result<LockKey, NotDone> {
    if command.action.as_str() != Lock::NAME || command.action_version != Lock::VERSION {
        return Err(NotDone::unknown(format!(
            "these locks have no action {} {}",
            command.action, command.action_version
        )));
    }
    serde_json::from_slice(&command.payload)
        .or_else(|error| rejected(format!("the input is not valid: {error}")))
}

/// The key of the one row of a lock.
fn row_key() -> RowKey {
    RowKey(Bytes::from_static(b"l"))
}

impl Resource for Locks {
    fn scope(&self, command: &Command) -> Result<Scope, NotDone> {
        scope_of(&command.participant, &lock_key(command)?.key)
    }

    fn keys(&self, _: &Command) -> Vec<RowKey> {
        vec![row_key()]
    }

    fn load(&self, rows: &ReadRows, now: Timestamp) -> Result<Box<dyn ScopeState>, DamagedRow> {
        let stored = rows.get(&row_key());
        let row: Option<LockRow> = stored
            .map(|row| codec::decode(Kind::LockRow, &row.value))
            .transpose()
            .map_err(|error| DamagedRow { key: row_key(), error })?;
        let is_stored = row.is_some();
        let mut row = row.unwrap_or_default();
        let latest = row.latest.max(now);
        let mut holds = Holds::new(std::mem::take(&mut row.holds));
        let mut change_count = holds.expire(latest) as u64;
        let queued = row.queue.len();
        row.queue.retain(|waiter| waiter.until > latest);
        change_count += (queued - row.queue.len()) as u64;
        Ok(Box::new(LockState {
            settings: self.settings.clone(),
            is_stored,
            latest,
            holds,
            queue: row.queue,
            change_count,
        }))
    }
}

/// The one row of a lock.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LockRow {
    latest: Timestamp,
    holds: Vec<Hold>,
    queue: Vec<Waiter>,
}

/// A 2PC prepare that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiter {
    owner: Owner,
    shares: u64,
    until: Timestamp,
}

#[derive(Debug)]
struct LockState {
    settings: HoldSettings,
    is_stored: bool,
    latest: Timestamp,
    holds: Holds,
    queue: Vec<Waiter>,
    change_count: u64,
}

impl ScopeState for LockState {
    fn apply(&mut self, command: &Command, inbox: Option<&InboxRow>) -> PhaseAnswer {
        let owner = (command.tx, command.operation);
        let is_shared = lock_key(command)?.shared || mutant!(LockShared);
        let shares = if is_shared { 1 } else { LOCK_SHARES };
        let done = Ok(Done::default());
        match (command.phase, command.pattern) {
            (Phase::Prepare, Pattern::TwoPhaseCommit) => self.prepare(command, owner, shares),
            (Phase::Prepare | Phase::Reserve, _) if self.is_free_for(owner, shares) => {
                self.grant(command, owner, shares, false)
            }
            (Phase::Execute, Pattern::Saga | Pattern::CriticalEventual) | (Phase::Deliver, _)
                if self.is_free_for(owner, shares) =>
            {
                done
            }
            (Phase::Commit, _) if command.one_phase && self.holds.get(owner).is_none() => {
                // What would be locked and unlocked at once only has to be free.
                if self.is_free_for(owner, shares) { done } else { self.busy() }
            }
            (Phase::Prepare | Phase::Reserve | Phase::Deliver, _)
            | (Phase::Execute, Pattern::Saga | Pattern::CriticalEventual) => {
                rejected("the key is locked")
            }
            (Phase::Validate, _) if self.holds.get(owner).is_some() => {
                self.holds.pin(owner);
                self.change_count += 1;
                done
            }
            (Phase::Execute | Phase::Commit, _) if self.holds.get(owner).is_some() => {
                self.drop_claim(owner);
                done
            }
            (Phase::Validate | Phase::Execute | Phase::Commit, _) => {
                Err(NotDone::Refused(Refusal::Expired))
            }
            (Phase::Abort | Phase::Cancel | Phase::Release | Phase::Compensate, _) => {
                self.drop_claim(owner);
                done
            }
            (Phase::Status, _) => self.status(owner, inbox),
        }
    }

    fn change_count(&self) -> u64 {
        self.change_count
    }

    fn into_changes(self: Box<Self>) -> Vec<(RowKey, Option<Bytes>)> {
        if self.change_count == 0 {
            return Vec::new();
        }
        let holds = self.holds.into_vec();
        if holds.is_empty() && self.queue.is_empty() {
            // A free lock needs no row.
            return if self.is_stored { vec![(row_key(), None)] } else { Vec::new() };
        }
        let row = LockRow { latest: self.latest, holds, queue: self.queue };
        vec![(row_key(), Some(codec::encode(Kind::LockRow, &row)))]
    }
}

impl LockState {
    fn held(&self) -> u128 {
        let totals = self.holds.totals();
        totals.pinned + totals.strict
    }

    /// First come, first served: nobody overtakes an earlier waiter.
    fn is_free_for(&self, owner: Owner, shares: u64) -> bool {
        let waits_first = mutant!(QueueOvertaken)
            || self.queue.first().is_none_or(|waiter| waiter.owner == owner);
        waits_first && self.held() + u128::from(shares) <= u128::from(LOCK_SHARES)
    }

    fn busy(&self) -> PhaseAnswer {
        Err(NotDone::unknown("the key is locked; ask again"))
    }

    fn prepare(&mut self, command: &Command, owner: Owner, shares: u64) -> PhaseAnswer {
        if self.is_free_for(owner, shares) {
            self.leave_queue(owner);
            return self.grant(command, owner, shares, true);
        }
        let is_queued = self.queue.iter().any(|waiter| waiter.owner == owner);
        if !is_queued {
            if self.queue.len() >= self.settings.queue_max as usize {
                return Err(NotDone::unknown("too many wait for the key"));
            }
            let wait = command.deadline.or(command.ttl).unwrap_or(ASK_AFTER_DEFAULT);
            self.queue.push(Waiter { owner, shares, until: self.latest + wait });
            self.change_count += 1;
        }
        self.busy()
    }

    fn grant(&mut self, command: &Command, owner: Owner, shares: u64, pinned: bool) -> PhaseAnswer {
        if self.holds.len() >= self.settings.holds_max as usize {
            return Err(NotDone::unknown("there are too many holds on the key"));
        }
        // Numbers only order the claims that are live.
        let number = self.holds.last_number() + 1;
        let hold = NewHold { number, owner, amount: shares, kind: HoldKind::Strict, pinned };
        self.holds.add(&self.settings, self.latest, command.ttl, hold);
        self.change_count += 1;
        Ok(Done::default())
    }

    fn leave_queue(&mut self, owner: Owner) {
        let queued = self.queue.len();
        self.queue.retain(|waiter| waiter.owner != owner);
        self.change_count += (queued - self.queue.len()) as u64;
    }

    fn drop_claim(&mut self, owner: Owner) {
        self.leave_queue(owner);
        if self.holds.remove(owner).is_some() {
            self.change_count += 1;
        }
    }

    /// The holders, then the earlier waiters.
    fn waits_for(&self, owner: Owner) -> Vec<TxId> {
        let holders = self.holds.iter().map(|hold| hold.owner);
        let earlier = self.queue.iter().map(|waiter| waiter.owner).take_while(|of| *of != owner);
        holders.chain(earlier).map(|(tx, _)| tx).filter(|tx| *tx != owner.0).collect()
    }

    fn status(&self, owner: Owner, inbox: Option<&InboxRow>) -> PhaseAnswer {
        if self.queue.iter().any(|waiter| waiter.owner == owner) {
            return StatusOutput::answer(StatusState::Waiting, self.waits_for(owner));
        }
        let Some(inbox) = inbox else {
            return Err(NotDone::unknown("nothing is known of this operation"));
        };
        if inbox.is_undone() {
            return Err(NotDone::Refused(Refusal::Undone));
        }
        let state = match self.holds.get(owner) {
            _ if inbox.is_executed() => StatusState::Executed,
            Some(hold) if hold.pinned => StatusState::Pinned,
            Some(_) => StatusState::Held,
            None => return Err(NotDone::Refused(Refusal::Expired)),
        };
        StatusOutput::answer(state, Vec::new())
    }
}
