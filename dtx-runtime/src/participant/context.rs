//! What a handler is told besides its input.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use dtx_core::{
    answer::{Answer, NotDone},
    ids::{Epoch, OperationIndex, TxId},
    pattern::{Pattern, Phase},
    store::{Detached, Unit},
    transport::{Command, Headers, TraceContext},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The part of a call that does not depend on the unit of work.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) command: Arc<Command>,
    pub(crate) headers: Option<Arc<Headers>>,
    pub(crate) forward: Option<Bytes>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancelled: CancellationToken,
    /// Made when a handler asks for it.
    key: OnceLock<CallKey>,
}

/// The idempotency key of a call.
#[derive(Clone, Debug)]
struct CallKey {
    text: String,
    operation_end: usize,
}

impl Call {
    pub(crate) fn new(
        command: Arc<Command>,
        headers: Option<Arc<Headers>>,
        forward: Option<Bytes>,
        deadline: Option<Instant>,
        cancelled: CancellationToken,
    ) -> Self {
        Self { command, headers, forward, deadline, cancelled, key: OnceLock::new() }
    }

    fn key(&self) -> &CallKey {
        self.key.get_or_init(|| {
            let command = &self.command;
            let mut text = format!("{}/{}", command.tx, command.operation);
            let operation_end = text.len();
            text.push('/');
            text.push_str(command.phase.name());
            CallKey { text, operation_end }
        })
    }
}

/// What a handler is told besides its input. `U` is the unit of work that it runs in.
pub struct Context<'a, U: Unit = Detached> {
    call: &'a Call,
    tx: U::Tx<'a>,
}

impl<'a, U: Unit> Context<'a, U> {
    pub(crate) fn new(call: &'a Call, tx: U::Tx<'a>) -> Self {
        Self { call, tx }
    }

    /// The transaction.
    pub fn tx_id(&self) -> TxId {
        self.call.command.tx
    }

    /// Which operation of the transaction this is.
    pub fn operation(&self) -> OperationIndex {
        self.call.command.operation
    }

    /// What is asked for.
    pub fn phase(&self) -> Phase {
        self.call.command.phase
    }

    /// How the transaction is coordinated.
    pub fn pattern(&self) -> Pattern {
        self.call.command.pattern
    }

    /// `{tx}/{operation}/{phase}`: the same for every repeat of this call, and for no other.
    /// Hand it to whatever takes an idempotency key.
    pub fn idempotency_key(&self) -> &'a str {
        &self.call.key().text
    }

    /// `{tx}/{operation}`: the same in all phases of the operation. Name by it what one phase
    /// makes and a later one finds again, such as a hold that `release` frees.
    pub fn operation_key(&self) -> &'a str {
        let key = self.call.key();
        &key.text[..key.operation_end]
    }

    /// Which attempt this is, from 1. No part of the idempotency key.
    pub fn attempt(&self) -> u32 {
        self.call.command.attempt
    }

    /// The epoch of the coordinator's lease, for fencing an own resource.
    pub fn epoch(&self) -> Epoch {
        self.call.command.epoch
    }

    /// How much time is left until the handler is given up; `None` when nothing but the host's
    /// own limit ends it.
    pub fn deadline(&self) -> Option<Duration> {
        self.call.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// How long a claim that is made by this call must live unless it is pinned.
    pub fn ttl(&self) -> Option<Duration> {
        self.call.command.ttl
    }

    /// One entry of the caller's metadata.
    pub fn metadata(&self, name: &str) -> Option<&'a str> {
        let headers = self.call.headers.as_deref()?;
        headers.metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The trace context of the submitter.
    pub fn trace(&self) -> Option<&'a TraceContext> {
        self.call.headers.as_deref()?.trace.as_ref()
    }

    /// The output of an operation that this one depends on.
    ///
    /// # Errors
    /// `Unknown` when this operation does not depend on one of that name, or when its output has
    /// another form.
    pub fn input_of<T: DeserializeOwned>(&self, operation: &str) -> Answer<T> {
        let inputs = &self.call.command.inputs;
        let found = inputs.iter().find(|input| input.operation.as_str() == operation);
        let input = found.ok_or_else(|| {
            NotDone::unknown(format!("this operation does not depend on {operation:?}"))
        })?;
        Ok(serde_json::from_slice(&input.output)?)
    }

    /// The stored output of the forward phase that this backward phase reverses. `None` in
    /// forward phases, where that phase has no output (a 2PC vote) or its answer is not known, and
    /// where the participant has no inbox.
    ///
    /// # Errors
    /// `Unknown` when the stored output has another form.
    pub fn forward<T: DeserializeOwned>(&self) -> Answer<Option<T>> {
        match &self.call.forward {
            Some(output) if !output.is_empty() => Ok(Some(serde_json::from_slice(output)?)),
            _ => Ok(None),
        }
    }

    /// Cancelled when the host begins to shut down. A handler that runs on is dropped at its
    /// deadline or at the end of the host's grace, whichever is first.
    pub fn cancelled(&self) -> &'a CancellationToken {
        &self.call.cancelled
    }

    /// The open transaction of the unit of work; what is done with it becomes durable together
    /// with the answer, and is undone when the answer is not `Ok`.
    pub fn tx(&mut self) -> &mut U::Tx<'a> {
        &mut self.tx
    }
}

impl<U: Unit> fmt::Debug for Context<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("key", &self.call.key().text)
            .field("attempt", &self.attempt())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
