//! The same command again, and another one under the same name.

use crate::support::{Folder, PATTERNS, count, report, run, stderr};

#[test]
fn a_run_that_has_ended_is_not_touched_again() {
    let folder = Folder::new();
    let orders = folder.orders(40);
    for pattern in PATTERNS {
        let store = folder.redb("a.redb");
        let args = ["--fail", "0.2", "--seed", "5"];
        let first = report(run(&orders, pattern, &store).args(args));
        let second = report(run(&orders, pattern, &store).args(args));
        for field in [
            "transactions",
            "committed",
            "aborted",
            "compensated",
            "dispatched",
            "sold_units",
            "left_units",
        ] {
            assert_eq!(first[field], second[field], "{pattern} {field}");
        }
        assert_eq!(count(&second, "recovered"), 0);
        assert_eq!(second["messages_per_tx"], 0.0, "{second}");
        assert_eq!(second["durable_writes"]["awaited_per_tx"], 0.0, "{second}");
    }
}

#[test]
fn a_changed_option_under_one_name_is_an_error_that_names_it() {
    let folder = Folder::new();
    let orders = folder.orders(5);
    let store = folder.redb("a.redb");
    let base = ["--run", "mine", "--seed", "7", "--stock", "50"];
    report(run(&orders, "3ps", &store).args(base));
    let refused = |pattern: &str, args: &[&str], option: &str| {
        let output = run(&orders, pattern, &store).args(args).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(&format!("run mine was begun with {option} ")), "{text}");
        assert!(output.stdout.is_empty());
    };
    refused("3ps", &["--run", "mine", "--seed", "8", "--stock", "50"], "--seed");
    refused("3ps", &["--run", "mine", "--seed", "7", "--stock", "51"], "--stock");
    refused("2pc", &base, "--pattern");
    refused("3ps", &[base.as_slice(), &["--refuse", "0.1"]].concat(), "--refuse");
    refused("3ps", &[base.as_slice(), &["--lose", "0.1"]].concat(), "--lose");
    refused("3ps", &[base.as_slice(), &["--concurrency", "9"]].concat(), "--concurrency");
    let other = ["--run", "other", "--seed", "8"];
    report(run(&orders, "3ps", &store).args(other));
    folder.orders(6);
    refused("3ps", &base, "--orders");
}

#[test]
fn a_store_that_another_process_owns_is_a_clear_error() {
    let folder = Folder::new();
    let orders = folder.orders(5);
    let path = folder.path("a.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let owner = runtime.block_on(dtx::RedbStore::open(&path)).unwrap();
    let output = run(&orders, "saga", &folder.redb("a.redb")).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("is owned by another process"), "{text}");
    runtime.block_on(owner.close()).unwrap();
    report(&mut run(&orders, "saga", &folder.redb("a.redb")));
}

#[test]
fn every_order_is_told_when_it_is_accepted_and_again_with_its_outcome() {
    let folder = Folder::new();
    let orders = folder.orders(5);
    let store = folder.redb("a.redb");
    let mut command = run(&orders, "2pc", &store);
    let output = command.args(["--progress", "orders"]).output().unwrap();
    let mut told: Vec<String> = stderr(&output).lines().map(str::to_owned).collect();
    told.sort();
    let accepted = (1..=5).map(|order| format!(r#"{{"accepted":"{order}"}}"#));
    let ended = (1..=5).map(|order| format!(r#"{{"order":"{order}","outcome":"committed"}}"#));
    assert_eq!(told, accepted.chain(ended).collect::<Vec<_>>());
    // What has ended is not told again.
    let again = run(&orders, "2pc", &store).args(["--progress", "orders"]).output().unwrap();
    assert_eq!(stderr(&again), "");
}
