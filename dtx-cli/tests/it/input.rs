//! What is given on the command line, and what is in the file.

use crate::support::{Folder, count, dtx, report, run, stderr};

#[test]
fn a_bad_row_is_reported_with_file_and_line_and_stops_nothing() {
    let folder = Folder::new();
    let text = "order_id,customer_id,date,quantity,amount_usd\n\
                1,a,1997-01-01,2,0.00\n\
                2,a,1997-01-01,two,5.00\n\
                3,b,1997-01-02,1,5.00\n\
                4,b\n";
    let orders = folder.write("some orders.csv", text);
    let output = run(&orders, "2pc", "memory").output().unwrap();
    let text = stderr(&output);
    let file = orders.display();
    assert!(text.contains(&format!("{file}:3: quantity \"two\" is no whole number")), "{text}");
    assert!(text.contains(&format!("{file}:5: there is no date")), "{text}");
    let found = report(&mut run(&orders, "2pc", "memory"));
    assert_eq!((count(&found, "committed"), count(&found, "skipped_rows")), (2, 2));
}

#[test]
fn a_file_without_orders_is_sound_and_one_without_columns_is_an_error() {
    let folder = Folder::new();
    let found = report(&mut run(&folder.orders(0), "saga", "memory"));
    assert_eq!(count(&found, "transactions"), 0);
    let wrong = folder.write("wrong.csv", "a,b\n1,2\n");
    let output = run(&wrong, "saga", "memory").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no column order_id"), "{}", stderr(&output));
    let output = run(&folder.path("none.csv"), "saga", "memory").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("none.csv cannot be read"), "{}", stderr(&output));
}

#[test]
fn a_mistake_on_the_command_line_is_named() {
    let folder = Folder::new();
    let orders = folder.orders(1);
    for (args, text) in [
        (&["--concurrency", "0"][..], "--concurrency is 0; give 1 to 65536"),
        (&["--concurrency", "65537"], "--concurrency is 65537"),
        (&["--lose", "0.51"], "--lose is 0.51; 0.5 is the most"),
        (&["--refuse", "1.1"], "give a number from 0 to 1"),
        (&["--fail", "0.1", "--lose", "0.1"], "cannot be used with"),
        (&["--run", "My Run"], "--run is \"My Run\"; give 1 to 64 of a-z"),
        (&["--transport", "nats"], "is no transport; give inmem"),
        (&["--stock", "-1"], "--stock"),
    ] {
        let output = run(&orders, "saga", "memory").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(text), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = run(&orders, "4pc", "memory").output().unwrap();
    assert!(stderr(&output).contains("give one of 0.5ps, saga"), "{}", stderr(&output));
    let output = run(&orders, "saga", "disk").output().unwrap();
    assert!(stderr(&output).contains("give memory or redb:PATH"), "{}", stderr(&output));
}

#[test]
fn the_help_shows_examples_and_exit_codes() {
    for command in ["run", "demo"] {
        let output = dtx(&[command, "--help"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(text.contains("Examples:") && text.contains("Exit codes:"), "{text}");
    }
    assert_eq!(dtx(&[]).status.code(), Some(2));
}

#[test]
fn progress_for_machines_counts_up_to_the_end() {
    let folder = Folder::new();
    let orders = folder.orders(30);
    let output = run(&orders, "saga", "memory").args(["--progress", "json"]).output().unwrap();
    let lines: Vec<u64> = stderr(&output)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|line| {
            assert_eq!(line["of"], 30);
            count(&line, "progress")
        })
        .collect();
    assert_eq!((lines.first(), lines.last()), (Some(&0), Some(&30)), "{lines:?}");
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn people_get_a_table() {
    let folder = Folder::new();
    let orders = folder.orders(3);
    let orders = orders.display().to_string();
    let output = dtx(&["run", "--orders", &orders, "--pattern", "1.5PS"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1.5ps on memory over inmem") && text.contains("sound"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_store_that_was_left_out_is_named_with_its_feature() {
    let output = dtx(&["heal", "--store", "postgres://ann:s3cret@h/d"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--features postgres"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("s3cret"), "{}", stderr(&output));
}
