//! Undo: the reversal of a committed transaction, by a new one that is linked to it.
//!
//! This is neither a rollback nor a compensation: the old transaction stays committed, and what
//! reverses it runs through the same phases as anything else and may be refused.

use std::{collections::BTreeMap, fmt, sync::Arc};

use thiserror::Error;

use crate::{
    ids::TxId,
    name::{ActionName, OperationName},
    pattern::Pattern,
    store::{Outcome, Status, TxRecord},
    transaction::{
        Action, DefinitionError, Operation, OperationDraft, Payload, Transaction, codec,
    },
};

/// The namespace of the keys of reversing transactions. The key is the id of what is reversed,
/// so that it is reversed once.
pub const UNDO_NAMESPACE: &str = "undo";

type Reverse = Arc<dyn Fn(&[u8]) -> Result<Payload, String> + Send + Sync>;

/// Which action reverses which.
#[derive(Clone, Default)]
pub struct Reversals {
    by_action: BTreeMap<(ActionName, u32), (String, u32, Reverse)>,
}

impl fmt::Debug for Reversals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = self.by_action.iter().map(|(from, (to, version, _))| (from, (to, version)));
        f.debug_map().entries(actions).finish()
    }
}

/// A transaction that cannot be reversed by a new one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UndoPlanError {
    /// Only what was committed can be reversed.
    #[error("only a committed transaction can be undone, and this one is {0:?}")]
    NotCommitted(Status),
    /// Its definition cannot be read.
    #[error("the definition cannot be read: {0}")]
    Unreadable(String),
    /// Nothing is known that reverses one of its actions.
    #[error(
        "nothing reverses action {action} version {version} of operation {operation}; register \
         a reversal"
    )]
    NoReversal {
        /// The operation.
        operation: OperationName,
        /// Its action.
        action: ActionName,
        /// The version of the action.
        version: u32,
    },
    /// The input of an operation does not fit its reversal.
    #[error("the input of operation {operation} cannot be turned around: {reason}")]
    Input {
        /// The operation.
        operation: OperationName,
        /// What is wrong.
        reason: String,
    },
    /// What comes out is no valid definition.
    #[error("the reversing transaction is not valid")]
    Definition(#[from] DefinitionError),
}

impl Reversals {
    /// From now on `B` reverses `A`, with the input that `turn` makes of the old one.
    ///
    /// # Panics
    /// When `A::NAME` is not a valid name, which no transaction could have either.
    #[must_use]
    pub fn reverse<A: Action, B: Action>(
        mut self,
        turn: impl Fn(A::Input) -> B::Input + Send + Sync + 'static,
    ) -> Self {
        let name = ActionName::new(A::NAME).expect("the name of an action is a name");
        let reverse = move |payload: &[u8]| {
            let input = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
            let turned = serde_json::to_vec(&turn(input)).map_err(|error| error.to_string())?;
            Ok(Payload::from(turned))
        };
        let entry = (B::NAME.to_owned(), B::VERSION, Arc::new(reverse) as Reverse);
        self.by_action.insert((name, A::VERSION), entry);
        self
    }

    /// The transaction that reverses a committed one: each critical operation by its reversal,
    /// in the opposite order. Messages stay delivered.
    ///
    /// # Errors
    /// [`UndoPlanError`].
    pub fn plan(
        &self,
        record: &TxRecord,
        by: &str,
        why: &str,
    ) -> Result<Transaction, UndoPlanError> {
        if record.summary.status != Status::Finished(Outcome::Committed) {
            return Err(UndoPlanError::NotCommitted(record.summary.status));
        }
        let original = codec::decode(&record.definition)
            .map_err(|error| UndoPlanError::Unreadable(error.to_string()))?;
        let pattern = match original.pattern() {
            // Without its messages a 1.5PS is a Saga.
            Pattern::CriticalEventual => Pattern::Saga,
            other => other,
        };
        let mut builder = Transaction::builder(pattern)
            .key_in(UNDO_NAMESPACE, record.tx.to_string())
            .undo_of(record.tx)
            .gate(original.gate())
            .metadata("undo-by", cut(by))
            .metadata("undo-reason", cut(why));
        for (index, operation) in original.operations().iter().enumerate() {
            if operation.consistency().is_critical() {
                let after = original
                    .operations()
                    .iter()
                    .filter(|other| other.consistency().is_critical())
                    .filter(|other| other.depends_on().iter().any(|on| on.get() == index))
                    .map(|other| other.name().to_string());
                builder = builder.operation(self.reversed(operation)?.depends_on(after));
            }
        }
        Ok(builder.build()?)
    }

    fn reversed(&self, operation: &Operation) -> Result<OperationDraft, UndoPlanError> {
        let action = (operation.action().clone(), operation.action_version());
        let Some((name, version, turn)) = self.by_action.get(&action) else {
            return Err(UndoPlanError::NoReversal {
                operation: operation.name().clone(),
                action: action.0,
                version: action.1,
            });
        };
        let payload = turn(operation.payload()).map_err(|reason| UndoPlanError::Input {
            operation: operation.name().clone(),
            reason,
        })?;
        Ok(OperationDraft::new(operation.participant().as_str(), name)
            .version(*version)
            .name(operation.name().as_str())
            .payload(payload))
    }
}

/// The key under which the reversal of a transaction is known.
pub fn undo_key(tx: TxId) -> crate::transaction::Key {
    let namespace = crate::name::Namespace::new(UNDO_NAMESPACE).expect("a constant that is a name");
    crate::transaction::Key { namespace, key: tx.to_string() }
}

/// Texts of people become metadata, which has a limit of its own.
fn cut(text: &str) -> String {
    crate::answer::Reason::new(text).as_str().to_owned()
}
