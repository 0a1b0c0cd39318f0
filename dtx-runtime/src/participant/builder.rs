//! A participant as it is put together.

use std::sync::Arc;

use dtx_core::{
    name::{ActionName, NameError, ParticipantName},
    pattern::{Pattern, Phase},
    resource::Resource,
    store::{Detached, ParticipantStore},
    transaction::Action,
};
use thiserror::Error;

use super::{
    host::UnitService,
    offer::{Capability, Offers},
    offering::offering,
    phases::{Compensate, Deliver, Execute, Prepare, Reserve, Status, TwoPhaseCommit, Validate},
};

/// A service that carries operations out: what it is called, and what it offers.
///
/// ```
/// use dtx_core::{answer::{Answer, rejected}, transaction::Action};
/// use dtx_runtime::participant::{Compensate, Context, Execute, Participant};
///
/// struct Greet;
/// impl Action for Greet {
///     const NAME: &'static str = "greet";
///     type Input = String;
///     type Output = String;
/// }
/// impl Execute for Greet {
///     async fn execute(&self, _: &mut Context<'_>, name: &String) -> Answer<String> {
///         if name.is_empty() { rejected("nobody to greet") } else { Ok(format!("hello {name}")) }
///     }
/// }
/// impl Compensate for Greet {
///     async fn compensate(&self, cx: &mut Context<'_>, _: &String) -> Answer<()> {
///         let said: Option<String> = cx.forward()?;
///         assert!(said.is_some());
///         Ok(())
///     }
/// }
/// # fn main() -> Result<(), dtx_core::name::NameError> {
/// let greeter = Participant::new("greeter")?.saga(Greet);
/// assert_eq!(greeter.name().as_str(), "greeter");
/// # Ok(())
/// # }
/// ```
///
/// A phase that is written for one unit of work does not fit a participant of another:
///
/// ```compile_fail,E0277
/// # use dtx_core::{answer::Answer, transaction::Action};
/// use dtx_runtime::participant::{Context, Execute, Participant, Unit};
///
/// #[derive(Debug)]
/// struct OwnDatabase;
/// impl Unit for OwnDatabase {
///     type Open = u64;
///     type Tx<'a> = &'a mut u64;
///     fn tx(open: &mut u64) -> &mut u64 {
///         open
///     }
/// }
/// # struct Pay;
/// # impl Action for Pay {
/// #     const NAME: &'static str = "pay";
/// #     type Input = u64;
/// #     type Output = ();
/// # }
/// impl Execute<OwnDatabase> for Pay {
///     async fn execute(&self, cx: &mut Context<'_, OwnDatabase>, due: &u64) -> Answer<()> {
///         **cx.tx() -= due;
///         Ok(())
///     }
/// }
/// let _ = Participant::new("payment").map(|payment| payment.retriable(Pay));
/// ```
#[derive(Clone, Debug)]
pub struct Participant {
    pub(crate) name: ParticipantName,
    pub(crate) offers: Offers,
    pub(crate) resource: Option<(Arc<dyn Resource>, Arc<dyn ParticipantStore>)>,
    pub(crate) memory: Memory,
    pub(super) fault: Option<ParticipantError>,
}

/// Where a participant with handlers remembers what it has answered.
#[derive(Clone, Debug, Default)]
pub(crate) enum Memory {
    /// In the store that the host is started with.
    #[default]
    Host,
    /// In a store of its own.
    Own(Arc<dyn ParticipantStore>),
    /// In the transactions of the handlers.
    Unit(Arc<dyn UnitService>),
    /// In this process alone.
    Volatile,
    /// Nowhere.
    Nothing,
}

/// A participant that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParticipantError {
    /// The name of an action is no name.
    #[error("participant {participant}: {error}")]
    Action {
        /// Of which participant.
        participant: ParticipantName,
        /// What is wrong with the name.
        error: NameError,
    },
    /// Two types offer the same phase of the same action and version.
    #[error(
        "participant {participant}: two types offer the same phase of {action} version {version}"
    )]
    Twice {
        /// Of which participant.
        participant: ParticipantName,
        /// Which action.
        action: ActionName,
        /// In which version.
        version: u32,
    },
    /// It has a resource and handlers; it can have one of the two.
    #[error("participant {0} has a resource and handlers; make two participants of it")]
    Mixed(ParticipantName),
    /// It offers work that a database prepares, and has none.
    #[error("participant {0} offers prepared work and is no resource_manager")]
    NoResourceManager(ParticipantName),
    /// It offers nothing.
    #[error("participant {0} offers no action")]
    Empty(ParticipantName),
}

