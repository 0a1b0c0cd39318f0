//! What goes into an engine and what comes out of it.

use std::sync::Arc;

use crate::{
    answer::PhaseAnswer,
    engine::Peers,
    error::StoreError,
    ids::{OperationIndex, ShardId, TxId, WriteId},
    name::ParticipantName,
    pattern::Phase,
    store::{CommitResult, Outcome, TxRecord, TxWrite},
    time::Timestamp,
    transaction::Transaction,
    transport::{Envelope, Reply},
};

/// What the engine is told about the moment. Everything in it comes from the driver.
#[derive(Debug)]
pub struct Context<'a> {
    /// The driver's own monotonic clock.
    pub now: Timestamp,
    /// About what the store's clock shows. Only a hint: nothing is decided by it.
    pub store_now: Timestamp,
    /// How much of its capacity the coordinator uses, in percent.
    pub load_percent: u8,
    /// What is known of the participants, shared by the engines of one driver.
    pub peers: &'a mut Peers,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A new transaction. Its id must lie in this shard.
    Submit {
        /// Its id.
        tx: TxId,
        /// What is to be done.
        transaction: Arc<Transaction>,
        /// Whether its answers are wanted as [`Notice::Progress`].
        observed: bool,
    },
    /// A transaction that was found open in the store.
    Recovered {
        /// What was found.
        record: Box<TxRecord>,
        /// The store's clock when it was found.
        store_now: Timestamp,
    },
    /// All open transactions of the shard have been handed in since the lease was taken.
    ///
    /// To be sure of that, read the list of what is open twice, to its end: who gives a signal or
    /// asks about a transaction makes it due at once, and so moves it to the front of the list,
    /// which a reading may have passed.
    RecoveryComplete,
    /// A write was settled, or failed.
    Written {
        /// Of which transaction.
        tx: TxId,
        /// Which write.
        id: WriteId,
        /// What became of it.
        result: CommitResult,
    },
    /// A record that was asked for.
    Loaded {
        /// Of which transaction.
        tx: TxId,
        /// What was found.
        record: Result<Option<Box<TxRecord>>, StoreError>,
        /// The store's clock then.
        store_now: Timestamp,
    },
    /// A participant's answer.
    Reply(Reply),
    /// Somebody wrote to this transaction: look.
    Poke(TxId),
    /// From now on its answers are wanted as [`Notice::Progress`].
    Observe(TxId),
    /// Time has passed.
    Tick,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be written; each transaction has at most one unsettled write.
    pub writes: Vec<TxWrite>,
    /// To be published.
    pub commands: Vec<Envelope>,
    /// To be loaded and handed in as [`Input::Loaded`].
    pub loads: Vec<TxId>,
    /// For whoever waits.
    pub notices: Vec<Notice>,
}

/// Something that somebody may wait for.
#[derive(Debug)]
pub enum Notice {
    /// The accept is durable.
    Accepted(TxId),
    /// A submitted transaction was not accepted, and never will be.
    NotAccepted(TxId, Refused),
    /// The outcome. A record fixes it.
    Told(TxId, Outcome),
    /// Nothing is left to do; the transaction has left the memory.
    Closed(TxId),
    /// It waits for a signal or a time, out of memory.
    Parked(TxId),
    /// It waits for an operator.
    NeedsAttention(TxId),
    /// Its record cannot be read, or is gone. It was left as it is, and has left the memory.
    Quarantined(TxId, String),
    /// The lease of the shard is lost: drop this engine.
    LeaseLost(ShardId),
    /// An answer, for those who watch.
    Progress {
        /// Of which transaction.
        tx: TxId,
        /// Of which operation.
        operation: OperationIndex,
        /// Who answered.
        participant: ParticipantName,
        /// In which phase.
        phase: Phase,
        /// What.
        answer: PhaseAnswer,
    },
    /// An operation ended in the dead letters.
    DeadLetter(TxId, OperationIndex),
}

/// Why a transaction was not accepted.
#[derive(Debug)]
pub enum Refused {
    /// The caller's key belongs to this transaction.
    DuplicateKey(TxId),
    /// The store refused it; nothing was changed.
    Store(StoreError),
}
