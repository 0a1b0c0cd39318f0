//! Wing and Gong's search with Lowe's memory of what was tried.
//!
//! Not stateright's `LinearizabilityTester`: it remembers nothing of what it tried, so that calls
//! whose outcome is unknown, which stay open to the end, double its work each; and it allows a
//! client no further call after one of them.

use std::collections::{BTreeMap, HashSet};

use super::{Call, Operation, Outcome};

/// What a check says of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// There is an order in which it makes sense.
    Linearizable,
    /// There is none, for this key.
    Broken {
        /// The key.
        key: u64,
    },
    /// The search was given up: as good as a failure.
    Undecided {
        /// The key.
        key: u64,
    },
}

/// How many states the search of one key looks at before it is given up.
pub const STATES_MAX: usize = 2_000_000;

type State = Option<(u64, u64)>;

/// Judges a history, key by key: linearizability is local.
pub fn check(history: &[Operation]) -> Judgement {
    let mut keys: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(operation.key).or_default().push(*operation);
    }
    for (key, operations) in keys {
        match check_key(&operations, STATES_MAX) {
            Some(true) => {}
            Some(false) => return Judgement::Broken { key },
            None => return Judgement::Undecided { key },
        }
    }
    Judgement::Linearizable
}

/// Whether the calls on one key have an order that explains all outcomes; `None` when that takes
/// more than `states_max` states to find out.
pub fn check_key(operations: &[Operation], states_max: usize) -> Option<bool> {
    // What nobody knows of and only asked changes nothing.
    let matters = |operation: &&Operation| {
        operation.outcome != Outcome::Unknown || operation.call != Call::Read
    };
    let mut operations: Vec<_> = operations.iter().filter(matters).copied().collect();
    operations.sort_by_key(|operation| operation.began);
    let mut seen = HashSet::new();
    let start = (Set::default(), None);
    let mut open = vec![start.clone()];
    seen.insert(start);
    while let Some((done, state)) = open.pop() {
        let left = || (0..operations.len()).filter(|i| !done.has(*i));
        let Some(end) = left().map(|i| operations[i].ended).min() else { return Some(true) };
        if end == u64::MAX {
            // Only unknown ones are left, and they may never happen.
            return Some(true);
        }
        for i in left().take_while(|i| operations[*i].began < end) {
            let Some(next) = step(state, &operations[i]) else { continue };
            if next == state && operations[i].outcome == Outcome::Unknown {
                // It may as well never happen.
                continue;
            }
            let reached = (done.with(i), next);
            if seen.insert(reached.clone()) {
                open.push(reached);
            }
        }
        if seen.len() > states_max {
            return None;
        }
    }
    Some(false)
}

/// The register after the call, if its outcome fits.
fn step(state: State, operation: &Operation) -> Option<State> {
    match (operation.call, operation.outcome) {
        (Call::Read, Outcome::Value(value)) => (value == state).then_some(state),
        (Call::Write { id, expect }, outcome) => {
            let (next, written) = match state {
                Some((version, last)) if last == id => (state, Some(version)),
                _ if state.map(|(version, _)| version) == expect => {
                    let version = expect.unwrap_or(0) + 1;
                    (Some((version, id)), Some(version))
                }
                _ => (state, None),
            };
            let fits = match outcome {
                Outcome::Written(version) => written == Some(version),
                Outcome::Conflict(found) => {
                    let version = state.map(|(version, _)| version);
                    written.is_none() && found.is_none_or(|found| found == version)
                }
                Outcome::Unknown => true,
                Outcome::Value(_) => false,
            };
            fits.then_some(next)
        }
        (Call::Read, _) => None,
    }
}

/// A set of small numbers: all below `from`, and the bits above it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Set {
    from: usize,
    above: Vec<u64>,
}

impl Set {
    fn has(&self, i: usize) -> bool {
        i < self.from || {
            let bit = i - self.from;
            self.above.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
        }
    }

