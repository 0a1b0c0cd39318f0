//! The span of a transaction that is taken up: it names the trace that the transaction came from.

use dtx_core::{
    engine::{Input, readable},
    store::TxRecord,
    transport::Headers,
};
use tracing::{Level, Span};

/// The span in which what was found in the store is taken up; none for other inputs, and none
/// where nobody wants it: reading the definition once more is not free.
pub(super) fn span(input: &Input) -> Span {
    match input {
        Input::Recovered { record, .. } => of(record),
        Input::Loaded { record: Ok(Some(record)), .. } => of(record),
        _ => Span::none(),
    }
}

fn of(record: &TxRecord) -> Span {
    if !tracing::span_enabled!(Level::INFO) {
        return Span::none();
    }
    // One that cannot be read is quarantined, which is told elsewhere.
    let transaction = readable(record).ok().map(|(_, transaction)| transaction);
    let headers = transaction.as_ref().and_then(Headers::of);
    let trace = headers.as_deref().and_then(|headers| headers.trace.as_ref());
    tracing::info_span!(
        "dtx.resume",
        tx = %record.tx,
        pattern = record.summary.pattern.word(),
        verdict = record.verdict.map(tracing::field::debug),
        traceparent = trace.map(|trace| trace.parent.as_str()),
        tracestate = trace.and_then(|trace| trace.state.as_deref()),
    )
}