impl Participant {
    /// A participant that offers nothing yet.
    ///
    /// # Errors
    /// [`NameError`] when the name is not valid.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        Ok(Self {
            name: ParticipantName::new(name)?,
            offers: Offers::default(),
            resource: None,
            memory: Memory::Host,
            fault: None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &ParticipantName {
        &self.name
    }

    /// Serves a built-in resource, whose rows and inbox are in `store`. Such a participant has no
    /// handlers.
    #[must_use]
    pub fn resource(mut self, resource: impl Resource, store: Arc<dyn ParticipantStore>) -> Self {
        self.resource = Some((Arc::new(resource), store));
        self
    }

    /// Remembers its answers in this store and not in the one that the host is started with.
    #[must_use]
    pub fn inbox(mut self, store: Arc<dyn ParticipantStore>) -> Self {
        self.memory = Memory::Own(store);
        self
    }

    /// Remembers its answers in this process alone, as far as the host's limit goes: after a
    /// restart every handler may run again. For handlers that have no effect, and for tests.
    #[must_use]
    pub fn volatile_inbox(mut self) -> Self {
        self.memory = Memory::Volatile;
        self
    }

    /// Remembers nothing: every duplicate runs the handler, and an old copy of `execute` may
    /// still land after its compensation. The coordinator stores the answers instead, which costs
    /// an awaited write for each.
    #[must_use]
    pub fn without_inbox(mut self) -> Self {
        self.memory = Memory::Nothing;
        self
    }

    /// Whether it remembers its answers at least as long as this process runs.
    pub fn has_inbox(&self) -> bool {
        !matches!(self.memory, Memory::Nothing)
    }

    /// Whether it keeps its answers in this process alone.
    pub fn has_volatile_inbox(&self) -> bool {
        matches!(self.memory, Memory::Volatile)
    }

    /// Whether it is a built-in resource, which says itself what it knows.
    pub fn is_resource(&self) -> bool {
        self.resource.is_some()
    }

    /// What its handlers offer, by action and version; empty for a resource.
    pub fn capabilities(&self) -> Vec<Capability> {
        match &self.memory {
            Memory::Unit(service) => service.capabilities(),
            _ => self.offers.capabilities(),
        }
    }

    /// Whether a command would find a handler. Always true for a resource, which answers for
    /// itself, and for `status`, which the inbox answers.
    pub fn offers(
        &self,
        action: &ActionName,
        version: u32,
        pattern: Pattern,
        phase: Phase,
    ) -> bool {
        let offers = |offer: &Capability| {
            offer.action == *action && offer.version == version && offer.offers(pattern, phase)
        };
        self.is_resource() || phase == Phase::Status || self.capabilities().iter().any(offers)
    }

    /// Checks that it can be served. A host does this when it starts.
    ///
    /// # Errors
    /// [`ParticipantError`] says what is wrong.
    pub fn check(&self) -> Result<(), ParticipantError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        match (self.capabilities().is_empty(), self.resource.is_some()) {
            (true, false) => Err(ParticipantError::Empty(self.name.clone())),
            (false, true) => Err(ParticipantError::Mixed(self.name.clone())),
            _ => Ok(()),
        }
    }
}

impl Participant {
    offering!(Detached);
}

#[cfg(test)]
mod tests {
    use std::io;

    use dtx_core::answer::{Answer, rejected};

    use super::*;
    use crate::participant::{Context, Unit};

    /// A carrier's API as the user already has it.
    struct Carrier;

    impl Carrier {
        async fn hold(&self, key: &str, day: &str) -> io::Result<bool> {
            Ok(!key.is_empty() && day != "sunday")
        }
        async fn free(&self, _key: &str) -> io::Result<()> {
            Ok(())
        }
    }

