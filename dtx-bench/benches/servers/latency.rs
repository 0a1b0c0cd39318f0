//! The slowest of a hundred, in single commits of the store.

use dtx_bench::{Goal, Line, median};

use super::{Plan, bare::Bare, coordinator, sample::Sample, server::Server};

const IN_FLIGHT: usize = 64;

/// Single commits per window.
const SINGLES: usize = 200;

pub(crate) async fn run(server: &Server, sample: &Sample, plan: Plan) -> Line {
    let (single_name, name) = (server.name(), server.name());
    let bare = Bare::new(server.open(&single_name).await, sample).await;
    let store = server.open(&name).await;
    let (mut ratios, mut singles, mut p50, mut p99) = (vec![], vec![], vec![], vec![]);
    let mut rates = vec![];
    for _ in 0..plan.windows {
        let before = bare.single_commit(SINGLES).await;
        let window = coordinator::window(store.clone(), IN_FLIGHT, plan.window).await;
        let single = (before + bare.single_commit(SINGLES).await) / 2.0;
        ratios.push(window.p99 / window.awaited / single);
        singles.push(single);
        p50.push(window.p50);
        p99.push(window.p99);
        rates.push(window.rate);
    }
    drop((bare, store));
    server.forget(&single_name).await;
    server.forget(&name).await;
    Line {
        name: format!(
            "2ps on {} at {IN_FLIGHT} in flight, p99 in single commits per awaited write",
            server.kind
        ),
        figure: median(ratios),
        goal: Goal::AtMost(12.0),
        floor: format!(
            "single commit p50 {:.0} us; transaction p50 {:.0} us, p99 {:.0} us, {:.0} per second",
            median(singles),
            median(p50),
            median(p99),
            median(rates)
        ),
    }
}
