//! What is said of the server.

use crate::support::{Shop, dtx, object, stderr};

#[test]
fn a_sound_server_is_right() {
    let sound = object(&dtx(&["doctor", "--store", &Shop::new(1).store, "--json"]));
    assert_eq!(sound["survives"], "power_loss", "{sound}");
}

#[test]
fn a_store_without_tables_has_nothing_to_migrate() {
    let output = dtx(&["migrate", "--store", &Shop::new(1).store]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
