//! One engine and one store, stepped by hand.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    answer::{Done, Reason},
    engine::{
        Context, EngineSettings, Input, InquiryStep, Notice, Outputs, Peers, ShardEngine, Signal,
        SignalEntry, SignalStep, answer_inquiry, signal_write,
    },
    ids::{HolderId, OperationIndex, ShardCount, TxId, WriteId},
    name::ParticipantName,
    pattern::Pattern,
    store::{CommitResult, LeaseRequest, MemorySettings, MemoryState, TxRecord, TxWrite},
    time::Timestamp,
    transaction::{OperationDraft, RetryPolicy, Transaction, TransactionBuilder},
    transport::{Body, Command, Inquiry},
};

pub(crate) const OPERATION: OperationIndex = OperationIndex(0);

pub(crate) struct Rig {
    pub(crate) store: MemoryState,
    pub(crate) engine: ShardEngine,
    pub(crate) peers: Peers,
    pub(crate) settings: Arc<EngineSettings>,
    pub(crate) now: Timestamp,
    pub(crate) tx: TxId,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::noting_from(Duration::from_secs(1))
    }

    /// Attempts are noted durably when their time-out is longer than this.
    pub(crate) fn noting_from(backoff_durable: Duration) -> Self {
        let shards = ShardCount::new(1).expect("a number of shards");
        let store = MemoryState::new(MemorySettings { shards, ..MemorySettings::default() });
        let tx = TxId::from_parts(1, [7; 10]);
        let settings = EngineSettings {
            park_after: Duration::from_millis(100),
            backoff_durable,
            retry: RetryPolicy { attempts_max: 9, backoff_ms: 1, backoff_ms_max: 1 },
            ..EngineSettings::default()
        };
        let settings = Arc::new(settings);
        let engine = Self::owner(&store, tx, 1, &settings);
        let (peers, now) = (Peers::default(), Timestamp::from_millis(1_000));
        Self { store, engine, peers, settings, now, tx }
    }

    pub(crate) fn owner(
        store: &MemoryState,
        tx: TxId,
        holder: u128,
        settings: &Arc<EngineSettings>,
    ) -> ShardEngine {
        let shards = vec![tx.shard(store.info().shards)];
        let ttl = Duration::from_millis(1);
        let request = LeaseRequest { holder: HolderId(holder), shards, ttl };
        let at = Timestamp::from_millis(holder as u64 * 10);
        let leases = store.acquire(&request, at).expect("the shard exists");
        ShardEngine::new(leases[0].fence(), settings.clone())
    }

    pub(crate) fn feed(&mut self, input: Input) -> Outputs {
        let mut out = Outputs::default();
        let peers = &mut self.peers;
        let mut cx = Context { now: self.now, store_now: self.now, load_percent: 0, peers };
        self.engine.handle(input, &mut cx, &mut out);
        out
    }

    pub(crate) fn submit(&mut self, builder: TransactionBuilder) -> Outputs {
        let built = builder.operation(OperationDraft::new("svc", "work")).build();
        let transaction: Arc<Transaction> = Arc::new(built.expect("a valid definition"));
        self.feed(Input::Submit { tx: self.tx, transaction, observed: false })
    }

    pub(crate) fn land(&self, write: &TxWrite) -> CommitResult {
        self.store.commit(std::slice::from_ref(write), self.now).remove(0)
    }

    pub(crate) fn written(&mut self, write: &TxWrite, result: CommitResult) -> Outputs {
        self.feed(Input::Written { tx: self.tx, id: write.id, result })
    }

    pub(crate) fn land_and_tell(&mut self, write: &TxWrite) -> Outputs {
        let result = self.land(write);
        assert!(matches!(result, CommitResult::Committed(_)), "{result:?}");
        self.written(write, result)
    }

    pub(crate) fn record(&self) -> TxRecord {
        self.store.load(&[self.tx]).remove(0).expect("there is a record")
    }

    pub(crate) fn load(&mut self) -> Outputs {
        let record = Ok(Some(Box::new(self.record())));
        self.feed(Input::Loaded { tx: self.tx, record, store_now: self.now })
    }

    pub(crate) fn give(&self, signal: Signal) {
        self.give_to(&self.record(), signal);
    }

    /// By somebody who has read this.
    pub(crate) fn give_to(&self, record: &TxRecord, signal: Signal) {
        let (by, reason) = (Reason::new("somebody"), Reason::new("because"));
        let entry = SignalEntry { signal, by, reason };
        let id = WriteId { writer: HolderId(9), number: self.record().version.0 };
        let step = signal_write(record, entry, id, self.now, &self.settings);
        let SignalStep::Write(write) = step else { panic!("{step:?}") };
        assert!(matches!(self.land(&write), CommitResult::Committed(_)));
    }

    /// A participant asks after the deadline.
    pub(crate) fn abort_by_inquiry(&mut self) {
        self.now = Timestamp::from_millis(300_000);
        let inquiry = Inquiry {
            tx: self.tx,
            pattern: Pattern::TwoPhaseCommit,
            operation: OPERATION,
            participant: ParticipantName::new("svc").expect("a name"),
            host: HolderId(9),
        };
        let id = WriteId { writer: HolderId(9), number: 2 };
        let InquiryStep::Write(abort) =
            answer_inquiry(&inquiry, Some(&self.record()), self.now, id)
        else {
            panic!("it is overdue")
        };
        assert!(matches!(self.land(&abort), CommitResult::Committed(_)));
    }

    pub(crate) fn done(&mut self, command: &Command) -> Outputs {
        self.feed(Input::Reply(command.reply(Ok(Done::default()))))
    }
}

/// A second operation, so that a 2PC is not committed in one phase.
pub(crate) fn two(builder: TransactionBuilder) -> TransactionBuilder {
    builder.operation(OperationDraft::new("svc", "work").name("other"))
}

pub(crate) fn commands(out: &Outputs) -> Vec<Arc<Command>> {
    let of = |body: &Body| match body {
        Body::Command(command) => Some(command.clone()),
        _ => None,
    };
    out.commands.iter().filter_map(|envelope| of(&envelope.body)).collect()
}

pub(crate) fn has(out: &Outputs, wanted: impl Fn(&Notice) -> bool) -> bool {
    out.notices.iter().any(wanted)
}
