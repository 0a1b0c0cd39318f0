//! What can go wrong for whoever uses a coordinator. Every error says whether to try again and
//! whether something may have happened.

use dtx_core::{
    engine::SettingsError,
    error::{Effect, Retry, StoreError, TransportError},
    ids::TxId,
    name::{ActionName, OperationName, ParticipantName},
    pattern::{Pattern, Phase},
};
use thiserror::Error;

use crate::participant::HostError;

/// A coordinator that could not start. Nothing of it is left running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The builder was given no store.
    #[error("no store was given: call store(..) on the builder")]
    NoStore,
    /// The builder was given no transport.
    #[error("no transport was given: call transport(..) on the builder")]
    NoTransport,
    /// A setting cannot be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Two participants have one name.
    #[error("participant {0} was given twice")]
    DuplicateParticipant(ParticipantName),
    /// The store failed.
    #[error("the store did not answer")]
    Store(#[source] StoreError),
    /// The transport failed.
    #[error("the transport did not answer")]
    Transport(#[source] TransportError),
    /// The runtime was shut down in the middle of the start.
    #[error("the runtime ended")]
    RuntimeEnded,
    /// A participant could not be hosted.
    #[error("participant {0} could not be hosted")]
    Host(ParticipantName, #[source] HostError),
}

/// A transaction that was not accepted, or of which that is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The coordinator has `in_flight_max` transactions in memory.
    #[error("overloaded: in_flight_max transactions are on their way")]
    Overloaded,
    /// The coordinator is shutting down.
    #[error("the coordinator is shut down")]
    Closed,
    /// The coordinator owns no shard, because others have them all, or it just lost the one that
    /// it had chosen. Nothing was written.
    #[error("this coordinator owns no shard for the transaction")]
    NoShard,
    /// The store may lose what it acknowledged.
    #[error(
        "store {store} does not survive the loss of power, so {pattern} is not accepted; \
         use a durable store or set allow_volatile"
    )]
    Volatile {
        /// The store.
        store: &'static str,
        /// The pattern.
        pattern: Pattern,
    },
    /// A participant that this process hosts does not offer what is asked of it.
    #[error(
        "operation {operation}: participant {participant} does not offer {action} version \
         {version} for {phase}"
    )]
    Unsupported {
        /// The operation.
        operation: OperationName,
        /// Its participant.
        participant: ParticipantName,
        /// Its action.
        action: ActionName,
        /// The version of the action.
        version: u32,
        /// The phase that is missing.
        phase: Phase,
    },
    /// The modifiers name a strategy or a condition that nobody registered.
    #[error("the modifiers name {0}, which is not registered with this coordinator")]
    Unregistered(ActionName),
    /// The key belongs to a transaction with another definition.
    #[error("the key belongs to transaction {0}, which has another definition")]
    KeyConflict(TxId),
    /// The store of this coordinator is not of the type that the connection is for.
    #[error("this coordinator's store is not one of the connection's kind")]
    OtherStore,
    /// The store refused or failed.
    #[error("the store did not accept the transaction")]
    Store(#[source] StoreError),
    /// The coordinator lost the shard while the accept was on its way.
    #[error("the shard was lost while transaction {0} was being accepted")]
    Lost(TxId),
}

impl SubmitError {
    /// Whether to submit again. Without a key of the caller's, a second submit after an unknown
    /// effect may be a second transaction.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Overloaded | Self::NoShard | Self::Lost(_) => {
                Retry::After(std::time::Duration::from_millis(100))
            }
            Self::Store(error) => error.retry(),
            _ => Retry::Never,
        }
    }

    /// Whether the transaction may have been accepted.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Lost(_) => Effect::Unknown,
            Self::Store(error) => error.effect(),
            _ => Effect::None,
        }
    }
}

/// A signal that was not given.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The store has no such transaction.
    #[error("transaction {0} is unknown")]
    Unknown(TxId),
    /// It is decided or ended.
    #[error("transaction {0} is decided; it is too late for this signal")]
    TooLate(TxId),
    /// An earlier signal says the opposite, and stands.
    #[error("transaction {tx} was given {stands} before, which stands")]
    Contradicts {
        /// The transaction.
        tx: TxId,
        /// The earlier signal.
        stands: String,
    },
    /// It cannot be given.
    #[error("the signal cannot be given: {0}")]
    Invalid(&'static str),
    /// Others write to the transaction all the time.
    #[error("transaction {0} is being written to by others; try again")]
    Busy(TxId),
    /// The store failed.
    #[error("the store did not take the signal")]
    Store(#[source] StoreError),
}

/// An outcome that is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// The coordinator stopped before the outcome; the transaction goes on at the next owner.
    #[error("the coordinator stopped; transaction {0} goes on when its shard has an owner")]
    Stopped(TxId),
    /// The store does not have it: nobody accepted it, or it was purged.
    #[error("transaction {0} is unknown")]
    Unknown(TxId),
    /// The store failed.
    #[error("the outcome could not be read")]
    Store(#[source] StoreError),
}
