//! Why a run could not be carried out.

use dtx::{
    OpenError,
    coordinator::{OutcomeError, StartError, SubmitError},
    error::StoreError,
    participant::{BuiltinError, HostError},
    transaction::DefinitionError,
};
use thiserror::Error;

/// Why a run could not be carried out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShopError {
    /// The run was begun with another value of an option.
    #[error(
        "run {run} was begun with {option} {before}, and now {now} was given; give the same, or \
         another --run"
    )]
    OptionChanged {
        /// The run.
        run: String,
        /// The option, as it is written on the command line.
        option: &'static str,
        /// What it was begun with.
        before: String,
        /// What was given now.
        now: String,
    },
    /// The options of the run cannot be read.
    #[error("what run {run} was begun with cannot be read: {reason}; give another --run")]
    OptionsUnreadable {
        /// The run.
        run: String,
        /// Why not.
        reason: String,
    },
    /// The accounts or the stock could not be opened.
    #[error("the accounts and the stock could not be opened")]
    Books(#[from] BuiltinError),
    /// The services could not be started.
    #[error("the services could not be started")]
    Start(#[from] StartError),
    /// The transport could not be opened.
    #[error("the transport could not be opened")]
    Transport(#[from] OpenError),
    /// There is no such service.
    #[error(
        "the shop has no service {0:?}; give payment, inventory, shipping, notification or analytics"
    )]
    NoService(String),
    /// A service could not be started.
    #[error("a service could not be started")]
    Host(#[from] HostError),
    /// An order cannot be a transaction.
    #[error("order {order} cannot be a transaction")]
    Definition {
        /// The order.
        order: String,
        /// Why not.
        #[source]
        source: DefinitionError,
    },
    /// An order was not accepted.
    #[error("order {order} was not accepted")]
    Submit {
        /// The order.
        order: String,
        /// Why not.
        #[source]
        source: SubmitError,
    },
    /// What became of an order is not known.
    #[error("what became of order {order} is not known")]
    Outcome {
        /// The order.
        order: String,
        /// Why not.
        #[source]
        source: OutcomeError,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}
