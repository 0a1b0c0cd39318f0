//! Looking at a store on a server, healing it, and addresses that lead nowhere.

use crate::support::{Shop, dtx, object, report, stderr};

#[test]
fn transactions_are_listed_shown_and_undone() {
    let shop = Shop::new(10);
    report(&mut shop.run("3ps", "0"));
    let store = shop.store.as_str();
    let list = object(&dtx(&["tx", "list", "--store", store, "--limit", "3", "--json"]));
    let rows = list["transactions"].as_array().unwrap_or_else(|| panic!("{list}"));
    assert_eq!(rows.len(), 3, "{list}");
    let id = rows[0]["tx"].as_str().unwrap_or_else(|| panic!("{list}"));
    let shown = object(&dtx(&["tx", "show", id, "--store", store, "--json"]));
    assert!(shown["timeline"].as_array().is_some_and(|moments| moments.len() > 3), "{shown}");
    let healed = object(&dtx(&["heal", "--store", store, "--json"]));
    assert_eq!(healed["left_open"], 0, "{healed}");
    let holds = dtx(&["participant", "list", "--store", store]);
    assert_eq!(holds.status.code(), Some(0), "{}", stderr(&holds));
}

#[test]
fn a_server_that_is_not_there_is_told_without_the_password() {
    let store = "postgres://ann:s3cret@127.0.0.1:1/d";
    for args in [["heal", "--store", store], ["tx list", "--store", store]] {
        let words: Vec<_> = args[0].split(' ').chain(args[1..].iter().copied()).collect();
        let output = dtx(&words);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("postgres"), "{}", stderr(&output));
        assert!(!stderr(&output).contains("s3cret"), "{}", stderr(&output));
    }
}

#[test]
fn a_schema_that_is_none_is_a_mistake_on_the_command_line() {
    let output = dtx(&["heal", "--store", "postgres://h/d?schema=a-b"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("a-b"), "{}", stderr(&output));
}

#[test]
fn tables_are_made_once_and_their_statements_can_be_printed() {
    let shop = Shop::new(1);
    let store = shop.store.as_str();
    let printed = dtx(&["migrate", "--store", store, "--print"]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(text.contains("CREATE TABLE") && text.contains("CREATE FUNCTION"), "{text}");
    let first = object(&dtx(&["migrate", "--store", store, "--json"]));
    assert_eq!(first["applied"].as_array().map(Vec::len), Some(2), "{first}");
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