    struct BookSlot {
        carrier: Carrier,
    }

    impl Action for BookSlot {
        const NAME: &'static str = "book-slot";
        type Input = String;
        type Output = String;
    }

    impl Reserve for BookSlot {
        async fn reserve(&self, cx: &mut Context<'_>, day: &String) -> Answer<()> {
            let held = self.carrier.hold(cx.idempotency_key(), day).await?;
            if held { Ok(()) } else { rejected("no slot left") }
        }
        async fn release(&self, cx: &mut Context<'_>, _: &String) -> Answer<()> {
            Ok(self.carrier.free(cx.idempotency_key()).await?)
        }
    }

    impl Validate for BookSlot {
        async fn validate(&self, _: &mut Context<'_>, _: &String) -> Answer<()> {
            Ok(())
        }
    }

    impl Execute for BookSlot {
        async fn execute(&self, cx: &mut Context<'_>, _: &String) -> Answer<String> {
            Ok(cx.operation_key().to_owned())
        }
    }

    /// A unit of work with a transaction of its own, as a database brings one.
    #[derive(Debug)]
    struct Table;

    impl Unit for Table {
        type Open = u64;
        type Tx<'a> = &'a mut u64;
        fn tx(open: &mut u64) -> &mut u64 {
            open
        }
    }

    struct Pay;

    impl Action for Pay {
        const NAME: &'static str = "pay";
        const VERSION: u32 = 2;
        type Input = u64;
        type Output = ();
    }

    impl Execute<Table> for Pay {
        async fn execute(&self, cx: &mut Context<'_, Table>, due: &u64) -> Answer<()> {
            let balance: &mut u64 = cx.tx();
            match balance.checked_sub(*due) {
                Some(left) => {
                    *balance = left;
                    Ok(())
                }
                None => rejected("not enough money"),
            }
        }
    }

    fn offers(participant: &Participant, version: u32, pattern: Pattern, phase: Phase) -> bool {
        let action = ActionName::new("book-slot").expect("a name");
        participant.offers(&action, version, pattern, phase)
    }

    #[test]
    fn a_participant_says_what_it_offers() {
        let shipping = Participant::new("shipping").expect("a name");
        let shipping = shipping.three_phase(BookSlot { carrier: Carrier });
        assert_eq!(shipping.check(), Ok(()));
        let three = Pattern::ThreePhaseSaga;
        for phase in [Phase::Reserve, Phase::Validate, Phase::Execute, Phase::Release] {
            assert!(offers(&shipping, 1, three, phase), "{phase}");
            assert!(shipping.capabilities()[0].offers(three, phase));
        }
        assert!(!offers(&shipping, 1, three, Phase::Compensate));
        assert!(!offers(&shipping, 2, three, Phase::Reserve), "another version");
        assert!(!offers(&shipping, 1, Pattern::TwoPhaseCommit, Phase::Prepare));
    }

    /// The same name as [`BookSlot`] has.
    struct Impostor;

    impl Action for Impostor {
        const NAME: &'static str = "book-slot";
        type Input = String;
        type Output = String;
    }

    impl Execute for Impostor {
        async fn execute(&self, _: &mut Context<'_>, _: &String) -> Answer<String> {
            rejected("I am not he")
        }
    }

    #[test]
    fn two_types_cannot_offer_the_same_phase() {
        let shipping = Participant::new("shipping").expect("a name");
        let shipping = shipping.three_phase(BookSlot { carrier: Carrier });
        let again = shipping.clone().retriable(BookSlot { carrier: Carrier });
        assert_eq!(again.check(), Ok(()), "the same type again is no contradiction");
        let twice = shipping.retriable(Impostor).check();
        assert!(matches!(twice, Err(ParticipantError::Twice { version: 1, .. })), "{twice:?}");
    }

    #[test]
    fn a_handler_can_be_written_for_a_unit_of_work() {
        fn executes<U: Unit, A: Execute<U>>(_: &A) -> u32 {
            A::VERSION
        }
        assert_eq!(executes::<Table, _>(&Pay), 2);
    }
}
