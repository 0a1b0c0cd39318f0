//! What regional pools promise on eight regions, beside what others do.

use std::time::Duration;

use dtx_geo::{
    pool::Grants,
    sim::{Comparison, Setup, Workload, compare},
};

const LOCAL_MS: f64 = 0.25;
/// Of the busiest region in a flash, 2,300 units are asked for in a round trip to its buddy.
const LEASED: Grants = leased(4_000);

const fn leased(window: u64) -> Grants {
    Grants::Leased { window, lease: Duration::from_secs(3) }
}

fn run(workload: Workload, grants: Grants) -> Comparison {
    let found = compare(workload, &Setup::aws8(grants), 1);
    let pools = &found.pools;
    println!(
        "{workload} {grants:?}: {:.3} % at home, p99 {:.2} ms, p99.9 {:.2} ms, refused p99 {:.0} ms, \
         {:.2} moves/1000, {:.1} times the throughput",
        pools.served_home_share * 100.0,
        pools.p99_ms,
        pools.p999_ms,
        pools.refused_p99_ms,
        pools.moves_per_1000,
        found.throughput.ratio,
    );
    assert_eq!((pools.oversold, pools.false_sold_out, pools.stranded), (0, 0, 0), "{pools:?}");
    assert_eq!(pools.refused, 0, "{pools:?}");
    assert!(pools.moves_per_1000 <= 5.0, "{pools:?}");
    assert!(found.throughput.ratio >= 16.0, "{:?}", found.throughput);
    found
}

#[test]
fn zipf_is_served_at_home() {
    for grants in [Grants::Permanent, LEASED] {
        let pools = run(Workload::Zipf, grants).pools;
        assert!(pools.served_home_share >= 0.995 && pools.p99_ms <= LOCAL_MS * 1.05, "{pools:?}");
        assert_eq!(pools.sold, pools.requests);
    }
}

#[test]
fn a_hot_spot_that_moves_is_served_at_home_until_all_is_sold() {
    for grants in [Grants::Permanent, LEASED] {
        let found = run(Workload::Hotspot, grants);
        let pools = &found.pools;
        assert!(pools.served_home_share >= 0.995, "{pools:?}");
        assert_eq!(pools.sold, found.baselines["one_global_pool"].sold, "all stock is sold");
    }
}

#[test]
fn a_flash_is_served_at_home() {
    for grants in [Grants::Permanent, LEASED] {
        let pools = run(Workload::Flash, grants).pools;
        // The round trip from São Paulo to the nearest other region is 115 ms.
        assert!(pools.served_home_share >= 0.98 && pools.p99_ms <= 115.0, "{pools:?}");
        assert_eq!(pools.sold, pools.requests);
    }
}

#[test]
fn a_flash_on_tight_stock_is_never_slower_than_one_global_pool() {
    for grants in [Grants::Permanent, LEASED] {
        let found = run(Workload::FlashTight, grants);
        let (pools, global) = (&found.pools, &found.baselines["one_global_pool"]);
        assert!(pools.served_home_share >= 0.95 && pools.p99_ms <= global.p99_ms, "{found:?}");
        assert_eq!(pools.sold, global.sold, "all stock is sold");
    }
}

/// A flash of 20,000 requests per second is more than a window of 2,000 units per round trip to the
/// buddy: what home cannot spend yet waits for credit or crosses regions, and nobody is refused.
#[test]
fn a_flash_beyond_the_window_of_leases_is_never_slower_than_one_global_pool() {
    for workload in [Workload::Flash, Workload::FlashTight] {
        let found = run(workload, leased(2_000));
        let (pools, global) = (&found.pools, &found.baselines["one_global_pool"]);
        assert!(pools.served_home_share >= 0.95 && pools.p99_ms <= global.p99_ms, "{found:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let setup = Setup::aws8(Grants::Permanent);
    let [first, second] = [0; 2].map(|_| compare(Workload::Hotspot, &setup, 7));
    assert_eq!(first, second);
    assert_ne!(first, compare(Workload::Hotspot, &setup, 8));
}
