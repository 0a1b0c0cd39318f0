//! Faults around a built-in participant.

use dtx_core::{
    answer::NotDone,
    ids::mix,
    resource::{DamagedRow, ReadRows, Resource, ScopeState},
    store::{RowKey, Scope},
    time::Timestamp,
    transport::Command,
};

use super::{Chaos, layer::Strike};

/// A built-in participant that does not know, as often as the knobs say. A fault is drawn for
/// each attempt of a command, so that a repeat may work; nothing happened then.
#[derive(Clone, Debug)]
pub struct ChaosResource<R> {
    pub(super) inner: R,
    pub(super) chaos: Chaos,
}

impl<R: Resource> Resource for ChaosResource<R> {
    fn scope(&self, command: &Command) -> Result<Scope, NotDone> {
        let place = (u64::from(command.operation.0) << 8) | command.phase as u64;
        let attempt = command.tx.salt() ^ mix(place) ^ mix(u64::from(command.attempt) << 32);
        match self.chaos.draw_for(command.participant.as_str(), attempt) {
            Strike::None => self.inner.scope(command),
            Strike::Fail => Err(NotDone::unknown("chaos: injected failure")),
            Strike::TimeOut { .. } => Err(NotDone::unknown("chaos: time-out")),
            Strike::Cut => Err(NotDone::unknown("chaos: cut off")),
        }
    }

    fn keys(&self, command: &Command) -> Vec<RowKey> {
        self.inner.keys(command)
    }

    fn load(&self, rows: &ReadRows, now: Timestamp) -> Result<Box<dyn ScopeState>, DamagedRow> {
        self.inner.load(rows, now)
    }
}
