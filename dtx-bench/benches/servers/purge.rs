//! Latency while finished transactions are forgotten.

use std::{sync::Arc, time::Duration};

use dtx::{coordinator::Store, store::Purge};
use dtx_bench::{Goal, Line, median};
use tokio::task::JoinHandle;

use super::{Plan, coordinator, fullness::Full, server::Server};

const IN_FLIGHT: usize = 64;

/// How many one step forgets.
const STEP: usize = 1_000;

/// Forgets step after step. Ends when nothing is left, with the number of those forgotten; what it
/// has forgotten when it is aborted is in the store alone.
fn forget(store: Arc<dyn Store>, older_than: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let purge = Purge { older_than, key_retention: older_than, limit: STEP };
        while store.purge(&purge).await.unwrap() > 0 {}
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
        let forgetting = forget(other, full.since.elapsed());
        let busy = coordinator::window(store.clone(), IN_FLIGHT, plan.window).await;
        all_the_time &= !forgetting.is_finished();
        forgetting.abort();
        let _ = forgetting.await;
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
