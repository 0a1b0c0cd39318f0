//! The trace of the submitter, as spans show it: also in the run of a coordinator that never met
//! the submitter.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx::{ids::TxId, pattern::Phase, prelude::*};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::kit::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "vendor=1";

/// The name and the fields of a span.
#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Keeps all spans.
#[derive(Clone, Debug, Default)]
struct Spans {
    last: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Spans {
    fn of(&self, name: &str, tx: TxId) -> Vec<Seen> {
        let is_it = |seen: &&Seen| seen.name == name && seen.fields["tx"] == tx.to_string();
        self.seen.lock().unwrap().iter().filter(is_it).cloned().collect()
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = Seen { name: span.metadata().name(), fields: BTreeMap::new() };
        span.record(&mut seen);
        self.seen.lock().unwrap().push(seen);
        Id::from_u64(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn names_its_origin(seen: &Seen) -> bool {
    let of = |name| seen.fields.get(name).map(String::as_str);
    of("traceparent") == Some(PARENT) && of("tracestate") == Some(STATE)
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_another_coordinator_takes_up_links_to_its_origin() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let world = World::with(1, 8, InMemoryTransport::new());
    let first = world.node(quick(), &[]).await;
    let second = world.node(quick(), &["a"]).await;
    world.script.rule(|call| match call.run {
        1 => Say::After(Duration::from_secs(1)),
        _ => Say::Done,
    });
    let traced = steps(Pattern::Saga, &["a"]);
    let traced = traced.metadata("traceparent", PARENT).metadata("tracestate", STATE);
    let traced = first.submit(traced.build().unwrap()).await.tx();
    let plain = first.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await.tx();
    eventually("both are asked for", async || world.script.runs().len() == 2).await;
    first.freeze(true);
    drop(first);
    settle(&second).await;

    let resumed = spans.of("dtx.resume", traced);
    assert_eq!(resumed.len(), 1, "{resumed:?}");
    assert!(names_its_origin(&resumed[0]), "{resumed:?}");
    let handled = spans.of("dtx.handler", traced);
    assert!(handled.iter().all(names_its_origin), "{handled:?}");
    let first = &handled[0].fields;
    assert_eq!((&*first["participant"], &*first["phase"]), ("a", Phase::Execute.name()));
    // Where there is no trace, the spans are there and name none.
    for name in ["dtx.resume", "dtx.handler"] {
        let spans = spans.of(name, plain);
        assert!(!spans.is_empty(), "{name}");
        assert!(spans.iter().all(|seen| !seen.fields.contains_key("traceparent")), "{spans:?}");
    }
}
