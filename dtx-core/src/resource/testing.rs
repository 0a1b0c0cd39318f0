//! Commands for the tests of this folder.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use crate::transaction::Action;
use crate::{
    answer::PhaseAnswer,
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId, Version},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    resource::{
        Audit, HoldSettings, Ledger, Plan, ReadRows, Reservations, Resource, Take, Units, Work,
        audit, plan, read_keys, route,
    },
    store::{RowExpect, RowKey, RowSet, Scope, ScopeRows, StoredRow},
    time::Timestamp,
    transport::Command,
};

pub(crate) fn tx(number: u64) -> TxId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    TxId::from_parts(1_700_000_000_000, random)
}

pub(crate) fn at(number: u64) -> AcceptSequence {
    AcceptSequence { epoch: Epoch(1), number }
}

/// A command of transaction `number`, which is also its sequence.
pub(crate) fn command(number: u64, pattern: Pattern, phase: Phase) -> Command {
    Command {
        tx: tx(number),
        operation: OperationIndex(0),
        phase,
        pattern,
        participant: ParticipantName::new("inventory").expect("a name"),
        action: ActionName::new("take").expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: ShardId(3),
        epoch: Epoch(1),
        sequence: at(number),
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: Some(Duration::from_secs(60)),
        one_phase: false,
        reply: true,
        payload: Bytes::new(),
        inputs: Vec::new(),
    }
}

pub(crate) fn with_payload(command: Command, action: &str, payload: &impl Serialize) -> Command {
    let payload = serde_json::to_vec(payload).expect("a payload").into();
    Command { action: ActionName::new(action).expect("a name"), payload, ..command }
}

/// The rows of one scope, with the checks of a real store.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) scope: Scope,
    pub(crate) rows: ReadRows,
    pub(crate) now: Timestamp,
}

impl World {
    pub(crate) fn new(resource: impl Resource, name: &str) -> Self {
        let scope = Scope::new(format!("inventory/{name}")).expect("a scope");
        let now = Timestamp::from_millis(1_000_000);
        Self { resource: Arc::new(resource), scope, rows: ReadRows::new(), now }
    }

    pub(crate) fn read(&self, keys: &[RowKey]) -> ScopeRows {
        let rows = keys.iter().map(|key| self.rows.get(key).cloned()).collect();
        ScopeRows { rows, now: self.now }
    }

    /// Writes all or nothing; a conflict is a bug of the test.
    pub(crate) fn write(&mut self, set: &RowSet) {
        assert_eq!(set.scope, self.scope);
        assert!(set.not_after.is_none_or(|limit| self.now <= limit), "too late");
        let expected = set.changes.iter().map(|change| (&change.key, change.expect));
        for (key, expect) in expected.chain(set.unchanged.iter().map(|(k, e)| (k, *e))) {
            let found = self.rows.get(key).map(|row| row.version);
            match expect {
                RowExpect::Absent => assert_eq!(found, None, "{key:?}"),
                RowExpect::Version(version) => assert_eq!(found, Some(version), "{key:?}"),
            }
        }
        for change in &set.changes {
            let Some(value) = change.value.clone() else {
                self.rows.remove(&change.key);
                continue;
            };
            let version = self.rows.get(&change.key).map_or(Version(1), |row| row.version.next());
            self.rows.insert(change.key.clone(), StoredRow { version, value });
        }
    }

    pub(crate) fn plan(&self, works: &[Work<'_>]) -> Plan {
        for work in works {
            assert_eq!(route(&*self.resource, work.command).as_ref(), Ok(&self.scope));
        }
        let keys = read_keys(&*self.resource, works.iter().map(|work| work.command));
        plan(&*self.resource, &self.scope, &keys, self.read(&keys), works)
    }

    pub(crate) fn batch(&mut self, commands: &[Command]) -> Vec<PhaseAnswer> {
        let works: Vec<_> =
            commands.iter().map(|command| Work { command, not_after: None }).collect();
        let plan = self.plan(&works);
        if let Some(set) = &plan.write {
            self.write(set);
        }
        plan.answers
    }

    pub(crate) fn send(&mut self, command: &Command) -> PhaseAnswer {
        self.batch(std::slice::from_ref(command)).remove(0)
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    pub(crate) fn audit(&self) -> Audit {
        audit(&self.rows, self.now)
    }
}

/// An item "cd" with a stock.
pub(crate) fn item(stock: u64, settings: HoldSettings) -> World {
    let mut world = World::new(Reservations::new(settings).expect("settings"), "cd");
    let participant = ParticipantName::new("inventory").expect("a name");
    let read = Reservations::item(&participant, "cd").expect("an item");
    let opened = Reservations::open_item(&read, &world.read(&read.keys), stock);
    world.write(&opened.expect("it can be opened").expect("it is new"));
    assert_eq!(Reservations::open_item(&read, &world.read(&read.keys), stock), Ok(None));
    world
}

/// An account "alice" with a balance.
pub(crate) fn account(cents: u64) -> World {
    let mut world = World::new(Ledger::default(), "alice");
    let participant = ParticipantName::new("inventory").expect("a name");
    let read = Ledger::account(&participant, "alice").expect("an account");
    let opened = Ledger::open_account(&read, &world.read(&read.keys), cents);
    world.write(&opened.expect("it can be opened").expect("it is new"));
    assert_eq!(Ledger::open_account(&read, &world.read(&read.keys), cents), Ok(None));
    world
}

/// A command that takes units of "cd".
pub(crate) fn take(number: u64, pattern: Pattern, phase: Phase, units: u64) -> Command {
    let units = Units { item: "cd".to_owned(), units, strict: false };
    with_payload(command(number, pattern, phase), Take::NAME, &units)
}
