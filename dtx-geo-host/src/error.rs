//! What can go wrong.

use dtx_core::{
    error::{StoreError, TransportError},
    store::RowKey,
};
use dtx_geo::pool::{PoolCodecError, PoolSettingsError};
use thiserror::Error;

use crate::settings::PoolNodeSettingsError;

/// Why a region of a pool could not be created, started or asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The store has no rows of this region. A region that was never created is created; one that
    /// has lost its disk is created as its next incarnation.
    #[error("the store has no rows of this region; create it, or restore the store")]
    NotCreated,
    /// The region was created before.
    #[error("the store has rows of this region already")]
    Exists,
    /// The rows are of a pool of another name, with other regions or in another order.
    #[error("the rows are of another pool, or of other regions")]
    OtherPool,
    /// The rows are of another incarnation than the one that was given.
    #[error("the rows are of incarnation {stored}, and {given} was given")]
    Incarnation {
        /// In the store.
        stored: u32,
        /// Given.
        given: u32,
    },
    /// A row cannot be read. Nothing is done until it is repaired: without it units would be
    /// counted wrong.
    #[error("row {key:?}: {error}")]
    Damaged {
        /// Which.
        key: RowKey,
        /// What is wrong with it.
        error: PoolCodecError,
    },
    /// Another process drives this region now. This one has stopped.
    #[error("another process drives this region now")]
    Taken,
    /// The node was stopped, or has ended with an error.
    #[error("the node of this region does not run")]
    Stopped,
    /// More units than a pool can count.
    #[error("{0} units are more than a pool can count")]
    TooMany(u64),
    /// A setting of the pool cannot be.
    #[error(transparent)]
    Pool(#[from] PoolSettingsError),
    /// A setting of the node cannot be.
    #[error(transparent)]
    Settings(#[from] PoolNodeSettingsError),
    /// The store failed.
    #[error("the store of the region failed")]
    Store(#[from] StoreError),
    /// The transport failed.
    #[error("the region cannot subscribe to what others tell it")]
    Transport(#[from] TransportError),
}
