//! A command on its way through the host.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    answer::{NotDone, PhaseAnswer},
    error::StoreError,
    ids::{OperationIndex, TxId},
    transport::{AckToken, Body, Command, Delivery, Headers},
};
use tokio::time::Instant;

/// What names an operation.
pub(crate) type OperationKey = (TxId, OperationIndex);

/// Where a command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The transport delivered it, this many times so far.
    Delivery { token: AckToken, count: u32 },
    /// The host itself carries a verdict out that an inquiry brought.
    Inquiry,
}

/// A command on its way through the host.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) command: Arc<Command>,
    pub(crate) headers: Option<Arc<Headers>>,
    /// After this nothing new is begun. Counted from the receipt, since clocks of machines differ.
    pub(crate) expires: Option<Instant>,
    pub(crate) origin: Origin,
}

impl Job {
    /// The command of a delivery; the token of any other message, which a host does not handle.
    pub(crate) fn of(delivery: Delivery, now: Instant) -> Result<Self, AckToken> {
        let Body::Command(command) = delivery.envelope.body else { return Err(delivery.token) };
        Ok(Self {
            expires: command.deadline.and_then(|left| now.checked_add(left)),
            command,
            headers: delivery.envelope.headers,
            origin: Origin::Delivery { token: delivery.token, count: delivery.attempt.max(1) },
        })
    }

    /// A command that the host gives itself.
    pub(crate) fn of_inquiry(command: Command) -> Self {
        let origin = Origin::Inquiry;
        Self { command: Arc::new(command), headers: None, expires: None, origin }
    }

    pub(crate) fn key(&self) -> OperationKey {
        (self.command.tx, self.command.operation)
    }

    /// What it is acknowledged by; `None` for the host's own.
    pub(crate) fn token(&self) -> Option<AckToken> {
        match self.origin {
            Origin::Delivery { token, .. } => Some(token),
            Origin::Inquiry => None,
        }
    }

    /// How long it may still be begun; `None` means without end.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.expires.map(|at| at.saturating_duration_since(now))
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It has an answer, and the row holds what must be held of it.
    Answer(PhaseAnswer),
    /// The host could not handle it; nothing is known that could be told.
    Fault(StoreError),
}

pub(crate) fn expired() -> NotDone {
    NotDone::unknown("the deadline of the command has passed")
}
