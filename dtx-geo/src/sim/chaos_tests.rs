//! The invariants hold under faults, and each bug that is planted breaks one.

use crate::{
    pool::Bug,
    sim::chaos::{Plan, Shown, run},
};

fn plan(seed: u64) -> Plan {
    Plan { seed, leased: seed % 2 == 1, disk_loss: seed % 4 >= 2, bug: None }
}

fn add(sum: &mut Shown, one: Shown) {
    sum.steps += one.steps;
    sum.sold += one.sold;
    sum.crossed += one.crossed;
    sum.sold_out += one.sold_out;
    sum.unavailable += one.unavailable;
    sum.large += one.large;
    sum.reclaimed += one.reclaimed;
    sum.lost_disks += one.lost_disks;
    sum.expired += one.expired;
}

#[test]
fn two_million_steps_with_faults_break_no_invariant() {
    let mut sum = Shown::default();
    let mut seed = 0;
    while sum.steps < 2_000_000 {
        match run(plan(seed)) {
            Ok(shown) => add(&mut sum, shown),
            Err(broken) => panic!("{broken} ({:?})", plan(seed)),
        }
        seed += 1;
    }
    println!("{seed} schedules: {sum:?}");
    // The runs reach what they are about.
    assert!(sum.crossed > 100 && sum.sold_out > 100 && sum.unavailable > 100, "{sum:?}");
    assert!(sum.large > 100 && sum.reclaimed > 100 && sum.lost_disks > 10, "{sum:?}");
}

/// How many seeds it takes to find a bug.
fn seeds_to(bug: Bug, invariant: &str) -> u64 {
    for seed in 0..400 {
        if let Err(broken) = run(Plan { bug: Some(bug), ..plan(seed) }) {
            println!("{bug:?}: {broken}");
            assert!(broken.contains(invariant), "{bug:?} shows as {broken}");
            return seed + 1;
        }
    }
    panic!("{bug:?} was not found");
}

#[test]
fn every_planted_bug_is_found_by_its_invariant() {
    for (bug, invariant) in [
        (Bug::TakesBack, "I1"),
        (Bug::SpendsOneMore, "I2"),
        (Bug::TotalsAdded, "I3"),
        (Bug::GivenUnwritten, "I3"),
        (Bug::ExpiredSells, "I5"),
        (Bug::ExtendsForever, "I6"),
        (Bug::NeverResent, "I7"),
        (Bug::LooksOnce, "I8"),
        (Bug::CreditIgnored, "I2"),
    ] {
        println!("{bug:?} after {} seeds", seeds_to(bug, invariant));
    }
}
