//! The tables of a store, and what is said of its server.

use crate::support::{Shop, dtx, object, stderr};

#[test]
fn tables_are_made_once_and_their_statements_can_be_printed() {
    let shop = Shop::new(1);
    let store = shop.store.as_str();
    let printed = dtx(&["migrate", "--store", store, "--print"]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(text.contains("CREATE TABLE") && text.contains("CREATE FUNCTION"), "{text}");
    let first = object(&dtx(&["migrate", "--store", store, "--json"]));
    let applied = first["applied"].as_array().expect("a list").iter();
    let numbers: Vec<_> = applied.filter_map(|step| step["number"].as_u64()).collect();
    let printed = text.matches(".migration (number, title) VALUES").count();
    assert_eq!(numbers.len(), printed, "all that is printed is applied: {first}");
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "each once, in order: {first}");
    let second = object(&dtx(&["migrate", "--store", store, "--json"]));
    assert_eq!(second["applied"], serde_json::json!([]), "{second}");
    let redb = dtx(&["migrate", "--store", "redb:a.redb"]);
    assert_eq!(redb.status.code(), Some(2), "{}", stderr(&redb));
}

#[test]
fn a_sound_server_is_right_and_a_weak_session_is_wrong_with_the_fix() {
    let shop = Shop::new(1);
    let sound = object(&dtx(&["doctor", "--store", &shop.store, "--json"]));
    assert_eq!(sound["survives"], "power_loss", "{sound}");
    let weak = format!("{}&options=-csynchronous_commit%3Doff", shop.store);
    let weak = dtx(&["doctor", "--store", &weak]);
    let text = String::from_utf8_lossy(&weak.stdout).into_owned();
    assert_eq!(weak.status.code(), Some(1), "{text}");
    assert!(text.contains("WRONG  synchronous_commit is off"), "{text}");
    assert!(text.contains("set synchronous_commit to on"), "{text}");
}
