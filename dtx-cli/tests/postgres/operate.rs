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
