//! Participants whose handlers work in the transaction that holds their inbox.

use std::sync::Arc;

use dtx_core::{
    name::{ActionName, NameError, ParticipantName},
    store::{BranchStore, Unit, UnitStore},
    transaction::Action,
};

use super::{
    builder::{Memory, Participant, ParticipantError},
    host::UnitHost,
    offer::Offers,
    offering::offering,
    phases::{Compensate, Deliver, Execute, Prepare, Reserve, Status, TwoPhaseCommit, Validate},
};

/// A participant whose handlers work in a database transaction that also holds its inbox: effect
/// and answer become durable together or not at all, so the effect happens **exactly once**.
///
/// The transaction is [`Context::tx`](super::Context::tx); its first statement was the claim of
/// the inbox row. A handler must not end it. A no is stored with what was done undone; after any
/// other failure nothing is stored, and a repeat runs the handler again.
#[derive(Debug)]
pub struct UnitParticipant<U: Unit> {
    name: ParticipantName,
    offers: Offers<U>,
    store: Arc<dyn UnitStore<Unit = U>>,
    branches: Option<Arc<dyn BranchStore<Unit = U>>>,
    fault: Option<ParticipantError>,
}

impl Participant {
    /// A participant whose handlers work in this store's transactions, and which offers nothing
    /// yet.
    ///
    /// # Errors
    /// [`NameError`] when the name is not valid.
    pub fn within<S: UnitStore>(
        name: impl AsRef<str>,
        store: S,
    ) -> Result<UnitParticipant<S::Unit>, NameError> {
        let name = ParticipantName::new(name)?;
        let (store, offers) = (Arc::new(store), Offers::default());
        Ok(UnitParticipant { name, offers, store, branches: None, fault: None })
    }

    /// A participant like that of [`Self::within`], whose database is also the resource manager
    /// of two-phase commits: see [`UnitParticipant::prepared`].
    ///
    /// # Errors
    /// [`NameError`] when the name is not valid.
    pub fn resource_manager<S: BranchStore>(
        name: impl AsRef<str>,
        store: S,
    ) -> Result<UnitParticipant<S::Unit>, NameError> {
        let name = ParticipantName::new(name)?;
        let (store, offers) = (Arc::new(store), Offers::default());
        let branches: Arc<dyn BranchStore<Unit = S::Unit>> = store.clone();
        Ok(UnitParticipant { name, offers, store, branches: Some(branches), fault: None })
    }
}

impl<U: Unit> UnitParticipant<U> {
    offering!(U);

    /// Offers two-phase commit by the database itself: the action's `execute` is the work of the
    /// first phase, which the database then prepares, with its locks, and commits or takes back
    /// when it is decided. The output of the work is that of `commit`.
    ///
    /// Only of a [`Participant::resource_manager`].
    #[must_use]
    pub fn prepared<A: Execute<U>>(mut self, action: A) -> Self {
        if self.branches.is_none() {
            let fault = ParticipantError::NoResourceManager(self.name.clone());
            self.fault = self.fault.or(Some(fault));
        }
        self.offer::<A>(action, |offers, name, action| offers.branch(name, action))
    }

    /// Its name.
    pub fn name(&self) -> &ParticipantName {
        &self.name
    }
}

impl<U: Unit> From<UnitParticipant<U>> for Participant {
    fn from(participant: UnitParticipant<U>) -> Self {
        let UnitParticipant { name, offers, store, branches, fault } = participant;
        let service = UnitHost::new(offers, store, branches);
        Self {
            name,
            offers: Offers::default(),
            resource: None,
            memory: Memory::Unit(Arc::new(service)),
            fault,
        }
    }
}
