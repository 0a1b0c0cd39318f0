//! What happened in a run, as a number that two runs can be compared by, and as a journal.

use dtx_core::ids::{TxId, mix};

use crate::history::{HISTORY_VERSION, Happening, What};

/// The most happenings that are kept of a run.
const HAPPENINGS_MAX: usize = 100_000;

/// What happened.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    journal: Option<Vec<Happening>>,
    is_cut: bool,
}

impl Trace {
    pub(crate) fn new(is_kept: bool) -> Self {
        let began =
            || vec![of_run(0, What::Began { version: HISTORY_VERSION, faults: Vec::new() })];
        Self { hash: 0, journal: is_kept.then(began), is_cut: false }
    }

    /// Mixes an event into the number.
    pub(crate) fn mark(&mut self, code: u64, first: u64, second: u64) {
        self.hash = mix(self.hash ^ code ^ mix(first ^ second.rotate_left(32)));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether a journal is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// Adds to the journal, if one is kept; else nothing is formatted.
    pub(crate) fn note(
        &mut self,
        at_us: u64,
        way: (impl ToString, impl ToString),
        tx: Option<TxId>,
        what: impl FnOnce() -> What,
    ) {
        self.note_of((at_us, 0), way, tx, what);
    }

    /// As [`Self::note`], of a run of a node.
    pub(crate) fn note_of(
        &mut self,
        (at_us, run): (u64, u32),
        (from, to): (impl ToString, impl ToString),
        tx: Option<TxId>,
        what: impl FnOnce() -> What,
    ) {
        let Some(journal) = &mut self.journal else { return };
        if journal.len() < HAPPENINGS_MAX {
            let happening = Happening::new(at_us, from.to_string(), run.into(), tx, what());
            journal.push(happening.to(to.to_string()));
        } else {
            self.is_cut = true;
        }
    }

    /// What was kept. It has an end only if all of it was.
    pub(crate) fn into_journal(self, at_us: u64) -> Vec<Happening> {
        let mut journal = self.journal.unwrap_or_default();
        if !self.is_cut && !journal.is_empty() {
            let lines = journal.len() as u64 + 1;
            journal.push(of_run(at_us, What::Ended { lines }));
        }
        journal
    }
}

/// A line about the run itself.
fn of_run(at_us: u64, what: What) -> Happening {
    Happening::new(at_us, "run", 1, None, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_order_is_another_number() {
        let of = |marks: [(u64, u64); 2]| {
            let mut trace = Trace::new(false);
            marks.iter().for_each(|(first, second)| trace.mark(1, *first, *second));
            trace.hash()
        };
        assert_eq!(of([(1, 2), (3, 4)]), of([(1, 2), (3, 4)]));
        assert_ne!(of([(1, 2), (3, 4)]), of([(3, 4), (1, 2)]));
    }

    #[test]
    fn a_journal_is_kept_only_when_it_is_wanted() {
        for (is_kept, count) in [(false, 0), (true, 3)] {
            let mut trace = Trace::new(is_kept);
            trace.note(1, ("a", "b"), None, || What::Note { text: "x".to_owned() });
            assert_eq!(trace.into_journal(2).len(), count);
        }
    }
}
