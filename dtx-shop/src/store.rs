//! What a store must be to hold a shop.

use dtx::store::{Catalog, ParticipantStore, StateStore};

/// A store of transactions and of the participants' rows, as one. Implemented for every such
/// store; clones must share their content.
pub trait ShopStore: StateStore + Catalog + ParticipantStore + Clone {}

impl<S: StateStore + Catalog + ParticipantStore + Clone> ShopStore for S {}
