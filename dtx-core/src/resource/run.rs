//! A batch of commands for one scope of a built-in participant becomes one write.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry as MapEntry};

use crate::{
    answer::{Done, NotDone, PhaseAnswer},
    frame::FrameError,
    ids::{AcceptSequence, HolderId, ShardId},
    pattern::Phase,
    resource::{
        DamagedRow, ReadRows, Resource, ScopeState,
        barrier::{
            Claim, ClaimContext, InboxRow, claim, finish, forgotten_below, inbox_key, mark_key,
            parse_inbox_key, stamp,
        },
    },
    store::{RowChange, RowExpect, RowKey, RowSet, Scope, ScopeRows},
    time::Timestamp,
    transport::Command,
};

/// One command of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The command.
    pub command: &'a Command,
    /// After this moment of the participant store's clock it is not begun any more.
    pub not_after: Option<Timestamp>,
}

/// What a batch comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What must be written before any of the answers leaves; `None` when nothing changes. When
    /// it meets a conflict or is too late, read again and plan again.
    pub write: Option<RowSet>,
    /// One answer per command, in order.
    pub answers: Vec<PhaseAnswer>,
    /// Rows that cannot be read. They are left as they are, and every command that needs one is
    /// answered `Unknown`.
    pub damaged: Vec<RowKey>,
}

/// The scope of a command.
///
/// # Errors
/// The answer to a command that reaches no scope. It needs no memory: it is the same each time.
pub fn route(resource: &dyn Resource, command: &Command) -> Result<Scope, PhaseAnswer> {
    resource.scope(command).map_err(|no| match no {
        // No forward phase of it was or ever will be done, so there is nothing to take back.
        NotDone::Rejected(_) if command.phase.is_backward() => Ok(Done::default()),
        no => Err(no),
    })
}

/// The rows to read for commands of one scope, each once.
pub fn read_keys<'a>(
    resource: &dyn Resource,
    commands: impl IntoIterator<Item = &'a Command>,
) -> Vec<RowKey> {
    let mut keys = BTreeSet::new();
    for command in commands {
        keys.insert(inbox_key(command.tx, command.operation));
        keys.insert(mark_key(command.shard));
        keys.extend(resource.keys(command));
    }
    keys.into_iter().collect()
}

/// Carries a batch of commands of one scope out on the rows that were read of it. The rows and
/// answers are those of the commands one by one, in this order. `read.rows` belong to `keys`,
/// which hold at least the [`read_keys`] of the commands.
///
/// # Panics
/// When `keys` and `read.rows` differ in length.
pub fn plan(
    resource: &dyn Resource,
    scope: &Scope,
    keys: &[RowKey],
    read: ScopeRows,
    works: &[Work<'_>],
) -> Plan {
    assert_eq!(keys.len(), read.rows.len(), "one row or none per key");
    let now = read.now;
    let rows = keys.iter().cloned().zip(read.rows).filter_map(|(key, row)| Some((key, row?)));
    let mut batch = Batch {
        resource,
        rows: rows.collect(),
        now,
        state: None,
        inbox: BTreeMap::new(),
        marks: BTreeMap::new(),
        damaged: BTreeSet::new(),
        not_after: None,
    };
    let answers = works.iter().map(|work| batch.answer(work)).collect();
    let damaged = batch.damaged.iter().cloned().collect();
    Plan { write: batch.into_write(scope, keys), answers, damaged }
}

/// An inbox row as it was read and as it is now.
struct Inbox {
    read: Option<InboxRow>,
    current: Option<InboxRow>,
}

struct Batch<'a> {
    resource: &'a dyn Resource,
    rows: ReadRows,
    now: Timestamp,
    state: Option<Box<dyn ScopeState>>,
    inbox: BTreeMap<RowKey, Inbox>,
    marks: BTreeMap<ShardId, AcceptSequence>,
    damaged: BTreeSet<RowKey>,
    not_after: Option<Timestamp>,
}

