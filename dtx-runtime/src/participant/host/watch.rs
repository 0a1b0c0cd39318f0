//! What this host saw pinned: claims that no clock may release, and when to ask about them.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dtx_core::{
    answer::{NotDone, Refusal},
    pattern::{Pattern, Phase},
    resource::barrier::ASK_AFTER_DEFAULT,
    store::Scope,
    transport::Command,
};
use foldhash::HashMap;
use tokio::time::Instant;

use super::{
    job::{OperationKey, Settled},
    shared::Shared,
};

/// One pinned claim.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) scope: Scope,
    pub(crate) pattern: Pattern,
    pub(crate) ask_at: Instant,
}

/// The pinned claims that are watched, bounded. What does not fit is found in the store later.
#[derive(Debug)]
pub(crate) struct Watch {
    watched_max: usize,
    watched: Mutex<HashMap<OperationKey, Watched>>,
    /// The store may hold more: at the start, and after there was no room.
    is_partial: AtomicBool,
}

impl Watch {
    pub(crate) fn new(watched_max: usize) -> Self {
        Self { watched_max, watched: Mutex::default(), is_partial: AtomicBool::new(true) }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<OperationKey, Watched>) -> T) -> T {
        use_it(&mut self.watched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to watch what a command pinned, and ends it when another one settled that.
    pub(crate) fn note(&self, command: &Command, settled: &Settled, shared: &Shared) {
        let key = (command.tx, command.operation);
        let done = match settled {
            Settled::Answer(Ok(done)) => done,
            // It is executed, so it holds nothing any more.
            Settled::Answer(Err(NotDone::Refused(Refusal::Executed))) => return self.end(key),
            Settled::Answer(Err(_)) | Settled::Fault(_) => return,
        };
        let is_pinned = match (command.pattern, command.phase) {
            (Pattern::TwoPhaseCommit, Phase::Prepare) => !done.read_only,
            (Pattern::ThreePhaseSaga, Phase::Validate) => true,
            (Pattern::TwoPhaseCommit | Pattern::ThreePhaseSaga, Phase::Status | Phase::Reserve) => {
                return;
            }
            (Pattern::TwoPhaseCommit | Pattern::ThreePhaseSaga, _) => {
                self.end(key);
                return;
            }
            _ => return,
        };
        if is_pinned
            && shared.remembers()
            && let Ok(scope) = shared.scope(command)
        {
            let after = command.ttl.or(command.deadline).unwrap_or(ASK_AFTER_DEFAULT);
            self.begin(key, scope, command.pattern, after);
        }
    }

    /// Watches a claim, unless it is watched already. Says whether there was room.
    pub(crate) fn begin(
        &self,
        key: OperationKey,
        scope: Scope,
        pattern: Pattern,
        after: Duration,
    ) -> bool {
        let ask_at = far(after);
        let has_room = self.with(|watched| {
            let has_room = watched.len() < self.watched_max || watched.contains_key(&key);
            if has_room {
                watched.entry(key).or_insert(Watched { scope, pattern, ask_at });
            }
            has_room
        });
        if !has_room {
            self.is_partial.store(true, Ordering::Relaxed);
        }
        has_room
    }

    pub(crate) fn end(&self, key: OperationKey) {
        self.with(|watched| watched.remove(&key));
    }

    pub(crate) fn get(&self, key: OperationKey) -> Option<Watched> {
        self.with(|watched| watched.get(&key).cloned())
    }

    /// Asks later about this one.
    pub(crate) fn put_off(&self, key: OperationKey, by: Duration) {
        let ask_at = far(by);
        self.with(|watched| {
            if let Some(one) = watched.get_mut(&key) {
                one.ask_at = ask_at;
            }
        });
    }

    /// What is to be asked about now; asked again after `again` if no answer comes.
    pub(crate) fn due(&self, again: Duration) -> Vec<(OperationKey, Pattern)> {
        let (now, next) = (Instant::now(), far(again));
        self.with(|watched| {
            let due = watched.iter_mut().filter(|(_, one)| one.ask_at <= now);
            due.map(|(key, one)| {
                one.ask_at = next;
                (*key, one.pattern)
            })
            .collect()
        })
    }

    /// Whether the store should be scanned for more: something is missing and there is room.
    pub(crate) fn take_partial(&self) -> bool {
        let has_room = self.with(|watched| watched.len() * 2 <= self.watched_max);
        has_room && self.is_partial.swap(false, Ordering::Relaxed)
    }

    /// A scan did not come to its end.
    pub(crate) fn set_partial(&self) {
        self.is_partial.store(true, Ordering::Relaxed);
    }
}

/// A moment after a time that may be absurdly long.
fn far(after: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(after).unwrap_or(now + ASK_AFTER_DEFAULT)
}

#[cfg(test)]
mod tests {
    use dtx_core::ids::{OperationIndex, TxId};

    use super::*;

    fn key(number: u8) -> OperationKey {
        (TxId::from_bytes([number; 16]), OperationIndex(0))
    }

    #[test]
    fn the_list_is_bounded_and_asks_for_a_scan_when_it_has_room_again() {
        let watch = Watch::new(2);
        assert!(watch.take_partial(), "at the start the store is scanned");
        assert!(!watch.take_partial());
        let scope = Scope::new("bank/a").expect("a scope");
        let begin = |number| {
            watch.begin(key(number), scope.clone(), Pattern::TwoPhaseCommit, Duration::ZERO)
        };
        assert!(begin(1) && begin(2) && begin(2));
        assert!(!begin(3), "one past the limit");
        assert!(!watch.take_partial(), "it is full");
        watch.end(key(1));
        assert!(watch.take_partial());
        assert_eq!(watch.due(Duration::from_secs(60)).len(), 1);
        assert!(watch.due(Duration::from_secs(60)).is_empty(), "asked already");
    }
}
