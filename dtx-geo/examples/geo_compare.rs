//! tmp
fn main() {
    let setup = dtx_geo::sim::Setup::aws8(dtx_geo::pool::Grants::Permanent);
    for w in dtx_geo::sim::Workload::ALL {
        let t = std::time::Instant::now();
        let c = dtx_geo::sim::compare(w, &setup, 1);
        println!(
            "{} {:?} ratio {:.1}\n pools {:?}",
            c.workload,
            t.elapsed(),
            c.throughput.ratio,
            c.pools
        );
        for (n, b) in &c.baselines {
            println!("  {n} {b:?}");
        }
    }
}
