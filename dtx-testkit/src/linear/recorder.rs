//! What happened, in one order.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

/// A call on the register of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// What is there?
    Read,
    /// Write if the register has this version; `None` if it must be empty. A call with the id of
    /// the register's last write changes nothing and is answered as that one was.
    Write {
        /// The id, which is also the value.
        id: u64,
        /// The expected version.
        expect: Option<u64>,
    },
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The version and the id of its write; `None` where the register is empty.
    Value(Option<(u64, u64)>),
    /// Written; the version that it made.
    Written(u64),
    /// Not written: the register was not as expected. The version that it had, where it is told.
    Conflict(Option<Option<u64>>),
    /// Nobody knows: it may take effect at any later moment, or never.
    Unknown,
}

/// A call with its place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The key of the register.
    pub key: u64,
    /// The call.
    pub call: Call,
    /// When it began.
    pub began: u64,
    /// When it ended; `u64::MAX` if its outcome is unknown.
    pub ended: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Where clients record what they do.
pub trait Log: Debug + Send {
    /// The call is about to be made. Returns once that is recorded.
    fn begin(&mut self, key: u64, call: Call) -> usize;
    /// The call that [`begin`](Self::begin) gave this number came to this end.
    fn end(&mut self, number: usize, outcome: Outcome);
}

/// The history. A place is given under one lock and no clock is read, so that beginnings and ends
/// of different processes have an order that is true: a beginning is recorded before its call is
/// made, and an end after its call has returned.
#[derive(Debug, Default)]
pub struct Recorder {
    history: Mutex<(u64, Vec<Operation>)>,
}

impl Recorder {
    fn with<T>(&self, change: impl FnOnce(&mut u64, &mut Vec<Operation>) -> T) -> T {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, operations) = &mut *history;
        *place += 1;
        change(place, operations)
    }

    /// What was recorded so far. What has not ended is unknown.
    pub fn history(&self) -> Vec<Operation> {
        self.with(|_, operations| operations.clone())
    }
}

impl Log for &Recorder {
    fn begin(&mut self, key: u64, call: Call) -> usize {
        self.with(|place, operations| {
            let (began, ended, outcome) = (*place, u64::MAX, Outcome::Unknown);
            operations.push(Operation { key, call, began, ended, outcome });
            operations.len() - 1
        })
    }

    fn end(&mut self, number: usize, outcome: Outcome) {
        self.with(|place, operations| {
            if outcome != Outcome::Unknown {
                operations[number].ended = *place;
                operations[number].outcome = outcome;
            }
        });
    }
}
