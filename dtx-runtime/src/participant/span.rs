//! The span of a handler: it names the command, and the trace that its transaction came from.

use std::sync::Arc;

use dtx_core::store::Unit;
use tracing::{Instrument, Span};

use super::{
    context::Call,
    offer::{Handler, HandlerFuture},
};

/// Calls a handler in a span of its own. What it logs, and what it calls, belongs to that.
pub(crate) fn call<U: Unit>(
    handler: Arc<dyn Handler<U>>,
    call: Call,
    open: U::Open,
) -> HandlerFuture<U> {
    let span = span(&call);
    let handling = handler.call(call, open);
    match span.is_disabled() {
        true => handling,
        false => Box::pin(handling.instrument(span)),
    }
}

/// The trace of the submitter is the same in all phases and attempts, also where another
/// coordinator has taken the transaction up: it is stored with the transaction.
fn span(call: &Call) -> Span {
    let command = &call.command;
    let trace = call.headers.as_deref().and_then(|headers| headers.trace.as_ref());
    tracing::info_span!(
        "dtx.handler",
        tx = %command.tx,
        participant = %command.participant,
        operation = %command.operation,
        phase = command.phase.name(),
        attempt = command.attempt,
        traceparent = trace.map(|trace| trace.parent.as_str()),
        tracestate = trace.and_then(|trace| trace.state.as_deref()),
    )
}
