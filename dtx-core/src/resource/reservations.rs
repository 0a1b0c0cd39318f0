//! Reservations: the built-in participant for stock. Implements every phase of every pattern.

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

/// The action that takes units of an item.
#[derive(Clone, Copy, Debug)]
pub struct Take;

impl Action for Take {
    const NAME: &'static str = "take";
    type Input = Units;
    type Output = PoolOutput;
}

/// The action that puts units of an item back.
#[derive(Clone, Copy, Debug)]
pub struct PutBack;

impl Action for PutBack {
    const NAME: &'static str = "put-back";
    type Input = Units;
    type Output = PoolOutput;
}

/// The input of [`Take`] and [`PutBack`], as JSON. Their output is a [`PoolOutput`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// Of which item, 1 to 128 bytes.
    pub item: String,
    /// How many. None at all is valid and changes nothing.
    pub units: u64,
    /// 3PS: reserve only what fits beside all live reservations, not just beside the firm ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// Stock as a participant.
#[derive(Clone, Debug, Default)]
pub struct Reservations {
    settings: HoldSettings,
}

impl Reservations {
    /// Stock with these bounds.
    ///
    /// # Errors
    /// When a setting is out of its bounds.
    pub fn new(settings: HoldSettings) -> Result<Self, HoldSettingsError> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// What to read before [`Self::open_item`] and [`Self::extend`].
    ///
    /// # Errors
    /// When the item cannot be named so.
    pub fn item(participant: &ParticipantName, item: &str) -> Result<ScopeRead, NotDone> {
        Ok(ScopeRead { scope: scope_of(participant, item)?, keys: vec![pool_key()] })
    }

    /// The write that opens an item with its stock; `None` when it is open already.
    ///
    /// # Errors
    /// When it was opened with another stock, or the stock is too large.
    pub fn open_item(
        read: &ScopeRead,
        rows: &ScopeRows,
        stock: u64,
    ) -> Result<Option<RowSet>, OpenError> {
        pool::open(&read.scope, rows.rows.first().and_then(Option::as_ref), rows.now, stock)
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

fn units(command: &Command) -> Result<(Units, HoldKind), NotDone> {
    let takes = match (command.action.as_str(), command.action_version) {
        (Take::NAME, Take::VERSION) => true,
        (PutBack::NAME, PutBack::VERSION) => false,
        (name, version) => {
            return Err(NotDone::unknown(format!("this stock has no action {name} {version}")));
        }
    };
    let units: Units = serde_json::from_slice(&command.payload)
        .or_else(|error| rejected(format!("the input is not valid: {error}")))?;
    if units.units > LEVEL_MAX {
        return rejected(format!("{} units are more than {LEVEL_MAX}", units.units));
    }
    let kind = match (takes, units.strict) {
        (false, _) => HoldKind::Incoming,
        (true, true) => HoldKind::Strict,
        (true, false) => HoldKind::Optimistic,
    };
    Ok((units, kind))
}

fn terms(command: &Command) -> Result<Terms, NotDone> {
    let (units, kind) = units(command)?;
    Ok(Terms { amount: units.units, kind })
}

impl Resource for Reservations {
    fn scope(&self, command: &Command) -> Result<Scope, NotDone> {
        scope_of(&command.participant, &units(command)?.0.item)
    }

    fn keys(&self, _: &Command) -> Vec<RowKey> {
        vec![pool_key()]
    }

    fn load(&self, rows: &ReadRows, now: Timestamp) -> Result<Box<dyn ScopeState>, DamagedRow> {
        Ok(Box::new(PoolState::load(&self.settings, terms, rows, now)?))
    }
}
