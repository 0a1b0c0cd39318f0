//! Latency while finished transactions are forgotten.

use std::{sync::Arc, time::Duration};

use dtx::{coordinator::Store, store::Purge};
use dtx_bench::{Goal, Line, median};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::JoinHandle,
};

use super::{Plan, coordinator, fullness::Full, server::Server};

const IN_FLIGHT: usize = 64;

/// How many one step forgets.
const STEP: usize = 1_000;

/// Forgets step after step until it is told to stop, and says whether something was left then.
fn forget(
    store: Arc<dyn Store>,
    older_than: Duration,
    mut stop: oneshot::Receiver<()>,
) -> JoinHandle<bool> {
    tokio::spawn(async move {
        let purge = Purge { older_than, key_retention: older_than, limit: STEP };
        while stop.try_recv() == Err(TryRecvError::Empty) {
            if store.purge(&purge).await.unwrap() == 0 {
                return false;
            }
        }
        true
    })
}

pub(crate) async fn run(server: &Server, full: &Full, plan: Plan) -> Line {
    let (mut ratios, mut without, mut with) = (vec![], vec![], vec![]);
    let mut all_the_time = true;
    let store = server.open(&full.name).await;
    for _ in 0..plan.windows {
        let quiet = coordinator::window(store.clone(), IN_FLIGHT, plan.window).await;
        // On a connection of its own, as an operator's program has.
        let other = server.open(&full.name).await;
        let (stop, stopped) = oneshot::channel();
        let forgetting = forget(other, full.since.elapsed(), stopped);
        let busy = coordinator::window(store.clone(), IN_FLIGHT, plan.window).await;
        // It may have ended by itself, when nothing was left.
        let _ = stop.send(());
        all_the_time &= forgetting.await.unwrap();
        ratios.push(busy.p99 / quiet.p99);
        without.push(quiet.p99);
        with.push(busy.p99);
    }
    let doubt = if all_the_time { "" } else { "; THERE WAS NOT ENOUGH TO FORGET" };
    Line {
        name: format!(
            "2ps on {} at {IN_FLIGHT} in flight, p99 while purging in its own",
            server.kind
        ),
        figure: median(ratios),
        goal: Goal::AtMost(2.0),
        floor: format!(
            "p99 without {:.0} us, with {:.0} us, steps of {STEP}{doubt}",
            median(without),
            median(with)
        ),
    }
}
