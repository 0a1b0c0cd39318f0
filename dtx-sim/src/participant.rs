//! What users bring: their own participants, and what must hold of them.

use std::{any::Any, fmt};

use dtx_core::{answer::PhaseAnswer, ids::TxId, store::Outcome, transport::Command};

use crate::{draw::Draw, view::View, world::World};

/// A participant of the user's own: a model of the service behind it, which outlives crashes of
/// the host that drives it.
///
/// It stands behind the real barrier with an inbox, as a handler whose effect lies outside of the
/// inbox row's write: after a crash between the two it is asked again, with the same idempotency
/// key, which it must know. One that forgets this fails under
/// [`each_step_twice`](crate::Explorer::each_step_twice).
pub trait Participant: Any + fmt::Debug {
    /// Carries a command out, and says what came of it. `draw` is the only source of chance.
    fn handle(&mut self, command: &Command, draw: &mut Draw) -> PhaseAnswer;
}

/// A run as a check sees it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub(crate) world: &'a World,
}

impl<'a> Run<'a> {
    /// A participant as it is now; `None` when there is none of that name and type.
    pub fn participant<P: Participant>(&self, name: &str) -> Option<&'a P> {
        let (_, own) = self.world.own.iter().find(|(host, _)| {
            self.world.hosts.get(**host).is_some_and(|host| host.name.as_str() == name)
        })?;
        let own: &dyn Any = own.as_ref();
        own.downcast_ref()
    }

    /// Whether all has ended: then nothing may be missing any more.
    pub fn is_over(&self) -> bool {
        self.world.is_over
    }

    /// What is durable of every transaction that was accepted: its outcome, once it has ended.
    pub fn transactions(&self) -> impl Iterator<Item = (TxId, Option<Outcome>)> + 'a {
        let outcome = |view: &View| match view.status {
            dtx_core::store::Status::Finished(outcome) => Some(outcome),
            _ => None,
        };
        self.world.views.iter().map(move |(tx, view)| (*tx, outcome(view)))
    }
}
