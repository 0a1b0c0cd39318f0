//! Real orders through every pattern.

use crate::{
    address::NAME,
    support::{PATTERNS, Shop, count, report},
};

#[test]
fn every_pattern_is_sound_without_faults() {
    for pattern in PATTERNS {
        let found = report(&mut Shop::new(100).run(pattern, "0"));
        assert_eq!(count(&found, "committed") + count(&found, "dispatched"), 100, "{found}");
        assert_eq!(found["store"], NAME);
    }
}

#[test]
fn every_pattern_is_sound_with_faults() {
    for pattern in PATTERNS {
        let found = report(&mut Shop::new(100).run(pattern, "0.2"));
        assert_eq!(count(&found, "transactions"), 100, "{found}");
        let went = count(&found, "committed") + count(&found, "dispatched");
        assert!(went > 100 / 3, "{found}");
    }
}

#[test]
fn patterns_share_one_store() {
    let shop = Shop::new(50);
    for pattern in PATTERNS {
        assert_eq!(count(&report(&mut shop.run(pattern, "0")), "transactions"), 50);
    }
    // The same run again finds everything done.
    let again = report(&mut shop.run("2pc", "0"));
    assert_eq!(count(&again, "transactions"), 50, "{again}");
}