    fn with(&self, i: usize) -> Self {
        let mut set = self.clone();
        let bit = i - set.from;
        if set.above.len() <= bit / 64 {
            set.above.resize(bit / 64 + 1, 0);
        }
        set.above[bit / 64] |= 1 << (bit % 64);
        while set.above.first() == Some(&u64::MAX) {
            set.above.remove(0);
            set.from += 64;
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(id: u64, expect: Option<u64>, span: (u64, u64), outcome: Outcome) -> Operation {
        let call = Call::Write { id, expect };
        Operation { key: 0, call, began: span.0, ended: span.1, outcome }
    }

    fn read(value: State, span: (u64, u64)) -> Operation {
        let outcome = Outcome::Value(value);
        Operation { key: 0, call: Call::Read, began: span.0, ended: span.1, outcome }
    }

    fn lost(id: u64, expect: Option<u64>, began: u64) -> Operation {
        write(id, expect, (began, u64::MAX), Outcome::Unknown)
    }

    const NO: Outcome = Outcome::Conflict(None);

    #[test]
    fn histories_that_make_sense_pass() {
        let yes = Outcome::Written;
        let histories: Vec<Vec<Operation>> = vec![
            vec![],
            vec![read(None, (1, 2)), write(7, None, (3, 4), yes(1)), read(Some((1, 7)), (5, 6))],
            // A read beside a write sees it or not.
            vec![write(7, None, (1, 4), yes(1)), read(None, (2, 3))],
            vec![write(7, None, (1, 4), yes(1)), read(Some((1, 7)), (2, 3))],
            // Of two, one wins, whichever ended first.
            vec![write(7, None, (1, 5), yes(1)), write(8, None, (2, 3), NO)],
            // An unknown one happened, did not, or does much later.
            vec![lost(7, None, 1), read(Some((1, 7)), (2, 3))],
            vec![lost(7, None, 1), read(None, (2, 3)), write(8, None, (4, 5), yes(1))],
            vec![lost(7, None, 1), read(None, (2, 3)), read(Some((1, 7)), (4, 5))],
            // A repeat of an unknown one settles it.
            vec![lost(7, None, 1), write(7, None, (2, 3), yes(1)), read(Some((1, 7)), (4, 5))],
            // A late repeat finds another write.
            vec![
                write(7, None, (1, 2), yes(1)),
                write(8, Some(1), (3, 4), yes(2)),
                write(7, None, (5, 6), Outcome::Conflict(Some(Some(2)))),
            ],
        ];
        for history in histories {
            assert_eq!(check(&history), Judgement::Linearizable, "{history:?}");
        }
    }

    #[test]
    fn histories_that_make_none_are_found() {
        let yes = Outcome::Written;
        let histories: Vec<Vec<Operation>> = vec![
            // A stale read after the write was acknowledged.
            vec![write(7, None, (1, 2), yes(1)), read(None, (3, 4))],
            // Both win.
            vec![write(7, None, (1, 4), yes(1)), write(8, None, (2, 3), yes(1))],
            // Nobody wins.
            vec![write(7, None, (1, 4), NO), write(8, None, (2, 3), NO)],
            // An acknowledged write is lost.
            vec![
                write(7, None, (1, 2), yes(1)),
                write(8, Some(1), (3, 4), yes(2)),
                read(Some((1, 7)), (5, 6)),
            ],
            // Two reads see an order that goes back.
            vec![
                write(7, None, (1, 2), yes(1)),
                write(8, Some(1), (3, 10), yes(2)),
                read(Some((2, 8)), (4, 5)),
                read(Some((1, 7)), (6, 7)),
            ],
            // A value that nobody wrote.
            vec![read(Some((1, 9)), (1, 2))],
            // An unknown one cannot happen before it began.
            vec![read(Some((1, 7)), (1, 2)), lost(7, None, 3)],
            // An unknown one happens once.
            vec![
                lost(7, None, 1),
                read(Some((1, 7)), (2, 3)),
                write(8, Some(1), (4, 5), yes(2)),
                read(Some((3, 7)), (6, 7)),
            ],
            // A conflict that shows a version that never was.
            vec![write(7, None, (1, 2), Outcome::Conflict(Some(Some(4))))],
            // A repeat that is applied a second time.
            vec![write(7, None, (1, 2), yes(1)), write(7, None, (3, 4), yes(2))],
        ];
        for history in histories {
            assert_eq!(check(&history), Judgement::Broken { key: 0 }, "{history:?}");
        }
    }

    #[test]
    fn keys_are_judged_apart_and_a_search_that_is_too_long_is_no_pass() {
        let mut other = read(Some((1, 9)), (1, 2));
        other.key = 3;
        let fine = write(7, None, (1, 2), Outcome::Written(1));
        assert_eq!(check(&[fine, other]), Judgement::Broken { key: 3 });
        let many: Vec<_> = (1..20).map(|id| lost(id, None, id)).collect();
        let history = [many, vec![read(Some((1, 99)), (30, 31))]].concat();
        assert_eq!(check_key(&history, 10), None);
        assert_eq!(check_key(&history, STATES_MAX), Some(false));
    }

    #[test]
    fn long_histories_with_unknown_outcomes_are_quick() {
        let mut history = Vec::new();
        for n in 0..500 {
            let expect = (n > 0).then_some(n);
            history.push(write(n + 1, expect, (10 * n + 1, 10 * n + 5), Outcome::Written(n + 1)));
            if n % 50 == 0 {
                history.push(lost(10_000 + n, Some(n), 10 * n + 2));
            }
            history.push(read(Some((n + 1, n + 1)), (10 * n + 6, 10 * n + 7)));
        }
        assert_eq!(check(&history), Judgement::Linearizable);
    }
}