impl Batch<'_> {
    fn answer(&mut self, work: &Work<'_>) -> PhaseAnswer {
        let key = inbox_key(work.command.tx, work.command.operation);
        self.load_inbox(&key)?;
        let forgotten_below = self.mark(work.command.shard)?;
        let before = self.inbox.get(&key).and_then(|inbox| inbox.current.clone());
        // Claims of built-in participants end in the write that they begin in.
        let context =
            ClaimContext { host: HolderId(0), ended: &|_| false, forgotten_below, now: self.now };
        let (row, answer) = match claim(before.as_ref(), &context, work.command) {
            Claim::Answer { row, answer } => (row, answer),
            Claim::Ask { .. } => (None, self.load_state()?.apply(work.command, before.as_ref())),
            Claim::Run { row, .. } => {
                if work.not_after.is_some_and(|limit| self.now > limit) {
                    return Err(NotDone::unknown("the deadline has passed"));
                }
                let (row, answer) = self.run(work.command, row, before)?;
                self.not_after = self.not_after.into_iter().chain(work.not_after).min();
                (row, answer)
            }
        };
        if let (Some(row), Some(inbox)) = (row, self.inbox.get_mut(&key)) {
            inbox.current = Some(row);
        }
        answer
    }

    /// The row after the command, if there is one, and the answer.
    fn run(
        &mut self,
        command: &Command,
        claimed: InboxRow,
        before: Option<InboxRow>,
    ) -> Result<(Option<InboxRow>, PhaseAnswer), NotDone> {
        let state = self.load_state()?;
        let changes = state.change_count();
        let answer = stamp(&claimed, command, state.apply(command, before.as_ref()));
        let is_changed = state.change_count() != changes;
        let is_kept = match &answer {
            Ok(_) => true,
            Err(NotDone::Rejected(_)) => command.phase != Phase::Deliver,
            // Nothing stays of these two unless they left something behind.
            Err(NotDone::Unknown(_) | NotDone::Refused(_)) => is_changed,
        };
        let row = if is_kept {
            Some(finish(claimed, command, &answer))
        } else {
            before.map(|row| row.met(command))
        };
        Ok((row, answer))
    }

    fn load_inbox(&mut self, key: &RowKey) -> Result<(), NotDone> {
        if let MapEntry::Vacant(slot) = self.inbox.entry(key.clone()) {
            let read = match self.rows.get(key).map(|row| InboxRow::decode(&row.value)).transpose()
            {
                Ok(read) => read,
                Err(error) => return Err(quarantine(&mut self.damaged, key.clone(), error)),
            };
            slot.insert(Inbox { current: read.clone(), read });
        }
        Ok(())
    }

    fn mark(&mut self, shard: ShardId) -> Result<AcceptSequence, NotDone> {
        if let Some(mark) = self.marks.get(&shard) {
            return Ok(*mark);
        }
        let key = mark_key(shard);
        match forgotten_below(self.rows.get(&key).map(|row| row.value.as_ref())) {
            Ok(mark) => {
                self.marks.insert(shard, mark);
                Ok(mark)
            }
            Err(error) => Err(quarantine(&mut self.damaged, key, error)),
        }
    }

    fn load_state(&mut self) -> Result<&mut dyn ScopeState, NotDone> {
        if self.state.is_none() {
            match self.resource.load(&self.rows, self.now) {
                Ok(state) => self.state = Some(state),
                Err(DamagedRow { key, error }) => {
                    return Err(quarantine(&mut self.damaged, key, error));
                }
            }
        }
        Ok(self.state.as_mut().expect("it was loaded just now").as_mut())
    }

    fn into_write(self, scope: &Scope, keys: &[RowKey]) -> Option<RowSet> {
        let expect = |key: &RowKey| {
            self.rows.get(key).map_or(RowExpect::Absent, |row| RowExpect::Version(row.version))
        };
        let mut changes = Vec::new();
        let is_loaded = self.state.is_some();
        if let Some(state) = self.state {
            for (key, value) in state.into_changes() {
                changes.push(RowChange { expect: expect(&key), key, value });
            }
        }
        let mut answered = BTreeSet::new();
        for (key, inbox) in self.inbox {
            if inbox.current == inbox.read {
                answered.insert(key);
            } else {
                let value = inbox.current.as_ref().map(InboxRow::encode);
                changes.push(RowChange { expect: expect(&key), key, value });
            }
        }
        if changes.is_empty() {
            return None;
        }
        let changed: BTreeSet<_> = changes.iter().map(|change| &change.key).collect();
        // What was decided from rows that did not change holds only while they are as read: the
        // resource's own, the marks, and the rows whose earlier answers are told with this write.
        let marks: BTreeSet<_> = self.marks.keys().map(|shard| mark_key(*shard)).collect();
        let unchanged = keys
            .iter()
            .filter(|key| !changed.contains(key))
            .filter(|key| {
                let is_own = is_loaded && parse_inbox_key(key).is_none();
                marks.contains(key) || answered.contains(*key) || is_own
            })
            .filter(|key| !self.damaged.contains(*key))
            .map(|key| (key.clone(), expect(key)))
            .collect();
        Some(RowSet { scope: scope.clone(), changes, unchanged, not_after: self.not_after })
    }
}

fn quarantine(damaged: &mut BTreeSet<RowKey>, key: RowKey, error: FrameError) -> NotDone {
    damaged.insert(key);
    NotDone::unknown(error.to_string())
}
