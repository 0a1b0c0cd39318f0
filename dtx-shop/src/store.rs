//! What a store must be to hold a shop, and which service keeps its rows where.

use std::{collections::BTreeMap, sync::Arc};

use dtx::store::{Catalog, ParticipantStore, StateStore};

/// A store of transactions and of the participants' rows, as one. Implemented for every such
/// store; clones must share their content.
pub trait ShopStore: StateStore + Catalog + ParticipantStore + Clone {}

impl<S: StateStore + Catalog + ParticipantStore + Clone> ShopStore for S {}

/// Where each service keeps its rows: on one store for all, unless it has its own.
#[derive(Clone, Debug)]
pub(crate) struct Shelves {
    all: Arc<dyn ParticipantStore>,
    own: BTreeMap<String, Arc<dyn ParticipantStore>>,
}

impl Shelves {
    pub(crate) fn new(
        all: impl ParticipantStore,
        own: BTreeMap<String, Arc<dyn ParticipantStore>>,
    ) -> Self {
        Self { all: Arc::new(all), own }
    }

    /// The store with the rows of a service.
    pub(crate) fn of(&self, service: &str) -> &Arc<dyn ParticipantStore> {
        self.own.get(service).unwrap_or(&self.all)
    }
}
