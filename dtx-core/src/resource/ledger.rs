//! Ledger: the built-in participant for money, in integer minor units. Implements every phase of
//! every pattern. A balance is never negative, and every claim on it is strict.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    answer::{NotDone, rejected},
    ids::{OperationIndex, TxId},
    name::ParticipantName,
    resource::{
        DamagedRow, ReadRows, Resource, ScopeState,
        holds::{ExtendError, HoldKind, HoldSettings, HoldSettingsError},
        pool::{self, LEVEL_MAX, OpenError, PoolOutput, PoolState, Terms, pool_key, scope_of},
    },
    store::{RowKey, RowSet, Scope, ScopeRead, ScopeRows},
    time::Timestamp,
    transaction::Action,
    transport::Command,
};

/// The action that takes money from an account.
#[derive(Clone, Copy, Debug)]
pub struct Debit;

impl Action for Debit {
    const NAME: &'static str = "debit";
    type Input = Amount;
    type Output = PoolOutput;
}

/// The action that adds money to an account.
#[derive(Clone, Copy, Debug)]
pub struct Credit;

impl Action for Credit {
    const NAME: &'static str = "credit";
    type Input = Amount;
    type Output = PoolOutput;
}

/// The input of [`Debit`] and [`Credit`], as JSON. Their output is a
/// [`PoolOutput`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Of which account, 1 to 128 bytes.
    pub account: String,
    /// How much, in minor units. Nothing at all is valid and changes nothing.
    pub cents: u64,
}

/// Accounts as a participant.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    settings: HoldSettings,
}

impl Ledger {
    /// Accounts with these bounds.
    ///
    /// # Errors
    /// When a setting is out of its bounds.
    pub fn new(settings: HoldSettings) -> Result<Self, HoldSettingsError> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// What to read before [`Self::open_account`] and [`Self::extend`].
    ///
    /// # Errors
    /// When the account cannot be named so.
    pub fn account(participant: &ParticipantName, account: &str) -> Result<ScopeRead, NotDone> {
        Ok(ScopeRead { scope: scope_of(participant, account)?, keys: vec![pool_key()] })
    }

    /// The write that opens an account with its balance; `None` when it is open already.
    ///
    /// # Errors
    /// When it was opened with another balance, or the balance is too large.
    pub fn open_account(
        read: &ScopeRead,
        rows: &ScopeRows,
        cents: u64,
    ) -> Result<Option<RowSet>, OpenError> {
        pool::open(&read.scope, rows.rows.first().and_then(Option::as_ref), rows.now, cents)
    }

    /// The write that lets the claim of an operation live longer.
    ///
    /// # Errors
    /// When there is no live claim, or it was extended as often or as long as it may be.
    pub fn extend(
        &self,
        read: &ScopeRead,
        rows: &ScopeRows,
        operation: (TxId, OperationIndex),
        by: Duration,
    ) -> Result<RowSet, ExtendError> {
        let row = rows.rows.first().and_then(Option::as_ref);
        pool::extend(&self.settings, &read.scope, row, rows.now, operation, by)
    }
}

fn amount(command: &Command) -> Result<(Amount, HoldKind), NotDone> {
    let kind = match (command.action.as_str(), command.action_version) {
        (Debit::NAME, Debit::VERSION) => HoldKind::Strict,
        (Credit::NAME, Credit::VERSION) => HoldKind::Incoming,
        (name, version) => {
            return Err(NotDone::unknown(format!("this ledger has no action {name} {version}")));
        }
    };
    let amount: Amount = serde_json::from_slice(&command.payload)
        .or_else(|error| rejected(format!("the input is not valid: {error}")))?;
    if amount.cents > LEVEL_MAX {
        return rejected(format!("{} is more than {LEVEL_MAX}", amount.cents));
    }
    Ok((amount, kind))
}

fn terms(command: &Command) -> Result<Terms, NotDone> {
    let (amount, kind) = amount(command)?;
    Ok(Terms { amount: amount.cents, kind })
}

impl Resource for Ledger {
    fn scope(&self, command: &Command) -> Result<Scope, NotDone> {
        scope_of(&command.participant, &amount(command)?.0.account)
    }

    fn keys(&self, _: &Command) -> Vec<RowKey> {
        vec![pool_key()]
    }

    fn load(&self, rows: &ReadRows, now: Timestamp) -> Result<Box<dyn ScopeState>, DamagedRow> {
        Ok(Box::new(PoolState::load(&self.settings, terms, rows, now)?))
    }
}
