fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[1] == "replay" {
        let r = match args.get(3) {
            Some(m) => dtx_sim::Sim::mutant(
                args[2].parse().unwrap(),
                *dtx_sim::Mutation::ALL.iter().find(|x| format!("{x:?}") == *m).unwrap(),
                true,
            )
            .run(),
            None => dtx_sim::replay(args[2].parse().unwrap()),
        };
        println!("{}", r.diagram);
        for v in &r.violations {
            println!("{} {:?} {}", v.at / 1000, v.tx, v.what);
        }
        return;
    }
    let first: u64 = args[1].parse().unwrap();
    let n: u64 = args[2].parse().unwrap();
    let t = std::time::Instant::now();
    let s = match args.get(3) {
        Some(m) => dtx_sim::explore_mutant(
            first,
            n,
            *dtx_sim::Mutation::ALL.iter().find(|x| format!("{x:?}") == *m).unwrap(),
        ),
        None => dtx_sim::explore(first, n),
    };
    let dt = t.elapsed().as_secs_f64();
    for v in &s.first_violations {
        println!("{v}");
    }
    println!(
        "seeds {} failed {} median {} rate {:.0}/s",
        s.seeds,
        s.failed,
        s.events_median,
        n as f64 / dt
    );
    if args.get(3).is_none() {
        for (k, v) in s.counters.list() {
            print!("{k} {v}; ");
        }
        println!();
    }
}
