//! The loop around a region: inputs, one write for many of them, then what may leave.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dtx_core::time::Timestamp;
use dtx_geo::pool::{Body, Effect, Input, Member, Message, PoolRegion, RowName, Step};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    asks::Asks,
    error::PoolError,
    handle::{Ask, PoolState, Told},
    peers::Ways,
    rows::RegionRows,
    settings::PoolNodeSettings,
    spec::PoolSpec,
};

/// A batch takes no more inputs when its write changes so many rows.
const ROWS_FULL: usize = 1_024;

/// How long a region that has nothing to write goes on without a look whether it is still its own.
const LOOK: Duration = Duration::from_secs(1);

/// The clock of a region: it begins where the last one has ended, or at the store's clock if that
/// is later, and then follows the monotonic clock of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionClock {
    origin: Instant,
    began: Timestamp,
}

impl RegionClock {
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { origin: Instant::now(), began }
    }

    fn now(&self) -> Timestamp {
        self.began + self.origin.elapsed()
    }
}

/// Drives one region.
pub(crate) struct Driver {
    pub(crate) spec: Arc<PoolSpec>,
    pub(crate) settings: PoolNodeSettings,
    pub(crate) region: PoolRegion,
    pub(crate) rows: RegionRows,
    pub(crate) clock: RegionClock,
    pub(crate) ways: Ways,
    pub(crate) asked: mpsc::Receiver<Ask>,
    pub(crate) received: mpsc::Receiver<(Member, Message)>,
    pub(crate) stop: CancellationToken,
}

/// What a batch of inputs has come to.
#[derive(Default)]
struct Batch {
    inputs: usize,
    writes: usize,
    rows: BTreeSet<RowName>,
    effects: Vec<Effect>,
    states: Vec<oneshot::Sender<PoolState>>,
}

impl Batch {
    /// Whether anything leaves that is more than a hint. What a region says of itself in a digest
    /// is one: an old digest is passed over, and its totals only grow.
    fn is_binding(&self) -> bool {
        let hint = |effect: &Effect| match effect {
            Effect::Send { message, .. } => matches!(message.body, Body::Digest),
            Effect::Answer { .. } => false,
        };
        !self.states.is_empty() || !self.effects.iter().all(hint)
    }
}

impl Driver {
    /// Runs until it is stopped, or until the store says that it cannot go on.
    pub(crate) async fn run(mut self) -> Result<(), PoolError> {
        let mut asks = Asks::new(self.settings.ask_again);
        let mut ticks = interval(self.settings.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut step = Step::default();
        let mut looked = Instant::now();
        let stop = self.stop.clone();
        loop {
            let mut batch = Batch::default();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {
                    for again in asks.due() {
                        self.take(again, &mut batch, &mut step);
                    }
                    self.take(Input::Tick, &mut batch, &mut step);
                }
                Some(ask) = self.asked.recv() => self.ask(ask, &mut batch, &mut asks, &mut step),
                Some((from, message)) = self.received.recv() => {
                    self.take(Input::Message { from, message }, &mut batch, &mut step);
                }
            }
            self.fill(&mut batch, &mut asks, &mut step);
            tokio::select! {
                landed = self.land(&batch, &mut looked) => landed?,
                () = stop.cancelled() => return Ok(()),
            }
            self.leave(batch, &mut asks);
        }
    }

    /// Takes what has come meanwhile: it lands with the rest.
    fn fill(&mut self, batch: &mut Batch, asks: &mut Asks, step: &mut Step) {
        let mut is_empty = false;
        while !is_empty
            && batch.inputs < self.settings.batch_inputs_max
            && batch.rows.len() < ROWS_FULL
        {
            is_empty = true;
            if let Ok(ask) = self.asked.try_recv() {
                self.ask(ask, batch, asks, step);
                is_empty = false;
            }
            if let Ok((from, message)) = self.received.try_recv() {
                self.take(Input::Message { from, message }, batch, step);
                is_empty = false;
            }
        }
    }

    fn ask(&mut self, ask: Ask, batch: &mut Batch, asks: &mut Asks, step: &mut Step) {
        match ask {
            Ask::Hold { id, input, reply } => {
                asks.add(id, input, reply);
                self.take(input, batch, step);
            }
            Ask::Restock { total, reply } => {
                let units = total.saturating_sub(self.region.cells().minted());
                if units > 0 {
                    self.take(Input::Mint { units }, batch, step);
                }
                batch.states.push(reply);
            }
            Ask::State { reply } => batch.states.push(reply),
        }
    }

    fn take(&mut self, input: Input, batch: &mut Batch, step: &mut Step) {
        self.region.step(self.clock.now(), input, step);
        batch.inputs += 1;
        batch.writes += step.writes.len();
        step.writes.iter().for_each(|write| write.add_rows(&mut batch.rows));
        batch.effects.append(&mut step.effects);
    }

    /// What the batch has written is durable afterwards; and nobody else had written before.
    async fn land(&mut self, batch: &Batch, looked: &mut Instant) -> Result<(), PoolError> {
        if batch.writes > 0 {
            let now = self.clock.now();
            self.rows.land(self.region.cells(), &batch.rows, now).await?;
        } else if batch.is_binding() || looked.elapsed() >= LOOK {
            self.rows.check().await?;
        } else {
            return Ok(());
        }
        *looked = Instant::now();
        Ok(())
    }

    fn leave(&self, batch: Batch, asks: &mut Asks) {
        let cells = self.region.cells();
        for effect in batch.effects {
            match effect {
                Effect::Send { to, message, .. } => self.ways.send(to, message),
                Effect::Answer { id, answer } => {
                    let at = cells.route(id).unwrap_or(self.spec.own);
                    asks.answer(id, Told { answer, at });
                }
            }
        }
        let state = PoolState {
            minted: cells.minted(),
            free: self.region.spendable(),
            held: cells.held(),
            sold: cells.sold(),
        };
        for reply in batch.states {
            // Who asked may not wait any more.
            let _ = reply.send(state);
        }
    }
}
