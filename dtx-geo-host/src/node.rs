//! A region that runs.

use std::{collections::BTreeSet, sync::Arc};

use dtx_core::{store::ParticipantStore, transport::Transport};
use dtx_geo::pool::{Cells, NUMBER_MAX, PoolRegion, RowName, Step};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::{Driver, RegionClock},
    error::PoolError,
    handle::PoolHandle,
    peers::{Post, open_ways},
    rows::{self, Found, RegionRows},
    settings::PoolNodeSettings,
    spec::PoolSpec,
};

/// A running region of a pool.
///
/// Run one per region. A second one, on the same store, takes the region over: the first one ends
/// with [`PoolError::Taken`] at its next write, and neither sells a unit that the other one has.
///
/// Dropping it ends it at once, as a crash would.
#[derive(Debug)]
pub struct PoolNode {
    handle: PoolHandle,
    stop: CancellationToken,
    /// None when its end was told.
    driver: Option<JoinHandle<Result<(), PoolError>>>,
    /// What carries messages; ends when dropped.
    _peers: JoinSet<()>,
}

impl PoolNode {
    /// Makes the rows of a region, with the units that it has at first. Done once in the life of a
    /// region, or once more as its next incarnation when its rows were lost.
    ///
    /// # Errors
    /// [`PoolError::Exists`] when there are rows already, also if an earlier call made them whose
    /// answer was lost; [`PoolError::TooMany`]; the store's.
    pub async fn create(
        store: &dyn ParticipantStore,
        spec: &PoolSpec,
        stock: u64,
    ) -> Result<(), PoolError> {
        if stock >= NUMBER_MAX {
            return Err(PoolError::TooMany(stock));
        }
        rows::create(store, spec, stock).await
    }

    /// Reads what is durable of a region. Of one that runs, a part may be older than another.
    ///
    /// # Errors
    /// As those of [`start`](Self::start).
    pub async fn read(
        store: Arc<dyn ParticipantStore>,
        spec: &PoolSpec,
    ) -> Result<Cells, PoolError> {
        let retry = PoolNodeSettings::default().write_retry;
        let (_, found) = RegionRows::load(store, spec.clone(), retry).await?;
        Ok(found.cells)
    }

    /// Takes a region over that was created, and drives it. Its holds are as they were; reserves
    /// that waited are forgotten, as if their answers were lost.
    ///
    /// The transport reaches the other regions. What the region survives is what the store
    /// survives.
    ///
    /// # Errors
    /// [`PoolError`]; nothing runs then.
    ///
    /// # Cancel safety
    /// A dropped start runs nothing; whoever drove the region before may have lost it.
    pub async fn start(
        store: Arc<dyn ParticipantStore>,
        transport: Arc<dyn Transport>,
        spec: PoolSpec,
        settings: PoolNodeSettings,
    ) -> Result<Self, PoolError> {
        settings.check()?;
        let begin = |found: Found| begin(&spec, found);
        let (rows, region, began) =
            RegionRows::take_over(store, &spec, settings.write_retry, begin, PoolRegion::cells)
                .await?;
        let spec = Arc::new(spec);
        let mut peers = JoinSet::new();
        let ways = open_ways(&spec, &transport, &settings, &mut peers);
        let (received_in, received) = mpsc::channel(settings.received_max);
        if spec.regions.len() > 1 {
            let (post, subscription) = Post::open(Arc::clone(&spec), transport, &settings).await?;
            peers.spawn(post.run(subscription, received_in));
        }
        let (asks, asked) = mpsc::channel(settings.asks_max);
        let handle = PoolHandle { asks, spec: Arc::clone(&spec) };
        let stop = CancellationToken::new();
        let clock = RegionClock::new(began);
        let driver = Driver {
            spec,
            settings,
            region,
            rows,
            clock,
            ways,
            asked,
            received,
            stop: stop.clone(),
        };
        Ok(Self { handle, stop, driver: Some(tokio::spawn(driver.run())), _peers: peers })
    }

    /// For asking it.
    pub fn handle(&self) -> &PoolHandle {
        &self.handle
    }

    /// Returns when it has ended by itself.
    ///
    /// # Errors
    /// Why it has ended: [`PoolError::Taken`], a row that cannot be read, or a failure of the
    /// store that will not pass. [`PoolError::Stopped`] when that was told before.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&mut self) -> Result<(), PoolError> {
        let Some(driver) = &mut self.driver else { return Err(PoolError::Stopped) };
        let ended = driver.await;
        self.driver = None;
        ended.unwrap_or(Err(PoolError::Stopped))
    }

    /// Ends it. Nothing is lost: what has not landed was not answered.
    ///
    /// # Errors
    /// Why it had ended before.
    pub async fn stop(mut self) -> Result<(), PoolError> {
        self.stop.cancel();
        self.ended().await
    }
}

impl Drop for PoolNode {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

fn begin(spec: &PoolSpec, found: Found) -> Result<(PoolRegion, BTreeSet<RowName>), PoolError> {
    let (mut step, own) = (Step::default(), (spec.own, spec.incarnation));
    let map = Arc::clone(&spec.map);
    let region = PoolRegion::start(own, map, spec.settings, found.cells, found.now, &mut step)?;
    let mut rows = BTreeSet::new();
    step.writes.iter().for_each(|write| write.add_rows(&mut rows));
    Ok((region, rows))
}
