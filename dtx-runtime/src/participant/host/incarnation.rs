//! Which runs of hosts are proven to have ended.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use dtx_core::{ids::HolderId, store::StoreInfo};

/// The hosts of this process whose handlers may be running.
static LIVE: LazyLock<Mutex<HashSet<HolderId>>> = LazyLock::new(Mutex::default);

fn live<T>(use_it: impl FnOnce(&mut HashSet<HolderId>) -> T) -> T {
    use_it(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// One run of a host. It is alive until this is dropped, which is after its last handler.
#[derive(Debug)]
pub(crate) struct Incarnation(HolderId);

impl Incarnation {
    pub(crate) fn begin() -> Self {
        let id = HolderId(uuid::Uuid::new_v4().as_u128());
        live(|hosts| hosts.insert(id));
        Self(id)
    }

    pub(crate) fn id(&self) -> HolderId {
        self.0
    }
}

impl Drop for Incarnation {
    fn drop(&mut self) {
        live(|hosts| hosts.remove(&self.0));
    }
}

/// Whether the end of a host's run is proven. A store that one process owns has claims of this
/// process and of processes that are gone; where several processes share the store, a host that
/// is not of this process may be alive.
pub(crate) fn is_ended(info: &StoreInfo, host: HolderId) -> bool {
    info.opening.is_some() && !live(|hosts| hosts.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_alive_until_it_is_dropped() {
        let host = Incarnation::begin();
        let id = host.id();
        assert!(live(|hosts| hosts.contains(&id)));
        drop(host);
        assert!(!live(|hosts| hosts.contains(&id)));
    }

    #[test]
    fn the_end_is_proven_where_one_process_owns_the_store_and_nowhere_else() {
        let mut info = dtx_core::store::MemoryStore::new().info().clone();
        assert!(info.opening.is_some());
        let alive = Incarnation::begin();
        let gone = HolderId(7);
        assert!(!is_ended(&info, alive.id()), "its handlers may be running");
        assert!(is_ended(&info, gone), "another process, which is gone");
        info.opening = None;
        assert!(!is_ended(&info, gone), "another process, which may be alive");
    }
}
