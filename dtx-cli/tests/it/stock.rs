//! Too little stock.

use crate::support::{Folder, count, report, run};

#[test]
fn what_is_not_there_is_not_sold_and_what_is_left_fits_no_order() {
    let folder = Folder::new();
    let orders = folder.orders(300);
    for pattern in ["saga", "1.5ps", "2ps", "3ps", "2pc"] {
        for stock in ["100", "7"] {
            let store = folder.redb(&format!("{stock}.redb"));
            let found = report(run(&orders, pattern, &store).args(["--stock", stock]));
            let (sold, left) = (count(&found, "sold_units"), count(&found, "left_units"));
            assert_eq!(sold + left, stock.parse::<u64>().unwrap(), "{found}");
            assert!(left < count(&found, "smallest_refused_alone"), "{found}");
            assert!(count(&found, "committed") > 0, "{found}");
        }
    }
}

#[test]
fn with_faults_too_nothing_is_oversold() {
    let folder = Folder::new();
    let orders = folder.orders(120);
    for pattern in ["saga", "2ps", "3ps", "2pc"] {
        let args = ["--stock", "40", "--fail", "0.2", "--seed", "3"];
        let found = report(run(&orders, pattern, "memory").args(args));
        assert!(count(&found, "sold_units") <= 40, "{found}");
    }
}

#[test]
fn a_message_that_never_fits_is_a_dead_letter() {
    let folder = Folder::new();
    let orders = folder.orders(8);
    let found = report(run(&orders, "0.5ps", "memory").args(["--stock", "0"]));
    assert_eq!(count(&found, "dead_letters"), 8, "{found}");
    assert_eq!((count(&found, "dispatched"), count(&found, "sold_units")), (8, 0));
}
