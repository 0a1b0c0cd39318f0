//! The writes of one transaction, as a coordinator makes them.

use std::{fmt, sync::Arc, time::Duration};

use dtx::{
    coordinator::Store,
    ids::{TxId, Version, WriteId},
    prelude::*,
    store::{Expect, Fence, JournalEntry, RecordKind, TxRecord, TxWrite},
};

use dtx_bench::nothing;

use super::server::Server;

/// The two writes of a 2PS that commits, read back from a store after a coordinator made them.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    accept: TxWrite,
    end: TxWrite,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |write: &TxWrite| {
            (write.definition.as_ref().map_or(0, |bytes| bytes.len()), write.state.len())
        };
        let ((definition, accepted), (_, ended)) = (bytes(&self.accept), bytes(&self.end));
        write!(
            f,
            "one 2PS: accept with {definition} bytes of definition and {accepted} of state, end \
             with {ended} of state"
        )
    }
}

async fn started(store: &Arc<dyn Store>, participants: Vec<Participant>) -> Dtx {
    let mut builder =
        Dtx::builder().shared_store(store.clone()).transport(InMemoryTransport::new());
    for participant in participants {
        builder = builder.participant(participant);
    }
    builder.start().await.unwrap()
}

fn write(kind: RecordKind, record: TxRecord, journal: &[JournalEntry]) -> TxWrite {
    TxWrite {
        id: record.last_write,
        tx: record.tx,
        kind,
        expect: Expect::Absent,
        fence: None,
        key: None,
        definition: Some(record.definition),
        verdict: record.verdict,
        state: record.state,
        due: record.due,
        summary: record.summary,
        journal: journal.into(),
        lazy: false,
    }
}

impl Sample {
    pub(crate) async fn taken(server: &Server) -> Self {
        let name = server.name();
        let store = server.open(&name).await;
        // Nobody is there to answer, so the transaction stays as it was accepted.
        let dtx = started(&store, Vec::new()).await;
        let tx = dtx.submit(nothing::transaction(Pattern::TwoPhaseSaga)).await.unwrap().tx();
        let record = store.load(&[tx]).await.unwrap().remove(0).unwrap();
        assert_eq!(record.version, Version(1), "nothing but the accept was written");
        let accept = write(RecordKind::Accepted, record, &store.history(tx).await.unwrap());
        dtx.shutdown(Duration::ZERO).await;

        let other = server.name();
        let store = server.open(&other).await;
        let dtx = started(&store, nothing::participants()).await;
        let mut handle = dtx.submit(nothing::transaction(Pattern::TwoPhaseSaga)).await.unwrap();
        assert_eq!(handle.outcome().await.unwrap(), Outcome::Committed);
        let tx = handle.tx();
        dtx.shutdown(Duration::from_secs(5)).await;
        let record = store.load(&[tx]).await.unwrap().remove(0).unwrap();
        assert_eq!((record.version, record.due), (Version(2), None), "the second write ended it");
        let history = store.history(tx).await.unwrap();
        let mut end = write(RecordKind::Verdict, record, &history[accept.journal.len()..]);
        (end.expect, end.definition) = (Expect::Version(Version(1)), None);
        drop((store, dtx, handle));
        server.forget(&name).await;
        server.forget(&other).await;
        Self { accept, end }
    }

    /// The accept of another transaction.
    pub(crate) fn accept(&self, tx: TxId, id: WriteId, fence: Fence) -> TxWrite {
        TxWrite { id, tx, fence: Some(fence), ..self.accept.clone() }
    }

    /// Its end.
    pub(crate) fn end(&self, tx: TxId, id: WriteId, fence: Fence) -> TxWrite {
        TxWrite { id, tx, fence: Some(fence), ..self.end.clone() }
    }

    /// Accept and end in one: what is left of a transaction, for one commit.
    pub(crate) fn whole(&self, tx: TxId, id: WriteId, fence: Fence) -> TxWrite {
        let (expect, definition) = (Expect::Absent, self.accept.definition.clone());
        let journal = self.accept.journal.iter().chain(&*self.end.journal).cloned().collect();
        let kind = RecordKind::Accepted;
        TxWrite { kind, expect, definition, journal, ..self.end(tx, id, fence) }
    }

    /// How many bytes of the user's and the engine's one record has, on average.
    pub(crate) fn record_bytes(&self) -> usize {
        let of = |write: &TxWrite| {
            write.definition.as_ref().map_or(0, |bytes| bytes.len())
                + write.state.len()
                + postcard::to_allocvec(&*write.journal).unwrap().len()
                + postcard::to_allocvec(&write.summary).unwrap().len()
        };
        (of(&self.accept) + of(&self.end)) / 2
    }
}
