//! The campaign of losses of power.

use super::{
    cycle::{Cut, Cycle, DISK_BYTES, Found},
    disk::Disk,
};

const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

/// Where the cuts land, in percent of the orders.
const FIRST_PERCENT: usize = 8;
const LAST_PERCENT: usize = 80;

fn number(name: &str, default: usize) -> usize {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// The number from which patterns and moments are counted on: other ones for other commits.
fn first() -> usize {
    number("DTX_POWER_FIRST", 0)
}

fn cycle(index: usize, cut: Cut) -> Cycle {
    let width = LAST_PERCENT - FIRST_PERCENT;
    Cycle {
        pattern: PATTERNS[index % PATTERNS.len()],
        // Another one for the same pattern the next time round.
        fail: if (index + index / PATTERNS.len()).is_multiple_of(2) { "0" } else { "0.1" },
        seed: index,
        // Steps of about three fifths of the width never meet soon again.
        percent: FIRST_PERCENT + index * (width * 3 / 5 + 1) % width,
        cut,
    }
}

/// Whether there can be disks here.
fn is_possible() -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::new(folder.path(), DISK_BYTES);
    if let Err(reason) = &disk {
        println!("POWER SKIPPED: {reason}");
    }
    disk.is_ok()
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_power() {
    if !is_possible() {
        return;
    }
    let mut sum = Found::default();
    for index in first()..first() + number("DTX_POWER_CYCLES", 1) {
        let cycle = cycle(index, Cut::Honest);
        let found = cycle.run();
        println!("POWER {}", found.json(&cycle));
        assert_eq!(found.lost, Vec::<String>::new(), "{cycle:?}");
        assert_eq!(found.synced_lost, 0, "{cycle:?}: a synced log lost lines");
        sum.add(found);
    }
    assert!(sum.accepted > 0 && sum.outcomes > 0, "nothing was acknowledged");
    // The control of the disk: without a sync a write must be lost.
    assert!(sum.unsynced_lost > 0, "a log that was never synced lost nothing: no power was cut");
}

/// The control of the judge: a disk that forgets what it has acknowledged must be found out.
#[test]
fn a_disk_that_forgets_is_found_out() {
    if !is_possible() {
        return;
    }
    let cycle = cycle(first(), Cut::Forgetful);
    let found = cycle.run();
    println!("POWER {}", found.json(&cycle));
    assert!(!found.lost.is_empty(), "{cycle:?} lost nothing");
}
