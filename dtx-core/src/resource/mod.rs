//! Resources: pure functions from rows, time and commands to rows and answers.

pub mod barrier;
mod codec;
#[cfg(test)]
pub(crate) mod testing;

pub use codec::{ROW_VERSION, RowError};

use std::fmt::Debug;

use crate::{
    answer::{Done, NotDone, PhaseAnswer},
    store::{RowKey, Scope},
    time::Timestamp,
    transport::Command,
};

/// Rows of one scope as a resource sees them: what was read, with the changes made so far.
pub trait Rows {
    /// The value of a row that was named by [`Resource::keys`].
    fn get(&self, key: &RowKey) -> Option<&[u8]>;
    /// Sets a row.
    fn put(&mut self, key: RowKey, value: bytes::Bytes);
    /// Deletes a row.
    fn delete(&mut self, key: RowKey);
}

/// A built-in participant: claim, effect and answer of a command are one write, because all of
/// it is a pure function of the rows of one scope.
pub trait Resource: Debug + Send + Sync + 'static {
    /// The scope that the command touches, below `participant/`.
    ///
    /// # Errors
    /// `Unknown` for an action or a version that this resource does not know, `Rejected` for a
    /// payload that can never be right.
    fn scope(&self, command: &Command) -> Result<Scope, NotDone>;

    /// The rows that the command may read or change, without its inbox row.
    fn keys(&self, command: &Command) -> Vec<RowKey>;

    /// Carries the command out. `forward` is the operation's own stored forward answer when the
    /// phase is a backward one. What was changed is rolled back when the answer is not `Ok`.
    fn apply(
        &self,
        rows: &mut dyn Rows,
        now: Timestamp,
        command: &Command,
        forward: Option<&Done>,
    ) -> PhaseAnswer;
}
